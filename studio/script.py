"""What a script or a notebook asks of the configured store: `studio.start`, `artifact`, `experiments`, `sql`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from . import loading
from .errors import ArtifactNotFound
from .fs_tracker import get_artifact, get_artifacts

if TYPE_CHECKING:
    from .api import Studio
    from .run.inprocess import Run
    from .tracking.frames import Experiments
    from .tracking.tables import Table


def _studio(store: str | None = None, project: str | None = None) -> Studio:
    """The configured store; loaded here, because a thread's first `studio.artifact` needs none of it."""
    with loading():
        import logging

        from .api import open_studio

    return open_studio(store=store, project=project, notify=logging.getLogger("studio").warning)


def experiments(query: str = "", *, sort: str = "-added", limit: int | None = None) -> Experiments:
    """Experiments of the configured store that fit a query; a sequence with `to_pandas()`."""
    return _studio().experiments(query, sort=sort, limit=limit)


def sql(query: str, *, only: str = "", limit: int | None = None) -> Table:
    """The rows of a SELECT over the configured store; a table with `to_pandas()` and `to_records()`.

    Args:
        query: In DuckDB's dialect, over the tables that `SHOW TABLES` names.
        only: The experiments that the tables hold, in the query language of `experiments`; empty = all.
        limit: At most so many rows.

    Raises:
        ConfigError: it cannot be answered; the message shows the place.
        MissingExtra: duckdb is not installed.
    """
    with _studio().sql(query, only=only) as answer:
        return answer.table(limit=limit)


def artifact(name: str) -> Path:
    """The path of an artifact of this run, such as `modeldir`; what is written there is captured.

    Outside a run it is `../<name>`, as with `fs_tracker.get_artifact`; nothing is made there.

    Raises:
        ArtifactNotFound: this run has none of this name.
    """
    path = get_artifact(name)
    if path is None:
        raise ArtifactNotFound(
            f"this run has no artifact {name!r}", hint="it has: " + ", ".join(sorted(get_artifacts()))
        )
    return Path(path)


def start(
    project: str | None = None,
    *,
    key: str | None = None,
    tags: Iterable[str] = (),
    notes: str = "",
    store: str | None = None,
) -> Run:
    """Tracks the code that runs in a `with` block as an experiment of its own.

    Within a run — of `studio run`, of another `studio.start`, or of the process that started this one — it is a child
    of that run. Calls of this thread, and of threads that it starts within the block, go to it.

    Args:
        project: Project of the new experiment; default: that of the run around it, else the configured one.
        key: Its key; default: a fresh one.
        tags: Its tags.
        notes: Its note.
        store: A store's URL; default: that of the run around it, else the configured one.

    Returns:
        A context manager whose value has `key`, `log`, `params`, `artifact(name)` and `folder`.
    """
    with loading():  # all of it: a fork of another thread copies an import that is under way
        import contextvars  # noqa: F401
        import getpass  # noqa: F401
        import pwd  # noqa: F401
        import sqlite3  # noqa: F401

        from . import plugins  # noqa: F401
        from .run import recover  # noqa: F401
        from .run.inprocess import InProcessRun, surrounding
        from .stores import local  # noqa: F401
        from .tracking import artifacts, capturing, index, records  # noqa: F401

    parent = surrounding()
    if parent is not None:
        project = project or parent.project
    studio = _studio(store, project)
    studio.recover()
    return InProcessRun(
        tracking=studio.tracking, config=studio.config, key=key, tags=tags, notes=notes, notify=studio.notify,
        parent=parent.key if parent is not None else None,
    )  # fmt: skip
