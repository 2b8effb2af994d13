"""What a copy of a client has: the arguments that it was made with."""

from __future__ import annotations

from typing import Any

from .asking import Asking


class Copied:
    """For `pickle` and `copy`: connections, locks and event loops belong to one process, settings to any."""

    _given: dict[str, Any]
    _asking: Asking
    form: str

    def __getstate__(self) -> dict[str, Any]:
        return {"given": self._given, "form": self.form, "closed": self._asking.pool.closed}

    def __setstate__(self, state: dict[str, Any]) -> None:
        type(self).__init__(self, **state["given"])
        self.form = state["form"]
        self._asking.pool.closed = state["closed"]
