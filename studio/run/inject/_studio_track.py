"""`studio.log`, `log_many`, `params`, `tags`, `note`: hides where a run's spool is; no-ops where there is no run."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    from . import _studio_metrics

EVENT_BYTES = 1 << 20

_spool: str | None = None  # set by attach(); otherwise STUDIOML_SPOOL
_looked = _attached = False
_writer: _studio_metrics.Writer | None = None
_warned: set[str] = set()
_sampled: set[str] = set()  # names that the run knows as sampled by the clock


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
    fresh = [name for name in values if name not in _sampled]
    if fresh and event("sampled", names=fresh):
        _sampled.update(fresh)
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
    flat: dict[str, Any] = {}
    for source in (mapping or {}), values:
        _flatten("", source, flat)
    if flat:
        event("params", values=flat)


def tags(*names: str | Iterable[str]) -> None:
    """Adds tags to the experiment: each a text, or a list of texts; empty ones are none."""
    each = [[name] if isinstance(name, str) or not hasattr(name, "__iter__") else name for name in names]
    values = [text for inner in each for text in (_clean(str(name).strip()) for name in inner) if text]
    if values:
        event("tags", values=values)


def note(text: str) -> None:
    """Adds a line to the experiment's notes."""
    event("note", text=str(text))


def flush() -> None:
    """Writes what was logged so far to the disk."""
    if _writer is not None:
        _writer.flush()


def attach(spool: str) -> None:
    """Sends this process's points and events to the run whose spool folder this is (for `studio.start`)."""
    global _spool, _looked, _attached
    detach()
    _warned.clear()
    _sampled.clear()
    _spool, _looked, _attached = os.fspath(spool), True, True


def detach() -> None:
    """Ends `attach`: all is written, later calls go where they went before it."""
    global _spool, _looked, _attached, _writer
    writer, _writer = _writer, None
    if writer is not None:
        writer.close()
    _spool, _looked, _attached = None, False, False


def spool() -> str | None:
    """The spool folder of the run that this process belongs to, or None outside a run."""
    global _spool, _looked
    if not _looked:
        _looked = True
        found = os.environ.get("STUDIOML_SPOOL")
        if found and os.path.isdir(found):
            _spool = found
    return _spool


def event(kind: str, **fields: Any) -> bool:
    """Appends one line to the run's events, and whether it did; nothing outside a run, never an error."""
    folder = spool()
    if folder is None:
        return False
    try:
        import json

        if "text" in fields:
            fields["text"] = _clean(str(fields["text"]))
        line = json.dumps({"type": kind, **fields}, ensure_ascii=True, default=str) + "\n"
        if len(line) > EVENT_BYTES:
            line = json.dumps({"type": "warning", "text": f"an event of type {kind} was too large to keep"}) + "\n"
        fd = os.open(os.path.join(folder, "events"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            os.write(fd, line.encode())
        finally:
            os.close(fd)
        return True
    except Exception as exc:  # noqa: BLE001  a full disk, a value without str(): the script must not notice
        _complain("events", f"an event of type {kind} could not be kept: {exc}")
        return False


def warning(topic: str, text: str) -> None:
    """Says something about the hooks, once for each topic."""
    if topic not in _warned:
        _warned.add(topic)
        event("warning", text=text)


def _clean(text: str) -> str:
    from _studio_secrets import clean  # type: ignore[import-not-found]

    return str(clean(text))


def _complain(topic: str, text: str) -> None:
    if topic not in _warned and sys.stderr is not None:
        _warned.add(topic)
        try:
            sys.stderr.write(f"studio: {text}\n")
        except Exception:  # noqa: BLE001, S110
            pass


def _flatten(prefix: str, value: Any, out: dict[str, Any]) -> None:
    from _studio_secrets import shown

    for name, inner in value.items():
        path = f"{prefix}.{name}" if prefix else str(name)
        if hasattr(inner, "items") and hasattr(inner, "keys"):
            _flatten(path, inner, out)
        else:
            out[path] = shown(path, scalar(inner))


def scalar(value: Any) -> Any:
    """`value` as a JSON scalar: itself where it is one, its number where it has one, else its str()."""
    if value is None or isinstance(value, (bool, str)):
        return value if value is None or type(value) in (bool, str) else str(value)
    if not isinstance(value, (int, float)) and getattr(value, "ndim", None) == 0 and hasattr(value, "item"):
        try:
            value = value.item()
        except Exception:  # noqa: BLE001
            return str(value)
    if isinstance(value, int):
        return value if isinstance(value, bool) else int(value)
    if isinstance(value, float):
        if value - value == 0:
            return float(value)
        return "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"  # as records spell them
    text = str(value)
    return text if len(text) <= 4096 else text[:4096] + "…"


def _open() -> _studio_metrics.Writer | None:
    global _writer
    folder = spool()
    if folder is None:
        return None
    import _studio_writers  # type: ignore[import-not-found]

    if not hasattr(_studio_writers, "OPENING"):
        return None  # a signal handler logs while the line above is being executed
    with _studio_writers.OPENING:
        if _writer is None:
            _writer = _studio_writers.open_writer(os.path.join(folder, "metrics"), _drops, ranks=not _attached)
    return _writer


def _drops(text: str) -> None:
    if not event("warning", text=text):  # else whoever reads the events says it
        _complain("metrics", text)


def _forked() -> None:
    global _writer
    _writer = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)

if "_studio_siblings" not in sys.modules:  # neither sitecustomize nor studio came first
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
    try:
        import _studio_siblings  # type: ignore[import-not-found]

        _studio_siblings.install()
    finally:
        del sys.path[0]
