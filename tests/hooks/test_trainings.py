"""Several trainings of one library in one script: each has its parameters and every round of its curves."""

from __future__ import annotations

import json

import pytest

DATA = """
import json, threading
import numpy as np
rng = np.random.default_rng(5)
X = rng.normal(size=(240, 4)); y = (X.sum(1) + rng.normal(size=240) > 0).astype(int)
parts = np.array_split(np.arange(240), 5)
expected = {}
def folds():
    for fold in range(5):
        yield np.concatenate(parts[:fold] + parts[fold + 1:]), parts[fold]
def expect(number, result, library):
    prefix = library + str(number) + "/" if number > 1 else ""
    for data, metrics in result.items():
        for metric, values in metrics.items():
            expected.setdefault(prefix + data + "/" + metric, []).extend(map(float, values))
"""
END = "\nprint(json.dumps(expected))\n"
XGB = (
    DATA
    + """
import xgboost as xgb
P = {"objective": "binary:logistic", "eval_metric": ["logloss", "auc"], "nthread": 1, "seed": 3}
def pair(train, test): return xgb.DMatrix(X[train], y[train]), xgb.DMatrix(X[test], y[test])
"""
)
LGB = (
    DATA
    + """
import lightgbm as lgb
P = {"objective": "binary", "metric": ["binary_logloss", "auc"], "num_threads": 1, "verbosity": -1,
     "min_data_in_leaf": 3, "seed": 3}
def pair(train, test):
    data = lgb.Dataset(X[train], y[train], free_raw_data=False)
    return data, lgb.Dataset(X[test], y[test], reference=data, free_raw_data=False)
"""
)


def has_all(ran) -> dict[str, list[float]]:
    """That each curve is what the library itself says, at steps from 0 on; returns those curves."""
    assert ran.code == 0, ran.err
    expected = json.loads(ran.out.splitlines()[-1])
    found = {name: ran.curves.curve(name) for name in ran.curves.names() if name != "sklearn/best_score"}
    assert {name: values.tolist() for name, (_, _, values) in found.items()} == expected
    for name, (steps, _, _) in found.items():
        assert steps.tolist() == list(range(len(steps))), name
    return expected


def same_without_studio(bench, source: str):
    ran, bare = bench.run(source), bench.run(source, PYTHONPATH=None)
    assert (ran.code, ran.out, ran.err) == (bare.code, bare.out, bare.err)
    return ran


def test_folds_of_xgboost(bench):
    bench.needs("xgboost")
    source = """
for fold, (train, test) in enumerate(folds(), 1):
    told, seen = {}, pair(train, test)
    xgb.train({**P, "max_depth": fold}, seen[0], 6, [(seen[0], "train"), (seen[1], "test")], evals_result=told,
              verbose_eval=False)
    expect(fold, told, "xgboost")
"""
    ran = same_without_studio(bench, XGB + source + END)
    assert len(has_all(ran)) == 5 * 4
    depths = [ran.params[f"xgboost{n if n > 1 else ''}.max_depth"] for n in range(1, 6)]
    assert depths == [1, 2, 3, 4, 5]


XGB_SPELLINGS = {
    "by position": "xgb.train(P, train, 4, evals, None, None, None, told, False)",
    "by name": "xgb.train(params=P, dtrain=train, num_boost_round=4, evals=evals, evals_result=told,"
    " verbose_eval=False)",
    "named backwards": "xgb.train(verbose_eval=False, evals_result=told, evals=evals, num_boost_round=4, dtrain=train,"
    " params=list({**P, 'eval_metric': 'auc'}.items()))",
    "callbacks by name": "xgb.train(P, train, 4, evals=evals, evals_result=told, verbose_eval=False,"
    " callbacks=[xgb.callback.EarlyStopping(50)])",
    "early stopping": "xgb.train({**P, 'eta': 3.0}, train, 60, evals, evals_result=told, early_stopping_rounds=2,"
    " verbose_eval=False)",
    "own metric": "xgb.train({**P, 'disable_default_eval_metric': 1}, train, 4, evals, evals_result=told,"
    " verbose_eval=False, custom_metric=lambda p, d: ('mine', float(p.sum())))",
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("how", XGB_SPELLINGS)
def test_every_spelling_of_xgb_train(bench, how):
    bench.needs("xgboost")
    source = f"""
import warnings
warnings.simplefilter("ignore")
train, test = pair(parts[0], parts[1])
for n in (1, 2):
    told, evals = {{}}, [(test, "test")]
    {XGB_SPELLINGS[how]}
    expect(n, told, "xgboost")
"""
    ran = same_without_studio(bench, XGB + source + END)
    found = has_all(ran)
    assert {name.split("/")[0] for name in found} == {"test", "xgboost2"}
    assert ran.params["xgboost2.same_as"] == "xgboost"
    assert ran.params["xgboost.num_boost_round"] == (60 if how == "early stopping" else 4)
    if how == "early stopping":
        assert len(found["test/auc"]) < 60


def test_xgboost_goes_on_with_a_model(bench):
    bench.needs("xgboost")
    source = """
train, test = pair(parts[0], parts[1])
def go(number, rounds, model):
    told = {}
    found = xgb.train(P, train, rounds, evals=[(test, "test")], evals_result=told, verbose_eval=False, xgb_model=model)
    expect(number, told, "xgboost")
    return found
first = go(1, 3, None)
first = go(1, 4, first)
other = go(2, 2, None)
first = go(1, 2, first)
first.save_model("kept.json")
go(3, 2, "kept.json")
"""
    found = has_all(same_without_studio(bench, XGB + source + END))
    assert [len(found[prefix + "test/auc"]) for prefix in ("", "xgboost2/", "xgboost3/")] == [9, 2, 2]


def test_estimators_of_xgboost_in_a_loop(bench):
    bench.needs("xgboost", "sklearn")
    source = """
from xgboost import XGBClassifier
for fold, (train, test) in enumerate(folds(), 1):
    model = XGBClassifier(n_estimators=5, max_depth=fold, eval_metric=["logloss", "auc"], n_jobs=1)
    model.fit(X[train], y[train], eval_set=[(X[train], y[train]), (X[test], y[test])], verbose=False)
    expect(fold, model.evals_result(), "xgboost")
"""
    ran = same_without_studio(bench, XGB + source + END)
    assert len(has_all(ran)) == 5 * 4
    depths = [value for name, value in ran.params.items() if name.startswith("sklearn") and name.endswith("max_depth")]
    assert depths == [1, 2, 3, 4, 5]


SEARCHES = {
    "cross_val_score": "cross_val_score(XGBClassifier(n_estimators=5, n_jobs=1), X, y, cv=5)",
    "in threads": "joblib.parallel_config('threading', n_jobs=2).__enter__();"
    "cross_val_score(XGBClassifier(n_estimators=5, n_jobs=1), X, y, cv=5)",
    "a search": "GridSearchCV(XGBClassifier(n_estimators=2, n_jobs=1), {'max_depth': [1, 2, 3]}, cv=2).fit(X, y)",
    "one for each class": "OneVsRestClassifier(XGBClassifier(n_estimators=2, n_jobs=1)).fit(X, parts_of)",
    "a pipeline": "Pipeline([('xgb', XGBClassifier(n_estimators=2, n_jobs=1))]).fit(X, y)",
}


@pytest.mark.parametrize("how", SEARCHES)
def test_fits_within_others_do_not_flood(bench, how):
    """Nor do they take the plain names from a training of the script's own."""
    bench.needs("xgboost", "sklearn")
    source = f"""
import joblib
from xgboost import XGBClassifier
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import Pipeline
parts_of = np.arange(240) % 3
{SEARCHES[how]}
model = XGBClassifier(n_estimators=3, max_depth=9, n_jobs=1).fit(X, y, eval_set=[(X, y)], verbose=False)
expect(1, model.evals_result(), "xgboost")
"""
    ran = same_without_studio(bench, XGB + source + END)
    has_all(ran)
    assert {name.partition(".")[0] for name in ran.params} <= {"seed", "xgboost", "sklearn", "sklearn2"}
    assert ran.params["xgboost.max_depth"] == 9


def test_evaluated_fits_of_a_cross_validation_have_their_curves(bench):
    bench.needs("xgboost", "sklearn")
    source = """
from xgboost import XGBClassifier
from sklearn.model_selection import cross_validate
model = XGBClassifier(n_estimators=4, n_jobs=1)
found = cross_validate(model, X, y, cv=3, params={"eval_set": [(X, y)], "verbose": False}, return_estimator=True)
for number, one in enumerate(found["estimator"], 1):
    expect(number, one.evals_result(), "xgboost")
"""
    assert len(has_all(same_without_studio(bench, XGB + source + END))) == 3


def test_two_trainings_at_once(bench):
    bench.needs("xgboost")
    source = """
results = [{}, {}]
def train(i):
    a, b = pair(parts[i], parts[i + 2])
    xgb.train({**P, "max_depth": i + 1}, a, 30, evals=[(b, "test")], evals_result=results[i], verbose_eval=False)
workers = [threading.Thread(target=train, args=(i,)) for i in range(2)]
for w in workers: w.start()
for w in workers: w.join()
print(json.dumps([r["test"]["auc"] for r in results]))
"""
    ran = bench.run(XGB + source)
    assert (ran.code, ran.err) == (0, "")
    found = [ran.curves.curve(prefix + "test/auc") for prefix in ("", "xgboost2/")]
    assert sorted(values.tolist() for _, _, values in found) == sorted(json.loads(ran.out))
    assert [steps.tolist() for steps, _, _ in found] == [list(range(30))] * 2
    for prefix, (_, _, values) in zip(("xgboost", "xgboost2"), found, strict=True):
        assert ran.params[prefix + ".max_depth"] == 1 + json.loads(ran.out).index(values.tolist())


def test_folds_of_lightgbm(bench):
    bench.needs("lightgbm")
    source = """
for fold, (train, test) in enumerate(folds(), 1):
    told, seen = {}, pair(train, test)
    lgb.train({**P, "num_leaves": fold + 1}, seen[0], 6, [seen[0], seen[1]], ["train", "test"],
              callbacks=[lgb.record_evaluation(told)])
    expect(fold, told, "lightgbm")
"""
    ran = same_without_studio(bench, LGB + source + END)
    assert len(has_all(ran)) == 5 * 4
    leaves = [ran.params[f"lightgbm{n if n > 1 else ''}.num_leaves"] for n in range(1, 6)]
    assert leaves == [2, 3, 4, 5, 6]


LGB_SPELLINGS = {
    "by name": "lgb.train(params=P, train_set=train, num_boost_round=4, valid_sets=[test], valid_names=['test'],"
    " callbacks=[record])",
    "one set": "lgb.train(P, train, 4, test, 'test', callbacks=[record])",
    "by position": "lgb.train(P, train, 4, [test], ['test'], None, None, False, [record])",
    "early stopping": "lgb.train({**P, 'learning_rate': 2.0}, train, 60, [test], ['test'],"
    " callbacks=[lgb.early_stopping(2, verbose=False), record])",
    "rounds in params": "lgb.train({**P, 'num_iterations': 4}, train, valid_sets=[test], valid_names=['test'],"
    " callbacks=[record])",
}


@pytest.mark.parametrize("how", LGB_SPELLINGS)
def test_every_spelling_of_lgb_train(bench, how):
    bench.needs("lightgbm")
    source = f"""
import warnings
warnings.simplefilter("ignore")
for n in (1, 2):
    train, test = pair(parts[0], parts[1])
    told = {{}}
    record = lgb.record_evaluation(told)
    {LGB_SPELLINGS[how]}
    expect(n, told, "lightgbm")
"""
    ran = same_without_studio(bench, LGB + source + END)
    found = has_all(ran)
    assert {name.split("/")[0] for name in found} == {"test", "lightgbm2"}
    assert ran.params["lightgbm2.same_as"] == "lightgbm"


def test_lightgbm_goes_on_with_a_model(bench):
    bench.needs("lightgbm")
    source = """
def go(number, rounds, model):
    told = {}
    train, test = pair(parts[0], parts[1])
    found = lgb.train(P, train, rounds, [test], ["test"], init_model=model, keep_training_booster=True,
                      callbacks=[lgb.record_evaluation(told)])
    expect(number, told, "lightgbm")
    return found
first = go(1, 3, None)
first = go(1, 4, first)
go(2, 2, None)
go(1, 2, first)
"""
    found = has_all(same_without_studio(bench, LGB + source + END))
    assert [len(found[prefix + "test/auc"]) for prefix in ("", "lightgbm2/")] == [9, 2]


def test_estimators_of_lightgbm_in_a_loop(bench):
    bench.needs("lightgbm", "sklearn")
    source = """
from lightgbm import LGBMClassifier
for fold, (train, test) in enumerate(folds(), 1):
    model = LGBMClassifier(n_estimators=5, num_leaves=fold + 1, n_jobs=1, verbosity=-1)
    model.fit(X[train], y[train], eval_set=[(X[test], y[test])])
    expect(fold, model.evals_result_, "lightgbm")
"""
    ran = same_without_studio(bench, LGB + source + END)
    assert len(has_all(ran)) == 5


STOP_XGB = """
class Stop(xgb.callback.TrainingCallback):
    def after_iteration(self, model, epoch, evals_log):
        if epoch == 3:
            expect(1, {data: {name: [*values] for name, values in found.items()} for data, found in evals_log.items()},
                   "xgboost")
            raise KIND("enough")
"""
STOP_LGB = """
told = {}
def stop(env):
    if env.iteration == 3:
        expect(1, told, "lightgbm")
        raise KIND("enough")
stop.order = 50
"""
RAISING = {
    "xgb.train": (
        XGB + STOP_XGB,
        "xgb.train(P, train, 9, [(test, 'test')], verbose_eval=False, callbacks=[Stop()])",
    ),
    "XGBClassifier": (
        XGB + STOP_XGB,
        "xgb.XGBClassifier(n_estimators=9, n_jobs=1, callbacks=[Stop()]).fit(X, y, eval_set=[(X, y)], verbose=False)",
    ),
    "lgb.train": (
        LGB + STOP_LGB,
        "lgb.train(P, train, 9, valid_sets=[test], valid_names=['test'],"
        " callbacks=[lgb.record_evaluation(told), stop])",
    ),
    "LGBMClassifier": (
        LGB + STOP_LGB,
        "lgb.LGBMClassifier(n_estimators=9, n_jobs=1, verbosity=-1).fit(X, y, eval_set=[(X, y)],"
        " callbacks=[lgb.record_evaluation(told), stop])",
    ),
}


@pytest.mark.parametrize("how", RAISING)
def test_a_callback_that_raises_costs_no_round(bench, how):
    before, call = RAISING[how]
    kind = "KeyboardInterrupt" if how.endswith("train") else "ValueError"
    bench.needs("xgboost" if before.startswith(XGB) else "lightgbm", "sklearn")
    source = f"""
train, test = pair(parts[0], parts[1])
try:
    {call}
except {kind} as exc:
    assert str(exc) == "enough"
"""
    found = has_all(bench.run(before.replace("KIND", kind) + source + END))
    assert found and {len(values) for values in found.values()} == {4}


def test_thirty_different_fits_of_scikit_learn(bench):
    bench.needs("sklearn")
    source = """
from sklearn.tree import DecisionTreeClassifier
for depth in range(1, 31):
    model = DecisionTreeClassifier(max_depth=depth).fit(X, y)
"""
    ran = bench.run(DATA + source)
    depths = [value for name, value in ran.params.items() if name.endswith("max_depth")]
    assert depths == [*range(1, 21), 30] and ran.code == 0
    (warning,) = [event["text"] for event in ran.of_type("warning") if "sklearn" in event["text"]]
    assert warning.startswith("9 further sets of sklearn parameters are not recorded")


KERAS = (
    DATA
    + """
import keras
def expect_history(number, history):
    expect(number, {"x": history.history}, "keras")
def build():
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3), keras.layers.Dense(1, activation="sigmoid")])
    model.compile("adam", "binary_crossentropy", metrics=["accuracy"])
    return model
"""
)


def keras_has_all(ran) -> None:
    assert ran.code == 0, ran.err
    expected = {name.replace("x/", ""): values for name, values in json.loads(ran.out.splitlines()[-1]).items()}
    names = [name for name in ran.curves.names() if "batch/" not in name and "learning_rate" not in name]
    assert {name: ran.curves.curve(name)[2].tolist() for name in names} == expected
    assert all(ran.curves.curve(name)[0].tolist() == list(range(len(expected[name]))) for name in names)


@pytest.mark.timeout(300)
def test_folds_of_keras(bench):
    bench.needs("keras")
    source = """
for fold, (train, test) in enumerate(folds(), 1):
    model = build()
    told = model.fit(X[train], y[train], epochs=fold + 1, validation_data=(X[test], y[test]), verbose=0)
    expect_history(fold, told)
"""
    keras_has_all(bench.run(KERAS + source + END))


@pytest.mark.timeout(300)
def test_folds_of_keras_with_one_model(bench):
    """A copy is another model; the same one with its weights put back goes on, as its identity says."""
    bench.needs("keras")
    source = """
first = build()
start = first.get_weights()
for number, (train, test) in zip((1, 2), folds()):
    model = keras.models.clone_model(first)
    model.compile("adam", "binary_crossentropy")
    expect_history(number, model.fit(X[train], y[train], epochs=2, verbose=0))
for train, test in folds():
    first.set_weights(start)
    expect_history(3, first.fit(X[train], y[train], epochs=2, verbose=0))
"""
    keras_has_all(bench.run(KERAS + source + END))
