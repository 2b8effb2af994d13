"""What is asked of one store: hides that its index is refreshed, and what died recovered, before an answer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import config as _config
from .config import Config
from .experiment import NAME, Experiment, Summary
from .tracking import Notify, Tracking

if TYPE_CHECKING:
    from .tracking.agree import Agreement
    from .tracking.cells import Difference
    from .tracking.frames import Experiments
    from .tracking.media import Media
    from .tracking.repetition import Repetition
    from .tracking.sql import Answer


_NAMED, _FIELDS, _WHY = 20, 3, 200
"""So many damaged records are named, each on a line, and so many fields of each, in so many characters."""


class Reader:
    """One store, as those see it who change nothing in it. `Studio` adds the rest.

    Args:
        config: The settings that were chosen.
        notify: Takes lines for the user.
    """

    def __init__(self, config: Config, *, notify: Notify) -> None:
        self.config = config
        self.notify = notify
        self.home = _config.home()
        self.tracking = Tracking(config["store"], self.home, config["lost_after"])
        self._recovered = False
        self._named: set[str] = set()

    def experiment(self, word: str, *, exact: bool = False) -> Experiment:
        """The experiment that a key, `last` or a unique prefix means; only a whole key if it must be `exact`.

        Raises:
            ExperimentNotFound: none does.
            ConfigError: it means several.
        """
        from .tracking.find import find_experiment

        self._refresh()
        return find_experiment(self.tracking, word, project=self._project(), owner=self.config["owner"], exact=exact)

    def experiments(
        self,
        query: str = "",
        *,
        project: str | None = None,
        owner: str | None = None,
        sort: str = "-added",
        limit: int | None = 50,
        offset: int = 0,
    ) -> Experiments:
        """Experiments that fit a query, sorted.

        Args:
            query: As in `metrics.val_acc.max > 0.9 and params.opt = "adam"`; empty = all.
            project: Only those of this project.
            owner: Only those of this user.
            sort: A field; `-` before it sorts downwards. One that no experiment has is a ConfigError; such a name in a
                query only makes `notify` say so, as a query may ask for what is not there.
            limit: At most so many; None = all.
            offset: So many are left out first.
        """
        from .tracking.frames import Experiments

        self._refresh()
        if query or sort != "-added":
            from .tracking.unheard import mentioned, refuse_order

            refuse_order(self.tracking.index, sort)
        found = self.tracking.index.search(query, project=project, owner=owner, sort=sort, limit=limit, offset=offset)
        if query:
            for line in mentioned(self.tracking.index, query):
                self.notify(line)
        return Experiments(found, self.tracking)

    def check_columns(self, words: Sequence[str]) -> None:
        """Tells of metrics and parameters that no experiment has.

        Raises:
            ConfigError: some have one of nearly the same name, which the hint names.
        """
        from .tracking.unheard import empty_columns

        for line in empty_columns(self.tracking.index, words):
            self.notify(line)

    def children(self, key: str) -> list[Experiment]:
        """What a run's script started as runs, in the order in which they began; not reruns or servings of the run."""
        from .tracking.find import children

        self._refresh()
        return children(self.tracking, key)

    def descendants(self, keys: Sequence[str]) -> list[Experiment]:
        """The children of these runs and the children of those, a run before its children; none of `keys`."""
        from .tracking.find import descendants

        self._refresh()
        return descendants(self.tracking, keys)

    @property
    def asked_project(self) -> str | None:
        """The project that a flag names, which alone narrows a listing; None if none does."""
        setting = self.config.settings["project"]
        return str(setting.value) if setting.origin == "--project" else None

    def sql(self, query: str, *, only: str = "", project: str | None = None, **limits: Any) -> Answer:
        """Answers a SELECT over experiments, params, metrics, curves, tags, artifacts and packages; close the answer.

        Args:
            query: In DuckDB's dialect.
            only: The experiments that the tables hold, as in `experiments`; empty = all.
            project: Only those of this project.
            limits: `timeout_s` and `memory_bytes`, see `tracking/sql.py`.
        """
        from .tracking.sql import ask

        find = lambda: self.experiments(only, project=project, limit=None)  # noqa: E731
        return ask(query, find, self.tracking, notify=self.notify, **limits)

    def projects(self) -> list[tuple[str, int]]:
        """(name, number of experiments) of every project."""
        self._refresh()
        return self.tracking.index.projects()

    def owners(self) -> list[tuple[str, int]]:
        """(name, number of experiments) of every owner."""
        self._refresh()
        return self.tracking.index.owners()

    def summary(self, experiment: Experiment) -> Mapping[str, Summary]:
        """Last, min, max of each metric."""
        return experiment.summary

    def output(self, key: str, *, follow: bool = False, start: int = 0) -> Iterator[bytes]:
        """The output's bytes from offset `start`; with `follow` until the experiment ends."""
        from .run.control import output

        return output(self.tracking, key, follow=follow, start=start, look=self.recover_one)

    def media(self, key: str) -> Media:
        """What `studio.log_image` and the like kept of an experiment, while it runs too."""
        from .tracking.media import Media

        return Media.from_store(self.tracking.store, self.tracking.records.get(key).key)

    def compare(self, keys: Sequence[str], *, tolerance: float = 1e-6) -> list[Difference]:
        """Everything in which experiments differ; values within the relative tolerance are equal."""
        from .tracking.compare import compare

        return compare([self._shown(key) for key in keys], self.tracking, tolerance=tolerance)

    def repetition(self, before: str, again: str) -> Repetition:
        """Which experiments of a rerun repeat which ones of the run before: itself, or a child, and all children."""
        from .tracking.repetition import repetition

        self._refresh()
        return repetition(self._shown(before), self._shown(again), self.tracking)

    def agreement(self, before: Experiment, again: Experiment, *, tolerance: float = 1e-6) -> Agreement:
        """Whether the metrics of one are those of the other, as far as they are deterministic."""
        from .tracking.agree import agreement

        return agreement(before, again, self.tracking, tolerance=tolerance)

    def code_diff(self, one: str, other: str) -> Iterator[str]:
        """The lines of a unified diff between the captured files of two experiments."""
        from .tracking.codediff import code_diff

        return code_diff(self.tracking.records.get(one), self.tracking.records.get(other), self.tracking)

    def export(
        self, target: Path, query: str = "", *, project: str | None = None, sort: str = "-added", curves: bool = False
    ) -> int:
        """Writes experiments (or their curves) to a .csv, .json or .parquet file; returns the number of rows."""
        from .tracking.export import export, format_of

        format_of(target)
        found = self.experiments(query, project=project, sort=sort, limit=None)
        return export(target, found, self.tracking, notify=self.notify, curves=curves)

    # ---- before an answer

    def recover(self, *, again: bool = False) -> None:
        """Closes what died on this machine since the last command, or `again` since; cheap when nothing did."""
        if (self._recovered and not again) or not (self.home / "open").is_dir():
            return
        self._recovered = True
        from .run.recover import recover

        recover(self.tracking, config=self.config, notify=self.notify)

    def recover_one(self, key: str) -> None:
        """Looks whether a run that is followed died meanwhile."""
        if (self.home / "open" / key).exists():
            self._recovered = False
            self.recover()

    def _shown(self, key: str) -> Experiment:
        """The experiment with the status that people see: `lost` if its heartbeat is too old."""
        self.tracking.index.sync()
        found = self.tracking.index.search(f'key = "{key}"', limit=1)
        return found[0] if found else self.tracking.records.get(key)

    def _refresh(self) -> None:
        self.recover()
        self.tracking.index.sync()
        if self.tracking.index.stale:
            self.notify(self.tracking.index.stale)
        self._name_broken()

    def damaged(self) -> dict[str, str]:
        """Keys of the experiments whose records cannot be read, and why; listings leave them out."""
        self._refresh()
        return {key: why for name, why in self.tracking.index.broken().items() if (key := _key(name))}

    def _name_broken(self) -> None:
        """Names each record once that cannot be read, or not wholly."""
        broken, faulty = self.tracking.index.broken(), self.tracking.index.faulty()
        lines = {}
        for name, why in broken.items():
            if key := _key(name):
                hint = f"studio runs delete {key} removes it"
                lines[name] = f"experiment {key}: its record is damaged and left out: {why}; {hint}"
            else:
                lines[name] = f"{name} in {self.tracking.store.url} is no experiment's record and left out: {why}"
        for key, fields in faulty.items():
            texts = [(why if why.startswith(place) else f"{place}: {why}")[:_WHY] for place, why in fields.items()]
            left = len(texts) - _FIELDS
            more = f" and {left} more field{'s' * (left > 1)}" if left > 0 else ""
            lines[key] = f"experiment {key}: fields of its record are ignored: {'; '.join(texts[:_FIELDS])}{more}"
        new = [name for name in lines if name not in self._named]
        for name in new[:_NAMED]:
            self.notify(lines[name])
        if len(new) > _NAMED:
            self.notify(f"{len(new) - _NAMED} more records are damaged, or have fields that are ignored")
        self._named.update(new)

    def _project(self) -> str | None:
        setting = self.config.settings["project"]
        return None if setting.origin == "default" else str(setting.value)


def _key(name: str) -> str:
    """The key of the experiment whose record has this name in the store; "" if no record is called so."""
    key = name.removeprefix("records/").removesuffix(".json")
    return key if name == f"records/{key}.json" and NAME.fullmatch(key) else ""
