"""Every test gets a home of its own; nothing of the user's is read or written."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.studio_process import end_started

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # before any test loads the library
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
    os.environ.setdefault(_name, "1")  # tiny models: threads that wait for work take the time of the other tests
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # else each of some thousand processes compiles studio again

# How long an example takes says what else the machine is doing; only what it finds counts.
settings.register_profile("house", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("house")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in `make test &`: what the tests start is to hear Ctrl-C
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty HOME; STUDIOML_HOME below it; no setting of the caller's environment seen."""
    folder = tmp_path_factory.mktemp("home")
    for name in [n for n in os.environ if n.startswith(("STUDIOML_", "AWS_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("STUDIOML_HOME", str(folder / ".studioml"))
    monkeypatch.setenv("NO_COLOR", "1")
    yield folder
    end_started()
