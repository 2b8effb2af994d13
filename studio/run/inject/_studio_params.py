"""Parameters as a record has them: flat names, values that JSON has, secrets masked; no two values become one."""

from __future__ import annotations

import json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    from . import _studio_salt, _studio_secrets, _studio_text, _studio_track
else:
    import _studio_salt
    import _studio_secrets
    import _studio_text
    import _studio_track

MOST_PARAMETERS = 100_000
DEEPEST = 50
LIST_CHARS = 4096  # of a list that is kept as such; of a longer one its text, with a digest


class Flat:
    """Parameters of one call: mappings within each other become names with dots.

    Attributes:
        values: Name → value as JSON has it, NaN and infinities included.
        digests: Name of a value that is secret, or has a secret in it → its digest and the salt's name.
        tops: Name → the key of the outermost mapping that it comes from.
    """

    def __init__(self, sources: Iterable[Mapping[Any, Any]], hidden: Iterable[str] = ()) -> None:
        self.values: dict[str, Any] = {}
        self.digests: dict[str, Any] = {}
        self._hidden = frozenset(hidden)
        self.tops: dict[str, str] = {}
        self._found: dict[Any, Any] = {}  # by the keys on the way to a value: each its text, and whether it was one
        for source in sources:
            self._walk((), source, (id(source),))
        self._name()

    def _walk(self, place: Any, mapping: Any, within: tuple[int, ...]) -> None:
        key = mapping  # an empty one has none
        for key, inner in mapping.items():
            if len(self._found) >= MOST_PARAMETERS:
                _studio_track.warning(
                    "parameters", f"a call has over {MOST_PARAMETERS} parameters: the rest is left out"
                )
                return  # what is shared within itself again and again has no end
            is_text = type(key) is str
            here = (*place, (key if is_text else _studio_track._text(key), is_text))
            if here[0][0] in self._hidden or not (hasattr(inner, "items") and hasattr(inner, "keys")):
                self._found[self._free(here)] = inner
            elif id(inner) in within or len(within) >= DEEPEST:
                self._found[self._free(here)] = "{...}"  # as Python prints it
            else:
                self._walk(here, inner, (*within, id(inner)))
        if place and key is mapping:
            self._found[self._free(place)] = {}

    def _free(self, place: Any) -> Any:
        """The place; of a key that is no text, but has the same as another one, a further one."""
        while not place[-1][1] and place in self._found:
            place = (*place[:-1], (place[-1][0] + "'", False))
        return place

    def _name(self) -> None:
        """Gives each value its name; those that would share one have keys in quotes in it, and the run says so."""
        named: dict[str, list[Any]] = {}
        for place in self._found:
            named.setdefault(".".join(text for text, _ in place), []).append(place)
        for name, places in named.items():
            names = [name] if len(places) == 1 else _apart(places)
            if len(places) > 1:
                told = ", ".join(names)
                _studio_track.warning(
                    f"parameter {name}", f"{len(places)} parameters are called {name}; kept as {told}"
                )
            for one, place in zip(names, places):  # noqa: B905  Python 3.9 knows no strict
                while one in self.values:
                    one += "'"
                self.tops[one] = place[0][0]
                value = self._found[place]
                self.values[one] = _studio_secrets.MASK if place[0][0] in self._hidden else plain(name, value)
                whole = type(value) is str and value == self.values[one]
                if _studio_secrets.MASK in str(self.values[one]) and not whole:
                    digest = _studio_salt.digest(_spelled(value).encode("utf-8", "surrogatepass"))
                    self.digests.update({} if digest is None else {one: digest})


def _apart(places: list[Any]) -> list[str]:
    """Names for places that share one: in quotes are keys with dots, and texts where another key is no text."""
    others = {(at, text) for place in places for at, (text, is_text) in enumerate(place) if not is_text}

    def spelled(at: int, text: str, is_text: bool) -> str:
        quoted = is_text and ("." in text or (at, text) in others)
        return json.dumps(text, ensure_ascii=False) if quoted else text

    return [".".join(spelled(at, *key) for at, key in enumerate(place)) for place in places]


def _spelled(value: Any) -> str:
    """The whole of a value that is secret, for its digest; as `studio run --param` has it."""
    if type(value) in (str, bool, int, float, list, tuple):
        try:
            return json.dumps(value)
        except (TypeError, ValueError, RecursionError):
            pass
    return str(_studio_text.of(value, _studio_text.DIGESTED_CHARS))


def plain(name: str, value: Any) -> Any:
    """The value as a record has it: a scalar, or a short list; `***` for what its name says is a secret."""
    if type(value) is dict:
        return value  # an empty one
    items = _plain_list(value, [LIST_CHARS])
    return _studio_secrets.shown(name, scalar(value) if items is None else items)


class _NotPlain(Exception):
    """A value that JSON does not have, or too long a one."""


def _plain_list(value: Any, left: list[int]) -> Any:
    """A short list or tuple of plain values, lists and dictionaries, as JSON has it; None for anything else."""
    try:
        return _plain("", value, left) if type(value) in (list, tuple) else None
    except (_NotPlain, RecursionError):
        return None


def _plain(name: str, value: Any, left: list[int]) -> Any:
    kind = type(value)
    left[0] -= len(value) if kind in (str, list, tuple, dict) else 8
    if kind is int:
        left[0] -= value.bit_length() // 3
    if left[0] < 0 or (kind is int and value.bit_length() > _studio_text.MOST_BITS):
        raise _NotPlain
    if kind in (list, tuple):
        return [_plain(name, item, left) for item in value]
    if kind is dict and all(type(key) is str for key in value):
        return {key: _plain(key, item, left) for key, item in value.items()}
    if kind not in (bool, int, float, str, type(None)):
        raise _NotPlain
    return _studio_secrets.shown(name, value) if name else _studio_secrets.clean(value) if kind is str else value


def scalar(value: Any) -> Any:
    """`value` as a JSON scalar, NaN and infinities included: its number where it has one, else its str()."""
    if value is None or isinstance(value, (bool, str)):
        return value if value is None or type(value) is bool else _studio_track._text(value)
    if not isinstance(value, (int, float)) and getattr(value, "ndim", None) == 0 and hasattr(value, "item"):
        try:
            value = value.item()
        except Exception:  # noqa: BLE001
            return _studio_text.kept(value)
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        return _studio_text.whole(int(value))
    if isinstance(value, float):
        return float(value)
    return _studio_text.kept(value)
