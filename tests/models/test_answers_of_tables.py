"""Models fitted on pandas' columns of categories: rows with the values get what `predict` says of such a table."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest

from studio.errors import ContractViolation, ModelLoadError
from studio.models.estimator_inputs import columns_of
from studio.serve.facts import Facts
from studio.serve.idle import Idle

from .asking import asked, check_as_library, loaded

pd = pytest.importorskip("pandas", reason="pandas is not installed")
pytest.importorskip("sklearn", reason="scikit-learn is not installed")
from sklearn import compose, ensemble, impute, linear_model, model_selection, pipeline, preprocessing  # noqa: E402

RNG = np.random.default_rng(4)
STORES = pd.Categorical(RNG.choice([10, 20, 30], 300), categories=[30, 10, 20])
X = pd.DataFrame(
    {
        "x y": RNG.normal(size=300),
        "store": STORES,
        "open": RNG.random(300) > 0.5,
        "level": pd.Categorical(RNG.choice([7, 2, 5, 9], 300), categories=[7, 2, 5, 9], ordered=True),
    }
)
Y = X["store"].astype(float) + 3 * X["level"].astype(float) + 0.1 * X["x y"]
VALUES = X[:5].astype(float).to_numpy()
HOLED = np.where(np.arange(4) == 1, np.nan, VALUES)
LIBRARIES = ["xgboost", "lightgbm"]
pytestmark = [
    pytest.mark.filterwarnings("ignore:X does not have valid feature names"),
    pytest.mark.filterwarnings("ignore:Constructing a Categorical"),
    pytest.mark.filterwarnings("ignore:.*categorical_feature"),
]


def regressor(library: str) -> Any:
    module = pytest.importorskip(library, reason=f"{library} is not installed")
    if library == "xgboost":
        return module.XGBRegressor(n_estimators=5, learning_rate=0.8, enable_categorical=True)
    return module.LGBMRegressor(n_estimators=5, learning_rate=0.8, verbosity=-1, n_jobs=1)


def table(values: Any) -> Any:
    """The table that a client's rows stand for."""
    made = pd.DataFrame(np.asarray(values), columns=list(X.columns))
    for name in ("store", "level"):
        made[name] = pd.Categorical(made[name], dtype=X[name].dtype)
    return made.assign(open=made["open"].astype(bool))


def note(folder: Path, file: str, columns: list[dict[str, Any]]) -> None:
    signature = {"inputs": [{"name": "x", "dtype": "object", "shape": [-1, 4], "table": True, "columns": columns}]}
    (folder / ".studio.json").write_text(json.dumps({"schema": 1, "models": [{"file": file, "signature": signature}]}))


def recorded() -> list[dict[str, Any]]:
    kinds = {name: X[name].dtype for name in X.columns}
    return [
        {"name": name, "dtype": "category", "categories": kind.categories.tolist()}
        if name in ("store", "level")
        else {"name": name, "dtype": str(kind), "low": 0, "high": 1, "categories": None}
        for name, kind in kinds.items()
    ]


AROUND: dict[str, Callable[[Any], Any]] = {
    "alone": lambda model: model,
    "pipeline": lambda model: pipeline.make_pipeline(preprocessing.FunctionTransformer(), model),
    "search": lambda model: model_selection.GridSearchCV(model, {"n_estimators": [3, 5]}, cv=2),
    "vote": lambda model: ensemble.VotingRegressor([("a", model), ("b", model)]),
    "stack": lambda model: ensemble.StackingRegressor([("a", model)], cv=2),
    "target": lambda model: compose.TransformedTargetRegressor(model, func=np.log1p, inverse_func=np.expm1),
    "arrays within": lambda model: ensemble.BaggingRegressor(model, 2),
}


@pytest.mark.parametrize("around", AROUND)
@pytest.mark.parametrize("library", LIBRARIES)
def test_an_estimator_takes_the_values_of_categories(tmp_path: Path, library: str, around: str) -> None:
    estimator = AROUND[around](regressor(library)).fit(X, Y)
    joblib.dump(estimator, tmp_path / "model.joblib")
    note(tmp_path, "model.joblib", recorded())
    model = loaded(tmp_path / "model.joblib")
    assert model.stacks and model.warnings == (), model.warnings
    for rows in (VALUES, HOLED):
        check_as_library(model, lambda xs: [estimator.predict(table(xs[0]))], [rows], within=1e-9)


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_booster_takes_the_values_of_categories(tmp_path: Path, library: str) -> None:
    module = pytest.importorskip(library, reason=f"{library} is not installed")
    if library == "xgboost":
        file, booster = "model.ubj", module.train({"eta": 0.8}, module.DMatrix(X, Y, enable_categorical=True), 5)
        predict = lambda rows: booster.predict(module.DMatrix(table(rows), enable_categorical=True))  # noqa: E731
    else:
        file, booster = "model.txt", module.train({"verbosity": -1, "num_threads": 1}, module.Dataset(X, Y), 5)
        predict = lambda rows: booster.predict(table(rows))  # noqa: E731
    booster.save_model(tmp_path / file)
    if library == "lightgbm":
        with pytest.raises(ModelLoadError, match="2 columns of categories and does not tell which they are"):
            loaded(tmp_path / file)
        note(tmp_path, file, recorded())
    model = loaded(tmp_path / file)
    assert model.stacks and model.warnings == (), model.warnings
    for rows in (VALUES, HOLED):
        check_as_library(model, lambda xs: [predict(xs[0])], [rows], within=1e-9)


def test_a_value_that_is_no_category_is_refused_by_xgboost_and_missing_to_lightgbm(tmp_path: Path) -> None:
    other = VALUES.copy()
    other[2, 1] = 40
    made = regressor("xgboost").fit(X, Y)
    made.save_model(tmp_path / "model.json")
    model = loaded(tmp_path / "model.json")
    with pytest.raises(ContractViolation, match=r"row 2: 40 is not a category of the column 'store' \(30, 10, 20\)"):
        model.run([other])
    facts = Facts(model, Idle(0.0), "model", {})
    model.run([np.array([json.loads(facts.example())["x"]])])
    lightgbm = regressor("lightgbm").fit(X, Y)
    joblib.dump(lightgbm, tmp_path / "model.joblib")
    note(tmp_path, "model.joblib", recorded())
    got = loaded(tmp_path / "model.joblib").run([other])[0]
    unknown = table(other)
    unknown["store"] = pd.Categorical([40.0 if k == 2 else v for k, v in enumerate(VALUES[:, 1])])
    assert np.array_equal(got, lightgbm.predict(unknown))


def test_lightgbms_own_file_tells_the_columns_where_only_they_can_be_meant(tmp_path: Path) -> None:
    lightgbm = pytest.importorskip("lightgbm", reason="lightgbm is not installed")
    rows = X[["x y", "store", "open"]]
    booster = lightgbm.train({"verbosity": -1, "num_threads": 1}, lightgbm.Dataset(rows, Y), 5)
    booster.save_model(tmp_path / "model.txt")
    model = loaded(tmp_path / "model.txt")
    assert model.warnings == ("columns of categories, by LightGBM's own list: 'store' (30, 10, 20)",)
    assert np.array_equal(model.run([VALUES[:, :3]])[0], booster.predict(rows[:5]))
    whole = rows.assign(size=RNG.integers(0, 3, 300))  # the user's own list keeps LightGBM from declaring the store
    booster = lightgbm.train({"verbosity": -1}, lightgbm.Dataset(whole, Y, categorical_feature=["size"]), 5)
    booster.save_model(tmp_path / "model.txt")
    with pytest.raises(ModelLoadError, match="does not tell which they are"):
        loaded(tmp_path / "model.txt")


@pytest.mark.parametrize("file", ["model.json", "model.joblib", "model.txt"])
def test_categories_that_are_strings_are_refused(tmp_path: Path, file: str) -> None:
    towns = X.assign(store=pd.Categorical(RNG.choice(["Bonn", "Kiel"], 300)))
    made = regressor("lightgbm" if file == "model.txt" else "xgboost").fit(towns[["x y", "store"]], Y)
    if file == "model.joblib":
        joblib.dump(pipeline.make_pipeline(preprocessing.FunctionTransformer(), made), tmp_path / file)
    else:
        (made.booster_ if file == "model.txt" else made).save_model(tmp_path / file)
    with pytest.raises(ModelLoadError, match=r"'store' \('Bonn', 'Kiel'\) holds categories that are not numbers") as at:
        loaded(tmp_path / file)
    assert "--wrapper" in at.value.hint


def test_what_nobody_knows_takes_codes_and_says_so_and_what_the_run_recorded_is_used(tmp_path: Path) -> None:
    """As XGBoost before 3.1 keeps a table's model: the feature's type, and no categories."""
    xgboost = pytest.importorskip("xgboost", reason="xgboost is not installed")
    codes = np.column_stack([X["x y"], STORES.codes])
    kinds = {"feature_types": ["q", "c"], "feature_names": ["x y", "store"]}
    booster = xgboost.train({}, xgboost.DMatrix(codes, Y, enable_categorical=True, **kinds), 5)
    booster.save_model(tmp_path / "model.json")
    expected = booster.predict(xgboost.DMatrix(codes[:5], enable_categorical=True, **kinds))
    model = loaded(tmp_path / "model.json")
    assert "'store': the file does not hold the categories, so send their codes" in model.warnings[0]
    assert np.array_equal(model.run([codes[:5]])[0], expected)
    note(tmp_path, "model.json", recorded()[:2])
    model = loaded(tmp_path / "model.json")
    assert model.warnings == () and np.array_equal(model.run([VALUES[:, :2]])[0], expected)


def test_a_step_that_makes_the_categories_is_refused_where_no_column_is_known_to_be_them(tmp_path: Path) -> None:
    step = preprocessing.FunctionTransformer(renamed)
    joblib.dump(pipeline.make_pipeline(step, regressor("xgboost")).fit(X, Y), tmp_path / "model.joblib")
    with pytest.raises(ModelLoadError, match=r"makes a table within: .* 'shop'"):
        loaded(tmp_path / "model.joblib")


def renamed(frame: Any) -> Any:
    return frame.rename(columns={"store": "shop"})


def test_numbers_are_refused_where_strings_were_learned_although_they_get_an_answer(tmp_path: Path) -> None:
    towns = pd.DataFrame({"town": RNG.choice(["Bonn", "Kiel"], 300)})
    filled = impute.SimpleImputer(strategy="constant", fill_value="?")
    steps = (filled, preprocessing.OneHotEncoder(handle_unknown="ignore"), linear_model.Ridge())
    made = pipeline.make_pipeline(*steps).fit(towns, Y)
    assert len(made.predict([[1.0]])) == 1
    for estimator in (made, ensemble.VotingRegressor([("a", made)]).fit(towns, Y)):
        joblib.dump(estimator, tmp_path / "model.joblib")
        with pytest.raises(ModelLoadError, match=r"model\.joblib takes columns of text"):
            loaded(tmp_path / "model.joblib")


def test_boosting_by_histograms_knows_its_categories(tmp_path: Path) -> None:
    """It has an encoder within, which sees the columns of categories first and tells them in that order."""
    frame = pd.DataFrame({
        "size": RNG.normal(size=300), "month": pd.Categorical(RNG.choice([3, 7, 110], 300)),
        "town": pd.Categorical(RNG.choice(["Bonn", "Kiel"], 300)),
    })  # fmt: skip
    made = ensemble.HistGradientBoostingRegressor(categorical_features="from_dtype", max_iter=3)
    joblib.dump(made.fit(frame, Y), tmp_path / "model.joblib")
    with pytest.raises(ModelLoadError, match=r"model\.joblib: it takes columns of text"):
        loaded(tmp_path / "model.joblib")
    assert [domain.choices for domain in columns_of(made.fit(frame[["size", "month"]], Y))] == [(), (3.0, 7.0, 110.0)]


@pytest.mark.parametrize(
    ("dtype", "said"), [("datetime64[us]", "of dates"), ("str", "of text"), ("category", "of text")]
)
def test_numbers_are_refused_where_the_run_saw_dates_or_text(tmp_path: Path, dtype: str, said: str) -> None:
    days = pd.DataFrame({"day": pd.to_datetime(RNG.choice(["2026-01-01", "2026-02-01"], 300))})
    joblib.dump(linear_model.LinearRegression().fit(days, Y), tmp_path / "model.joblib")
    note(tmp_path, "model.joblib", [{"name": "day", "dtype": dtype, "categories": ["a", "b"]}])
    with pytest.raises(ModelLoadError, match=rf"model\.joblib was fitted on the column 'day' {said}"):
        loaded(tmp_path / "model.joblib")


NUMBERS = pd.DataFrame({"x y": RNG.normal(size=60), "rooms": RNG.integers(1, 4, 60), "hole": RNG.normal(size=60)})


def by_name(*steps: Any, **options: Any) -> Any:
    return pipeline.make_pipeline(compose.ColumnTransformer([*steps], **options), linear_model.Ridge())


@pytest.mark.parametrize(
    "make",
    [
        lambda: by_name(("scale", preprocessing.StandardScaler(), ["hole", "x y"]), remainder="passthrough"),
        lambda: by_name(("kinds", preprocessing.OneHotEncoder(handle_unknown="ignore"), ["rooms"])),
        lambda: by_name(("some", "passthrough", compose.make_column_selector(pattern="^[rx]"))),
        lambda: model_selection.GridSearchCV(
            by_name(("fill", impute.SimpleImputer(), ["hole"])), {"ridge__alpha": [0.1, 1.0]}, cv=2
        ),
    ],
    ids=["scaled", "kinds", "selected", "search"],
)
def test_columns_that_a_model_picks_by_name_are_those_of_the_rows(tmp_path: Path, make: Callable[[], Any]) -> None:
    model = make().fit(NUMBERS, NUMBERS["x y"] * 2 + NUMBERS["rooms"] - NUMBERS["hole"])
    joblib.dump(model, tmp_path / "model.joblib")
    served = loaded(tmp_path / "model.joblib")
    assert not served.warnings
    rows = NUMBERS[:5].astype(float).to_numpy()
    check_as_library(served, lambda arrays: [model.predict(pd.DataFrame(arrays[0], columns=NUMBERS.columns))], [rows])


def test_a_function_of_the_script_is_given_no_table_of_other_dtypes(tmp_path: Path) -> None:
    """It could answer 3.0 for 3 differently, without an error: `astype(str)`."""
    own = preprocessing.FunctionTransformer(np.log1p)
    model = by_name(("own", own, ["rooms"])).fit(NUMBERS, NUMBERS["rooms"])
    joblib.dump(model, tmp_path / "model.joblib")
    with pytest.raises(ModelLoadError, match=r"it takes a table with the columns x y, rooms, hole"):
        loaded(tmp_path / "model.joblib")


def test_a_row_that_the_model_refuses_is_told_by_what_no_row_had_that_it_was_fitted_on(tmp_path: Path) -> None:
    """And the example is a row that it takes, where zeros are none."""
    frame = pd.DataFrame({"age": RNG.normal(40, 12, 60), "zone": RNG.choice([10, 20, 35], 60)})
    columns = [("a", preprocessing.StandardScaler(), ["age"]), ("z", preprocessing.OneHotEncoder(), ["zone"])]
    made = pipeline.make_pipeline(compose.ColumnTransformer(columns), linear_model.LinearRegression())
    made.fit(frame, frame.age)
    joblib.dump(made, tmp_path / "model.joblib")
    about = {"dtype": "float64", "low": 1.0, "high": 80.0, "missing": False}
    zones = {"dtype": "int64", "low": 10, "high": 35, "categories": [10, 20, 35], "missing": False}
    note(tmp_path, "model.joblib", [{"name": "age", **about}, {"name": "zone", **zones}])
    model = loaded(tmp_path / "model.joblib")
    example = json.loads(Facts(model, Idle(0.0), "model", {}).example())["x"]
    assert example[1] in (10, 20, 35)
    nan, rows = float("nan"), np.array([[40.0, 20.0], [41.0, 99.0]])
    calls = asked(model, [{"a": q} for q in (example, [40.0, 99.0], rows, np.array([[nan, 10.0]]), np.ones((0, 2)))])
    assert calls[0].failure is None and not calls[0].errors
    said = [str(call.failure or call.errors.get("a")) for call in calls[1:]]
    assert "ValueError; unlike all that it was fitted on: zone in row 0 is 99" in said[0], said
    assert "zone in row 1 is 99" in said[1] and "row 0" not in said[1], said
    assert "age in row 0 is nan" in said[2] and "there are no rows" in said[3], said
    assert [(call.failure or call.errors["a"]).http_status for call in calls[1:]] == [422] * 4
