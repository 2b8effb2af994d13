"""PyTorch: the parameters of the optimizers that the script makes."""

from __future__ import annotations

import itertools

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any

    from . import _studio_frames, _studio_hooks, _studio_track
else:
    import _studio_frames
    import _studio_hooks
    import _studio_track

NAMED = 8  # optimizers; the second one on are numbered


def hook(module: ModuleType) -> None:
    """Wraps `Optimizer.__init__`, which every optimizer calls with its defaults."""
    optimizer = module.Optimizer
    original = optimizer.__init__
    if getattr(original, "_studio", False):
        return

    def __init__(original: Any, self: Any, params: Any, defaults: Any) -> None:
        original(self, params, defaults)
        if _studio_hooks.working():
            _studio_hooks.guarded("torch", _note, self)

    optimizer.__init__ = _studio_frames.around(original, __init__)


def _note(optimizer: Any) -> None:
    numbers = _studio_track.memory("torch.optimizers", itertools.count)
    number = next(numbers) + 1
    if number > NAMED:
        return
    found: dict[str, Any] = {"name": type(optimizer).__name__.lower()}
    for name, value in optimizer.defaults.items():
        if isinstance(value, (bool, int, float, str, tuple)):
            found[name] = value
    groups = optimizer.param_groups
    found["parameters"] = sum(int(tensor.numel()) for group in groups for tensor in group["params"])
    if len(groups) > 1:
        found["groups"] = len(groups)
    _studio_track.params({"torch": {"optimizer" + (str(number) if number > 1 else ""): found}})
