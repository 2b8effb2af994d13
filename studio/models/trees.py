"""Whether the trees of a boosted model can be walked: libraries do not check it, and walk out of their memory."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from .forked import Damaged

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Numbers = NDArray[Any]


MOST_CATEGORIES = 1 << 24
"""XGBoost's own limit: its categories are whole numbers in float32."""


def check_xgboost(model: Mapping[str, Any]) -> None:
    """Checks a model in XGBoost's JSON, as the library itself writes it.

    Raises:
        Damaged: it cannot be walked; says where.
    """
    learner = model["learner"]
    told = learner["learner_model_param"]
    features, classes = int(told["num_feature"]), int(told.get("num_class", 0))
    groups = max(1, classes) * max(1, int(told.get("num_target", 1)))
    for settings in learner["objective"].values():
        if isinstance(settings, dict) and int(settings.get("num_class", classes)) != classes:
            raise Damaged("it tells several numbers of classes")
    booster = learner["gradient_booster"]
    if booster["name"] == "gblinear":
        if len(booster["model"]["weights"]) != (features + 1) * groups:
            raise Damaged("the number of its weights is not that of its features")
        return
    inner = booster.get("gbtree", booster)["model"]
    trees, rounds = inner["trees"], inner.get("iteration_indptr", [])
    if any(a > b for a, b in pairwise([0, *rounds, len(trees)])):
        raise Damaged("its rounds have trees that are not there")
    if not len(trees) == len(inner["tree_info"]) == len(booster.get("weight_drop", trees)):
        raise Damaged(f"it has {len(trees)} trees, and not as many groups or weights")
    for k, (tree, group) in enumerate(zip(trees, inner["tree_info"], strict=True)):
        if not 0 <= int(group) < groups:
            raise Damaged(f"tree {k} belongs to output {group} of {groups}")
        _check_nodes(k, tree, features, groups)
        _check_sets(k, tree)


def check_file(model: Mapping[str, Any]) -> None:
    """Checks what XGBoost uses while it loads: it copies what lies beyond an end, and makes room for each output.

    Raises:
        Damaged: these numbers cannot be true; says which.
    """
    told, booster = model["learner"]["learner_model_param"], model["learner"]["gradient_booster"]
    groups = max(1, int(told.get("num_class", 0))) * max(1, int(told.get("num_target", 1)))
    inner = booster.get("gbtree", booster)["model"]
    trees = inner.get("trees", ())
    for k, tree in enumerate(trees):
        _check_sets(k, tree)
    outputs = [int(tree["tree_param"]["size_leaf_vector"]) for tree in trees]
    if groups > max(1000, len(trees), len(inner.get("weights", ())), *outputs):
        raise Damaged(f"it has no trees for {groups} outputs")


def _check_nodes(k: int, tree: Mapping[str, Any], features: int, groups: int) -> None:
    import numpy as np

    shape = tree["tree_param"]
    count, outputs = int(shape["num_nodes"]), max(1, int(shape["size_leaf_vector"]))
    keys = ("left_children", "right_children", "split_indices", "parents")
    left, right, used, parents = [np.asarray(tree[key], np.int64) for key in keys]
    others = ("split_conditions", "default_left", *["split_type"] * ("split_type" in tree))
    if count < 1 or any(len(each) != count for each in (left, right, used, parents, *[tree[key] for key in others])):
        raise Damaged(f"tree {k} has not as many nodes as it says")
    if ((parents[1:] < 0) | (parents[1:] >= count)).any():
        raise Damaged(f"tree {k} has parents that are not there")
    inside = left != -1
    leaves = count - np.count_nonzero(inside)
    if outputs > 1:  # a leaf tells its place among the values
        if outputs > groups or len(tree.get("leaf_weights", ())) not in (0, leaves * outputs):
            raise Damaged(f"tree {k} has not as many values as leaves")
        if ((right[~inside] < 0) | (right[~inside] >= leaves)).any():
            raise Damaged(f"tree {k} has leaves that are not there")
    elif (right[~inside] != -1).any():
        raise Damaged(f"tree {k} has leaves that are not there")
    _check_tree(k, left[inside], right[inside], count)
    _check_features(k, used[inside], features)


def _check_sets(k: int, tree: Mapping[str, Any]) -> None:
    import numpy as np

    keys = ("categories_nodes", "categories_segments", "categories_sizes", "categories")
    nodes, starts, sizes, values = [np.asarray(tree.get(key, ()), np.int64) for key in keys]
    whole = len(nodes) == len(starts) == len(sizes) and (np.diff(nodes) > 0).all()
    if not whole or (starts < 0).any() or (sizes < 1).any() or (starts + sizes > len(values)).any():
        raise Damaged(f"tree {k} asks for categories that are not there")
    kinds = np.asarray(tree.get("split_type", ()), np.int64)
    if len(nodes) != np.count_nonzero(kinds == 1) or (nodes != np.flatnonzero(kinds == 1)).any():
        raise Damaged(f"tree {k} has not the categories that its nodes ask for")
    if values.size and not (values.min() >= 0 and values.max() < MOST_CATEGORIES):
        raise Damaged(f"tree {k} asks for category {values.max()}")


def check_lightgbm(text: str) -> int:
    """Checks a model in LightGBM's text: each number that the library takes as a place or a count, unchecked.

    Args:
        text: Of the file, with a character for each byte: the library goes by sizes in bytes.

    Returns:
        How many trees it has.

    Raises:
        Damaged: it cannot be walked; says where.
    """
    try:
        return _check_text(text.replace("\r\n", "\n"))
    except KeyError as exc:
        raise Damaged(f"it lacks {exc.args[0]}") from exc
    except (ValueError, OverflowError) as exc:
        raise Damaged(f"it has no number where one belongs: {exc}") from exc


def _check_text(text: str) -> int:
    if not text.endswith("\n"):
        if not re.search(r"^end of trees$", text, re.MULTILINE):  # the rest may be cut off as anybody likes
            raise Damaged("its last line is cut off")
        text += "\n"
    text = re.split(r"\n(?:end of trees|feature.importances:)", text, maxsplit=1)[0]  # no trees come after them
    starts = [found.start() for found in re.finditer(r"^Tree=", text, re.MULTILINE)]
    head = _fields(text[: starts[0]] if starts else text)
    _check_head(head, starts)
    features = int(head["max_feature_idx"]) + 1
    for k, (start, end) in enumerate(pairwise([*starts, len(text)])):
        block, blank, rest = text[start:end].partition("\n\n")
        if not blank or (rest.strip() and end < len(text)):
            raise Damaged(f"tree {k} is cut off")
        _check_block(k, _fields(block), features)
    return len(starts)


def _check_head(head: Mapping[str, str], starts: Sequence[int]) -> None:
    classes = int(head["num_class"])
    told = re.search(r"num_class:(\S*)", head.get("objective", ""))
    if not int(head.get("num_tree_per_iteration", classes)) == (int(told[1]) if told else classes) == classes >= 1:
        raise Damaged("it tells several numbers of classes")
    if len(starts) % classes:
        raise Damaged(f"it has {len(starts)} trees for {classes} classes")
    if "tree_sizes" in head:
        sizes = [int(size) for size in head["tree_sizes"].split()]
        if len(sizes) != len(starts) or sizes[:-1] != [b - a for a, b in pairwise(starts)]:
            raise Damaged("its trees are not where it says")


def _check_block(k: int, told: Mapping[str, str], features: int) -> None:
    import numpy as np

    leaves = int(told["num_leaves"])
    nodes = leaves - 1  # leaf n is -1 - n there, and comes after the nodes here
    if leaves < 1 or leaves != len(told["leaf_value"].split()):
        raise Damaged(f"tree {k} has {leaves} leaves and {len(told['leaf_value'].split())} values")
    if int(told.get("is_linear", 0)):
        _check_linear(k, told, leaves, features)
    if not nodes:
        return
    left, right, used = [_numbers(told[key]) for key in ("left_child", "right_child", "split_feature")]
    if not len(left) == len(right) == len(used) == len(told["threshold"].split()) == nodes:
        raise Damaged(f"tree {k} has {leaves} leaves and {len(left)} nodes")
    left, right = [np.where(side < 0, nodes - 1 - side, side) for side in (left, right)]
    _check_tree(k, left, right, nodes + leaves)
    _check_features(k, used, features)
    _check_categories(k, told, nodes)


def _check_linear(k: int, told: Mapping[str, str], leaves: int, features: int) -> None:
    """Leaves with a linear model: so many features each, listed one after the other."""
    counts, used = _numbers(told.get("num_features", "")), _numbers(told.get("leaf_features", ""))
    if len(told["leaf_const"].split()) != leaves or len(counts) not in (0, leaves) or (counts < 0).any():
        raise Damaged(f"tree {k} has {leaves} leaves and other linear models")
    if not counts.sum() == len(used) == len(told.get("leaf_coeff", "").split()):
        raise Damaged(f"tree {k} has not as many coefficients as features")
    _check_features(k, used, features)


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
        wrong = used[(used < 0) | (used >= features)][0]
        raise Damaged(f"tree {k} asks for feature {wrong} of {features}")


def _check_categories(k: int, told: Mapping[str, str], nodes: int) -> None:
    """Splits by category name a set of bits by its number."""
    import numpy as np

    kinds = _numbers(told["decision_type"]) if "decision_type" in told else np.zeros(nodes, np.int64)
    count = int(told["num_cat"])
    ends, words = _numbers(told["cat_boundaries"] if count else "0"), len(told["cat_threshold"].split()) if count else 0
    whole = len(kinds) == nodes and len(ends) == count + 1 >= 1 and ends[0] == 0 and ends[-1] == words
    sets = np.array(told["threshold"].split(), float)[kinds & 1 == 1] if whole else np.zeros(0)
    if not whole or (np.diff(ends) < 0).any() or not ((sets >= 0) & (sets < count)).all():
        raise Damaged(f"tree {k} asks for categories that are not there")


def _fields(text: str) -> dict[str, str]:
    pairs = [line.split("=", 1) for line in text.split("\n") if "=" in line]
    told = dict(pairs)
    if len(told) < len(pairs):
        raise Damaged("it says something twice")
    return told


def _numbers(text: str) -> Numbers:
    import numpy as np

    return np.array([int(number) for number in text.split()], np.int64)
