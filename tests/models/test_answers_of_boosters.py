"""XGBoost and LightGBM over their kinds of models: clients that ask at once get what the library's predict says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from .asking import check_as_library, loaded

RNG = np.random.default_rng(13)
X = RNG.normal(size=(300, 4))
Y = X @ [1.0, -1.0, 0.5, 0.0] + RNG.normal(size=300)
LABELS = (Y > 0).astype(int)
THREE = np.digitize(Y, [-1, 1])
COUNTS = RNG.poisson(3, 300)
HOLES = np.where(RNG.random(X.shape) < 0.2, np.nan, X)
CODES = np.column_stack([RNG.integers(0, 4, 300), X[:, 1:]]).astype(float)

XGB: dict[str, dict[str, Any]] = {
    "squares": {"params": {}, "y": Y},
    "logistic": {"params": {"objective": "binary:logistic"}, "y": LABELS},
    "raw": {"params": {"objective": "binary:logitraw"}, "y": LABELS},
    "chances of three": {"params": {"objective": "multi:softprob", "num_class": 3}, "y": THREE},
    "one of three": {"params": {"objective": "multi:softmax", "num_class": 3}, "y": THREE},
    "two outputs": {"params": {}, "y": np.column_stack([Y, -Y])},
    "trees of two outputs": {"params": {"multi_strategy": "multi_output_tree"}, "y": np.column_stack([Y, -Y])},
    "counts": {"params": {"objective": "count:poisson"}, "y": COUNTS},
    "times": {"params": {"objective": "survival:cox"}, "y": np.abs(Y) + 0.1},
    "quantiles": {"params": {"objective": "reg:quantileerror", "quantile_alpha": [0.1, 0.9]}, "y": Y},
    "dart": {"params": {"booster": "dart", "rate_drop": 0.3}, "y": Y},
    "linear": {"params": {"booster": "gblinear"}, "y": Y},
    "linear of three": {"params": {"booster": "gblinear", "objective": "multi:softprob", "num_class": 3}, "y": THREE},
    "forest": {"params": {"num_parallel_tree": 4, "subsample": 0.5}, "y": Y},
    "holes": {"params": {}, "y": Y, "x": HOLES},
    "names": {"params": {}, "y": Y, "names": ["a", "b", "c", "d"]},
    "categories": {"params": {}, "y": Y, "x": CODES, "types": ["c", "q", "q", "q"]},
}


@pytest.mark.parametrize("suffix", ["json", "ubj"])
@pytest.mark.parametrize("kind", XGB)
def test_xgboost_answers_as_booster_predict(tmp_path: Path, kind: str, suffix: str) -> None:
    xgboost = pytest.importorskip("xgboost", reason="xgboost is not installed")
    told = XGB[kind]
    x = told.get("x", X)
    names = {"feature_names": told.get("names"), "feature_types": told.get("types")}
    data = xgboost.DMatrix(x, told["y"], enable_categorical="types" in told, **names)
    booster = xgboost.train({"seed": 1, **told["params"]}, data, 6)
    booster.save_model(tmp_path / f"model.{suffix}")
    model = loaded(tmp_path / f"model.{suffix}")
    assert model.stacks, model.unmerged

    def predict(arrays: Any) -> Any:
        return [booster.predict(xgboost.DMatrix(arrays[0], enable_categorical="types" in told, **names))]

    check_as_library(model, predict, [x[:5]], within=1e-6)


@pytest.mark.parametrize("booster", ["gbtree", "dart", "gblinear"])
def test_the_scikit_learn_models_of_xgboost_end_at_their_best_iteration(tmp_path: Path, booster: str) -> None:
    xgboost = pytest.importorskip("xgboost", reason="xgboost is not installed")
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    made = xgboost.XGBClassifier(n_estimators=80, early_stopping_rounds=5, learning_rate=0.9, booster=booster)
    made.fit(X[:200], LABELS[:200], eval_set=[(X[200:], LABELS[200:])], verbose=False)
    made.save_model(tmp_path / "model.json")
    model = loaded(tmp_path / "model.json")
    assert model.warnings == ()
    check_as_library(model, lambda xs: [made.predict_proba(xs[0])[:, 1]], [X[:5]], within=1e-6)
    if booster == "gbtree":
        every = made.get_booster().predict(xgboost.DMatrix(X[:5]))
        assert not np.allclose(every, made.predict_proba(X[:5])[:, 1])  # so the test tells the two apart


def test_a_model_of_xgboosts_train_answers_with_all_as_it_does_itself_and_says_so(tmp_path: Path) -> None:
    xgboost = pytest.importorskip("xgboost", reason="xgboost is not installed")
    train, test = (xgboost.DMatrix(X[part], LABELS[part]) for part in (slice(200), slice(200, 300)))
    params = {"objective": "binary:logistic", "eta": 0.9}
    booster = xgboost.train(params, train, 80, evals=[(test, "t")], early_stopping_rounds=5, verbose_eval=False)
    booster.save_model(tmp_path / "model.json")
    model = loaded(tmp_path / "model.json")
    assert f"early stopping found the first {booster.best_iteration + 1} best" in model.warnings[0]
    check_as_library(model, lambda xs: [booster.predict(xgboost.DMatrix(xs[0]))], [X[:5]], within=1e-6)


LGB: dict[str, tuple[dict[str, Any], Any]] = {
    "squares": ({}, Y),
    "logistic": ({"objective": "binary"}, LABELS),
    "chances of three": ({"objective": "multiclass", "num_class": 3}, THREE),
    "counts": ({"objective": "poisson"}, COUNTS),
    "dart": ({"boosting": "dart"}, Y),
    "forest": ({"boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.5}, Y),
    "lines in leaves": ({"linear_tree": True}, Y),
    "holes": ({}, Y),
}


@pytest.mark.parametrize("kind", LGB)
def test_lightgbm_answers_as_booster_predict(tmp_path: Path, kind: str) -> None:
    lightgbm = pytest.importorskip("lightgbm", reason="lightgbm is not installed")
    params, y = LGB[kind]
    x = HOLES if kind == "holes" else X
    booster = lightgbm.train({"verbosity": -1, "num_threads": 1, **params}, lightgbm.Dataset(x, y), 6)
    booster.save_model(tmp_path / "model.txt")
    model = loaded(tmp_path / "model.txt")
    assert model.stacks, model.unmerged
    check_as_library(model, lambda xs: [booster.predict(xs[0])], [x[:5]], within=1e-9)


@pytest.mark.filterwarnings("ignore:.*eval_set")
@pytest.mark.parametrize("api", ["train", "scikit-learn"])
def test_lightgbm_ends_at_its_best_iteration(tmp_path: Path, api: str) -> None:
    lightgbm = pytest.importorskip("lightgbm", reason="lightgbm is not installed")
    stop = [lightgbm.early_stopping(5, verbose=False)]
    predict: Callable[[Any], Any]
    if api == "train":
        train = lightgbm.Dataset(X[:200], LABELS[:200])
        test = lightgbm.Dataset(X[200:], LABELS[200:], reference=train)
        params = {"objective": "binary", "learning_rate": 0.9, "verbosity": -1, "num_threads": 1}
        booster = lightgbm.train(params, train, 80, valid_sets=[test], callbacks=stop)
        predict = booster.predict
    else:
        made = lightgbm.LGBMClassifier(n_estimators=80, learning_rate=0.9, verbosity=-1, n_jobs=1)
        made.fit(X[:200], LABELS[:200], eval_set=[(X[200:], LABELS[200:])], callbacks=stop)
        booster, predict = made.booster_, lambda x: made.predict_proba(x)[:, 1]
    booster.save_model(tmp_path / "model.txt")
    check_as_library(loaded(tmp_path / "model.txt"), lambda xs: [predict(xs[0])], [X[:5]], within=1e-9)
