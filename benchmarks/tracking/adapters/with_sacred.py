"""Sacred with its FileStorageObserver; it has nothing to read with, so its JSON is read as it lies there."""

from __future__ import annotations

import json
from pathlib import Path

from work import TEN, main


class Sacred:
    """Runs under `runs`."""

    def __init__(self) -> None:
        from sacred import Experiment
        from sacred.observers import FileStorageObserver

        self.experiment = Experiment("bench", save_git_info=False)
        self.experiment.observers.append(FileStorageObserver("runs"))
        self.log_scalar = self.experiment.log_scalar

    def run(self, body):
        self.experiment.main(body)
        self.experiment.run()

    def one(self, step):
        self.log_scalar("loss", 0.5, step)

    def ten(self, step):
        for name, value in TEN.items():
            self.log_scalar(name, value, step)

    def newest(self):
        return max(self._loss()["steps"], default=-1)

    def open(self):
        pass

    def curve(self, values):
        def main():
            for step, value in enumerate(values):
                self.log_scalar("loss", value, step)

        self.run(main)

    def read(self):
        values = self._loss()["values"]
        return len(values), sum(values)

    def _loss(self):
        file = Path("runs", "1", "metrics.json")
        metrics = json.loads(file.read_text() or "{}") if file.exists() else {}
        return metrics.get("loss", {"steps": [], "values": []})


if __name__ == "__main__":
    main(Sacred)
