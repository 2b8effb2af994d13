"""What the hooks cost a script: its start, a Keras epoch, scikit-learn's fits, a PyTorch loop, and the sampler.

Every figure compares turns with and without the hooks that alternate in one run: min - median - max. Libraries that are
not installed are left out, and it is said. BENCH_TURNS sets the turns.
"""

from __future__ import annotations

import importlib.util
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from studio.run.usage import Usage

ROOT = Path(__file__).resolve().parent.parent
INJECT = ROOT / "studio" / "run" / "inject"
TURNS = int(os.environ.get("BENCH_TURNS", "7"))

KERAS = """
    import json, os, sys, time
    import keras, numpy as np
    batches, size, epochs, width = {batches}, {size}, {epochs}, {width}
    x = np.random.default_rng(1).normal(size=(batches * size, 32)).astype("float32")
    y = x[:, :1]
    model = keras.Sequential([keras.Input((32,)), keras.layers.Dense(width, "relu"), keras.layers.Dense(width, "relu"),
                              keras.layers.Dense(1)])
    model.compile("adam", "mse")
    class Clock(keras.callbacks.Callback):
        ends = []
        def on_epoch_end(self, epoch, logs=None):
            self.ends.append((time.perf_counter(), time.process_time()))
    model.fit(x, y, epochs=epochs, batch_size=size, verbose=0, callbacks=[Clock()])
    print("RESULT", *[(b - a) / (epochs - 1) for a, b in zip(Clock.ends[0], Clock.ends[-1])])
"""
INSIDE = """
    import time
    import keras, _studio_keras
    spent = [0.0]
    started = time.process_time()
    def timed(function):
        def call(*args):
            began = time.thread_time()
            function(*args)
            spent[0] += time.thread_time() - began
        return call
    for name in ("batch", "epoch_begins", "epoch_ended", "begin", "finish"):
        setattr(_studio_keras.Fit, name, timed(getattr(_studio_keras.Fit, name)))
    import atexit
    atexit.register(lambda: print("INSIDE", spent[0] / (time.process_time() - started)))
"""
SKLEARN = """
    import time, numpy as np
    from sklearn.linear_model import Ridge
    X = np.random.default_rng(1).normal(size=(200, 8)); y = X[:, 0]
    Ridge().fit(X, y)
    began = time.perf_counter(), time.process_time()
    for _ in range({count}):
        Ridge().fit(X, y)
    print("RESULT", time.perf_counter() - began[0], time.process_time() - began[1])
"""
TORCH = """
    import time, torch
    net = torch.nn.Sequential(torch.nn.Linear(16, 32), torch.nn.ReLU(), torch.nn.Linear(32, 1))
    optimizer = torch.optim.Adam(net.parameters())
    x = torch.randn(64, 16)
    def loop(n):
        for _ in range(n):
            loss = net(x).square().mean()
            optimizer.zero_grad(); loss.backward(); optimizer.step()
    loop(200)
    began = time.perf_counter(), time.process_time()
    loop({count})
    print("RESULT", time.perf_counter() - began[0], time.process_time() - began[1])
"""


def main() -> None:
    """Prints the tables."""
    print(f"{TURNS} turns each; min - median - max")
    _start()
    _library("keras, 2,000 batches of 4 in an epoch", ("keras", "tensorflow"), KERAS, batches=2000, size=4, epochs=4,
             width=8)  # fmt: skip
    _library("keras, 100 batches of 256 in an epoch", ("keras", "tensorflow"), KERAS, batches=100, size=256, epochs=12,
             width=512)  # fmt: skip
    _inside("keras, 2,000 batches of 4 in an epoch", batches=2000, size=4, epochs=4, width=8)
    _inside("keras, 100 batches of 256 in an epoch", batches=100, size=256, epochs=12, width=512)
    _library("scikit-learn, 2,000 fits of Ridge", ("sklearn",), SKLEARN, count=2000)
    _library("PyTorch, 3,000 steps", ("torch",), TORCH, count=3000)
    _sampler()


def _spread(values: Sequence[float], unit: str, factor: float = 1.0, places: int = 2) -> str:
    low, middle, high = min(values), statistics.median(values), max(values)
    return " - ".join(f"{value * factor:.{places}f}" for value in (low, middle, high)) + f" {unit}"


def _env(folder: Path, hooks: bool) -> dict[str, str]:
    spool = Path(tempfile.mkdtemp(dir=folder))
    dropped = ("STUDIOML_", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
    kept |= {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    kept |= {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1"}  # threads that spin measure one another
    if hooks:
        mapping = json.dumps({"modeldir": str(spool / "modeldir")})
        kept |= {"PYTHONPATH": str(INJECT), "STUDIOML_SPOOL": str(spool), "STUDIOML_ARTIFACT_MAPPING": mapping}
    return kept


def _start() -> None:
    """An interpreter of a new environment: without studio, numpy, or anything at all."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "bare"], check=True)
        python = str(folder / "bare" / "bin" / "python")
        for name, code in (("start of an interpreter", "pass"), ("and its first studio.log", LOG)):
            added: list[list[float]] = [[], []]
            for _ in range(5 * TURNS):
                bare, hooked = (_seconds([python, "-c", code], _env(folder, hooks)) for hooks in (False, True))
                for kind, found in enumerate(added):
                    found.append(hooked[kind] - bare[kind])
            wall, cpu = (_spread(found, "ms", 1000) for found in added)
            print(f"{name + ', a bare environment':44} + {wall}; CPU time + {cpu}")


def _seconds(words: Sequence[str], env: Mapping[str, str]) -> tuple[float, float]:
    """Wall and CPU time of a program."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(words, env=env, check=True)
    took, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    return took, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


LOG = "import os\nif 'STUDIOML_SPOOL' in os.environ:\n import _studio_track\n _studio_track.log({'a': 1.0})"


def _library(name: str, modules: Sequence[str], source: str, **values: int) -> None:
    """With the hooks, as a share of the same script without them."""
    missing = [module for module in modules if importlib.util.find_spec(module) is None]
    if missing:
        print(f"{name:44} left out: {missing[0]} is not installed")
        return
    ratios: list[list[float]] = [[], []]
    bare = []
    with tempfile.TemporaryDirectory() as scratch:
        script = Path(scratch, "script.py")
        script.write_text(textwrap.dedent(source).format(**values))
        for turn in range(TURNS):
            took = {}
            for hooks in (True, False) if turn % 2 else (False, True):
                words, env = [sys.executable, str(script)], _env(Path(scratch), hooks)
                done = subprocess.run(words, env=env, check=True, capture_output=True, text=True)
                took[hooks] = [float(word) for word in done.stdout.rpartition("RESULT ")[2].split()]
            for kind, found in enumerate(ratios):
                found.append(took[True][kind] / took[False][kind])
            bare.append(took[False][0])
    wall, cpu = (_spread(found, "", places=3) for found in ratios)
    print(f"{name:44} × {wall}of {statistics.median(bare):.3f} s; CPU time × {cpu}")


def _inside(name: str, **values: int) -> None:
    """CPU time within the Keras hook as a share of all that `fit` takes: steadier than a difference of two runs."""
    if importlib.util.find_spec("keras") is None:
        return
    shares = []
    with tempfile.TemporaryDirectory() as scratch:
        script = Path(scratch, "script.py")
        script.write_text(textwrap.dedent(INSIDE) + textwrap.dedent(KERAS).format(**values))
        for _ in range(TURNS):
            words, env = [sys.executable, str(script)], _env(Path(scratch), True)
            done = subprocess.run(words, env=env, check=True, capture_output=True, text=True)
            shares.append(float(done.stdout.rpartition("INSIDE ")[2]))
    print(f"{name:44} {_spread(shares, '% of its CPU time within the hook', 100)}")


def _sampler() -> None:
    """CPU time of the thread that samples, as a share of one core, at one sample a second."""
    for count in (1, 20, 200):
        code = f"import subprocess as s\nc = [s.Popen(['sleep', '600']) for _ in range({count - 1})]\n"
        code += "print(1, flush=1)\ninput()\n[x.kill() for x in c]"
        tree = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert tree.stdout is not None
        tree.stdout.readline()
        shares = []
        with tempfile.TemporaryDirectory() as scratch:
            usage = Usage(os.getpid(), Path(scratch, "system"))
            usage.sample()
            for _ in range(2 * TURNS):
                time.sleep(1)
                began = time.thread_time()
                usage.sample()
                shares.append(time.thread_time() - began)
        tree.communicate("\n")
        print(f"{f'sampler, a tree of {count} processes':44} {_spread(shares, '% of a core', 100)}")


if __name__ == "__main__":
    main()
