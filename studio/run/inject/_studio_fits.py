"""Fits that the script called and that are under way: what the note tells of them if the run ends before they do.

Without it an older model of the run would answer in silence for one that a stop, Ctrl-C or the kernel has cut short.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from . import (
        _studio_end,
        _studio_hooks,
        _studio_modeldir,
        _studio_models,
        _studio_stop,
        _studio_text,
        _studio_track,
    )
else:
    import _studio_end
    import _studio_hooks
    import _studio_modeldir
    import _studio_models
    import _studio_stop
    import _studio_text
    import _studio_track

TELL_S = 5.0  # from the fit's begin on: a kill leaves no time to
ENDED = "the run ended before its fit did"
STOPPED = "the run was stopped before its fit was over"


class Fit:
    """One fit that the script called.

    Attributes:
        thing: What is fitted; None as long as nobody has seen it.
        kind: Its class.
        keep: Saves what there is of it when the run is stopped, where that is a model already.
        tell: Tells that the run may end before the fit does, in a way of its own.
        rounds: That are over, of a booster.
        model: What the note tells of it meanwhile.
    """

    def __init__(self, thing: Any, kind: str, library: str) -> None:
        self.thing, self.kind, self.library = thing, kind, library
        self.keep: Callable[[Any], None] | None = None
        self.tell: Callable[[], None] | None = None
        self.place = _studio_track.place()
        self.began, self.rounds = time.monotonic(), 0
        self.told = False
        self.model: _studio_models.Model | None = None


_under_way: dict[int, Fit] = {}  # of each thread, the outermost


def awaited() -> bool:
    """Whether a fit is under way whose end a stop waits for."""
    return any(fit.tell is None for fit in list(_under_way.values()))


def here() -> Fit | None:
    """That of this thread."""
    return _under_way.get(threading.get_ident())


def begins(thing: Any, kind: str, library: str) -> Fit | None:
    """A fit begins, for which this thread calls `ends` in any case; None within another one."""
    thread = threading.get_ident()
    if thread in _under_way:
        return None
    _under_way[thread] = fit = Fit(thing, kind, library)
    return fit


def ends(fit: Fit | None, *, well: bool) -> None:
    """It is over, and what came of it is noted. An exception that goes on may end the run."""
    if fit is None:
        return
    _under_way.pop(threading.get_ident(), None)
    exc = sys.exc_info()[1]
    _studio_hooks.guarded("models", _over, fit, None if well else exc)


def _over(fit: Fit, exc: BaseException | None) -> None:
    if fit.model is not None:
        _studio_models.regained(fit.library, {fit.model.name})
    raised: list[_Raised] = _studio_track.memory("fits raised", list)
    if exc is None:
        if raised and _role(fit) == "predictor":
            raised.clear()  # it is not the newest any more
        return
    _studio_end.at_end("models", sys.modules["_studio_keep"].finish)
    if fit.keep is not None and fit.rounds and not isinstance(exc, Exception):  # Ctrl-C, which is a stop
        _keep(fit)
    elif fit.tell is None:
        raised[:] = [_Raised(fit, exc)]


class _Raised:
    """A fit that an exception has ended. Holds nothing of what was fitted."""

    def __init__(self, fit: Fit, exc: BaseException) -> None:
        self.model = _studio_models.find(fit.thing)
        self.about = (fit.kind, fit.library, _role(fit))
        self.when = time.time()
        self.why = f"its fit was ended by {_studio_text.of_exception(exc)}"

    def tell(self) -> None:
        model = self.model or _studio_models.unfinished(None, *self.about)
        _studio_models.behind(model, self.why, when=self.when)


def _role(fit: Fit) -> str:
    sklearn: Any = sys.modules.get("_studio_sklearn")
    is_helper = fit.library == "sklearn" and sklearn is not None and sklearn.is_helper(fit.thing)
    return "helper" if is_helper else "predictor"


def keep_all() -> None:
    """The run is about to be stopped: keeps what is a model before its fit is over."""
    for fit in _of_this_run():
        if fit.keep is not None and fit.rounds and fit.thing is not None:
            _studio_hooks.guarded("models", _keep, fit)


def _keep(fit: Fit) -> None:
    if fit.keep is not None:
        fit.keep(fit.thing)
        model = _studio_models.find(fit.thing)
        if model is not None:
            model.cut = True
            rounds = f"{fit.rounds:,} round" + ("s" if fit.rounds != 1 else "")
            _studio_models.cut_short(model, f"its fit was stopped after {rounds}")


def tell_unfinished() -> None:
    """At the end of the run: fits that are under way, and the newest one if an exception has ended it."""
    for fit in _of_this_run():
        model = _studio_models.find(fit.thing)
        kept = fit.keep is not None and model is not None and model.file and model.saved_fits == model.fits
        if fit.tell is None and not kept:
            _lose(fit, STOPPED if _studio_stop.saving() else ENDED)
    raised: list[_Raised] = _studio_track.memory("fits raised", list)
    while raised:
        raised.pop().tell()


def tell_of_long() -> None:
    """Every few seconds, by the thread that hears of a stop: a run that is killed next says so in the note."""
    for fit in list(_under_way.values()):
        if fit.told or fit.thing is None or time.monotonic() - fit.began < TELL_S:
            continue
        with _studio_track.within(fit.place) if fit.place is not None else contextlib.nullcontext():
            _tell(fit)


def _tell(fit: Fit) -> None:
    with _studio_modeldir.saving(0.1) as free:
        if not free or fit not in _under_way.values():
            return
        fit.told = True
        if fit.tell is not None:
            fit.tell()
        else:
            _lose(fit, ENDED)


def _lose(fit: Fit, why: str) -> None:
    fit.model = model = _studio_models.unfinished(fit.thing, fit.kind, fit.library, _role(fit))
    _studio_models.behind(model, why + (f"; {model.file} is of the fit before" if model.file else ""))


def _of_this_run() -> list[Fit]:
    place = _studio_track.place()
    return [fit for fit in list(_under_way.values()) if fit.place is place]


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_under_way.clear)
