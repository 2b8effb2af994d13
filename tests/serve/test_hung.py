"""Calls that never return, take long or fail in odd places: others are answered, and a server that cannot says so."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import pickle
import threading
import time
import weakref
from collections import OrderedDict, UserDict, UserList
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from studio.errors import ServeError
from studio.models.base import DictModel, TensorModel, TensorSpec
from studio.serve.access import Access
from studio.serve.codec import weight_of_plain
from studio.serve.cost import LOOP_BELOW_S, Cost
from studio.serve.endpoint import Endpoint, Limits
from studio.serve.idle import Idle
from studio.serve.message import Head, Reply
from studio.serve.predictor import Predictor

from .conftest import Served, wait_until

SEQUENCE = (TensorSpec("x", "float32", (-1, -1)),)
ROW = (TensorSpec("y", "float32", (-1,)),)


def by_length(slept: float = 0.3) -> Callable[[Sequence[Any]], Sequence[Any]]:
    """A model that is quick on rows of up to 100 numbers, and takes long for others."""

    def run(arrays: Sequence[Any]) -> Sequence[Any]:
        if arrays[0].shape[1] > 100:
            time.sleep(slept)
        return [arrays[0].sum(axis=1)]

    return run


def tensor(run: Callable[[Sequence[Any]], Sequence[Any]], **changes: Any) -> TensorModel:
    return TensorModel(
        **{"style": "test", "arrays": True, "inputs": SEQUENCE, "outputs": ROW, "run": run, "call_s": 1e-6, **changes}
    )


def drive(model: Any, work: Callable[[Endpoint], Any], mode: str = "auto", **options: Any) -> Any:
    async def main() -> Any:
        predictor = Predictor(
            model, loop=asyncio.get_running_loop(), timeout_s=options.get("timeout_s", 60.0), batch_mode=mode
        )
        endpoint = Endpoint(predictor, Access("127.0.0.1"), Idle(0), Limits(**options))
        try:
            return await work(endpoint)
        finally:
            endpoint.close()
            predictor.close()

    return asyncio.run(main())


async def ask(endpoint: Endpoint, values: Any, form: str = "application/json") -> Reply:
    done: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
    body = values if isinstance(values, bytes) else json.dumps(values).encode()
    endpoint.start(Head("POST", "/", "", {b"content-type": form.encode()}), body, done.set_result)
    return await done


class Turns:
    """The longest time that the event loop did not get to others."""

    def __init__(self) -> None:
        self.longest = 0.0

    async def __aenter__(self) -> Turns:
        self._task = asyncio.ensure_future(self._count())
        await asyncio.sleep(0)
        return self

    async def _count(self) -> None:
        last = time.monotonic()
        while True:
            await asyncio.sleep(0.005)
            now = time.monotonic()
            self.longest, last = max(self.longest, now - last), now

    async def __aexit__(self, *exc: object) -> None:
        await asyncio.sleep(0.02)
        self._task.cancel()


@pytest.mark.parametrize("mode", ["auto", "loop"])
def test_a_long_row_of_a_quick_model_does_not_hold_the_event_loop(mode: str) -> None:
    threads: dict[int, list[str]] = {}
    model = by_length()

    def run(arrays: Sequence[Any]) -> Sequence[Any]:
        threads.setdefault(arrays[0].shape[1], []).append(threading.current_thread().name)
        return model(arrays)

    async def work(endpoint: Endpoint) -> list[int]:
        short, long = {"a": [1.0] * 8}, {"a": [1.0] * 2000}
        return [(await ask(endpoint, values)).status for values in (*[short] * 50, long, long)]

    assert set(drive(tensor(run, bounded=True), work, mode)) == {200}
    assert threads[2000] == ["model"] * 2
    assert "MainThread" in threads[8]  # by then it was known to be quick


@pytest.mark.parametrize("mode", ["auto", "loop"])
def test_a_call_that_takes_as_long_as_a_value_says_ends_at_the_time_limit_and_holds_nobody_up(mode: str) -> None:
    ended = threading.Event()

    def run(arrays: Sequence[Any]) -> Sequence[Any]:
        if arrays[0].max() > 1e6:
            ended.wait(60)
        return [arrays[0].sum(axis=1)]

    async def work(endpoint: Endpoint) -> tuple[float, int, int]:
        for _ in range(60):
            assert (await ask(endpoint, {"a": [1.0] * 8})).status == 200
        async with Turns() as turns:
            late = await ask(endpoint, {"a": [2e6] * 8})
        after = await ask(endpoint, {"a": [1.0] * 8})
        ended.set()
        return turns.longest, late.status, after.status

    longest, late, after = drive(tensor(run), work, mode, timeout_s=1.0)
    assert (late, after) == (504, 200)
    assert longest < 30.0


def test_a_size_that_once_held_the_loop_does_not_come_back() -> None:
    class Batch:
        rows, tensors = 1, [np.zeros((1, 8), np.float32)]

    cost, batch = Cost(), [Batch()]
    assert not cost.quick(batch)  # never met
    cost.learn(batch, 1e-5)
    assert cost.quick(batch)
    cost.learn(batch, LOOP_BELOW_S * 4)
    assert not cost.quick(batch)
    for _ in range(20):
        cost.learn(batch, 1e-5)
    assert cost.quick(batch)
    cost.learn(batch, 1.0)
    for _ in range(100):
        cost.learn(batch, 1e-5)
    assert not cost.quick(batch)
    Batch.tensors = [np.zeros((1, 4000), np.float32)]
    assert not cost.quick(batch)
    Batch.tensors = [np.array([["text"]], object)]
    cost.learn(batch, 1e-9)
    assert not cost.quick(batch)


def test_the_time_limit_holds_in_every_phase() -> None:
    gate = threading.Event()

    class Slow(dict[str, object]):
        def items(self) -> Any:
            gate.wait(60)
            return super().items()

    class Late:
        @property
        def __array__(self) -> Any:
            gate.wait(60)
            raise AttributeError

    async def work(endpoint: Endpoint) -> list[int]:
        return [(await ask(endpoint, {"a": n})).status for n in (0, 1)]

    answers: list[Any] = [Slow(a=1), {"a": Late()}]
    model = DictModel(style="test", call=lambda data: answers[data["a"]], threads=2)  # type: ignore[call-overload]
    assert drive(model, work, timeout_s=0.5) == [504, 504]
    gate.set()


class Odd:
    """Answers of wrappers that fail when they are read."""

    class Length(dict[str, object]):
        def __len__(self) -> int:
            raise MemoryError

        def items(self) -> Any:
            raise RecursionError

    class Key:
        def __str__(self) -> str:
            raise SystemExit(3)

        __repr__ = __str__

    class Inner(Mapping[str, object]):
        def __iter__(self) -> Any:
            raise KeyboardInterrupt

        __len__ = __getitem__ = __iter__

    class Error(BaseException):
        def __str__(self) -> str:
            raise ValueError("no text")


def raised(exc: BaseException) -> Any:
    raise exc


def ring(kind: Callable[[], Any]) -> Any:
    made = kind()
    if isinstance(made, np.ndarray):
        made[0] = made
    elif isinstance(made, MutableMapping):
        made["itself"] = made
    else:
        made.append(made)
    return made


def doubled(kind: Callable[[Any], Any], times: int = 40) -> Any:
    """Some lists that would be 2 to the power of `times` when they are written."""
    made: Any = 1.0
    for _ in range(times):
        made = kind([made, made])
    return made


def objects(items: list[Any]) -> Any:
    made = np.empty(len(items), object)
    made[:] = [[item] for item in items]
    return made


@pytest.mark.parametrize(
    "call",
    [
        lambda data: Odd.Length(),
        lambda data: {Odd.Key(): 1},
        lambda data: {"a": Odd.Inner()},
        lambda data: {"a": object()},
        lambda data: raised(Odd.Error()),
        lambda data: raised(RecursionError()),
        lambda data: raised(MemoryError()),
        lambda data: raised(GeneratorExit()),
        lambda data: {1: 2, "1": 3},
        lambda data: ring(dict),
        lambda data: ring(OrderedDict),
        lambda data: ring(UserDict),
        lambda data: {"a": ring(list)},
        lambda data: {"a": ({"b": [ring(UserList)]},)},
        lambda data: {"a": ring(lambda: np.empty(1, object))},
        lambda data: {"a": doubled(list)},
        lambda data: {"a": doubled(tuple)},
        lambda data: {"a": doubled(lambda two: dict(enumerate(two)))},
        lambda data: {"a": Decimal(1), "b": doubled(UserList)},
        lambda data: {"a": doubled(objects, 30)},
        lambda data: {"a": range(10**15)},
        lambda data: {"a": range(10**30)},
        lambda data: {"a": [range(10**7 + k) for k in range(9)]},
        lambda data: {"a": doubled(lambda two: [two], 300)},
        lambda data: {"a": 1 << (1 << 26)},
    ],
)
@pytest.mark.parametrize("threads", [0, 1])
def test_whatever_goes_wrong_is_a_500_at_once_and_costs_no_thread(call: Any, threads: int) -> None:
    async def work(endpoint: Endpoint) -> list[int]:
        bad = [(await ask(endpoint, {"a": "bad"})).status for _ in range(5)]
        return [*bad, (await ask(endpoint, {"a": "good"})).status]

    model = DictModel(style="test", call=lambda d: d if d["a"] == "good" else call(d), threads=threads)
    assert drive(model, work) == [500] * 5 + [200]


@pytest.mark.parametrize(("answer", "said"), [(ring(dict), "refers to itself"), ({"a": doubled(list)}, "too large")])
@pytest.mark.parametrize("form", ["application/json", "application/x-pickle"])
def test_an_answer_without_end_says_what_is_wrong(answer: dict[str, Any], said: str, form: str) -> None:
    async def work(endpoint: Endpoint) -> Reply:
        body = json.dumps({"a": 1}).encode() if "json" in form else pickle.dumps({"a": 1}, 2)
        return await ask(endpoint, body, form)

    reply = drive(DictModel(style="test", call=lambda data: answer, threads=1), work)
    assert reply.status == 500
    assert said in json.loads(reply.body)["error"]


def test_what_is_too_large_is_refused_before_it_is_unfolded() -> None:
    made = []

    class Lazy(Sequence[int]):
        def __len__(self) -> int:
            return 19_000_000

        def __getitem__(self, at: Any) -> Any:
            made.append(at)

    ranges = [range(19_000_000 + k) for k in range(4)]
    for answer in (ranges, [ranges[0], Lazy()], {"a": [0.0] * 10**6, "b": {"c": Lazy(), "d": ranges[0]}}):
        with pytest.raises(ServeError, match="too large"):
            weight_of_plain({"y": answer})
    assert not made
    for few in (range(0), range(5), range(1 << 40, (1 << 40) + 9), range(-(1 << 70), 4, 1 << 69)):
        assert weight_of_plain({"y": few}) == weight_of_plain({"y": list(few)})


def test_what_is_only_shared_is_written() -> None:
    row = [1.5, 2.5]
    shared = {"a": [row, row, (row,)], "b": {"c": row, "d": None}, "e": OrderedDict(f=UserList([row])), "g": {}}

    async def work(endpoint: Endpoint) -> Reply:
        return await ask(endpoint, {"a": 1})

    reply = drive(DictModel(style="test", call=lambda data: shared, threads=1), work)
    assert json.loads(reply.body) == {
        "a": [row, row, [row]], "b": {"c": row, "d": None}, "e": {"f": [row]}, "g": {}
    }  # fmt: skip


def test_an_output_too_many_is_a_500_and_not_a_504() -> None:
    async def work(endpoint: Endpoint) -> int:
        return (await ask(endpoint, {"a": [1.0, 2.0]})).status

    two = (*ROW, *ROW, *ROW)
    assert drive(tensor(lambda arrays: [arrays[0], arrays[0]], outputs=two), work) == 500


HANGS = """\
import threading

def create_model(modeldir):
    def model(data):
        if data.get("x") == "hang":
            threading.Event().wait()
        return data
    return model
"""


def test_a_server_whose_calls_hang_is_not_ready_and_ends(
    serve: Callable[..., Served], wrapper: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = tmp_path / "spool"
    spool.mkdir()
    monkeypatch.setenv("STUDIOML_SPOOL", str(spool))  # as in the experiment that a serving is
    server = serve("--wrapper", wrapper(HANGS), "--timeout", "0.3")
    assert server.ask("GET", "/readyz").status == 200
    told: list[Any] = []

    def look() -> bool:
        with contextlib.suppress(OSError):
            told.append(server.ask("GET", "/readyz"))
        return server.process.poll() is not None

    def hang() -> None:
        with contextlib.suppress(OSError):
            while server.process.poll() is None:
                server.post({"x": "hang"})

    clients = [threading.Thread(target=hang) for _ in range(8)]
    for client in clients:
        client.start()
    wait_until(look, "the server ends", 120)
    for client in clients:
        client.join()
    assert server.process.returncode == 8
    refused = [one for one in told if one.status == 503]
    assert refused and "hang" in refused[0].json["reason"]
    assert server.errors.count("this server can answer no more and ends") == 1
    events = [json.loads(line) for line in (spool / "events").read_text().splitlines()]
    ended = [event for event in events if event["type"] == "exception"]
    assert [(e["name"], "calls hang beyond --timeout" in e["text"]) for e in ended] == [("ServeError", True)]


def test_what_a_request_held_is_given_back_without_the_garbage_collector(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("CRITICAL", "studio.serve.endpoint")  # pytest keeps the records, and so the frames
    held: list[Any] = []

    class Watched(np.ndarray):  # type: ignore[type-arg]
        pass

    def run(arrays: Sequence[Any]) -> Sequence[Any]:
        made = arrays[0].sum(axis=1).view(Watched)
        held.extend((weakref.ref(arrays[0]), weakref.ref(made)))
        if arrays[0][0, 0] < 0:
            raise ValueError("negative")
        return [made]

    def call(data: dict[str, Any]) -> dict[str, Any]:
        held.append(weakref.ref(data["a"]))
        if data["a"].size == 3:
            raise ValueError("three")
        return {"a": data["a"]}

    bodies = [b'{"a": [1.0, 2.0]}', b'{"a": [-1.0, 2.0]}', b'{"a": [1.0, 2.0, 3.0]}', b'{"a": [[1], [2, 3]]}',
              json.dumps({"a": [1.5] * 100_000}).encode(), json.dumps({"a": [-1.5] * 100_000}).encode()]  # fmt: skip

    def alive() -> bool:
        return any(one() is not None for one in held)

    async def work(endpoint: Endpoint) -> None:
        for body in bodies:
            await ask(endpoint, body)
            deadline = time.monotonic() + 30
            while alive() and time.monotonic() < deadline:
                await asyncio.sleep(0.005)  # the thread that answered goes on to wait for the next request
            assert not alive(), body[:40]

    gc.collect()
    gc.disable()
    try:
        drive(tensor(run), work)
        drive(DictModel(style="test", call=call, threads=1, arrays=True), work)
        drive(DictModel(style="test", call=call, threads=0, arrays=True), work)
        assert len(held) > 12
    finally:
        gc.enable()
