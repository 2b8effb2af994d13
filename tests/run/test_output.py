"""The script's output reaches the user at once and the record exactly; terminals stay terminals."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from pathlib import Path

from tests.studio_process import STUDIO, environment, opened, record, start, studio, until


def kept(key: str = "last") -> bytes:
    one = opened()
    return b"".join(one.output(one.experiment(key).key))


def test_bytes_are_passed_on_and_kept_exactly(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(
        "import sys\nw = sys.stdout.buffer.write\nw(bytes(range(256)))\n"
        "w(b'\\rprogress 1\\rprogress 2\\r\\n\\x1b[31mred')\n"
    )
    expected = bytes(range(256)) + b"\rprogress 1\rprogress 2\r\n\x1b[31mred"
    assert studio("run", "a.py", cwd=tmp_path).stdout == expected
    assert kept() == expected


def test_stdout_and_stderr_stay_apart_for_the_user_and_together_in_the_record(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(
        "import os, time\nfor i in range(3):\n"
        " os.write(1, b'out%d\\n' % i)\n time.sleep(.1)\n os.write(2, b'err%d\\n' % i)\n time.sleep(.1)\n"
    )
    done = studio("run", "a.py", cwd=tmp_path)
    assert done.stdout == b"out0\nout1\nout2\n"
    assert b"err0\nerr1\nerr2\n" in done.stderr
    assert kept() == b"out0\nerr0\nout1\nerr1\nout2\nerr2\n"


def test_twenty_megabytes_pass_and_are_kept(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("import sys\nfor i in range(200): sys.stdout.buffer.write(b'%07d' % i * 14285)\n")
    done = studio("run", "a.py", cwd=tmp_path)
    assert len(done.stdout) == 200 * 7 * 14285
    assert kept() == done.stdout


def test_a_slow_reader_gets_all_of_what_an_ended_script_wrote(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("import os\nfor i in range(100): os.write(1, b'%09d\\n' % i * 1000)\n")
    run = start("run", "a.py", cwd=tmp_path)
    assert run.stdout is not None
    got = b""
    while data := os.read(run.stdout.fileno(), 50_000):
        got += data
        time.sleep(0.15)  # the reader is slow: three seconds for what the script wrote at once
    assert len(got) == 1_000_000
    assert run.wait(120) == 0
    assert kept() == got


def test_output_is_live_and_logs_follow_from_another_process(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("import os\nprint('one')\nwhile not os.path.exists('go'): pass\nprint('two')\n")
    run = start("run", "-e", "k", "a.py", cwd=tmp_path)
    assert run.stdout is not None
    assert run.stdout.readline() == b"one\n"
    until(lambda: kept("k") == b"one\n", "the output in the store")
    follow = start("runs", "logs", "-f", "k", cwd=tmp_path)
    assert follow.stdout is not None
    assert follow.stdout.readline() == b"one\n"
    (tmp_path / "go").touch()
    assert follow.stdout.read() == b"two\n"
    assert (run.wait(120), follow.wait(120)) == (0, 0)


def test_stdin_reaches_the_script(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("import sys; print(sys.stdin.read()[::-1])")
    assert studio("run", "a.py", cwd=tmp_path, stdin=b"abc").stdout == b"cba\n"


def test_a_reader_that_leaves_ends_the_script_as_without_studio(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("import os\nwhile True: os.write(1, b'y\\n' * 1000)\n")
    run = start("run", "-e", "k", "a.py", cwd=tmp_path)
    assert run.stdout is not None
    assert run.stdout.read(4) == b"y\ny\n"
    run.stdout.close()
    assert run.wait(120) != 0
    assert record("k").status == "failed"


class Terminal:
    """A command at a terminal of its own, as its user sees it."""

    def __init__(self, *words: str, cwd: Path) -> None:
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.chdir(cwd)
            os.environ.update(environment())
            os.execv(words[0], words)
        self.shown = b""
        self.resize(40, 100)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        while True:
            select.select([self.fd], [], [])
            try:
                self.shown += os.read(self.fd, 65536)
            except OSError:
                return

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, keys: bytes) -> None:
        os.write(self.fd, keys)

    def wait(self) -> int:
        """The exit code, as a shell shows it."""
        deadline = time.monotonic() + 40
        while True:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                code = os.waitstatus_to_exitcode(status)
                return code if code >= 0 else 128 - code
            assert time.monotonic() < deadline, self.shown
            time.sleep(0.02)


def test_a_reader_of_stderr_that_leaves_ends_no_run(tmp_path: Path) -> None:
    (tmp_path / "k.py").write_text('API_KEY = "abcdefgh12345"\n')  # a line comes before the run has begun
    (tmp_path / "a.py").write_text("import sys\nsys.exit(3)\n")
    for words in (("-e", "one", "a.py"), ("--resume", "one")):
        process = start("run", *words, cwd=tmp_path)
        assert process.stderr is not None
        process.stderr.close()
        assert process.wait(timeout=120) == 3
    with open("/dev/full", "wb") as full:
        done = subprocess.run([*STUDIO, "run", "-e", "two", "a.py"], cwd=tmp_path, env=environment(), stderr=full)
    assert done.returncode == 3
    assert [record(key).status for key in ("one", "two")] == ["failed", "failed"]


def test_at_a_terminal_the_script_sees_a_terminal_and_the_record_has_no_carriage_returns(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(
        "import os, sys\nprint([os.isatty(i) for i in range(3)])\nprint(os.get_terminal_size())\n"
        "print('you said', input('say: '))\nprint('err', file=sys.stderr)\n"
    )
    terminal = Terminal(*STUDIO, "run", "-e", "k", "a.py", cwd=tmp_path)
    until(lambda: b"say: " in terminal.shown, "the prompt")
    terminal.type(b"hello\n")
    assert terminal.wait() == 0, terminal.shown
    expected = b"[True, True, True]\nos.terminal_size(columns=100, lines=40)\nsay: you said hello\nerr\n"
    assert kept("k") == expected
    assert b"[True, True, True]\r\n" in terminal.shown


def test_a_resized_terminal_is_resized_for_the_script(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(
        "import os, signal\nsizes = []\n"
        "signal.signal(signal.SIGWINCH, lambda *_: sizes.append(os.get_terminal_size(1)))\n"
        "print('ready')\nwhile (77, 11) not in sizes: signal.pause()\nprint(tuple(sizes[-1]))\n"
    )
    terminal = Terminal(*STUDIO, "run", "a.py", cwd=tmp_path)
    until(lambda: b"ready" in terminal.shown, "the script's start")
    terminal.resize(11, 77)
    assert terminal.wait() == 0, terminal.shown
    assert b"(77, 11)" in terminal.shown


def test_ctrl_c_at_a_terminal_interrupts_the_script_once(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(
        "import time\ncount = 0\ntry:\n print('ready')\n time.sleep(60)\nexcept KeyboardInterrupt:\n"
        " print('caught')\n time.sleep(.5)\n print('saved')\n raise\n"
    )
    terminal = Terminal(*STUDIO, "run", "-e", "k", "a.py", cwd=tmp_path)
    until(lambda: b"ready" in terminal.shown, "the script's start")
    terminal.type(b"\x03")
    assert terminal.wait() == 130, terminal.shown
    assert b"saved" in terminal.shown
    found = record("k")
    assert found.exit is not None
    assert (found.status, found.exit.reason) == ("stopped", "interrupted")


def test_only_the_streams_that_are_terminals_become_terminals(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("import os, sys; print([os.isatty(i) for i in range(3)]); sys.stderr.write('E')")
    command = " ".join([*STUDIO, "run", "a.py", "2>", "err"])
    terminal = Terminal("/bin/sh", "-c", command, cwd=tmp_path)
    assert terminal.wait() == 0
    assert b"[True, True, False]" in terminal.shown
    assert b"\nE" in (tmp_path / "err").read_bytes()


def test_a_suspended_run_goes_on_where_it_was(tmp_path: Path) -> None:
    """Ctrl-Z at a terminal stops the whole job, as a shell expects; continued, it ends as ever."""
    (tmp_path / "a.py").write_text("import os\nprint('ready')\nwhile not os.path.exists('go'): pass\nprint('end')\n")
    shell = tmp_path / "shell.py"
    shell.write_text(
        "import os, signal, subprocess, sys, time\n"
        "signal.signal(signal.SIGTTOU, signal.SIG_IGN)\n"
        "job = subprocess.Popen(sys.argv[1:], process_group=0) if sys.version_info >= (3, 11) else"
        " subprocess.Popen(sys.argv[1:], preexec_fn=os.setpgrp)\n"
        "os.tcsetpgrp(0, job.pid)\n"
        "pid, status = os.waitpid(job.pid, os.WUNTRACED)\n"
        "os.tcsetpgrp(0, os.getpgrp())\n"
        "print('SUSPENDED' if os.WIFSTOPPED(status) else 'NOT SUSPENDED', flush=True)\n"
        "open('go', 'w')\n"
        "os.tcsetpgrp(0, job.pid)\nos.killpg(job.pid, signal.SIGCONT)\n"
        "_, status = os.waitpid(job.pid, 0)\nsys.exit(os.waitstatus_to_exitcode(status))\n"
    )
    terminal = Terminal(sys.executable, str(shell), *STUDIO, "run", "-e", "k", "a.py", cwd=tmp_path)
    until(lambda: b"ready" in terminal.shown, "the script's start")
    terminal.type(b"\x1a")
    assert terminal.wait() == 0, terminal.shown
    assert b"SUSPENDED" in terminal.shown and b"NOT SUSPENDED" not in terminal.shown
    assert record("k").status == "finished"


def test_the_terminal_is_left_as_it_was_when_a_run_is_killed(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("import time\nprint('ready')\ntime.sleep(60)\n")
    terminal = Terminal(*STUDIO, "run", "-e", "k", "a.py", cwd=tmp_path)
    before = termios.tcgetattr(terminal.fd)
    until(lambda: b"ready" in terminal.shown, "the script's start")
    os.kill(terminal.pid, signal.SIGKILL)
    terminal.wait()
    assert termios.tcgetattr(terminal.fd) == before


def test_closed_descriptors_do_not_disturb(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("print('x' * 10)")
    command = " ".join([*STUDIO, "run", "-e", "k", "a.py", ">&-", "2>&-", "<&-"])
    subprocess.run(["/bin/sh", "-c", command], cwd=tmp_path, env=environment(), timeout=120)
    assert record("k").status == "finished"
    assert kept("k") == b"x" * 10 + b"\n"
