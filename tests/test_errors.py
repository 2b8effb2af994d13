"""Every class of the error tree: message, hint, exit code, HTTP status, and the form of its body."""

from __future__ import annotations

import inspect

import pytest

from studio import errors
from studio.errors import StudioError, nearest

TABLE = {
    "StudioError": (1, 500),
    "ConfigError": (3, 500),
    "MissingExtra": (3, 500),
    "NotFound": (4, 404),
    "ExperimentNotFound": (4, 404),
    "ArtifactNotFound": (4, 404),
    "ModelNotFound": (4, 404),
    "CheckpointNotFound": (4, 404),
    "StoreError": (5, 503),
    "Conflict": (5, 409),
    "CloudError": (6, 502),
    "NoCapacity": (6, 502),
    "FilteredOut": (8, 422),
    "RunFailed": (1, 500),
    "ServeError": (8, 500),
    "BadInput": (8, 400),
    "RefusedPickle": (8, 400),
    "Unauthorized": (8, 401),
    "Forbidden": (8, 403),
    "TooLarge": (8, 413),
    "UnsupportedType": (8, 415),
    "ContractViolation": (8, 422),
    "Overloaded": (8, 503),
    "Timeout": (8, 504),
    "ModelLoadError": (8, 500),
    "NotAModel": (8, 500),
}
CLASSES = {n: c for n, c in vars(errors).items() if inspect.isclass(c) and issubclass(c, StudioError)}


def test_the_table_names_every_class() -> None:
    assert set(CLASSES) == set(TABLE)
    tree = errors.__doc__ or ""
    for name in CLASSES:
        assert name in tree or name.removesuffix("NotFound") in tree, f"{name} is missing in the tree of the docstring"


@pytest.mark.parametrize("name", TABLE)
def test_each_class_carries_its_codes_message_and_hint(name: str) -> None:
    kind = CLASSES[name]
    assert (kind.exit_code, kind.http_status) == TABLE[name]
    if name == "RefusedPickle":
        error: StudioError = errors.RefusedPickle("global-refused", "os.system")
        assert error.message == "pickle refused: global-refused: os.system"
        assert error.hint
    else:
        error = kind("what failed", hint="what to type")
        assert (str(error), error.message, error.hint) == ("what failed", "what failed", "what to type")
        assert error.as_json() == {"error": "what failed", "kind": name, "hint": "what to type"}
    assert error.kind == name


def test_what_some_carry_besides() -> None:
    assert errors.RunFailed("x", exit_code=3).exit_code == 3
    assert errors.Overloaded("x", retry_after_s=7).retry_after_s == 7
    assert errors.ContractViolation("x", field="number").field == "number"


def test_a_missing_library_names_the_extra() -> None:
    from studio.extras import need

    with pytest.raises(errors.MissingExtra) as caught:
        need("no_such_library_of_ours", extra="keras")
    assert "pip install 'studio[keras]'" in caught.value.hint
    assert need("json", extra="keras").__name__ == "json"


def test_nearest() -> None:
    assert nearest("modeldr", ["modeldir", "tb"]) == "did you mean 'modeldir'?"
    assert nearest("xyz", ["modeldir", "tb"]) == ""
