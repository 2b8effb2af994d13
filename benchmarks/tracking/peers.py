"""Who takes part, and what their defaults promise about the disk."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Peer:
    """One tracker.

    Args:
        name: As the tables show it.
        adapter: `adapters/with_<adapter>.py`.
        packages: What pip installs; none = this checkout.
        environment: Whose virtual environment it uses.
        module: What a script imports.
        help: The words of its command line, the first a program of its environment or `python`.
        lacks: What it has no call for.
        variables: Environment of its processes; `{folder}` is where it may write.
        durability: What its defaults do with a point that was logged.
    """

    name: str
    adapter: str
    packages: tuple[str, ...]
    environment: str
    module: str
    help: tuple[str, ...]
    durability: str
    lacks: frozenset[str] = frozenset()
    variables: dict[str, str] = field(default_factory=dict)


PEERS = (
    Peer(
        "studio", "studio", (), "studio", "studio", ("studio", "--help"),
        "written to a file every 0.25 s, synced every 5 s, by a thread",
        variables={"STUDIOML_HOME": "{folder}/home"},
    ),
    Peer(
        "MLflow", "mlflow", ("mlflow",), "mlflow", "mlflow", ("mlflow", "--help"),
        "SQLite (its default), committed and synced within each call",
    ),
    Peer(
        "MLflow files", "mlflow", ("mlflow",), "mlflow", "", (),
        "its former default: a file opened, appended to, closed within each call, never synced",
        lacks=frozenset({"import", "help", "search"}),
        variables={"MLFLOW_TRACKING_URI": "{folder}/mlruns", "MLFLOW_ALLOW_FILE_STORE": "true"},
    ),
    Peer(
        "trackio", "trackio", ("trackio",), "trackio", "trackio", ("trackio", "--help"),
        "queued; a thread commits to SQLite (WAL, synchronous = NORMAL) every 0.5 s",
        lacks=frozenset({"many"}),
        variables={"TRACKIO_DIR": "{folder}/trackio", "HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1"},
    ),
    Peer(
        "Aim", "aim", ("aim",), "aim", "aim", ("aim", "--help"),
        "put into RocksDB, whose log is written but not synced, within each call",
        lacks=frozenset({"many"}),
    ),
    Peer(
        "TensorBoard", "tensorboard", ("tensorboard",), "tensorboard", "tensorboard.summary", ("tensorboard", "--help"),
        "queued; a thread opens the file, appends, closes it for each event (without TensorFlow), never synced",
        lacks=frozenset({"many", "search"}),
    ),
    Peer(
        "Sacred", "sacred", ("sacred",), "sacred", "sacred", ("python", "sacred_script.py", "--help"),
        "kept in memory; a thread writes all of it to a file anew every 10 s, never synced",
        lacks=frozenset({"many", "search"}),
    ),
)  # fmt: skip

QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true", "GIT_PYTHON_REFRESH": "quiet", "NO_COLOR": "1"}
