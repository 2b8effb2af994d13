"""Which training of the run a call of `fit` or `train` is: hides how those of one library are numbered and told apart.

The first training of a library names its parameters `xgboost.*` and its curves as the library does; those of the n-th
are `xgboost<n>.*` and `xgboost<n>/…`. A call that goes on with the same model goes on with its number and its curves;
its parameters, where they differ, are `xgboost.fit2.*`. docs/howto/autolog.md tells users.
"""

from __future__ import annotations

import sys
import weakref

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from . import _studio_end, _studio_track
else:
    import _studio_end
    import _studio_track

SETS = 20  # different sets of parameters of one library; a search over thousands is not a list of parameters
COUNTS = frozenset({"epochs", "initial_epoch", "num_boost_round"})  # of a call that goes on: its curves show them
CURVES = 1000  # trainings of one library whose curves are kept


class Training:
    """One model that a library trains, in one call or in several."""

    def __init__(self, library: Library, number: int) -> None:
        self.library, self.number = library, number
        self.name = library.name + (str(number) if number > 1 else "")
        self.fits = 0
        self.next = 0  # the step behind the last that is recorded
        self.next_batch = 0
        self._models: list[weakref.ref[Any]] = []

    def holds(self, model: Any) -> None:
        """Remembers a model as this training's: a call that goes on with it is no other training."""
        self._models = [*[known for known in self._models if known() is not None][-3:], weakref.ref(model)]

    def is_of(self, model: Any) -> bool:
        """Whether it is this training's model."""
        return any(known() is model for known in self._models)


class Fit:
    """One call of `fit` or `train`.

    Attributes:
        group: The name under which its parameters are, also where they are those of an earlier one.
    """

    def __init__(self, training: Training) -> None:
        self.training = training
        training.fits += 1
        self.group = training.name + (f".fit{training.fits}" if training.fits > 1 else "")
        self._offset: int | None = None

    def parameters(self, found: Mapping[str, Any]) -> None:
        """Records what the call was told, whole, or that it is the same as of an earlier one."""
        if self.training.fits > 1:
            found = {name: value for name, value in found.items() if name not in COUNTS}
        self.training.library.record(self.group, dict(found), own=self.training.fits == 1)

    def step(self, step: int) -> int:
        """The step of the training's curves for one of this call, which goes on behind an earlier call's last."""
        if self._offset is None:
            self._offset = max(0, self.training.next - step)
        return step + self._offset

    def log(self, values: Mapping[str, Any], step: int) -> int:
        """Records values of a step of this call; returns the step of the curves."""
        at = self.step(step)
        self.training.next = max(self.training.next, at + 1)
        self.log_at(values, at)
        return at

    def log_at(self, values: Mapping[str, Any], at: int, *, sampled: bool = False) -> None:
        """Records values at a step of the curves; `sampled` ones have steps by chance."""
        number, library = self.training.number, self.training.library
        if number > CURVES:
            library.leave_out_curves(number)
        elif values:
            prefix = self.training.name + "/" if number > 1 else ""
            record = _studio_track.log_sampled if sampled else _studio_track.log
            record({prefix + name: value for name, value in values.items()}, step=at)


class Library:
    """The trainings of one library in one run."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._count = 0
        self._trainings: list[Training] = []
        self._sets: list[tuple[str, dict[str, Any]]] = []
        self._fits: dict[str, int] = {}
        self._left_out: dict[str, dict[str, Any]] = {}
        self._lost = 0  # sets of parameters
        self._last = 0  # the newest training without curves

    def begin(self, model: Any = None) -> Fit:
        """A call begins; one that goes on with `model`, if it is that of an earlier training."""
        _reread_arguments()
        with _studio_track.first():
            for known in reversed(self._trainings):
                if model is not None and known.is_of(model):
                    return Fit(known)
            self._count += 1
            training = Training(self, self._count)
            self._trainings = [*self._trainings, training][-CURVES:]
        return Fit(training)

    def record(self, group: str, found: dict[str, Any], *, own: bool = True) -> None:
        """Records a call's parameters.

        Args:
            group: What their names begin with.
            found: All of them.
            own: Whether it is said that they are another group's; a call that goes on with a model need not.
        """
        with _studio_track.first():
            for name, known in self._sets:
                if _is_same(known if own else {n: v for n, v in known.items() if n not in COUNTS}, found):
                    if own and name != group and self._count <= SETS:
                        _studio_track.params({group: {"same_as": name}})
                    return
            if len(self._sets) >= SETS:
                self._leave_out(group, found)
                return
            self._sets.append((group, found))
        if found:
            _studio_track.params({group: found})

    def shared(self, found: dict[str, Any]) -> str:
        """Records the parameters of a training without curves; returns their group, which equal ones share."""
        _reread_arguments()
        with _studio_track.first():
            group = next((name for name, known in self._sets if _is_same(known, found)), "")
            if not group:
                self._count += 1
                group = self.name + (str(self._count) if self._count > 1 else "")
                self.record(group, found)
            self._fits[group] = self._fits.get(group, 0) + 1
            if self._fits[group] == 2:
                _studio_end.at_end(self.name + " fits", self._tell_fits)
        return group

    def amend(self, group: str, part: str, name: str, value: Any) -> None:
        """Adds what was not known when the parameters were recorded."""
        for known, found in self._sets:
            if known == group and name not in found.setdefault(part, {}):
                found[part][name] = value
                _studio_track.params({group: {part: {name: value}}})

    def leave_out_curves(self, number: int) -> None:
        """Curves of this training are not kept; the end of the run says how many."""
        if number > self._last:
            self._last = number
            _studio_end.at_end(self.name + " curves", self._tell_curves)

    def _leave_out(self, group: str, found: dict[str, Any]) -> None:
        self._lost += 1
        self._left_out = {group: found}
        _studio_end.at_end(self.name + " parameters", self._tell_left_out)

    def _tell_fits(self) -> None:
        _studio_track.params({group: {"fits": count} for group, count in self._fits.items() if count > 1})

    def _tell_left_out(self) -> None:
        """The newest ones belong to the model that is most likely used."""
        _studio_track.params(self._left_out)
        if self._lost > 1:
            others = f"{self._lost - 1} further sets of {self.name} parameters are not recorded"
            text = (
                f"{others}: only the first {SETS} and the newest are; a studio.start() around each training keeps all"
            )
            _studio_track.warning(self.name + ".parameters", text)

    def _tell_curves(self) -> None:
        text = f"the curves of {self._last - CURVES} {self.name} trainings are not recorded: only of the first {CURVES}"
        _studio_track.warning(self.name + ".curves", text + "; a studio.start() around each training keeps all")


def _reread_arguments() -> None:
    """What the script trains with are its parameters as they are now."""
    if "_studio_arguments" in sys.modules and not _studio_track.memory("arguments.reread", list):
        _studio_track.memory("arguments.reread", list).append(True)
        sys.modules["_studio_arguments"].reread()


def of(name: str) -> Library:
    """The library of this name, in the run that this call belongs to."""
    found: Library = _studio_track.memory("trainings." + name, lambda: Library(name))
    return found


def _is_same(known: dict[str, Any], found: dict[str, Any]) -> bool:
    """Whether two sets are equal; a model that is not built yet may have any number of weights."""
    mine, others = known.get("model"), found.get("model")
    if not isinstance(mine, dict) or not isinstance(others, dict) or ("parameters" in mine) == ("parameters" in others):
        return bool(_spelled(known) == _spelled(found))
    return _is_same({**known, "model": {**mine, "parameters": 0}}, {**found, "model": {**others, "parameters": 0}})


def _spelled(value: Any) -> Any:
    """A form to compare by: 1 is 1.0 and NaN is NaN, but 1 is not True."""
    if isinstance(value, dict):
        return {name: _spelled(inner) for name, inner in value.items()}
    if isinstance(value, (int, float)) and not isinstance(value, bool) and value == value:
        return value
    return _studio_track.load("_studio_text").spelled(value, 1 << 16)
