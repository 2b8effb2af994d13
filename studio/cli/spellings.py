"""The original's hyphenated spellings: `studio-run …` is `studio run …`."""

from __future__ import annotations

import sys

from .main import main


def run() -> None:
    """`studio-run`."""
    main(["run", *sys.argv[1:]])


def runs() -> None:
    """`studio-runs`."""
    main(["runs", *sys.argv[1:]])


def serve() -> None:
    """`studio-serve`."""
    main(["serve", *sys.argv[1:]])
