"""Aim's SDK on a repository in the folder.

An ended run is seen by queries once it is indexed, by its server (`aim up`) or by `aim storage reindex`: done here
after filling and before a killed run is read, outside what is measured.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from work import SHOWN, TEN, main


class Aim:
    """Runs of experiment `bench`."""

    def __init__(self) -> None:
        import aim

        self.aim = aim

    def run(self, body):
        run = self.aim.Run(repo=".", experiment="bench")
        self.track = run.track
        body()
        run.close()

    def one(self, step):
        self.track(0.5, name="loss", step=step)

    def ten(self, step):
        self.track(TEN, step=step)

    def newest(self):
        index()
        self.open()
        steps, _ = self._data()
        return int(steps[-1]) if len(steps) else -1

    def fill(self, runs):
        for name, params, metrics in runs:
            run = self.aim.Run(
                repo=".", experiment="bench", system_tracking_interval=None, log_system_params=False,
                capture_terminal_logs=False,
            )  # fmt: skip
            run.name = name
            for key, value in params.items():
                run[key] = value
            for key, value in metrics.items():
                run.track(value, name=key)
            run.close()
        index()

    def open(self):
        self.repo = self.aim.Repo(".")

    def search(self):
        from aim.sdk.types import QueryReportMode

        query = "run.opt == 'adam' and metric.name == 'val_acc' and metric.last > 0.9"
        found = self.repo.query_metrics(query, report_mode=QueryReportMode.DISABLED)
        rows = [(metric.values.last_value(), metric.run.name) for metric in found.iter()]
        return [name for _, name in sorted(rows, reverse=True)[:SHOWN]]

    def curve(self, values):
        def body():
            for step, value in enumerate(values):
                self.track(value, name="loss", step=step)

        self.run(body)
        index()

    def read(self):
        _, columns = self._data()
        return len(columns[0]), float(sum(columns[0]))

    def _data(self):
        from aim.storage.context import Context

        (name,) = self.repo.list_all_runs()
        metric = self.aim.Run(name, repo=".", read_only=True).get_metric("loss", Context({}))
        return metric.data.numpy() if metric is not None else ([], [[]])


def index():
    words = [str(Path(sys.executable).with_name("aim")), "storage", "reindex", "-y"]
    subprocess.run(words, check=True, capture_output=True)


if __name__ == "__main__":
    main(Aim)
