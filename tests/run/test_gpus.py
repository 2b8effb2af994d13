"""GPUs by NVIDIA's management library: a small stand-in, compiled here, that the loader finds under the real name."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.studio_process import record, studio

FAKE = r"""
#include <stdio.h>
#include <stdlib.h>
typedef struct { unsigned gpu, memory; } use_t;
typedef struct { unsigned long long total, free, used; } memory_t;
typedef struct { unsigned pid; unsigned long long memory; unsigned instance, compute; } process_t;
static long handles[2] = {0, 1};
static int calls;
int nvmlInit_v2(void) { return getenv("NVML_INIT") ? atoi(getenv("NVML_INIT")) : 0; }
int nvmlInitWithFlags(unsigned flags) { return nvmlInit_v2(); }
int nvmlShutdown(void) { return 0; }
const char *nvmlErrorString(int code) { return code == 15 ? "GPU is lost" : "Unknown Error"; }
int nvmlDeviceGetCount_v2(unsigned *count) { *count = 2; return 0; }
int nvmlDeviceGetHandleByIndex_v2(unsigned i, void **device) { *device = &handles[i]; return 0; }
int nvmlDeviceGetUtilizationRates(void *device, use_t *use) {
    long i = *(long *)device;
    if (i == 1) return 3;  /* not supported: a GPU that MIG has split */
    if (getenv("NVML_CALLS") && calls++ >= atoi(getenv("NVML_CALLS"))) {
        if (getenv("NVML_LOST")) fclose(fopen(getenv("NVML_LOST"), "w"));
        return 15;
    }
    use->gpu = 37; use->memory = 5;
    return 0;
}
int nvmlDeviceGetMemoryInfo(void *device, memory_t *memory) {
    long i = *(long *)device;
    memory->total = 80ULL << 30; memory->used = (i + 1) * (3ULL << 30); memory->free = memory->total - memory->used;
    return 0;
}
int nvmlDeviceGetComputeRunningProcesses_v3(void *device, unsigned *count, process_t *room) {
    long i = *(long *)device;
    unsigned given = *count, n = 0, pid = 0;
    FILE *file = getenv("NVML_PID") ? fopen(getenv("NVML_PID"), "r") : 0;
    if (file) { if (fscanf(file, "%u", &pid) != 1) pid = 0; fclose(file); }
    *count = i == 0 ? 101 : 0;
    if (given < *count) return 7;  /* insufficient size */
    for (; n < *count; n++) {
        room[n].pid = n == 100 && pid ? pid : 4000000 + n;
        room[n].memory = n == 50 ? ~0ULL : 1ULL << 30;
    }
    return 0;
}
"""


@pytest.fixture
def library(tmp_path: Path) -> Path:
    compiler = shutil.which("cc")
    if compiler is None or sys.platform != "linux":
        pytest.skip("no C compiler, or no Linux: the stand-in for NVML cannot be built")
    folder = tmp_path / "lib"
    folder.mkdir()
    (folder / "nvml.c").write_text(FAKE)
    made = [compiler, "-shared", "-fPIC", "-o", str(folder / "libnvidia-ml.so.1"), str(folder / "nvml.c")]
    subprocess.run(made, check=True)
    return folder


READ = """
import json, os, sys
from studio.run.gpus import Gpus
gpus = Gpus()
print(json.dumps([[gpus.read({os.getpid()}) for _ in range(3)], gpus.broken]))
"""
READ_BY_NVIDIAS_BINDING = """
import json, os, pynvml
pynvml.nvmlInit()
found = {}
for i in range(pynvml.nvmlDeviceGetCount()):
    device = pynvml.nvmlDeviceGetHandleByIndex(i)
    try:
        found[f"gpu{i}"] = pynvml.nvmlDeviceGetUtilizationRates(device).gpu / 100
    except pynvml.NVMLError_NotSupported:
        pass
    found[f"gpu{i}_memory"] = pynvml.nvmlDeviceGetMemoryInfo(device).used
    own = [p.usedGpuMemory for p in pynvml.nvmlDeviceGetComputeRunningProcesses(device) if p.pid == os.getpid()]
    if own:
        found[f"gpu{i}_process_memory"] = sum(own)
print(json.dumps(found))
"""


def answer(source: str, library: Path, **env: str) -> object:
    prelude = "import os\nif 'NVML_PID' in os.environ: open(os.environ['NVML_PID'], 'w').write(str(os.getpid()))\n"
    given = {**os.environ, "LD_LIBRARY_PATH": str(library), "PYTHONPATH": os.getcwd(), **env}
    done = subprocess.run([sys.executable, "-c", prelude + source], env=given, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_use_and_memory_of_each_gpu(library: Path) -> None:
    moments, broken = answer(READ, library)
    assert broken == ""
    assert moments == [{"gpu0": 0.37, "gpu0_memory": 3 << 30, "gpu1_memory": 6 << 30}] * 3


def test_the_memory_of_a_process_of_the_run(library: Path, tmp_path: Path) -> None:
    moments, _ = answer(READ, library, NVML_PID=str(tmp_path / "pid"))
    assert moments[0]["gpu0_process_memory"] == 1 << 30 and "gpu1_process_memory" not in moments[0]


def test_nvidias_own_binding_reads_the_same_from_the_stand_in(library: Path, tmp_path: Path) -> None:
    if importlib.util.find_spec("pynvml") is None:
        pytest.skip("nvidia-ml-py is not installed")
    pid = str(tmp_path / "pid")
    assert answer(READ, library, NVML_PID=pid)[0][0] == answer(READ_BY_NVIDIAS_BINDING, library, NVML_PID=pid)


def test_a_library_that_fails_steps_aside(library: Path) -> None:
    moments, broken = answer(READ, library, NVML_CALLS="1")
    assert [bool(moment) for moment in moments] == [True, False, False]
    assert broken == "NVML's nvmlDeviceGetUtilizationRates: GPU is lost"
    assert answer(READ, library, NVML_INIT="9") == [[{}] * 3, "NVML's nvmlInit_v2: Unknown Error"]


def test_without_a_driver_there_are_no_gpus(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    moments, broken = answer(READ, empty)
    if any(moments):
        pytest.skip("this machine has a GPU of its own")
    assert broken == ""


WAITING = """
import os, time
open(os.environ["NVML_PID"], "w").write(str(os.getpid()))
until = time.time() + 90
while not os.path.exists(os.environ["NVML_LOST"]) and time.time() < until:
    time.sleep(0.05)
"""


def test_a_run_records_its_gpus_and_says_once_that_they_were_lost(library: Path, tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(WAITING)
    told = {"NVML_PID": str(tmp_path / "pid"), "NVML_LOST": str(tmp_path / "lost"), "NVML_CALLS": "2"}
    env = {"LD_LIBRARY_PATH": str(library), **told}
    done = studio("run", "-e", "k", "--no-workspace", "a.py", cwd=tmp_path, env=env)
    assert done.returncode == 0
    assert done.stderr.decode().count("GPU is lost") == 1
    found = record("k").summary
    assert (found["system/gpu0"].last, found["system/gpu0"].count) == (0.37, 2)
    assert found["system/gpu0_process_memory"].max == 1 << 30
    assert found["system/memory"].count > 2, "the rest goes on"
    shown = studio("runs", "show", "k", cwd=tmp_path).stdout.decode()
    assert "gpu1_memory" in shown and "at most 6" in shown
