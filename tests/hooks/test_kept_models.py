"""Which of a script's models are kept, which of them is *the* model, and what is told of the data that they saw."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

joblib = pytest.importorskip("joblib", reason="joblib is not installed")
pytest.importorskip("sklearn", reason="scikit-learn is not installed")

DATA = """
    import numpy as np
    X = np.random.RandomState(0).rand(80, 3); y = (X[:, 0] > .5).astype(int)
    from sklearn.linear_model import LogisticRegression, Ridge
"""


def names(ran) -> list[str]:
    return [model["name"] for model in ran.note["models"]]


def test_clones_within_model_selection_are_no_models_and_helpers_not_the_model(bench):
    ran = bench.run(
        DATA
        + """
    import joblib
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.cluster import KMeans
    from sklearn.decomposition import PCA
    from sklearn.ensemble import BaggingRegressor, IsolationForest, VotingClassifier
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.model_selection import GridSearchCV, cross_val_predict, cross_val_score
    from sklearn.multiclass import OneVsRestClassifier
    def others():
        VotingClassifier([("a", LogisticRegression()), ("b", LogisticRegression(C=2))]).fit(X, y)
        OneVsRestClassifier(LogisticRegression(), n_jobs=2).fit(X, y)
        CalibratedClassifierCV(LogisticRegression(), cv=2).fit(X, y)
    others()
    final = Ridge().fit(X, y)
    with joblib.parallel_backend("threading", n_jobs=2):
        cross_val_score(Ridge(), X, y, cv=3)
        cross_val_predict(LogisticRegression(), X, y, cv=3)
        bag = BaggingRegressor(Ridge(), n_estimators=3).fit(X, y)
    del bag
    search = [GridSearchCV(Ridge(), {"alpha": [1, 2]}, n_jobs=2, cv=2)]
    KMeans(2, n_init=1).fit_predict(X)
    points = PCA(2).fit_transform(X)
    CountVectorizer().fit_transform(["one text", "another text"])
    outliers = IsolationForest(n_estimators=3).fit(X)
    """
    )
    assert (ran.code, ran.err) == (0, "") and ran.of_type("warning") == []
    expected = {"VotingClassifier", "OneVsRestClassifier", "CalibratedClassifierCV", "BaggingRegressor", "Ridge"}
    helpers = {"KMeans", "PCA", "CountVectorizer", "IsolationForest"}
    assert set(names(ran)) <= expected | helpers  # what was freed before there was time for it is counted
    assert len(names(ran)) + ran.note["dropped"] == len(expected | helpers)
    assert (ran.chosen["name"], ran.chosen["reason"]) == ("Ridge", "the newest one that a variable still holds (final)")
    assert all(model["role"] == ("helper" if model["name"] in helpers else "predictor") for model in ran.note["models"])


@pytest.mark.parametrize(
    ("source", "name", "reason"),
    [
        ("def f():\n        Ridge(1).fit(X, y); Ridge(2).fit(X, y)\n    f()", "Ridge-2", "the newest fit"),
        ("best = {'a': Ridge(1).fit(X, y)}\n    (lambda: Ridge(2).fit(X, y))()", "Ridge", "still holds (best['a'])"),
        ("a = Ridge(1).fit(X, y); import json; json.other = Ridge(2).fit(X, y)", "Ridge", "still holds (a)"),
        (
            "class T: pass\n    t = T(); t.m = Ridge(1).fit(X, y)\n    (lambda: Ridge(2).fit(X, y))()",
            "Ridge",
            "still holds (t.m)",
        ),
        (
            "import joblib\n    a = Ridge(1).fit(X, y); joblib.dump({'m': a}, 'a.joblib'); b = Ridge(2).fit(X, y)",
            "Ridge",
            "saved last (a)",
        ),
        ("from sklearn.cluster import KMeans\n    k = KMeans(2, n_init=1).fit(X)", "KMeans", "there is no predictor"),
    ],
)
def test_the_model_is_chosen_by_the_rule(bench, source, name, reason):
    ran = bench.run(DATA + "\n    " + source)
    assert (ran.code, ran.err) == (0, "")
    assert ran.chosen["name"] == name and reason in ran.chosen["reason"]


def test_models_of_one_class_are_told_apart_by_their_variables(bench):
    ran = bench.run(
        DATA
        + """
    best = models = None
    for alpha in (1, 2, 3, 4):
        m = Ridge(alpha).fit(X, y)
        if alpha == 2:
            best = m
        if alpha == 3:
            models, _ = {("a", 1): None, "tried": m}, m
    """
    )
    reasons = {joblib.load(ran.modeldir / e["file"]).alpha: e["reason"] for e in ran.note["models"] if e["reason"]}
    assert reasons == {
        2: "variable best", 3: "variable models['tried']", 4: "the newest one that a variable still holds (m)",
    }  # fmt: skip


def test_models_within_tuples_and_objects_are_named_too(bench):
    """As deep as scripts keep them, and with little to do where they keep all their data in such lists."""
    ran = bench.run(
        DATA
        + """
    class Fold:
        pass
    class Proxy:  # as libraries wrap dictionaries that a model holds
        __class__ = property(lambda self: dict)
    class Broken(list):
        def __iter__(self):
            raise ValueError
    proxy, broken, holder = Proxy(), Broken([1, Fold()]), Fold()
    holder.proxy = proxy
    numbers = list(range(1_000_000))
    nested = [[(0, [1, [2]])] for _ in range(50_000)]
    nested.append(nested)
    scored, folds, keyed, odd = [], [Fold()], {"a": {("b", 1): []}}, {(1.5, (1, 2))}
    scored.append((0.5, 1, Ridge(1).fit(X, y)))
    scored.append((0.6, 2, Ridge(2).fit(X, y)))
    folds[0].model = Ridge(3).fit(X, y)
    keyed["a"]["c"] = [Ridge(4).fit(X, y)]
    keyed["a"]["b", 1].append(Ridge(5).fit(X, y))
    odd.add((0, Ridge(6).fit(X, y)))
    """
    )
    assert (ran.code, ran.err) == (0, "")
    reasons = {joblib.load(ran.modeldir / e["file"]).alpha: e["reason"] for e in ran.note["models"]}
    assert reasons == {
        1: "variable scored[0][2]", 2: "variable scored[1][2]", 3: "variable folds[0].model",
        4: "variable keyed['a']['c'][0]", 5: "variable keyed['a']",
        6: "the newest one that a variable still holds (odd)",
    }  # fmt: skip


def test_the_newest_of_many_fits_is_there_although_the_script_is_killed(bench):
    process = bench.start(
        DATA
        + """
    import time
    for alpha in range(1, 301):
        Ridge(alpha).fit(X, y)
    print("evaluating", flush=True)
    time.sleep(300)
    """
    )
    assert process.stdout.readline() == "evaluating\n"
    ran = bench.ran()
    found = 0.0
    while process.poll() is None and found != 300:  # the test's time limit ends it
        file = ran.modeldir / ".studio.json"
        text = file.read_text() if file.exists() else ""
        found = joblib.load(ran.modeldir / ran.chosen["file"]).alpha if text else 0
    process.kill()
    process.communicate()
    assert found == 300 and len(ran.note["models"]) <= 20


SLOW = """
    import sys, time
    from sklearn.base import BaseEstimator, RegressorMixin
    class Slow(RegressorMixin, BaseEstimator):
        def fit(self, X, y):
            if y is None:
                raise ValueError("no targets")
            while not y.sum():
                time.sleep(0.02)
            return self
        def predict(self, X): ...
    baseline = Ridge().fit(X, y)
    target = y * 0
"""


def test_a_long_fit_is_told_of_in_case_that_the_run_is_killed(bench):
    process = bench.start(
        DATA
        + SLOW
        + """
    sys.modules["_studio_fits"].TELL_S = 0.0
    model = Slow().fit(X, target)
    """,
    )
    ran, found = bench.ran(), []
    while process.poll() is None and not found:  # the test's time limit ends it
        file = ran.modeldir / ".studio.json"
        found = json.loads(file.read_text())["lost"] if file.exists() else []
    process.kill()
    process.communicate()
    assert [(entry["name"], entry["why"]) for entry in found] == [("Slow", "the run ended before its fit did")]


@pytest.mark.parametrize(
    ("source", "lost"),
    [
        ("Slow().fit(X, None)", ["its fit was ended by ValueError: no targets"]),
        ("import _thread; threading.Timer(0.3, _thread.interrupt_main).start(); Slow().fit(X, target)",
         ["its fit was ended by KeyboardInterrupt"]),
        ("threading.Thread(target=Slow().fit, args=(X, target), daemon=True).start()",
         ["the run ended before its fit did"]),
        ("try: Slow().fit(X, None)\n    except ValueError as e: raise SystemExit(1) from e",
         ["its fit was ended by ValueError: no targets"]),
        ("try: Slow().fit(X, None)\n    except ValueError as e: err = e\n    Ridge(2).fit(X, y)\n    raise err", []),
        ("try: Slow().fit(X, None)\n    except ValueError as e: pass\n"
         "    from sklearn.decomposition import PCA; PCA().fit(X)", ["its fit was ended by ValueError: no targets"]),
        ("fits = sys.modules['_studio_fits']; fits.TELL_S = 0; slow = Slow()\n"
         "    threading.Timer(0.1, fits.tell_of_long).start()\n"
         "    threading.Timer(0.5, target.__iadd__, (1,)).start(); slow.fit(X, target)", []),
    ],
    ids=["error", "Ctrl-C", "daemon", "exit", "a later fit", "a later helper", "told of, then over"],
)  # fmt: skip
def test_a_fit_that_did_not_come_to_its_end_is_named_as_lost(bench, source, lost):
    ran = bench.run(DATA + SLOW + "    import threading\n    " + source + "\n")
    assert [entry["why"] for entry in ran.note["lost"]] == lost, ran.err
    assert names(ran)[:1] == ["Ridge"]


def test_a_booster_that_ctrl_c_cuts_short_is_the_model_whatever_was_saved_before(bench):
    bench.needs("xgboost")
    ran = bench.run(
        DATA
        + """
    import _thread, joblib, xgboost as xgb
    joblib.dump(Ridge().fit(X, y), "before.joblib")
    class Told(xgb.callback.TrainingCallback):
        def after_iteration(self, model, epoch, log):
            if epoch == 8: _thread.interrupt_main()
    try: xgb.train({}, xgb.DMatrix(X, y), 10_000, callbacks=[Told()])
    except KeyboardInterrupt: print("enough")
    """
    )
    assert (ran.code, ran.out, ran.err, ran.note["lost"]) == (0, "enough\n", "", [])
    assert (ran.chosen["name"], ran.chosen["cut"]) == ("Booster", "its fit was stopped after 9 rounds")


def test_a_refit_replaces_its_file_and_one_that_raises_is_none(bench):
    ran = bench.run(
        DATA
        + """
    import os
    from sklearn.linear_model import SGDClassifier
    FILE = os.environ["FILE"]
    model = SGDClassifier()
    for _ in range(50):
        model.partial_fit(X, y, classes=[0, 1])
    model.set_params(alpha=0.5).fit(X, y)
    import joblib, time
    while not os.path.exists(FILE) or joblib.load(FILE).alpha != 0.5:  # within seconds of the fit
        time.sleep(0.05)
    try:
        model.set_params(alpha=9.0).fit(X, y[:3])
    except ValueError:
        print("raised")
    try:
        Ridge().fit(X, y[:3])
    except ValueError:
        print("raised")
    """,
        FILE=str(bench.modeldir / "model.joblib"),
    )
    assert (ran.code, ran.out, ran.err) == (0, "raised\nraised\n", "")
    assert names(ran) == ["SGDClassifier"] and ran.kept == ["model.joblib"]
    assert joblib.load(ran.modeldir / "model.joblib").alpha == 0.5


def test_code_of_the_script_and_of_modules_beside_it_loads_elsewhere(bench, tmp_path):
    (bench.folder / "beside.py").write_text(
        "import numpy as np\nfrom sklearn.base import BaseEstimator, TransformerMixin\nSCALE = 3.0\n"
        "def helper(x): return np.asarray(x) * SCALE\n"
        "class Scaled(BaseEstimator, TransformerMixin):\n"
        "    def fit(self, X, y=None):\n        self.n_ = 2\n        return self\n"
        "    def transform(self, X): return helper(X) / self.n_\n"
    )
    ran = bench.run(
        DATA
        + """
    import inspect
    from beside import Scaled
    from sklearn.linear_model import LinearRegression
    from sklearn.pipeline import make_pipeline
    class Mine(LinearRegression):
        def fit(self, X, y):
            return super().fit(X, y)
        def predict(self, X):
            return super().predict(X) + 1
    assert inspect.isfunction(Mine.fit) and inspect.isfunction(Scaled.fit)
    model = make_pipeline(Scaled(), Mine()).fit(X, y)
    print(model.predict(X[:3]).tolist())
    from sklearn.linear_model import Lasso
    plain = Lasso().fit(X, y)
    """
    )
    assert (ran.code, ran.err) == (0, "")
    code = (
        "import joblib, numpy as np, sys; X = np.random.RandomState(0).rand(80, 3)\n"
        f"m = joblib.load({str(ran.modeldir / 'model.joblib')!r})\n"
        "print(m.predict(X[:3]).tolist()); m.fit(X, X[:, 0])\n"
        "print([name for name in sys.modules if name.startswith('_studio')])"
    )
    shown = subprocess.run([sys.executable, "-c", code], cwd="/", capture_output=True, text=True)
    assert (shown.stdout, shown.stderr) == (ran.out + "[]\n", "")
    pythons = {model["name"]: model.get("python") for model in ran.note["models"]}
    assert pythons == {"Pipeline": "{}.{}".format(*sys.version_info[:2]), "Lasso": None}


def test_a_model_that_cannot_be_kept_is_named_with_the_reason(bench):
    ran = bench.run(
        DATA
        + """
    import threading
    first = Ridge(1).fit(X, y)
    second = Ridge(2)
    second.lock = threading.Lock()
    second.fit(X, y)
    """
    )
    assert (ran.code, ran.err) == (0, "")
    (lost,) = ran.note["lost"]
    assert lost["name"] == "Ridge-2" and "cannot pickle" in lost["why"]
    assert lost["trained"] > ran.chosen["trained"] and ran.chosen["name"] == "Ridge"
    assert [e["text"] for e in ran.of_type("warning") if "the model Ridge-2 cannot be kept: TypeError" in e["text"]]


def test_files_that_are_renamed_or_have_the_same_name_are_copied(bench):
    ran = bench.run(
        DATA
        + """
    import joblib, os, shutil
    for step in (100, 200):
        os.makedirs(f"tmp-{step}")
        joblib.dump(Ridge(step).fit(X, y), f"tmp-{step}/part.joblib")
        os.replace(f"tmp-{step}/part.joblib", f"tmp-{step}/model.joblib")
        os.rename(f"tmp-{step}", f"step-{step}")
    with open("open.tmp", "wb") as file:
        joblib.dump(Ridge(300).fit(X, y), file)
    os.makedirs("done"); shutil.move("open.tmp", "done/best.joblib")
    """
    )
    assert (ran.code, ran.err) == (0, "")
    found = {str(path.relative_to(ran.modeldir)): joblib.load(path).alpha for path in ran.modeldir.rglob("*.joblib")}
    assert found["step-100/model.joblib"] == 100 and found["step-200/model.joblib"] == 200
    assert found["best.joblib"] == 300 and ran.chosen["file"] == "best.joblib"


def test_what_is_no_checkpoint_in_modeldir_keeps_no_model_from_being_kept(bench):
    ran = bench.run(
        DATA
        + f"""
    import joblib, json, os
    from sklearn.preprocessing import StandardScaler
    folder = {str(bench.modeldir)!r}
    os.makedirs(folder + "/logs")
    scaler = StandardScaler().fit(X)
    joblib.dump(scaler, folder + "/scaler.joblib")
    for name in ("metrics.json", "notes.txt", "a.csv", "logs/run.log", "logs/events.out.tfevents.1"):
        open(folder + "/" + name, "w").write("{{}}")
    Ridge().fit(X, y)
    """
    )
    assert (ran.code, ran.err) == (0, "")
    assert ran.chosen["name"] == "Ridge" and (ran.modeldir / "scaler.joblib").exists()


def test_a_table_is_described_without_its_rows(bench):
    bench.needs("pandas")
    ran = bench.run(
        """
    import numpy as np, pandas as pd
    from sklearn.linear_model import LinearRegression
    from sklearn.base import BaseEstimator, RegressorMixin
    class Any(BaseEstimator, RegressorMixin):
        def fit(self, X, y): return self
        def predict(self, X): return np.zeros(len(X))
    n = 400
    rng = np.random.default_rng(1)
    table = pd.DataFrame({
        "age": rng.integers(18, 90, n), "height": rng.normal(170, 10, n), "city": rng.choice(["Rome", "Oslo"], n),
        "size": pd.Categorical(rng.choice(["S", "M"], n), categories=["S", "M", "L"]), "member": rng.random(n) > 0.5,
        "name": [f"person {i}" for i in range(n)], "id": np.arange(n), "grade": rng.integers(1, 6, n).astype(float),
        "api_key": rng.choice(["a-secret-1", "a-secret-2"], n), "mail": rng.choice(["a@b.org", "c@d.org"], n),
    })
    table.loc[3, "height"] = np.nan
    state = np.random.get_state()[1].tolist()
    model = Any().fit(table, table.age)
    assert np.random.get_state()[1].tolist() == state
    """
    )
    assert (ran.code, ran.err) == (0, "")
    (about,) = ran.chosen["signature"]["inputs"]
    assert about["table"] and about["shape"] == [-1, 10]
    columns = {column["name"]: column for column in about["columns"]}
    assert columns["city"]["categories"] == ["Oslo", "Rome"] and columns["city"]["dtype"] in ("str", "object")
    assert columns["size"]["categories"] == ["S", "M", "L"] and columns["member"]["categories"] == [False, True]
    assert columns["grade"]["categories"] == [1.0, 2.0, 3.0, 4.0, 5.0]
    assert columns["height"]["missing"] and columns["height"]["categories"] is None
    assert 18 <= columns["age"]["low"] < columns["age"]["high"] < 90
    for name in ("name", "id", "mail", "api_key"):
        assert columns[name]["categories"] is None
    text = json.dumps(ran.note)
    assert "person 1" not in text and "secret-1" not in text and "@b.org" not in text


def test_hooks_change_nothing_that_a_script_can_see(bench):
    source = (
        DATA
        + """
    import os, random, sys, warnings
    random.seed(3); np.random.seed(4)
    models = [Ridge(alpha).fit(X, y) for alpha in range(40)]
    for _ in range(3):
        warnings.warn("of the script's own")
    child = os.fork()
    if not child:
        Ridge().fit(X, y)
        os._exit(7)
    print(os.waitpid(child, 0)[1] >> 8, random.random(), np.random.rand(), len(warnings.filters))
    print([float(model.coef_[0]) for model in models], type(sys.modules["__main__"]).__name__, Ridge.fit.__name__)
    """
    )
    ran, bare = bench.run(source, OMP_NUM_THREADS="1"), bench.run(source, PYTHONPATH=None, OMP_NUM_THREADS="1")
    assert (ran.code, ran.out, ran.err) == (0, bare.out, bare.err) and ran.out.startswith("7 ")
    assert len(ran.note["models"]) + ran.note["dropped"] == 40
