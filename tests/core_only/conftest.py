"""An interpreter whose environment holds the core alone: no framework, no test tools."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

MADE_BY_MAKE = Path(__file__).resolve().parents[2] / ".venv-core" / "bin" / "python"


@pytest.fixture
def core_python() -> str:
    """`make test` makes the environment and names it, and then there is no excuse for its absence."""
    named = os.environ.get("STUDIO_CORE_PYTHON")
    if named:
        assert Path(named).exists(), f"STUDIO_CORE_PYTHON names {named}, which does not exist"
        return named
    if not MADE_BY_MAKE.exists():
        pytest.skip("no environment with the core alone: make core")
    return str(MADE_BY_MAKE)
