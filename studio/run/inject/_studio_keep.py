"""When fitted models are written to `modeldir`: the newest within seconds of its fit, for a twentieth of the time.

A fit that took long enough, or that ends a second after the last save, is saved before the script goes on. What is left
of many quick fits is saved by a thread a second later, and the rest at the end of the process.

What must not be pickled while it is being fitted: a tree of scikit-learn grows in memory that pickling would read. So a
fit waits for a save that is under way (`begins`), and a save that reaches an object that is being fitted gives up
(`BUSY`) and is tried again. The thread lives only while a model waits, and never across a fork.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
import warnings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from . import (
        _studio_end,
        _studio_fits,
        _studio_hooks,
        _studio_modeldir,
        _studio_models,
        _studio_saves,
        _studio_stop,
        _studio_track,
    )
    from ._studio_models import Model

    Write = Callable[[Any, str], str]
else:
    import _studio_end
    import _studio_fits
    import _studio_hooks
    import _studio_modeldir
    import _studio_models
    import _studio_saves
    import _studio_stop
    import _studio_track

SHARE = 0.05
GRANT_S = 0.5  # that saving may take in any case: so a few small models are all kept
REST_S = 1.0  # between saves that exceed the share
END_S = 5.0  # that saving further models may take when the script ends

BUSY: dict[int, int] = {}
"""Objects that are being fitted: id -> how many fits."""


class Busy(Exception):
    """What is to be saved is being fitted."""


class TooLong(Exception):
    """Saving takes longer than it may."""


class _Waiting:
    """A model that is not saved yet. The newest holds its object, so that it lives until then."""

    def __init__(self, model: Model, thing: Any, suffix: str, write: Write, how: str) -> None:
        self.model, self.thing, self.suffix, self.write, self.how = model, thing, suffix, write, how
        self.place = _studio_track.place()


_waiting: list[_Waiting] = []
_chores: list[tuple[Any, Callable[[], bool]]] = []  # with the run that each is of
_queue = threading.Lock()  # held for moments only
_writing = threading.RLock()  # held while one model is saved; `SAVING` while several are
_wake = threading.Condition(threading.Lock())
_thread: threading.Thread | None = None
_leave = False
_saving = False
_within = threading.local()  # `depth`: fits of this thread that are under way
_trained = _spent = _took = 0.0
_ended = float("-inf")  # when the last save did


def begins(thing: Any, *, is_round: bool = False) -> None:
    """A fit of this object, or a round of a booster, begins: from here to `ends` it is not saved."""
    depth = getattr(_within, "depth", 0)
    if _studio_stop.saving() and not (depth if is_round else BUSY):  # not one within another
        with _studio_modeldir.SAVING:
            pass
    _within.depth = depth + 1
    with _queue:
        BUSY[id(thing)] = BUSY.get(id(thing), 0) + 1
    if _saving:
        with _writing:
            pass


def ends(thing: Any, *, well: bool) -> None:
    """Its fit is over; one that raised has left it half changed, so that it is no model any more."""
    _within.depth = getattr(_within, "depth", 1) - 1
    with _queue:
        left = BUSY.pop(id(thing), 1) - 1  # none where the fit has forked
        if left:
            BUSY[id(thing)] = left
        if not well:
            _waiting[:] = [entry for entry in _waiting if entry.thing is not thing]
    last = sys.modules.get("_studio_last")
    if not well and last is not None:
        _studio_hooks.guarded("models", last.failed, thing)


@contextlib.contextmanager
def still(thing: Any) -> Iterator[bool]:
    """No fit of it begins within; False if one is under way."""
    global _saving
    with _writing:
        with _queue:
            _saving = True
            is_still = id(thing) not in BUSY
        try:
            yield is_still
        finally:
            _saving = False


def trained(model: Model, thing: Any, suffix: str, write: Write, *, how: str, took_s: float) -> None:
    """A model was fitted in `took_s`; `write(thing, path)` saves it and gives the Python version it then needs."""
    global _trained
    if _studio_modeldir.folder() is None:
        return
    _studio_end.at_end("models", finish)
    _trained += took_s
    with _queue:
        _waiting[:] = [entry for entry in _waiting if entry.model is not model]
        for other in _of_this_run()[-1:]:
            other.thing = None  # from here on only the script keeps it alive
        dead = [entry for entry in _of_this_run() if entry.thing is None and entry.model.ref() is None]
        for entry in dead:
            _waiting.remove(entry)
            _studio_models.drop(None)
        _waiting.append(_Waiting(model, thing, suffix, write, how))
    rested = time.monotonic() - _ended >= max(REST_S, 20 * _took)
    if (_affordable() or rested) and _studio_modeldir.SAVING.acquire(blocking=False):
        try:
            _save(model)
        finally:
            _studio_modeldir.SAVING.release()
    if _waiting:
        _start()


def at_once(model: Model, thing: Any, suffix: str, write: Write, *, how: str) -> None:
    """Saves a model at the end of the run."""
    with _queue:
        _waiting.append(_Waiting(model, thing, suffix, write, how))
    _save(model)


def look_after(chore: Callable[[], bool]) -> None:
    """Calls it each second by the thread, which holds `SAVING` then, until it returns False."""
    here = _studio_track.place()
    with _queue:
        if not any(known == chore for _, known in _chores):
            _chores.append((here, chore))
    _start()


def _of_this_run() -> list[_Waiting]:
    here = _studio_track.place()
    return [entry for entry in _waiting if entry.place is here]


def _affordable() -> bool:
    return _spent + (_took or 0.01) <= SHARE * _trained + GRANT_S


def _save(model: Model | None = None) -> bool:
    """Saves one model of this run, the newest by default; False if it has to be tried again."""
    with _writing:
        return _save_one(model)


def _save_one(model: Model | None) -> bool:
    global _spent, _took, _ended, _saving
    with _queue:
        entry = next((one for one in reversed(_of_this_run()) if model is None or one.model is model), None)
        if entry is None:
            return True
        _waiting.remove(entry)
        thing = entry.thing if entry.thing is not None else entry.model.ref()
        _saving = True
    try:
        if thing is None:
            _studio_models.drop(None)
            return True
        began = time.monotonic()
        fits = entry.model.fits
        done = False
        try:
            done = _put(entry, thing)
        finally:
            _ended = time.monotonic()
            _took = _ended - began
            _spent += _took
            if not done or entry.model.fits != fits:  # not done where a signal has interrupted it, too
                with _queue:
                    if not any(one.model is entry.model for one in _waiting):
                        _waiting.insert(0 if entry.thing is None else len(_waiting), entry)
        return done
    finally:
        _saving = False


def _put(entry: _Waiting, thing: Any) -> bool:
    model = entry.model
    modeldir = _studio_modeldir.folder()
    if modeldir is None or _studio_modeldir.is_the_scripts(modeldir):
        return True
    told = {"python": ""}

    def write(path: str) -> None:
        told["python"] = entry.write(thing, path) or ""

    try:
        if id(thing) in BUSY:
            raise Busy
        with _studio_saves.quietly():
            name = _studio_models.file_name(model, entry.suffix)
            path = _studio_modeldir.put(modeldir, name, write)
    except Busy:
        return False
    except RuntimeError as exc:
        if "changed size during iteration" in str(exc):  # the script is at it
            return False
        _studio_models.lose(model, f"{type(exc).__name__}: {exc}")
        return True
    except OSError as exc:
        _studio_models.lose(model, f"{type(exc).__name__}: {exc}", topic="modeldir")
        return True
    except TooLong as exc:
        _studio_models.lose(model, str(exc))
        return True
    except Exception as exc:  # noqa: BLE001  (what is within a model may raise anything)
        _studio_models.lose(model, f"{type(exc).__name__}: {exc}")
        return True
    model.python = told["python"]
    _studio_models.saved(model, name)
    _studio_track.event("model", path=path, how=entry.how, name=model.name)
    return True


def _start() -> None:
    """A thread for what waits, unless there is one."""
    global _thread, _leave
    with _wake:
        if _thread is None:
            _leave = False
            _thread = threading.Thread(target=_work, name="studio-keep", daemon=True)
            try:
                _thread.start()
            except RuntimeError:  # the interpreter ends, or there are no more threads: `finish` does it
                _thread = None


def _work() -> None:
    global _thread
    while True:
        with _wake:
            if _waiting or _chores:  # else what it was for is saved: a script that joins all threads waits no longer
                _wake.wait(max(REST_S, min(10 * _took, 30.0)))
            if _leave or not (_waiting or _chores) or not _studio_hooks.working():
                _thread = None
                return
        with _studio_modeldir.SAVING:
            _studio_hooks.guarded("models", _save_some)
            _studio_hooks.guarded("models", _do_chores)


def _do_chores() -> None:
    for entry in list(_chores):
        place, chore = entry
        with _studio_track.within(place) if place is not None else contextlib.nullcontext():
            again = _studio_hooks.guarded("models", chore)
        if not again:
            with _queue:
                _chores[:] = [known for known in _chores if known is not entry]


def _save_some() -> None:
    done = not _waiting or _save_newest()
    while done and _waiting and _affordable():
        done = _save_newest()


def _save_newest() -> bool:
    """Saves the newest model of any run."""
    place = _waiting[-1].place
    if place is None:
        return _save()
    with _studio_track.within(place):
        return _save()


def finish() -> None:
    """At the end of a run: saves what waits, decides which is *the* model, and says so in the note.

    A run that is about to be stopped comes here before its script ends, and once more if that goes on.
    """
    _stop()
    with _studio_modeldir.SAVING:
        if _studio_modeldir.folder() is None:
            return
        if _studio_stop.saving():
            _studio_fits.keep_all()
        _save_all(time.monotonic() + max(END_S, SHARE * _trained))
        last = sys.modules.get("_studio_last")
        if last is not None:
            _studio_hooks.guarded("models", _look_again, last)
        _studio_hooks.guarded("saves", _studio_saves.copy_all)
        torch = sys.modules.get("_studio_torch")
        if torch is not None:
            _studio_hooks.guarded("torch", torch.finish)
        chosen = _studio_models.choose()
        if chosen is not None and chosen.saved_fits != chosen.fits:
            _save(chosen)
        if _studio_stop.saving():  # what was fitted meanwhile
            _save_all(time.monotonic() + END_S)
        _studio_hooks.guarded("models", _studio_fits.tell_unfinished)
        with _queue:
            left = _of_this_run()
            _waiting[:] = [entry for entry in _waiting if entry not in left]
        for entry in left:
            if entry.model.saved_fits == entry.model.fits:  # which is told of
                continue
            if entry.model.file or entry.model is chosen:
                _studio_models.lose(entry.model, "there was no time to save it as it was after its last fit")
            else:
                _studio_models.drop(entry.model)
        _tell()
        checkpoints = sys.modules.get("_studio_checkpoints")
        if checkpoints is not None and checkpoints.export_all():  # takes longest, and is least missed
            _tell()
    if _waiting or _chores:  # of other runs of this process, or of a script that goes on
        _start()


def _save_all(until: float) -> None:
    """Saves what waits, the newest first; a script that goes on may be fitting some of it just now."""
    while True:
        waiting = _of_this_run()
        if not waiting and not (_studio_fits.awaited() and _studio_stop.has_patience()):
            return
        done = [_save(entry.model) for entry in reversed(waiting) if time.monotonic() < until]
        if _studio_fits.awaited() or not all(done):
            if not _studio_stop.has_patience():
                return
            time.sleep(0.005)
        elif time.monotonic() >= until:
            return


def _tell() -> None:
    if _studio_models.choose() is not None or _studio_models.told():
        _studio_models.write()


def _look_again(last: Any) -> None:
    """Keeps what `__main__` holds as it is now, unless the script keeps its models itself."""
    modeldir = _studio_modeldir.folder()
    if modeldir is None or _studio_modeldir.is_the_scripts(modeldir):
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of libraries that are asked; the script does not ask them
        found = last.adopt()
        chosen = _studio_models.choose()
        last.save(found, chosen)
        last.look(chosen)


def _stop() -> None:
    """Ends the thread, after the save that is under way."""
    global _leave
    with _wake:
        thread, _leave = _thread, True
        _wake.notify_all()
    if thread is not None and thread is not threading.current_thread():
        thread.join()


_forks: set[int] = set()  # threads that fork and hold the lock


def _forking() -> None:
    if _studio_hooks.working():
        _stop()  # a lock that it holds would be held in the child for ever
        _studio_modeldir.SAVING.acquire()
        _forks.add(threading.get_ident())


def _forked_parent() -> None:
    if threading.get_ident() in _forks:
        _forks.discard(threading.get_ident())
        _studio_modeldir.SAVING.release()
        if _waiting or _chores:
            _start()


def _forked_child() -> None:
    global _queue, _writing, _wake, _thread, _saving
    _queue, _writing, _thread, _saving = threading.Lock(), threading.RLock(), None, False
    _wake = threading.Condition(threading.Lock())
    _studio_modeldir.SAVING = threading.RLock()
    BUSY.clear()
    _chores.clear()
    _waiting.clear()
    _forks.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_forking, after_in_parent=_forked_parent, after_in_child=_forked_child)

_studio_stop.listen()
