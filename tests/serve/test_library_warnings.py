"""What libraries warn of at each call stands once in the server's log."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import joblib
import pandas as pd
from sklearn.ensemble import RandomForestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from .conftest import Served

WRAPPER = """\
import warnings
import numpy as np

def create_model(modeldir):
    def call(data):
        with warnings.catch_warnings():
            warnings.simplefilter("always")  # as scikit-learn does, so that Python forgets what it has shown
            np.log(np.float64(0.0))
            warnings.warn(f"feature names of {len(data)}\\nare ignored: {id(data)}")
        return data
    return call
"""


def test_a_model_that_was_fitted_with_a_table_warns_once(serve: Callable[..., Served], tmp_path: Path) -> None:
    table = pd.DataFrame({"a": range(20), "b": range(20)})
    model = make_pipeline(StandardScaler(), RandomForestClassifier(20)).fit(table, [0, 1] * 10)
    joblib.dump(model, tmp_path / "model.joblib")
    server = serve("--modeldir", tmp_path / "model.joblib")
    for number in range(5):
        assert server.post({"x": [[float(number), 1.0]]}).status == 200
    lines = [line for line in server.errors.splitlines() if "valid feature names" in line]
    assert len(lines) <= 1, lines
    assert "warnings.warn(" not in server.errors


def test_each_kind_of_warning_is_logged_in_one_line(
    serve: Callable[..., Served], wrapper: Callable[[str], Path]
) -> None:
    server = serve("--wrapper", wrapper(WRAPPER))
    for number in range(5):
        assert server.post({"x": number}).status == 200
    lines = [line for line in server.errors.splitlines() if "Warning" in line]
    assert len(lines) == 2, lines
    assert "RuntimeWarning: divide by zero encountered in log (" in lines[0]
    assert "UserWarning: feature names of 1 are ignored: " in lines[1] and lines[1].endswith("; shown once)")
