"""What libraries answer with, as arrays that every form of the wire can carry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from .base import Array


def as_array(value: Any) -> Array:
    """An array of numbers, truth values, dates or text; sparse matrices become dense, bfloat16 float32.

    Raises:
        TypeError: an array of objects that are none of these.
    """
    import numpy as np

    if hasattr(value, "toarray") and hasattr(value, "nnz"):  # scipy.sparse
        value = value.toarray()
    array: Array = np.asarray(value)
    if array.dtype.kind == "V" and array.dtype.name.startswith(("bfloat", "float")):  # ml_dtypes
        return array.astype(np.float32)
    if array.dtype.kind in "OT":
        return _of_objects(array)
    return array


def _of_objects(array: Array) -> Array:
    import numpy as np

    items = array.reshape(-1).tolist()
    if all(isinstance(item, str) for item in items):
        return np.asarray(items, dtype=np.str_).reshape(array.shape)
    if items and isinstance(items[0], Mapping):
        return of_mappings(cast("Sequence[Mapping[object, object]]", items))
    if all(isinstance(item, bytes) for item in items):
        return np.asarray([item.decode("utf-8", "replace") for item in items], dtype=np.str_).reshape(array.shape)
    made = np.asarray(items)
    if made.dtype.kind not in "biufcMm" or made.size != array.size:
        raise TypeError(f"an array of {type(items[0]).__name__}")
    return made.reshape(array.shape)


def of_mappings(rows: Sequence[Mapping[object, object]]) -> Array:
    """One row for each mapping, its values in the order of their keys: how ONNX writes a classifier's probabilities."""
    import numpy as np

    return np.asarray([list(row.values()) for row in rows])
