"""Writing and comparing trees of files."""

from __future__ import annotations

import os
from pathlib import Path


def put(folder: Path, **files: str | bytes) -> None:
    """Writes files; `__` in a keyword stands for `/`."""
    for name, data in files.items():
        path = folder / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data.encode() if isinstance(data, str) else data)


def tree(folder: Path) -> dict[str, object]:
    """Everything in a folder: bytes, modes and times of files, texts of links, empty folders."""
    out: dict[str, object] = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        found = path.lstat()
        if path.is_symlink():
            out[name] = os.readlink(path)
        elif path.is_file():
            out[name] = (path.read_bytes(), found.st_mode & 0o777, found.st_mtime_ns // 1000)
        elif not any(path.iterdir()):
            out[name] = None
    return out
