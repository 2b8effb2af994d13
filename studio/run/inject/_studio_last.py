"""At the end of a run: keeps predictors that `__main__` holds and no `fit` told of, and what changed after its fit.

A model may come back from a worker process, be a deep copy of the best one so far, or be loaded from a file; and the
script may change one after its fit: its coefficients, its parameters, its weights. The server has to answer as the
object does that the script ends with.
"""

from __future__ import annotations

import filecmp
import functools
import os
import sys
import time
import weakref
from itertools import islice

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from . import (
        _studio_keep,
        _studio_modeldir,
        _studio_models,
        _studio_pickles,
        _studio_saves,
        _studio_track,
        _studio_variables,
    )
    from ._studio_models import Model

    Form = tuple[str, str, Callable[..., str]]
else:
    import _studio_keep
    import _studio_modeldir
    import _studio_models
    import _studio_pickles
    import _studio_saves
    import _studio_track
    import _studio_variables

LOOK_S = 1.0  # that looking for changes, and saving all but *the* model, may take when the script ends
PARTS = 20_000  # that are looked at to tell the parts of a model from models
BOOSTERS = {"xgboost": ".json", "lightgbm": ".txt"}


def begins() -> None:
    """A run within this process begins: what `__main__` holds now is not its model."""
    _note("before")


def first_fit() -> None:
    """The run's first fit: a predictor that was held before it was loaded, and comes after the script's own fits."""
    _note("loaded")


def loaded(thing: Any) -> None:
    """This was read from a file, or holds what was."""
    for one in [thing, *islice(_studio_variables.inside(thing), _studio_models.MOST)]:
        _mark("loaded", one)


def failed(thing: Any) -> None:
    """A fit of this raised: what is left of it is no model."""
    _mark("before", thing)
    model = _studio_models.find(thing)
    if model is not None:
        model.failed = True


def _note(which: str) -> None:
    for thing, _ in _held():
        if _is_predictor(thing):
            _mark(which, thing)


def _mark(which: str, thing: Any) -> None:
    marks: dict[int, Any] = _studio_track.memory("models " + which, dict)
    try:
        marks[id(thing)] = weakref.ref(thing, functools.partial(_forget, marks, id(thing)))
    except TypeError:
        pass  # a plain value


def _forget(marks: dict[int, Any], number: int, _: object) -> None:
    marks.pop(number, None)


def _is_marked(which: str, thing: Any) -> bool:
    found = _studio_track.memory("models " + which, dict).get(id(thing))
    return found is not None and found() is thing


def adopt() -> list[tuple[Model, Any]]:
    """Predictors that `__main__` holds and no fit told of, in the order of the variables; at most `MOST` are kept."""
    found: list[tuple[Model, Any]] = []
    seen: set[int] = set()
    parts: set[int] | None = None
    room = _studio_models.room()
    for thing, inside in list(_held()):
        if id(thing) in seen or id(thing) in _studio_keep.BUSY or not _is_predictor(thing):
            continue
        seen.add(id(thing))
        if _is_marked("before", thing) or _studio_models.is_known(thing):
            continue
        if inside:
            parts = _parts() if parts is None else parts
            if id(thing) in parts:
                continue
        if len(found) >= room:
            _studio_models.drop(None)
            continue
        model = _studio_models.adopted(thing, _library(thing), _role(thing), loaded=_is_marked("loaded", thing))
        found.append((model, thing))
    return found


def save(found: list[tuple[Model, Any]], chosen: Model | None) -> None:
    """Saves what was adopted: *the* model first, the others as far as the time allows."""
    until = time.monotonic() + LOOK_S
    for model, thing in sorted(found, key=lambda pair: (pair[0] is not chosen, -pair[0].trained)):
        form = _form(thing)
        limit = until if model is not chosen or model.loaded else None
        if limit is not None and time.monotonic() > limit and model is not chosen:
            _studio_models.drop(model)
        elif form is not None:
            write = functools.partial(form[2], until=limit) if form[2] is _studio_pickles.dump else form[2]
            _studio_keep.at_once(model, thing, form[1], write, how="held")
        else:
            _checkpoints().of_run(thing).keep(thing)


def look(chosen: Model | None) -> None:
    """Saves *the* model once more, and what `__main__` holds, if it is not any more as it was kept."""
    until = time.monotonic() + LOOK_S
    held = {id(thing) for thing, _ in _held()}
    for model in sorted(_studio_models.kept(), key=lambda model: (model is not chosen, -model.trained)):
        thing = model.ref()
        if thing is not None and (model is chosen or id(thing) in held):
            look_at(model, thing, until)


def look_now(model: Model) -> None:
    """While the script goes on, which saves something that this model is in."""
    thing = model.ref()
    if thing is not None and _studio_modeldir.SAVING.acquire(blocking=False):
        try:
            look_at(model, thing, time.monotonic() + LOOK_S / 5)
        finally:
            _studio_modeldir.SAVING.release()


def look_at(model: Model, thing: Any, until: float) -> None:
    """The same for one model."""
    if not model.file or model.copy or model.failed or model.saved_fits != model.fits:
        return
    form = _form(thing)
    if form is None:
        if id(thing) not in _studio_keep.BUSY:
            _look_at_keras(thing, model)
        return
    with _studio_keep.still(thing) as is_still:
        changed = _differs(thing, model.file, form, until) if is_still else False
    if changed is None:
        _studio_track.warning(
            f"look {model.name}",
            f"the model {model.name} is kept as it was fitted: it takes too long to see whether it changed since",
        )
    elif changed:
        model.fits += 1
        _studio_keep.at_once(model, thing, form[1], form[2], how="changed")


def _look_at_keras(thing: Any, model: Model) -> None:
    if "_studio_checkpoints" in sys.modules:
        _checkpoints().look_at(thing, model)


def _checkpoints() -> Any:
    import _studio_checkpoints  # type: ignore[import-not-found]

    return _studio_checkpoints


def _differs(thing: Any, name: str, form: Form, until: float) -> bool | None:
    """Whether the object is not as its file has it; None if there was no time to tell."""
    modeldir = _studio_modeldir.folder() or ""
    path = os.path.join(modeldir, name)
    if not _studio_modeldir.is_ours(path):
        return False
    if form[2] is _studio_pickles.dump:
        with _studio_saves.quietly():
            return _studio_pickles.differs(thing, path, until)
    if time.monotonic() > until:
        return None
    other = os.path.join(_studio_track.spool() or modeldir, f".looking-{os.getpid()}{form[1]}")
    try:
        form[2](thing, other)
        return not filecmp.cmp(path, other, shallow=False)
    finally:
        _studio_modeldir.remove(other)


def _held() -> Iterator[tuple[Any, bool]]:
    """What `__main__` holds, and whether within a container or an object of the script's."""
    for _, value, depth in _studio_variables.walk(lambda value, _: not _is_estimator(value)):
        yield value, depth > 0


def _parts() -> set[int]:
    """Estimators that are parts of one that is held or kept: steps, `estimators_`, `best_estimator_`."""
    waiting = [thing for thing, _ in _held() if _is_estimator(thing)]
    waiting += [thing for thing in (model.ref() for model in _studio_models.kept()) if thing is not None]
    found: set[int] = set()
    looked = 0
    while waiting and looked < PARTS:
        looked += 1
        value = waiting.pop()
        if isinstance(value, (list, tuple)):
            inner = list(value)
        elif isinstance(value, dict):
            inner = list(value.values())
        else:
            inner = list(getattr(value, "__dict__", {}).values())
        for one in inner:
            if _is_estimator(one) and id(one) not in found:
                found.add(id(one))
                waiting.append(one)
            elif isinstance(one, (list, tuple, dict)) and len(one) < PARTS:
                waiting.append(one)
    return found


def _is_kind(thing: Any, module: str, name: str) -> bool:
    """By its class alone: to ask an object of the script's may run its code."""
    known = sys.modules.get(module)
    kind = getattr(known, "__dict__", {}).get(name)
    return kind is not None and kind in type(thing).__mro__


def _is_estimator(thing: Any) -> bool:
    return _is_kind(thing, "sklearn.base", "BaseEstimator")


def _is_predictor(thing: Any) -> bool:
    """Whether it was fitted and predicts."""
    try:
        if _is_estimator(thing):
            return hasattr(thing, "predict") and _is_fitted(thing)
        if _is_kind(thing, "xgboost.core", "Booster"):
            return int(thing.num_boosted_rounds()) > 0
        if _is_kind(thing, "lightgbm.basic", "Booster"):
            return int(thing.num_trees()) > 0
        if _is_kind(thing, "keras", "Model"):
            return bool(thing.built) and int(getattr(thing.optimizer, "iterations", 0)) > 0
    except Exception:  # noqa: BLE001  one that is not set up yet
        return False
    return False


def _is_fitted(estimator: Any) -> bool:
    ask = getattr(type(estimator), "__sklearn_is_fitted__", None)
    if ask is not None:
        return bool(ask(estimator))
    about = vars(estimator)
    return about.get("_Booster") is not None or any(n.endswith("_") and not n.startswith("__") for n in about)


def _library(thing: Any) -> str:
    for library in ("xgboost", "lightgbm"):
        if type(thing).__module__.partition(".")[0] == library:
            return library
    return "sklearn" if _is_estimator(thing) else "keras"


def _role(thing: Any) -> str:
    sklearn: Any = sys.modules.get("_studio_sklearn")
    return "helper" if _is_estimator(thing) and sklearn is not None and sklearn.is_helper(thing) else "predictor"


def _form(thing: Any) -> Form | None:
    """Library, suffix and the function that saves it; None for Keras, which has a way of its own."""
    if _is_estimator(thing):
        return "sklearn", ".joblib", _studio_pickles.dump
    for library, module in (("xgboost", "xgboost.core"), ("lightgbm", "lightgbm.basic")):
        if _is_kind(thing, module, "Booster"):
            return library, BOOSTERS[library], _write_booster
    return None


def _write_booster(booster: Any, path: str) -> str:
    booster.save_model(path)
    return ""
