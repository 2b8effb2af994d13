"""Estimators of scikit-learn of all kinds: clients that ask at once get what `predict` says of their rows."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest

from studio.errors import ModelLoadError
from studio.models.estimator import load

from .asking import check_as_library, loaded

sklearn = pytest.importorskip("sklearn", reason="scikit-learn is not installed")
from sklearn import (  # noqa: E402
    cluster,
    compose,
    cross_decomposition,
    dummy,
    ensemble,
    gaussian_process,
    linear_model,
    model_selection,
    multiclass,
    naive_bayes,
    neighbors,
    neural_network,
    pipeline,
    preprocessing,
    svm,
    tree,
)  # fmt: skip
from sklearn.base import BaseEstimator  # noqa: E402

RNG = np.random.default_rng(7)
X = RNG.normal(size=(90, 3))
GRADES = RNG.integers(1, 6, (90, 3)).astype(float)
Y = X @ [1.0, -2.0, 0.5]
LABELS = (Y > 0).astype(int)
THREE = np.digitize(Y, [-1, 1])
WORDS = np.array(["no", "perhaps", "certainly"])[THREE]
DAYS = np.array(["2026-01-01", "2026-06-01"], "M8[D]")[LABELS]
MANY = np.stack([LABELS, Y > 1, Y < -1], axis=1).astype(int)


class Total(BaseEstimator):  # type: ignore[misc, unused-ignore]
    """One number for all rows."""

    def fit(self, x: Any, y: Any = None) -> Total:
        return self

    def predict(self, x: Any) -> Any:
        return float(np.asarray(x).sum())


class Shifted(Total):
    """Rows that depend on those beside them."""

    def predict(self, x: Any) -> Any:
        return np.asarray(x)[:, 0] - np.asarray(x)[:, 0].mean()


class Ragged(Total):
    """Another number of rows than it was asked."""

    def predict(self, x: Any) -> Any:
        return np.asarray(x)[np.asarray(x)[:, 0] > 0.3]


class Framed(Total):
    """A table of pandas."""

    def predict(self, x: Any) -> Any:
        import pandas as pd

        return pd.DataFrame({"a": np.asarray(x)[:, 0], "b": np.asarray(x)[:, 1]})


class Listed(Total):
    """A list of Python's numbers."""

    def predict(self, x: Any) -> Any:
        return [row[0] * 2 for row in np.asarray(x).tolist()]


class Remembering(Total):
    """What it was asked before counts."""

    def predict(self, x: Any) -> Any:
        self.seen = getattr(self, "seen", 0.0) + float(np.asarray(x).sum())
        return np.asarray(x)[:, 0] + self.seen


class Guessing(Total):
    """Random numbers."""

    def predict(self, x: Any) -> Any:
        return np.random.default_rng().normal(size=len(x))


def pipe(*steps: Any) -> Any:
    return pipeline.make_pipeline(*steps)


KINDS: dict[str, Callable[[], tuple[Any, Any]]] = {
    "linear": lambda: (linear_model.LinearRegression().fit(X, Y), X),
    "linear-two-outputs": lambda: (linear_model.LinearRegression().fit(X, X[:, :2]), X),
    "logistic": lambda: (linear_model.LogisticRegression().fit(X, LABELS), X),
    "words": lambda: (linear_model.LogisticRegression().fit(X, WORDS), X),
    "word-objects": lambda: (tree.DecisionTreeClassifier().fit(X, WORDS.astype(object)), X),
    "truth-values": lambda: (ensemble.RandomForestClassifier(5).fit(X, LABELS.astype(bool)), X),
    "days": lambda: (neighbors.KNeighborsClassifier(3).fit(X, DAYS), X),
    "many-labels": lambda: (ensemble.RandomForestClassifier(5).fit(X, MANY), X),
    "sparse": lambda: (multiclass.OneVsRestClassifier(linear_model.LogisticRegression()).fit(X, _sparse(MANY)), X),
    "words-by-two": lambda: (tree.DecisionTreeClassifier().fit(X, np.stack([WORDS, WORDS[::-1]], 1)), X),
    "support": lambda: (svm.SVC().fit(X, THREE), X),
    "network": lambda: (neural_network.MLPRegressor(hidden_layer_sizes=(4,), max_iter=3000, tol=1e-2).fit(X, Y), X),
    "histograms": lambda: (ensemble.HistGradientBoostingRegressor(max_iter=5).fit(X, Y), X),
    "isolation": lambda: (ensemble.IsolationForest(n_estimators=5).fit(X), X),
    "clusters": lambda: (cluster.KMeans(3, n_init=1).fit(X), X),
    "bayes": lambda: (naive_bayes.GaussianNB().fit(X, LABELS), X),
    "process": lambda: (gaussian_process.GaussianProcessRegressor(optimizer=None).fit(X, Y), X),
    "least-squares": lambda: (cross_decomposition.PLSRegression(2).fit(X, X[:, :2]), X),
    "constant": lambda: (dummy.DummyRegressor().fit(X, Y), X),
    "search": lambda: (model_selection.GridSearchCV(svm.SVR(), {"C": [1, 2]}).fit(X, Y), X),
    "stack": lambda: (ensemble.StackingRegressor([("l", linear_model.Ridge()), ("s", svm.SVR())]).fit(X, Y), X),
    "target": lambda: (compose.TransformedTargetRegressor(linear_model.Ridge(), func=np.arcsinh,
                                                          inverse_func=np.sinh).fit(X, Y), X),
    "scaled": lambda: (pipe(preprocessing.StandardScaler(), linear_model.Ridge()).fit(X * 1e6, Y), X * 1e6),
    "grades": lambda: (pipe(preprocessing.OneHotEncoder(), linear_model.LogisticRegression()).fit(GRADES, LABELS),
                       GRADES),
    "codes": lambda: (pipe(preprocessing.OneHotEncoder(), linear_model.Ridge()).fit(GRADES * 1000 + 17, Y),
                      GRADES * 1000 + 17),
    "some-codes": lambda: (pipe(compose.ColumnTransformer(
        [("c", preprocessing.OneHotEncoder(), [0, 2]), ("n", preprocessing.StandardScaler(), [1])]),
        linear_model.Ridge()).fit(GRADES * 1000 + 17, Y), GRADES * 1000 + 17),
    "ordinal": lambda: (pipe(preprocessing.OrdinalEncoder(), linear_model.Ridge()).fit(GRADES + 40, Y), GRADES + 40),
    "logarithms": lambda: (pipe(preprocessing.FunctionTransformer(np.log), preprocessing.StandardScaler(),
                                linear_model.Ridge()).fit(GRADES, Y), GRADES),
    "box-cox": lambda: (pipe(preprocessing.PowerTransformer(method="box-cox"), linear_model.Ridge()).fit(GRADES, Y),
                        GRADES),
    "table": lambda: (Framed(), X),
    "list": lambda: (Listed(), X),
}  # fmt: skip
NEVER_MERGED = {
    "total": (Total, "is a single value for 1 row"),
    "shifted": (Shifted, "depends on the other items"),
    "ragged": (Ragged, "0 rows for 1 row"),
}


def _sparse(dense: Any) -> Any:
    from scipy.sparse import csr_matrix

    return csr_matrix(dense)


def _dense(answer: Any) -> Any:
    answer = answer.toarray() if hasattr(answer, "toarray") else np.asarray(answer)
    return answer.astype(str) if answer.dtype.kind == "O" else answer


@pytest.mark.parametrize("kind", KINDS)
def test_an_estimator_answers_as_its_predict(tmp_path: Path, kind: str) -> None:
    estimator, data = KINDS[kind]()
    joblib.dump(estimator, tmp_path / "model.joblib")
    model = loaded(tmp_path / "model.joblib")
    assert model.stacks, model.unmerged
    check_as_library(model, lambda xs: [_dense(estimator.predict(xs[0]))], [data[:5]], within=1e-9)


@pytest.mark.parametrize("kind", NEVER_MERGED)
def test_an_estimator_whose_rows_are_not_apart_is_never_merged(tmp_path: Path, kind: str) -> None:
    made, why = NEVER_MERGED[kind]
    joblib.dump(made(), tmp_path / "model.joblib")
    model = loaded(tmp_path / "model.joblib")
    assert why in model.unmerged and any(why in warning for warning in model.warnings)
    check_as_library(model, lambda xs: [np.asarray(made().predict(xs[0]))], [X[:5]], within=1e-9)


def test_an_estimator_that_remembers_is_refused_and_one_that_guesses_is_not_merged(tmp_path: Path) -> None:
    joblib.dump(Remembering(), tmp_path / "a.joblib")
    with pytest.raises(ModelLoadError, match=r"a\.joblib keeps state: predict\(\) changes the Remembering"):
        loaded(tmp_path / "a.joblib")
    joblib.dump(Guessing(), tmp_path / "b.joblib")
    assert "draws random numbers" in loaded(tmp_path / "b.joblib").unmerged


def test_what_no_drawn_row_suits_is_served_with_the_librarys_message(tmp_path: Path) -> None:
    joblib.dump(Particular(), tmp_path / "model.joblib")
    model = loaded(tmp_path / "model.joblib")
    assert not model.stacks and model.probe is None
    assert "ValueError: this is not row 4711" in model.warnings[0]
    row = np.full((5, 3), 4711.0)
    check_as_library(model, lambda xs: [xs[0][:, 0]], [row])


class Particular(Total):
    """Takes nothing but one row."""

    def predict(self, x: Any) -> Any:
        if (np.asarray(x) != 4711).any():
            raise ValueError("this is not row 4711")
        return np.asarray(x)[:, 0]


def test_what_the_run_recorded_of_the_columns_is_drawn_from(tmp_path: Path) -> None:
    import json

    joblib.dump(Particular(), tmp_path / "model.joblib")
    column = {"name": "id", "dtype": "float64", "low": 4711.0, "high": 4711.0, "categories": None}
    signature = {"inputs": [{"name": "x", "dtype": "float64", "shape": [-1, 3], "columns": [column] * 3}]}
    entry = {"name": "Particular", "file": "model.joblib", "signature": signature}
    (tmp_path / ".studio.json").write_text(json.dumps({"schema": 1, "models": [entry]}))
    model = loaded(tmp_path / "model.joblib")
    assert model.stacks and model.warnings == ()
    for damaged in ('{"models": 3}', '{"models": [{"file": "model.joblib", "signature": {"inputs": [[]]}}]}', "["):
        (tmp_path / ".studio.json").write_text(damaged)
        assert not loaded(tmp_path / "model.joblib").stacks


@pytest.mark.parametrize(
    ("estimator", "said"),
    [
        (
            linear_model.LinearRegression(),
            "never fitted: NotFittedError: This LinearRegression instance is not fitted",
        ),
        (pipe(preprocessing.StandardScaler(), linear_model.Ridge()), "never fitted"),
    ],
)
def test_what_was_never_fitted_is_refused_with_the_librarys_words(tmp_path: Path, estimator: Any, said: str) -> None:
    joblib.dump(estimator, tmp_path / "model.joblib")
    with pytest.raises(ModelLoadError, match=said):
        loaded(tmp_path / "model.joblib")


@pytest.mark.parametrize("noted", [[-1], [-1, 1], None])
def test_what_was_fitted_on_one_axis_takes_one_number_for_each_row(tmp_path: Path, noted: list[int] | None) -> None:
    from sklearn.isotonic import IsotonicRegression

    x = np.arange(20.0)
    joblib.dump(IsotonicRegression().fit(x, 2 * x), tmp_path / "model.joblib")
    if noted:
        signature = {"inputs": [{"name": "x", "dtype": "float64", "shape": noted, "low": 0.0, "high": 19.0}]}
        entry = {"name": "I", "file": "model.joblib", "signature": signature}
        (tmp_path / ".studio.json").write_text(json.dumps({"models": [entry]}))
    model = loaded(tmp_path / "model.joblib")
    asked = np.array([0.0, 7.0, 9.5])
    if noted == [-1, 1]:
        asked = asked[:, None]
    assert model.inputs[0].shape == ((-1,) if asked.ndim == 1 else (-1, 1)) and model.stacks
    assert model.run([asked])[0].tolist() == [0.0, 14.0, 19.0]


def test_pipelines_of_text_and_of_named_columns_are_refused_with_the_reason(tmp_path: Path) -> None:
    import pandas as pd
    from sklearn.feature_extraction.text import TfidfVectorizer

    texts = pipe(TfidfVectorizer(), linear_model.LogisticRegression()).fit(["good", "bad"], [1, 0])
    joblib.dump(texts, tmp_path / "texts.joblib")
    with pytest.raises(ModelLoadError, match=r"texts\.joblib: it takes text, .*AttributeError: .*lower"):
        loaded(tmp_path / "texts.joblib")
    table = pd.DataFrame({"town": ["Bonn", "Kiel"] * 4, "rooms": range(8)})
    chosen = compose.ColumnTransformer([("t", preprocessing.OneHotEncoder(), ["town"])], remainder="passthrough")
    joblib.dump(pipe(chosen, linear_model.Ridge()).fit(table, range(8)), tmp_path / "table.joblib")
    with pytest.raises(ModelLoadError, match=r"table\.joblib: it takes columns of text, .*\(TypeError: "):
        loaded(tmp_path / "table.joblib")


def test_code_in_a_file_of_another_python_is_not_run(tmp_path: Path) -> None:
    """Bytecode of another version would crash the process, or compute something else."""
    joblib.dump(linear_model.LinearRegression().fit([[0.0], [1.0]], [0.0, 2.0]), tmp_path / "model.joblib")
    note = {"models": [{"name": "m", "file": "model.joblib", "chosen": True, "python": "3.7"}]}
    (tmp_path / ".studio.json").write_text(json.dumps(note))
    with pytest.raises(ModelLoadError, match=r"compiled by Python 3\.7; this is Python 3\.") as caught:
        load(tmp_path / "model.joblib", "auto", True)
    assert "Python 3.7" in caught.value.hint


@pytest.mark.parametrize("name", ["cloudpickle.cloudpickle", "joblib.externals.cloudpickle.cloudpickle"])
def test_code_in_a_file_is_found_under_both_names_of_cloudpickle(tmp_path: Path, name: str) -> None:
    cloudpickle = pytest.importorskip("cloudpickle", reason="cloudpickle is not installed")
    steps = pipeline.make_pipeline(
        preprocessing.FunctionTransformer(lambda x: x * 2), linear_model.LinearRegression()
    ).fit(np.array([[0.0], [1.0]]), [0.0, 2.0])
    data = cloudpickle.dumps(steps, protocol=2)
    assert b"ccloudpickle.cloudpickle\n" in data
    (tmp_path / "model.pkl").write_bytes(data.replace(b"ccloudpickle.cloudpickle\n", f"c{name}\n".encode()))
    code = "import sys; from pathlib import Path; from studio.models.estimator import load; import numpy as np\n"
    code += "print(load(Path(sys.argv[1]), 'auto', True).run([np.array([[3.0]])])[0])"
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "model.pkl")], capture_output=True, text=True)
    assert done.stdout.strip() == "[6.]", done.stderr


def test_a_model_that_answers_nan_to_all_is_served_with_a_warning(tmp_path: Path) -> None:
    made = linear_model.LinearRegression().fit(X, Y)
    made.coef_ = made.coef_ * np.nan
    joblib.dump(made, tmp_path / "model.joblib")
    assert "model.joblib answers nan to all that studio drew to try it" in loaded(tmp_path / "model.joblib").warnings
