"""Keras: hides how the outermost `fit` is watched by one more callback that changes nothing of the training."""

from __future__ import annotations

import functools
import inspect
import threading
import time
import weakref

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any

    from . import _studio_checkpoints, _studio_hooks, _studio_keras_params, _studio_signature, _studio_track
else:
    import _studio_checkpoints
    import _studio_hooks
    import _studio_keras_params
    import _studio_signature
    import _studio_track

BATCH_S = 0.25
SUMMARIES = 8  # models whose summary is kept; a search over thousands is no documentation
_local = threading.local()
_next_epoch = 0
_next_batch = 0
_described: list[weakref.ref[Any]] = []  # models whose summary is kept


def forget() -> None:
    """Another run begins."""
    global _next_epoch, _next_batch
    _next_epoch = _next_batch = 0
    _described.clear()
    _studio_keras_params.forget()
    _studio_checkpoints.forget()


def hook(keras: ModuleType) -> None:
    """Wraps `Model.fit`; a second call does nothing."""
    model: Any = keras.Model
    if getattr(model.fit, "_studio", False):
        return
    callback = _callback_class(keras.callbacks.Callback)
    original = model.fit
    signature = inspect.signature(original)

    @functools.wraps(original)
    def fit(self: Any, *args: Any, **kwargs: Any) -> Any:
        if getattr(_local, "fitting", False) or not _studio_hooks.working():
            return original(self, *args, **kwargs)
        watch = _studio_hooks.guarded("keras", callback)
        call = _studio_hooks.guarded("keras", _with, signature, self, args, kwargs, watch)
        if call is None:
            return original(self, *args, **kwargs)
        _local.fitting = True
        try:
            result = original(*call.args, **call.kwargs)
        except BaseException:
            _studio_hooks.guarded("keras", watch.finish, self)
            raise
        finally:
            _local.fitting = False
            _drop(call.arguments.get("callbacks"), watch)
        return result

    fit._studio = True  # type: ignore[attr-defined]
    model.fit = fit


def _with(signature: inspect.Signature, model: Any, args: Any, kwargs: Any, watch: Any) -> Any:
    """The call with `watch` after the script's own callbacks; None if the call is wrong, then Keras says so."""
    if watch is None:
        return None
    try:
        call = signature.bind(model, *args, **kwargs)
    except TypeError:
        return None
    given = call.arguments.get("callbacks")
    watch.prepare(model, call.arguments)
    if given is None:
        call.arguments["callbacks"] = [watch]
    elif isinstance(given, (list, tuple)):
        call.arguments["callbacks"] = [*given, watch]
    elif hasattr(given, "append"):  # a CallbackList of the script's
        watch.set_model(model)
        given.append(watch)
    else:
        call.arguments["callbacks"] = [given, watch]
    return call


def _drop(callbacks: Any, watch: Any) -> None:
    inner = getattr(callbacks, "callbacks", None)
    if isinstance(inner, list) and watch in inner:
        inner.remove(watch)


def _callback_class(base: Any) -> Any:
    class Watch(base):  # type: ignore[misc]
        """Hears of epochs and batches. Each method reports its own failure and steps aside."""

        async_safe = True  # Keras may go on dispatching batches as without it

        def __init__(self) -> None:
            super().__init__()
            self._fit = Fit()

        def prepare(self, model: Any, arguments: dict[str, Any]) -> None:
            self._fit.prepare(model, arguments)

        def finish(self, model: Any) -> None:
            self._fit.finish(model)

        def on_train_begin(self, logs: Any = None) -> None:
            self._call(self._fit.begin, self.model)

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            self._call(self._fit.batch, logs)

        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            self._call(self._fit.epoch_begins, self.model, epoch)

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            self._call(self._fit.epoch_ended, epoch, logs)

        def on_train_end(self, logs: Any = None) -> None:
            _studio_hooks.guarded("keras", self._fit.finish, self.model)  # also if something before it went wrong

        def _call(self, method: Any, *args: Any) -> None:
            if self._fit.broken:
                return
            self._fit.broken = True
            _studio_hooks.guarded("keras", _run, self._fit, method, args)

    return Watch


def _run(fit: Fit, method: Any, args: Any) -> None:
    method(*args)
    fit.broken = False


class Fit:
    """What is known of one call of the outermost `fit`."""

    def __init__(self) -> None:
        self.broken = False
        self._offset = 0
        self._first = True
        self._last_batch = 0.0
        self._checkpoints: _studio_checkpoints.Checkpoints | None = None
        self._arguments: dict[str, Any] = {}
        self._model: weakref.ref[Any] | None = None
        self._group = -1

    def prepare(self, model: Any, arguments: dict[str, Any]) -> None:
        """Before Keras sees the call."""
        self._arguments = {
            name: value for name, value in arguments.items() if name not in ("x", "y", "sample_weight", "self")
        }
        self._arguments["arrays"] = hasattr(arguments.get("x"), "shape") or isinstance(arguments.get("x"), (list, dict))
        self._checkpoints = _studio_checkpoints.of_run(model)
        if self._checkpoints is not None:
            self._checkpoints.signature = _studio_hooks.guarded("signature", _signature, model, arguments.get("x"))

    def begin(self, model: Any) -> None:
        """The model is compiled now, and mostly built."""
        group = _studio_hooks.guarded("keras parameters", _studio_keras_params.record, model, self._arguments)
        self._group = -1 if group is None else group
        self._arguments = {}
        self._model = weakref.ref(model)
        if model.built:
            _studio_hooks.guarded("keras summary", _describe, model)

    def batch(self, logs: Any) -> None:
        """Keeps the loss of a batch, four times a second at most."""
        global _next_batch
        _next_batch += 1
        now = time.monotonic()
        if now - self._last_batch >= BATCH_S and logs and "loss" in logs:
            self._last_batch = now
            _studio_track.log_sampled({"batch/loss": logs["loss"]}, step=_next_batch - 1)

    def epoch_begins(self, model: Any, epoch: int) -> None:
        """Saves the epoch before: here the progress bar does not count the time, and nothing has changed since."""
        global _next_epoch
        if self._first:
            self._first = False
            self._offset = max(0, _next_epoch - epoch)
        elif self._checkpoints is not None:
            self._checkpoints.save(model, last=False)
        if self._checkpoints is not None:
            self._checkpoints.epoch_begins()

    def epoch_ended(self, epoch: int, logs: Any) -> None:
        """Keeps the epoch's metrics."""
        global _next_epoch
        step = epoch + self._offset
        _next_epoch = step + 1
        numbers = {name: value for name, value in (logs or {}).items() if _is_number(value)}
        _studio_track.log(numbers, step=step)
        model = self._model() if self._model is not None else None
        if model is not None and model.built:  # by its first batch, if not before
            _studio_hooks.guarded("keras summary", _describe, model)
            _studio_hooks.guarded("keras summary", _studio_keras_params.count, model, self._group)
        self._model = None
        if self._checkpoints is not None:
            self._checkpoints.epoch_ended(step, numbers)

    def finish(self, model: Any) -> None:
        """At the end of `fit`, its own or an exception's."""
        _studio_track.flush()
        if self._checkpoints is not None:
            self._checkpoints.save(model, last=True)


def _describe(model: Any) -> None:
    """Keeps the text of the model's summary, once for each model."""
    if len(_described) >= SUMMARIES or any(known() is model for known in _described):
        return
    _described.append(weakref.ref(model))
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
