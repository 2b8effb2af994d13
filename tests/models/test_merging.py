"""Models whose rows depend on their batch in ways that a few drawn rows do not show: never merged, or refused."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest

from studio.errors import ModelLoadError
from studio.models.base import TensorSpec
from studio.models.measure import Trial, proven

from .asking import ask, loaded

pytest.importorskip("sklearn", reason="scikit-learn is not installed")
from sklearn.base import BaseEstimator

RNG = np.random.default_rng(5)
W = RNG.normal(size=(3, 3))
Rule = Callable[[Any], Any]
TOGETHER = "depends on the other items"


def grouped(x: Any) -> Any:
    """Each row less the mean of the rows that share its first value."""
    return np.array([row[1] - x[x[:, 0] == row[0], 1].mean() for row in x])


def filled_forward(x: Any) -> Any:
    made = x.copy()
    for k in range(1, len(made)):
        made[k] = np.where(np.isnan(made[k]), made[k - 1], made[k])
    return np.nan_to_num(made, posinf=9, neginf=-9).sum(1)


def attention(x: Any) -> Any:
    scores = np.tanh(x) @ np.tanh(x).T
    weights = np.exp(scores - scores.max(1, keepdims=True))
    return (weights / weights.sum(1, keepdims=True)) @ np.tanh(x)


def of_gaps(x: Any) -> Any:
    """Gaps get the mean of their column over the batch; a column of gaps alone is refused."""
    with np.errstate(all="ignore"):
        made = np.where(np.isnan(x), np.nanmean(x, axis=0), x)
    if np.isnan(made).any():
        raise ValueError("nothing but gaps")
    return made.sum(1)


def rarely(size: int) -> Rule:
    return lambda x: (x - x.mean(0) if len(x) > size else x).sum(1)


def slow(rule: Rule, seconds: float) -> Rule:
    def run(x: Any) -> Any:
        time.sleep(seconds)
        return rule(x)

    return run


DEPENDENT: dict[str, Rule] = {
    "pixels or fractions": lambda x: (x / 255 if x.max() > 1 else x) @ W,
    "pixels or fractions, holes passed over": lambda x: (x / 255 if np.nanmax(x) > 1 else x) @ W,
    "logarithm if all are positive": lambda x: (np.log(x) if (x > 0).all() else x).sum(1),
    "shifted by the least": lambda x: (x - min(0, x.min())).sum(1),
    "clipped, in 30 ms": slow(lambda x: (x / max(1.0, np.abs(x).max())).sum(1), 0.03),
    "filled forward": filled_forward,
    "gaps of the batch's mean": of_gaps,
    "centred over 8 rows": rarely(8),
    "centred over 40 rows": rarely(40),
    "centred up to 4 rows": lambda x: (x - x.mean(0) if len(x) < 5 else x).sum(1),
    "a small column beside a large one": lambda x: np.stack([1e8 * x.sum(1), x[:, 0] - x[:, 0].mean()], 1),
    "normalised over the batch": lambda x: (x - x.mean(0)) / (x.std(0) + 1e-3),
    "softmax over the batch": lambda x: np.stack([1e6 * x.sum(1), np.exp(x[:, 0] - x[:, 0].max())
                                                  / np.exp(x[:, 0] - x[:, 0].max()).sum()], 1),
    "ranks": lambda x: np.argsort(np.argsort(x[:, 0])),
    "quantile": lambda x: x[:, 0] > np.quantile(x[:, 0], 0.75),
    "sorted": lambda x: np.sort(x, axis=0),
    "best of the batch": lambda x: np.arange(len(x)) == x[:, 0].argmax(),
    "running sum": lambda x: np.cumsum(x, axis=0),
    "turned by one": lambda x: np.roll(x, 1, axis=0),
    "mean of the group": grouped,
    "attention over the batch": attention,
    "equal rows once": lambda x: np.unique(x, axis=0),
    "scale of bytes": lambda x: np.round(x / (np.abs(x).max() + 1e-9) * 127) * np.abs(x).max() / 127,
}  # fmt: skip
INDEPENDENT: dict[str, Rule] = {
    "linear": lambda x: x @ W,
    "sums that cancel": lambda x: (x.astype("f4") @ np.float32([[1e3], [-1e3], [1e-3]])) - np.float32(1),
    "wide": lambda x: np.tanh(x.astype("f4") @ np.float32(np.tile(W, 200))) @ np.float32(np.tile(W, 200)).T,
    "pixels or fractions of the row": lambda x: np.where(x.max(1, keepdims=True) > 1, x / 255, x),
    "classes": lambda x: (x @ W).argmax(1),
    "holes are zeros": lambda x: np.nan_to_num(x).sum(1),
}


class Estimator(BaseEstimator):  # type: ignore[misc, unused-ignore]
    """Answers with the last reading that was seen where one is missing."""

    n_features_in_ = 3

    def fit(self, x: Any, y: Any = None) -> Estimator:
        return self

    def predict(self, x: Any) -> Any:
        answers = []
        for row in x:
            self.last = np.where(np.isnan(row), getattr(self, "last", np.zeros(3)), row)
            answers.append(self.last.sum())
        return np.array(answers)


def tried(tmp_path: Path, rule: Rule, **changes: Any) -> tuple[Any, list[int]]:
    """The model after its trial; how many rows each call of the trial had."""
    calls: list[int] = []

    def run(arrays: Sequence[Any]) -> Sequence[Any]:
        calls.append(len(arrays[0]))
        with np.errstate(all="ignore"):
            return [np.asarray(rule(arrays[0]))]

    free = (TensorSpec("y", "float64", (), free=True),)
    model = proven(Trial(tmp_path / "m", "numpy", run, (TensorSpec("x", "float64", (-1, 3)),), free, **changes))
    return model, calls


@pytest.mark.parametrize("kind", DEPENDENT)
def test_rows_that_depend_on_their_batch_are_never_merged(tmp_path: Path, kind: str) -> None:
    model, _ = tried(tmp_path, DEPENDENT[kind])
    assert not model.stacks and model.warnings == (f"requests are not merged: {model.unmerged}",)


@pytest.mark.parametrize("kind", INDEPENDENT)
def test_rows_apart_are_merged_up_to_64_after_few_calls(tmp_path: Path, kind: str) -> None:
    model, calls = tried(tmp_path, INDEPENDENT[kind])
    assert model.stacks, model.unmerged
    trial = calls[: len(calls) - calls[::-1].index(64)]  # what follows is the warm-up
    assert model.batch == 64 and max(trial) == 64 and len(trial) < 36


def test_a_slow_model_is_not_merged_and_says_why(tmp_path: Path) -> None:
    model, calls = tried(tmp_path, slow(lambda x: x.sum(1), 0.35))
    assert "too long to try at load" in model.unmerged and len(calls) < 20


@pytest.mark.parametrize(
    ("kind", "hangs"), [("at infinity", lambda x: np.isinf(x).any()), ("on two rows", lambda x: len(x) > 1)]
)
def test_a_model_that_hangs_on_a_drawn_input_is_served_unmerged(tmp_path: Path, kind: str, hangs: Any) -> None:
    ended = threading.Event()

    def run(x: Any) -> Any:
        if hangs(x):
            ended.wait(60)
        return x.sum(1)

    model, calls = tried(tmp_path, run, patience_s=5.0)
    assert model.unmerged == "no answer within 1 s to one of the inputs that studio drew to try it"
    assert model.warnings == (f"requests are not merged: {model.unmerged}",)
    row = np.array([[1.0, 2.0, 3.0]])
    assert [answer[0].tolist() for answer in ask(model, [[row], [row[0]]], "thread")] == [[6.0], 6.0] * 3
    asked = len(calls)
    ended.set()
    assert not _grows(calls, asked)  # the trial's thread asks nothing more


def _grows(calls: list[int], asked: int) -> bool:
    threads = [thread for thread in threading.enumerate() if thread.name == "trial"]
    for thread in threads:
        thread.join(60)
    return len(calls) > asked or any(thread.is_alive() for thread in threads)


def test_a_model_that_answers_no_first_input_in_time_is_refused(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ended = threading.Event()
    with pytest.raises(ModelLoadError, match=r"m was loaded, but a call of it hangs: no answer within 1 s"):
        tried(tmp_path, lambda x: ended.wait(60), patience_s=1.0)
    assert [r.getMessage() for r in caplog.records] == ["m has worked on one input for 0 s; studio gives it 1 s"]
    ended.set()


def test_a_first_call_may_take_long(tmp_path: Path) -> None:
    waits = iter([1.0])

    def run(x: Any) -> Any:
        time.sleep(next(waits, 0.0))  # it compiles
        return x.sum(1)

    model, _ = tried(tmp_path, run, patience_s=4.0)
    assert model.stacks and not model.warnings


def test_batches_grow_no_larger_than_was_tried(tmp_path: Path) -> None:
    def run(x: Any) -> Any:
        time.sleep(0.03 * len(x))
        return x.sum(1)

    model, calls = tried(tmp_path, run)
    assert model.stacks and model.batch == max(calls) < 64


def test_a_model_that_fills_gaps_with_what_it_saw_last_is_refused(tmp_path: Path) -> None:
    joblib.dump(Estimator(), tmp_path / "model.joblib")
    with pytest.raises(ModelLoadError, match=r"model\.joblib keeps state: predict\(\) changes the Estimator"):
        loaded(tmp_path / "model.joblib")


def test_answers_of_clients_with_other_ranges_stay_their_own(tmp_path: Path) -> None:
    rule = DEPENDENT["pixels or fractions"]
    model, _ = tried(tmp_path, rule)
    questions = [[np.array([[0.1, 0.2, 0.3]])], [np.array([[250.0, 3, 9]])], [np.array([[math.nan, 1, 2]])]]
    for question, answer in zip(questions * 3, ask(model, questions, "thread"), strict=True):
        np.testing.assert_allclose(answer[0], rule(question[0]), equal_nan=True)
