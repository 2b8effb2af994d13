"""The Open Inference Protocol over HTTP: routes, every datatype, contracts, errors, access, damaged bodies."""

from __future__ import annotations

import contextlib
import http.client
import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.codec import oip_peer as peer
from tests.codec.test_oip import mutated

from .conftest import Answer, Served, environment, wait_until

ECHO = """\
import os, time
from studio.pipe import Outcome

def create_model(modeldir):
    def model(data):
        for name in data:
            if name == "raise":
                raise RuntimeError
            if name == "half":
                return Outcome({"half": data[name]}, {"other": ValueError("no such half")})
            if name == "odd":
                return {"y": {"a": 1}}
            while name == "wait for" and not os.path.exists(data[name][0]):
                time.sleep(0.01)
        return data
    return model
"""


class Contracts(Served):
    command = (str(Path(__file__).with_name("contract_server.py")),)


@pytest.fixture(scope="module")
def echo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A wrapper that returns what it gets."""
    folder = tmp_path_factory.mktemp("echo")
    (folder / "echo.py").write_text(ECHO)
    words = ["--wrapper", str(folder / "echo.py"), "--port", "0", "--timeout", "20", "--name", "echo"]
    server = Served(words, folder, environment(folder))
    yield server
    server.end()


@pytest.fixture(scope="module")
def contracts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Served]]:
    """Models with contracts, by name."""
    folder = tmp_path_factory.mktemp("contracts")
    servers = {name: Contracts([name], folder, environment(folder)) for name in ("one", "many", "two")}
    yield servers
    for server in servers.values():
        server.end()


def infer(server: Served, body: bytes, name: str = "echo", **headers: str) -> Answer:
    return server.ask("POST", f"/v2/models/{name}/infer", body, **headers)


def read(answer: Answer) -> dict[str, np.ndarray]:
    assert answer.status == 200, answer.body
    length = answer.headers.get("inference-header-content-length")
    assert answer.headers["content-type"] == ("application/octet-stream" if length else "application/json")
    return peer.read(answer.body, None if length is None else int(length))[0]


def error(answer: Answer, status: int) -> str:
    assert answer.status == status, answer.body
    assert list(answer.json) == ["error"] and answer.headers["x-request-id"]
    text: str = answer.json["error"]
    return text


def tensor(name: str, datatype: str, *shape: int) -> dict[str, object]:
    return {"name": name, "datatype": datatype, "shape": list(shape)}


# -- routes ---------------------------------------------------------------------------------------------


def test_what_is_served(contracts: dict[str, Served], echo: Served) -> None:
    two = contracts["two"]
    assert two.ask("GET", "/v2").json["extensions"] == ["binary_tensor_data"]
    assert two.ask("GET", "/v2/health/live").json == {"live": True}
    assert two.ask("GET", "/v2/health/ready").json == {"ready": True}
    for path in ("/v2/models/two", "/v2/models/two/versions/3"):
        assert two.ask("GET", path).json == {
            "name": "two", "versions": ["3"], "platform": "python",
            "inputs": [tensor("left", "FP32", -1, 2), tensor("right", "INT64", -1)],
            "outputs": [tensor("sum", "FP64", -1), tensor("right", "INT64", -1)],
        }  # fmt: skip
        assert two.ask("GET", path + "/ready").json == {"name": "two", "ready": True}
        assert two.ask("HEAD", path).body == b""
    assert echo.ask("GET", "/v2/models/echo").json["inputs"] == []


@pytest.mark.parametrize(
    "path",
    ["/v2/", "/v2/models", "/v2/models/", "/v2/models/tw", "/v2/models/two/", "/v2/models/two/versions/2",
     "/v2/models/two/versions/", "/v2/models/TWO", "/v2/models/two/versions/3/infer/x", "/v2/repository/index"],
)  # fmt: skip
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_nothing_else_answers(contracts: dict[str, Served], method: str, path: str) -> None:
    assert "'two'" in error(contracts["two"].ask(method, path, b"{}"), 404)


def test_wrong_methods(contracts: dict[str, Served]) -> None:
    refused = contracts["two"].ask("GET", "/v2/models/two/infer")
    assert error(refused, 405) and refused.headers["allow"] == "POST"
    refused = contracts["two"].ask("POST", "/v2/models/two", b"{}")
    assert error(refused, 405) and refused.headers["allow"] == "GET, HEAD"


def test_a_model_is_known_by_its_name_and_version_only(contracts: dict[str, Served]) -> None:
    body, headers = peer.request({"x": np.float32([[1, 2]])})
    one = contracts["one"]
    assert one.ask("POST", "/v2/models/one/versions/3/infer", body, **headers).json["model_version"] == "3"
    error(one.ask("POST", "/v2/models/one/versions/4/infer", body, **headers), 404)
    error(infer(one, body, "two", **headers), 404)


# -- tensors --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("binary_out", [False, True])
@pytest.mark.parametrize("binary_in", [False, True])
@pytest.mark.parametrize("datatype", peer.TYPES)
def test_every_datatype_comes_back(echo: Served, datatype: str, binary_in: bool, binary_out: bool) -> None:
    array = peer.samples()[datatype]
    body, headers = peer.request(
        {"x": array}, binary=["x"] if binary_in else [], parameters={"binary_data_output": binary_out}, id="42"
    )
    answer = infer(echo, body, **headers)
    assert peer.same(read(answer)["x"], array)
    assert ("inference-header-content-length" in answer.headers) == binary_out
    assert "queue;dur=" in answer.headers["server-timing"]


def test_all_datatypes_in_one_request_some_binary_each_way(echo: Served) -> None:
    arrays = peer.samples()
    names = list(arrays)
    wanted = [{"name": name, "parameters": {"binary_data": n % 3 == 0}} for n, name in enumerate(reversed(names))]
    body, headers = peer.request(arrays, binary=names[::2], outputs=wanted)
    found = read(infer(echo, body, X_Request_ID="r-1", **headers))
    assert list(found) == names[::-1] and all(peer.same(found[name], arrays[name]) for name in names)


def test_a_large_tensor_takes_the_thread(echo: Served) -> None:
    array = np.random.default_rng(1).random((300, 1000), dtype=np.float32)
    body, headers = peer.request({"x": array}, binary=["x"], parameters={"binary_data_output": True})
    assert peer.same(read(infer(echo, body, **headers))["x"], array)
    body, headers = peer.request({"x": array[:100]})
    assert peer.same(read(infer(echo, body, **headers))["x"], array[:100])


def test_one_input_is_a_batch_or_one_item(contracts: dict[str, Served]) -> None:
    for array in (np.float32([[1, 2], [3, 4]]), np.float32([1, 2])):
        body, headers = peer.request({"x": array}, binary=["x"])
        assert peer.same(read(infer(contracts["one"], body, "one", **headers))["y"], array * 2)
        both = read(infer(contracts["many"], body, "many", **headers))
        assert list(both) == ["y", "top"] and peer.same(both["top"], array.argmax(-1))
    assert list(read(infer(contracts["many"], peer.request({"x": array}, outputs=[{"name": "top"}])[0], "many"))) == [
        "top"
    ]


def test_several_inputs_are_one_inference(contracts: dict[str, Served]) -> None:
    left, right = np.float32([[1, 2], [3, 4]]), np.int64([10, 20])
    body, headers = peer.request({"right": right, "left": left}, binary=["left"])
    found = read(infer(contracts["two"], body, "two", **headers))
    assert found["sum"].tolist() == [13.0, 27.0] and peer.same(found["right"], right)


# -- refusals -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "arrays", "said"),
    [
        ("one", {"z": np.float32([1, 2])}, "inputs are x; got z"),
        ("one", {"x": np.float32([1, 2]), "z": np.float32([1, 2])}, "inputs are x"),
        ("one", {"x": np.float32([1, 2, 3])}, "expected float32 of shape"),
        ("one", {"x": np.array(["a", "b"], object)}, "expected float32"),
        ("two", {"left": np.float32([1, 2])}, "inputs are left, right; got left"),
        ("two", {"left": np.float32([[1, 2]]), "right": np.int64([1, 2])}, "equally many rows"),
    ],
)
def test_what_the_contract_refuses_is_400(
    contracts: dict[str, Served], name: str, arrays: dict[str, np.ndarray], said: str
) -> None:
    body, headers = peer.request(arrays)
    assert said in error(infer(contracts[name], body, name, **headers), 400)


def test_an_output_that_there_is_not(contracts: dict[str, Served], echo: Served) -> None:
    wanted = [{"name": "nope"}]
    body, _ = peer.request({"x": np.float32([1, 2])}, outputs=wanted)
    assert "outputs are y; got nope" in error(infer(contracts["one"], body, "one"), 400)
    assert "no output 'nope'" in error(infer(echo, body), 400)


def test_the_models_faults_are_500_and_whole(echo: Served) -> None:
    for name, said in (("raise", "RuntimeError"), ("half", "ValueError"), ("odd", "'y' cannot be written")):
        assert said in error(infer(echo, peer.request({name: np.zeros(1)})[0]), 500)


def test_heads_that_are_refused(contracts: dict[str, Served]) -> None:
    one = contracts["one"]
    body, headers = peer.request({"x": np.float32([1, 2])}, binary=["x"])
    assert "no tensors come as" in error(infer(one, body, "one", Content_Type="application/x-npy"), 415)
    assert "compressed" in error(infer(one, body, "one", Content_Encoding="gzip"), 415)
    headers["Inference_Header_Content_Length"] = "99999"
    assert "99999" in error(infer(one, body, "one", **headers), 400)
    assert "another origin" in error(infer(one, body, "one", Origin="http://evil.example"), 403)
    assert "larger than 100000" in error(infer(one, bytes(100_001), "one"), 413)
    assert read(infer(one, peer.request({"x": np.float32([1, 2])})[0], "one", Content_Type=""))


def test_every_route_wants_the_token(tmp_path: Path) -> None:
    server = Contracts(["one", "secret"], tmp_path, environment(tmp_path))
    try:
        body, headers = peer.request({"x": np.float32([1, 2])})
        for path in ("/v2", "/v2/health/live", "/v2/health/ready", "/v2/models/one", "/v2/models/one/ready", "/v2/x"):
            refused = server.ask("GET", path)
            assert error(refused, 401) and refused.headers["www-authenticate"] == "Bearer"
        error(infer(server, body, "one", **headers), 401)
        assert read(infer(server, body, "one", Authorization="Bearer secret", **headers))
    finally:
        server.end()


def test_only_an_answer_counts_as_use(serve: Callable[..., Served], wrapper: Callable[[str], Path]) -> None:
    server = serve("--wrapper", wrapper(ECHO), "--killafter", "100", "--name", "echo")

    def left() -> float:
        return float(server.ask("GET", "/metadata").json["idle"]["remaining"])

    start = left()
    wait_until(lambda: left() < start - 0.3, "time passes")
    for path in ("/v2", "/v2/health/ready", "/v2/models/echo"):
        server.ask("GET", path)
    error(infer(server, b"{}"), 400)
    before = left()
    assert before < start - 0.3
    assert read(infer(server, peer.request({"x": np.zeros(1)})[0]))
    assert left() > before


def test_requests_in_flight_are_bounded(
    serve: Callable[..., Served], wrapper: Callable[[str], Path], tmp_path: Path
) -> None:
    server = serve("--wrapper", wrapper(ECHO), "--max-inflight", "1", "--name", "echo")
    slow, _ = peer.request({"wait for": np.array([str(tmp_path / "now")], object)})
    quick, _ = peer.request({"x": np.zeros(1)})
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=120)) as connection:
        connection.request("POST", "/v2/models/echo/infer", slow)
        wait_until(lambda: infer(server, quick).status == 503, "the slow one is in flight")
        refused = infer(server, quick)
        assert error(refused, 503) and refused.headers["retry-after"]
        (tmp_path / "now").touch()
        assert connection.getresponse().status == 200
    assert read(infer(server, quick))


def test_a_deadline_is_504(serve: Callable[..., Served], wrapper: Callable[[str], Path], tmp_path: Path) -> None:
    server = serve("--wrapper", wrapper(ECHO), "--timeout", "2", "--name", "echo", "--debug")
    late, _ = peer.request({"wait for": np.array([str(tmp_path / "never")], object)})
    told = infer(server, late)
    assert told.status == 504 and "no answer within 2 s" in told.json["error"]
    told = infer(server, peer.request({"raise": np.zeros(1)})[0])
    assert told.status == 500 and "RuntimeError" in told.json["traceback"]


@pytest.mark.parametrize("count", [400, pytest.param(100_000, marks=[pytest.mark.soak, pytest.mark.timeout(3600)])])
def test_damaged_requests_get_the_right_answer_or_4xx(echo: Served, count: int) -> None:
    seed = random.randrange(1 << 32)
    rng = random.Random(seed)
    arrays = {name: array.reshape(-1)[-2:] for name, array in peer.samples().items()}
    statuses = {200: 0, 400: 0}
    connection = http.client.HTTPConnection("127.0.0.1", echo.port, timeout=120)
    for _ in range(count):
        some = dict(rng.sample(sorted(arrays.items()), 2))
        body, headers = peer.request(some, binary=rng.choice(([], list(some))), parameters={"binary_data_output": True})
        data = mutated(rng, body)
        connection.request(
            "POST", "/v2/models/echo/infer", data, {name.replace("_", "-"): value for name, value in headers.items()}
        )
        response = connection.getresponse()
        got = response.read()
        assert response.status in statuses, (seed, data, got)
        statuses[response.status] += 1
        if response.status == 200:
            length, told = (
                headers.get("Inference_Header_Content_Length"),
                response.headers.get("Inference-Header-Content-Length"),
            )
            with np.errstate(over="ignore"):
                want, request = peer.read(data, None if length is None else int(length), "inputs")
            found, _ = peer.read(got, None if told is None else int(told))
            wanted = [one["name"] for one in request.get("outputs", [])] or list(want)  # type: ignore[attr-defined]
            assert list(found) == wanted and all(peer.same(found[name], want[name]) for name in found), (
                seed,
                data,
                got,
            )
        else:
            assert list(json.loads(got)) == ["error"], (seed, data, got)
    connection.close()
    assert statuses[200] > count // 100 and statuses[400] > count // 10
    assert "coder failed" not in echo.errors, (seed, echo.errors[-3000:])
