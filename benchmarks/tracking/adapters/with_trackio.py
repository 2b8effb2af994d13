"""trackio, local; reading and searching by what its command line calls."""

from __future__ import annotations

import contextlib
import io

from work import TEN, main

QUERY = """
SELECT m.run_name, json_extract(m.metrics, '$.val_acc') AS best FROM metrics m JOIN configs c ON c.run_id = m.run_id
WHERE best > 0.9 AND json_extract(c.config, '$.opt') = 'adam' ORDER BY best DESC LIMIT 50
"""


class Trackio:
    """One project, `bench`, in TRACKIO_DIR."""

    def __init__(self) -> None:
        import trackio

        self.trackio = trackio
        self.log = trackio.log

    def run(self, body):
        self.trackio.init(project="bench")
        body()
        self.trackio.finish()

    def one(self, step):
        self.log({"loss": 0.5}, step=step)

    def ten(self, step):
        self.log(TEN, step=step)

    def newest(self):
        self.open()
        return max((row["step"] for row in self._values()), default=-1)

    def fill(self, runs):
        for name, params, metrics in runs:
            with contextlib.redirect_stdout(io.StringIO()):
                self.trackio.init(project="bench", name=name, config=params)
                self.log(metrics)
                self.trackio.finish()

    def open(self):
        from trackio.sqlite_storage import SQLiteStorage

        self.storage = SQLiteStorage

    def search(self):
        return [row["run_name"] for row in self.storage.query_project("bench", QUERY)["rows"]]

    def curve(self, values):
        def body():
            for step, value in enumerate(values):
                self.log({"loss": value}, step=step)

        self.run(body)

    def read(self):
        rows = self._values()
        return len(rows), sum(row["value"] for row in rows)

    def _values(self):
        found = self.storage.get_run_records("bench")
        if not found:
            return []
        return self.storage.get_metric_values("bench", found[0]["name"], "loss", run_id=found[0]["id"])


if __name__ == "__main__":
    main(Trackio)
