"""Bodies in the forms of other servers and of pandas, which `POST /` must not take for values of its own.

Under their keys (`instances`, `columns`, `data` …) a model would answer what nobody asked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ..errors import BadInput

if TYPE_CHECKING:
    from ..models.base import TensorSpec

_FORMS: tuple[tuple[str, frozenset[str], frozenset[str]], ...] = (
    ("MLflow's", frozenset({"dataframe_split"}), frozenset({"params"})),
    ("MLflow's", frozenset({"dataframe_records"}), frozenset({"params"})),
    ("TensorFlow Serving's", frozenset({"instances"}),
     frozenset({"signature_name", "parameters", "params"})),
    ("MLflow's and TensorFlow Serving's", frozenset({"inputs"}),
     frozenset({"signature_name", "params", "id", "parameters", "outputs", "model_name", "model_version"})),
    ("pandas' split", frozenset({"columns", "data"}), frozenset({"index", "index_names", "column_names"})),
    ("pandas' table", frozenset({"schema", "data"}), frozenset()),
)  # fmt: skip
"""Whose form it is, the keys that it has, and those that it may have."""


_NUMBERS = (bool, int, float, type(None))


def refuse_foreign(values: Mapping[str, object], inputs: Sequence[TensorSpec] | None) -> None:
    """Refuses a JSON body in another's form, unless its keys are the names of the model's inputs.

    A function of the whole request (no `inputs`) has keys of its own: nothing is refused for it.

    Raises:
        BadInput: it is one; the hint shows what to send.
    """
    if not inputs or not 1 <= len(values) <= 8:
        return
    keys, names = set(values), [spec.name for spec in inputs]
    for whose, needed, more in _FORMS:
        if needed <= keys and not needed <= set(names) and (keys <= needed | more or _beside(values, needed)):
            told = " with ".join(f'"{key}"' for key in sorted(needed))
            raise _refusal(f"{told} is {whose} form; studio does not read it yet", names, values)
    if len(keys) == 1 and _are_records(next(iter(values.values()))) and len(names) == 1:
        raise _refusal(f"{next(iter(keys))[:80]!r} is a list of objects (records)", names, values)


def _beside(values: Mapping[str, object], needed: frozenset[str]) -> bool:
    """Whether what comes beside the keys of a form says something of the request and is no value of its own."""
    beside = [value for key, value in values.items() if key not in needed]
    return any(map(_is_setting, beside)) and not any(type(values[key]) in _NUMBERS for key in needed)


def _is_setting(value: object) -> bool:
    return type(value) in _NUMBERS or (type(value) is dict and "b64" not in value)


def _are_records(value: object) -> bool:
    return type(value) is list and bool(value) and all(type(item) is dict for item in value)


def _refusal(said: str, names: list[str], values: Mapping[str, object]) -> BadInput:
    rows = "{" + ", ".join(f'"{name[:40]}": [[…], …]' for name in names[:4]) + (", …}" if len(names) > 4 else "}")
    tensors = values.get("inputs")
    if _are_records(tensors) and "datatype" in tensors[0]:  # type: ignore[index]
        return BadInput(said, hint=f"send tensors to /v2/models/NAME/infer, or {rows} here")
    return BadInput(said, hint=f"send {rows}: the rows of each input under its name")
