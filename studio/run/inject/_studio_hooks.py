"""Hides how hooks come into libraries: a finder that lets a module load as always and then calls the hook for it.

Roles: the first Python process of a run, and rank 0 of a launcher, get the hooks; other processes only `studio.log`.
docs/explanation/metrics.md and docs/howto/autolog.md say why.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType, TracebackType
    from typing import Any

    from . import _studio_frames, _studio_hold
else:
    import _studio_frames
    import _studio_hold

# module that is waited for -> injected modules whose `hook(module)` is then called
TABLE = {
    "keras": ("_studio_keras", "_studio_saves"),
    "sklearn.base": ("_studio_sklearn",),
    "xgboost.training": ("_studio_boosting",),
    "lightgbm.engine": ("_studio_boosting",),
    "catboost.core": ("_studio_sklearn",),
    "torch.optim.optimizer": ("_studio_torch",),
    "torch.serialization": ("_studio_saves",),
    "joblib.numpy_pickle": ("_studio_saves",),
    "matplotlib.figure": ("_studio_saves",),
    "tensorboard.summary.writer.event_file_writer": ("_studio_tensorboard",),
    "tensorboardX.event_file_writer": ("_studio_tensorboard",),
    "tensorflow.python.ops.summary_ops_v2": ("_studio_tensorboard",),
    "tensorflow.python.summary.writer.event_file_writer": ("_studio_tensorboard",),
    "argparse": ("_studio_arguments",),
    "click.core": ("_studio_arguments",),
    "absl.flags": ("_studio_arguments",),
    "random": ("_studio_arguments",),
    "numpy.random": ("_studio_arguments",),
    "torch.random": ("_studio_arguments",),
}
RANKS = ("RANK", "OMPI_COMM_WORLD_RANK", "PMI_RANK", "PMIX_RANK")
# Python programs that start the script in another process.
LAUNCHERS = frozenset(
    {"torchrun", "torch.distributed.run", "torch.distributed.launch", "accelerate", "accelerate.commands.launch"}
    | {"deepspeed", "horovodrun", "jupyter", "jupyter-nbconvert", "jupyter-lab", "jupyter-notebook", "papermill"}
)
_here = os.path.dirname(os.path.abspath(__file__))
_finder: Finder | None = None
_logger = 0  # the process whose hooks work; children that were forked have a copy of the hooks, but not this id
_users = 0  # how many runs of this process the hooks work for


def start(folder: str) -> None:
    """Called once, by `sitecustomize`, in every interpreter of a run."""
    if os.environ.get("STUDIOML_AUTOLOG") == "0":
        _leave_no_trace(folder)
        return
    import _studio_siblings  # type: ignore[import-not-found]

    _studio_siblings.install()
    if not _is_logger():
        return
    begin()
    Former.hook, sys.excepthook = sys.excepthook, excepthook
    import atexit

    import _studio_failure  # type: ignore[import-not-found]

    _studio_failure.watch()
    atexit.register(_end)
    if os.environ.pop("STUDIOML_DESCRIBE", None):
        guarded("packages", _describe)


def _describe() -> None:
    """Tells the run of a command which Python it has come to, and where that looks for packages."""
    import _studio_track  # type: ignore[import-not-found]

    folders = [entry for entry in sys.path if entry and os.path.isabs(entry)]
    _studio_track.event("python", version=sys.version.split()[0], executable=sys.executable, folders=folders)


def begin() -> None:
    """Hooks work in this process from now on; modules that it has already imported are hooked as well."""
    global _logger, _finder, _users
    import _studio_track

    with _studio_track.first():
        _users = _users + 1 if working() else 1
        if _users > 1:
            _note_held()
            return
        _logger = os.getpid()
        _finder = Finder(dict(TABLE))
        sys.meta_path.insert(0, _finder)
    for name in [name for name in TABLE if name in sys.modules]:
        _finder.call(sys.modules[name])
    _note_held()


def _note_held() -> None:
    last = sys.modules.get("_studio_last")
    if last is not None:
        guarded("models", last.begins)


def finish() -> None:
    """Ends `begin` for the run that this call belongs to: does what hooks have left for the end, and, with the last
    run, leaves wrapped functions as if they were not.
    """
    global _logger, _finder, _users
    import _studio_track

    end = sys.modules.get("_studio_end")
    if end is not None and working():
        end.run()
    if working():
        guarded("modules", tell_imports)
    with _studio_track.first():
        _users = max(0, _users - 1)
        if _users:
            return
        if _finder is not None:
            _finder.step_aside()
        _logger, _finder = 0, None


def replace(module: ModuleType, name: str, wrapped: Any) -> None:
    """Puts `wrapped` in the place of a module's function, also where its package has taken it from there already."""
    original = getattr(module, name)
    wrapped._studio = True
    package = module.__name__.partition(".")[0]
    for place in (module.__name__, package, package + ".sklearn"):
        known = sys.modules.get(place)
        if known is not None and known.__dict__.get(name) is original:
            setattr(known, name, wrapped)


def _end() -> None:
    if working():
        guarded("modules", tell_imports)
    if working() and (len(getattr(sys, "argv", ())) > 1 or "_studio_arguments" in sys.modules):
        guarded("_studio_arguments", _unparsed)


def tell_imports() -> None:
    import _studio_imports  # type: ignore[import-not-found]

    _studio_imports.tell()


def _unparsed() -> None:
    import _studio_arguments  # type: ignore[import-not-found]

    _studio_arguments.unparsed()


def working() -> bool:
    """Whether hooks log in this process: not in a forked child."""
    return _logger == os.getpid()


def _leave_no_trace(folder: str) -> None:
    entries = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    kept = [entry for entry in entries if entry and os.path.abspath(entry) != folder]
    if kept:
        os.environ["PYTHONPATH"] = os.pathsep.join(kept)
    else:
        os.environ.pop("PYTHONPATH", None)


def _is_logger() -> bool:
    """Whether this process is the one that logs for the run; the first to ask becomes it, for its children too."""
    mine = "{} {}".format(os.getpid(), os.environ.get("STUDIOML_SPOOL"))
    claimed = os.environ.get("STUDIOML_MAIN", "")
    rank = next((os.environ[name] for name in RANKS if name in os.environ), None)
    if claimed.partition(" ")[2] != mine.partition(" ")[2]:
        if _program() in LAUNCHERS:
            return False  # what it starts is the script
        os.environ["STUDIOML_MAIN"] = mine
        return rank in (None, "0")
    return claimed == mine or rank == "0"


def _program() -> str:
    """The file name or dotted module that this interpreter executes, as far as it can be seen this early."""
    line: list[str] = list(getattr(sys, "orig_argv", ()))
    if not line:
        try:
            with open("/proc/self/cmdline", "rb") as file:
                line = [os.fsdecode(word) for word in file.read().split(b"\0")]
        except OSError:
            return ""
    words = iter(line[1:])
    for word in words:
        if word == "-m":
            return next(words, "")
        if word in ("-W", "-X"):
            next(words, "")
        elif word == "-c" or not word.startswith("-"):
            return os.path.basename(word)
    return ""


class Finder:
    """First in `sys.meta_path` until every hook has been called."""

    def __init__(self, table: dict[str, tuple[str, ...]]) -> None:
        self._table = table
        self._waiting = set(table)
        self._busy: set[str] = set()

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        """The spec that the other finders give, its loader wrapped, for the modules waited for; None for others."""
        if name not in self._table or name in self._busy or not working():
            return None
        self._busy.add(name)
        try:
            for finder in list(sys.meta_path):
                find = None if finder is self else getattr(finder, "find_spec", None)
                spec = find(name, path, target) if find is not None else None
                if spec is not None:
                    if spec.loader is not None and hasattr(spec.loader, "exec_module"):
                        spec.loader = Loader(spec.loader, self)
                    return spec
        finally:
            self._busy.discard(name)
        return None

    def call(self, module: ModuleType) -> None:
        """Calls the hook of a module that has just been executed."""
        name = module.__name__
        for injected in self._table.get(name, ()):
            guarded(injected, _hook_of, injected, module)
        self._waiting.discard(name)
        if not self._waiting:
            self.step_aside()

    def step_aside(self) -> None:
        """No further module is hooked."""
        self._table = {}
        if self in sys.meta_path:
            sys.meta_path.remove(self)


class Loader:
    """Executes the module with its own loader, whose place it takes only until then."""

    def __init__(self, loader: Any, finder: Finder) -> None:
        self._loader, self._finder = loader, finder

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def create_module(self, spec: Any) -> Any:
        """The module as its own loader makes it."""
        return self._loader.create_module(spec)

    @_studio_frames.hidden
    def exec_module(self, module: ModuleType) -> None:
        """Runs the module's code, then its hook."""
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        module.__loader__ = self._loader
        try:
            self._loader.exec_module(module)
            self._finder.call(module)
        except BaseException as exc:
            exc.__traceback__ = _studio_frames.visible(exc.__traceback__)
            raise


def _hook_of(injected: str, module: ModuleType) -> None:
    __import__(injected)
    sys.modules[injected].hook(module)


def guarded(topic: str, function: Callable[..., Any], *args: Any) -> Any:
    """`function(*args)`; if it raises, that is reported once for the topic and the result is None.

    What signal handlers raise meanwhile comes out of it when the function is through.
    """
    return _studio_hold.call(_guarded, topic, function, *args)


def _guarded(topic: str, function: Callable[..., Any], *args: Any) -> Any:
    try:
        return function(*args)
    except Exception as exc:  # noqa: BLE001  (whatever a hook does wrong, the script goes on)
        try:
            import _studio_track

            library = topic.replace("_studio_", "")
            _studio_track.warning(topic, f"the {library} hook stepped aside: {type(exc).__name__}: {exc}")
        except Exception:  # noqa: BLE001, S110
            pass
        return None


class Former:
    """The exception hook that was there before."""

    hook: Any = sys.__excepthook__


def excepthook(kind: type[BaseException], value: BaseException, trace: TracebackType | None) -> None:
    """Notes the exception that ends the script, then shows it exactly as without studio."""
    try:
        # Not for Ctrl-C: an import below calls eval(), after which CPython forgets to die by SIGINT.
        if working() and not issubclass(kind, KeyboardInterrupt):
            import _studio_failure

            _studio_failure.note(value, trace)
        _studio_frames.clear(value)
        trace = _studio_frames.visible(trace)
    except BaseException:  # noqa: BLE001, S110  out of memory, most likely: the traceback matters more
        pass
    Former.hook(kind, value, trace)
