"""The text of a user's object, at most so long and in bounded time, whatever its `__str__` does; exact if ordinary."""

from __future__ import annotations

import itertools
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

MOST_CHARS = 4096
DIGESTED_CHARS = 1 << 15
"""So much of a text that is cut has a part in its digest; of a plain text or a list of numbers, all."""

LONG_ARRAY = 1000
"""numpy and others print of longer arrays the beginning and the end."""

DEEPEST = 100
SLOW_S = 1.0
"""A type whose `__str__` took longer is not asked again."""

MOST_NODES, MOST_TEXTS = 20_000, 5_000_000
"""So many objects within one are looked at; one that would print more, for it shares parts again and again, is not."""

MOST_NUMBERS = 1_000_000
MOST_BITS = 1024
"""Of a whole number that a record has; of a longer one its size and digest."""

_SPELLED_BITS = 14_000
"""Python spells no longer one."""

_PLAIN = (bool, int, float, complex, str, bytes, bytearray, type(None))
_slow: set[type] = set()


def of(value: Any, most: int = MOST_CHARS, broken: str = "<{kind} object: its __str__ raised {error}>") -> str:
    """`str(value)`; what is longer than `most` ends with `…`.

    Args:
        broken: The text where `__str__` raises.
    """
    return _bounded(value, most, broken, str)


def of_exception(exc: BaseException, most: int = 200) -> str:
    """Its class and what it says."""
    text = of(exc, most, "no message: its __str__ raised {error}")
    return type(exc).__name__ + (f": {text}" if text else "")


def kept(value: Any, most: int = MOST_CHARS) -> str:
    """`str(value)` for a record: what is cut says so, and has a digest, so that two such values can be compared."""
    full = value if type(value) is str else _numbers_text(value)
    whole = full is not None
    if full is None:
        full = of(value, DIGESTED_CHARS)
        whole = len(full) <= DIGESTED_CHARS
    if len(full) <= most and whole:
        return full + _array_digest(value, full)
    if type(value) is str or not whole or len(full) <= DIGESTED_CHARS:
        full = _clean(full)  # a digest of a secret could be tried against likely ones; numbers are none
    size = f"{len(full)} characters" if whole else f"over {DIGESTED_CHARS} characters, the rest not read"
    return f"{full[:most]}… (cut: {size}, sha256 {digest(full.encode('utf-8', 'surrogatepass'))})"


def whole(value: int) -> Any:
    """The number itself; of one with over `MOST_BITS` a text that says so, with its digest."""
    bits = value.bit_length()
    if bits <= MOST_BITS:
        return value
    return f"<an integer of {bits} bits, sha256 {digest(value.to_bytes(bits // 8 + 1, 'big', signed=True))}>"


def digest(data: bytes) -> str:
    """The beginning of the SHA-256."""
    import hashlib

    return hashlib.sha256(data).hexdigest()[:16]


def _clean(text: str) -> str:
    return str(sys.modules["_studio_track"].load("_studio_secrets").clean(text))


def _numbers_text(value: Any) -> str | None:
    """The text of a long list or tuple of plain numbers only, which Python itself spells quickly; else None."""
    if type(value) not in (list, tuple) or not MOST_CHARS // 4 < len(value) <= MOST_NUMBERS:
        return None
    kinds = set(map(type, value))
    if not kinds <= {bool, float, int, type(None)}:
        return None
    longest = max((abs(one) for one in value if type(one) is int), default=0) if int in kinds else 0
    return repr(value) if longest < 1 << 64 else None


def _array_digest(value: Any, text: str) -> str:
    """For an array of which its own text shows a part, such as numpy's."""
    numpy = sys.modules.get("numpy")
    if "..." not in text or numpy is None or not hasattr(value, "__array__"):
        return ""
    try:
        array = numpy.asarray(value.detach().cpu() if hasattr(value, "detach") else value)
        if array.size <= LONG_ARRAY or array.dtype.hasobject:
            return ""
        return f" (cut: {array.size} values, sha256 {digest(array.tobytes())})"
    except Exception:  # noqa: BLE001  a class of the script's, or no memory
        return ""


def spelled(value: Any, most: int = MOST_CHARS) -> str:
    """`repr(value)`, as `of`."""
    return _bounded(value, most, "<{kind} object: its __repr__ raised {error}>", repr)


def _bounded(value: Any, most: int, broken: str, how: type[str] | Any) -> str:
    parts: list[str] = []
    try:
        if how is str and isinstance(value, BaseException) and type(value).__str__ is BaseException.__str__:
            if len(value.args) < 2:
                return of(value.args[0], most, broken) if value.args else ""
            value = value.args
        _write(value, parts, [most + 1], (), how)
        text = "".join(parts)
    except Exception as exc:  # noqa: BLE001  a class of the script's
        return broken.format(kind=_kind(value), error=type(exc).__name__)
    return text if len(text) <= most else text[:most] + "…"


def _write(value: Any, parts: list[str], left: list[int], within: tuple[int, ...], how: Any = repr) -> None:
    """Appends the text of `value` while there is room left."""
    kind: Any = type(value)
    method = None if how is str and kind.__str__ is not object.__str__ else kind.__repr__
    items: Iterable[tuple[Any, ...]]
    if method is list.__repr__:
        opens, closes, items = "[", "]", ((item,) for item in list.__iter__(value))
    elif method is tuple.__repr__:
        opens, closes, items = "(", ",)" if len(value) == 1 else ")", ((item,) for item in tuple.__iter__(value))
    elif method is dict.__repr__:
        opens, closes, items = "{", "}", dict.items(value)
    elif kind in (set, frozenset) and value:
        opens, closes = ("{", "}") if kind is set else ("frozenset({", "})")
        items = ((item,) for item in value)
    else:
        _add(_leaf(value, left[0], how), parts, left)
        return
    if id(value) in within or len(within) >= DEEPEST:
        _add(f"{opens}...{closes[-1]}", parts, left)
        return
    _add(opens, parts, left)
    within = (*within, id(value))
    between = ""
    for item in items:
        if left[0] <= 0:
            return
        for part, before in zip(item, (between, ": ")):  # noqa: B905  Python 3.9 knows no strict
            _add(before, parts, left)
            _write(part, parts, left, within)
        between = ", "
    _add(closes, parts, left)


def _add(text: str, parts: list[str], left: list[int]) -> None:
    parts.append(text[: max(0, left[0])])
    left[0] -= len(text)


def _leaf(value: Any, room: int, how: Any) -> str:
    kind = type(value)
    if kind in (str, bytes):
        short = value[: max(0, room)]
        return short if how is str and kind is str else repr(short)
    if kind is int and value.bit_length() > _SPELLED_BITS:  # Python refuses to spell those, or takes long
        return str(whole(value))
    if kind in _PLAIN:
        return str(how(value))
    if kind in _slow or _is_endless(value):
        return f"<{_kind(value)} object>"
    began = time.perf_counter()
    try:
        return str(how(value))
    finally:
        if time.perf_counter() - began > SLOW_S:
            _slow.add(kind)


def _kind(value: Any) -> str:
    kind = type(value)
    module = "" if kind.__module__ in ("builtins", "__main__") else f"{kind.__module__}."
    return module + kind.__qualname__


def _is_endless(value: Any) -> bool:
    """Whether the text has so many parts that it would take for ever: each path to a shared part counts.

    An object is as large as all in it, which is found once for each; one within itself counts as one there.
    """
    sizes: dict[int, int] = {}
    held: list[Any] = []  # while it stands here, no other object gets its id
    stack: list[tuple[Any, Iterator[Any]]] = [(value, iter(_parts(value)))]
    sizes[id(value)] = 1
    counts = [1]
    for _ in range(10 * MOST_NODES):
        inner = next(stack[-1][1], stack)
        if inner is stack:
            done, _ = stack.pop()
            size = sizes[id(done)] = counts.pop()
            if size > MOST_TEXTS:
                return True
            if not stack:
                return False
            counts[-1] += size
        elif id(inner) in sizes or isinstance(inner, _PLAIN):
            counts[-1] += sizes.get(id(inner), 1)
        elif len(sizes) >= MOST_NODES:
            return False
        else:
            held.append(inner)
            sizes[id(inner)] = 1
            stack.append((inner, iter(_parts(inner))))
            counts.append(1)
    return False


def _parts(value: Any) -> Iterable[Any]:
    """What stands within an object, as far as its text may name it."""
    kind = type(value)  # a proxy only says that it is a dictionary
    if issubclass(kind, (list, tuple, set, frozenset)) or kind.__name__ == "deque":
        return tuple(itertools.islice(value, MOST_NODES))
    if issubclass(kind, dict):
        return tuple(itertools.chain.from_iterable(itertools.islice(dict.items(value), MOST_NODES)))
    if isinstance(value, (type, type(itertools), type(_parts))):
        return ()
    found: list[Any] = list(value.args) if isinstance(value, BaseException) else []
    if type(value).__module__ == "numpy" and type(value).__name__ == "ndarray" and value.dtype.kind == "O":
        found += itertools.islice(value.ravel(), MOST_NODES)
    inner = getattr(value, "__dict__", None)
    if type(inner) is dict:
        found += itertools.islice(dict.values(inner), MOST_NODES)
    slots = getattr(type(value), "__slots__", ())
    for name in (slots,) if isinstance(slots, str) else tuple(slots):
        found.append(getattr(value, name, None))
    return found
