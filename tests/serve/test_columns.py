"""Columns with names are put in the model's order or refused, in every form that carries names; never by position."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest

from studio.cli.predict_inputs import fit_files, read_values
from studio.client import ModelClient
from studio.errors import BadInput
from studio.models import load_model
from studio.models.base import TensorSpec
from studio.serve.codec import encode_request
from studio.serve.columns import places, refuse_columns

from .conftest import Served
from .test_predict_command import ask

pd = pytest.importorskip("pandas", reason="pandas is not installed")
sklearn = pytest.importorskip("sklearn", reason="scikit-learn is not installed")
from sklearn.linear_model import LinearRegression  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import StandardScaler  # noqa: E402

NAMES = ["age", "hours worked", "size"]
X = pd.DataFrame(np.random.default_rng(0).normal(size=(30, 3)), columns=NAMES)
Y = X["age"] + 10 * X["hours worked"] + 100 * X["size"]
ROWS = X[:3]


@pytest.mark.parametrize(("given", "order"), [
    (NAMES, None), (["age", "hours_worked", " size "], None), (["size", "age", "hours_worked"], [1, 2, 0]),
])  # fmt: skip
def test_the_order_of_names(given: list[str], order: list[int] | None) -> None:
    assert places(given, NAMES, "it") == order


@pytest.mark.parametrize(("given", "said"), [
    (["age", "size"], "'hours worked' is missing"),
    (["age", "hours worked", "weight"], "'size' is missing, 'weight' is unknown"),
    (["", "age", "hours worked", "size"], "'' is unknown"),
    (["age", "age", "hours worked", "size"], "'age' is there twice"),
])  # fmt: skip
def test_other_names_are_refused_with_the_first_that_differs(given: list[str], said: str) -> None:
    with pytest.raises(BadInput, match="it: ") as caught:
        places(given, NAMES, "it")
    assert said in caught.value.message and "age, hours worked, size" in caught.value.hint
    assert ("index=False" in caught.value.hint) == ("" in given)


def test_names_that_differ_in_a_space_only_are_two() -> None:
    assert places(["a_b", "a b"], ["a b", "a_b"], "it") == [1, 0]


def test_a_model_in_service(serve: Callable[..., Served], tmp_path: Path) -> None:
    joblib.dump(make_pipeline(StandardScaler(), LinearRegression()).fit(X, Y), tmp_path / "model.joblib")
    server = serve("--modeldir", str(tmp_path))
    (told,) = json.loads(server.ask("GET", "/metadata").body)["inputs"]
    assert told["columns"] == NAMES
    wanted = Y[:3].to_numpy()

    def answers(text: str) -> Any:
        (tmp_path / "rows.csv").write_text(text)
        done = ask(server.url, "-i", tmp_path / "rows.csv", "--json")
        assert done.exception is None, done.exception
        return json.loads(done.stdout)["rows"]

    np.testing.assert_allclose(answers(ROWS.to_csv(index=False, header=False)), wanted)
    for columns in (NAMES, NAMES[::-1], ["size", "age", "hours worked"]):
        np.testing.assert_allclose(answers(ROWS[columns].to_csv(index=False)), wanted)
    (tmp_path / "rows.csv").write_text(ROWS.to_csv())
    done = ask(server.url, "-i", tmp_path / "rows.csv")
    assert isinstance(done.exception, BadInput) and "'' is unknown" in done.exception.message
    with ModelClient(server.url) as client:
        np.testing.assert_allclose(client.predict({"a": ROWS[NAMES[::-1]]})["a"], wanted)
        with pytest.raises(BadInput, match="'age' is missing"):
            client.predict({"a": ROWS[NAMES[1:]]})
        with pytest.raises(BadInput, match="not a dictionary"):
            client.predict(ROWS)
    for form in ("json", "pickle", "npz", "safetensors"):  # three rows for each of three columns: taken for items
        for columns in (NAMES, NAMES[::-1], [NAMES[0], "weight", NAMES[2]]):
            values = {name: np.arange(3.0) for name in columns}
            body, kind = encode_request(values, form)
            answer = server.ask("POST", "/", body, Content_Type=kind)
            known = ", ".join([name for name in columns if name in NAMES])
            assert answer.status == 400 and f"{known} are columns" in answer.body.decode(), answer
    for column in NAMES[:2]:
        tensors = [{"name": n, "shape": [3], "datatype": "FP64", "data": [1, 2, 3]} for n in (column, NAMES[2])]
        body = json.dumps({"inputs": tensors}).encode()
        assert server.ask("POST", "/v2/models/model.joblib/infer", body).status == 400
    assert server.post({"age": [1.0, 2.0, 3.0], "me": [1.0, 2.0, 3.0]}).status == 200  # a label like any other


@pytest.mark.parametrize(("names", "head", "order"), [
    ((), "b,a,c\n", [0, 1, 2]), ((), "", [0, 1, 2]), (("0", "1", "2"), "", [0, 1, 2]),
    (("0", "1", "2"), "0,1,2\n", [0, 1, 2]), (("0", "1", "2"), "2,0,1\n", [2, 0, 1]),
])  # fmt: skip
def test_without_a_line_of_names_or_known_names_rows_are_taken_by_position(
    tmp_path: Path, names: tuple[str, ...], head: str, order: list[int]
) -> None:
    (tmp_path / "rows.csv").write_text(head + ROWS.iloc[:, order].to_csv(index=False, header=False))
    spec = TensorSpec("x", "float64", (-1, 3), columns=names)
    assert ("columns" in spec.as_json()) == bool(names)
    values = fit_files(dict(read_values([("", str(tmp_path / "rows.csv"))])), {"inputs": [spec.as_json()]})
    np.testing.assert_allclose(values["rows"], ROWS.to_numpy())  # type: ignore[arg-type]
    refuse_columns({"0": [1, 2, 3], "1": [1, 2, 3]}, spec, frozenset())  # labels like any others


def note(folder: Path, file: str) -> None:
    columns = [{"name": name, "dtype": "float64", "low": -2.0, "high": 2.0} for name in NAMES]
    signature = {"inputs": [{"name": "x", "dtype": "float64", "shape": [-1, 3], "table": True, "columns": columns}]}
    (folder / ".studio.json").write_text(json.dumps({"schema": 1, "models": [{"name": "m", "file": file,
                                                                             "signature": signature}]}))  # fmt: skip


@pytest.mark.parametrize("library", ["xgboost", "lightgbm", "recorded"])
def test_where_names_come_from(tmp_path: Path, library: str) -> None:
    if library == "recorded":  # of a model that tells none itself
        joblib.dump(LinearRegression().fit(X.to_numpy(), Y), tmp_path / "model.joblib")
        note(tmp_path, "model.joblib")
    elif library == "xgboost":
        booster: Any = pytest.importorskip("xgboost", reason="xgboost is not installed")
        booster.train({}, booster.DMatrix(X, Y), 2).save_model(tmp_path / "model.ubj")
    else:
        booster = pytest.importorskip("lightgbm", reason="lightgbm is not installed")
        booster.train({"verbose": -1}, booster.Dataset(X, Y), 2).save_model(tmp_path / "model.txt")
    (spec,) = load_model(tmp_path).inputs or ()
    assert [name.replace("_", " ") for name in spec.columns] == NAMES
