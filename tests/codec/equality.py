"""Whether two decoded values are the same: type, dtype, shape and every bit; not-a-number equals itself."""

from __future__ import annotations

import numpy as np


def same(ours: object, theirs: object) -> bool:
    """`ours` is native-endian, `theirs` may be of any byte order."""
    if isinstance(theirs, (np.ndarray, np.generic)):
        if not isinstance(ours, (np.ndarray, np.generic)) or isinstance(ours, np.ndarray) != isinstance(
            theirs, np.ndarray
        ):
            return False
        return _same_array(np.asarray(ours), np.asarray(theirs))
    if isinstance(theirs, dict):
        return isinstance(ours, dict) and ours.keys() == theirs.keys() and all(same(ours[k], theirs[k]) for k in ours)
    if isinstance(theirs, (list, tuple)):
        return type(ours) is type(theirs) and len(ours) == len(theirs) and all(map(same, ours, theirs))  # type: ignore[arg-type]
    if isinstance(theirs, bytearray):
        return ours == bytes(theirs)
    if isinstance(theirs, float) and theirs != theirs:
        return isinstance(ours, float) and ours != ours
    if isinstance(theirs, complex):
        return isinstance(ours, complex) and repr(ours) == repr(theirs)
    return type(ours) is type(theirs) and ours == theirs


def _same_array(ours: np.ndarray, theirs: np.ndarray) -> bool:
    native = theirs.astype(theirs.dtype.newbyteorder("="))
    if ours.dtype != native.dtype or ours.shape != native.shape or not ours.dtype.isnative:
        return False
    if native.dtype.kind == "b":
        return bool((ours.view(np.uint8) == (native.view(np.uint8) != 0)).all())  # ours has no third truth value
    return ours.tobytes() == native.tobytes()


def same_python2(ours: object, theirs: object) -> bool:
    """As `same`, where `theirs` was loaded with `encoding="latin1"`: a `str` of Python 2 is latin-1 text to it."""
    if isinstance(theirs, str) and ours != theirs:
        raw = theirs.encode("latin-1", "replace")
        if isinstance(ours, bytes):
            return ours == raw
        try:
            return ours == raw.decode("utf-8")
        except UnicodeDecodeError:
            return False
    if isinstance(theirs, dict) and isinstance(ours, dict):
        pairs = zip(ours.items(), theirs.items(), strict=False)
        return len(ours) == len(theirs) and all(same_python2(mine, other) for mine, other in pairs)
    if isinstance(theirs, (list, tuple)):
        return type(ours) is type(theirs) and len(ours) == len(theirs) and all(map(same_python2, ours, theirs))  # type: ignore[arg-type]
    if isinstance(theirs, (set, frozenset)) and isinstance(ours, (set, frozenset)):
        return (
            type(ours) is type(theirs)
            and len(ours) == len(theirs)
            and (ours == theirs or all(any(same_python2(one, other) for other in theirs) for one in ours))
        )
    return same(ours, theirs)
