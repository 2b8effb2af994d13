"""NaN and infinities among parameters: JSON has none, so a record spells them as texts and names the places.

A record's `nonfinite` is the list of those places, each a list: the parameter's name, then indices and keys within a
list. A text that is spelled alike stands in no place. A record without the field is from before there was one, or has
neither.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping
from typing import Any

from ..errors import ConfigError

SPELLED = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
"""Numbers that JSON has not, as records spell them."""
_BEFORE = {**SPELLED, "nan": math.nan, "inf": math.inf, "-inf": -math.inf}
"""Texts that were numbers to every reader while records could not tell."""

Place = list[str | int]


def spelled(value: float) -> str:
    """The text of NaN or an infinity in a record."""
    return "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"


def places(params: Mapping[str, Any]) -> list[Place] | None:
    """Where NaN and infinities are; None if nothing has to be told, as no text is spelled as one either."""
    found: list[Place] = []
    alike = False
    for name, value in params.items():
        for place, one in _leaves(value, [name]):
            alike = alike or isinstance(one, str)
            if not isinstance(one, str):
                found.append(place)
    return found if found or alike else None


def _leaves(value: Any, place: Place) -> Iterator[tuple[Place, Any]]:
    """Numbers that are not finite, and texts that are spelled as one."""
    if isinstance(value, str):
        if value in _BEFORE:
            yield place, value
    elif isinstance(value, float):
        if value - value != 0:
            yield place, value
    elif isinstance(value, Mapping | list | tuple) and len(place) <= _DEEPEST:
        inner = value.items() if isinstance(value, Mapping) else enumerate(value)
        for step, one in inner:
            yield from _leaves(one, [*place, step if isinstance(step, int) else str(step)])


_DEEPEST = 64


def check(value: Any) -> list[Place]:
    """A record's `nonfinite`.

    Raises:
        ConfigError: it is no list of places.
    """
    if isinstance(value, list) and all(
        isinstance(place, list) and place and all(type(step) in (str, int) for step in place) for place in value
    ):
        return value
    raise ConfigError("nonfinite is no list of places")


def restored(params: Mapping[str, Any], known: list[Place] | None) -> dict[str, Any]:
    """The parameters with their NaN and infinities, which `known` tells from texts; None = by how they are spelled."""
    if known is None:
        known = [[name] for name, value in params.items() if type(value) is str and value in _BEFORE]
    found = dict(params)
    for name in {place[0] for place in known if len(place) > 1}:
        if isinstance(found.get(name), list | dict):  # type: ignore[arg-type]
            found[name] = copy.deepcopy(found[name])  # type: ignore[index]
    for place in known:
        inner: Any = found
        for step in place[:-1]:
            inner = _at(inner, step)
        text = _at(inner, place[-1])
        if isinstance(text, str) and text in _BEFORE:
            inner[place[-1]] = _BEFORE[text]
    return found


def _at(inner: Any, step: str | int) -> Any:
    if isinstance(inner, dict):
        return inner.get(step)
    fits = isinstance(inner, list) and isinstance(step, int) and 0 <= step < len(inner)
    return inner[step] if fits else None
