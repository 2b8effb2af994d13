"""Ready means ready: before that, a model has answered in every form of the wire, or it is said which ones fail."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier

from studio.errors import ModelLoadError
from studio.models.base import TensorModel, TensorSpec
from studio.serve.access import Access
from studio.serve.endpoint import Endpoint, Limits
from studio.serve.facts import Facts
from studio.serve.idle import Idle
from studio.serve.oip import OpenInference
from studio.serve.predictor import Predictor
from studio.serve.rehearsal import rehearse

from .conftest import Served

Serve = Callable[..., Served]


def model(run: Callable[[Sequence[Any]], Sequence[Any]], **changes: Any) -> TensorModel:
    known: dict[str, Any] = {
        "style": "checkpoint", "file": "m", "arrays": True, "inputs": (TensorSpec("x", "float32", (-1, 2)),),
        "outputs": (TensorSpec("y", "float32", (-1, 2)),), "run": run,
        "probe": lambda rows: [np.ones((rows, 2), np.float32)],
    }  # fmt: skip
    return TensorModel(**{**known, **changes})


def rehearsed(made: Any, timeout_s: float = 60.0) -> list[str]:
    async def main() -> list[str]:
        loop = asyncio.get_running_loop()
        predictor = Predictor(made, loop=loop, timeout_s=timeout_s)
        endpoint = Endpoint(predictor, Access("127.0.0.1", None, (), ()), Idle(0), Limits(timeout_s=timeout_s))
        try:
            return await rehearse(endpoint, OpenInference(Facts(made, Idle(0), "m", {})))
        finally:
            endpoint.close()
            predictor.close()

    return asyncio.run(main())


def test_a_model_is_asked_in_every_form_for_one_item_and_for_rows() -> None:
    asked: list[int] = []

    def run(arrays: Sequence[Any]) -> Sequence[Any]:
        asked.append(len(arrays[0]))
        return [arrays[0]]

    assert rehearsed(model(run)) == []
    assert sorted(asked) == [1] * 7 + [2]  # json, pickle, npy, npz, safetensors, two of the protocol; two rows


def test_answers_that_one_form_cannot_carry_are_told_of() -> None:
    dates = np.array(["2026-01-01"], "M8[D]")
    [*told] = rehearsed(model(lambda arrays: [np.repeat(dates, len(arrays[0]))]))
    assert any(line.startswith("requests as safetensors are not answered: ") for line in told)
    assert any("Open Inference" in line for line in told) and not any("json" in line.split(":")[0] for line in told)


def test_several_outputs_are_arrays_of_their_own_in_forms_that_hold_nothing_else() -> None:
    two = (TensorSpec("y", "float32", (-1, 2)), TensorSpec("z", "float32", ()))
    made = model(lambda xs: [xs[0], np.float32(1)], outputs=two, by_row=(True, False), unmerged="z")
    assert rehearsed(made) == []


def test_a_model_that_no_form_gets_an_answer_from_is_not_ready() -> None:
    def run(arrays: Sequence[Any]) -> Sequence[Any]:
        raise ValueError("never")

    with pytest.raises(ModelLoadError, match="m was loaded, but cannot be served: the model raised ValueError"):
        rehearsed(model(run))


def test_a_model_that_hangs_is_not_ready() -> None:
    gate = threading.Event()
    try:
        with pytest.raises(ModelLoadError, match=r"no answer within 0\.2 s"):
            rehearsed(model(lambda arrays: gate.wait(60) and [arrays[0]]), timeout_s=0.2)  # type: ignore[arg-type, return-value]
    finally:
        gate.set()


def test_dates_are_served_and_the_metadata_names_the_forms_that_lack_them(serve: Serve, tmp_path: Path) -> None:
    days = np.array(["2026-01-01", "2026-06-01"], "M8[D]")
    joblib.dump(KNeighborsClassifier(1).fit([[0.0], [1.0]], days), tmp_path / "days.joblib")
    server = serve("--modeldir", tmp_path / "days.joblib")
    assert server.post({"a": [0.9]}).json == {"a": "2026-06-01"}
    told = server.ask("GET", "/metadata").json
    assert told["stacking"] is True and told["unmerged"] is None
    assert any(line.startswith("requests as safetensors") for line in told["warnings"])
    assert "requests as safetensors" in server.errors


def test_clients_that_ask_a_detector_at_once_get_their_own_hits(serve: Serve, tmp_path: Path) -> None:
    from tests.models.test_answers_of_onnx import HITS, INT64, rows, value
    from tests.models.test_answers_of_onnx import model as onnx

    pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")
    (tmp_path / "m.onnx").write_bytes(onnx([rows("x")], [value("y", INT64, ("hits", 2))], *HITS))
    server = serve("--modeldir", tmp_path / "m.onnx", "--batch-mode", "thread")
    questions = {(1, 0, 1): [[0, 0], [0, 2]], (0, 0, 0): [], (0, 1, 0): [[0, 1]]}
    wrong: list[object] = []

    def client(question: tuple[int, ...], want: object) -> None:
        for _ in range(30):
            answer = server.post({"a": [question]})
            if answer.status != 200 or answer.json["a"] != want:
                wrong.append(json.loads(answer.body))

    threads = [threading.Thread(target=client, args=pair) for pair in list(questions.items()) * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    told = server.ask("GET", "/metadata").json
    assert told["stacking"] is False and "'y'" in told["unmerged"] and told["runtime"]["batch"] == 1


def test_the_metadata_warn_once_rows_that_are_not_the_requests_rows_were_answered() -> None:
    from studio.serve.facts import Facts
    from studio.serve.idle import Idle

    why = "the model answered 0 rows for 1 in the output 'y'"
    facts = Facts(model(lambda arrays: arrays), Idle(60), "m", {}, unmerged=lambda: why)
    told = facts.metadata()
    assert told["stacking"] is False and told["warnings"] == [f"requests are not merged any more: {why}"]
    known = Facts(model(lambda arrays: arrays, unmerged=why), Idle(60), "m", {}, unmerged=lambda: why)
    assert known.metadata()["warnings"] == []


def test_batches_are_no_larger_than_those_tried_at_load(serve: Serve, tmp_path: Path) -> None:
    joblib.dump(KNeighborsClassifier(1).fit([[0.0], [1.0]], [3, 4]), tmp_path / "m.joblib")
    for asked, most in (("1000", 64), ("20", 20)):
        server = serve("--modeldir", tmp_path / "m.joblib", "--batch-size", asked)
        told = server.ask("GET", "/metadata").json
        assert told["runtime"]["batch"] == most and len(told["warnings"]) == (asked == "1000")
        assert ("batches have 64 rows at most" in server.errors) == (asked == "1000")
