"""`null` among numbers: refused with its position on every way in, unless the model handles missing values."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from studio.client import ModelClient
from studio.errors import BadInput, ContractViolation
from studio.models.base import TensorSpec
from studio.serve.codec import Limits, decode
from studio.serve.codec.oip import decode_infer
from studio.serve.contract import fit

from .conftest import Served

JSON, PICKLE = "application/json", "application/x-pickle"
NULLS = Limits(nulls=True)
ROWS: list[tuple[Any, str]] = [
    ([1, None], "'x'[1] is null"),
    ([[1.5, 2], [3, 4], [5, 6], [7, None]], "'x'[3][1] is null"),
    ([None], "'x'[0] is null"),
    ([[None, None]], "'x'[0][0] is null"),
    ([[[1], [2]], [[None], [4]]], "'x'[1][0][0] is null"),
    ([True, None], "'x'[1] is null"),
]


@pytest.mark.parametrize(("value", "said"), ROWS)
def test_the_position_is_named_and_with_nulls_it_is_not_a_number(value: Any, said: str) -> None:
    form = b'--b\r\nContent-Disposition: form-data; name="x"\r\n\r\n' + json.dumps(value).encode() + b"\r\n--b--\r\n"
    for body, kind in (
        (json.dumps({"x": value}).encode(), JSON),
        (pickle.dumps({"x": value}), PICKLE),
        (form, "multipart/form-data; boundary=b"),
    ):
        with pytest.raises(BadInput) as caught:
            decode(body, kind, arrays=True)
        assert caught.value.message == said and "--nulls nan" in caught.value.hint
        got = decode(body, kind, arrays=True, limits=NULLS)[0]["x"]
        np.testing.assert_array_equal(np.asarray(got), np.array(value, np.float64))
        assert decode(body, kind, arrays=False)[0]["x"] == value  # a wrapper's own matter


@pytest.mark.parametrize("datatype", ["FP16", "FP32", "FP64", "INT32", "UINT8", "BOOL"])
@pytest.mark.parametrize(("data", "shape", "said"), [
    ([1, None], [2], "'x'[1] is null"), ([1, 2, 3, None], [2, 2], "'x'[1][1] is null"),
    ([[1, None], [3, 4]], [2, 2], "'x'[0][1] is null"), ([None], [1, 1, 1], "'x'[0][0][0] is null"),
    ([None], [], "'x' is null"),
])  # fmt: skip
def test_open_inference(datatype: str, data: Any, shape: list[int], said: str) -> None:
    body = json.dumps({"inputs": [{"name": "x", "shape": shape, "datatype": datatype, "data": data}]}).encode()
    with pytest.raises(BadInput) as caught:
        decode_infer(body, None)
    assert caught.value.message == said
    if datatype.startswith("FP"):
        assert np.isnan(decode_infer(body, None, limits=NULLS)[0]["x"]).any()
    else:
        with pytest.raises(BadInput):
            decode_infer(body, None, limits=NULLS)


def test_a_null_among_texts_is_never_read() -> None:
    for body in (b'{"x": ["a", null]}', b'{"x": [[null], ["a"]]}'):
        with pytest.raises(BadInput, match="is null"):
            decode(body, JSON, arrays=True, limits=NULLS)


def test_lists_inside_of_an_object() -> None:
    spec = TensorSpec("left", "float32", (-1, 2))
    with pytest.raises(ContractViolation) as caught:
        fit(spec, [[1, 2], [3, None]], "item.left")
    assert caught.value.message == "'item.left'[1][1] is null" and caught.value.http_status == 422
    array, _ = fit(spec, [[1, 2], [3, None]], "item.left", nulls=True)
    assert array.dtype == np.float32 and np.isnan(array[1, 1])


SUM = """\
import numpy as np

def create_model(modeldir):
    return lambda data: {key: np.isnan(value).sum() for key, value in data.items()}

create_model.arrays = True
create_model.handles_missing = MISSING
"""


def test_a_server_refuses_or_reads_as_it_is_told(
    serve: Callable[..., Served], wrapper: Callable[..., Path], tmp_path: Path
) -> None:
    text = SUM.replace("MISSING", "False")
    file = tmp_path / "x.json"
    file.write_text('{"x": [1, null]}')
    predict = [sys.executable, "-m", "studio", "predict", "--input", str(file)]
    refuses = serve("--wrapper", wrapper(text))
    answer = refuses.post({"x": [1, None]})
    assert (answer.status, answer.json["kind"], answer.json["error"]) == (400, "BadInput", "'x'[1] is null")
    done = subprocess.run([*predict, refuses.url], capture_output=True, text=True, check=False)
    assert done.returncode == 8 and "'x'[1] is null" in done.stderr
    with ModelClient(refuses.url) as client, pytest.raises(BadInput, match="is null"):
        client.predict({"x": [1.0, None]})
    for server in (serve("--wrapper", wrapper(text), "--nulls", "nan"),
                   serve("--wrapper", wrapper(SUM.replace("MISSING", "True"), "other.py"))):  # fmt: skip
        assert server.post({"x": [1, None]}).json == {"x": 1}
        assert subprocess.run([*predict, server.url], capture_output=True, check=True).stdout.strip() == b"x: 1"


def test_an_answers_null_is_not_a_number(serve: Callable[..., Served], wrapper: Callable[..., Path]) -> None:
    server = serve("--wrapper", wrapper("def create_model(d):\n    return lambda x: {'a': [1.0, None]}\n"))
    with ModelClient(server.url, form="json") as client:
        np.testing.assert_array_equal(np.asarray(client.predict({"x": 1})["a"]), [1.0, np.nan])


def test_estimators_and_boosters_say_whether_they_handle_missing_values(tmp_path: Path) -> None:
    joblib = pytest.importorskip("joblib")
    pytest.importorskip("sklearn")
    from sklearn.ensemble import HistGradientBoostingRegressor
    from sklearn.linear_model import LinearRegression

    from studio.models.load import load_model

    x, y = np.random.default_rng(0).normal(size=(60, 3)), np.arange(60.0)
    for estimator, handles in ((HistGradientBoostingRegressor(), True), (LinearRegression(), False)):
        folder = tmp_path / type(estimator).__name__
        folder.mkdir()
        joblib.dump(estimator.fit(x, y), folder / "model.joblib")
        assert load_model(folder).handles_missing is handles
    xgboost = pytest.importorskip("xgboost")
    folder = tmp_path / "booster"
    folder.mkdir()
    xgboost.train({}, xgboost.DMatrix(x, y), 2).save_model(folder / "model.json")
    assert load_model(folder).handles_missing
