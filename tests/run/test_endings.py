"""Every way a run can end, with the status, code, signal and reason that the record keeps; nothing is left behind."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from studio.experiment import Experiment
from tests.studio_process import STUDIO, alive, environment, opened, record, start, studio, until


def ending(found: Experiment) -> tuple[str, int | None, int | None, str]:
    assert found.exit is not None
    return found.status, found.exit.code, found.exit.signal, found.exit.reason


@pytest.mark.parametrize(
    ("body", "shell", "expected"),
    [
        ("pass", 0, ("finished", 0, None, "finished")),
        ("raise ValueError('x')", 1, ("failed", 1, None, "failed")),
        ("import sys; sys.exit(3)", 3, ("failed", 3, None, "failed")),
        ("import sys; sys.exit('words')", 1, ("failed", 1, None, "failed")),
        ("def (", 1, ("failed", 1, None, "failed")),
        ("import ctypes; ctypes.string_at(0)", 139, ("failed", None, 11, "killed")),
        ("import os; os.abort()", 134, ("failed", None, 6, "killed")),
        ("import os; os.kill(os.getpid(), 9)", 137, ("failed", None, 9, "killed")),
        ("raise KeyboardInterrupt", 130, ("stopped", None, 2, "interrupted")),
        ("raise MemoryError", 1, ("failed", 1, None, "out-of-memory")),
    ],
)
def test_own_endings(tmp_path: Path, body: str, shell: int, expected: tuple[str, int | None, int | None, str]) -> None:
    (tmp_path / "a.py").write_text(body)
    done = studio("run", "a.py", cwd=tmp_path)
    assert done.returncode == shell, done.stderr
    assert ending(record()) == expected
    last = done.stderr.decode().splitlines()[-1]
    assert record().key in last and expected[0] in last and "next: studio" in last


def test_a_traceback_is_the_same_as_without_studio(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("def f():\n    return 1 / 0\n\nf()\n")
    bare = subprocess.run([sys.executable, "a.py"], cwd=tmp_path, capture_output=True, timeout=120)
    assert bare.stderr in studio("run", "a.py", cwd=tmp_path).stderr


def test_an_rlimit_that_is_reached_is_out_of_memory(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(
        "import resource\nresource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))\nx = bytearray(2 << 30)\n"
    )
    assert studio("run", "a.py", cwd=tmp_path).returncode == 1
    assert ending(record()) == ("failed", 1, None, "out-of-memory")


@pytest.fixture
def memory_group() -> Path:
    """A control group with 200 MB, of version 1 or 2."""
    for root, limit in (("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")):
        group = Path(root, f"studio-test-{os.getpid()}")
        try:
            group.mkdir()
            (group / limit).write_text(str(200 << 20))
        except OSError:
            if group.exists():
                group.rmdir()
            continue
        return group
    pytest.skip("no control group with a memory limit can be made here")


def test_the_kernels_out_of_memory_kill_is_told_from_others(tmp_path: Path, memory_group: Path) -> None:
    (tmp_path / "a.py").write_text("x = []\nwhile True: x.append(bytearray(b'x' * (10 << 20)))\n")
    command = ["/bin/sh", "-c", f'echo $$ > {memory_group}/cgroup.procs; exec "$@"', "sh", *STUDIO, "run", "a.py"]
    done = subprocess.run(command, cwd=tmp_path, env=environment(), capture_output=True, timeout=120)
    until(lambda: not (memory_group / "cgroup.procs").read_text().strip(), "the group's emptiness")
    memory_group.rmdir()
    assert done.returncode == 137, done.stderr
    assert ending(record()) == ("failed", None, 9, "out-of-memory")


SLEEPER = "import time\nprint('ready')\ntime.sleep(60)\n"
STUBBORN = "import signal, time\nfor s in (15, 2): signal.signal(s, signal.SIG_IGN)\nprint('ready')\ntime.sleep(60)\n"


def running(tmp_path: Path, body: str, *words: str, env: dict[str, str] | None = None) -> subprocess.Popen[bytes]:
    """`studio run -e k a.py`, once the script says that it is ready."""
    (tmp_path / "a.py").write_text(body)
    process = start("run", "-e", "k", *words, "a.py", cwd=tmp_path, env=env)
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line.startswith(b"ready"), line + (process.stderr.read() if process.stderr else b"")
    return process


def test_an_interrupt_of_the_supervisor_reaches_the_script(tmp_path: Path) -> None:
    process = running(tmp_path, SLEEPER)
    process.send_signal(signal.SIGINT)
    assert process.wait(120) == 130
    assert ending(record("k")) == ("stopped", None, 2, "interrupted")


def test_three_interrupts_end_a_stubborn_script(tmp_path: Path) -> None:
    process = running(tmp_path, STUBBORN, env={"STUDIOML_STOP_GRACE": "60"})
    for _ in range(3):
        process.send_signal(signal.SIGINT)
        time.sleep(0.2)
    assert process.wait(120) == 130
    assert ending(record("k"))[0] == "stopped"


def test_a_term_of_the_supervisor_stops_the_script(tmp_path: Path) -> None:
    process = running(tmp_path, SLEEPER)
    process.terminate()
    assert process.wait(120) == 128 + 15
    assert ending(record("k")) == ("stopped", None, 15, "stopped")


@pytest.mark.parametrize(("body", "number"), [(SLEEPER, 15), (STUBBORN, 9)])
def test_stopped_from_elsewhere(tmp_path: Path, body: str, number: int) -> None:
    process = running(tmp_path, body)
    done = studio("runs", "stop", "k", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert b"k stopped" in done.stderr
    assert process.wait(120) == 128 + number
    assert ending(record("k")) == ("stopped", None, number, "stopped")
    again = studio("runs", "stop", "k", cwd=tmp_path)
    assert (again.returncode, again.stderr) == (0, b"k is over already: stopped\n")


def test_a_script_that_saves_on_sigterm_has_the_time_to(tmp_path: Path) -> None:
    process = running(
        tmp_path,
        "import os, signal, sys, time\nfrom pathlib import Path\nimport json\n"
        "modeldir = Path(json.loads(os.environ['STUDIOML_ARTIFACT_MAPPING'])['modeldir'])\n"
        "def save(*_):\n time.sleep(.5)\n (modeldir / 'last.txt').write_text('saved')\n sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, save)\nprint('ready')\ntime.sleep(60)\n",
    )
    assert studio("runs", "stop", "k", cwd=tmp_path).returncode == 0
    process.wait(120)
    found = record("k")
    assert ending(found) == ("stopped", 0, None, "stopped")
    manifest = found.artifacts["modeldir"].manifest
    assert manifest is not None
    assert opened().tracking.artifacts.read(manifest, "last.txt") == b"saved"


def test_max_duration(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(SLEEPER)
    done = studio("run", "--max-duration", "1s", "a.py", cwd=tmp_path)
    assert done.returncode == 128 + 15
    assert b"stopping: --max-duration reached" in done.stderr
    assert ending(record()) == ("stopped", None, 15, "max-duration")
    assert record().max_duration == 1.0


def test_limits_longer_than_the_systems_calls_wait_hold_and_0_is_none(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("print('ran')")
    env = {"STUDIOML_STOP_GRACE": "365d", "STUDIOML_HEARTBEAT": "40d", "STUDIOML_LOST_AFTER": "365d"}
    env |= {"STUDIOML_SAVE_WORKSPACE_FREQUENCY": "365d"}
    done = studio("run", "--max-duration", "40d", "--lifetime", "0", "a.py", cwd=tmp_path, env=env)
    assert (done.returncode, done.stdout) == (0, b"ran\n"), done.stderr
    assert (record().max_duration, record().lifetime, record().status) == (40 * 86400.0, None, "finished")


def test_a_run_whose_lifetime_is_over_expires(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("print('ran')")
    done = studio("run", "--lifetime", "0.000001", "a.py", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, b""), done.stderr
    assert ending(record()) == ("expired", None, None, "expired")


def test_the_helpers_of_multiprocessing_are_no_leftovers(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(
        "import multiprocessing as m\nif __name__ == '__main__':\n"
        "    with m.get_context('spawn').Pool(2) as p: print(p.map(abs, [-1, -2]))\n"
    )
    done = studio("run", "a.py", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, b"[1, 2]\n"), done.stderr
    assert b"left behind" not in done.stderr


DAEMONS = """
import os, subprocess, sys, time
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
subprocess.Popen([sys.executable, "-c", "import os, signal, time\\nsignal.signal(15, 1)\\ntime.sleep(600)"],
                 start_new_session=True)
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        time.sleep(600)
    os._exit(0)
os.wait()
time.sleep(0.3)
print("ready", flush=True)
"""


def below(folder: Path) -> list[int]:
    """Processes that work in a folder."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                if os.readlink(f"/proc/{name}/cwd") == str(folder) and alive(int(name)):
                    found.append(int(name))
            except OSError:
                continue
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_no_process_that_the_script_started_outlives_it(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(DAEMONS)
    done = studio("run", "a.py", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert b"ended 3 processes that the script left running" in done.stderr
    assert below(tmp_path) == []


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("victim", ["supervisor", "both"])
def test_a_killed_supervisor_is_recovered_by_the_next_command(tmp_path: Path, victim: str) -> None:
    process = running(
        tmp_path,
        "import json, os, sys, time\nfrom pathlib import Path\nsys.path.insert(0, os.environ['HOOKS'])\n"
        "import _studio_track as track\ntrack.log({'loss': 0.5}, step=7)\ntrack.params(lr=0.25)\n"
        "modeldir = Path(json.loads(os.environ['STUDIOML_ARTIFACT_MAPPING'])['modeldir'])\n"
        "(modeldir / 'model.txt').write_text('checkpoint')\n"
        "if os.fork() == 0:\n os.setsid()\n time.sleep(600)\n"
        "time.sleep(.7)\nprint('ready')\ntime.sleep(600)\n",
        env={"HOOKS": str(Path(__file__).parents[2] / "studio" / "run" / "inject")},
    )
    os.kill(process.pid, signal.SIGKILL)
    if victim == "both":
        for pid in below(tmp_path):
            os.kill(pid, signal.SIGKILL)
    process.wait(120)
    until(lambda: not below(tmp_path), "the end of every process")
    until(lambda: b"k was lost" in studio("runs", "list", cwd=tmp_path).stderr, "the recovery")
    found = record("k")
    assert (found.status, found.exit and found.exit.reason) == ("lost", "lost")
    assert b"".join(opened().output("k")) == b"ready\n"
    assert (found.summary["loss"].last, found.summary["loss"].step, found.params) == (0.5, 7, {"lr": 0.25})
    manifest = found.artifacts["modeldir"].manifest
    assert manifest is not None
    assert opened().tracking.artifacts.read(manifest, "model.txt") == b"checkpoint"
    assert found.times.finished is not None and found.times.started is not None
    assert found.times.finished >= found.times.started
    assert not list((Path(os.environ["STUDIOML_HOME"]) / "open").iterdir())


def test_what_a_script_says_after_its_supervisors_death_is_kept(tmp_path: Path) -> None:
    process = running(
        tmp_path,
        "import signal, sys, time\ndef bye(*_):\n print('bye', flush=True)\n sys.exit(5)\n"
        "signal.signal(signal.SIGTERM, bye)\nprint('ready', flush=True)\ntime.sleep(60)\n",
    )
    os.kill(process.pid, signal.SIGKILL)
    process.wait(120)
    until(lambda: b"k was lost" in studio("runs", "list", cwd=tmp_path).stderr, "the recovery")
    assert b"".join(opened().output("k")) == b"ready\nbye\n"
    assert ending(record("k")) == ("lost", 5, None, "lost")


def test_a_sleeping_laptop_is_lost_and_comes_back(tmp_path: Path) -> None:
    quick = {"STUDIOML_HEARTBEAT": "0.2", "STUDIOML_LOST_AFTER": "1.5"}
    (tmp_path / "a.py").write_text("import os\nprint('ready')\nwhile not os.path.exists('go'): pass\n")
    process = start("run", "-e", "k", "a.py", cwd=tmp_path, env=quick)
    assert process.stdout is not None and process.stdout.readline() == b"ready\n"

    def shown() -> str:
        done = studio("runs", "list", "--json", cwd=tmp_path, env=quick)
        return str(json.loads(done.stdout)["experiments"][0]["status"])

    assert shown() == "running"
    everything = [process.pid, *below(tmp_path)]
    for pid in everything:
        os.kill(pid, signal.SIGSTOP)
    until(lambda: shown() == "lost", "the silence's discovery")
    for pid in everything:
        os.kill(pid, signal.SIGCONT)
    until(lambda: shown() == "running", "the return")
    (tmp_path / "go").touch()
    assert process.wait(120) == 0
    assert ending(record("k")) == ("finished", 0, None, "finished")


def test_a_clock_that_is_set_back_changes_no_duration(tmp_path: Path) -> None:
    """The supervisor's clock jumps back by thirty days while the script runs."""
    (tmp_path / "clock").mkdir()
    (tmp_path / "clock" / "sitecustomize.py").write_text(
        "import os, sys, time\n"
        "if 'STUDIOML_SPOOL' not in os.environ:\n"
        "    real, began = time.time, time.monotonic()\n"
        "    time.time = lambda: real() - (30 * 86400 if time.monotonic() - began > 1 else 0)\n"
    )
    (tmp_path / "a.py").write_text("import time; time.sleep(2)")
    env = environment()
    env["PYTHONPATH"] = f"{tmp_path / 'clock'}:{env['PYTHONPATH']}"
    done = subprocess.run([*STUDIO, "run", "a.py"], cwd=tmp_path, env=env, capture_output=True, timeout=120)
    assert done.returncode == 0, done.stderr
    times = record().times
    assert times.started is not None and times.finished is not None
    assert 1.9 < times.finished - times.started < 30
    assert record().status == "finished"


def test_an_interpreter_that_cannot_be_executed_is_said_and_recorded(tmp_path: Path) -> None:
    program = tmp_path / "broken"
    program.write_bytes(b"\x7fELF nonsense")
    program.chmod(0o755)
    done = studio("run", "-e", "k", "--", "./broken", cwd=tmp_path)
    assert done.returncode == 127
    assert b"could not start" in done.stderr and b"Exec format" in done.stderr
    assert ending(record("k")) == ("failed", 127, None, "failed")


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_the_final_record_is_on_the_disk_when_the_command_returns(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("")
    trace = tmp_path / "trace"
    command = [
        "strace",
        "-f",
        "-e",
        "trace=fsync,fdatasync,rename,renameat,renameat2",
        "-o",
        str(trace),
        *STUDIO,
        "run",
        "a.py",
    ]
    assert subprocess.run(command, cwd=tmp_path, env=environment(), capture_output=True, timeout=120).returncode == 0
    calls = [line.split(None, 1)[1] for line in trace.read_text().splitlines() if " = 0" in line]
    last = max(
        i for i, call in enumerate(calls) if (call.startswith("rename") and "records" in call) or "rename" in call
    )
    assert any(call.startswith(("fsync", "fdatasync")) for call in calls[:last])


def test_a_store_that_goes_away_and_comes_back_loses_nothing(tmp_path: Path, home: Path) -> None:
    store = home / ".studioml" / "store"
    (tmp_path / "a.py").write_text(
        "import os, sys, studio\nfrom studio import fs_tracker\n"
        f"os.rename({str(store)!r}, {str(store)!r} + '.away')\nopen({str(store)!r}, 'w')\n"
        "studio.log({'loss': 0.5})\nstudio.params(lr=1)\nprint('said meanwhile')\n"
        "open(fs_tracker.get_model_directory() + '/m', 'w').write('model')\n"
    )
    done = studio("run", "-e", "k", "a.py", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, b"said meanwhile\n"), done.stderr
    assert b"going on in" in done.stderr
    store.unlink()
    os.rename(f"{store}.away", store)
    assert studio("runs", "list", cwd=tmp_path).returncode == 0
    found = record("k")
    assert ending(found) == ("finished", 0, None, "finished")
    assert (found.summary["loss"].last, found.params) == (0.5, {"lr": 1})
    assert found.artifacts["modeldir"].files == 1
    assert b"".join(opened().output("k")) == b"said meanwhile\n"


def test_a_run_that_a_script_starts_knows_its_parent(tmp_path: Path) -> None:
    (tmp_path / "inner.py").write_text("print('inner')")
    (tmp_path / "outer.py").write_text(
        "import subprocess, sys\n"
        "subprocess.run([sys.executable, '-m', 'studio', 'run', '-e', 'inner', 'inner.py'], check=True)\n"
    )
    done = studio("run", "-e", "outer", "outer.py", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, b"inner\n"), done.stderr
    assert (record("inner").parent, record("outer").parent) == ("outer", None)


def test_arguments_of_a_megabyte(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("import sys; print(sum(map(len, sys.argv[1:])))")
    words = ["x" * 100_000] * 10
    assert studio("run", "a.py", *words, cwd=tmp_path).stdout == b"1000000\n"


def test_a_store_that_is_away_at_the_start_gets_everything_later(tmp_path: Path, home: Path) -> None:
    store = home / ".studioml" / "store"
    store.parent.mkdir()
    store.write_text("in the way")
    (tmp_path / "a.py").write_text(
        f"import os, time, studio\nstudio.params(lr=1)\ntime.sleep(1.5)\nos.unlink({str(store)!r})\n"
        "studio.tags('t')\nstudio.log({'loss': 0.5})\nprint('said')\n"
    )
    done = studio("run", "-e", "k", "a.py", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, b"said\n"), done.stderr
    assert done.stderr.count(b"the store cannot be written") <= 3, done.stderr
    found = record("k")
    assert ending(found) == ("finished", 0, None, "finished")
    assert (found.params, found.tags, found.summary["loss"].last) == ({"lr": 1}, ("t",), 0.5)
    assert b"".join(opened().output("k")) == b"said\n"


@pytest.mark.parametrize("name", ["a b", "ünï", "100%", "a#b", "a?b", "it's"])
def test_any_home_will_do(tmp_path: Path, name: str) -> None:
    (tmp_path / "a.py").write_text("print('ran')")
    env = {"STUDIOML_HOME": str(tmp_path / name / ".studioml")}
    assert studio("run", "-e", "k", "a.py", cwd=tmp_path, env=env).stdout == b"ran\n"
    done = studio("runs", "logs", "k", cwd=tmp_path, env=env)
    assert (done.returncode, done.stdout) == (0, b"ran\n"), done.stderr


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of 3 MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(folder)], capture_output=True).returncode:
        pytest.skip("mounting a file system needs root")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


LOUD = "import os\nfor _ in range(100): os.write(1, b'x' * 39999 + b'\\n')\n"


def test_a_full_store_gets_the_output_once_there_is_room(tmp_path: Path, small: Path) -> None:
    (tmp_path / "a.py").write_text(LOUD)
    words = ["--store", f"file://{small}/store"]
    done = studio("run", "-e", "k", *words, "a.py", cwd=tmp_path)
    assert (done.returncode, len(done.stdout)) == (0, 4_000_000)
    assert b"not everything is in the store yet" in done.stderr
    subprocess.run(["mount", "-o", "remount,size=30m", str(small)], check=True)
    assert b"experiment k is delivered" in studio("runs", "list", *words, cwd=tmp_path).stderr
    assert len(studio("runs", "logs", "k", *words, cwd=tmp_path).stdout) == 4_000_000


def test_a_full_home_costs_neither_the_exit_code_nor_the_next_command(tmp_path: Path, small: Path) -> None:
    (tmp_path / "a.py").write_text(LOUD + "raise SystemExit(3)\n")
    words = ["--store", f"file://{tmp_path}/store"]
    env = {"STUDIOML_HOME": str(small / "home")}
    done = studio("run", "-e", "k", *words, "a.py", cwd=tmp_path, env=env)
    assert (done.returncode, len(done.stdout)) == (3, 4_000_000), done.stderr[-2000:]
    assert b"output is not kept from here on" in done.stderr and b"Traceback" not in done.stderr
    shown = studio("runs", "show", "k", *words, cwd=tmp_path, env=env)
    assert b"Traceback" not in shown.stderr
    assert ending(opened_at(tmp_path)) == ("failed", 3, None, "failed")


def opened_at(folder: Path) -> Experiment:
    from studio.api import open_studio

    return open_studio(store=f"file://{folder}/store").experiment("k")


def test_a_store_that_is_never_there_is_said_once(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("import time; time.sleep(3.5)")
    (tmp_path / "file").write_text("")
    done = studio("run", "--store", f"file://{tmp_path}/file/store", "a.py", cwd=tmp_path)
    assert done.returncode == 0
    said = done.stderr.decode()
    assert said.count("going on in") == 1 and "can be written again" not in said and "was deleted" not in said


def test_an_interrupt_at_any_moment_of_the_start_is_no_loss(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("import time; time.sleep(60)")
    for delay in (0.05, 0.08, 0.11, 0.14, 0.17, 0.2, 0.25, 0.3):
        process = start("run", "a.py", cwd=tmp_path)
        time.sleep(delay)
        process.send_signal(signal.SIGINT)
        process.wait(120)
    done = studio("runs", "list", cwd=tmp_path)
    assert b"lost" not in done.stdout + done.stderr
    assert {e.status for e in opened().experiments()} <= {"stopped"}


def test_a_home_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("print('must not run')")
    done = studio("run", "a.py", cwd=tmp_path, env={"STUDIOML_HOME": "/proc/nowhere/.studioml"})
    assert (done.returncode, done.stdout) == (5, b"")
    assert b"cannot write /proc/nowhere" in done.stderr and b"STUDIOML_HOME" in done.stderr
