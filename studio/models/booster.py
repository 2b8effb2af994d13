"""Runs gradient-boosted trees in the files of XGBoost and LightGBM themselves: data, not code."""

from __future__ import annotations

import contextlib
import importlib
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import MissingExtra, ModelLoadError
from .base import LoadedModel, said
from .categories import lacks_margin, of_lightgbm, of_xgboost, recorded_columns
from .forked import Damaged, survive
from .note import entry_of
from .rows import proven_rows
from .trees import check_file, check_lightgbm, check_xgboost
from .ubj import read_ubj

if TYPE_CHECKING:
    from .base import Array


def load_xgboost(path: Path, runtime: str, trust: bool) -> LoadedModel:
    """What the library's own model answers: rows of features in (NaN = missing), float32 out.

    Columns of categories take their values, as in a table, where the file or the run tells them. A file of the
    scikit-learn interface is cut at its best iteration, as that interface does; a file of `xgboost.train` is not, as
    `Booster.predict` does not either.

    Raises:
        ModelLoadError: the file is broken, or has categories that are no numbers.
        MissingExtra: xgboost is not installed.
    """
    booster, untried = _booster(path, "xgboost")
    best, warnings = _best(booster, path)
    categories = of_xgboost(booster, path.name, recorded_columns(path))
    predict = _predict(booster, best)
    model = proven_rows(
        path, "xgboost", lambda rows: predict(categories.encode(rows)), int(booster.num_features()),
        columns=categories.domains(), warnings=(*untried, *warnings, *categories.warnings), sample=categories.sample(),
        names=booster.feature_names or (),
    )  # fmt: skip
    return replace(model, handles_missing=True)


def load_lightgbm(path: Path, runtime: str, trust: bool) -> LoadedModel:
    """What `Booster.predict` answers: rows of features in (NaN = missing), float64 out.

    Raises:
        ModelLoadError: the file is broken, or has categories that are no numbers.
        MissingExtra: lightgbm is not installed.
    """
    booster, untried = _booster(path, "lightgbm")
    categories = of_lightgbm(booster, path.name, recorded_columns(path))
    model = proven_rows(
        path, "lightgbm", lambda rows: booster.predict(categories.encode(rows)), int(booster.num_feature()),
        columns=categories.domains(), warnings=(*untried, *categories.warnings), sample=categories.sample(),
        names=_given(booster.feature_name()),
    )  # fmt: skip
    return replace(model, handles_missing=True)


def _given(names: Sequence[str]) -> Sequence[str]:
    """The names that LightGBM did not make up itself."""
    return () if all(name == f"Column_{k}" for k, name in enumerate(names)) else names


def _best(booster: Any, path: Path) -> tuple[int, tuple[str, ...]]:
    """How many iterations answer (0 = all), and what is to be said of it."""
    stopped = booster.attr("best_iteration")
    if stopped is None:
        return 0, ()
    best, all_of_them = int(stopped) + 1, int(booster.num_boosted_rounds())
    of_sklearn = booster.attr("scikit_learn") is not None or str(entry_of(path).get("class", "")).startswith("XGB")
    if of_sklearn or best >= all_of_them:
        return best, ()
    note = f"the model answers with all {all_of_them} rounds, as Booster.predict does"
    note += f"; early stopping found the first {best} best"
    return 0, (note,)


def _predict(booster: Any, best: int) -> Callable[[Array], object]:
    """`predict` without its checks of feature names; the quick way in, where the kind of booster has it."""
    import xgboost

    def whole(rows: Array) -> object:
        return booster.predict(xgboost.DMatrix(rows), validate_features=False)  # a linear model is whole

    kind = json.loads(booster.save_config())["learner"]["gradient_booster"]["name"]
    if kind == "gblinear":
        return whole
    return partial(booster.inplace_predict, iteration_range=(0, best), validate_features=False)


def _walk(module: Any, path: Path) -> None:
    """Loads the file and checks the trees, which crash the library where they lead out of its memory.

    Raises:
        Damaged: they cannot be walked.
    """
    if module.__name__ == "xgboost":
        with contextlib.suppress(ValueError, LookupError, TypeError, AttributeError):  # the library says it better
            check_file((read_ubj if path.suffix == ".ubj" else json.loads)(path.read_bytes()))
        booster = module.Booster(model_file=str(path))
        check_xgboost(json.loads(booster.save_raw(raw_format="json")))
        return
    trees = check_lightgbm(path.read_bytes().decode("latin-1"))
    booster = _lightgbm(module, path)
    if check_lightgbm(booster.model_to_string(num_iteration=-1)) != trees:
        raise Damaged(f"LightGBM does not find its {trees} trees")


def _lightgbm(module: Any, path: Path) -> Any:
    """From a text that ends with a line's end, beyond which the library would read on."""
    data = path.read_bytes()
    if data.endswith(b"\n"):
        return module.Booster(model_file=str(path))
    return module.Booster(model_str=data.decode("utf-8", "surrogateescape") + "\n")


def _booster(path: Path, library: str) -> tuple[Any, tuple[str, ...]]:
    """The library's own model, and warnings: the file could not be tried before, or the model misses a margin."""
    try:
        module = importlib.import_module(library)
    except ModuleNotFoundError as exc:
        raise MissingExtra(f"{library} is not installed", hint=f"pip install {library}") from exc
    untried = survive(path.name, library, lambda: _walk(module, path))
    try:
        booster = _lightgbm(module, path) if library == "lightgbm" else module.Booster(model_file=str(path))
        return booster, (*untried, *lacks_margin(path))
    except Exception as exc:  # each has an error class of its own, over C++'s
        raise ModelLoadError(f"{library} cannot load {path.name}: {said(exc)}") from exc
