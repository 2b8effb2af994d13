"""The names a pickle may say, as inert tokens, and the only calls of them that are understood.

Hides every spelling that Python 2 and 3 and numpy 1 and 2 give the same thing. Nothing here imports or calls what a
stream names: a call is matched against the few patterns that numpy's and Python's own picklers write.
"""

from __future__ import annotations

import numpy as np

from .limits import Budget, Malformed


class Token:
    """An inert stand-in for a global."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name


class OldString(bytes):
    """A `str` of Python 2: bytes or text, nobody knows."""

    __slots__ = ()


class Pairs(list[tuple[object, object]]):
    """A dictionary under construction."""

    __slots__ = ()


class OrderedPairs(Pairs):
    """An `OrderedDict` under construction: a dictionary like any other, but BUILD may give it attributes."""

    __slots__ = ()


class Members(list[object]):
    """A set under construction, by its opcodes."""

    __slots__ = ()


class FrozenMembers(list[object]):
    """A frozen set under construction, by its opcode."""

    __slots__ = ()


class SetOf:
    """`set(items)` or `frozenset(items)`: the list as long as it was at the call; later items do not belong."""

    __slots__ = ("count", "frozen", "items")

    def __init__(self, items: list[object], frozen: bool) -> None:
        self.items = items
        self.count = len(items)
        self.frozen = frozen


class Made:
    """A dtype, array or scalar under construction: the arguments of its call, and the state set by BUILD.

    `raw`, `dtype` and `fortran` are what an array was built of.
    """

    __slots__ = ("args", "dtype", "fortran", "kind", "raw", "state", "value")

    def __init__(self, kind: str, args: tuple[object, ...]) -> None:
        self.kind = kind
        self.args = args
        self.state: object = None
        self.value: object = None
        self.raw: object = None
        self.dtype: np.dtype[np.generic] | None = None
        self.fortran = False


RECONSTRUCT, NDARRAY, DTYPE, SCALAR, FROMBUFFER, ENCODE = map(
    Token, ("_reconstruct", "ndarray", "dtype", "scalar", "_frombuffer", "encode")
)
BYTES, BYTEARRAY, SET, FROZENSET, COMPLEX, ORDERED = map(
    Token, ("bytes", "bytearray", "set", "frozenset", "complex", "OrderedDict")
)

GLOBALS: dict[tuple[str, str], Token] = {
    ("numpy", "ndarray"): NDARRAY,
    ("numpy", "dtype"): DTYPE,
    ("_codecs", "encode"): ENCODE,
    ("collections", "OrderedDict"): ORDERED,
    **{
        (f"numpy.{core}.{module}", token.name): token
        for core in ("core", "_core")
        for module, token in (("multiarray", RECONSTRUCT), ("multiarray", SCALAR), ("numeric", FROMBUFFER))
    },
    **{
        (module, token.name): token
        for module in ("builtins", "__builtin__")
        for token in (BYTES, BYTEARRAY, SET, FROZENSET, COMPLEX)
    },
}
_LATIN1 = ("latin1", "latin-1")
_SHORT = 64
_PAIR_BYTES = 64


def find(module: object, name: object, protocol: int) -> Token:
    """The token of an admitted global in a pickle of this protocol.

    Raises:
        Malformed: any other name.
    """
    token = GLOBALS.get((module, name)) if type(module) is str and type(name) is str else None
    if token is None or (module == "__builtin__" and protocol >= 3):
        said = ".".join(part[:60] if isinstance(part, str) else type(part).__name__ for part in (module, name))
        raise Malformed("global-refused", said)
    return token


def as_text(value: object) -> str | None:
    """`value` as short ASCII text, or None."""
    if type(value) is str:
        return value
    if isinstance(value, (bytes, memoryview)) and len(value) <= _SHORT:
        try:
            return str(value, "ascii")
        except UnicodeDecodeError:
            return None
    return None


def call(token: object, args: object, budget: Budget) -> object:
    """What REDUCE pushes for an admitted call; bytes that it has to make are charged to `budget.work`.

    Raises:
        Malformed: `token` is no global, or the arguments are not those that a real pickler writes.
    """
    if type(token) is not Token or type(args) is not tuple:
        raise Malformed("bad-reduce", "not a global" if type(token) is not Token else token.name)
    if token is RECONSTRUCT:
        if len(args) == 3 and args[0] is NDARRAY and _is_zero(args[1]) and as_text(args[2]) == "b":
            return Made("array", ())
    elif token is DTYPE:
        if len(args) == 3:
            return Made("dtype", args)
    elif token is SCALAR:
        if len(args) == 2:
            return Made("scalar", args)
    elif token is FROMBUFFER:
        if len(args) in (4, 5):
            return Made("frombuffer", args)
    else:
        value = _call_builtin(token, args, budget)
        if value is not None:
            return value
    raise Malformed("bad-reduce", token.name)


def _is_zero(shape: object) -> bool:
    return type(shape) is tuple and len(shape) == 1 and type(shape[0]) is int and shape[0] == 0


def _call_builtin(token: Token, args: tuple[object, ...], budget: Budget) -> object:
    count = len(args)
    if token is ENCODE:
        return _latin1(args, budget) if count == 2 else None
    if token is BYTES or token is BYTEARRAY:
        if count == 0:
            return b""
        if count == 1 and isinstance(args[0], (bytes, memoryview)):
            return args[0]
        return _latin1(args, budget) if count == 2 and token is BYTEARRAY else None
    if token is SET or token is FROZENSET:
        if count == 1 and type(args[0]) is list:
            return SetOf(args[0], token is FROZENSET)
        return None
    if token is ORDERED:
        return OrderedPairs() if count == 0 else _ordered(args, budget)
    if token is COMPLEX and count == 2 and all(type(part) in (int, float) for part in args):
        try:
            return complex(*args)  # type: ignore[call-overload]
        except OverflowError:
            return None
    return None


def _ordered(args: tuple[object, ...], budget: Budget) -> OrderedPairs | None:
    """Of a list of lists of two, as Python 2 writes them: as it is now, for later items do not belong."""
    items = args[0]
    if len(args) != 1 or type(items) is not list:
        return None
    budget.work -= _PAIR_BYTES * len(items)
    if budget.work < 0:
        raise Malformed("amplification", "a list of pairs copied again and again")
    if any(type(pair) not in (list, tuple) or len(pair) != 2 for pair in items):
        return None
    return OrderedPairs((pair[0], pair[1]) for pair in items)


def _latin1(args: tuple[object, ...], budget: Budget) -> bytes | None:
    text = args[0]
    if type(text) is str and as_text(args[1]) in _LATIN1:
        budget.work -= len(text)
        if budget.work < 0:
            raise Malformed("amplification", "text encoded again and again")
        try:
            return text.encode("latin-1")
        except UnicodeEncodeError:
            return None
    return None
