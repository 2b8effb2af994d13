"""SQL over a store: what its tables hold, what a query may not do, and what is said when it fails."""

from __future__ import annotations

import http.server
import importlib.util
import json
import math
import os
import tempfile
import threading
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from decimal import Decimal
from pathlib import Path

import pytest

from studio.errors import ConfigError
from studio.experiment import ArtifactRef, Command, Exit, Experiment, Summary, Times
from studio.tracking import Tracking
from studio.tracking.frames import FIXED
from studio.tracking.metrics import encode
from studio.tracking.sql import ask
from studio.tracking.tables import Table
from studio.tracking.views import VIEWS

pytest.importorskip("duckdb", reason="duckdb is not installed")
Ask = Callable[..., Table]
ENDLESS = "SELECT count(*) FROM range(1000000000) a, range(1000000000) b WHERE a.range + b.range = 3"


@pytest.fixture
def tracking(tmp_path: Path) -> Iterator[Tracking]:
    found = Tracking(f"file://{tmp_path}/store", tmp_path / "home")
    yield found
    found.index.close()


def two() -> list[Experiment]:
    train = Command("script", "train.py", ("--lr", "0.1"), python="3.11.7")
    a = Experiment(
        "a", train, status="finished", tags=("x", "y"), times=Times(1e9, 1e9 + 1, 1e9 + 3.5), exit=Exit(0, None, "ok"),
        params={"lr": 0.1, "opt": "adam", "on": True, "none": None, "odd": "\udc80"}, packages=("numpy==2.0", "odd"),
        summary={"loss": Summary(0.5, 0.25, 1.0, 9, 10, 1.0), "ü": Summary(math.nan, math.nan, math.inf, 0, 1)},
        artifacts={"data": ArtifactRef(False, "sha256:1", 2, 99), "modeldir": ArtifactRef(True)},
    )  # fmt: skip
    return [a, Experiment("b", train, status="failed", times=Times(2e9), params={"lr": "0.2"})]


@pytest.fixture
def sql(tracking: Tracking) -> Ask:
    tracking.store.write("runs/a/metrics/1", encode("loss", [0, 1], [1e9, 1e9 + 0.25], [1.0, math.nan]))
    tracking.store.write("runs/b/metrics/1", encode("loss", [0], [1e9], [3.0]))

    def call(query: str, **options: object) -> Table:
        options = {"notify": print, **options}
        with ask(query, two, tracking, **options) as answer:  # type: ignore[arg-type]
            return answer.table()

    return call


def test_every_table_has_its_columns_and_rows(sql: Ask) -> None:
    for name, view in VIEWS.items():
        assert sql(f"FROM {name} LIMIT 0").names == list(view.columns)
    assert sql("SHOW TABLES").to_records() == [{"name": name} for name in sorted(VIEWS)]
    first = sql("SELECT * FROM experiments ORDER BY key").to_records()[0]
    assert list(first) == list(FIXED) and first["added"] == datetime(2001, 9, 9, 1, 46, 40, tzinfo=timezone.utc)
    assert (first["duration"], first["tags"], first["exit_code"], first["dirty"]) == (2.5, ["x", "y"], 0, None)
    assert list(sql("SELECT name, value, number, integer FROM params WHERE key = 'a' ORDER BY name")) == [
        ("lr", "0.1", 0.1, None), ("none", None, None, None), ("odd", "\\udc80", None, None), ("on", "true", 1.0, 1),
        ("opt", "adam", None, None),
    ]  # fmt: skip
    assert list(sql("SELECT tag FROM tags")) == [("x",), ("y",)]
    assert list(sql("SELECT name, version FROM packages")) == [("numpy", "2.0"), ("odd", "")]
    assert list(sql("SELECT name, mutable, files, bytes, manifest FROM artifacts ORDER BY 1")) == [
        ("data", False, 2, 99, "sha256:1"), ("modeldir", True, 0, 0, None)]  # fmt: skip


def test_nan_is_null_so_that_aggregates_pass_over_it(sql: Ask) -> None:
    assert list(sql("SELECT name, last, max, count FROM metrics ORDER BY name")) == [
        ("loss", 0.5, 1.0, 10), ("ü", None, math.inf, 1)]  # fmt: skip
    assert list(sql("SELECT key, count(*), max(value), avg(value) FROM curves GROUP BY key ORDER BY key")) == [
        ("a", 2, 1.0, 1.0), ("b", 1, 3.0, 3.0)]  # fmt: skip


def test_tables_join_and_answer_in_pythons_values(sql: Ask) -> None:
    found = sql(
        "SELECT e.key, p.key, p.number + 0.5 AS more, e.finished - e.started AS took, e.added::TIMESTAMP AS t,"
        " e.added::DATE AS d, [1, 2] AS l, sum(1) OVER () AS n, 1.5 AS dec, 'x'::BLOB AS raw"
        " FROM experiments e JOIN params p USING (key) WHERE p.name = 'lr' ORDER BY 1"
    )
    assert found.names == ["key", "key_1", "more", "took", "t", "d", "l", "n", "dec", "raw"]
    a = found.to_records()[0]
    assert (a["more"], a["took"], a["t"]) == (0.6, 2.5, datetime(2001, 9, 9, 1, 46, 40, tzinfo=timezone.utc))
    assert (a["d"], a["l"], a["n"], a["dec"]) == ("2001-09-09", [1, 2], 2, 1.5)
    assert len(list(found.texts())) == 2


def test_a_curve_that_is_not_whole_is_reported(sql: Ask) -> None:
    said: list[str] = []
    assert list(sql("SELECT count(*) FROM curves", notify=said.append)) == [(3,)]
    assert said == [
        f"experiment a: the curve {name} is damaged: {left} points are left"
        for name, left in (("loss", "2 of 10"), ("ü", "0 of 1"))
    ]


def test_decimals_and_large_integers_keep_their_digits(sql: Ask) -> None:
    big, most, cents = 2**127 - 1, 2**128 - 1, Decimal("12345678901234567890.10")
    query = f"SELECT 1.10 AS d, {cents} AS e, {big} AS h, {most} AS u, sum(range) AS s, {2**64 - 1}::UBIGINT AS b,"
    found = sql(query + f" '{most}1'::BIGNUM AS n, [1.10] AS l, TIME '12:00' AS t, 'x'::BLOB AS raw FROM range(3)")
    row = found.to_records()[0]
    assert [row[name] for name in "dehusbn"] == [Decimal("1.10"), cents, big, most, 3, 2**64 - 1, int(f"{most}1")]
    assert next(found.texts())[:7] == ("1.10", str(cents), str(big), str(most), "3", str(2**64 - 1), f"{most}1")
    shown = json.loads(json.dumps(next(found.json_rows())))
    assert (shown["d"], shown["e"], shown["h"], shown["l"]) == (1.1, str(cents), big, [1.1])
    pd = pytest.importorskip("pandas", reason="pandas is not installed")
    frame = found.to_pandas()
    assert isinstance(frame, pd.DataFrame) and [frame[name].iloc[0] for name in "dehun"] == [row[n] for n in "dehun"]
    assert frame["s"].dtype == "int64" and frame["b"].dtype == "uint64"
    fits = sql(f"SELECT 1.10 AS d, sum(range) AS s, {2**64 - 1}::UBIGINT AS b, 7::BIGNUM AS n FROM range(3)").to_arrow()
    assert fits.to_pylist() == [{"d": Decimal("1.10"), "s": 3, "b": 2**64 - 1, "n": "7"}]
    with pytest.raises(ConfigError, match="column h: Parquet has no whole numbers of more than 38 digits") as caught:
        found.to_arrow()
    assert "CAST(h AS VARCHAR)" in caught.value.hint


def test_times_and_bytes_keep_what_python_has_not(sql: Ask, tmp_path: Path) -> None:
    rows = (
        "('infinity', '-infinity', 'infinity', '-infinity', '\\x00ab', 1), ('9999-12-31 23:59:59.999999',"
        " '0001-01-01 00:00:00+00', '9999-12-31', '2024-01-02 03:04:05.123456789', '', 2),"
        " (NULL, NULL, NULL, NULL, NULL, 3)"
    )
    found = sql(
        "SELECT t::TIMESTAMP AS t, z::TIMESTAMPTZ AS z, d::DATE AS d, n::TIMESTAMP_NS AS n, b::BLOB AS b, i"
        f" FROM (VALUES {rows}) AS v(t, z, d, n, b, i) ORDER BY i DESC; -- the last first"
    )
    last, first = "9999-12-31T23:59:59.999999+00:00", "0001-01-01T00:00:00+00:00"
    nano = "2024-01-02T03:04:05.123456789+00:00"
    assert list(found.texts()) == [
        ("", "", "", "", "", "3"), (last, first, "9999-12-31", nano, "", "2"),
        ("infinity", "-infinity", "infinity", "-infinity", "006162", "1"),
    ]  # fmt: skip
    assert [list(row.values()) for row in found.json_rows()][1:] == [
        [last, first, "9999-12-31", nano, "", 2],
        ["infinity", "-infinity", "infinity", "-infinity", "006162", 1],
    ]
    assert found.to_records()[2]["b"] == b"\0ab" and found.to_records()[1]["t"] != found.to_records()[2]["t"]
    with pytest.raises(ConfigError, match="column t: Parquet has no infinite times"):
        found.to_arrow()
    inner = sql(
        "SELECT {'a': TIMESTAMP_NS '2024-01-02 03:04:05.123456789', 'DATE': [DATE 'infinity'], 'b': ['x'::BLOB]} AS s"
    )
    whole = {"a": "2024-01-02 03:04:05.123456789", "DATE": ["infinity"], "b": ["78"]}
    assert [row["s"] for row in inner.json_rows()] == [whole]
    finite = sql("SELECT TIMESTAMP_NS '2024-01-02 03:04:05.123456789' AS n, 'x'::BLOB AS b UNION ALL SELECT NULL, NULL")
    assert finite.to_arrow().column("n").cast("int64").to_pylist()[0] % 10**9 == 123456789
    assert finite.to_arrow().column("b").to_pylist() == [b"x", None]
    if importlib.util.find_spec("pandas"):
        frame = finite.to_pandas()
        assert str(frame["n"].dtype) == "datetime64[ns, UTC]" and frame["n"][0].nanosecond == 789
        assert found.to_pandas()["t"].tolist()[2] == "infinity"
    many = sql(
        "SELECT range AS r, TIMESTAMP '2024-01-01' + to_seconds(range) AS t FROM range(30000) ORDER BY hash(range)"
    )
    as_asked = sql("SELECT range AS r FROM range(30000) ORDER BY hash(range)")
    assert [r for r, _ in many] == [r for (r,) in as_asked], "the order is the query's own"


def test_an_error_is_in_the_line_that_was_written(sql: Ask) -> None:
    for query in ("SELECT now(),\n key::INTEGER FROM tags", "SELECT now(),\n nokey FROM tags"):
        with pytest.raises(ConfigError, match=r"^SQL(, line 2)?: (Could not convert|Referenced)"):
            sql(query)


def test_a_number_that_is_rounded_is_named(tracking: Tracking) -> None:
    one = Experiment("a", Command("script", "t.py"), params={"seed": 2**53 + 1, "x": 2**53, "inf": -math.inf})
    said: list[str] = []

    def rows(query: str) -> list[tuple[object, ...]]:
        with ask(query, lambda: [one], tracking, notify=said.append) as answer:
            return list(answer.table())

    assert rows(f"SELECT name FROM params WHERE integer = {2**53 + 1}") == [("seed",)] and not said
    assert rows("SELECT name FROM params WHERE number < -1e308") == [("inf",)]
    assert said == ["params.number rounds 1 whole number beyond 2^53; params.integer has all digits"]


@pytest.mark.parametrize(
    "query", ["SELECT '\udcff' AS a", 'SELECT 1 AS "\udcff"', "\udcff", "FROM params WHERE name = '\udcff'"]
)
def test_bytes_that_are_no_utf_8_are_no_traceback(sql: Ask, query: str) -> None:
    try:
        assert "\udcff" not in str(sql(query).to_records())
    except ConfigError as exc:
        assert "syntax error" in exc.message


def test_a_table_is_read_only_if_the_query_names_it(tracking: Tracking, sql: Ask) -> None:
    asked: list[int] = []

    def find() -> list[Experiment]:
        asked.append(1)
        return two()

    with ask("SELECT 1", find, tracking, notify=print) as answer:
        assert list(answer.table()) == [(1,)] and not asked
    with ask('SELECT count(*) FROM "Experiments"', find, tracking, notify=print) as answer:
        assert list(answer.table()) == [(2,)] and len(asked) == 1
    assert list(sql("SELECT count(*) FROM query_table('ta' || 'gs')")) == [(2,)], "a name that is put together"


def test_a_long_answer_comes_in_pieces(tracking: Tracking) -> None:
    with ask("SELECT range AS n FROM range(25000)", two, tracking, notify=print) as answer:
        assert [len(table) for table in answer.tables()] == [10_000, 10_000, 5_000]
    with ask("SELECT range AS n FROM range(25000)", two, tracking, notify=print) as answer:
        assert [len(table) for table in answer.tables(limit=10_001)] == [10_000, 1]


@pytest.mark.parametrize(
    "query",
    [
        "SELECT * FROM read_text('{file}')", "SELECT * FROM read_csv('{file}')", "SELECT * FROM read_blob('{file}')",
        "SELECT * FROM '{file}'", "SELECT * FROM glob('{folder}/*')", "SELECT * FROM sniff_csv('{file}')",
        "SELECT * FROM read_parquet('{file}')", "SELECT * FROM read_csv('{url}')", "SELECT * FROM '{url}'",
        "COPY experiments TO '{new}'", "COPY (SELECT 1) TO '{new}'", "ATTACH '{new}'", "EXPORT DATABASE '{new}'",
        "INSTALL httpfs", "LOAD httpfs", "SET enable_external_access = true", "SET memory_limit = '99GB'",
        "CALL duckdb_settings()", "DROP TABLE experiments", "DELETE FROM experiments",
        "INSERT INTO tags VALUES ('a', 'b')", "CREATE TABLE t (a INT)", "UPDATE tags SET tag = 'z'",
        "CREATE MACRO f() AS 1", "WITH gone AS (DELETE FROM tags) SELECT 1", "FROM python_object",
        "SELECT getenv('HOME')",
        "EXPLAIN ANALYZE COPY (SELECT 1) TO '{new}'", "EXPLAIN ANALYZE DELETE FROM tags", "SELECT 1; DROP TABLE tags",
    ],
)  # fmt: skip
def test_a_query_reads_the_store_and_nothing_else(sql: Ask, tmp_path: Path, query: str) -> None:
    python_object = {"a": [1]}
    (tmp_path / "secret.csv").write_text("a,b\n1,2\n")
    reached: list[str] = []

    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            reached.append(self.path)

        do_HEAD = do_GET

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        places = {
            "file": tmp_path / "secret.csv", "folder": tmp_path, "new": tmp_path / "new",
            "url": f"http://127.0.0.1:{server.server_port}/x.csv",
        }  # fmt: skip
        with pytest.raises(ConfigError) as caught:
            sql(query.format(**places))
    finally:
        server.shutdown()
        server.server_close()
    assert "\n" not in caught.value.message and not reached and not (tmp_path / "new").exists()
    assert list(sql("SELECT count(*) FROM tags")) == [(2,)] and python_object


@pytest.mark.parametrize(
    ("query", "said", "hint"),
    [
        ("SELECT *\nFROM tags WHERE WHERE x", "SQL, line 2: syntax error", ""),
        ("SELECT nokey FROM tags", "line 1: Referenced column \"nokey\" not found", '"key"'),
        ("SELECT * FROM experiment", "line 1: Table with name experiment does not exist", '"experiments"'),
        ("SELECT 'a'::INT FROM tags", "Could not convert string 'a' to INT32", ""),
        ("SELECT '" + "x" * 300 + "' FROM WHERE", "syntax error", ""),
        ("", "one query is expected, not none", "SELECT … FROM experiments"),
        ("SELECT 1; SELECT 2", "one query is expected, not 2", "SELECT … FROM experiments"),
        ("SELECT $1", "parameters", ""),
    ],
)  # fmt: skip
def test_a_query_that_cannot_be_answered_is_explained_in_one_line(sql: Ask, query: str, said: str, hint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        sql(query)
    assert said in caught.value.message and hint in caught.value.hint
    assert "\n" not in caught.value.message + caught.value.hint and len(caught.value.message) < 400


def test_the_place_of_an_error_is_marked(sql: Ask) -> None:
    with pytest.raises(ConfigError, match="SELECT ▸nokey◂ FROM tags"):
        sql("SELECT nokey FROM tags")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Python 3.12 warns of every fork of a process with threads
def test_a_forked_child_leaves_an_answer_to_its_parent(
    tracking: Tracking, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with ask("SELECT range AS n FROM range(3)", two, tracking, notify=print) as answer:
        child = os.fork()
        if child == 0:
            try:
                with pytest.raises(ConfigError, match="forked"), answer:
                    answer.table()
                answer._duck._remove()  # as at the end of a process
                os._exit(0)
            finally:
                os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert len(answer.table()) == 3 and list(tmp_path.glob("studio-sql-*"))


def test_time_and_memory_are_limited_and_nothing_is_left(
    sql: Ask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(ConfigError, match=r"more than 0.3s") as caught:
        sql(ENDLESS, timeout_s=0.3)
    assert "--timeout" in caught.value.hint
    with pytest.raises(ConfigError, match=r"more than 60.0 MiB of memory") as caught:
        sql("SELECT list(range) FROM range(100000000)", memory_bytes=60 << 20)
    assert "--memory" in caught.value.hint
    assert list(sql("SELECT 1")) == [(1,)] and not list(tmp_path.glob("studio-sql-*"))
