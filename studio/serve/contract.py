"""Checks and shapes a request's values by the model's contract: what becomes a row, what is refused and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING

from ..errors import BadInput, ContractViolation
from .codec import NULL_HINT, null_at

if TYPE_CHECKING:
    from ..models.base import Array, TensorSpec


def check_values(values: object) -> dict[str, object]:
    """The decoded body, if it is a dictionary with text keys.

    Raises:
        BadInput: it is not.
    """
    if not isinstance(values, dict) or not all(isinstance(k, str) for k in values):
        raise BadInput("the body must be a dictionary with text keys", hint='for example {"x": [[1.0, 2.0]]}')
    return values


def fit(spec: TensorSpec, value: object, field: str, *, nulls: bool = False) -> tuple[Array, bool]:
    """The value as an array with a batch axis and of the contract's dtype, and whether that axis was added.

    Args:
        spec: The contract.
        value: What came.
        field: Its name.
        nulls: Whether None among numbers in lists is not-a-number.

    Raises:
        ContractViolation: dtype, rank or a length does not fit; names the field, what was expected and got.
    """
    import numpy as np

    if isinstance(value, np.ndarray):
        array = value
    elif isinstance(value, (bool, int, float, np.generic)):
        array = np.asarray(value)
    elif isinstance(value, list):
        array = _from_list(spec, value, field, nulls)
    else:
        raise _violation(spec, field, _word(value))
    if spec.free:
        return _cast(spec, array, field), False
    shown, single = array.shape, False
    if array.ndim == len(spec.shape) - 1 and spec.shape[0] in (-1, 1):
        single, array = True, array[None]
    elif array.ndim != len(spec.shape):
        raise _violation(spec, field, f"an array of shape {_shape(shown)}")
    for want, got in zip(spec.shape, array.shape, strict=True):
        if want >= 0 and want != got:
            raise _violation(spec, field, f"an array of shape {_shape(shown)}")
    return _cast(spec, array, field), single


def _from_list(spec: TensorSpec, value: list[object], field: str, nulls: bool) -> Array:
    """Nested lists of numbers, where the codec left them as they are (inside a dictionary)."""
    import numpy as np

    null = null_at(value)
    if null is not None and not nulls:
        raise ContractViolation(f"{field!r}{null} is null", hint=NULL_HINT, field=field)
    try:
        array = np.asarray(value, None if null is None else np.float64)
    except (ValueError, OverflowError):
        raise _violation(spec, field, "lists of unequal lengths") from None
    if array.dtype.kind not in "biuf":
        raise _violation(spec, field, "a list of something else than numbers")
    return array


def _cast(spec: TensorSpec, array: Array, field: str) -> Array:
    import numpy as np

    want = np.dtype(spec.dtype)
    if array.dtype == want:
        return array
    if array.dtype.kind in "iu" and want.kind in "iu":
        bounds = np.iinfo(want)
        if array.size and (array.min() < bounds.min or array.max() > bounds.max):
            raise _violation(spec, field, f"{array.dtype} with values outside {want}")
        return array.astype(want)
    if array.dtype.kind in "biuf" and np.can_cast(array.dtype, want, "same_kind"):
        try:
            with np.errstate(over="raise"):
                return array.astype(want)
        except FloatingPointError:
            raise _violation(spec, field, f"{array.dtype} with values beyond {want}") from None
    raise _violation(spec, field, f"values of dtype {array.dtype}")


def with_rows(inputs: Sequence[TensorSpec]) -> list[int]:
    """The places of the inputs whose first axis is the batch: any number of rows, or exactly one where none has any."""
    found = [k for k, spec in enumerate(inputs) if spec.shape[:1] == (-1,)]
    return found or [k for k, spec in enumerate(inputs) if spec.shape[:1] == (1,)]


def named_inputs(inputs: Sequence[TensorSpec], values: Mapping[str, object]) -> bool:
    """Whether the dictionary is one inference: several inputs, and the keys are their names."""
    return len(inputs) == len(values) > 1 and {spec.name for spec in inputs} == set(values)


def fit_named(
    inputs: Sequence[TensorSpec], values: Mapping[str, object], prefix: str, *, nulls: bool = False
) -> tuple[list[Array], bool]:
    """One array for each named input, all with the same number of rows, and whether the batch axis was added.

    Raises:
        ContractViolation: a name is missing or unknown, a value does not fit, or the rows differ.
    """
    wanted = [spec.name for spec in inputs]
    if len(values) != len(wanted) or set(values) != set(wanted):
        raise mismatch(inputs, values, prefix)
    fitted = [fit(spec, values[spec.name], prefix + spec.name, nulls=nulls) for spec in inputs]
    batched = with_rows(inputs)
    arrays, singles = [a for a, _ in fitted], {fitted[k][1] for k in batched}
    if len(singles) > 1 or len({len(arrays[k]) for k in batched}) > 1:
        parts = [(wanted[k], *fitted[k]) for k in batched]
        rows = ", ".join(f"{name}: {'one item' if single else len(array)}" for name, array, single in parts)
        raise ContractViolation(f"the inputs must have equally many rows; got {rows}", field=prefix or wanted[0])
    return arrays, singles == {True}


def mismatch(inputs: Sequence[TensorSpec], values: Mapping[str, object], prefix: str = "") -> ContractViolation:
    """The error for names that are not the model's inputs; its field is the first missing one, else the first unknown.

    Args:
        inputs: The contract; several.
        values: What came, under other names.
        prefix: What stands before the names, such as `item.`.
    """
    wanted = [spec.name for spec in inputs]
    missing = [prefix + name for name in wanted if name not in values]
    unknown = [prefix + str(name)[:80] for name in islice((n for n in values if n not in wanted), 4)]
    said = [f"{name!r} is missing" for name in missing] + [f"{name!r} is unknown" for name in unknown]
    shown = ", ".join([str(name)[:80] for name in islice(values, 8)]) or "none"
    more = f" and {len(values) - 8} more" if len(values) > 8 else ""
    return ContractViolation(
        f"{', '.join(said)}: expected {', '.join(wanted)}, got {shown}{more}",
        hint="send one array for each input name, or several such objects under names of your own",
        field=(missing or unknown)[0],
    )


def _violation(spec: TensorSpec, field: str, got: str) -> ContractViolation:
    wanted = f"shape {_shape(spec.shape)}"
    if spec.free:
        wanted = "any shape"
    elif spec.shape[:1] in ((-1,), (1,)):
        wanted = f"shape {_shape(spec.shape[1:])} (one item) or {_shape(spec.shape)} (a batch)"
    return ContractViolation(
        f"{field!r}: expected {spec.dtype} of {wanted}, got {got}",
        hint="GET /metadata shows the contract", field=field,
    )  # fmt: skip


def _shape(shape: Sequence[int]) -> str:
    return "(" + ", ".join("any" if n < 0 else str(n) for n in shape) + ("," if len(shape) == 1 else "") + ")"


def _word(value: object) -> str:
    if value is None:
        return "null"
    return {"str": "a string", "dict": "an object", "list": "a list", "bytes": "bytes"}.get(
        type(value).__name__, f"a {type(value).__name__}"
    )
