"""What `ModelPipe.add` may be given, and the stages that come of it."""

from __future__ import annotations

import math
import operator
from dataclasses import dataclass, fields, replace

from ..errors import ConfigError
from .stage import Function, Spec


@dataclass(frozen=True, slots=True, kw_only=True)
class Keywords:
    """The keywords of `ModelPipe.add`; None = not given.

    Raises:
        ConfigError: one of them cannot be.
    """

    num_workers: int | None
    batch_size: int | None
    filterf: Function | None
    batcher: Function | None
    timeout: float | None
    max_delay: float | None

    def __post_init__(self) -> None:
        refuse_fractions(num_workers=self.num_workers, batch_size=self.batch_size)
        _refuse_negative(
            num_workers=self.num_workers, batch_size=self.batch_size, timeout=self.timeout, max_delay=self.max_delay
        )

    def extend(self, specs: tuple[Spec, ...], function: Function) -> tuple[Spec, ...]:
        """The stages with one more function: in the last one, or, with any keyword, in a new one."""
        last = specs[-1]
        if all(getattr(self, one.name) is None for one in fields(self)):
            return (*specs[:-1], replace(last, functions=(*last.functions, function)))
        spec = replace(
            last,
            functions=(function,),
            num_workers=self.num_workers or last.num_workers,
            batch_size=self.batch_size or last.batch_size,
            filterf=self.filterf or last.filterf,
            batcher=self.batcher or last.batcher,
            timeout=last.timeout if self.timeout is None else _limit(self.timeout),
            max_delay=last.max_delay if self.max_delay is None else self.max_delay,
            queued=True,
        )
        return (*specs, spec)


def refuse_fractions(**arguments: int | None) -> None:
    """Raises ConfigError for what is neither None nor a whole number."""
    for name, value in arguments.items():
        try:
            operator.index(0 if value is None else value)
        except TypeError:
            raise ConfigError(f"{name} must be a whole number, not {value!r}") from None


def _refuse_negative(**arguments: float | None) -> None:
    for name, value in arguments.items():
        if value is None:
            continue
        try:
            possible = bool(value >= 0)
        except (TypeError, ValueError):
            raise ConfigError(f"{name} must be a number, not {value!r}") from None
        if not possible:
            raise ConfigError(f"{name} must not be negative: {value!r}")


def _limit(timeout: float) -> float | None:
    return timeout if 0 < timeout < math.inf else None
