"""Frozen records of an experiment and their JSON form (`records/<key>.json`); unknown fields survive a round trip."""

from __future__ import annotations

from .form import JSON, Faults, from_json, put_back, readable, to_json
from .names import ENDED, KINDS, LAST, NAME, STATUSES, check_name, check_new_key, new_key
from .records import (
    CHILD,
    CLOCK,
    RERUN,
    SAMPLED,
    SCHEMA,
    SERVING,
    ArtifactRef,
    Command,
    Exit,
    Experiment,
    Failure,
    Git,
    Host,
    Metric,
    Resources,
    Summary,
    Times,
    Variable,
)
from .values import is_moment, strict

__all__ = [
    "CHILD",
    "CLOCK",
    "ENDED",
    "JSON",
    "KINDS",
    "LAST",
    "NAME",
    "RERUN",
    "SAMPLED",
    "SCHEMA",
    "SERVING",
    "STATUSES",
    "ArtifactRef",
    "Command",
    "Exit",
    "Experiment",
    "Failure",
    "Faults",
    "Git",
    "Host",
    "Metric",
    "Resources",
    "Summary",
    "Times",
    "Variable",
    "check_name",
    "check_new_key",
    "from_json",
    "is_moment",
    "new_key",
    "put_back",
    "readable",
    "strict",
    "to_json",
]
