"""Model, optimizer and step in one file that is whole or not there, read without running anything it holds."""

from __future__ import annotations

import logging
import os
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ModelLoadError
from ..extras import need

if TYPE_CHECKING:
    from torch.nn import Module
    from torch.optim import Optimizer

FILE = "checkpoint"
log = logging.getLogger(__name__)


class Saver:
    """Saves and restores a model and its optimizer.

    Args:
        model: A `torch.nn.Module`.
        optimizer: Its optimizer, or None to keep the model alone.
    """

    def __init__(self, model: Module, optimizer: Optimizer | None = None) -> None:
        self._model = model
        self._optimizer = optimizer

    def save(self, model_dir: str | os.PathLike[str], step: int) -> Path:
        """Writes `checkpoint` in a folder, in place of the one before; returns its path."""
        return save_checkpoint(self._model, self._optimizer, step, model_dir)

    def restore(self, model_dir: str | os.PathLike[str], map_to_cpu: bool = False) -> int:
        """Reads `checkpoint` from a folder; returns its step, 0 if there is none. See `load_checkpoint`."""
        return load_checkpoint(self._model, self._optimizer, model_dir, map_to_cpu)


def save_checkpoint(
    model: Module,
    optimizer: Optimizer | None,
    step: int,
    model_dir: str | os.PathLike[str],
    ignore: Sequence[str] = (),
) -> Path:
    """Writes `checkpoint` in a folder: beside its place, synced, then renamed, so that none is ever half written.

    Args:
        model: The model whose `state_dict()` is kept.
        optimizer: Likewise, or None.
        step: What `load_checkpoint` will return.
        model_dir: The folder; made if it is not there.
        ignore: Beginnings of names in the model's state that are left out.
    """
    torch = need("torch", extra="torch")
    state: dict[str, Any] = {
        "model": {k: v for k, v in model.state_dict().items() if not k.startswith(tuple(ignore))},
        "step": int(step),
    }
    if optimizer is not None:
        state["optimizer"] = optimizer.state_dict()
    folder = Path(model_dir)
    folder.mkdir(parents=True, exist_ok=True)
    fd, part = tempfile.mkstemp(prefix=f".{FILE}-", suffix=".part", dir=folder)
    try:
        with os.fdopen(fd, "wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, folder / FILE)
    except BaseException:
        os.unlink(part)
        raise
    return folder / FILE


def _why(exc: Exception) -> str:
    """PyTorch's own words advise to load it all the same, in colours; what was not understood stands further down."""
    said = re.sub(r"\x1b\[[0-9;]*m", "", str(exc))
    refused = re.search(r"[Uu]nsupported (?:global|GLOBAL|class|type)[: ]+(?:GLOBAL )?([\w.]+)", said)
    if refused:
        return f"it holds {refused[1]}, more than tensors and plain values, and loading that could run code"
    if "Weights only load failed" in said or not isinstance(exc, RuntimeError):
        return "it is damaged, or was not saved by Saver"
    return said.partition("\n")[0] or type(exc).__name__


def load_checkpoint(
    model: Module, optimizer: Optimizer | None, model_dir: str | os.PathLike[str], map_to_cpu: bool = False
) -> int:
    """Restores model and optimizer from `checkpoint` in a folder and returns its step; 0 if there is none.

    Parameters that the file does not have stay as they are. Only tensors and plain values are read from the file
    (`weights_only`): it cannot run code.

    Args:
        model: Changed in place.
        optimizer: Changed in place, or None.
        model_dir: The folder.
        map_to_cpu: Whether tensors that were saved on a GPU come to the CPU.

    Raises:
        ModelLoadError: the file is damaged, holds more than tensors and plain values, or its device is missing.
    """
    torch = need("torch", extra="torch")
    path = Path(model_dir) / FILE
    if not path.exists():
        return 0
    try:
        found = torch.load(path, map_location="cpu" if map_to_cpu else None, weights_only=True)
        state = {**model.state_dict(), **found["model"]}
    except Exception as exc:
        raise ModelLoadError(
            f"{path} cannot be loaded: {_why(exc)}",
            hint="if it was saved on a GPU that is not here: restore(…, map_to_cpu=True)",
        ) from exc
    kept = [name for name in state if name not in found["model"]]
    if kept:
        log.warning("%s has no %s: left as they are", path, ", ".join(kept))
    model.load_state_dict(state)
    if optimizer is not None:
        if "optimizer" in found:
            optimizer.load_state_dict(found["optimizer"])
        else:
            log.warning("%s has no optimizer: it starts anew", path)
    return int(found.get("step", 0))
