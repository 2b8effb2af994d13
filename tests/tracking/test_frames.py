"""Experiments and curves as tables: columns, kinds, missing values, names, and the files they are written to."""

from __future__ import annotations

import csv
import json
import math
import random
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path

import pytest

from studio.errors import ConfigError, StoreError
from studio.experiment import Command, Exit, Experiment, Git, Summary, Times
from studio.tracking import Tracking
from studio.tracking.export import export, write
from studio.tracking.frames import Experiments
from studio.tracking.metrics import encode
from studio.tracking.tables import Column, Table, any_column

NAN, INF = math.nan, math.inf
pd = pytest.importorskip("pandas", reason="pandas is not installed")


@pytest.fixture
def tracking(tmp_path: Path) -> Iterator[Tracking]:
    found = Tracking(f"file://{tmp_path}/store", tmp_path / "home")
    yield found
    found.index.close()


def experiment(key: str, **fields: object) -> Experiment:
    return Experiment(key=key, command=Command("script", "train.py"), **fields)  # type: ignore[arg-type]


@pytest.fixture
def found(tracking: Tracking) -> Experiments:
    """`a` is complete, `b` failed and has little, `c` runs."""
    a = experiment(
        "a", status="finished", tags=("x", "y"), times=Times(1e9, 1e9 + 1, 1e9 + 3.5), exit=Exit(0, None, "finished"),
        git=Git(commit="1" * 40, dirty=True), params={"lr": 0.1, "n": 2, "on": True, "mixed": 1, "list": [1, None]},
        summary={"loss": Summary(0.5, 0.25, 1.0, 9, 2, 1.0), "loss.max": Summary(7.0, 7.0, 7.0, 0, 0, 7.0)},
    )  # fmt: skip
    b = experiment(
        "b", status="failed", times=Times(2e9), exit=Exit(None, 9, "killed"), notes="ünï\n二 \udc80",
        params={"lr": NAN, "mixed": "x", "word": "sgd"}, summary={"loss": Summary(NAN, NAN, INF, 0, 1)},
    )  # fmt: skip
    c = experiment("c", status="running", times=Times(2e9, 2e9))
    tracking.store.write("runs/a/metrics/1", encode("loss", [0, 1], [1e9, 1e9 + 0.25], [1.0, NAN]))
    tracking.store.write("runs/b/metrics/1", encode("ü", [-1], [NAN], [-INF]) + encode("loss", [3], [2e9], [5.0]))
    return Experiments([a, b, c], tracking)


def test_experiments_are_a_sequence_whose_slices_are_too(found: Experiments) -> None:
    assert len(found) == 3 and found[-1].key == "c" and [e.key for e in found] == ["a", "b", "c"]
    assert isinstance(found[:2], Experiments) and found[:2] == list(found)[:2] and found != [] and found[1] in found
    assert repr(found) == "<3 experiments: a, b, c>" and repr(found[:0]) == "<0 experiments>"
    assert repr(found[:1]) == "<1 experiment: a>"


def test_pandas_has_a_row_for_each_with_the_right_types(found: Experiments) -> None:
    df = found.to_pandas()
    assert list(df["key"]) == ["a", "b", "c"]
    assert df["added"].iloc[0] == pd.Timestamp(1e9, unit="s", tz="UTC") and str(df["added"].dtype.tz) == "UTC"
    assert df["duration"].iloc[0] == 2.5 and df["duration"].isna().tolist() == [False, True, True]
    assert df["tags"].tolist() == [["x", "y"], [], []]
    assert df["params.lr"].dtype == "float64" and df["params.lr"].iloc[0] == 0.1, "a record spells NaN as a text"
    dtypes = {
        "key": "string", "exit_code": "Int64", "dirty": "boolean", "params.n": "Int64", "params.on": "boolean",
        "params.word": "string", "params.mixed": "object", "metrics.loss": "float64", "metrics.loss.count": "Int64",
    }  # fmt: skip
    assert {name: str(df[name].dtype) for name in dtypes} == dtypes
    assert df["params.mixed"].tolist()[:2] == [1, "x"] and df["params.list"].iloc[0] == [1, None]
    assert df["metrics.loss.max"].tolist()[:2] == [1.0, INF] and df['metrics."loss.max"'].iloc[0] == 7.0
    assert found[:1].to_pandas()["params.n"].dtype == "int64"
    ended = df[df["exit_code"] == 0]
    assert ended["key"].tolist() == ["a"] and (df["added"] > pd.Timestamp("2020-01-01", tz="UTC")).sum() == 2


def test_no_experiment_has_the_fixed_columns(found: Experiments) -> None:
    some, none = found.to_pandas(), found[:0].to_pandas()
    assert len(none) == 0 and list(none) == [n for n in some if not n.startswith(("params.", "metrics."))]
    assert none["added"].dtype == some["added"].dtype and none["key"].dtype == "string"
    curves = found[:0].curves().to_pandas()
    assert list(curves) == ["key", "name", "step", "time", "value"] and curves["step"].dtype == "int64"


def test_records_need_no_pandas_and_hold_pythons_values(found: Experiments) -> None:
    first, second, _ = found.to_records()
    assert first["added"] == datetime(2001, 9, 9, 1, 46, 40, tzinfo=timezone.utc) and first["params.n"] == 2
    assert second["params.n"] is None and second["notes"] == "ünï\n二 \\udc80" and second["started"] is None


def test_curves_are_one_long_table(found: Experiments) -> None:
    df = found.curves().to_pandas()
    assert df["key"].tolist() == ["a", "a", "b", "b"] and df["name"].tolist() == ["loss", "loss", "loss", "ü"]
    assert df["time"].iloc[1] == pd.Timestamp(1e9 + 0.25, unit="s", tz="UTC") and df["time"].isna().iloc[3]
    assert df["value"].tolist()[2:] == [5.0, -INF] and math.isnan(df["value"].iloc[1])
    wide = found.curves("loss").to_pandas().pivot(index="step", columns="key", values="value")
    assert wide["b"].loc[3] == 5.0 and len(wide) == 3
    assert list(found.curves("ü")) == [("b", "ü", -1, None, -INF)]


def test_a_curve_that_is_not_whole_is_reported(found: Experiments, tracking: Tracking, tmp_path: Path) -> None:
    tracking.store.remove("runs/b/metrics/1")
    said: list[str] = []
    line = "experiment b: the curve loss is damaged: 0 of 1 points are left"
    assert export(tmp_path / "c.csv", found, tracking, curves=True, notify=said.append) == 2 and said == [line]
    with pytest.warns(RuntimeWarning, match=line):
        assert len(found.curves("loss")) == 2
    assert len(found.curves("ü")) == 0


def test_csv_json_and_parquet_hold_the_same(found: Experiments, tracking: Tracking, tmp_path: Path) -> None:
    for name in ("e.csv", "e.json", "e.parquet"):
        assert export(tmp_path / name, found, tracking) == 3
        assert export(tmp_path / f"curves-{name}", found, tracking, curves=True) == 4
    with open(tmp_path / "e.csv", newline="", encoding="utf-8") as file:
        a, b, _ = csv.DictReader(file)
    assert (a["added"], a["tags"], a["params.on"], a["params.list"]) == (
        "2001-09-09T01:46:40+00:00", '["x", "y"]', "true", "[1, null]")  # fmt: skip
    assert (b["notes"], b["exit_code"], b["metrics.loss"], b["metrics.loss.max"]) == (
        "ünï\n二 \\udc80", "", "nan", "inf")  # fmt: skip
    records = json.loads((tmp_path / "e.json").read_text())
    assert [r["key"] for r in records] == ["a", "b", "c"] and records[1]["notes"] == "ünï\n二 \\udc80"
    points = json.loads((tmp_path / "curves-e.json").read_text(), parse_constant=pytest.fail)
    assert [p["value"] for p in points] == [1.0, None, 5.0, None] and points[3]["name"] == "ü"
    df = pd.read_parquet(tmp_path / "e.parquet")
    assert df["added"].tolist() == found.to_pandas()["added"].tolist() and df["tags"].iloc[0].tolist() == ["x", "y"]
    assert df["params.mixed"].tolist()[:2] == ["1", "x"] and df["params.lr"].iloc[0] == 0.1
    curves = pd.read_parquet(tmp_path / "curves-e.parquet")
    assert curves["value"].iloc[3] == -INF and str(curves["time"].dtype.tz) == "UTC"


HOSTILE = [
    "a\rb", "\r", "\n", "\r\n", '"', '""', 'a"b', ",", "#c", " lead", "trail ", "\t", ";", "|", "'", "\\", "\\n",
    "\ufeff", "x\u2028y", "\x85", "\x0b", "\x1c", "NULL", "NA", "nan", "None", "", None, "\x00", "a\x00b",
    "\x1a", "-1", "1e5", "01", "ü😀", "//", "a,b\r", "`", '[1, "a"]', "<NA>", "\x7f", "\u200b", "\xa0", "\x1b[31m",
    "'quoted'", "a\r\n\rb",
]  # fmt: skip
"""Texts that are separators, ends of lines, comments, missing values or numbers to some reader; none is a formula."""


@pytest.mark.parametrize("seed", [1, pytest.param(300, marks=pytest.mark.soak)])
def test_csv_comes_back_from_every_reader(tmp_path: Path, seed: int) -> None:
    duckdb = pytest.importorskip("duckdb", reason="duckdb is not installed")
    chance, path = random.Random(seed), tmp_path / "t.csv"
    for _ in range(seed):
        names = ["n", "a\rb", "#c", *chance.sample([t for t in HOSTILE[:20] if t and t != "#c" and "\r" not in t], 2)]
        made = ["".join(chance.choices("\r\n\",'#; a", k=4)) for _ in range(20)]
        texts = [chance.sample([*HOSTILE, *made], len(HOSTILE) + 20) for _ in names[1:]]
        columns = [Column("integer", list(range(len(texts[0])))), *(Column("text", one) for one in texts)]
        table = Table(dict(zip(names, columns, strict=True)))
        assert write(path, [table]) == len(table)
        wanted = list(table.cells())
        full = [tuple(cell or "" for cell in row) for row in wanted]
        with open(path, newline="", encoding="utf-8") as file:
            head, *rows = csv.reader(file)
        names[1] = "a\\rb"
        assert head == names and list(map(tuple, rows)) == full
        frame = pd.read_csv(path, dtype=str, keep_default_na=False)
        assert list(frame) == names and list(frame.itertuples(index=False, name=None)) == full
        how = "all_varchar = true, header = true, delim = ',', quote = '\"', escape = '\"', allow_quoted_nulls = false"
        assert duckdb.sql(f"SELECT * FROM read_csv('{path}', {how})").fetchall() == wanted
    one = Table({"only": Column("text", ["", None, "x", None])})
    assert write(path, [one]) == 4 and path.read_text() == 'only\n""\n""\nx\n""\n'


def test_a_formula_is_never_the_first_thing_that_a_spreadsheet_reads(tmp_path: Path) -> None:
    cells = ["=1+1", "+a", "@a", "-a|b", "\t=1", "\r=1", "-0.5", "+1e3", "--lr 0.1"]
    write(tmp_path / "t.csv", [Table({"a": Column("text", cells)})])
    with open(tmp_path / "t.csv", newline="") as file:
        found = [cell for (cell,) in csv.reader(file)][1:]
    assert found == [f"'{cell}" for cell in cells[:6]] + cells[6:]


def test_halves_of_characters_within_values_are_spelled(tracking: Tracking, tmp_path: Path) -> None:
    half = Experiment("a", Command("script", "t.py"), params={"net": ["\udcff", 1], "mixed": "\udcff"})
    other = Experiment("b", Command("script", "t.py"), params={"mixed": 1})
    for name in ("e.csv", "e.json", "e.parquet"):
        assert export(tmp_path / name, Experiments([half, other], tracking), tracking) == 2
    df = pd.read_parquet(tmp_path / "e.parquet")
    assert df["params.net"].iloc[0] == '["\\udcff", 1]' and df["params.mixed"].tolist() == ["\\udcff", "1"]


def test_a_file_is_written_whole_or_not_at_all(found: Experiments, tracking: Tracking, tmp_path: Path) -> None:
    target = tmp_path / "e.csv"
    target.write_text("before")

    def torn() -> Iterator[Table]:
        yield found.to_table()
        raise StoreError("gone")

    for name in ("e.csv", "e.json", "e.parquet"):
        with pytest.raises(StoreError):
            write(tmp_path / name, torn())
    assert target.read_text() == "before" and not (tmp_path / "e.json").exists()
    (tmp_path / "folder.csv").mkdir()
    for wrong in (tmp_path / "none" / "e.csv", tmp_path / "folder.csv", tmp_path / "e.xls"):
        with pytest.raises(ConfigError):
            export(wrong, found, tracking)
    assert not list(tmp_path.glob(".*.part")) and not list(tmp_path.glob("*.part"))


def test_a_column_of_what_users_gave_has_the_one_kind_of_all() -> None:
    kinds = {
        "text": ["a", None], "integer": [1, None], "real": [1, 2.5, INF], "boolean": [True, None],
        "other": [1, "a"],
    }  # fmt: skip
    for kind, values in kinds.items():
        assert any_column(values).kind == kind
    big = any_column([2**53 + 1, 0.5, INF, None])  # doubles would round the first
    assert (big.kind, list(big.values)) == ("other", [2**53 + 1, 0.5, INF, None])
    assert any_column([2**70]).kind == "other" and any_column(["nan"]).kind == "text"
    assert any_column(["NaN", "-Infinity", None]).kind == "text" and any_column([NAN, -INF, None]).kind == "real"
    mixed = Table({"a": any_column([INF, "inf", "Infinity", "NaN", NAN, 1, "1"])})
    assert [cell for (cell,) in mixed.texts()] == ["inf", '"inf"', '"Infinity"', '"NaN"', "nan", "1", "1"]
    assert any_column([True, 1]).kind == "other" and any_column([None]).kind == "text"
    assert any_column([1.0, {"a": 1}]).kind == "other" and any_column([[1], 2]).kind == "other"


def test_a_table_shows_itself() -> None:
    table = Table({"a": Column("integer", [1, None]), "b": Column("other", [{"x": 1}, "t"])})
    assert repr(table) == "<Table of 2 rows: a, b>" and list(table.texts()) == [("1", '{"x": 1}'), ("", "t")]
    assert list(table) == [(1, {"x": 1}), (None, "t")] and len(Table({})) == 0
    assert table.to_arrow().column("b").to_pylist() == ['{"x": 1}', "t"]
