"""Refuses HDF5 files that would make the reader open other files (CVE-2026-1669) or that claim too much."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

from ..errors import ModelLoadError
from ..extras import need
from .base import said

MAX_RATIO = 200
"""A `.keras` archive that unpacks to more than this many times its size is refused."""


def check_file(path: Path) -> None:
    """Checks an `.h5`/`.hdf*` file, or the weights inside a `.keras` archive, before Keras sees it.

    Raises:
        ModelLoadError: external storage, virtual datasets or links to other files; not readable; a bomb.
    """
    h5py = need("h5py", extra="keras")
    if path.suffix.lower() != ".keras":  # a zip hung on its end changes nothing: Keras reads it as HDF5
        _check_h5(h5py, path, path.name)
    elif not zipfile.is_zipfile(path):
        raise ModelLoadError(f"{path.name} is not a whole Keras file; it may be half-written")
    else:
        with zipfile.ZipFile(path) as archive:
            _check_archive(archive, path)
            for info in archive.infolist():
                if info.filename.lower().endswith((".h5", ".hdf5")):
                    with archive.open(info) as stream:
                        _check_h5(h5py, stream, path.name)


def _check_archive(archive: zipfile.ZipFile, path: Path) -> None:
    unpacked = sum(info.file_size for info in archive.infolist())
    if unpacked > MAX_RATIO * max(path.stat().st_size, 4096):
        raise ModelLoadError(f"{path.name} unpacks to {unpacked} bytes, far beyond its size; refused")
    for info in archive.infolist():
        if info.filename.startswith(("/", "\\")) or ".." in Path(info.filename).parts:
            raise ModelLoadError(f"{path.name} holds a member named {info.filename!r}; refused")


def _check_h5(h5py: Any, source: Any, name: str) -> None:
    try:
        with h5py.File(source, "r") as file:
            _check_group(h5py, file, name, set())
    except (OSError, RuntimeError, ValueError, KeyError) as exc:
        raise ModelLoadError(f"{name} is not readable as HDF5; it may be half-written ({said(exc)})") from exc


def _check_group(h5py: Any, group: Any, name: str, seen: set[Any]) -> None:
    for member in group:
        link = group.get(member, getlink=True)
        if isinstance(link, h5py.ExternalLink):
            raise ModelLoadError(f"{name} links to another file ({member}); refused")
        if isinstance(link, h5py.SoftLink):
            raise ModelLoadError(f"{name} holds a soft link ({member}); refused")
        item = group.get(member)
        if isinstance(item, h5py.Group):
            if item.id not in seen:  # hard links may make a ring
                seen.add(item.id)
                _check_group(h5py, item, name, seen)
        elif isinstance(item, h5py.Dataset) and (item.is_virtual or item.external):
            raise ModelLoadError(f"{name} keeps the data of {member} in other files; refused")
