"""Digests that tell secrets apart, keyed by a salt of the user's own, so that nobody else can try likely values."""

from __future__ import annotations

import os

SALT_BYTES = 32


def digest(value: bytes, home: str = "") -> tuple[str, str] | None:
    """The value's digest, and the name of the salt that it is keyed by; None where there can be no salt.

    Args:
        home: The folder of the salt; by default the user's, as `studio.config.home`.
    """
    import hashlib
    import hmac

    home = home or os.path.expanduser(os.environ.get("STUDIOML_HOME") or os.path.join("~", ".studioml"))
    salt = _salt(os.path.join(home, "salt"))
    if salt is None:
        return None
    return hmac.new(salt, value, hashlib.sha256).hexdigest()[:32], hashlib.sha256(salt).hexdigest()[:8]


def _salt(path: str) -> bytes | None:
    """The user's salt, made when it is first needed; whoever has a store, but not this file, can try no values."""
    try:
        if not os.path.exists(path):
            _make(path)
        with open(path, "rb") as file:
            found = file.read()
    except OSError:
        return None
    return found if len(found) == SALT_BYTES else None


def _make(path: str) -> None:
    folder = os.path.dirname(path)
    os.makedirs(folder, mode=0o700, exist_ok=True)
    beside = os.path.join(folder, f".salt-{os.urandom(8).hex()}")
    try:
        with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(os.urandom(SALT_BYTES))
        try:
            os.link(beside, path)
        except FileExistsError:  # another process was quicker: its salt counts
            pass
    finally:
        if os.path.exists(beside):
            os.unlink(beside)
