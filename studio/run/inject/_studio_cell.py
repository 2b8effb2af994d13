"""The script's side of `%%studio_run`: takes the notebook's values in, and gives the cell's back when it ends.

Both lie as pickles in a folder that the kernel made for this one run, private to the user (STUDIOML_CELL). They are the
user's own objects, from a process of the same user on the same machine; nothing else is ever unpickled here.
"""

from __future__ import annotations

import atexit
import json
import os
import pickle
import stat
import sys
import types

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

PROTOCOL = min(5, pickle.HIGHEST_PROTOCOL)
"""Python 3.7 knows 4."""
INDEX = "index.json"


def begin(namespace: dict[str, Any], names: list[str]) -> None:
    """Puts the notebook's values of these names into the script's globals; at the end the script's are given back.

    Args:
        namespace: The globals of the script.
        names: Those that do not need a class or function of the notebook; `complete` brings the others.
    """
    folder = os.environ.get("STUDIOML_CELL", "")
    if not is_private(folder):
        if names:
            sys.stderr.write("studio: these came from a notebook and are not here: " + ", ".join(names) + "\n")
        return
    _load(namespace, folder, names)
    atexit.register(_give_back, namespace, folder, os.getpid())


def complete(namespace: dict[str, Any], names: list[str]) -> None:
    """The second half of `begin`, after the notebook's classes and functions are defined."""
    folder = os.environ.pop("STUDIOML_CELL", "")
    if names and is_private(folder):
        _load(namespace, folder, names)


def is_private(folder: str) -> bool:
    """Whether a folder is the user's and nobody else may write or read there."""
    try:
        found = os.lstat(folder)
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not stat.S_IMODE(found.st_mode) & 0o077


def _load(namespace: dict[str, Any], folder: str, names: list[str]) -> None:
    index = read_index(folder)
    for name in names:
        try:
            namespace[name] = load(os.path.join(folder, index["values"][name]))
        except Exception as exc:  # noqa: BLE001  (what unpickling an object calls may raise anything)
            sys.stderr.write(f"studio: {name} of the notebook cannot be had here: {type(exc).__name__}: {exc}\n")


def _give_back(namespace: Mapping[str, Any], folder: str, pid: int) -> None:
    """Saves the globals that the cell made or changed; not in a forked child."""
    if os.getpid() != pid or not is_private(folder):
        return
    sent = read_index(folder)
    back = os.path.join(folder, "back")
    os.mkdir(back, 0o700)
    values: dict[str, str] = {}
    left_out: dict[str, str] = {}
    for name, value in list(namespace.items()):
        if name.startswith("_") or isinstance(value, types.ModuleType):
            continue
        if getattr(value, "__module__", None) == "__main__" and hasattr(value, "__qualname__"):
            if name not in sent["definitions"]:
                left_out[name] = "define it in a cell of its own"
            continue
        file = f"{len(values)}.pickle"
        try:
            digest = save(value, os.path.join(back, file))
        except Exception as exc:  # noqa: BLE001  (what pickling an object calls may raise anything)
            left_out[name] = f"{type(exc).__name__}: {exc}"
            continue
        if sent["digests"].get(name) != digest:
            values[name] = file
    write_index(back, {"values": values, "left_out": left_out})


def save(value: object, path: str, pickler: Any = pickle.Pickler, protocol: int = PROTOCOL) -> str:
    """Pickles into a private file; returns the digest of its bytes."""
    import hashlib

    try:
        with open(os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600), "wb+") as file:
            pickler(file, protocol).dump(value)
            file.seek(0)
            digest = hashlib.sha256()
            while True:
                data = file.read(1 << 20)
                if not data:
                    return digest.hexdigest()
                digest.update(data)
    except BaseException:
        os.unlink(path)
        raise


def load(path: str) -> Any:
    """Unpickles a file of the private folder."""
    with open(path, "rb") as file:
        return pickle.load(file)  # noqa: S301, TID251  (the user's own objects: the module's docstring says why)


def read_index(folder: str) -> dict[str, Any]:
    """What is in a folder of pickles: name → file, and more."""
    with open(os.path.join(folder, INDEX), encoding="utf-8") as file:
        found: dict[str, Any] = json.load(file)
    return found


def write_index(folder: str, index: Mapping[str, object]) -> None:
    """Says what is in a folder of pickles."""
    path = os.path.join(folder, INDEX)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        json.dump(index, file)
