"""Folds in one run: each curve whole in the record, and comparable and exported with the others."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from tests.studio_process import opened, studio

FOLDS = """
import json, sys
import numpy as np, xgboost as xgb
rng = np.random.default_rng(5)
X = rng.normal(size=(60, 3)); y = (X.sum(1) > 0).astype(int)
told = {}
for fold in range(1, 4):
    rows = np.arange(60) % 3 == fold - 1
    seen = {}
    xgb.train({"max_depth": fold + int(sys.argv[1]), "eta": 0.3, "objective": "binary:logistic", "nthread": 1},
              xgb.DMatrix(X[~rows], y[~rows]), 4, evals=[(xgb.DMatrix(X[rows], y[rows]), "test")], evals_result=seen,
              verbose_eval=False)
    told["xgboost%d/" % fold if fold > 1 else ""] = seen["test"]["logloss"]
print(json.dumps({prefix + "test/logloss": values for prefix, values in told.items()}))
"""


def test_curves_of_folds_are_compared_and_exported(tmp_path: Path) -> None:
    pytest.importorskip("xgboost", reason="xgboost is not installed")
    (tmp_path / "folds.py").write_text(FOLDS)
    told = {}
    for key, more in (("one", "0"), ("two", "1")):
        done = studio("run", "-e", key, "folds.py", more, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        told[key] = json.loads(done.stdout)
    found = opened().experiment("one").summary
    for name, values in told["one"].items():
        assert (found[name].count, found[name].last, found[name].step) == (4, values[-1], 3)
    done = studio("runs", "compare", "one", "two", "--json", cwd=tmp_path)
    rows = {(row["section"], row["name"]) for row in json.loads(done.stdout)["differences"]}
    assert {("parameters", f"xgboost{n}.max_depth") for n in ("", 2, 3)} <= rows, rows
    differ = {name for name, values in told["one"].items() if values != told["two"][name]}
    assert len(differ) > 1 and {name for section, name in rows if section == "curves part at"} == differ
    assert studio("runs", "export", "curves.csv", "--curves", cwd=tmp_path).returncode == 0
    kept: dict[tuple[str, str], dict[int, float]] = {}
    with open(tmp_path / "curves.csv", newline="") as file:
        for row in csv.DictReader(file):
            kept.setdefault((row["key"], row["name"]), {})[int(row["step"])] = float(row["value"])
    for key, curves in told.items():
        for name, values in curves.items():
            assert kept[key, name] == dict(enumerate(values))
