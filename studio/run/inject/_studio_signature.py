"""What a model was fitted on, without its rows: names, types, shapes, ranges and the categories of each column.

From a sample of rows spread over the data, within a hundredth of the fit's time (or 3 ms). A column of free text or of
identifiers tells no values; neither does one whose name says that it is a secret.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from . import _studio_secrets
else:
    import _studio_secrets

ROWS = 10_000
COLUMNS = 1000  # wider arrays tell one range for all
CATEGORIES = 100
TEXT = 64  # characters; longer ones are free text
SHARE = 0.01
LEAST_S = 0.003
ELEMENT_S = 1e-7  # what looking at one number takes


def of(data: Any, took_s: float = 0.0, names: list[str] | None = None) -> dict[str, Any] | None:
    """The signature of a model that was fitted on `data` in `took_s`; None if nothing can be told.

    Args:
        data: An array, a table, a sparse matrix, lists; a mapping or a tuple of these for several inputs.
        took_s: How long the fit took.
        names: What the model calls its inputs.
    """
    budget = int(max(LEAST_S, SHARE * took_s) / ELEMENT_S)
    inputs: list[dict[str, Any] | None]
    if isinstance(data, dict):
        inputs = [_input(str(name), part, budget) for name, part in data.items()]
    elif isinstance(data, tuple) or (isinstance(data, list) and data and all(hasattr(part, "shape") for part in data)):
        inputs = [_input(name, part, budget) for name, part in zip(names or _numbered(len(data)), data)]  # noqa: B905
    else:
        inputs = [_input(names[0] if names else "x", data, budget)]
    found = [about for about in inputs if about is not None]
    return {"inputs": found} if found and len(found) == len(inputs) else None


MARGINS = ("base_margin", "init_score", "baseline")
"""Numbers for each row that boosters add to what their trees say, as XGBoost, LightGBM and CatBoost call them."""


def margin_in(kwargs: dict[str, Any]) -> str:
    """Which of them a `fit` was given: also that of a pipeline, as `step__base_margin`."""
    given = [name.rpartition("__")[2] for name, value in kwargs.items() if value is not None]
    return next((name for name in given if name in MARGINS), "")


def with_margin(signature: dict[str, Any] | None, margin: str) -> dict[str, Any] | None:
    """The same signature, which tells of the margin if there was one."""
    return {**(signature or {"inputs": []}), "margin": margin} if margin else signature


def of_spec(spec: Any) -> dict[str, Any] | None:
    """The signature by what a data set says of its batches: types and shapes, no ranges."""
    parts: Any = [("x", spec)]
    if isinstance(spec, (dict, tuple)):
        parts = spec.items() if isinstance(spec, dict) else zip(_numbered(len(spec)), spec)  # noqa: B905
    inputs = []
    for name, part in parts:
        if not hasattr(part, "dtype") or part.shape.rank is None:
            return None
        dtype = getattr(part.dtype, "name", str(part.dtype))
        shape = [-1, *(-1 if size is None else int(size) for size in list(part.shape)[1:])]
        inputs.append(_whole(str(name), "str" if dtype == "string" else dtype, shape, None))
    return {"inputs": inputs}


def _numbered(count: int) -> list[str]:
    return [f"x{number + 1}" for number in range(count)] if count > 1 else ["x"]


def _input(name: str, data: Any, budget: int) -> dict[str, Any] | None:
    if hasattr(data, "columns") and hasattr(data, "iloc"):
        return _table(name, data, budget)
    if hasattr(data, "iloc"):  # one column of a table
        column = _column(str(data.name), data.iloc[:: _step(len(data), budget)])
        return _whole(name, str(data.dtype), [-1], [column])
    if hasattr(data, "tocsr") and hasattr(data, "dtype"):
        values: Any = getattr(data, "data", None)
        about = _whole(name, str(data.dtype), [-1, *map(int, data.shape[1:])], None)
        about["sparse"] = True
        if getattr(getattr(values, "dtype", None), "kind", "") in "buif" and len(values):
            about["low"], about["high"] = _range(values[:: _step(len(values), budget)], zero=True)
        return about
    return _array(name, data, budget)


def _whole(name: str, dtype: str, shape: list[int], columns: list[dict[str, Any]] | None) -> dict[str, Any]:
    lows = [column["low"] for column in columns or () if column["low"] is not None]
    highs = [column["high"] for column in columns or () if column["high"] is not None]
    return {
        "name": name, "dtype": dtype, "shape": shape, "low": min(lows, default=None), "high": max(highs, default=None),
        "columns": columns,
    }  # fmt: skip


def _step(rows: int, budget: int, width: int = 1) -> int:
    """Every how manieth row is looked at."""
    most = min(ROWS, max(32, budget // max(1, width)))
    return max(1, -(-rows // most))


def _table(name: str, data: Any, budget: int) -> dict[str, Any]:
    rows, width = len(data), len(data.columns)
    dtypes = {str(dtype) for dtype in data.dtypes}
    dtype = dtypes.pop() if len(dtypes) == 1 else "object"
    if width > COLUMNS:
        return {**_whole(name, dtype, [-1, width], None), "table": True}
    sample = data.iloc[:: _step(rows, budget, 4 * width)]  # a column of a table takes longer than one of an array
    columns = [_column(str(label), sample.iloc[:, at]) for at, label in enumerate(data.columns)]
    return {**_whole(name, dtype, [-1, width], columns), "table": True}


def _array(name: str, data: Any, budget: int) -> dict[str, Any] | None:
    import numpy

    if not hasattr(data, "shape"):
        if not hasattr(data, "__len__") or not hasattr(data, "__getitem__") or isinstance(data, (str, bytes)):
            return None  # what is used up by being read
        width = len(data[0]) if len(data) and isinstance(data[0], (list, tuple)) else 1
        data = data[:: _step(len(data), budget, width)]
        if any(isinstance(row, (dict, set)) for row in data[:1]):
            return _whole(name, "object", [-1], None)
        data = numpy.asarray(data)
    if len(data.shape) == 0 or not hasattr(data, "__getitem__"):  # the latter is CatBoost's Pool
        return None
    shape = [-1, *(int(size) for size in data.shape[1:])]
    width = 1
    for size in shape[1:]:
        width *= size
    sample = data[:: _step(int(data.shape[0]), budget, width)]
    if hasattr(sample, "detach"):
        sample = sample.detach().cpu()
    sample = numpy.asarray(sample)
    if width and sample.size > 4 * budget and len(shape) > 2:  # few rows are large ones
        sample = sample[: max(1, 4 * budget // width)]
    dtype = str(data.dtype).rpartition(".")[2] if hasattr(data, "dtype") else str(sample.dtype)
    if sample.dtype.kind in "US":
        dtype = "str"
    if len(shape) == 2 and width <= COLUMNS:
        columns = [_column(f"x{at}", sample[:, at]) for at in range(width)]
        return _whole(name, _plain(dtype, columns), shape, columns)
    if len(shape) == 1:
        columns = [_column(name, sample)]
        return _whole(name, _plain(dtype, columns), shape, columns)
    about = _whole(name, dtype, shape, None)
    if sample.dtype.kind in "buif":
        about["low"], about["high"] = _range(sample)
    return about


def _plain(dtype: str, columns: list[dict[str, Any]]) -> str:
    kinds = {column["dtype"] for column in columns}
    return kinds.pop() if dtype == "object" and len(kinds) == 1 else dtype


def _range(values: Any, *, zero: bool = False) -> tuple[Any, Any]:
    """Least and greatest of the finite ones."""
    import numpy

    if values.dtype.kind == "f":
        values = values[numpy.isfinite(values)]
    if not values.size:
        return None, None
    low, high = values.min().item(), values.max().item()
    return (min(low, 0), max(high, 0)) if zero else (low, high)


def _column(name: str, values: Any) -> dict[str, Any]:
    """One column, of an array or of a table."""
    import numpy

    dtype = str(values.dtype)
    found: dict[str, Any] = {
        "name": _studio_secrets.clean(name), "dtype": dtype, "low": None, "high": None, "categories": None,
        "missing": False,
    }  # fmt: skip
    listed = getattr(getattr(values, "cat", None), "categories", None)
    if hasattr(values, "isna"):
        lacking = values.isna()
        found["missing"] = bool(lacking.any())
        values = values[~lacking] if found["missing"] else values
    told = not _studio_secrets.secret(name)
    if listed is not None:
        found["categories"] = _shown(list(listed)) if told and len(listed) <= CATEGORIES else None
        found["dtype"] = "category"
        return found
    array = numpy.asarray(values)
    if array.dtype.kind == "O":
        return _objects(found, array, told)
    if array.dtype.kind == "f":
        finite = numpy.isfinite(array)
        found["missing"] = found["missing"] or bool(numpy.isnan(array).any())
        array = array[finite]
    if not told or not array.size:
        return found
    if array.dtype.kind in "buif":
        found["low"], found["high"] = _range(array)
        if array.dtype.kind != "f" or bool((array == numpy.floor(array)).all()):
            found["categories"] = _few(numpy.unique(array), len(array))
    elif array.dtype.kind in "US":
        found["dtype"] = "str"
        found["categories"] = _few(numpy.unique(array), len(array))
    return found


def _objects(found: dict[str, Any], array: Any, told: bool) -> dict[str, Any]:
    """A column of Python's objects: texts, mostly."""
    there = [value for value in array.tolist() if value is not None and value == value]
    found["missing"] = found["missing"] or len(there) < len(array)
    for kind, name in ((bool, "bool"), (str, "str"), ((int, float), "float64")):
        if there and all(isinstance(value, kind) for value in there):
            found["dtype"] = name
            if told and name == "float64":
                found["low"], found["high"] = min(there), max(there)
            if told:
                found["categories"] = _few(sorted(set(there)), len(there))
            return found
    return found


def _few(distinct: Any, rows: int) -> list[Any] | None:
    """The distinct values, where they are few and come again: those of an identifier do not."""
    if not len(distinct) or len(distinct) > CATEGORIES or 2 * len(distinct) > rows:
        return None
    return _shown(distinct.tolist() if hasattr(distinct, "tolist") else list(distinct))


def _shown(values: list[Any]) -> list[Any] | None:
    texts = [value for value in values if isinstance(value, str)]
    if any(len(text) > TEXT or "@" in text for text in texts):
        return None
    plain = [value.item() if hasattr(value, "item") else value for value in values]
    plain = [value for value in plain if not isinstance(value, str) or _studio_secrets.clean(value) == value]
    return plain if all(isinstance(value, (bool, int, float, str)) for value in plain) else None
