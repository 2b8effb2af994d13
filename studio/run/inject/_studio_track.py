"""`studio.log`, `log_many`, `params`, `tags`, `note`: hides where a run's spool is; no-ops where there is no run.

Safe from any thread, also for the first call of the process. Where a call goes is a `Place`: the run that this thread
has started by `studio.start`, or that the thread that started this one was in; else the run of the whole process.
"""

from __future__ import annotations

import os
import sys
from _thread import RLock, get_ident  # as in threading, which most scripts that log nothing need not load

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from contextvars import ContextVar
    from typing import Any

    from . import _studio_metrics

EVENT_BYTES = 1 << 20
FORK_WAIT_S = 60.0


class Place:
    """Where points and events of one run go from this process.

    Args:
        folder: The run's spool.
        ranks: Whether other ranks of a launcher share the run.
        key: The run's key, where `studio.start` made it; else the environment names it.
        mapping: Likewise, name → path of its artifacts.
    """

    def __init__(
        self, folder: str, *, ranks: bool = True, key: str | None = None, mapping: Mapping[str, str] | None = None
    ) -> None:
        self.folder, self.ranks, self.key, self.mapping = folder, ranks, key, mapping
        self.writer: _studio_metrics.Writer | None = None
        self.warned: set[str] = set()
        self.memory: dict[str, Any] = {}  # what hooks remember of this run, and of no other
        self.open = True
        self.shared = False  # whether threads that were in no run may use it
        self.outer: Place | None = None


_FIRST = RLock()  # held while something is made that is made once
_home: Place | None = None  # of STUDIOML_SPOOL
_looked = False
_started: list[Place] = []  # by studio.start in this process, the newest last
_context: ContextVar[Place | None] | None = None  # once studio.start was called
_writer: _studio_metrics.Writer | None = None  # that of _home, while nobody is in another run
_nowhere: dict[str, Any] = {}  # `Place.memory` outside a run


def log(values: Mapping[str, float], step: int | None = None) -> None:
    """Records one point on each named curve.

    Args:
        values: Name → number. Any real number, NaN and infinities included, and whatever has one (a numpy, torch or
            TensorFlow scalar).
        step: Any 64-bit whole number, in any order; by default the next one of that name.

    Raises:
        TypeError: a name is not a str, a value not one number, the step not a whole number; nothing is recorded then.
    """
    writer = _writer
    if writer is None:
        writer = _open()
        if writer is None:
            return
    try:
        writer.log(values, step)
    except AttributeError:
        if hasattr(values, "items"):
            raise
        raise TypeError(f"studio.log takes a mapping of names to numbers, not {type(values).__name__}") from None


def log_sampled(values: Mapping[str, float], step: int) -> None:
    """As `log`, for hooks that sample by the clock: which steps such a curve has is by chance, and the run knows."""
    known: set[str] = memory("sampled", set)
    fresh = [name for name in values if name not in known]
    if fresh and event("sampled", names=fresh):
        known.update(fresh)
    log(values, step)


def log_many(name: str, steps: Iterable[int] | None, values: Iterable[float]) -> None:
    """Records many points on one curve; `steps` None counts on from the last step of that name.

    Raises:
        TypeError: as `log`; also if there are not as many steps as values.
    """
    writer = _writer or _open()
    if writer is not None:
        writer.log_many(name, steps, values)


def params(mapping: Mapping[str, Any] | None = None, **values: Any) -> None:
    """Records parameters; nested mappings become names with dots, names that say they are secret become `***`."""
    if place() is not None:
        _tell(load("_studio_params").Flat([mapping or {}, values]))


def given_params(values: Mapping[str, Any], given: Iterable[str], hidden: Iterable[str] = ()) -> None:
    """Records parameters that a parser has found; the user typed those that are `given`, the others are defaults.

    Those of `hidden` are secrets, whatever they are called.
    """
    if place() is None:
        return
    flat = load("_studio_params").Flat([values], hidden)
    names = set(given)
    typed = [name for name, top in flat.tops.items() if not names.isdisjoint((name, top, name.partition(".")[0]))]
    _tell(flat, parsed=True, **({"given": typed} if typed else {}))


def _tell(flat: Any, **fields: Any) -> None:
    if flat.values:
        event("params", values=flat.values, **({"digests": flat.digests} if flat.digests else {}), **fields)


def tags(*names: str | Iterable[str]) -> None:
    """Adds tags to the experiment: each a text, or a list of texts; empty ones are none."""
    each = [[name] if isinstance(name, str) or not hasattr(name, "__iter__") else name for name in names]
    spell = load("_studio_text").of
    values = [text for inner in each for text in (_clean(spell(name).strip()) for name in inner) if text]
    if values:
        event("tags", values=values)


def note(text: str) -> None:
    """Adds a line to the experiment's notes."""
    event("note", text=_text(text))


def flush() -> None:
    """Writes what was logged so far to the disk."""
    here = place()
    if here is not None and here.writer is not None:
        here.writer.flush()


def place() -> Place | None:
    """The run that a call made here and now belongs to; None outside a run."""
    if _context is not None:
        found = _opened(_context.get())
        if found is None and _started:
            found = _of_this_thread()
        if found is not None:
            return found
    return home()


def _of_this_thread() -> Place | None:
    """For a thread that has started no run: that of the thread that started it, else one that is meant for all."""
    from threading import current_thread

    return _opened(getattr(current_thread(), "_studio_place", None)) or shared()


def _opened(found: Place | None) -> Place | None:
    """It, or the nearest around it that is not over."""
    while found is not None and not found.open:
        found = found.outer
    return found


def shared() -> Place | None:
    """The newest run that `studio.start` opened in the main thread; else the only one of another thread."""
    started = list(_started)
    for found in reversed(started):
        if found.shared:
            return found
    return started[0] if len(started) == 1 else None


def home() -> Place | None:
    """The run of the whole process, which `studio run` made; None if there is none."""
    return _home if _looked else _find_home()


def places() -> list[Place]:
    """Every run that is under way in this process, the newest first."""
    here = home()
    return [*reversed(_started), *([here] if here is not None else [])]


def _find_home() -> Place | None:
    global _home, _looked
    with _FIRST:
        if not _looked:
            folder = os.environ.get("STUDIOML_SPOOL")
            if folder and os.path.isdir(folder):
                _home = Place(folder)
            _looked = True  # last: who finds it set finds the place
    return _home


def attach(spool: str, *, key: str | None = None, mapping: Mapping[str, str] | None = None) -> Place:
    """Sends the points and events of this thread, and of those it starts, to the run whose spool folder this is.

    From the main thread also those of threads that are in no run. `detach` ends it.
    """
    global _writer, _context
    _find_home()  # before the caller puts another spool into the environment
    with _FIRST:
        if _context is None:
            _follow_threads()
            from contextvars import ContextVar

            _context = ContextVar("studio", default=None)
        new = Place(os.fspath(spool), ranks=False, key=key, mapping=mapping)
        new.outer, new.shared = _opened(_context.get()), _in_main_thread()
        _started.append(new)
        _writer = None
        _context.set(new)
    return new


def detach(which: Place | None = None) -> None:
    """Ends `attach`, by default the newest of this thread: all is written, later calls go where they went before."""
    which = which or place()
    if which is None or which not in _started:
        return
    with _FIRST:
        which.open = False
        if _context is not None and _context.get() is which:
            _context.set(which.outer)
        _started[:] = [other for other in _started if other is not which]
        writer, which.writer = which.writer, None
        which.memory.clear()
    if writer is not None:
        load("_studio_writers").close(writer)


class within:
    """Calls of the block go to the run of this place."""

    def __init__(self, which: Place) -> None:
        self._which = which

    def __enter__(self) -> None:
        self._token = None if _context is None else _context.set(self._which)  # else there is but one place

    def __exit__(self, *_: object) -> None:
        if _context is not None and self._token is not None:
            _context.reset(self._token)


def memory(name: str, make: Callable[[], Any]) -> Any:
    """What a hook remembers of this run under a name, made at the first call; another run has its own."""
    here = place()
    kept = _nowhere if here is None else here.memory
    found = kept.get(name)
    return kept.setdefault(name, make()) if found is None else found


def artifacts() -> dict[str, Any]:
    """Name → path of the artifacts of the run that this call belongs to."""
    here = place()
    if here is not None and here.mapping is not None:
        return dict(here.mapping)
    text = os.environ.get("STUDIOML_ARTIFACT_MAPPING", "{}")
    known: list[Any] = memory("artifacts", lambda: ["", {}])
    if text != known[0]:  # asked for after every fit, of which a search does thousands
        json = load("json")
        try:
            found = json.loads(text)
        except ValueError:
            found = {}
        known[:] = [text, found if isinstance(found, dict) else {}]
    return dict(known[1])


def first() -> Any:
    """The lock for what is made once; a fork waits for it."""
    return _FIRST


def load(name: str) -> Any:
    """A module that is imported at the first call that needs it; a fork of another thread waits until it is whole."""
    with _FIRST:
        __import__(name)
    return sys.modules[name]


def _in_main_thread() -> bool:
    import threading

    return threading.current_thread() is threading.main_thread()


def _follow_threads() -> None:
    """A thread belongs to the run in which it was started."""
    import functools
    import threading

    original = threading.Thread.start
    if getattr(original, "_studio", False):
        return

    @functools.wraps(original)
    def start(self: threading.Thread) -> None:
        if _started:
            self._studio_place = place()  # type: ignore[attr-defined]
        original(self)

    start._studio = True  # type: ignore[attr-defined]
    threading.Thread.start = start  # type: ignore[method-assign]


def spool() -> str | None:
    """The spool folder of the run that this call belongs to, or None outside a run."""
    here = place()
    return None if here is None else here.folder


def event(kind: str, **fields: Any) -> bool:
    """Appends one line to the run's events, and whether it did; nothing outside a run, never an error."""
    here = place()
    return here is not None and _append(here, kind, fields)


def _append(here: Place, kind: str, fields: dict[str, Any]) -> bool:
    return bool(load("_studio_hold").call(_append_whole, here, kind, fields))


def _append_whole(here: Place, kind: str, fields: dict[str, Any]) -> bool:
    try:
        json = load("json")
        if "text" in fields:
            fields["text"] = _clean(_text(fields["text"]))
        line = json.dumps({"type": kind, **fields}, ensure_ascii=True, default=_text) + "\n"
        values = fields.get("values")
        if len(line) > EVENT_BYTES and kind == "params" and isinstance(values, dict):
            return _append_apart(here, fields, values)
        if len(line) > EVENT_BYTES:
            line = json.dumps({"type": "warning", "text": f"an event of type {kind} was too large to keep"}) + "\n"
        fd = os.open(os.path.join(here.folder, "events"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            os.write(fd, line.encode())
        finally:
            os.close(fd)
        return True
    except Exception as exc:  # noqa: BLE001  a full disk, a value without str(): the script must not notice
        _complain(here, "events", f"an event of type {kind} could not be kept: {exc}")
        return False


def _append_apart(here: Place, fields: dict[str, Any], values: dict[str, Any]) -> bool:
    """Parameters that are too many or too long for one event, in two, or one that is cut."""
    if len(values) == 1:
        kept = load("_studio_text").kept
        cut = {kept(name, 256): kept(value) for name, value in values.items()}
        return cut != values and _append_whole(here, "params", {**fields, "values": cut})
    names = list(values)
    halves = [{name: values[name] for name in some} for some in (names[::2], names[1::2])]
    done = [_append_whole(here, "params", {**fields, "values": half}) for half in halves]
    return all(done)


def warning(topic: str, text: str) -> None:
    """Says something about the hooks, once for each topic."""
    here = place()
    if here is not None and topic not in here.warned:
        here.warned.add(topic)
        _append(here, "warning", {"text": text})


def _clean(text: str) -> str:
    return str(load("_studio_secrets").clean(text))


def _complain(here: Place, topic: str, text: str) -> None:
    if topic not in here.warned and sys.stderr is not None:
        here.warned.add(topic)
        try:
            sys.stderr.write("studio: " + "".join(c if c.isprintable() else repr(c)[1:-1] for c in text) + "\n")
        except Exception:  # noqa: BLE001, S110
            pass


def _text(value: Any) -> str:
    """`str(value)`, whatever it is; what is longer than an event may be is cut."""
    if type(value) is str and len(value) <= EVENT_BYTES // 4:
        return value
    return str(load("_studio_text").kept(value, EVENT_BYTES // 4))


def _open() -> _studio_metrics.Writer | None:
    """The writer of the run that this call belongs to."""
    global _writer
    here = place()
    if here is None or here.writer is not None:
        return None if here is None else here.writer
    with _FIRST:
        import _studio_writers  # type: ignore[import-not-found]

        if not hasattr(_studio_writers, "READY"):
            return None  # a signal handler logs while the line above is being executed
        if here.writer is None and here.open:
            here.writer = _studio_writers.open_writer(
                os.path.join(here.folder, "metrics"), lambda text: _drops(here, text), ranks=here.ranks
            )
        if here is _home and not _started:
            _writer = here.writer
        return here.writer


def _drops(here: Place, text: str) -> None:
    if not _append(here, "warning", {"text": text}):  # else whoever reads the events says it
        _complain(here, "metrics", text)


def _forking() -> None:
    """No fork while another thread imports a module of ours, or by ours: the child would get the lock of that import
    without the thread that releases it, and wait for ever. The limit is for a thread that waits for the fork itself.
    """
    if not _FIRST.acquire(timeout=FORK_WAIT_S):
        return
    for name in _half_loaded():  # by an import statement of the script's
        _FIRST.release()  # which that import may need
        __import__(name)  # waits until it is whole, but not for an import of this thread's
        if not _FIRST.acquire(timeout=FORK_WAIT_S):
            return
    _held.add(get_ident())


def _half_loaded() -> list[str]:
    ours = [name for name in list(sys.modules) if name.startswith(("_studio_", "studio."))]
    specs = [(name, getattr(sys.modules.get(name), "__spec__", None)) for name in ours]
    return [name for name, spec in specs if getattr(spec, "_initializing", False)]


def _forked_parent() -> None:
    if get_ident() in _held:  # else this module was imported while the fork was under way
        _held.discard(get_ident())
        _FIRST.release()


def _forked() -> None:
    """The parent's streams are the parent's; this process opens its own, in the same runs."""
    global _writer, _FIRST
    _held.clear()
    _FIRST = RLock()
    _writer = None
    for here in [*_started, *([_home] if _home is not None else [])]:
        here.writer = None


_held: set[int] = set()  # threads that fork and hold the lock
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_forking, after_in_parent=_forked_parent, after_in_child=_forked)

if "_studio_siblings" not in sys.modules:  # neither sitecustomize nor studio came first
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
    try:
        import _studio_siblings  # type: ignore[import-not-found]

        _studio_siblings.install()
    finally:
        del sys.path[0]
