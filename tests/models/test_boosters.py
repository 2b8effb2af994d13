"""Boosters are served from the files of their own libraries: the answers are those of `Booster.predict`."""

from __future__ import annotations

import importlib.util
import json
import os
import select
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from studio.errors import MissingExtra, ModelLoadError
from studio.models import TensorModel, load_model
from studio.models.find import find_checkpoints
from studio.models.forked import Damaged
from studio.models.trees import check_file, check_lightgbm, check_xgboost
from studio.models.ubj import read_ubj

DATA = np.random.default_rng(5).normal(size=(120, 4))
LABELS = (DATA.sum(1) > 0).astype(int)
LIGHTGBM = "tree\nversion=v4\n"


@pytest.mark.parametrize("name", ["model.json", "model.ubj"])
def test_xgboost(tmp_path: Path, name: str) -> None:
    xgboost = pytest.importorskip("xgboost", reason="xgboost is not installed")
    booster = xgboost.train({"objective": "binary:logistic"}, xgboost.DMatrix(DATA, LABELS), 4)
    booster.save_model(tmp_path / name)
    model = load_model(tmp_path)
    assert isinstance(model, TensorModel)
    assert (model.file, model.runtime, model.inputs[0].shape) == (name, {"name": "xgboost"}, (-1, 4))
    rows = DATA.copy()
    rows[3, 2] = np.nan
    assert np.array_equal(model.run([rows])[0], booster.predict(xgboost.DMatrix(rows)))


def test_lightgbm(tmp_path: Path) -> None:
    lightgbm = pytest.importorskip("lightgbm", reason="lightgbm is not installed")
    booster = lightgbm.train({"objective": "binary", "verbosity": -1}, lightgbm.Dataset(DATA, LABELS), 4)
    booster.save_model(tmp_path / "model.txt")
    model = load_model(tmp_path)
    assert isinstance(model, TensorModel)
    assert (model.file, model.inputs[0].shape, model.outputs[0].dtype) == ("model.txt", (-1, 4), "float64")
    assert np.array_equal(model.run([DATA])[0], booster.predict(DATA))


Forge = Callable[[dict[str, Any], dict[str, Any]], object]
"""Changes a tree, or the whole model."""

FORGED: dict[str, tuple[str, Forge]] = {
    "ring": ("node with two parents", lambda tree, _: tree["left_children"].__setitem__(1, tree["left_children"][2])),
    "root": ("not there", lambda tree, _: tree["left_children"].__setitem__(2, 0)),
    "far": ("not there", lambda tree, _: tree["right_children"].__setitem__(0, 10**8)),
    "negative": ("not there", lambda tree, _: tree["left_children"].__setitem__(0, -7)),
    "half a leaf": ("not there", lambda tree, _: tree["right_children"].__setitem__(0, -1)),
    "feature": ("feature 100000000 of 4", lambda tree, _: tree["split_indices"].__setitem__(0, 10**8)),
    "output": ("output 9 of 1", lambda _, model: model["tree_info"].__setitem__(0, 9)),
    "nodes": ("not as many nodes", lambda tree, _: tree["split_indices"].pop()),
    "parent": ("parents that are not there", lambda tree, _: tree["parents"].__setitem__(1, 10**8)),
    "category": ("categories that are not there", lambda tree, _: tree["categories_nodes"].append(0)),
    "kind": ("the categories that its nodes ask for", lambda tree, _: tree["split_type"].__setitem__(0, 1)),
    "rounds": ("rounds have trees", lambda _, model: model["iteration_indptr"].__setitem__(1, 9)),
    "classes": ("no trees for 99999 outputs", lambda _, model: model["whole"].update(num_class="99999")),
    "group": ("not as many groups", lambda _, model: model["tree_info"].pop()),
    "leaf": ("leaves that are not there", lambda tree, _: tree["right_children"].__setitem__(-1, 10**8)),
}


@pytest.mark.skipif(sys.platform != "linux", reason="files are tried in a copy of the process, which needs Linux")
def test_trees_that_cannot_be_walked_are_refused_and_the_next_best_is_served(tmp_path: Path) -> None:
    xgboost = pytest.importorskip("xgboost", reason="xgboost is not installed")
    booster = xgboost.train({"nthread": 1}, xgboost.DMatrix(DATA, DATA.sum(1)), 2)
    for kind, (said, forge) in FORGED.items():
        whole = json.loads(booster.save_raw(raw_format="json"))
        model = whole["learner"]["gradient_booster"]["model"]
        model["whole"] = whole["learner"]["learner_model_param"]
        forge(model["trees"][0], model)
        with pytest.raises(Damaged) as caught:
            (check_file if kind in ("category", "classes") else check_xgboost)(whole)
        assert said in str(caught.value), kind
    (tmp_path / "forged.json").write_text(json.dumps(whole, separators=(",", ":")))
    model["trees"][0]["parents"][1] = 10**8
    (tmp_path / "crash.json").write_text(json.dumps(whole, separators=(",", ":")))
    booster.save_model(tmp_path / "good.ubj")
    for age, name in enumerate(("good.ubj", "forged.json", "crash.json")):
        os.utime(tmp_path / name, (1e9 + age, 1e9 + age))
    served = load_model(tmp_path)
    told = " ".join(served.warnings)
    assert served.file == "good.ubj"
    assert "forged.json is damaged: tree 0 has leaves" in told and "crash.json crashes xgboost (SIG" in told


@pytest.mark.skipif(sys.platform != "linux", reason="files are tried in a copy of the process, which needs Linux")
def test_lightgbms_trees_that_cannot_be_walked_are_refused(tmp_path: Path) -> None:
    lightgbm = pytest.importorskip("lightgbm", reason="lightgbm is not installed")
    options = {"verbosity": -1, "num_threads": 1}
    lightgbm.train(options, lightgbm.Dataset(DATA, DATA.sum(1)), 2).save_model(tmp_path / "model.txt")
    text = (tmp_path / "model.txt").read_text()
    for key, value in (("left_child", "0"), ("left_child", "9"), ("split_feature", "9"), ("num_leaves", "9"),
                       ("num_leaves", "0"), ("num_leaves", "x"), ("num_cat", "3"), ("num_cat", "-"),
                       ("tree_sizes", "9"), ("threshold", ""), ("decision_type", "1")):  # fmt: skip
        at = text.index(f"\n{key}=") + len(key) + 2
        forged = text[:at] + value + text[at + 1 :]
        with pytest.raises(Damaged):
            check_lightgbm(forged)
    for cut in (text.index("\nright_child"), text.index("\nshrinkage", text.index("Tree=1"))):
        with pytest.raises(Damaged):
            check_lightgbm(text[:cut])
    check_lightgbm(text)
    (tmp_path / "model.txt").write_text(text.rstrip("\n"))
    assert isinstance(served := load_model(tmp_path / "model.txt"), TensorModel) and not served.warnings
    (tmp_path / "model.txt").write_text(forged)
    with pytest.raises(ModelLoadError, match=r"model\.txt (is damaged: tree 0|crashes lightgbm \(SIG)"):
        load_model(tmp_path / "model.txt")


SETS = "tree\nnum_class=3\nmax_feature_idx=3\nobjective=multiclass num_class:3\n\n" + "\n\n".join(
    f"Tree={k}\nnum_leaves=2\nnum_cat=1\nsplit_feature=3\nthreshold=0\ndecision_type=1\nleft_child=-1\nright_child=-2\n"
    "leaf_value=1 2\ncat_boundaries=0 2\ncat_threshold=5 1\nis_linear=1\nleaf_const=1 2\nnum_features=1 2\n"
    "leaf_features=0  1 2 \nleaf_coeff=.5  .25 .125 \n" for k in range(3)
) + "\n\nend of trees\n"  # fmt: skip


@pytest.mark.parametrize(
    ("true", "false"),
    [
        ("num_cat=1", "num_cat=3"), ("num_cat=1", "num_cat=0"), ("num_cat=1", "num_cat=-1"),
        ("threshold=0", "threshold=1"), ("threshold=0", "threshold=nan"), ("cat_threshold=5 1", "cat_threshold=5"),
        ("boundaries=0 2", "boundaries=0 -2"), ("boundaries=0 2", "boundaries=0 2 4"),
        ("num_features=1 2", "num_features=-1 4"), ("num_features=1 2", "num_features=1 9"),
        ("leaf_features=0  1 2", "leaf_features=0  1 9"), ("leaf_features=0  1 2", "leaf_features=0  1 -2147483648"),
        ("leaf_coeff=.5 ", "leaf_coeff="), ("leaf_const=1 2", "leaf_const=1"), ("num_class=3", "num_class=1"),
        ("num_class:3", "num_class:9"), ("num_class=3", "num_class=3\nnum_tree_per_iteration=1"), ("Tree=2", "Tre=2"),
    ],
)  # fmt: skip
def test_lightgbms_sets_linear_leaves_and_classes_are_checked(true: str, false: str) -> None:
    assert check_lightgbm(SETS) == check_lightgbm(SETS.replace("\n", "\r\n")) == 3
    with pytest.raises(Damaged):
        check_lightgbm(SETS.replace(true, false, 1))


def test_trees_of_all_kinds_can_be_walked() -> None:
    xgboost = pytest.importorskip("xgboost", reason="xgboost is not installed")
    table = xgboost.DMatrix(DATA, np.abs(DATA[:, :2]))
    kinds: list[dict[str, Any]] = [{}, {"booster": "dart"}, {"booster": "gblinear"}, {"num_parallel_tree": 2},
             {"multi_strategy": "multi_output_tree", "tree_method": "hist"}]  # fmt: skip
    for options in kinds:
        booster = xgboost.train({"nthread": 1, **options}, table, 2)
        whole = json.loads(booster.save_raw(raw_format="json"))
        check_xgboost(whole)
        assert str(read_ubj(booster.save_raw("ubj"))["learner"].keys()) == str(whole["learner"].keys())
    booster = xgboost.train({"objective": "multi:softprob", "num_class": 3}, xgboost.DMatrix(DATA, LABELS), 2)
    check_xgboost(json.loads(booster.save_raw(raw_format="json")))
    check_xgboost(json.loads(booster[1:].save_raw(raw_format="json")))


def test_other_files_of_those_names_are_no_checkpoints(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"a": 1}')
    (tmp_path / "notes.txt").write_text("tree of life")
    (tmp_path / "empty.json").write_text("")
    assert find_checkpoints(tmp_path) == []
    (tmp_path / "model.txt").write_text(LIGHTGBM)
    assert [(c.path.name, c.format) for c in find_checkpoints(tmp_path)] == [("model.txt", "lightgbm")]


def test_a_broken_booster_says_so(tmp_path: Path) -> None:
    pytest.importorskip("xgboost", reason="xgboost is not installed")
    (tmp_path / "model.json").write_text('{"learner":{"attributes"')
    with pytest.raises(ModelLoadError, match=r"xgboost cannot load model\.json"):
        load_model(tmp_path)


def test_a_missing_library_is_named(tmp_path: Path) -> None:
    if importlib.util.find_spec("lightgbm") is not None:
        pytest.skip("lightgbm is installed")
    from studio.models.booster import load_lightgbm

    with pytest.raises(MissingExtra, match="lightgbm is not installed") as caught:
        load_lightgbm(tmp_path / "model.txt", "auto", False)
    assert caught.value.hint == "pip install lightgbm"


def test_pytorchs_weights_are_named_instead_of_the_identity_served(tmp_path: Path) -> None:
    (tmp_path / "net.pt").write_bytes(b"PK")
    with pytest.raises(ModelLoadError, match=r"net\.pt holds weights only") as caught:
        load_model(tmp_path)
    assert "--wrapper" in caught.value.hint


@pytest.mark.skipif(sys.platform != "linux", reason="files are tried in a copy of the process, which needs Linux")
def test_a_file_is_loaded_untried_where_no_copy_can_be_made() -> None:
    script = """if True:
        import os, resource
        from studio.models.forked import survive
        if not os.getuid():
            os.setuid(65534)  # limits do not hold for root
        resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
        before = os.dup(0)
        os.close(before)
        print(*survive("m.txt", "lightgbm", lambda: None), os.dup(0) == before)
    """
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    if "setuid" in ran.stderr:
        pytest.skip("this user cannot become another one")
    assert "m.txt was loaded untried" in ran.stdout and "Resource temporarily unavailable" in ran.stdout, ran.stderr
    assert ran.stdout.endswith("True\n")  # no end of the pipe is left open


@pytest.mark.skipif(sys.platform != "linux", reason="files are tried in a copy of the process, which needs Linux")
def test_a_trial_that_hangs_ends_with_its_server() -> None:
    script = """if True:
        import os, time
        from studio.models.forked import survive
        def trial():
            os.write(told, str(os.getpid()).encode())
            time.sleep(60)
        told = os.dup(1)  # the trial's own output goes nowhere
        survive("m.txt", "lightgbm", trial)
    """
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        assert os.read(server.stdout.fileno(), 99).isdigit()
        server.kill()
        assert select.select([server.stdout], [], [], 30)[0], "the copy still holds the pipe"
