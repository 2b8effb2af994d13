"""Scripts that do what hooks do not expect: each does the same as without studio, and what can be kept is."""

from __future__ import annotations

import os
import subprocess
import sys
import zipapp
from pathlib import Path

import pytest

INJECT = Path(__file__).parents[2] / "studio" / "run" / "inject"

SKLEARN = """
    import numpy as np
    from sklearn.linear_model import Ridge
    X = np.random.default_rng(1).normal(size=(60, 3)); y = X[:, 0]
"""


@pytest.mark.parametrize("switch", ["-S", "-I", "-E"])
def test_an_interpreter_that_ignores_pythonpath_is_not_watched(bench, switch):
    bench.script.write_text("import sys; print([m for m in sys.modules if '_studio' in m], len(sys.meta_path))")
    words = [sys.executable, switch, str(bench.script)]
    shown, bare = (
        subprocess.run(words, env=env, cwd=bench.folder, capture_output=True, text=True)
        for env in (bench.env(), bench.env(PYTHONPATH=None, STUDIOML_SPOOL=None))
    )
    assert (shown.stdout, shown.stderr) == (bare.stdout, bare.stderr) and shown.stdout.startswith("[]")
    assert bench.ran().events == []


def test_a_zipapp_is_watched(bench):
    source = bench.folder / "app"
    source.mkdir()
    (source / "__main__.py").write_text("import random; random.seed(3); print(random.random())")
    zipapp.create_archive(source, bench.folder / "app.pyz")
    words = [sys.executable, "app.pyz"]
    shown = subprocess.run(words, env=bench.env(), cwd=bench.folder, capture_output=True, text=True)
    assert (shown.returncode, shown.stderr) == (0, "") and bench.ran().params == {"seed.random": 3}


def test_the_users_usercustomize_runs(bench, tmp_path):
    import site

    own = tmp_path / "own"
    own.mkdir()
    (own / "usercustomize.py").write_text("print('of the user')")
    code = f"import sys; sys.path.append({str(own)!r}); import site; site.execusercustomize(); print('script')"
    assert hasattr(site, "execusercustomize")
    ran = bench.run(code)
    assert (ran.out, ran.err) == ("of the user\nscript\n", "")


def test_a_script_that_closes_every_descriptor(bench):
    ran = bench.run(
        """
        import os, random
        import _studio_track as t
        random.seed(1)
        t.log({"before": 1.0}); t.flush()
        os.closerange(3, 256)
        random.seed(2)
        t.log({"after": 2.0})
        """
    )
    assert ran.code == 0
    assert ran.params == {"seed.random": 2}
    assert ran.curves.names() == ["after", "before"]


def test_a_descriptor_that_now_is_a_file_of_the_scripts_gets_no_metrics(bench):
    """The number of the closed stream is given to the next file that is opened."""
    ran = bench.run(
        """
        import os
        import _studio_track as t
        t.log({"a": 1.0}); t.flush()
        os.closerange(3, 256)
        with open("mine.bin", "wb") as file:
            for _ in range(3):
                t.log({"a": 2.0}); t.flush()
            file.write(b"mine")
        """
    )
    assert ran.code == 0
    assert (bench.folder / "mine.bin").read_bytes() == b"mine"
    assert ran.curves.summary()["a"].last == 2.0


def test_fits_in_threads_processes_and_searches(bench):
    bench.needs("sklearn")
    ran = bench.run(
        SKLEARN
        + """
    import threading
    from sklearn.model_selection import GridSearchCV, cross_val_score
    threads = [threading.Thread(target=lambda a=a: Ridge(a).fit(X, y)) for a in range(1, 7)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    print(len(cross_val_score(Ridge(), X, y, cv=3)))
    search = GridSearchCV(Ridge(), {"alpha": [1, 2]}, n_jobs=2, cv=2).fit(X, y)
    print(type(search.best_estimator_).__name__, search.best_estimator_.coef_.shape)
    """
    )
    assert (ran.code, ran.out, ran.err) == (0, "3\nRidge (3,)\n", "")
    assert ran.of_type("warning") == []
    ridges = {name: value for name, value in ran.params.items() if name.endswith(".alpha") and name.count(".") == 1}
    assert sorted(ridges.values()) == [1, 2, 3, 4, 5, 6], (
        ridges
    )  # each whole; those of the folds are none of the script's
    assert ran.params["sklearn7.estimator"] == "GridSearchCV"
    import joblib

    assert type(joblib.load(ran.modeldir / ran.chosen["file"])).__name__ == "GridSearchCV"


def test_spawned_children_that_fit_are_not_watched_and_may_log(bench):
    bench.needs("sklearn")
    ran = bench.run(
        """
        import multiprocessing
        def work(i):
            import numpy as np
            from sklearn.linear_model import Ridge
            import _studio_track as t
            Ridge(alpha=1 + i).fit(np.eye(3), np.ones(3))
            t.log({f"child{i}": 1.0})
            return i
        if __name__ == "__main__":
            with multiprocessing.get_context("spawn").Pool(2) as pool:
                print(pool.map(work, range(3)))
        """
    )
    assert (ran.code, ran.out, ran.err) == (0, "[0, 1, 2]\n", "")
    assert ran.curves.names() == ["child0", "child1", "child2"]
    assert ran.params == {} and not ran.modeldir.exists()


@pytest.mark.parametrize("way", ["spawn", "fork"])
def test_a_workers_points_are_written_when_they_are_logged(bench, way):
    ran = bench.run(
        f"""
        import multiprocessing, os, signal
        def work(i):
            import _studio_track as t
            t.log({{f"child{{i}}": 1.0}})
            os.kill(os.getpid(), signal.SIGKILL)
        if __name__ == "__main__":
            import _studio_track as t
            t.log({{"parent": 1.0}})
            assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
            t.flush()
            context = multiprocessing.get_context({way!r})
            children = [context.Process(target=work, args=(i,)) for i in range(2)]
            for child in children:
                child.start()
            for child in children:
                child.join()
            print([child.exitcode for child in children])
        """
    )
    assert (ran.code, ran.out, ran.err) == (0, "[-9, -9]\n", "")
    assert ran.curves.names() == ["child0", "child1", "parent"]


@pytest.mark.parametrize("way", ["spawn", "fork"])
def test_a_worker_keeps_the_systems_answer_to_sigterm(bench, way):
    ran = bench.run(
        f"""
        import multiprocessing, signal
        def work(i):
            before = signal.getsignal(signal.SIGTERM)
            import _studio_track as t
            t.log({{"child": 1.0}})
            return before is signal.SIG_DFL and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
        if __name__ == "__main__":
            import _studio_track as t
            t.log({{"parent": 1.0}})
            with multiprocessing.get_context({way!r}).Pool(1) as pool:
                print(pool.map(work, [1]))
        """
    )
    assert (ran.code, ran.out, ran.err) == (0, "[True]\n", "")


def test_a_modeldir_that_is_deleted_is_made_again(bench):
    bench.needs("sklearn")
    ran = bench.run(
        SKLEARN
        + f"""
    import shutil
    Ridge(1).fit(X, y)
    shutil.rmtree({str(bench.modeldir)!r}, ignore_errors=True)
    Ridge(2).fit(X, y)
    """
    )
    assert (ran.code, ran.err) == (0, "") and ran.of_type("warning") == []
    import joblib

    assert joblib.load(ran.modeldir / ran.chosen["file"]).alpha == 2


def test_a_modeldir_that_cannot_be_written_is_said_once(bench):
    bench.needs("sklearn")
    if os.getuid() == 0:
        bench.modeldir.write_text("a file, where a folder should be")  # root may write anywhere else
    else:
        bench.modeldir.mkdir(mode=0o500)
    ran = bench.run(SKLEARN + "\n    for _ in range(5): Ridge().fit(X, y)\n    print('done')")
    assert (ran.code, ran.out, ran.err) == (0, "done\n", "")
    assert len(ran.of_type("warning")) == 1


def test_a_script_that_wraps_fit_itself(bench):
    bench.needs("sklearn")
    ran = bench.run(
        SKLEARN
        + """
    original = Ridge.fit
    def fit(self, *args, **kwargs):
        print("mine")
        return original(self, *args, **kwargs)
    Ridge.fit = fit
    Ridge(3).fit(X, y)
    """
    )
    assert (ran.code, ran.out, ran.err) == (0, "mine\n", "") and ran.params["sklearn.alpha"] == 3
