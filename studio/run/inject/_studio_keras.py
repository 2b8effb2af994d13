"""Keras: hides how the outermost `fit` is watched by one more callback that changes nothing of the training."""

from __future__ import annotations

import inspect
import sys
import threading
import time
import weakref

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any

    from . import (
        _studio_batches,
        _studio_checkpoints,
        _studio_fits,
        _studio_frames,
        _studio_hooks,
        _studio_keep,
        _studio_keras_params,
        _studio_signature,
        _studio_text,
        _studio_track,
        _studio_trainings,
    )
else:
    import _studio_batches
    import _studio_checkpoints
    import _studio_fits
    import _studio_frames
    import _studio_hooks
    import _studio_keep
    import _studio_keras_params
    import _studio_signature
    import _studio_text
    import _studio_track
    import _studio_trainings

BATCH_S = 0.25
SUMMARIES = 8  # models whose summary is kept; a search over thousands is no documentation
_local = threading.local()


def hook(keras: ModuleType) -> None:
    """Wraps `Model.fit`; a second call does nothing."""
    model: Any = keras.Model
    if getattr(model.fit, "_studio", False):
        return
    callback, first = _callback_classes(keras.callbacks.Callback)
    original = model.fit
    signature = inspect.signature(original)

    def fit(original: Any, self: Any, *args: Any, **kwargs: Any) -> Any:
        if getattr(_local, "fitting", False) or not _studio_hooks.working():
            return original(self, *args, **kwargs)
        watch = _studio_hooks.guarded("keras", callback)
        early = first(watch) if watch is not None else None
        call = _studio_hooks.guarded("keras", _with, signature, self, args, kwargs, watch, early)
        if call is None:
            return original(self, *args, **kwargs)
        _studio_keep.begins(self)
        under_way = _studio_fits.begins(self, type(self).__name__, "keras")
        if under_way is not None:
            under_way.tell = watch.unsaved
        try:
            _local.fitting = True
            result = original(*call.args, **call.kwargs)
        except BaseException as exc:
            _studio_hooks.guarded("keras", watch.finish, self, exc)
            raise
        finally:
            _local.fitting = False
            _studio_fits.ends(under_way, well=True)
            _studio_keep.ends(self, well=True)
            _drop(call.arguments.get("callbacks"), watch, early)
        return result

    def train_on_batch(original: Any, self: Any, *args: Any, **kwargs: Any) -> Any:
        if getattr(_local, "fitting", False) or not _studio_hooks.working():
            return original(self, *args, **kwargs)
        loops = _studio_checkpoints.LOOPS
        if not loops.begins():
            _studio_hooks.guarded("keras", loops.wait)
        try:
            return original(self, *args, **kwargs)
        finally:
            loops.ends(-1)

    model.fit = _studio_frames.around(original, fit)
    model.train_on_batch = _studio_frames.around(model.train_on_batch, train_on_batch)


def _with(signature: inspect.Signature, model: Any, args: Any, kwargs: Any, watch: Any, early: Any) -> Any:
    """The call with `early` before the script's own callbacks, which may raise, and `watch` after them, which may add
    to the metrics; None if the call is wrong, then Keras says so.
    """
    if watch is None:
        return None
    try:
        call = signature.bind(model, *args, **kwargs)
    except TypeError:
        return None
    given = call.arguments.get("callbacks")
    watch.prepare(model, call.arguments)
    if given is None:
        call.arguments["callbacks"] = [early, watch]
    elif isinstance(given, (list, tuple)):
        call.arguments["callbacks"] = [early, *given, watch]
    elif hasattr(given, "append"):  # a CallbackList of the script's
        for mine in (watch, early):
            mine.set_model(model)
        given.append(watch)
        if isinstance(getattr(given, "callbacks", None), list):
            given.callbacks.insert(0, early)
    else:
        call.arguments["callbacks"] = [early, given, watch]
    return call


def _drop(callbacks: Any, *ours: Any) -> None:
    inner = getattr(callbacks, "callbacks", None)
    for mine in ours:
        if isinstance(inner, list) and mine in inner:
            inner.remove(mine)


def _callback_classes(base: Any) -> tuple[Any, Any]:
    class First(base):  # type: ignore[misc]
        """Keeps what an epoch gave before a callback of the script can end the training by an exception."""

        async_safe = True

        def __init__(self, watch: Any) -> None:
            super().__init__()
            self._watch = watch

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            self._watch.batches.ends(batch)

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            self._watch.note(epoch, logs)

    class Watch(base):  # type: ignore[misc]
        """Hears of epochs and batches. Each method reports its own failure and steps aside."""

        async_safe = True  # Keras may go on dispatching batches as without it

        def __init__(self) -> None:
            super().__init__()
            self._fit = Fit()
            self.batches = self._fit.batches

        def prepare(self, model: Any, arguments: dict[str, Any]) -> None:
            self._fit.prepare(model, arguments)
            self.batches = self._fit.batches

        def finish(self, model: Any, exc: BaseException | None = None) -> None:
            self._fit.finish(model, exc)

        def unsaved(self) -> None:
            self._fit.unsaved()

        def on_train_begin(self, logs: Any = None) -> None:
            self._call(self._fit.begin, self.model)

        def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
            if not self.batches.begins():
                _studio_hooks.guarded("keras", self.batches.wait)

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            self._call(self._fit.batch, logs)

        def on_test_begin(self, logs: Any = None) -> None:
            self._call(self._fit.validates)

        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            self._call(self._fit.epoch_begins, self.model, epoch)

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            self._call(self._fit.epoch_ended, epoch, logs)

        def note(self, epoch: int, logs: Any) -> None:
            self._call(self._fit.epoch_done, epoch, logs)

        def on_train_end(self, logs: Any = None) -> None:
            _studio_hooks.guarded("keras", self._fit.finish, self.model)  # also if something before it went wrong

        def _call(self, method: Any, *args: Any) -> None:
            if not self._fit.broken:
                self._fit.broken = not _studio_hooks.guarded("keras", _run, method, args)

    return Watch, First


def _run(method: Any, args: Any) -> bool:
    method(*args)
    return True


class Fit:
    """What is known of one call of the outermost `fit`."""

    def __init__(self) -> None:
        self.broken = False
        self._fit: _studio_trainings.Fit | None = None
        self.batches = _studio_batches.Batches()
        self._first = True
        self._last_batch = 0.0
        self._unlogged: Any = None  # what the newest batch gave
        self._done: dict[str, Any] = {}  # of the epoch that ends, as it is recorded
        self._checkpoints: _studio_checkpoints.Checkpoints | None = None
        self._arguments: dict[str, Any] = {}
        self._model: weakref.ref[Any] | None = None

    def prepare(self, model: Any, arguments: dict[str, Any]) -> None:
        """Before Keras sees the call."""
        self._arguments = {
            name: value for name, value in arguments.items() if name not in ("x", "y", "sample_weight", "self")
        }
        self._arguments["arrays"] = hasattr(arguments.get("x"), "shape") or isinstance(arguments.get("x"), (list, dict))
        self._fit = _studio_trainings.of("keras").begin(model)
        self._fit.training.holds(model)
        self._checkpoints = _studio_checkpoints.of_run(model)
        if self._checkpoints is not None:
            self.batches = self._checkpoints.batches
            self.batches.alone = sys.modules["keras"].config.backend() == "jax"
            self._checkpoints.before_stop = self._log_now
            self._checkpoints.signature = _studio_hooks.guarded("signature", _signature, model, arguments.get("x"))

    def begin(self, model: Any) -> None:
        """The model is compiled now, and mostly built."""
        _studio_hooks.guarded("keras parameters", self._record, model)
        self._arguments = {}
        self._model = weakref.ref(model)
        if model.built:
            _studio_hooks.guarded("keras summary", _describe, model)

    def _record(self, model: Any) -> None:
        if self._fit is not None:
            self._fit.parameters(_studio_keras_params.parameters(model, self._arguments))

    def batch(self, logs: Any) -> None:
        """Keeps the loss of a batch, four times a second at most."""
        if self._fit is None:
            return
        self._fit.training.next_batch += 1
        self._unlogged = logs
        now = time.monotonic()
        if now - self._last_batch >= BATCH_S:
            self._last_batch = now
            self._log_batch()

    def validates(self) -> None:
        """The batches of an epoch are over."""
        if self._checkpoints is not None:
            self._checkpoints.validates()

    def _log_now(self) -> None:
        self._log_batch()
        _studio_track.flush()

    def _log_batch(self) -> None:
        logs, self._unlogged = self._unlogged, None
        if self._fit is not None and logs and "loss" in logs:
            self._fit.log_at({"batch/loss": logs["loss"]}, self._fit.training.next_batch - 1, sampled=True)

    def epoch_begins(self, model: Any, epoch: int) -> None:
        """Saves the epoch before: here the progress bar does not count the time, and nothing has changed since."""
        step = self._fit.step(epoch) if self._fit is not None else epoch
        if self._checkpoints is not None:
            if not self._first:
                self._checkpoints.save(model, last=False)
            self._checkpoints.epoch_begins(step)
        self._first = False

    def epoch_done(self, epoch: int, logs: Any) -> None:
        """Keeps the epoch's metrics, before any callback of the script hears of them."""
        self._unlogged = None
        self._done = {name: value for name, value in (logs or {}).items() if _is_number(value)}
        if self._fit is not None:
            step = self._fit.log(self._done, epoch)
            if self._checkpoints is not None:
                self._checkpoints.epoch_ended(step, self._done)

    def epoch_ended(self, epoch: int, logs: Any) -> None:
        """Keeps what the script's callbacks have added to the metrics, or changed of them."""
        numbers = {name: value for name, value in (logs or {}).items() if _is_number(value)}
        more = {name: value for name, value in numbers.items() if not _is_equal(value, self._done.get(name))}
        model = self._model() if self._model is not None else None
        if self._fit is not None:
            self._fit.log(more, epoch)
            if more and self._checkpoints is not None:
                self._checkpoints.judge(numbers)
            if model is not None and model.built:  # by its first batch, if not before
                _studio_hooks.guarded("keras summary", _describe, model)
                _studio_hooks.guarded("keras summary", _count, model, self._fit)
        self._model = None

    def unsaved(self) -> None:
        """It goes on for some seconds."""
        if self._checkpoints is not None:
            self._checkpoints.unsaved()

    def finish(self, model: Any, exc: BaseException | None = None) -> None:
        """At the end of `fit`, its own or an exception's."""
        self._log_now()
        if self._checkpoints is None:
            return
        if exc is None:
            self._checkpoints.save(model, last=True)
        else:
            self._checkpoints.broken(model, _studio_text.of_exception(exc), is_error=isinstance(exc, Exception))


def _count(model: Any, fit: _studio_trainings.Fit) -> None:
    """Records how many weights a model has that was not built when its fit began."""
    fit.training.library.amend(fit.group, "model", "parameters", int(model.count_params()))


def _describe(model: Any) -> None:
    """Keeps the text of the model's summary, once for each model."""
    described: list[weakref.ref[Any]] = _studio_track.memory("keras.described", list)
    if len(described) >= SUMMARIES or any(known() is model for known in described):
        return
    described.append(weakref.ref(model))
    lines: list[str] = []
    model.summary(line_length=100, print_fn=lambda line, line_break=False: lines.append(line))
    import _studio_media  # type: ignore[import-not-found]

    _studio_media.log_text("keras/summary", "\n".join(lines), caption=f"{model.name} ({type(model).__name__})")


def _signature(model: Any, data: Any) -> dict[str, Any] | None:
    """Of what the model is trained on; of data that comes in batches, as far as its types tell."""
    spec = getattr(data, "element_spec", None)
    if spec is not None:
        return _studio_signature.of_spec(spec[0] if isinstance(spec, tuple) else spec)
    names = [tensor.name for tensor in getattr(model, "inputs", None) or ()]
    return _studio_signature.of(data, names=names or None)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) or getattr(value, "ndim", None) == 0


def _is_equal(value: Any, other: Any) -> bool:
    if other is None:
        return False
    mine, others = float(value), float(other)
    return mine == others or (mine != mine and others != others)
