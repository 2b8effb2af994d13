"""Models as stage functions: anything with `predict`, and Keras models at their fastest; imports no framework."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from functools import partial
from inspect import isasyncgenfunction
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import Protocol, cast

from ..errors import ConfigError
from .stage import Function

log = logging.getLogger(__name__)


class Predicts(Protocol):
    """A model: `predict` takes a batch and gives one row for each of its rows."""

    @property
    def predict(self) -> Function:
        """The model's own method."""


def as_function(func: Function | Predicts) -> Function:
    """The function that a stage applies.

    A Keras model is run once on zeros, so that the first item does not pay for tracing, and then by
    `predict_on_batch`, which gives what `predict` gives for one batch without its progress bar and
    its 30 ms. Several outputs come as a dictionary by name.

    Raises:
        ConfigError: neither callable nor a model.
    """
    if not isinstance(func, (type, partial, FunctionType, MethodType, BuiltinFunctionType)):
        predict = getattr(func, "predict", None)
        if callable(predict):
            return _keras(func) if _is_keras(func) else predict
    if isasyncgenfunction(func):
        raise ConfigError(
            f"{getattr(func, '__name__', 'the function')} is an async generator, which cannot be a stage of a pipe",
            hint="return one value, with return instead of yield",
        )
    if not callable(func):
        raise ConfigError(
            f"{type(func).__name__} cannot be a stage of a pipe",
            hint="give a function, or a model with a method predict",
        )
    return func


def _is_keras(model: object) -> bool:
    """Whether `predict` is Keras's own and not a subclass's."""
    module: str = getattr(getattr(type(model), "predict", None), "__module__", "") or ""
    return module.partition(".")[0] in ("keras", "tf_keras") and hasattr(model, "predict_on_batch")


def _keras(model: object) -> Function:
    run: Function = getattr(model, "predict_on_batch")  # noqa: B009 - no framework's types here
    names = list(getattr(model, "output_names", None) or ())

    def predict(batch: object) -> object:
        answers = run(batch)
        if len(names) > 1 and not isinstance(answers, Mapping):
            return dict(zip(names, cast("Iterable[object]", answers), strict=True))
        return answers

    _prime(model, predict)
    return predict


def _prime(model: object, predict: Function) -> None:
    import numpy as np

    try:
        for rows in (1, 2):  # the second size makes the traced function independent of the size
            zeros = [
                np.zeros((rows, *(size or 1 for size in tensor.shape[1:])), str(tensor.dtype))
                for tensor in getattr(model, "inputs", None) or ()
            ]
            if zeros:
                predict(zeros[0] if len(zeros) == 1 else zeros)
    except Exception:  # any error of any model: it is only a warm-up, and its input was made up
        log.debug("%s could not be primed with zeros", type(model).__name__, exc_info=True)
