"""MLflow's fluent interface and its client; the store is MLFLOW_TRACKING_URI or MLflow's own default."""

from __future__ import annotations

from work import BATCH, SHOWN, TEN, main


class MLflow:
    """One experiment, `bench`."""

    def __init__(self) -> None:
        import mlflow
        from mlflow.entities import Metric, Param

        self.mlflow, self.Metric, self.Param = mlflow, Metric, Param
        self.log_metric, self.log_metrics = mlflow.log_metric, mlflow.log_metrics

    def run(self, body):
        self.mlflow.set_experiment("bench")
        with self.mlflow.start_run() as run:
            self.id = run.info.run_id
            self.client = self.mlflow.MlflowClient()
            body()

    def one(self, step):
        self.log_metric("loss", 0.5, step=step)

    def ten(self, step):
        self.log_metrics(TEN, step=step)

    def many(self, steps):
        self.client.log_batch(self.id, metrics=[self.Metric("loss", 0.5, 1, step) for step in steps])

    def newest(self):
        self.open()
        return max((point.step for point in self._history()), default=-1)

    def fill(self, runs):
        client = self.mlflow.MlflowClient()
        experiment = client.create_experiment("bench")
        for name, params, metrics in runs:
            id_ = client.create_run(experiment, run_name=name).info.run_id
            client.log_batch(
                id_,
                metrics=[self.Metric(key, value, 1, 0) for key, value in metrics.items()],
                params=[self.Param(key, str(value)) for key, value in params.items()],
            )
            client.set_terminated(id_)

    def open(self):
        self.client = self.mlflow.MlflowClient()
        self.experiment = self.client.get_experiment_by_name("bench").experiment_id

    def search(self):
        found = self.client.search_runs(
            [self.experiment], "metrics.val_acc > 0.9 and params.opt = 'adam'",
            order_by=["metrics.val_acc DESC"], max_results=SHOWN,
        )  # fmt: skip
        return [run.info.run_name for run in found]

    def curve(self, values):
        def body():
            for at in range(0, len(values), BATCH):
                part = enumerate(values[at : at + BATCH], at)
                self.client.log_batch(self.id, metrics=[self.Metric("loss", value, 1, step) for step, value in part])

        self.run(body)

    def read(self):
        points = self._history()
        return len(points), sum(point.value for point in points)

    def _history(self):
        (run,) = self.client.search_runs([self.experiment])
        return self.client.get_metric_history(run.info.run_id, "loss")


if __name__ == "__main__":
    main(MLflow)
