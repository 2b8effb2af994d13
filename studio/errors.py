"""The whole error tree: what failed, what to type next, which exit code and HTTP status it means.

StudioError
├ ConfigError · MissingExtra                                                   exit 3   http 500
├ NotFound (Experiment·, Artifact·, Model·, CheckpointNotFound)                exit 4   http 404
├ StoreError · Conflict                                                        exit 5   http 503 · 409
├ CloudError · NoCapacity                                                      exit 6   http 502
├ RunFailed                                                                    exit: the child's own code
└ ServeError                                                                   exit 8   http 500
    BadInput 400 (RefusedPickle 400) · Unauthorized 401 · Forbidden 403 · TooLarge 413
    UnsupportedType 415 · ContractViolation 422 · FilteredOut 422 · Overloaded 503 · Timeout 504 · ModelLoadError 500
    NotAModel 500 (a ModelLoadError)

Exit code 2 is wrong usage (click's), 1 a bug in studio, 130 Ctrl-C.
"""

from __future__ import annotations

from collections.abc import Iterable


class StudioError(Exception):
    """Base of every error that studio raises on purpose.

    Args:
        message: One line: what failed, on which object, where.
        hint: What to type or change next; may be empty.
    """

    exit_code: int = 1
    http_status: int = 500

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    @property
    def kind(self) -> str:
        """The class's name, as error bodies carry it."""
        return type(self).__name__

    def as_json(self) -> dict[str, str]:
        """The error body of `contracts.md`, without a request id."""
        return {"error": self.message, "kind": self.kind, "hint": self.hint}


class ConfigError(StudioError):
    """A setting, an option's value or a name that cannot be used."""

    exit_code = 3


class MissingExtra(StudioError):
    """A library that is an optional extra is not installed."""

    exit_code = 3


class NotFound(StudioError):
    """Something was asked for by a name that nothing has."""

    exit_code = 4
    http_status = 404


class ExperimentNotFound(NotFound):
    """No experiment has this key."""


class ArtifactNotFound(NotFound):
    """The experiment exists, this artifact of it does not."""


class ModelNotFound(NotFound):
    """No model has this name or version."""


class CheckpointNotFound(NotFound):
    """A folder that should hold a checkpoint holds none."""


class StoreError(StudioError):
    """The store could not be read or written."""

    exit_code = 5
    http_status = 503


class Conflict(StudioError):
    """Somebody else created or changed the object first."""

    exit_code = 5
    http_status = 409


class CloudError(StudioError):
    """A cloud provider refused or failed."""

    exit_code = 6
    http_status = 502


class NoCapacity(CloudError):
    """No provider offer could be had for this need."""


class RunFailed(StudioError):
    """A tracked command ended badly; carries the child's own exit code."""

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "", exit_code: int = 1) -> None:
        super().__init__(message, hint=hint)
        self.exit_code = exit_code


class ServeError(StudioError):
    """A server could not start or a request could not be answered."""

    exit_code = 8


class BadInput(ServeError):
    """The request's body cannot be read as what it says it is."""

    http_status = 400


class RefusedPickle(BadInput):
    """A pickle that holds anything but numeric arrays and plain containers.

    Args:
        code: A stable machine-readable reason, such as `global-refused`.
        detail: What was refused, or where.
    """

    def __init__(self, code: str, detail: str = "") -> None:
        super().__init__(
            f"pickle refused: {code}" + (f": {detail}" if detail else ""),
            hint="send numeric arrays and plain dictionaries only, or use application/json",
        )
        self.code = code
        self.detail = detail


class Unauthorized(ServeError):
    """No token, or a wrong one."""

    http_status = 401


class Forbidden(ServeError):
    """This host, origin or address may not ask."""

    http_status = 403


class TooLarge(ServeError):
    """The body, or what it unpacks to, is over the limit."""

    http_status = 413


class UnsupportedType(ServeError):
    """A Content-Type that is not one of the wire's."""

    http_status = 415


class ContractViolation(ServeError):
    """Inputs that decode but do not fit the model's contract.

    Args:
        field: The input that does not fit, or "" if none can be named.
    """

    http_status = 422

    def __init__(self, message: str, *, hint: str = "", field: str = "") -> None:
        super().__init__(message, hint=hint)
        self.field = field


class FilteredOut(ServeError):
    """A filter of a pipe left this value out, so it has no answer."""

    http_status = 422


class Overloaded(ServeError):
    """More requests in flight than allowed, or the server is draining.

    Args:
        retry_after_s: Seconds for the `Retry-After` header.
    """

    http_status = 503

    def __init__(self, message: str, *, hint: str = "", retry_after_s: int = 1) -> None:
        super().__init__(message, hint=hint)
        self.retry_after_s = retry_after_s


class Timeout(ServeError):
    """The answer did not come within the limit."""

    http_status = 504


class ModelLoadError(ServeError):
    """A model's file or wrapper exists but cannot be loaded."""


class NotAModel(ModelLoadError):
    """A file was loaded and holds something else than a model, such as a scaler or a dictionary."""


def nearest(word: str, known: Iterable[str]) -> str:
    """A hint that names the known word nearest to `word`, or "" if none is near."""
    import difflib

    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"did you mean {near[0]!r}?" if near else ""
