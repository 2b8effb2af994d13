"""Looks at this machine as studio would use it; every finding carries the command that mends it."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import shutil
import sys
import sysconfig
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from .config import Config
from .errors import StudioError
from .tracking import Tracking
from .units import counted, show_size

EXTRAS = {
    "keras": "keras", "tensorflow": "keras", "sklearn": "sklearn", "torch": "torch", "onnxruntime": "onnx",
    "pandas": "pandas", "pyarrow": "parquet", "duckdb": "sql",
}  # fmt: skip
CORE = (
    "boto3",
    "flask",
    "google.cloud.storage",
    "httptools",
    "numpy",
    "PIL",
    "psutil",
    "six",
    "uvicorn",
    "uvloop",
    "yaml",
)
SPARE_BYTES = 1 << 30


@dataclass(frozen=True, slots=True)
class Finding:
    """One look. `state` is `ok`, `missing` (an option that is not there) or `broken`; `mend` a command, or empty."""

    name: str
    state: str
    found: str
    mend: str = ""


def examine(tracking: Tracking, config: Config) -> list[Finding]:
    """All findings, in the order of the words of `studio doctor`."""
    return [*_machine(tracking), *_stores(tracking), *_libraries(), *_server(), *_interpreter(config, tracking.home)]


def _machine(tracking: Tracking) -> Iterator[Finding]:
    yield Finding("python", "ok", f"{sys.version.split()[0]} at {sys.executable}")
    home = tracking.home
    existing = next(p for p in (home, *home.parents) if p.exists())
    if not os.access(existing, os.W_OK | os.X_OK):
        yield Finding("home", "broken", f"{home} cannot be written", "export STUDIOML_HOME=FOLDER")
    else:
        free = shutil.disk_usage(existing).free
        state = "ok" if free > SPARE_BYTES else "broken"
        yield Finding(
            "home",
            state,
            f"{home}, {show_size(free)} free",
            "" if state == "ok" else "free some space, or export STUDIOML_HOME=FOLDER",
        )
    git = shutil.which("git")
    yield Finding(
        "git", "ok" if git else "missing", git or "commits and changes are not captured", "" if git else "install git"
    )
    scripts = Path(sysconfig.get_path("scripts")) / "studio"
    on_path = shutil.which("studio")
    if on_path is None and scripts.exists():
        yield Finding("command", "missing", "studio is not on PATH", f"export PATH={scripts.parent}:$PATH")


def _stores(tracking: Tracking) -> Iterator[Finding]:
    from .stores.check import check_store

    yield _looked(
        "store",
        tracking.url,
        lambda: [f"{f.name}: {f.why}" for f in check_store(tracking.store.url) if not f.ok],
        "studio store check",
    )
    yield _looked("index", "searchable", lambda: (tracking.index.sync() and []) or [], "studio index rebuild")


def _looked(name: str, good: str, look: Callable[[], list[str]], mend: str) -> Finding:
    try:
        wrong = look()
    except StudioError as exc:
        return Finding(name, "broken", exc.message, exc.hint or mend)
    return Finding(name, "broken", "; ".join(wrong), mend) if wrong else Finding(name, "ok", good)


def _libraries() -> Iterator[Finding]:
    for module in CORE:
        if not _there(module):
            yield Finding(module, "broken", "not installed", "pip install --force-reinstall studio")
    for module, extra in EXTRAS.items():
        there = _there(module)
        yield Finding(
            module,
            "ok" if there else "missing",
            _version(module) if there else "not installed",
            "" if there else f"pip install 'studio[{extra}]'",
        )


def _there(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def _version(module: str) -> str:
    for name in importlib.metadata.packages_distributions().get(module, []):
        return importlib.metadata.version(name)
    return "installed"


def _server() -> Iterator[Finding]:
    if not (_there("uvicorn") and _there("httptools")):
        return
    from .serve.lane import supported

    version = f"uvicorn {_version('uvicorn')}"
    if supported():
        yield Finding("server", "ok", f"fast lane on {version}")
    else:
        yield Finding("server", "missing", f"{version} is not known: no fast lane", "pip install -U studio uvicorn")


def _interpreter(config: Config, home: Path) -> Iterator[Finding]:
    from .run.interpreter import choose, describe

    try:
        interpreter = choose(config["python"] or None)
        version, packages = describe(interpreter, home / "cache")
    except StudioError as exc:
        yield Finding("scripts", "broken", exc.message, exc.hint)
        return
    yield Finding("scripts", "ok", f"run with Python {version} at {interpreter}, {counted(len(packages), 'package')}")
