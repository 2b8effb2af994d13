"""The data plane alone: batches, isolation, deadlines, order; on a real event loop with small models."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import numpy as np
import pytest

from studio.errors import ContractViolation, Overloaded, ServeError, Timeout
from studio.models.base import DictModel, TensorModel, TensorSpec
from studio.serve.call import Call
from studio.serve.predictor import Predictor

X = (TensorSpec("x", "float32", (-1, 2)),)
Y = (TensorSpec("y", "float32", (-1, 2)),)
MODES = ("loop", "thread")


def tensor_model(run: Callable[[Sequence[Any]], Sequence[Any]], **changes: Any) -> TensorModel:
    return TensorModel(
        **{"style": "test", "arrays": True, "inputs": X, "outputs": Y, "run": run, "bounded": True, **changes}
    )


def drive(model: Any, work: Callable[[Predictor], Awaitable[Any]], **options: Any) -> Any:
    async def main() -> Any:
        predictor = Predictor(model, loop=asyncio.get_running_loop(), **options)
        try:
            return await work(predictor)
        finally:
            predictor.close()

    return asyncio.run(main())


class Recorder:
    """A model that adds one and keeps the sizes of its batches; it waits for its gate."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.gate = threading.Event()
        self.gate.set()

    def __call__(self, arrays: Sequence[Any]) -> Sequence[Any]:
        self.sizes.append(len(arrays[0]))
        self.gate.wait(120)
        return [arrays[0] + 1]


@pytest.mark.parametrize("mode", MODES)
def test_single_items_and_batches_keep_their_shape(mode: str) -> None:
    async def work(p: Predictor) -> Call:
        return await p.predict({"one": np.zeros(2), "many": np.zeros((3, 2)), "none": np.zeros((0, 2))})

    call = drive(tensor_model(Recorder()), work, batch_mode=mode)
    assert {k: v.shape for k, v in call.outputs.items()} == {"one": (2,), "many": (3, 2), "none": (0, 2)}
    assert list(call.outputs) == ["one", "many", "none"]
    assert call.outputs["one"].dtype == np.float32


@pytest.mark.parametrize("mode", MODES)
def test_ten_thousand_answers_meet_their_questions(mode: str) -> None:
    model = Recorder()

    async def ask(p: Predictor, k: int) -> bool:
        rows = k % 5
        x = np.full((rows, 2) if rows else 2, k, np.float32)
        call = await p.predict({str(k): x})
        got = call.outputs[str(k)]
        return got.shape == x.shape and bool((got == k + 1).all())

    async def work(p: Predictor) -> list[bool]:
        return list(await asyncio.gather(*(ask(p, k) for k in range(10_000))))

    assert all(drive(tensor_model(model), work, batch_mode=mode, max_inflight=20_000))
    assert max(model.sizes) <= 64 and len(model.sizes) < 1000


def test_what_waits_while_the_model_is_busy_is_one_batch() -> None:
    model = Recorder()
    model.gate.clear()

    async def work(p: Predictor) -> None:
        calls = [asyncio.ensure_future(p.predict({"a": np.zeros(2)}))]
        while not model.sizes:
            await asyncio.sleep(0.001)
        calls += [asyncio.ensure_future(p.predict({"a": np.zeros(2)})) for _ in range(30)]
        while p.inflight < 31:
            await asyncio.sleep(0)
        model.gate.set()
        await asyncio.gather(*calls)

    drive(tensor_model(model), work, batch_mode="thread")
    assert model.sizes == [1, 30]


@pytest.mark.parametrize("mode", MODES)
def test_a_poisonous_item_fails_alone(mode: str) -> None:
    calls: list[int] = []

    def run(arrays: Sequence[Any]) -> Sequence[Any]:
        calls.append(len(arrays[0]))
        if np.isnan(arrays[0]).any():
            raise SystemExit("poison")
        return [arrays[0]]

    async def work(p: Predictor) -> list[Call]:
        return list(await asyncio.gather(*(p.predict({"a": np.full(2, np.nan if k == 7 else k)}) for k in range(20))))

    done = drive(tensor_model(run), work, batch_mode=mode)
    for k, call in enumerate(done):
        if k == 7:
            assert isinstance(call.failure, ServeError) and "SystemExit" in call.failure.message
        else:
            assert (call.outputs["a"] == k).all()
    assert len(calls) <= 22


def test_shapes_are_never_mixed_and_each_gets_its_turn() -> None:
    spec = (TensorSpec("x", "float32", (-1, -1)),)
    seen: list[tuple[int, ...]] = []

    def run(arrays: Sequence[Any]) -> Sequence[Any]:
        seen.append(arrays[0].shape)
        return [arrays[0]]

    async def work(p: Predictor) -> list[Call]:
        return list(await asyncio.gather(*(p.predict({"a": np.full(2 + k % 3, k)}) for k in range(60))))

    done = drive(tensor_model(run, inputs=spec, outputs=spec), work, batch_mode="loop")
    assert [c.outputs["a"].shape for c in done] == [(2 + k % 3,) for k in range(60)]
    assert sorted(seen) == [(20, 2), (20, 3), (20, 4)]


def test_a_model_with_a_fixed_batch_is_never_given_another() -> None:
    model = Recorder()
    spec = (TensorSpec("x", "float32", (1, 2)),)

    async def work(p: Predictor) -> list[Call]:
        return list(await asyncio.gather(*(p.predict({"a": np.zeros(2)}) for _ in range(5))))

    assert all(c.outputs["a"].shape == (2,) for c in drive(tensor_model(model, inputs=spec, unmerged="one row"), work))
    assert model.sizes == [1] * 5


@pytest.mark.parametrize("mode", MODES)
def test_rows_that_are_not_the_requests_rows_end_merging_for_good(mode: str) -> None:
    model = Recorder()
    hits = lambda arrays: [model(arrays)[0][arrays[0][:, 0] > 0]]  # noqa: E731

    async def work(p: Predictor) -> tuple[list[Call], str | None, list[Call]]:
        rows = [np.array([[k % 3, k]], np.float32) for k in range(6)]
        before = list(await asyncio.gather(*(p.predict({"a": row}) for row in rows)))
        after = [await p.predict({"a": rows[0][0]}), await p.predict({"a": np.ones((3, 2)), "b": rows[0]})]
        return before, p.unmerged, after

    before, why, after = drive(tensor_model(hits), work, batch_mode=mode)
    for k, call in enumerate(before):
        assert call.outputs["a"].tolist() == ([[k % 3 + 1, k + 1]] if k % 3 else [])
    assert why is not None and "rows for" in why and "'y'" in why
    assert after[0].outputs["a"].shape == (0, 2)  # an item alone: whatever the model says of it
    assert {k: len(v) for k, v in after[1].outputs.items()} == {"a": 3, "b": 0}
    assert 1 in model.sizes and model.sizes[-2:] == [3, 1]


@pytest.mark.parametrize("mode", MODES)
def test_the_same_question_gets_the_same_form_whatever_others_asked_before(mode: str) -> None:
    hits = lambda arrays: [arrays[0][arrays[0][:, 0] > 0]]  # noqa: E731

    async def work(p: Predictor) -> list[list[float]]:
        asked = [await p.predict({"a": [x, 1.0]}) for x in (2.0, -1.0, 2.0, -1.0)]
        assert p.unmerged is not None and "'y'" in p.unmerged
        return [call.outputs["a"].tolist() for call in asked]

    assert drive(tensor_model(hits), work, batch_mode=mode) == [[2.0, 1.0], [], [2.0, 1.0], []]


@pytest.mark.parametrize("mode", MODES)
def test_an_unmerged_model_gets_each_item_alone_and_whole_answers_stay_whole(mode: str) -> None:
    model = Recorder()
    total = lambda arrays: [model(arrays)[0], np.float32(arrays[0].sum())]  # noqa: E731
    outputs = (*Y, TensorSpec("total", "float32", ()))

    async def work(p: Predictor) -> Call:
        return await p.predict({"a": [1.0, 2.0], "none": np.zeros((0, 2)), "b": np.ones((2, 2))})

    made = tensor_model(total, outputs=outputs, unmerged="a total", by_row=(True, False))
    call = drive(made, work, batch_mode=mode)
    assert call.outputs["a"]["y"].tolist() == [2.0, 3.0] and call.outputs["a"]["total"] == 3.0
    assert call.outputs["b"]["y"].shape == (2, 2) and call.outputs["b"]["total"] == 4.0
    assert sorted(model.sizes) == [0, 1, 2]


def test_a_number_without_axes_and_inputs_of_any_shape() -> None:
    model = tensor_model(
        lambda arrays: [arrays[0] * 3], inputs=(TensorSpec("x", "float32", ()),),
        outputs=(TensorSpec("y", "float32", ()),), unmerged="no rows", by_row=(False,),
    )  # fmt: skip

    async def work(p: Predictor) -> Call:
        return await p.predict({"a": 2.0, "b": np.float32(1), "bad": [1.0]})

    call = drive(model, work)
    assert (call.outputs["a"], call.outputs["b"]) == (6.0, 3.0) and "shape ()" in call.errors["bad"].message
    free = (TensorSpec("x", "float32", (), free=True),)
    call = drive(tensor_model(lambda a: [a[0] * 3], inputs=free, unmerged="any", by_row=(False,)), work)
    assert call.outputs["bad"].tolist() == [3.0] and call.outputs["a"] == 6.0


@pytest.mark.parametrize(("dtype", "value"), [("float16", 70000), ("float16", 7e4), ("float32", 1e39)])
def test_numbers_beyond_the_models_dtype_are_refused_not_infinite(dtype: str, value: float) -> None:
    async def work(p: Predictor) -> Call:
        return await p.predict({"a": [value, 1], "fine": [float("inf"), 1.0]})

    call = drive(tensor_model(Recorder(), inputs=(TensorSpec("x", dtype, (-1, 2)),)), work)
    assert f"beyond {dtype}" in call.errors["a"].message and "fine" in call.outputs


@pytest.mark.parametrize(
    ("value", "got"),
    [
        (np.zeros(3), "shape (3,)"),
        (np.zeros((1, 1, 2)), "shape (1, 1, 2)"),
        (np.array(["a", "b"]), "<U1"),
        (np.zeros(2, complex), "complex128"),
        (np.array(["2020-01-01", "2020-01-02"], "M8[D]"), "datetime64"),
        ("text", "a string"),
        (None, "null"),
        ([[1], [1, 2]], "unequal lengths"),
        (["a", "b"], "else than numbers"),
        (5, "shape ()"),
    ],
)
def test_a_violation_names_field_expected_and_got(value: object, got: str) -> None:
    async def work(p: Predictor) -> Call:
        return await p.predict({"bad": value, "good": np.zeros(2)})

    call = drive(tensor_model(Recorder()), work)
    assert list(call.outputs) == ["good"] and call.failure is None
    error = call.errors["bad"]
    assert isinstance(error, ContractViolation) and error.field == "bad"
    assert "'bad'" in error.message and "float32" in error.message and got in error.message


def test_integers_that_do_not_fit_are_refused() -> None:
    spec = (TensorSpec("x", "uint8", (-1, 1)),)

    async def work(p: Predictor) -> Call:
        return await p.predict({"ok": np.array([255]), "big": np.array([256]), "real": np.array([1.5])})

    call = drive(tensor_model(lambda a: a, inputs=spec, outputs=spec), work)
    assert call.outputs["ok"].dtype == np.uint8 and set(call.errors) == {"big", "real"}


TWO = (TensorSpec("left", "float32", (-1, 2)), TensorSpec("right", "float32", (-1, 1)))


def test_named_inputs_are_one_inference() -> None:
    def run(arrays: Sequence[Any]) -> Sequence[Any]:
        return [arrays[0] + arrays[1], arrays[1]]

    out = (TensorSpec("sum", "float32", (-1, 2)), TensorSpec("same", "float32", (-1, 1)))

    async def work(p: Predictor) -> list[Call]:
        one = {"right": np.ones(1), "left": np.zeros(2)}
        return [
            await p.predict(one),
            await p.predict({"a": one, "b": {"left": np.zeros((4, 2)), "right": np.ones((4, 1))}}),
            await p.predict({"left": np.zeros((2, 2)), "right": np.ones((3, 1))}),
            await p.predict({"left": np.zeros(2)}),
        ]

    named, labelled, uneven, missing = drive(tensor_model(run, inputs=TWO, outputs=out), work)
    assert {k: v.tolist() for k, v in named.outputs.items()} == {"sum": [1, 1], "same": [1]}
    assert labelled.outputs["a"]["sum"].shape == (2,) and labelled.outputs["b"]["same"].shape == (4, 1)
    assert isinstance(uneven.failure, ContractViolation) and "left: 2, right: 3" in uneven.failure.message
    assert isinstance(missing.failure, ContractViolation)


def test_a_deadline_is_kept_and_a_hung_model_is_replaced() -> None:
    hang = threading.Event()
    calls: list[int] = []

    def run(arrays: Sequence[Any]) -> Sequence[Any]:
        calls.append(1)
        if len(calls) == 1:
            hang.wait()
        return [arrays[0]]

    async def work(p: Predictor) -> list[Call]:
        first = await p.predict({"a": np.zeros(2)})
        second = await p.predict({"a": np.ones(2)})
        return [first, second]

    first, second = drive(tensor_model(run), work, batch_mode="thread", timeout_s=2)
    hang.set()
    assert isinstance(first.failure, Timeout)
    assert second.failure is None and (second.outputs["a"] == 1).all()


def test_what_was_cancelled_before_it_began_never_runs() -> None:
    began, gate = threading.Event(), threading.Event()
    seen: list[float] = []

    def run(arrays: Sequence[Any]) -> Sequence[Any]:
        began.set()
        gate.wait(120)
        seen.extend(arrays[0][:, 0].tolist())
        return [arrays[0]]

    async def work(p: Predictor) -> None:
        first = asyncio.ensure_future(p.predict({"a": np.full(2, 1)}))
        while not began.is_set():
            await asyncio.sleep(0.001)
        calls = [p.start({"a": np.full(2, k)}, lambda call: None) for k in (2, 3, 4)]
        p.cancel(calls[1])
        assert p.inflight == 3
        gate.set()
        await first
        while p.inflight:
            await asyncio.sleep(0.001)

    drive(tensor_model(run), work, batch_mode="thread")
    assert seen == [1, 2, 4]


def test_more_than_allowed_is_overloaded() -> None:
    async def work(p: Predictor) -> None:
        calls = [p.start({"a": np.zeros(2)}, lambda call: None) for _ in range(3)]
        with pytest.raises(Overloaded):
            p.start({"a": np.zeros(2)}, lambda call: None)
        for call in calls:
            p.cancel(call)
        assert (await p.predict({"a": np.zeros(2)})).outputs

    drive(tensor_model(Recorder()), work, max_inflight=3)


def test_of_many_keys_that_do_not_fit_few_errors_are_kept() -> None:
    async def work(p: Predictor) -> Call:
        return await p.predict({"good": np.zeros(2), **{f"k{i}": np.zeros(3) for i in range(4000)}})

    call = drive(tensor_model(Recorder()), work)
    assert list(call.outputs) == ["good"] and len(call.errors) == 4000
    assert len({id(error) for error in call.errors.values()}) < 300
    assert isinstance(call.errors["k3999"], ContractViolation) and "'k0'" in call.errors["k0"].message


def test_many_batches_on_the_loop_let_others_have_their_turn() -> None:
    ran: list[int] = []

    def run(arrays: Sequence[Any]) -> Sequence[Any]:
        time.sleep(0.002)
        ran.append(len(arrays[0]))
        return arrays

    async def work(p: Predictor) -> list[int]:
        done = asyncio.ensure_future(p.predict({f"k{i}": np.zeros(2) for i in range(2000)}))
        turns: list[int] = []
        while not done.done():
            await asyncio.sleep(0)
            turns.append(len(ran))
        assert len(done.result().outputs) == 2000
        return turns

    turns = drive(tensor_model(run), work, batch_mode="loop", batch_size=10)
    assert sum(ran) == 2000 and len(set(turns)) > 10


def test_dictionary_models_run_side_by_side() -> None:
    together = threading.Barrier(4)

    def call(data: dict[str, object]) -> dict[str, object]:
        together.wait(120)
        return data

    async def work(p: Predictor) -> list[Call]:
        return list(await asyncio.gather(*(p.predict({"k": k}) for k in range(8))))

    done = drive(DictModel(style="test", call=call, threads=4), work)
    assert [c.outputs for c in done] == [{"k": k} for k in range(8)]


def test_no_thread_is_left_when_it_is_closed() -> None:
    async def work(p: Predictor) -> None:
        await p.predict({"a": np.zeros(2)})

    before = threading.active_count()
    for _ in range(20):
        drive(tensor_model(Recorder()), work, batch_mode="thread")
        drive(DictModel(style="test", call=lambda d: d, threads=4), work)
    deadline = time.monotonic() + 60
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threading.active_count() <= before
