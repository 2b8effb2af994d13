"""Hides when a model is saved into `modeldir`: newest and best epoch, whole files only, a twentieth of the time.

The training thread saves an epoch when the next one begins: its callbacks are through, and the progress bar does not
count the time. Where that is more than a second away, because a callback or the validation goes on, another thread does
it; the training thread once more if there is time, since a callback may have changed the weights. That thread, and the
one that hears of a stop, write only while the model is at rest (`_studio_batches`).
"""

from __future__ import annotations

import os
import sys
import time
import warnings
import weakref

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from . import (
        _studio_batches,
        _studio_best,
        _studio_end,
        _studio_hooks,
        _studio_keep,
        _studio_keras_model,
        _studio_last,
        _studio_modeldir,
        _studio_models,
        _studio_saves,
        _studio_track,
    )
else:
    import _studio_batches
    import _studio_best
    import _studio_end
    import _studio_hooks
    import _studio_keep
    import _studio_keras_model
    import _studio_last  # noqa: F401  the end of the run finds it
    import _studio_modeldir
    import _studio_models
    import _studio_saves
    import _studio_track

SHARE = 0.05
BYTES_PER_S = 200e6  # a guess, until the first save was timed
LATE_S = 1.0  # after an epoch, from which on a thread saves it if the training thread did not
HOLD_S = 1.0  # that this thread waits for a batch to end
UNSAVED = "the run ended before it was saved"
TELL_S = 5.0  # after an epoch, from which on the note tells that it is not saved
STOPPED = "the run was stopped before the model could be saved as it was then"

LOOPS = _studio_batches.Batches()
"""Of the script's own loops over `train_on_batch`: models that are looked at when the run is stopped."""


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


def stopping(until: float, *, again: bool = False) -> None:
    """The run is about to be stopped: saves models in the midst of a `fit` as soon as their batch is over.

    Args:
        again: Only those for which the last call had to wait too long.
    """
    for known in [known for known in _known() if known.training() and (known.behind == STOPPED or not again)]:
        known.stop(max(0.0, until - time.monotonic()))
    with LOOPS.held(max(0.0, until - time.monotonic())):
        pass  # from here on none begins, since `_studio_stop` holds it


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
        self.batches = _studio_batches.Batches()
        self.before_stop: Callable[[], None] | None = None
        self.exporting: tuple[Any, int, str] | None = None  # model, epoch, why Keras cannot save it
        self._export_took = 0.0
        self._stem = ""
        self._files: list[str] = []  # that stand in the folder
        self._off = False
        self._epoch: int | None = None  # the last that is done
        self._next: int | None = None  # the one under way, or `_epoch` itself
        self._until_done = 0  # how many batches had ended when `_epoch` was done
        self._saved: int | None = None
        self._saved_at = 0  # how many batches had begun when the model was saved
        self._over_since: float | None = None  # when an epoch came to its end that is not saved
        self.behind = ""  # why the file is older than the model, as the note tells
        self._best: tuple[int, str, float] | None = None  # of those that are saved: epoch, metric, value
        self._metric: tuple[str, float] | None = None
        self._spent = self._took = 0.0
        self._trained = self._fit_began = 0.0
        self._fitting = False
        self._state = ""  # of the model as it was saved when its `fit` ended
        self._newest = -1  # epoch that was saved

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
        self._saved = self._epoch = self._next = self._metric = self._over_since = None
        self.batches.all_ended()
        self._until_done = self.batches.ended
        self._fitting = True
        self._fit_began = self._clock()

    def epoch_begins(self, epoch: int) -> None:
        """From here on batches are of this epoch."""
        self.batches.all_ended()
        self.batches.done = 0
        self._next = epoch

    def validates(self) -> None:
        """The batches of the epoch are over, and it is validated."""
        self._over()

    def epoch_ended(self, epoch: int, metrics: dict[str, float]) -> None:
        """Notes how good the model is now."""
        self.batches.all_ended()
        self._until_done = self.batches.ended
        self._epoch = epoch
        self._metric = _studio_best.judged_by(metrics)
        self._over()

    def _over(self) -> None:
        if self._over_since is None:
            self._over_since = self._clock()
        if self._off:
            return
        self.unsaved()
        _studio_keep.look_after(self.look)

    def unsaved(self) -> None:
        """What was trained is not saved: a kill would leave no word of it."""
        model = self.model()
        if model is not None and self._fitting and not self._off and self._saved is None and not self.behind:
            self._fall_behind(model, UNSAVED)

    def judge(self, metrics: dict[str, float]) -> None:
        """Notes more metrics of the epoch that has ended."""
        self._metric = _studio_best.judged_by(metrics)

    def save(self, model: Any, *, last: bool) -> None:
        """Saves the epoch that was noted last, if the time allows; the last one of a `fit` in any case."""
        if last:
            self.batches.all_ended()
        elif self._epoch is None or self._epoch == self._saved or not self._affordable(model):
            return
        with _studio_modeldir.SAVING:
            if last and self._fitting:
                self._fitting = False
                self._trained += self._clock() - self._fit_began
            if not self._off and self._now() is not None:
                self._save(model, last=last)

    def broken(self, model: Any, why: str, *, is_error: bool) -> None:
        """An exception ends the `fit`: in the midst of an epoch, the last whole one counts where it is an error."""
        self.batches.all_ended()
        whole = self._saved is not None and self._saved == self._epoch
        skipped = is_error and whole and self._now() != self._epoch
        told = f"its fit was ended by {why}" if is_error else f"its fit was stopped ({why})"
        if skipped:
            self._fitting = False
            self._fall_behind(model, f"{told} {self._place()}")
        else:
            self.save(model, last=True)
            self._cut_short(told, broken=is_error and self._now() != self._epoch)

    def _cut_short(self, told: str, *, broken: bool = False) -> None:
        if self._known is not None and self._known.file and self._now() is not None:
            _studio_models.cut_short(self._known, f"{told} {self._place()}", broken=broken)

    def _place(self) -> str:
        now, done = self._now() or 0, self.batches.done
        if now == self._epoch:
            return f"after epoch {now + 1}"
        return f"in epoch {now + 1}, after {done} batch" + ("es" if done != 1 else "")

    def _now(self) -> int | None:
        """The epoch that the weights are of: the last one, or the next if a batch of it is over."""
        return self._next if self.batches.ended > self._until_done else self._epoch

    def _save(self, model: Any, *, last: bool = False, early: bool = False) -> None:
        if _studio_modeldir.is_the_scripts(self._folder):
            self._step_aside("the script saves into modeldir itself, so studio does not")
            return
        began, begun = self._clock(), self.batches.begun
        self._over_since = None
        try:
            with _studio_saves.quietly():
                self._write(model, early=early)
                state = _studio_hooks.guarded("keras state", _studio_keras_model.state_of, model) if last else ""
                self._state = state or ""
            self._saved_at, self.behind = begun, ""
        except Exception as exc:  # noqa: BLE001  (models may raise anything)
            if early:  # a callback may be at it just now; the training thread saves it once more
                return
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

    def look(self) -> bool:
        """Each second, by a thread: saves an epoch that the training thread did not; whether to look again.

        What the script's callbacks change of the model meanwhile is saved when the next epoch begins.
        """
        model, since = self.model(), self._over_since
        if model is None or since is None or self._off or not self._fitting:
            return False
        late = self._clock() - since
        if not self._affordable(model, early=True):
            if late >= TELL_S and self.behind in ("", UNSAVED):
                self._fall_behind(model, f"saving it takes {self._cost(model):.1f} s, too long for every epoch")
        elif self.batches.alone:  # the training thread will do it
            return False
        elif late >= LATE_S:
            with self.batches.held(HOLD_S) as at_rest:
                if at_rest and self._now() is not None:
                    self._save(model, early=True)
        return self._over_since is not None

    def stop(self, wait_s: float) -> None:
        """The run is about to be stopped, and may be before the model is saved: that is noted first."""
        model = self.model()
        if model is None or self._off:
            return
        if self.before_stop is not None:
            self.before_stop()
        if self._saved_at != self.batches.begun and self.behind != STOPPED:
            with _studio_modeldir.saving(1.0):
                self._fall_behind(model, STOPPED)
        with self.batches.held(wait_s) as at_rest, _studio_modeldir.saving(max(wait_s, 0.1)) as free:
            if at_rest and free and self._fitting and self._now() is not None:
                self._save(model)
                self._cut_short("its fit was stopped")

    def _fall_behind(self, model: Any, why: str) -> None:
        if _studio_modeldir.is_the_scripts(self._folder):
            return
        if self._known is None:
            self._known = _studio_models.fitted(model, "keras", "predictor", self.signature)
        kept = f"; {self._known.file} is of epoch {self._newest + 1}" if self._known.file else ""
        self.behind = why
        _studio_models.behind(self._known, why + kept)

    def changed(self, model: Any) -> bool:
        """Whether the model is not as it was when its `fit` ended."""
        if self._fitting or not self._state:
            return False
        return self._state != (_studio_hooks.guarded("keras state", _studio_keras_model.state_of, model) or self._state)

    def keep(self, model: Any) -> None:
        """Saves the model as it is now, as an epoch more that no metric tells of."""
        self._fitting, self._metric, self._epoch = False, None, self._newest + 1
        self.batches.all_ended()
        self._until_done = self.batches.ended
        self.save(model, last=True)

    def _cost(self, model: Any) -> float:
        return self._took or 0.02 + 12 * _studio_keras_model.parameters(model) / BYTES_PER_S

    def _affordable(self, model: Any, *, early: bool = False) -> bool:
        """By the time since `fit` began, callbacks and validation included."""
        cost = self._cost(model)
        if early or not _studio_best.is_better(self._metric, self._best):
            cost *= 2  # leave room for a better one
        trained = self._trained + (self._clock() - self._fit_began if self._fitting else 0.0) - self._spent
        return self._spent + cost <= SHARE * trained

    def _step_aside(self, why: str) -> None:
        self._off = True
        _studio_track.event("note", text=why)
        self.exporting = None
        self._prune(set())
        if self._known is not None:
            _studio_models.withdraw(self._known)

    def _write(self, model: Any, *, early: bool) -> None:
        epoch = self._now() or 0
        self._known = known = _studio_models.fitted(model, "keras", "predictor", self.signature)
        self._stem = self._stem or _studio_models.stem(known)
        why, name = "", f"{self._stem}-{epoch + 1:03d}.keras"
        if hasattr(model, "jax_state_sync"):
            model.jax_state_sync()
        try:
            path = _studio_modeldir.put(self._folder, name, model.save)
        except OSError:
            raise
        except Exception as exc:  # noqa: BLE001  (a class without get_config, above all)
            why, name = f"{type(exc).__name__}: {exc}", f"{self._stem}-{epoch + 1:03d}.weights.h5"
            path = _studio_modeldir.put(self._folder, name, model.save_weights)
        self._files.append(name)
        self.exporting = (model, epoch, why) if why or _studio_keras_model.needs_its_code(model) else None
        self._newest = epoch
        whole = epoch == self._epoch  # it may have come to its end meanwhile
        self._saved = epoch if whole and not early else None
        metric = self._metric if whole and not early else None  # callbacks may add to the metrics, and change weights
        if metric is not None and _studio_best.is_better(metric, self._best):
            self._best = (epoch, *metric)
        best = self._best
        self._describe(epoch, whole, best)
        self._prune({epoch, best[0] if best else epoch})
        if why:
            _studio_models.lose(known, f"Keras cannot save it: {why}; {name} has its weights", quiet=True)
        else:
            _studio_models.saved(known, name, list(self._files))
        _studio_track.event(
            "model", path=path, how="keras.fit", epoch=epoch, best=best is not None and best[0] == epoch,
            metric=metric[0] if metric else None, value=metric[1] if metric else None,
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

    def _describe(self, epoch: int, whole: bool, best: tuple[int, str, float] | None) -> None:
        """For `.studio.json`: which file is the newest and which the best, and by what."""
        described: list[Checkpoints] = _studio_track.memory("described", list)
        if self._known is not None and self._known.pinned and described and described[0] is not self:
            return  # a model that was not fitted last
        described[:] = [self]
        about = None
        if best is not None:
            about = {
                "file": self._file(best[0]), "epoch": best[0], "metric": best[1], "value": best[2],
                "mode": "max" if _studio_best.is_bigger_better(best[1]) else "min",
            }  # fmt: skip
        newest = {"file": self._file(epoch), "epoch": epoch, **({} if whole else {"batches": self.batches.done})}
        _studio_models.about(newest=newest, best=about)

    def _file(self, epoch: int) -> str:
        start = f"{self._stem}-{epoch + 1:03d}."
        return next((name for name in self._files if name.startswith(start)), start + "keras")

    def _prune(self, keep: set[int]) -> None:
        starts = tuple(f"{self._stem}-{epoch + 1:03d}." for epoch in keep)
        for name in [name for name in self._files if not name.startswith(starts)]:
            self._files.remove(name)
            _studio_modeldir.remove_ours(os.path.join(self._folder, name))
