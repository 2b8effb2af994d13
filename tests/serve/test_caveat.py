"""`X-Studio-Model`: answers of the identity, and of a model in the place of a later one, say so in every protocol."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import joblib
import numpy as np
import pytest
from sklearn.linear_model import LinearRegression

from studio.client import ModelClient

from .conftest import Answer, Served, environment


def npy(*values: float) -> bytes:
    file = io.BytesIO()
    np.save(file, np.array(values))
    return file.getvalue()


def pipelined(server: Served, body: bytes) -> int:
    """By the way that the fast path leaves to the ASGI site: pipelined behind another request."""
    head = f"POST / HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nContent-Type: application/json\r\n"
    one = head.encode() + b"Content-Length: %d\r\n\r\n" % len(body) + body
    last = head.encode() + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    answers = server.raw(one + one + last)
    assert answers.count(b"200 OK") == 3, answers
    return answers.lower().count(b"x-studio-model: ")


def headers(server: Served, name: str) -> list[str | None]:
    """The header of each kind of answer."""
    infer = {"inputs": [{"name": "x", "shape": [1, 1], "datatype": "FP64", "data": [3.0]}]}
    asked: list[Answer] = [
        server.post({"x": [3.0]}),
        server.ask("POST", "/?q=1", npy(3.0), Content_Type="application/x-npy"),
        server.post({"x": [0.0] * 1}, Accept="application/x-pickle"),
        server.ask("POST", f"/v2/models/{name}/infer", json.dumps(infer).encode(), Content_Type="application/json"),
    ]
    assert [a.status for a in asked] == [200] * len(asked), [a.body[:200] for a in asked]
    return [a.headers.get("x-studio-model") for a in asked]


def test_every_answer_of_the_identity_says_so(identity: Served) -> None:
    assert headers(identity, "identity") == ["identity"] * 4
    assert pipelined(identity, b'{"a": 1}') == 3
    large = identity.post({"a": [0.5] * 200_000})  # encoded in a thread
    assert large.status == 200 and large.headers["x-studio-model"] == "identity"
    with ModelClient(identity.url) as client:
        assert client.predict({"a": np.array([1.0])})["a"].tolist() == [1.0]


def test_an_older_model_says_why_and_a_named_one_does_not(serve: Callable[..., Served], tmp_path: Path) -> None:
    models = tmp_path / "models"
    models.mkdir()
    joblib.dump(LinearRegression().fit([[0.0], [1.0]], [0.0, 2.0]), models / "forest.joblib")
    os.utime(models / "forest.joblib", (1000, 1000))
    lost = {"name": "Net", "trained": 2000.0, "why": "no get_config — \u2620\r\nX-Evil: 1"}
    (models / ".studio.json").write_text(json.dumps({"lost": [lost]}))
    server = serve("--modeldir", models, "--name", "m")
    why = "Net was trained later and could not be kept: no get_config \\u2014 \\u2620 X-Evil: 1"
    assert headers(server, "m") == [f"older; {why}"] * 4
    assert "x-evil" not in server.post({"x": [3.0]}).headers
    shown = server.ask("GET", "/metadata").json["warnings"]
    assert len(shown) == 1 and shown[0].startswith("serving forest.joblib, an older checkpoint: Net was trained later")
    assert shown[0] in server.errors
    assert b"an older checkpoint" in server.ask("GET", "/").body
    named = serve("--modeldir", models, "--name", "m", "--model", "forest")
    assert headers(named, "m") == [None] * 4
    assert named.ask("GET", "/metadata").json["warnings"] == []


def test_a_models_own_answers_have_no_such_header(serve: Callable[..., Served], wrapper: Callable[[str], Path]) -> None:
    server = serve("--wrapper", wrapper("def create_model(modeldir):\n    return lambda data: data\n"))
    assert "x-studio-model" not in server.post({"a": 1}).headers


@pytest.mark.parametrize(
    ("told", "shown"),
    [("older", "an older model answered: "), ("other", "another model answered: ")],
)
def test_predict_tells_once_that_another_model_answers(
    serve: Callable[..., Served], tmp_path: Path, told: str, shown: str
) -> None:
    models = tmp_path / "models"
    models.mkdir()
    joblib.dump(LinearRegression().fit([[0.0], [1.0]], [0.0, 2.0]), models / "forest.joblib")
    (models / "net.joblib").write_bytes(b"nonsense")
    for name, at in (("net", 2000), ("forest", 1000 if told == "older" else 3000)):
        os.utime(models / f"{name}.joblib", (at, at))
    note = {"models": [{"name": "Net", "file": "net.joblib", "chosen": True}]}
    (models / ".studio.json").write_text(json.dumps(note))
    server = serve("--modeldir", models)
    for name in ("a", "b", "c"):
        np.save(tmp_path / f"{name}.npy", [3.0])
    files = [word for name in ("a", "b", "c") for word in ("--input", str(tmp_path / f"{name}.npy"))]
    words = [sys.executable, "-m", "studio", "predict", server.url, *files, "--batch", "1", "--json"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0 and list(json.loads(done.stdout)) == ["a", "b", "c"]
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"studio: {shown}joblib cannot load net.joblib: ")


def test_predict_tells_that_the_identity_answers(identity: Served, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", [3.0])
    words = [sys.executable, "-m", "studio", "predict", identity.url, "--input", str(tmp_path / "x.npy")]
    done = subprocess.run(words, capture_output=True, text=True, timeout=280)
    assert done.stderr == "studio: no model is served: the answers are the inputs\n"


def test_the_identity_is_served_where_it_is_asked_for(serve: Callable[..., Served], tmp_path: Path, home: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "net.pt").write_bytes(b"PK")
    words = [sys.executable, "-m", "studio.serve_main", "--port", "0", "--modeldir", str(tmp_path / "models")]
    done = subprocess.run(words, env=environment(home), capture_output=True, text=True, timeout=280)
    assert (done.returncode, done.stdout) == (8, "")
    assert "net.pt holds weights only" in done.stderr and "--identity" in done.stderr.partition("hint: ")[2]
    server = serve("--modeldir", tmp_path / "models", "--identity")
    answer = server.post({"a": 1})
    assert answer.json == {"a": 1} and answer.headers["x-studio-model"] == "identity"
    assert "WARNING: --identity" in server.errors
