"""Which epoch is the best: by a validation score, else by validation loss, else by the same of the training data."""

from __future__ import annotations

import re

BIGGER_IS_BETTER = frozenset(
    {"acc", "accuracy", "auc", "precision", "recall", "f1", "fbeta", "iou", "dice", "r2", "jaccard"}
)
BIGGER_IN_TWO = frozenset(
    {("io", "u"), ("cosine", "similarity"), ("dice", "coef"), ("dice", "coefficient")}
    | {(word, "score") for word in ("f1", "fbeta", "r2", "dice", "iou", "accuracy", "auc")}
)
TURNED = frozenset({"error", "loss", "neg", "negative", "inv", "inverse", "minus", "non", "not", "drop", "gap", "in"})
"""Words that may turn the sense of a metric's name."""


def judged_by(metrics: dict[str, float]) -> tuple[str, float] | None:
    """The metric that says which epoch is best: a validation score, else validation loss, else the same of training."""
    numbers = {name: float(value) for name, value in metrics.items()}
    for names in ([n for n in numbers if n.startswith("val_")], [n for n in numbers if not n.startswith("val_")]):
        scores = [name for name in names if is_bigger_better(name)]
        losses = [name for name in names if name in ("loss", "val_loss")]
        losses += [name for name in names if name.endswith("loss")]
        for name in scores[:1] + losses[:1]:
            return name, numbers[name]
    return None


def is_bigger_better(name: str) -> bool:
    """Whether that is certain; `brier_score`, `fid_score` and `inaccuracy` are not judged by."""
    words = [word for word in re.split(r"[^a-z0-9]+", name.lower()) if word and not word.isdigit()]
    if not words or TURNED.intersection(words):
        return False
    return words[-1] in BIGGER_IS_BETTER or tuple(words[-2:]) in BIGGER_IN_TWO


def is_better(metric: tuple[str, float] | None, best: tuple[int, str, float] | None) -> bool:
    """Whether an epoch with this metric is better than the best one so far: its number, metric and value."""
    if metric is None or metric[1] != metric[1]:
        return False
    name, value = metric
    if best is None:
        return True
    if name != best[1]:  # an epoch without validation is no better than one with it
        return name.startswith("val_") and not best[1].startswith("val_")
    return value > best[2] if is_bigger_better(name) else value < best[2]
