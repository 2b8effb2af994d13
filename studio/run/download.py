"""Fetches a URL that the user names on the command line into a file: whole or not at all."""

from __future__ import annotations

import contextlib
import os
import urllib.request
from http.client import HTTPException
from pathlib import Path

from ..errors import StoreError
from .redact import clean

LARGEST_BYTES = 64 << 30
TIMEOUT_S = 60.0


def download(url: str, target: Path) -> None:
    """Writes what `url` (http or https) answers to `target`.

    Raises:
        StoreError: it cannot be reached, answers an error, or ends before its announced length.
    """
    part = target.with_name(target.name + ".part")
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_S) as answer, open(part, "wb") as file:  # noqa: S310 - scheme was checked
            wanted = answer.headers.get("Content-Length")
            done = 0
            while data := answer.read(1 << 20):
                done += len(data)
                if done > LARGEST_BYTES:
                    raise StoreError(f"{clean(url)} is larger than 64 GiB")
                file.write(data)
        if wanted is not None and done != int(wanted):
            raise StoreError(f"{clean(url)} ended after {done} of {wanted} bytes", hint="try again")
        os.replace(part, target)
    except (OSError, HTTPException, ValueError) as exc:
        raise StoreError(
            f"cannot fetch {clean(url)}: {clean(str(exc))}",
            hint="check the address, or download it and capture the file",
        ) from exc
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
