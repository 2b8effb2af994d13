"""Models that are a function of rows of features, such as an estimator's `predict`, as models of arrays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .answers import as_array
from .base import TensorModel, TensorSpec
from .measure import Trial, proven
from .probe import Domain
from .stacking import Fresh

if TYPE_CHECKING:
    from .base import Array


def proven_rows(
    path: Path,
    runtime: str,
    predict: Callable[[Array], object],
    features: int,
    *,
    columns: Sequence[Domain] = (),
    likely: tuple[int, ...] = (),
    hopeless: Callable[[BaseException], None] = lambda exc: None,
    fresh: Fresh | None = None,
    warnings: tuple[str, ...] = (),
    sample: tuple[float, ...] = (),
    names: Sequence[str] = (),
    flat: bool = False,
) -> TensorModel:
    """The model of a function of rows of float64 features; its answers tell its output.

    Args:
        path: The file.
        runtime: What runs it.
        predict: Rows in, one answer for each out.
        features: The number of features; -1 = any.
        columns: What each feature takes, if that is known.
        likely: Numbers of features to try first where any are taken.
        hopeless, fresh, warnings: See `Trial`.
        sample: See `TensorSpec`.
        names: Those of the features, if they have any.
        flat: Whether a row is one number, so that the input has one axis.

    Raises:
        ModelLoadError: no rows could ever be answered.
    """

    def run(arrays: Sequence[Array]) -> Sequence[Array]:
        return [as_array(predict(arrays[0]))]

    named = tuple(map(str, names)) if len(names) == features and len(set(names)) == features else ()
    shape = (-1,) if flat else (-1, features)
    trial = Trial(
        path, runtime, run, (TensorSpec("x", "float64", shape, sample=sample, columns=named),),
        (TensorSpec("y", "float64", (), free=True),), told=[[Domain(columns=tuple(columns))]] if columns else (),
        lengths=likely, hopeless=hopeless, fresh=fresh, warnings=warnings,
    )  # fmt: skip
    return proven(trial)
