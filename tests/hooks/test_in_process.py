"""Hooks that come and go within one process, as `studio.start()` wants them: nothing is recorded outside."""

from __future__ import annotations

import json
import os


def test_hooks_begin_and_finish_in_a_process_that_has_imported_everything(bench):
    bench.needs("sklearn")
    ran = bench.run(
        f"""
        import sys
        sys.path.insert(0, {str(os.path.dirname(os.path.dirname(os.path.dirname(__file__))))!r})
        import argparse, random
        import joblib, numpy as np
        from sklearn.linear_model import LinearRegression
        from studio.run.inject import _studio_track as track
        import _studio_hooks as hooks
        X, y = np.eye(4), np.arange(4.0)

        def everything(n):
            random.seed(n)
            argparse.ArgumentParser().parse_args()
            LinearRegression(positive=n > 1).fit(X, y)
        finders = len(sys.meta_path)
        everything(0)
        for n in (1, 2):
            track.attach({str(bench.spool)!r})
            hooks.begin()
            everything(n)
            hooks.finish()
            track.detach()
            track.params(outside=n)
            everything(9)
            joblib.dump(1, "outside.joblib")
            assert len(sys.meta_path) == finders, sys.meta_path
        """,
        PYTHONPATH=None,
        STUDIOML_SPOOL=None,
    )
    assert (ran.code, ran.err) == (0, "")
    params = [event["values"] for event in ran.of_type("params")]
    assert [found["seed.random"] for found in params if "seed.random" in found] == [1, 2]
    assert [found["sklearn.positive"] for found in params if "sklearn.positive" in found] == [False, True]
    assert "outside" not in ran.params
    assert [event["how"] for event in ran.of_type("model")] == ["sklearn.fit"] * 2
    assert ran.kept == ["model-LinearRegression-2.joblib", "model.joblib"]
    assert ran.chosen["name"] == "LinearRegression-2"


def test_a_module_that_imports_itself_in_a_circle_is_hooked_once_and_whole(bench, tmp_path):
    package = tmp_path / "keras"
    package.mkdir()
    (package / "__init__.py").write_text("from . import inner\nclass Model:\n    def fit(self): return 1\n")
    (package / "inner.py").write_text("import keras\nfrom keras import inner as me\nlate = lambda: keras.Model\n")
    ran = bench.run(
        """
        import importlib.util
        spec = importlib.util.find_spec("keras")
        assert spec.loader.get_filename("keras").endswith("__init__.py")
        import keras
        assert keras.inner.late() is keras.Model
        assert type(keras.__loader__).__name__ == type(keras.__spec__.loader).__name__ == "SourceFileLoader"
        assert importlib.reload(keras) is keras and keras.Model().fit() == 1
        """
    )
    assert (ran.code, ran.err) == (0, "")
    assert len(ran.of_type("warning")) == 2  # it is no Keras, both hooks for it say once


def test_studio_start_watches_until_the_run_ends(bench):
    bench.needs("sklearn")
    ran = bench.run(
        f"""
        import json, sys
        sys.path.insert(0, {str(os.path.dirname(os.path.dirname(os.path.dirname(__file__))))!r})
        import random, numpy as np, studio
        from sklearn.linear_model import LinearRegression
        with studio.start() as run:
            random.seed(4)
            LinearRegression().fit(np.eye(3), np.arange(3.0))
        random.seed(5)
        found = studio.experiments()[0]
        print(json.dumps([dict(found.params), found.artifacts["modeldir"].files]))
        """,
        PYTHONPATH=None,
        STUDIOML_SPOOL=None,
        STUDIOML_ARTIFACT_MAPPING=None,
    )
    assert ran.code == 0, ran.err
    params, files = json.loads(ran.out)
    assert params["seed.random"] == 4 and params["sklearn.estimator"] == "LinearRegression" and files == 2
