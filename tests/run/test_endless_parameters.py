"""Parameters that refer to themselves, or that unfold without end, cost a script neither its end nor its time."""

from __future__ import annotations

from typing import Any

from studio.run.inject import _studio_track as track


def test_a_dictionary_within_itself_is_shown_as_python_prints_it() -> None:
    ring: dict[str, Any] = {"lr": 0.1, "inner": {"depth": 3}}
    ring["inner"]["up"] = ring
    out: dict[str, Any] = {}
    track._flatten("", ring, out)
    assert out == {"lr": 0.1, "inner.depth": 3, "inner.up": "{...}"}


def test_shared_dictionaries_end_at_the_most_parameters() -> None:
    shared: dict[str, Any] = {"v": 1}
    for _ in range(40):
        shared = {"a": shared, "b": shared}
    out: dict[str, Any] = {}
    track._flatten("", shared, out)
    assert len(out) == track.MOST_PARAMETERS
