"""A client in other processes: forked, pickled, copied; and what it costs to import."""

from __future__ import annotations

import copy
import gc
import os
import pickle
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from studio.client import AsyncModelClient, ModelClient
from studio.errors import ServeError
from studio.serve.codec import decode_answer
from studio.serve.codec.json_read import _COLLECTOR

from .conftest import Served

SCRIPT = Path(__file__).with_name("forked_client.py")


def forked(url: str, fingerprint: str, children: int, requests: int) -> None:
    words = [sys.executable, str(SCRIPT), url, fingerprint, str(children), str(requests)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stdout + done.stderr


def test_forked_children_get_the_answers_to_their_own_questions(identity: Served) -> None:
    forked(identity.url, "", 4, 24)


@pytest.mark.soak
def test_two_thousand_requests_of_forked_children(identity: Served) -> None:
    forked(identity.url, "", 8, 250)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Python 3.12 warns of every fork of a process with threads
def test_a_child_that_is_forked_while_json_is_read_reads_it_too_and_collects_garbage() -> None:
    with _COLLECTOR, _COLLECTOR._lock:  # as another thread of the parent may
        child = os.fork()
        if child == 0:
            signal.alarm(60)  # ends it if it waits for the lock
            right = gc.isenabled() and decode_answer(b'{"a": [1, 2]}', "application/json")["a"].tolist() == [1, 2]
            os._exit(0 if right and gc.isenabled() else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.parametrize("kind", [ModelClient, AsyncModelClient])
def test_a_copy_has_the_settings_and_no_connection(identity: Served, kind: type) -> None:
    client = kind(f"{identity.url}/?token=t", timeout_s=7, retries=2, form="json", max_answer=1000)
    for copied in (pickle.loads(pickle.dumps(client)), copy.deepcopy(client), copy.copy(client)):
        assert copied.form == "json" and copied._asking._settings == client._asking._settings
        assert copied._asking.pool is not client._asking.pool


def test_a_pickled_client_asks_and_a_closed_one_stays_closed(identity: Served) -> None:
    with ModelClient(identity.url) as client:
        assert client.predict({"a": 1})["a"] == 1
        with pickle.loads(pickle.dumps(client)) as copied:
            assert copied.predict({"a": 2})["a"] == 2
    with pytest.raises(ServeError, match="closed"):
        pickle.loads(pickle.dumps(client)).predict({"a": 1})


def test_a_client_is_light_to_import() -> None:
    code = "import studio.client, sys; print(*{m.partition('.')[0] for m in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"asyncio", "numpy", "ssl", "http", "email"} & set(done.stdout.split())
