"""PyTorch: the parameters of the optimizers that the script makes, and networks that they trained and nobody saved."""

from __future__ import annotations

import itertools
import sys
import time
import weakref

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType
    from typing import Any

    from . import (
        _studio_end,
        _studio_frames,
        _studio_hooks,
        _studio_modeldir,
        _studio_models,
        _studio_saves,
        _studio_track,
        _studio_variables,
    )
else:
    import _studio_end
    import _studio_frames
    import _studio_hooks
    import _studio_modeldir
    import _studio_models
    import _studio_saves
    import _studio_track
    import _studio_variables

NAMED = 8  # optimizers; the second one on are numbered
FRAMES = 20  # of the script that are searched for the network that an optimizer trains
TRAININGS = 100  # of one run that are remembered, the newest
DEPTH = 3  # of dictionaries and lists that the script saves

WITHIN = 100  # things of one list or dictionary of the script
SLACK_S = 0.05  # a file's time may be that much behind the clock

HINT = (
    "save it in the script: torch.save(net.state_dict(), 'net.pt') for a wrapper that builds the network "
    "(docs/howto/wrappers.md), or torch.onnx.export(…, fs_tracker.get_model_directory() + '/net.onnx') with "
    "`from studio import fs_tracker`, which is served as it is"
)


class Training:
    """What one optimizer does to one network.

    Attributes:
        optimizer, network, tensor: Give the optimizer, the network and its first tensor while they live.
        place: The run.
        kind: The network's class; that of the optimizer if it trains tensors that are in no network.
        shapes: Of the tensors that it trains.
        first, last: When it has stepped, 0 as long as it has not.
        kept: When the script has saved the network since, else 0.
        lost: As the note names it.
    """

    def __init__(self, optimizer: Any) -> None:
        tensors = _trained(optimizer)
        found = _studio_hooks.guarded("torch network", _network, tensors)
        self.optimizer: Callable[[], Any] = weakref.ref(optimizer)
        self.network: Callable[[], Any] = _nothing if found is None else weakref.ref(found)
        self.tensor: Callable[[], Any] = weakref.ref(tensors[0]) if tensors else _nothing
        self.place = _studio_track.place()
        self.kind = type(optimizer if found is None else found).__name__
        self.shapes = [tuple(tensor.shape) for tensor in tensors]
        self.made = time.time()
        self.first = self.last = 0.0
        self.kept = 0.0
        self.lost: Any = None

    def in_turns_with(self, other: Training) -> bool:
        """Whether neither ended before the other began, as with the two networks of a GAN."""
        return self.first <= other.last and other.first <= self.last

    def look(self) -> None:
        """Where no step is heard of: gradients and a state tell that there were some."""
        optimizer = self.optimizer()
        if self.last or optimizer is None or _is_heard(optimizer):
            return
        if optimizer.state or any(tensor.grad is not None for tensor in _trained(optimizer)):
            self.first = self.last = self.made


_of: dict[int, Training] = {}


def _nothing() -> Any:
    return None


def _trainings() -> list[Training]:
    found: list[Training] = _studio_track.memory("torch.trainings", list)
    return found


def hook(module: ModuleType) -> None:
    """Wraps `Optimizer.__init__`, which every optimizer calls with its defaults, and hears of every step."""
    optimizer = module.Optimizer
    original = optimizer.__init__
    if getattr(original, "_studio", False):
        return

    def __init__(original: Any, self: Any, params: Any, defaults: Any) -> None:
        original(self, params, defaults)
        if _studio_hooks.working():
            _studio_hooks.guarded("torch", _note, self)
            _studio_hooks.guarded("torch", _begin, self)

    optimizer.__init__ = _studio_frames.around(original, __init__)
    register = getattr(module, "register_optimizer_step_post_hook", None)  # from PyTorch 2.0 on
    if register is not None:
        register(_studio_frames.hidden(_stepped))


def _stepped(optimizer: Any, args: Any, kwargs: Any) -> None:
    """After each step, of which there may be thousands a second; a compiler that looks at it sees nothing."""
    if sys.modules["torch"].compiler.is_compiling() or not _studio_hooks.working():
        return
    training = _of.get(id(optimizer))
    if training is None or training.optimizer() is not optimizer or training.place is not _studio_track.place():
        training = _studio_hooks.guarded("torch", _begin, optimizer)
    if training is not None:
        training.last = time.time()
        if not training.first:
            training.first = training.last
            _studio_hooks.guarded("torch", _first_step, training)


def _begin(optimizer: Any) -> Training | None:
    """A training of this run; none where an estimator that is being fitted, and kept whole, has it inside."""
    sklearn: Any = sys.modules.get("_studio_sklearn")
    _of.pop(id(optimizer), None)
    if sklearn is not None and sklearn.fitting():
        return None
    import _studio_keep  # type: ignore[import-not-found]  # it tells at the end what was lost

    _studio_end.at_end("models", _studio_keep.finish)
    training = _of[id(optimizer)] = Training(optimizer)
    known = _trainings()
    known.append(training)
    known[:] = sorted(known, key=lambda one: one.last or one.made)[-TRAININGS:]
    weakref.finalize(optimizer, _of.pop, id(optimizer), None).atexit = False
    return training


def _first_step(training: Training) -> None:
    """A script that is killed from here on leaves a network behind that nobody has saved; said of one at a time."""
    if _studio_models.newest_lost("torch") <= max([model.trained for model in _studio_models.kept()], default=0.0):
        _lose(training)


def _is_heard(optimizer: Any) -> bool:
    """Whether the class calls hooks after a step: not before PyTorch 2.0, nor where its compiler has put that off."""
    step = getattr(type(optimizer), "step", None)
    while step is not None:
        if getattr(step, "__name__", "") and getattr(getattr(step, "__code__", None), "co_name", "") == "wrapper":
            return hasattr(sys.modules.get("torch.optim.optimizer"), "register_optimizer_step_post_hook")
        step = getattr(step, "__wrapped__", None)
    return False


def _trained(optimizer: Any) -> list[Any]:
    return [tensor for group in optimizer.param_groups for tensor in group["params"]]


def _network(tensors: list[Any]) -> Any:
    """The least module that has all these tensors, of those in the variables of the functions that are running.

    If none has them all, the largest that has the first of them; None if there is none.
    """
    wanted = {id(tensor) for tensor in tensors}
    best, rank = None, (False, 0)
    for module in _modules():
        known = {id(tensor) for tensor in module.parameters()}
        if not tensors or id(tensors[0]) not in known:
            continue
        whole = wanted <= known
        found = (whole, -len(known) if whole else len(known))
        if best is None or found > rank:
            best, rank = module, found
    return best


def _modules() -> Iterator[Any]:
    """The modules in the variables of the functions that are running, in lists and dictionaries, and in `self`."""
    kind: Any = getattr(sys.modules.get("torch.nn"), "Module", None)
    frame: Any = _studio_frames.outside(sys._getframe(1))
    seen: set[int] = set()
    for _ in range(FRAMES if kind is not None else 0):
        for name, value in list(frame.f_locals.items()) if frame is not None else ():
            for one in [value, *_within(name, value)]:
                if issubclass(type(one), kind) and id(one) not in seen:
                    seen.add(id(one))
                    yield one
        frame = None if frame is None else frame.f_back


def _within(name: str, value: Any) -> list[Any]:
    if issubclass(type(value), (list, tuple)):
        return list(value)[:WITHIN]
    if issubclass(type(value), dict):
        return list(dict.values(value))[:WITHIN]
    if name == "self" or type(value).__module__ == "__main__":
        return list(getattr(value, "__dict__", {}).values())[:WITHIN]
    return []


def saved(thing: Any) -> bool:
    """The script has saved this to a file: networks in it are kept, and those that were trained in turns with them.

    Returns:
        Whether it holds one.
    """
    trainings = _trainings()
    for training in trainings:
        training.look()
    trainings = [training for training in trainings if training.first]
    shapes: dict[tuple[int, ...], int] = {}
    for tensor in _tensors(thing, DEPTH) if trainings else ():
        shapes[tuple(tensor.shape)] = shapes.get(tuple(tensor.shape), 0) + 1
    covered = [training for training in trainings if shapes and _covers(shapes, training.shapes)]
    for training in trainings:
        if any(one is training or one.in_turns_with(training) for one in covered):
            training.kept = time.time()
            if training.lost is not None:
                _studio_models.regained("torch", {training.lost.name})
    return bool(covered)


def _covers(shapes: dict[tuple[int, ...], int], wanted: list[tuple[int, ...]]) -> bool:
    return bool(wanted) and all(shapes.get(shape, 0) >= wanted.count(shape) for shape in set(wanted))


def _tensors(thing: Any, depth: int) -> Iterator[Any]:
    """The tensors of a module, of a dictionary with its weights, of what holds these; not the state of an optimizer."""
    torch: Any = sys.modules["torch"]
    if issubclass(type(thing), torch.nn.Module):
        yield from thing.parameters()
    elif issubclass(type(thing), torch.Tensor):
        yield thing
    elif depth and issubclass(type(thing), dict):
        for one in [] if "param_groups" in thing else list(thing.values()):
            yield from _tensors(one, depth - 1)
    elif depth and (issubclass(type(thing), (list, tuple)) or type(thing).__module__ == "__main__"):
        for one in _within("self", thing):
            yield from _tensors(one, depth - 1)


def finish() -> None:
    """At the end of a run: names the networks that were trained and that nobody has saved."""
    modeldir = _studio_modeldir.folder()
    if modeldir is None or not _trainings():
        return
    own, held = _studio_saves.newest_unknown(modeldir), _studio_variables.held()
    newest: dict[tuple[str, str], Training] = {}
    for training in sorted(_trainings(), key=lambda one: one.last):
        _studio_hooks.guarded("torch", training.look)
        kept = training.kept or training.first < own + SLACK_S
        if training.last and not kept:
            key = training.kind, _variable(training, held)
            training.lost = training.lost or (newest[key].lost if key in newest else None)
            newest[key] = training
    _studio_models.regained("torch", {one.lost.name for one in _trainings() if one.lost is not None})
    for (_, variable), training in list(newest.items())[-_studio_models.LOST :]:
        _lose(training, variable)


def _variable(training: Training, held: dict[int, str]) -> str:
    for thing in (training.network(), training.tensor()):
        if thing is not None and id(thing) in held:
            return _studio_variables.shown(held[id(thing)])
    return ""


def _lose(training: Training, variable: str = "") -> None:
    if training.lost is None:
        name = _studio_models.unique(training.kind)
        training.lost = _studio_models.Model(name, "torch", training.kind, "predictor")
    training.lost.trained = training.last
    what = f"the variable {variable}" if variable else "it"
    network = training.network()
    before = any(one.kept and network is not None and one.network() is network for one in _trainings())
    why = f"nothing saved {what} to a file that studio knows of" + " after its last training" * before
    _studio_models.lose(training.lost, f"{why}; {HINT}", quiet=True)


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
