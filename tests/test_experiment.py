"""Records and their JSON form: the documented example, unknown fields, what JSON has no form for, wrong shapes."""

from __future__ import annotations

import json
import math
import string
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from studio.errors import ConfigError
from studio.experiment import (
    NAME,
    ArtifactRef,
    Command,
    Exit,
    Experiment,
    Failure,
    Git,
    Host,
    Metric,
    Resources,
    Summary,
    Times,
    Variable,
    check_name,
    from_json,
    new_key,
    put_back,
    readable,
    to_json,
)

EXAMPLE = json.loads(
    """
{"schema": 1, "key": "20261120-131502-k3x7qa", "project": "default", "owner": "ada", "kind": "run",
 "status": "finished",
 "command": {"kind": "script", "target": "train.py", "args": ["--epochs", "3"], "python": "3.11.7",
             "interpreter": ".venv/bin/python"},
 "packages": ["keras==3.15.1", "numpy==2.4.6"],
 "git": {"url": "https://example.org/ada/digits.git", "commit": "9f3c", "branch": "main", "dirty": true,
         "patch": "sha256:00"},
 "host": {"name": "laptop", "os": "Linux 6.1", "cpu": "x", "cores": 8, "memory": 17179869184, "gpus": []},
 "params": {"epochs": 3, "keras.optimizer.learning_rate": 0.001}, "given": ["epochs"],
 "tags": ["baseline"], "notes": "",
 "resources": {"cpus": null, "gpus": null, "ram": null, "hdd": null},
 "metric": {"name": "val_accuracy", "mode": "max"},
 "summary": {"val_accuracy": {"last": 0.97, "min": 0.81, "max": 0.97, "step": 2, "count": 3}},
 "artifacts": {"workspace": {"mutable": false, "manifest": "sha256:01", "files": 12, "bytes": 48211},
               "modeldir": {"mutable": true, "manifest": "sha256:02", "files": 2, "bytes": 911204}},
 "times": {"added": 1795180502.1, "started": 1795180502.4, "finished": 1795180520.9},
 "exit": {"code": 0, "signal": null, "reason": "finished", "by": null,
          "error": {"type": "ValueError", "message": "bad", "frame": "train.py:12 in main"}},
 "env": {"DEBUG": {"value": "1", "digest": null, "salt": null},
         "KEY": {"value": "***", "digest": "9f3c", "salt": "02"}},
 "max_duration": null, "lifetime": null, "parent": null, "relation": null, "studio": "0.1.0"}
"""
)


def test_the_documented_example_becomes_a_record_and_comes_back() -> None:
    found = from_json(Experiment, EXAMPLE)
    assert found.command == Command("script", "train.py", ("--epochs", "3"), "3.11.7", ".venv/bin/python")
    assert found.git is not None and found.git.dirty
    assert found.host == Host("laptop", "Linux 6.1", "x", 8, 17179869184, ())
    assert found.metric == Metric("val_accuracy", "max")
    assert found.summary == {"val_accuracy": Summary(0.97, 0.81, 0.97, 2, 3)}
    assert found.artifacts["modeldir"] == ArtifactRef(True, "sha256:02", 2, 911204)
    assert found.times == Times(1795180502.1, 1795180502.4, 1795180520.9)
    assert found.exit == Exit(0, None, "finished", None, Failure("ValueError", "bad", "train.py:12 in main"))
    assert found.env == {"DEBUG": Variable("1"), "KEY": Variable("***", "9f3c", "02")}
    assert found.resources == Resources()
    assert found.ended
    back = to_json(found)
    assert back["summary"]["val_accuracy"].pop("first") is None
    assert back == EXAMPLE


def test_unknown_fields_survive_at_every_level() -> None:
    data = json.loads(json.dumps(EXAMPLE))
    data["later"] = {"a": [1, {"b": None}]}
    for name in ("command", "git", "host", "resources", "metric", "times", "exit"):
        data[name]["later"] = name
    data["summary"]["val_accuracy"]["mean"] = 0.9
    data["artifacts"]["modeldir"]["later"] = True
    found = from_json(Experiment, data)
    assert found.extra == {"later": {"a": [1, {"b": None}]}}
    assert found.summary["val_accuracy"].extra == {"mean": 0.9}
    back = to_json(found.with_changes(status="failed"))
    back["summary"]["val_accuracy"].pop("first")
    assert back == {**data, "status": "failed"}


def test_what_is_left_out_or_null_takes_its_default() -> None:
    least = from_json(Experiment, {"key": "k", "command": {"kind": "exec", "target": "true"}})
    assert least == Experiment(key="k", command=Command("exec", "true"))
    nulls = {name: None for name in EXAMPLE if name not in ("key", "command")}
    assert from_json(Experiment, {**nulls, "key": "k", "command": {"kind": "exec", "target": "true"}}) == least
    again = from_json(Experiment, {"key": "k", "command": {"kind": "exec", "target": "true"}})
    assert again.params is not least.params


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_metrics_that_are_no_numbers_are_strict_json_and_come_back(value: float) -> None:
    one = Experiment(
        key="k", command=Command("exec", "true"), summary={"loss": Summary(value, 0.0, value, 1, 2, value)}
    )
    spelled = json.dumps(to_json(one), allow_nan=False)
    back = from_json(Experiment, json.loads(spelled)).summary["loss"]
    assert [repr(v) for v in (back.last, back.min, back.max, back.first)] == [
        repr(v) for v in (value, 0.0, value, value)
    ]


def test_parameters_that_json_has_no_form_for_are_kept_as_text() -> None:
    import numpy as np

    values = {"path": Path("a/b"), "f": np.float32(0.5), "n": np.int64(3), "nan": math.nan, "deep": {1: (True, None)}}
    one = to_json(Experiment(key="k", command=Command("exec", "true"), params=values))
    assert one["params"] == {"path": "a/b", "f": 0.5, "n": 3, "nan": "NaN", "deep": {"1": [True, None]}}
    json.dumps(one, allow_nan=False)


def test_numbers_that_json_has_not_are_told_from_texts_that_spell_them() -> None:
    params = {
        "a": math.inf, "b": "Infinity", "c": -math.inf, "d": "-inf", "e": "nan", "f": "NaN", "g": 1.5,
        "h": [math.inf, "Infinity", {"x": [-math.inf, "-Infinity"]}], "3e563": "3e563", "nan": [math.nan],
    }  # fmt: skip
    data = to_json(Experiment("k", Command("exec", "true"), params=params))
    places = [["a"], ["c"], ["h", 0], ["h", 2, "x", 0], ["nan", 0]]
    assert data["nonfinite"] == places and json.loads(json.dumps(data, allow_nan=False)) == data
    assert repr(dict(from_json(Experiment, data).params)) == repr(params)
    assert to_json(from_json(Experiment, data)) == data and from_json(Experiment, data).extra == {}
    assert "nonfinite" not in to_json(Experiment("k", Command("exec", "true"), params={"a": 1.0, "b": "x"}))
    texts = {"a": "NaN", "b": "-inf"}
    assert to_json(Experiment("k", Command("exec", "true"), params=texts))["nonfinite"] == []


def test_records_that_cannot_tell_keep_their_reading() -> None:
    data = {"key": "k", "command": {"kind": "exec", "target": "true"}}
    old = from_json(Experiment, {**data, "params": {"a": "Infinity", "b": "nan", "c": ["NaN"], "d": "Nan"}})
    assert repr(dict(old.params)) == "{'a': inf, 'b': nan, 'c': ['NaN'], 'd': 'Nan'}"
    params = {"a": ["Infinity"], "b": "inf"}
    for places in ([["a", 7]], [["a", "x"]], [["b", 0]], [["none"]], [["a"]], [["a", 0, 0]]):
        found = from_json(Experiment, {**data, "params": params, "nonfinite": places})
        assert found.params == params
    kept, faults = readable({**data, "params": params, "nonfinite": {"a": 1}})
    assert faults == {("nonfinite",): "nonfinite is no list of places"}
    assert from_json(Experiment, kept).params == {"a": ["Infinity"], "b": math.inf}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"summary": {"loss": {"last": "3e563", "min": 0.0, "max": 0.0, "step": 0, "count": 0}}}, "beyond any double"),
        ({"key": None}, "'key'"),
        ({"command": None}, "'command'"),
        ({"command": []}, "a list, not an object"),
        ({"command": {"kind": "script"}}, "'target'"),
        ({"command": {"kind": "script", "target": "a", "args": "b"}}, "command.args is a text"),
        ({"params": [1]}, "params is a list"),
        ({"tags": {"a": 1}}, "tags is an object"),
        ({"status": 3}, "status is a number"),
        ({"summary": {"loss": 3}}, "a number, not an object"),
        ({"summary": {"loss": {"last": 1.0}}}, "'min'"),
        ({"summary": {"loss": {"last": "x", "min": 0.0, "max": 0.0, "step": 0, "count": 0}}}, "'x' is not a number"),
        ({"times": {"added": "yesterday"}}, "times.added is a text"),
        ({"exit": {"code": True}}, "exit.code is true or false"),
        ({"artifacts": {"a": None}}, "not an object"),
        ({"metric": {}}, "'name'"),
    ],
)
def test_a_wrong_shape_is_named(change: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        from_json(Experiment, {**EXAMPLE, **change})
    assert said in caught.value.message
    with pytest.raises(ConfigError):
        from_json(Experiment, [])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "places"),
    [
        ({"params": [1]}, ["params"]),
        ({"params": {"a": 1, "deep": json.loads("[" * 80 + "]" * 80)}}, ["params.deep"]),
        ({"tags": {"a": 1}, "status": 3}, ["status", "tags"]),
        ({"tags": ["a", 5, None]}, ["tags"]),
        ({"packages": ["a==1", []], "given": [None]}, ["packages", "given"]),
        ({"summary": {"loss": 3, "val_accuracy": EXAMPLE["summary"]["val_accuracy"]}}, ["summary.loss"]),
        ({"command": {"kind": "script", "target": "a", "args": "b"}}, ["command.args"]),
        ({"times": {"added": "yesterday", "started": 1.0}}, ["times.added"]),
        ({"exit": {"code": 0, "error": {"message": "x", "type": 3}}}, ["exit.error"]),
        ({"artifacts": {"a": None, "b": {"files": "3", "manifest": "sha256:1"}}}, ["artifacts.a", "artifacts.b.files"]),
        (
            {"artifacts": {"../a": {}, "/a": {}, ".studio": {}, "a": {}}},
            ["artifacts." + n for n in ("../a", "/a", ".studio")],
        ),
        ({"git": []}, ["git"]),
        ({"later": json.loads("[" * 80 + "]" * 80)}, ["later"]),
    ],
)
def test_a_field_of_a_wrong_shape_is_as_if_absent(change: dict[str, Any], places: list[str]) -> None:
    kept, faults = readable({**EXAMPLE, **change})
    assert [".".join(place) for place in faults] == places
    found = to_json(from_json(Experiment, kept))
    back = to_json(from_json(Experiment, kept).with_changes(project="other"))
    put_back(back, found, {**EXAMPLE, **change}, faults)
    again, as_before = readable(back)
    assert to_json(from_json(Experiment, again)) == {**found, "project": "other"}
    assert as_before == faults or "<nested too deeply>" in json.dumps(back)
    for place in faults:
        value = back
        for name in place:
            value = value[name]
        assert value is not None or change["artifacts"]["a"] is None


@pytest.mark.parametrize(
    "change", [{"key": 3}, {"command": None}, {"command": []}, {"command": {"kind": "script", "target": 3}}]
)
def test_without_key_or_command_it_is_no_record(change: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        readable({**EXAMPLE, **change})
    with pytest.raises(ConfigError):
        readable([])  # type: ignore[arg-type]


NAMES = st.text(string.ascii_letters + "._ é/", min_size=1, max_size=8)
JSONS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=6,
)
REALS = st.floats(allow_nan=False)
SUMMARIES = st.builds(Summary, REALS, REALS, REALS, st.integers(0, 10**9), st.integers(0, 10**9), st.none() | REALS)
EXPERIMENTS = st.builds(
    Experiment,
    key=st.just("k"),
    command=st.builds(Command, st.just("script"), st.text(), st.lists(st.text()).map(tuple)),
    git=st.none() | st.builds(Git, st.none() | st.text(), dirty=st.booleans()),
    host=st.none() | st.builds(Host, st.text(), gpus=st.lists(st.text(), max_size=2).map(tuple)),
    params=st.dictionaries(NAMES, JSONS, max_size=4),
    tags=st.lists(st.text(), max_size=3).map(tuple),
    summary=st.dictionaries(NAMES, SUMMARIES, max_size=3),
    artifacts=st.dictionaries(
        st.from_regex(NAME, fullmatch=True), st.builds(ArtifactRef, st.booleans(), st.none() | st.text()), max_size=2
    ),
    exit=st.none() | st.builds(Exit, st.none() | st.integers(0, 255)),
    extra=st.dictionaries(NAMES.map(lambda n: "x-" + n), JSONS, max_size=2),
)


@given(EXPERIMENTS)
def test_every_record_comes_back_from_its_json(one: Experiment) -> None:
    spelled = json.dumps(to_json(one), allow_nan=False)
    assert from_json(Experiment, json.loads(spelled)) == one


@given(st.dictionaries(st.sampled_from(sorted(EXAMPLE)), JSONS))
def test_any_json_is_a_record_or_a_config_error(change: dict[str, Any]) -> None:
    try:
        found = from_json(Experiment, {**EXAMPLE, **change})
    except ConfigError:
        try:
            found = from_json(Experiment, readable({**EXAMPLE, **change})[0])
        except ConfigError:
            assert {"key", "command"} & set(change)
            return
    assert isinstance(found.key, str)


def test_keys_are_made_and_names_checked() -> None:
    assert new_key(0.0).startswith("19700101-000000-")
    assert len({new_key(0.0) for _ in range(50)}) == 50
    assert check_name(new_key(), "key")
    for wrong in ("", "-a", "a b", "a/b", "ä", "a" * 129, "a\n", ".."):
        with pytest.raises(ConfigError) as caught:
            check_name(wrong, "tag")
        assert "A-Z a-z 0-9" in caught.value.hint
