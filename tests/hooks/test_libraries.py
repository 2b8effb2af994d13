"""XGBoost, LightGBM, PyTorch and matplotlib as they are installed: what is recorded, and that results are the same."""

from __future__ import annotations

import json
import subprocess
import sys

from studio.models import load_model

DATA = """
    import numpy as np, os
    rng = np.random.default_rng(5)
    X = rng.normal(size=(300, 4)); y = (X.sum(1) > 0).astype(int)
"""


def test_xgboost(bench):
    bench.needs("xgboost")
    source = (
        DATA
        + """
    import xgboost as xgb
    train, test = xgb.DMatrix(X[:200], y[:200]), xgb.DMatrix(X[200:], y[200:])
    result = {}
    booster = xgb.train({"eta": 0.3, "max_depth": 3, "objective": "binary:logistic", "eval_metric": ["logloss", "auc"]},
                        train, 6, evals=[(test, "test")], evals_result=result, verbose_eval=False,
                        early_stopping_rounds=50)
    print(result["test"]["logloss"], booster.predict(test).sum())
    """
    )
    ran, bare = bench.run(source), bench.run(source, PYTHONPATH=None)
    assert (ran.code, ran.out) == (0, bare.out), ran.err
    params = ran.params
    assert (params["xgboost.eta"], params["xgboost.num_boost_round"]) == (0.3, 6)
    steps, _, values = ran.curves.curve("test/logloss")
    assert steps.tolist() == list(range(6)) and str(values.tolist()) in ran.out
    assert "test/auc" in ran.curves.names()
    assert ran.kept == ["model.json"]
    assert json.loads((ran.modeldir / "model.json").read_text())["learner"]["objective"]["name"] == "binary:logistic"


def test_xgboost_by_its_estimator(bench):
    bench.needs("xgboost")
    bench.needs("sklearn")
    ran = bench.run(
        DATA
        + """
    from xgboost import XGBClassifier
    XGBClassifier(n_estimators=4, max_depth=2).fit(X, y, eval_set=[(X, y)], verbose=False)
    """
    )
    assert (ran.code, ran.err) == (0, "")
    assert ran.params["sklearn.estimator"] == "XGBClassifier" and ran.params["sklearn.max_depth"] == 2
    assert ran.curves.summary()["validation_0/logloss"].count == 4
    assert ran.kept == ["model.joblib"]


def test_a_booster_that_was_trained_on_a_margin_is_served_with_a_warning(bench):
    bench.needs("xgboost")
    ran = bench.run(
        DATA
        + """
    import xgboost as xgb
    from sklearn.pipeline import make_pipeline
    data, few = xgb.DMatrix(X, y), {"objective": "binary:logistic", "nthread": 1}
    plain = xgb.train(few, data, 1)
    data.set_base_margin(plain.predict(data, output_margin=True))
    booster = xgb.train(few, data, 1)
    rounds = xgb.Booster(few, [data]); rounds.update(data, 0)
    model = make_pipeline(xgb.XGBClassifier(n_estimators=1)).fit(X, y, xgbclassifier__base_margin=y * 0.1)
    again = xgb.XGBClassifier(n_estimators=1).fit(X, y, base_margin=y * 0.1).fit(X, y)
    """
    )
    assert (ran.code, ran.err) == (0, "")
    margins = [model["signature"].get("margin") for model in ran.note["models"]]
    assert margins == [None, "base_margin", "base_margin", "base_margin", None]
    for name, told in (("Booster", False), ("Booster-2", True), ("Pipeline", True)):
        warned = load_model(ran.modeldir, model=name).warnings
        assert any("trained with base_margin for each row, and answers without" in w for w in warned) is told


def test_catboost(bench):
    bench.needs("catboost")
    bench.needs("sklearn")
    ran = bench.run(
        DATA
        + """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import cross_val_score
    from catboost import CatBoostClassifier, CatBoostRegressor, Pool
    base = LogisticRegression().fit(X, y)
    few = {"iterations": 3, "verbose": 0, "allow_writing_files": False, "thread_count": 1}
    cross_val_score(CatBoostClassifier(**few), X, y, cv=2)
    first = CatBoostRegressor(**few).fit(Pool(X, y))
    best = CatBoostClassifier(**few).fit(X, y)
    print(best.predict_proba(X[:1]).tolist(), best.predict(X[:9]).tolist())
    """
    )
    assert (ran.code, ran.err, ran.of_type("warning")) == (0, "", [])
    assert [m["name"] for m in ran.note["models"]] == ["LogisticRegression", "CatBoostRegressor", "CatBoostClassifier"]
    assert ran.chosen["name"] == "CatBoostClassifier" and ran.chosen["library"] == "catboost"
    assert ran.params["sklearn3.estimator"] == "CatBoostClassifier" and ran.params["sklearn3.iterations"] == 3
    model = load_model(ran.modeldir)
    assert (model.inputs[0].shape, model.caveat) == ((-1, 4), "") and model.warnings == ()
    import numpy as np

    X = np.random.default_rng(5).normal(size=(300, 4))
    assert str(model.run([X[:9]])[0].tolist()) in ran.out


def test_lightgbm(bench):
    bench.needs("lightgbm")
    source = (
        DATA
        + """
    import lightgbm as lgb
    train = lgb.Dataset(X[:200], y[:200]); test = lgb.Dataset(X[200:], y[200:], reference=train)
    kept = {}
    params = {"learning_rate": 0.2, "objective": "binary", "verbosity": -1, "num_threads": 1}
    callbacks = [lgb.record_evaluation(kept), lgb.early_stopping(2, verbose=False)]
    booster = lgb.train(params, train, 30, valid_sets=[test], callbacks=callbacks)
    print([float(x) for x in kept["valid_0"]["binary_logloss"]], booster.best_iteration, booster.predict(X).sum())
    """
    )
    ran, bare = bench.run(source), bench.run(source, PYTHONPATH=None)
    assert (ran.code, ran.out) == (0, bare.out), ran.err
    assert (ran.params["lightgbm.learning_rate"], ran.params["lightgbm.num_boost_round"]) == (0.2, 30)
    assert str(ran.curves.curve("valid_0/binary_logloss")[2].tolist()) in ran.out
    assert ran.kept == ["model.txt"]


def test_pytorch(bench):
    bench.needs("torch")
    source = """
    import os, torch, _studio_track as t
    torch.manual_seed(3)
    net = torch.nn.Linear(4, 2)
    optimizer = torch.optim.AdamW(net.parameters(), lr=0.01, weight_decay=0.1)
    second = torch.optim.SGD([{"params": [net.weight]}, {"params": [net.bias], "lr": 0.5}], lr=0.1, momentum=0.9)
    for step in range(3):
        loss = net(torch.ones(1, 4)).square().sum()
        optimizer.zero_grad(); loss.backward(); optimizer.step()
        t.log({"loss": loss, "detached": loss.detach()}, step=step)
        os.makedirs("out", exist_ok=True)
        torch.save(net.state_dict(), f"out/net-{step}.pt")
    print(float(loss.detach()))
    late = torch.nn.Sequential(torch.nn.Linear(2, 1))
    third = torch.optim.SGD(late.parameters(), lr=0.1)
    late(torch.ones(1, 2)).sum().backward(); third.step()
    """
    ran = bench.run(source)
    assert (ran.code, ran.err) == (0, "")
    params = ran.params
    assert [(lost["name"], "the variable late " in lost["why"]) for lost in ran.note["lost"]] == [("Sequential", True)]
    assert params["torch.optimizer.name"] == "adamw" and params["torch.optimizer.lr"] == 0.01
    assert params["torch.optimizer.parameters"] == 10 and params["seed.torch"] == 3
    assert params["torch.optimizer2.name"] == "sgd" and params["torch.optimizer2.groups"] == 2
    assert ran.curves.summary()["loss"].last == float(ran.out)
    assert ran.kept == ["net-0.pt", "net-1.pt", "net-2.pt"]
    assert [event["how"] for event in ran.of_type("model")] == ["torch.save"] * 3 + ["copy"] * 3


TORCHRUN = """
import os, torch, torch.distributed as dist
import _studio_track as t
torch.manual_seed(3)
dist.init_process_group("gloo")
rank = dist.get_rank()
net = torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(4, 1))
optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
for step in range(5):
    loss = net(torch.ones(2, 4) * (rank + 1)).square().mean()
    optimizer.zero_grad(); loss.backward(); optimizer.step()
    t.log({"loss": 10.0 * rank + step}, step=step)
torch.save(net.state_dict(), f"rank-{rank}.pt")
dist.barrier()
dist.destroy_process_group()
"""


def test_ranks_of_torchrun_do_not_write_over_each_other(bench):
    """Rank 0 is watched and has the plain names; the other logs under its own, and its hooks are silent."""
    bench.needs("torch")
    bench.script.write_text(TORCHRUN)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    ran = subprocess.run(
        [*command, str(bench.script)], env=bench.env(), cwd=bench.folder, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr
    shown = bench.ran()
    assert shown.curves.names() == ["loss", "rank1/loss"] and len(shown.streams) == 2
    assert shown.curves.curve("loss")[2].tolist() == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert shown.curves.curve("rank1/loss")[2].tolist() == [10.0, 11.0, 12.0, 13.0, 14.0]
    named = [event for event in shown.of_type("params") if "torch.optimizer.name" in event["values"]]
    assert len(named) == 1 and shown.of_type("warning") == []
    assert shown.kept == ["rank-0.pt"]


def test_matplotlib(bench):
    bench.needs("matplotlib")
    ran = bench.run(
        """
        import io, pathlib, matplotlib
        matplotlib.use("agg")
        import matplotlib.pyplot as plt
        plt.plot([1, 2]); plt.savefig("a.png"); plt.gcf().savefig(io.BytesIO())
        plt.plot([2, 1]); plt.savefig(pathlib.Path("a.png")); plt.savefig("b.pdf")
        """
    )
    assert (ran.code, ran.err) == (0, "")
    assert [event["path"] for event in ran.of_type("figure")] == [
        str(bench.folder / name) for name in ("a.png", "b.pdf")
    ]
    kept = sorted(ran.spool.glob("media/a/*.png"))
    assert [path.name for path in kept] == ["0.png", "1.png"] and kept[0].read_bytes() != kept[1].read_bytes()
    assert kept[1].read_bytes() == (bench.folder / "a.png").read_bytes()


def test_a_script_that_saves_each_step_is_not_told_of_a_thousand_times(bench):
    bench.needs("joblib")
    ran = bench.run(
        """
        import joblib, os
        os.makedirs("out")
        for step in range(60):
            joblib.dump(step, f"out/{step}.joblib"); joblib.dump(step, f"out/{step}.joblib")
        """
    )
    assert (ran.code, ran.err) == (0, "")
    told = [event["path"] for event in ran.of_type("model") if event["how"] == "joblib.dump"]
    assert told == [str(bench.folder / "out" / f"{step}.joblib") for step in range(50)]
    assert len(ran.kept) == 60 and ran.note == {}
