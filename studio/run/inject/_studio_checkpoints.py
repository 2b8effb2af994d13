"""Hides when a model is saved into `modeldir`: newest and best epoch, whole files only, a twentieth of the time."""

from __future__ import annotations

import os
import re
import sys
import time
import warnings
import weakref

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from . import (
        _studio_end,
        _studio_hooks,
        _studio_keep,
        _studio_last,
        _studio_modeldir,
        _studio_models,
        _studio_saves,
        _studio_track,
    )
else:
    import _studio_end
    import _studio_hooks
    import _studio_keep
    import _studio_last  # noqa: F401  the end of the run finds it
    import _studio_modeldir
    import _studio_models
    import _studio_saves
    import _studio_track

SHARE = 0.05
BYTES_PER_S = 200e6  # a guess, until the first save was timed
BIGGER_IS_BETTER = frozenset(
    {"acc", "accuracy", "auc", "precision", "recall", "f1", "fbeta", "iou", "dice", "r2", "jaccard"}
)
BIGGER_IN_TWO = frozenset(
    {("io", "u"), ("cosine", "similarity"), ("dice", "coef"), ("dice", "coefficient")}
    | {(word, "score") for word in ("f1", "fbeta", "r2", "dice", "iou", "accuracy", "auc")}
)
TURNED = frozenset({"error", "loss", "neg", "negative", "inv", "inverse", "minus", "non", "not", "drop", "gap", "in"})
"""Words that may turn the sense of a metric's name."""


def _known() -> list[Checkpoints]:
    found: list[Checkpoints] = _studio_track.memory("checkpoints", list)
    return found


def of_run(model: Any) -> Checkpoints | None:
    """The checkpoints of this model; None if the run has no `modeldir`."""
    folder = _studio_modeldir.folder()
    if folder is None:
        return None
    of_run = _known()
    of_run[:] = [known for known in of_run if known.model() is not None or known.exporting]
    found = next((known for known in of_run if known.model() is model), None)
    if found is None:
        found = Checkpoints(folder)
        of_run.append(found)
    found.begin(model)
    _studio_end.at_end("models", _studio_keep.finish)
    return found


def look_at(model: Any, of: _studio_models.Model) -> None:
    """At the end of the run: a model whose weights were changed after its `fit` is saved once more."""
    found = next((known for known in _known() if known.model() is model), None)
    if found is not None and found.changed(model):
        of.pinned = of.trained
        found.keep(model)


def export_all() -> bool:
    """At the end of the process: what has to be exported and was not yet; whether there was any."""
    todo = [known for known in _known() if known.exporting is not None]
    for known in todo:
        _studio_hooks.guarded("keras export", known.export)
    return bool(todo)


def ask(wait_s: float) -> None:
    """Models in the midst of a `fit` are saved by the thread that trains them, when the batch is done; waits for it."""
    asked = [known for known in _known() if known.training()]
    for known in asked:
        known.asked = True
    until = time.monotonic() + wait_s
    while any(known.asked and known.training() for known in asked) and time.monotonic() < until:
        time.sleep(0.01)


class Checkpoints:
    """`model-<epoch>.keras` of the newest and the best epoch of one model.

    Args:
        folder: Made with the first save.
        clock: Seconds, for measuring what epochs and saves take.
    """

    def __init__(self, folder: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._folder, self._clock = folder, clock
        self._model: weakref.ref[Any] | None = None
        self._known: _studio_models.Model | None = None
        self.signature: dict[str, Any] | None = None
        self.exporting: tuple[Any, int, str] | None = None  # model, epoch, why Keras cannot save it
        self._export_took = 0.0
        self._stem = ""
        self._files: list[str] = []  # that stand in the folder
        self._off = False
        self._epoch: int | None = None  # the last that is done
        self._saved: int | None = None
        self._best: tuple[int, str, float] | None = None  # of those that are saved: epoch, metric, value
        self._metric: tuple[str, float] | None = None
        self._spent = self._took = 0.0
        self._trained = self._epoch_began = 0.0
        self._fitting = False
        self._state = ""  # of the model as it was saved when its `fit` ended
        self._newest = -1  # epoch that was saved
        self.asked = False  # to save the model as soon as the batch is done

    def model(self) -> Any:
        """The model, while it lives."""
        return self._model() if self._model is not None else None

    def begin(self, model: Any) -> None:
        """A `fit` begins."""
        if self._model is None or model is not self._model():
            self._model = weakref.ref(model)  # the script may want its memory back
            self._off = False  # one that cannot be saved says nothing of the next
            self._best = None
            self._spent = self._took = self._trained = 0.0
        self._saved = self._epoch = self._metric = None
        self._fitting = True
        self._epoch_began = self._clock()

    def epoch_begins(self) -> None:
        """The clock of what saving may cost runs from here to `epoch_ended`."""
        self._epoch_began = self._clock()

    def epoch_ended(self, epoch: int, metrics: dict[str, float]) -> None:
        """Notes how good the model is now."""
        self._trained += self._clock() - self._epoch_began
        self._epoch = epoch
        self._metric = _judged_by(metrics)

    def judge(self, metrics: dict[str, float]) -> None:
        """Notes more metrics of the epoch that has ended."""
        self._metric = _judged_by(metrics)

    def save(self, model: Any, *, last: bool) -> None:
        """Saves the epoch that was noted last, if the time allows; the last one of a `fit` in any case."""
        epoch = self._epoch
        self._fitting = self._fitting and not last
        if self._off or epoch is None or (epoch == self._saved and not last):
            return
        if not last and not self._affordable(model):
            return
        with _studio_modeldir.SAVING:
            self._save(model, epoch, last=last)

    def _save(self, model: Any, epoch: int, *, last: bool) -> None:
        if _studio_modeldir.is_the_scripts(self._folder):
            self._step_aside("the script saves into modeldir itself, so studio does not")
            return
        began = self._clock()
        try:
            with _studio_saves.quietly():
                self._write(model, epoch)
                self._state = (_studio_hooks.guarded("keras state", _state_of, model) or "") if last else ""
        except Exception as exc:  # noqa: BLE001  (models may raise anything)
            self._off = True
            if self._known is not None:
                _studio_models.lose(self._known, f"{type(exc).__name__}: {exc}")
        finally:
            self._took = self._clock() - began
            self._spent += self._took
        if last and (not self._export_took or self._spent + self._export_took <= SHARE * self._trained):
            self.export()

    def training(self) -> bool:
        """Whether a `fit` is under way."""
        return self._fitting and self.model() is not None

    def save_now(self, model: Any) -> None:
        """Between two batches: the run is about to be stopped."""
        try:
            if not self._off and self._epoch is not None:
                with _studio_modeldir.SAVING:
                    self._save(model, self._epoch, last=False)
        finally:
            self.asked = False

    def changed(self, model: Any) -> bool:
        """Whether the model is not as it was when its `fit` ended."""
        if self._fitting or not self._state:
            return False
        return self._state != (_studio_hooks.guarded("keras state", _state_of, model) or self._state)

    def keep(self, model: Any) -> None:
        """Saves the model as it is now, as an epoch more that no metric tells of."""
        self._fitting, self._metric, self._epoch = False, None, self._newest + 1
        self.save(model, last=True)

    def _affordable(self, model: Any) -> bool:
        cost = self._took or 0.02 + 12 * _parameters(model) / BYTES_PER_S
        if not self._better():
            cost *= 2  # leave room for a better one
        return self._spent + cost <= SHARE * self._trained

    def _better(self) -> bool:
        if self._metric is None or self._metric[1] != self._metric[1]:
            return False
        name, value = self._metric
        if self._best is None:
            return True
        if name != self._best[1]:  # an epoch without validation is no better than one with it
            return name.startswith("val_") and not self._best[1].startswith("val_")
        return value > self._best[2] if _is_bigger_better(name) else value < self._best[2]

    def _step_aside(self, why: str) -> None:
        self._off = True
        _studio_track.event("note", text=why)
        self.exporting = None
        self._prune(set())
        if self._known is not None:
            _studio_models.withdraw(self._known)

    def _write(self, model: Any, epoch: int) -> None:
        self._known = known = _studio_models.fitted(model, "keras", "predictor", self.signature)
        self._stem = self._stem or _studio_models.stem(known)
        why, name = "", f"{self._stem}-{epoch + 1:03d}.keras"
        try:
            path = _studio_modeldir.put(self._folder, name, model.save)
        except OSError:
            raise
        except Exception as exc:  # noqa: BLE001  (a class without get_config, above all)
            why, name = f"{type(exc).__name__}: {exc}", f"{self._stem}-{epoch + 1:03d}.weights.h5"
            path = _studio_modeldir.put(self._folder, name, model.save_weights)
        self._files.append(name)
        self.exporting = (model, epoch, why) if why or needs_its_code(model) else None
        self._saved = self._newest = epoch
        if self._metric is not None and self._better():
            self._best = (epoch, *self._metric)
        best = self._best
        self._describe(epoch, best)
        self._prune({epoch, best[0] if best else epoch})
        if why:
            _studio_models.lose(known, f"Keras cannot save it: {why}; {name} has its weights", quiet=True)
        else:
            _studio_models.saved(known, name, list(self._files))
        _studio_track.event(
            "model", path=path, how="keras.fit", epoch=epoch, best=best is not None and best[0] == epoch,
            metric=self._metric[0] if self._metric else None, value=self._metric[1] if self._metric else None,
        )  # fmt: skip

    def export(self) -> None:
        """The newest model once more, in a form that needs none of the script's classes."""
        todo, self.exporting = self.exporting, None
        if self._off or todo is None or self._known is None or _studio_modeldir.is_the_scripts(self._folder):
            return
        model, epoch, why = todo
        torch = sys.modules["keras"].config.backend() == "torch"
        form, ending = ("onnx", ".onnx") if torch else ("tf_saved_model", "-inference")
        name = f"{self._stem}-{epoch + 1:03d}{ending}"
        began = self._clock()
        try:
            with warnings.catch_warnings(), _studio_saves.quietly():
                warnings.simplefilter("ignore")  # what the tracers have to say is not about the script
                path = _studio_modeldir.put(self._folder, name, lambda p: model.export(p, format=form, verbose=False))
            _studio_track.event("model", path=path, how="keras.export", epoch=epoch)
        except Exception as exc:  # noqa: BLE001  (models may raise anything)
            text = f"it has classes of its own and cannot be exported without them: {type(exc).__name__}: {exc}"
            _studio_models.lose(self._known, (f"Keras cannot save it: {why}; " if why else "") + text)
            return
        finally:
            self._export_took = self._clock() - began
            self._spent += self._export_took
        self._files.append(name)
        _studio_models.saved(self._known, name, list(self._files))

    def _describe(self, epoch: int, best: tuple[int, str, float] | None) -> None:
        """For `.studio.json`: which file is the newest and which the best, and by what."""
        described: list[Checkpoints] = _studio_track.memory("described", list)
        if self._known is not None and self._known.pinned and described and described[0] is not self:
            return  # a model that was not fitted last
        described[:] = [self]
        about = None
        if best is not None:
            about = {
                "file": self._file(best[0]), "epoch": best[0], "metric": best[1], "value": best[2],
                "mode": "max" if _is_bigger_better(best[1]) else "min",
            }  # fmt: skip
        _studio_models.about(newest={"file": self._file(epoch), "epoch": epoch}, best=about)

    def _file(self, epoch: int) -> str:
        start = f"{self._stem}-{epoch + 1:03d}."
        return next((name for name in self._files if name.startswith(start)), start + "keras")

    def _prune(self, keep: set[int]) -> None:
        starts = tuple(f"{self._stem}-{epoch + 1:03d}." for epoch in keep)
        for name in [name for name in self._files if not name.startswith(starts)]:
            self._files.remove(name)
            _studio_modeldir.remove_ours(os.path.join(self._folder, name))


def _parameters(model: Any) -> int:
    try:
        return int(model.count_params())
    except Exception:  # noqa: BLE001  (one that is not built has no count; that keeps no model from being kept)
        return 0


def _state_of(model: Any) -> str:
    """A digest of weights and layers."""
    if not hasattr(model, "get_weights"):
        return ""
    import hashlib

    found = hashlib.blake2b()
    try:
        found.update(model.to_json().encode())
    except Exception:  # noqa: BLE001, S110  a class without get_config
        pass
    for weight in model.get_weights():
        found.update(str((weight.shape, weight.dtype)).encode())
        found.update(weight.tobytes())
    return found.hexdigest()


def needs_its_code(model: Any) -> bool:
    """Whether loading the `.keras` file takes classes or functions that Keras does not have."""
    flatten = getattr(model, "_flatten_layers", list)  # not public; without it every model is taken for a plain one
    for layer in flatten():
        if type(layer).__module__.partition(".")[0] != "keras" or type(layer).__name__ == "Lambda":
            return True
        function = getattr(layer, "activation", None)
        if not (getattr(function, "__module__", None) or type(function).__module__).startswith(("keras", "builtins")):
            return True
    return False


def _judged_by(metrics: dict[str, float]) -> tuple[str, float] | None:
    """The metric that says which epoch is best: a validation score, else validation loss, else the same of training."""
    numbers = {name: float(value) for name, value in metrics.items()}
    for names in ([n for n in numbers if n.startswith("val_")], [n for n in numbers if not n.startswith("val_")]):
        scores = [name for name in names if _is_bigger_better(name)]
        losses = [name for name in names if name in ("loss", "val_loss")]
        losses += [name for name in names if name.endswith("loss")]
        for name in scores[:1] + losses[:1]:
            return name, numbers[name]
    return None


def _is_bigger_better(name: str) -> bool:
    """Whether that is certain; `brier_score`, `fid_score` and `inaccuracy` are not judged by."""
    words = [word for word in re.split(r"[^a-z0-9]+", name.lower()) if word and not word.isdigit()]
    if not words or TURNED.intersection(words):
        return False
    return words[-1] in BIGGER_IS_BETTER or tuple(words[-2:]) in BIGGER_IN_TWO
