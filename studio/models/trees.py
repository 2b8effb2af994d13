"""Whether the trees of a boosted model can be walked: libraries do not check it, and walk out of their memory."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .forked import Damaged

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Numbers = NDArray[Any]


def check_xgboost(model: Mapping[str, Any]) -> None:
    """Checks a model in XGBoost's JSON, as the library itself writes it.

    Raises:
        Damaged: it cannot be walked; says where.
    """
    import numpy as np

    learner = model["learner"]
    told = learner["learner_model_param"]
    features = int(told["num_feature"])
    groups = max(1, int(told.get("num_class", 0))) * max(1, int(told.get("num_target", 1)))
    booster = learner["gradient_booster"]
    if booster["name"] == "gblinear":
        if len(booster["model"]["weights"]) != (features + 1) * groups:
            raise Damaged("the number of its weights is not that of its features")
        return
    inner = booster.get("gbtree", booster)["model"]
    for k, (tree, group) in enumerate(zip(inner["trees"], inner["tree_info"], strict=True)):
        if not 0 <= int(group) < groups:
            raise Damaged(f"tree {k} belongs to output {group} of {groups}")
        left, right = (np.asarray(tree[f"{side}_children"], np.int64) for side in ("left", "right"))
        inside = left != -1
        if (right[~inside] >= np.count_nonzero(~inside)).any():  # of a leaf with several outputs: its number
            raise Damaged(f"tree {k} has leaves that are not there")
        _check_tree(k, left[inside], right[inside], len(left))
        _check_features(k, np.asarray(tree["split_indices"], np.int64)[inside], features)


def check_lightgbm(text: str) -> None:
    """Checks a model in LightGBM's text.

    Raises:
        Damaged: it cannot be walked; says where.
    """
    import numpy as np

    head, *trees = re.split(r"^Tree=\d+$", text.partition("\nend of trees")[0], flags=re.MULTILINE)
    features = int(_lines(head)["max_feature_idx"]) + 1
    for k, tree in enumerate(trees):
        told = _lines(tree)
        leaves = int(told["num_leaves"])
        if leaves < 2:
            continue
        left, right = _numbers(told["left_child"]), _numbers(told["right_child"])
        if not len(left) == len(right) == leaves - 1:
            raise Damaged(f"tree {k} has {leaves} leaves and {len(left)} nodes")
        nodes = leaves - 1  # leaf n is -1 - n there, and comes after the nodes here
        left, right = [np.where(side < 0, nodes - 1 - side, side) for side in (left, right)]
        _check_tree(k, left, right, nodes + leaves)
        _check_features(k, _numbers(told["split_feature"]), features)
        _check_categories(k, told)


def _check_tree(k: int, left: Numbers, right: Numbers, count: int) -> None:
    """Each node has one parent, and node 0 none: so no walk from there comes back or ends elsewhere than at a leaf."""
    import numpy as np

    children = np.concatenate([left, right])
    if children.size and not (children.min() >= 1 and children.max() < count):
        raise Damaged(f"tree {k} has children that are not there")
    if children.size and np.bincount(children).max() > 1:
        raise Damaged(f"tree {k} has a node with two parents")


def _check_features(k: int, used: Numbers, features: int) -> None:
    if used.size and not (used.min() >= 0 and used.max() < features):
        raise Damaged(f"tree {k} asks for feature {used.max()} of {features}")


def _check_categories(k: int, told: Mapping[str, str]) -> None:
    """Splits by category name a set of bits by its number."""
    import numpy as np

    kinds = _numbers(told["decision_type"]) & 1
    if not kinds.any():
        return
    sets = np.array(told["threshold"].split(), float)[kinds == 1]
    ends, words = _numbers(told["cat_boundaries"]), _numbers(told["cat_threshold"]).size
    whole = ends.size and ends[0] == 0 and ends[-1] <= words and not (np.diff(ends) < 0).any()
    if not whole or not (sets.min() >= 0 and sets.max() < ends.size - 1):
        raise Damaged(f"tree {k} asks for categories that are not there")


def _lines(text: str) -> dict[str, str]:
    pairs = [line.split("=", 1) for line in text.splitlines() if "=" in line]
    told = dict(pairs)
    if len(told) < len(pairs):
        raise Damaged("it says something twice")
    return told


def _numbers(text: str) -> Numbers:
    import numpy as np

    return np.array(text.split(), np.int64)
