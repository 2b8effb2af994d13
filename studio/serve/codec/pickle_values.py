"""From the machine's inert parts to values: the second half of the safe decoder.

Hides numpy's pickled state. numpy never sees it: a dtype is made from a checked type string, an array by
`arrays.build` over bytes that are present. Every reference to a part is counted, so sharing cannot amplify.
"""

from __future__ import annotations

import numpy as np

from .arrays import Array, build, parse_dtype
from .limits import Budget, Malformed
from .pickle_globals import FrozenMembers, Made, Members, OldString, OrderedPairs, Pairs, SetOf, Token, as_text

_KEY_SPAN = 1 << 31
_UNITS = frozenset(("Y", "M", "W", "D", "h", "m", "s", "ms", "us", "ns", "ps", "fs", "as", "generic"))


class Values:
    """Turns the parts of one pickle into values, once each, and charges each reference to the budget."""

    __slots__ = ("budget", "copies", "handed_out", "max_depth")

    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        self.max_depth = budget.limits.max_depth
        self.copies: dict[int, bytes] = {}
        self.handed_out: set[int] = set()

    def of(self, part: object, depth: int = 0) -> object:
        """The value of `part`.

        Raises:
            Malformed: `part` is or holds something that is no plain value, or the budget is spent.
        """
        self.budget.nodes -= 1
        if self.budget.nodes < 0:
            raise Malformed("too-many-nodes", f"more than {self.budget.limits.max_nodes}")
        if depth > self.max_depth:
            raise Malformed("too-deep", f"more than {self.max_depth}")
        kind = type(part)
        if part is None or kind in (bool, int, float, complex):
            return part
        if kind in (str, bytes, memoryview, OldString):
            return self._text_or_bytes(part)  # type: ignore[arg-type]
        depth += 1
        if kind is Pairs or kind is OrderedPairs:
            return {self._key(self.of(key, depth)): self.of(value, depth) for key, value in part}  # type: ignore[attr-defined]
        if kind is list:
            return [self.of(item, depth) for item in part]  # type: ignore[attr-defined]
        if kind is tuple:
            return tuple([self.of(item, depth) for item in part])  # type: ignore[attr-defined]
        if kind is Made:
            return self._made(part)  # type: ignore[arg-type]
        if kind is Members:
            return {self._member(self.of(item, depth)) for item in part}  # type: ignore[attr-defined]
        if kind is FrozenMembers:
            return frozenset([self._member(self.of(item, depth)) for item in part])  # type: ignore[attr-defined]
        if isinstance(part, SetOf):
            items = [self._member(self.of(part.items[at], depth)) for at in range(part.count)]
            return frozenset(items) if part.frozen else set(items)
        raise Malformed("bare-global", part.name if isinstance(part, Token) else kind.__name__)

    def _charge(self, size: int) -> None:
        self.budget.output -= size
        if self.budget.output < 0:
            raise Malformed("amplification", f"more than {self.budget.limits.output_bytes} bytes of values")

    def _text_or_bytes(self, part: str | bytes | memoryview) -> str | bytes:
        self._charge(len(part))
        if isinstance(part, str):
            if not part.isascii():
                try:
                    part.encode()
                except UnicodeEncodeError:
                    raise Malformed("bad-unicode", "lone surrogate") from None
            return part
        if type(part) is OldString:
            try:
                return part.decode("utf-8")
            except UnicodeDecodeError:
                return bytes(part)
        if isinstance(part, bytes):
            return part
        copy = self.copies.get(id(part))
        if copy is None:
            copy = self.copies[id(part)] = bytes(part)
        return copy

    def _key(self, value: object) -> str | int:
        if type(value) is str or (type(value) is int and -_KEY_SPAN <= value < _KEY_SPAN):
            return value
        raise Malformed("bad-key", type(value).__name__)

    def _member(self, value: object) -> str | int | bytes:
        return value if type(value) is bytes else self._key(value)

    def _made(self, part: Made) -> object:
        if part.kind == "dtype":
            raise Malformed("bare-dtype")
        if part.value is None:
            part.value = self._array(part)
        value: Array = part.value  # type: ignore[assignment]
        self._charge(value.nbytes)
        return value

    def _array(self, part: Made) -> Array | np.generic:
        raw: object
        if part.kind == "scalar":
            dtype, raw = part.args
            if type(raw) is bytes and not raw and type(dtype) is Made and dtype.kind == "dtype":
                return _empty_text(dtype)
            return self._build(part, raw, dtype, (), False)[()]
        if part.kind == "frombuffer":
            raw, dtype, shape, order = part.args[:4]
            name = as_text(order)
            if name not in ("C", "F") or (len(part.args) == 5 and part.args[4] is not None):
                raise Malformed("bad-array-state", "order")
            return self._build(part, raw, dtype, shape, name == "F")
        state = part.state
        if type(state) is not tuple:
            raise Malformed("bad-array-state")
        if len(state) == 5 and type(state[0]) is int and state[0] in (0, 1):
            state = state[1:]
        if len(state) != 4 or type(state[2]) not in (bool, int):
            raise Malformed("bad-array-state")
        return self._build(part, state[3], state[1], state[0], bool(state[2]))

    def _build(self, part: Made, raw: object, dtype: object, shape: object, fortran: bool) -> Array:
        if not isinstance(raw, (bytes, memoryview)):
            raise Malformed("object-data", "the array's data is not bytes")
        if type(shape) is not tuple:
            raise Malformed("bad-shape", type(shape).__name__)
        if len(raw) > self.budget.output:
            self._charge(len(raw))  # before the memory is taken
        part.raw, part.dtype, part.fortran = raw, _dtype(dtype), fortran
        if id(raw) in self.handed_out:
            raw = bytes(raw)
        self.handed_out.add(id(raw))
        return build(raw, part.dtype, shape, fortran=fortran, limits=self.budget.limits)


def _dtype(part: object) -> np.dtype[np.generic]:
    """The dtype of checked arguments and state."""
    if type(part) is not Made or part.kind != "dtype":
        raise Malformed("bad-dtype", "not a dtype")
    if part.value is None:
        part.value = _make_dtype(part.args, part.state)
    return part.value  # type: ignore[return-value]


def _empty_text(part: Made) -> np.generic:
    """The one value of `U0` or `S0`: a text of no characters, whose pickle has no bytes."""
    name, state = as_text(part.args[0]), part.state
    if name not in ("U0", "S0"):
        raise Malformed("size-mismatch", "a scalar without bytes")
    one = np.dtype(f"{name[0]}1")
    if type(state) is not tuple or len(state) != 8 or type(state[5]) is not int or state[5] != 0:
        raise Malformed("bad-dtype", "state")
    _make_dtype((name[0] + "1", *part.args[1:]), (*state[:5], one.itemsize, *state[6:]))
    empty: np.generic = np.str_() if name == "U0" else np.bytes_()
    return empty


def _make_dtype(args: tuple[object, ...], state: object) -> np.dtype[np.generic]:
    name, align, copy = as_text(args[0]), args[1], args[2]
    if name is None or any(type(flag) not in (bool, int) for flag in (align, copy)) or align not in (0, 1) or copy != 1:
        raise Malformed("bad-dtype", "arguments")
    if "[" in name:
        raise Malformed("bad-dtype", "unit in the name")
    dtype = parse_dtype(name)
    if state is None:
        return dtype
    version, fields = (4, 9) if dtype.kind in "mM" else (3, 8)
    if type(state) is not tuple or len(state) != fields or type(state[0]) is not int or state[0] != version:
        raise Malformed("bad-dtype", "state")
    order = as_text(state[1])
    if order not in ("<", ">", "|", "="):
        raise Malformed("bad-dtype", "byte order")
    if state[2] is not None or state[3] is not None or state[4] is not None:
        raise Malformed("dtype-refused", "subarray or structure")
    # numpy's own reader believes these three, and crashes where they lie.
    sizes = (dtype.itemsize, dtype.alignment) if dtype.kind in "SU" else (-1, -1)
    if any(type(said) is not int for said in state[5:8]) or state[5:8] != (*sizes, dtype.flags):
        raise Malformed("bad-dtype", "sizes or flags")
    unit = _unit(dtype.kind, state)
    if dtype.kind == "b":
        return dtype
    return parse_dtype(f"{order}{name.lstrip('<>|=')}{unit}")


def _unit(kind: str, state: tuple[object, ...]) -> str:
    """`[25s]` of the state of a date or a difference of dates."""
    if kind not in "mM":
        return ""
    meta = state[8]
    if type(meta) is not tuple or len(meta) != 2 or type(meta[1]) is not tuple or len(meta[1]) != 4:
        raise Malformed("bad-dtype", "no unit")
    if meta[0] is not None and not (type(meta[0]) is Pairs and not meta[0]):
        raise Malformed("dtype-refused", "metadata")
    unit, count, divisor, events = as_text(meta[1][0]), *meta[1][1:]
    ones = _between(divisor, 1, 1) and _between(events, 1, 1)
    if unit not in _UNITS or not _between(count, 1, 999_999) or not ones:
        raise Malformed("bad-dtype", "unit")
    if unit == "generic":
        return ""
    return f"[{count}{unit}]"


def _between(value: object, low: int, high: int) -> bool:
    return type(value) is int and low <= value <= high
