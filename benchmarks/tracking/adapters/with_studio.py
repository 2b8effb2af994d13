"""studio, tracking the process itself by `studio.start()`, as the others do."""

from __future__ import annotations

from work import TEN, main


class Studio:
    """Home and store lie in the folder."""

    def __init__(self) -> None:
        import studio

        self.studio = studio
        self.log, self.log_many = studio.log, studio.log_many

    def run(self, body):
        with self.studio.start("bench"):
            body()

    def one(self, step):
        self.log({"loss": 0.5}, step)

    def ten(self, step):
        self.log(TEN, step)

    def many(self, steps):
        self.log_many("loss", steps, [0.5] * len(steps))

    def newest(self):
        self.open()
        steps, _, _ = self._curve("loss")
        return int(steps[-1]) if len(steps) else -1

    def fill(self, runs):
        from studio.experiment import Command, Experiment, Summary, Times

        self.open()
        for name, params, metrics in runs:
            summary = {key: Summary(value, value, value, 0, 1, value) for key, value in metrics.items()}
            self.opened.tracking.records.create(
                Experiment(key=name, command=Command("script", "train.py"), status="finished", project="bench",
                           params=params, summary=summary, times=Times(1.8e9, 1.8e9, 1.8e9 + 60))
            )  # fmt: skip

    def open(self):
        self.opened = self.studio.open_studio()

    def search(self):
        query = 'metrics.val_acc > 0.9 and params.opt = "adam"'
        return [found.key for found in self.opened.experiments(query, sort="-metrics.val_acc", limit=50)]

    def curve(self, values):
        with self.studio.start("bench"):
            for at in range(0, len(values), 1000):
                self.log_many("loss", range(at, at + 1000), values[at : at + 1000])

    def read(self):
        _, _, values = self._curve("loss")
        return len(values), float(values.sum())

    def _curve(self, name):
        from studio.tracking.metrics import Curves

        (run,) = self.opened.experiments()
        return Curves.from_store(self.opened.tracking.store, run.key).curve(name)


if __name__ == "__main__":
    main(Studio)
