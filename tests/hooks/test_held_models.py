"""What `__main__` holds when a script ends: copies, models of workers and of files, and what changed after its fit."""

from __future__ import annotations

import subprocess
import sys

import joblib
import pytest

pytest.importorskip("sklearn", reason="scikit-learn is not installed")

DATA = """
    import copy, joblib, pickle, sys
    import numpy as np
    X = np.random.RandomState(0).rand(80, 3); y = X[:, 0] * 2
    from sklearn.linear_model import LinearRegression, Ridge
    from sklearn.pipeline import make_pipeline
"""


def served(ran):
    return joblib.load(ran.modeldir / ran.chosen["file"])


def names(ran) -> list[str]:
    return [model["name"] for model in ran.note["models"]]


@pytest.mark.parametrize(
    ("source", "alpha"),
    [
        (
            "def f(a): return Ridge(a).fit(X, y)\n"
            "    best = joblib.Parallel(2)(joblib.delayed(f)(a) for a in (1, 100))[1]",
            100,
        ),
        (
            "def train():\n        global best\n        m = Ridge(3); m.fit(X, y); best = copy.deepcopy(m)\n"
            "        m.set_params(alpha=4).fit(X, -y)\n    train()",
            3,
        ),
        ("best = [(1, {'a': pickle.loads(pickle.dumps(Ridge(5).fit(X, y)))})]; (lambda: Ridge(6).fit(X, y))()", 5),
        ("old = joblib.load('old.joblib'); (lambda: Ridge(7).fit(X, y))()", 7),
        ("(lambda: Ridge(7).fit(X, y))(); old = joblib.load('old.joblib')", 7),
        ("old = pickle.load(open('old.pickle', 'rb')); (lambda: Ridge(7).fit(X, y))()", 7),
        ("m = Ridge(8).fit(X, y); late = copy.deepcopy(m); late.alpha = 9", 8),
        ("old = joblib.load('old.joblib'); unfitted = Ridge(9)", 2),
    ],
    ids=["workers", "copy", "container", "before", "after", "pickle", "both held", "only loaded"],
)
def test_the_served_model_is_one_that_main_holds(bench, source, alpha):
    import pickle

    from sklearn.linear_model import Ridge

    old = Ridge(2).fit([[0.0, 1.0, 2.0], [1.0, 1.0, 1.0]], [0.0, 1.0])
    joblib.dump(old, bench.folder / "old.joblib")
    (bench.folder / "old.pickle").write_bytes(pickle.dumps(old))
    ran = bench.run(DATA + "\n    " + source)
    assert (ran.code, ran.err) == (0, "") and ran.of_type("warning") == []
    assert served(ran).alpha == alpha
    assert ran.note["dropped"] == 0 and ran.note["lost"] == []


@pytest.mark.parametrize("ending", ["", "sys.exit(3)", "raise KeyboardInterrupt", "1 / 0"])
def test_what_changed_after_its_fit_is_kept_as_it_is_at_the_end(bench, ending):
    ran = bench.run(
        DATA
        + """
    import time
    def known():
        while not [name for name in FILES if os.path.exists(name)]:
            time.sleep(0.02)
    import os; FILES = [os.environ["FILE"]]
    first = Ridge(1).fit(X, y)
    second = Ridge(2).fit(X, y); known()
    second.coef_ *= 3
    first.set_params(alpha=7.0)
    third = LinearRegression().fit(X, y)
    np.save("now.npy", second.coef_)
    """
        + ending,
        FILE=str(bench.modeldir / "model-Ridge-2.joblib"),
    )
    import numpy as np

    models = {entry["name"]: joblib.load(ran.modeldir / entry["file"]) for entry in ran.note["models"]}
    assert list(models) == ["Ridge", "Ridge-2", "LinearRegression"]
    assert (models["Ridge-2"].coef_ == np.load(bench.folder / "now.npy")).all() and models["Ridge"].alpha == 7
    assert ran.chosen["name"] == "LinearRegression"  # the newest fit, whatever changed later
    assert [event["name"] for event in ran.of_type("model") if event["how"] == "changed"] == ["Ridge-2", "Ridge"]


def test_parts_of_a_model_and_what_is_not_fitted_are_no_models(bench):
    ran = bench.run(
        DATA
        + """
    from sklearn.base import BaseEstimator, RegressorMixin
    from sklearn.ensemble import BaggingRegressor, RandomForestRegressor
    from sklearn.model_selection import GridSearchCV
    from sklearn.preprocessing import StandardScaler
    class Mine(RegressorMixin, BaseEstimator):
        def fit(self, X, y):
            self.inner_ = Ridge().fit(X, y)
            return self
        def predict(self, X):
            return self.inner_.predict(X)
    steps = [StandardScaler(), Ridge()]
    forest = RandomForestRegressor(n_estimators=3).fit(X, y)
    trees = forest.estimators_
    bag = {"bag": BaggingRegressor(Ridge(), n_estimators=3).fit(X, y)}
    search = GridSearchCV(Ridge(), {"alpha": [1, 2]}, cv=2).fit(X, y)
    best = search.best_estimator_
    mine = Mine().fit(X, y)
    waiting, classes = [Ridge(), LinearRegression()], [Ridge]
    pipe = make_pipeline(*steps).fit(X, y)
    """
    )
    assert (ran.code, ran.err) == (0, "") and ran.of_type("warning") == []
    expected = ["Ridge", "RandomForestRegressor", "BaggingRegressor", "GridSearchCV", "Mine", "Pipeline"]
    assert names(ran) == expected and ran.chosen["name"] == "Pipeline"  # `Ridge` is `best`


def test_many_models_of_workers_push_no_fit_away(bench):
    ran = bench.run(
        DATA
        + """
    m = LinearRegression().fit(X, y)
    many = [copy.deepcopy(m) for _ in range(40)]
    """
    )
    assert (ran.code, ran.err) == (0, "")
    assert ran.chosen["name"] == "LinearRegression"
    told = len(names(ran)) + ran.note["dropped"] + len(ran.note["lost"])  # lost: on a slow machine, for want of time
    assert len(names(ran)) <= 20 and told == 41


def test_an_unchanged_model_is_written_once_and_one_that_was_used_too(bench):
    ran = bench.run(
        DATA
        + """
    from sklearn.ensemble import RandomForestRegressor
    from sklearn.tree import DecisionTreeRegressor
    class Mine(Ridge):
        def predict(self, X):
            return super().predict(X) + 1
    models = [kind().fit(X, y) for kind in (RandomForestRegressor, DecisionTreeRegressor, Mine, Ridge)]
    for model in models:
        model.predict(X)
    """
    )
    assert (ran.code, ran.err) == (0, "") and len(names(ran)) == 4
    assert not [event for event in ran.of_type("model") if event["how"] in ("changed", "held")]


def test_a_container_that_is_saved_holds_what_is_served(bench):
    ran = bench.run(
        DATA
        + """
    m = Ridge().fit(X, y)
    m.coef_ *= 3
    joblib.dump({"model": m, "columns": ["a"]}, "all.joblib")
    np.save("now.npy", m.coef_)
    """
    )
    import numpy as np

    assert (ran.code, ran.err) == (0, "")
    assert ran.chosen["name"] == "Ridge" and (served(ran).coef_ == np.load(bench.folder / "now.npy")).all()


@pytest.mark.parametrize("library", ["xgboost", "lightgbm"])
def test_a_booster_that_was_changed_or_cut_is_kept_as_it_is(bench, library):
    bench.needs(library)
    source = {
        "xgboost": """
    import xgboost as xgb
    data = xgb.DMatrix(X, y)
    b = xgb.train({"max_depth": 2}, data, 5)
    whole = xgb.train({"max_depth": 3}, data, 5)
    b.set_attr(note="mine")
    def cut():
        global short
        short = whole[:2]
    cut(); empty = xgb.Booster()
    """,
        "lightgbm": """
    import lightgbm as lgb
    data = lgb.Dataset(X, y, params={"verbose": -1}, free_raw_data=False)
    b = lgb.train({"verbose": -1, "min_data_in_leaf": 1}, data, 5)
    whole = lgb.train({"verbose": -1, "min_data_in_leaf": 1}, data, 7)
    b.set_leaf_output(0, 0, 7.5)
    short = copy.deepcopy(whole)
    """,
    }[library]
    ran = bench.run(DATA + source)
    assert (ran.code, ran.err) == (0, "") and ran.of_type("warning") == []
    assert names(ran) == ["Booster-3", "Booster", "Booster-2"] and ran.chosen["name"] == "Booster-2"
    text = (ran.modeldir / ran.note["models"][1]["file"]).read_text()
    assert '"note":"mine"' in text if library == "xgboost" else "leaf_value=7.5 " in text
    assert [event["how"] for event in ran.of_type("model")][-2:] == ["held", "changed"]


def test_a_keras_model_whose_weights_were_set_after_its_fit(bench):
    bench.needs("keras", "tensorflow")
    ran = bench.run(
        """
    import copy, keras, numpy as np
    keras.utils.set_random_seed(1)
    x = np.random.rand(16, 2); y = x[:, 0]
    def build():
        net = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
        net.compile("sgd", "mse")
        return net
    first, net, unfitted = build(), build(), build()
    first.fit(x, y, epochs=1, verbose=0)
    net.fit(x, y, epochs=2, verbose=0)
    def train():
        global best
        inner = build(); inner.fit(x, y, epochs=1, verbose=0); best = copy.deepcopy(inner)
    train()
    first.predict(x, verbose=0)
    net.set_weights([np.full((2, 1), 7.0), np.zeros(1)])
    """
    )
    assert (ran.code, ran.err) == (0, "") and ran.of_type("warning") == []
    assert ran.chosen["file"] == "model-Sequential-2-003.keras"
    files = {"model-001.keras", "model-Sequential-2-003.keras", "model-Sequential-3-001.keras"}
    assert files < set(ran.kept) and ran.note["newest"]["file"] == "model-Sequential-3-001.keras"
    assert "model-002.keras" not in ran.kept  # the first is as it was
    assert [model["name"] for model in ran.note["models"]][:2] == ["Sequential-4", "Sequential"]  # and `best` is there
    path = str(ran.modeldir / ran.chosen["file"])
    code = f"import keras; print(keras.models.load_model({path!r}).get_weights()[0].tolist())"
    shown = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True, text=True, env=bench.env(PYTHONPATH=None),
    )  # fmt: skip
    assert shown.stdout == "[[7.0], [7.0]]\n"
