"""scikit-learn without a line of code: the outermost fit's parameters, and an estimator that can be served."""

from __future__ import annotations

import os

import pytest

joblib = pytest.importorskip("joblib", reason="joblib is not installed")
pytest.importorskip("sklearn", reason="scikit-learn is not installed")

DATA = """
    import numpy as np
    rng = np.random.default_rng(5)
    X = rng.normal(size=(200, 4)); y = (X.sum(1) > 0).astype(int)
"""


def test_methods_that_not_every_estimator_has_are_fits_too(bench):
    """scikit-learn hides them behind descriptors of its own."""
    ran = bench.run(
        DATA
        + """
    from sklearn.cluster import KMeans
    from sklearn.linear_model import Ridge
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import Pipeline
    baseline = Ridge().fit(X, y)
    network = MLPClassifier((3,), random_state=0)
    for _ in range(3):
        network.partial_fit(X, y, classes=[0, 1])
    assert hasattr(network, "partial_fit") and not hasattr(MLPClassifier(solver="lbfgs"), "partial_fit")
    assert MLPClassifier.partial_fit.__name__ == "partial_fit"
    groups = Pipeline([("k", KMeans(2, n_init=1))])
    groups.fit_predict(X)
    """
    )
    assert (ran.code, ran.err) == (0, "")
    assert ran.chosen["name"] == "MLPClassifier" and "sklearn2.hidden_layer_sizes" in ran.params
    assert {model["name"] for model in ran.note["models"]} == {"Ridge", "MLPClassifier", "Pipeline"}


def test_the_outermost_fit_is_recorded_and_its_estimator_kept(bench):
    ran = bench.run(
        DATA
        + """
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.model_selection import GridSearchCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    Xs = StandardScaler().fit_transform(X)
    search = GridSearchCV(make_pipeline(StandardScaler(), RandomForestClassifier(n_estimators=5, random_state=1)),
                          {"randomforestclassifier__max_depth": [2, 3]}, cv=2)
    assert search.fit(X, y) is search
    import inspect, pickle, sklearn.base
    print(list(inspect.signature(RandomForestClassifier.fit).parameters), RandomForestClassifier.fit.__name__)
    pickle.loads(pickle.dumps(sklearn.base.clone(search)))
    np.save("expected.npy", search.predict(X))
    """
    )
    assert (ran.code, ran.err) == (0, "")
    assert ran.out == "['self', 'X', 'y', 'sample_weight'] fit\n"
    params = ran.params
    assert params["sklearn.estimator"] == "GridSearchCV" and params["sklearn.cv"] == 2
    assert params["sklearn.estimator.randomforestclassifier.n_estimators"] == 5
    assert params["seed.numpy"] == 5
    assert params["sklearn.best.randomforestclassifier.max_depth"] in (2, 3)
    score = float(ran.curves.curve("sklearn/best_score")[2][0])
    assert 0.5 < score <= 1 and ran.curves.names() == ["sklearn/best_score"]
    assert ran.kept == ["helper-StandardScaler.joblib", "model.joblib"]
    assert (ran.chosen["name"], ran.chosen["file"]) == ("GridSearchCV", "model.joblib")
    import numpy as np

    fitted = joblib.load(ran.modeldir / "model.joblib")
    rng = np.random.default_rng(5)
    assert np.array_equal(
        fitted.predict(rng.normal(size=(200, 4))), np.fromfile(bench.folder / "expected.npy", np.int64)[16:]
    )
    assert ran.of_type("warning") == []


def test_each_kind_of_estimator_has_parameters_of_its_own(bench):
    ran = bench.run(
        DATA
        + """
    from sklearn.cluster import KMeans
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    for C in (0.1, 0.5):
        LogisticRegression(C=C).fit(X, y)
    KMeans(3).fit(X)
    make_pipeline(KMeans(2), LogisticRegression(C=0.7)).fit(X, y)
    LogisticRegression(C=0.9).fit(X, y)
    """
    )
    assert ran.code == 0, ran.err
    params = ran.params
    assert [params[f"sklearn{n}.C"] for n in ("", 2, 5)] == [0.1, 0.5, 0.9]
    assert (params["sklearn3.estimator"], params["sklearn3.n_clusters"]) == ("KMeans", 3)
    assert (params["sklearn4.estimator"], params["sklearn4.logisticregression.C"]) == ("Pipeline", 0.7)
    assert "sklearn.n_clusters" not in params and "sklearn3.C" not in params and "sklearn6.C" not in params


def test_many_fits_share_what_is_equal_and_the_newest_is_always_there(bench):
    ran = bench.run(
        DATA
        + """
    from sklearn.linear_model import Ridge
    for i in range(30):
        Ridge(alpha=1 + i).fit(X, y)
        Ridge(alpha=0.5).fit(X, y)
    """
    )
    assert ran.code == 0, ran.err
    groups = {name.partition(".")[0] for name in ran.params if name.startswith("sklearn")}
    assert len(groups) == 21 and ran.params["sklearn2.fits"] == 30
    assert (ran.params["sklearn20.alpha"], ran.params["sklearn31.alpha"]) == (19, 30)
    assert [event["text"] for event in ran.of_type("warning")] == [
        "10 further sets of sklearn parameters are not recorded: only the first 20 and the newest are; "
        "a studio.start() around each training keeps all"
    ]


def test_what_the_script_saves_elsewhere_is_noted_and_copied_and_what_it_saves_into_modeldir_stays_alone(bench):
    source = (
        DATA
        + """
    import joblib, os, sys
    from sklearn.linear_model import LogisticRegression
    model = LogisticRegression(C=0.5).fit(X, y)
    os.makedirs("out", exist_ok=True)
    joblib.dump(model, "out/mine.joblib")
    if len(sys.argv) > 1:
        os.makedirs(sys.argv[1], exist_ok=True)
        joblib.dump(model, sys.argv[1] + "/own.joblib")
    """
    )
    ran = bench.run(source)
    assert (ran.code, ran.err) == (0, "")
    assert ran.kept == ["mine.joblib", "model.joblib"]
    assert (ran.chosen["name"], ran.chosen["file"]) == ("mine", "mine.joblib")
    assert ran.chosen["reason"] == "the one that the script saved last"
    hows = [(event["how"], os.path.basename(event["path"])) for event in ran.of_type("model")]
    assert hows == [("sklearn.fit", "model.joblib"), ("joblib.dump", "mine.joblib"), ("copy", "mine.joblib")]
    for file in ran.modeldir.iterdir():
        file.unlink()
    ran = bench.run(source, [str(ran.modeldir)])
    assert ran.kept == ["own.joblib"] and ran.chosen["class"] == "LogisticRegression"
    assert ran.chosen["reason"] == "the newest checkpoint that the script wrote into modeldir"
    assert ran.chosen["signature"]["inputs"][0]["shape"] == [-1, 4]


def test_a_class_of_the_scripts_own_is_recorded_and_pickled_without_studio(bench):
    bench.needs("cloudpickle")
    ran = bench.run(
        DATA
        + """
    import pickle, sys
    import cloudpickle
    from sklearn.base import BaseEstimator, ClassifierMixin
    class Mean(ClassifierMixin, BaseEstimator):
        def __init__(self, shift=1.5):
            self.shift = shift
        def fit(self, X, y):
            self.mean_ = y.mean() + self.shift
            return self
        def predict(self, X):
            return np.full(len(X), self.mean_)
    fitted = Mean().fit(X, y)
    with open("model.pkl", "wb") as file:
        cloudpickle.dump(fitted, file)
    """
    )
    assert (ran.code, ran.err) == (0, "")
    assert ran.params["sklearn.estimator"] == "Mean" and ran.params["sklearn.shift"] == 1.5
    later = bench.run(
        """
        import pickle, sys, numpy as np
        with open("model.pkl", "rb") as file:
            model = pickle.load(file)
        model.fit(np.zeros((2, 2)), np.ones(2))
        print(model.predict(np.zeros((1, 2))), [name for name in sys.modules if name.startswith("_studio")])
        """,
        PYTHONPATH=None,
    )
    assert (later.out, later.err) == ("[2.5] []\n", "")


def test_a_fit_that_raises_raises(bench):
    ran = bench.run(
        DATA
        + """
    from sklearn.linear_model import LogisticRegression
    LogisticRegression().fit(X, None)
    """
    )
    assert ran.code == 1 and "requires y to be passed" in ran.err and "_studio" not in ran.err
    assert ran.of_type("exception")[0]["name"] == "ValueError"
    assert ran.note["models"] == [] and ran.note["lost"][0]["why"].startswith("its fit was ended by ValueError: ")


@pytest.mark.parametrize("before", ["", "joblib.dump({'not': 'ours'}, mine)"])
def test_the_scripts_own_model_joblib_is_never_written_over(bench, before):
    ran = bench.run(
        DATA
        + f"""
    import joblib, os
    from sklearn.linear_model import LogisticRegression
    mine = {str(bench.modeldir / "model.joblib")!r}
    os.makedirs(os.path.dirname(mine))
    {before}
    model = LogisticRegression().fit(X, y)
    joblib.dump({{"mine": model}}, mine)
    """
    )
    assert (ran.code, ran.err) == (0, "")
    assert list(joblib.load(ran.modeldir / "model.joblib")) == ["mine"]


def test_a_later_process_of_the_run_keeps_its_model_beside_that_of_the_earlier(bench):
    source = (
        DATA + "\n    import sys\n    from sklearn.linear_model import Ridge\n    Ridge(float(sys.argv[1])).fit(X, y)"
    )
    for alpha in ("1", "2"):
        ran = bench.run(source, [alpha])
        assert (ran.code, ran.err) == (0, "")
        assert joblib.load(ran.modeldir / ran.chosen["file"]).alpha == float(alpha)
    assert [model["name"] for model in ran.note["models"]] == ["Ridge", "Ridge-2"]
    assert joblib.load(ran.modeldir / "model.joblib").alpha == 1
