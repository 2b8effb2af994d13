"""`%%studio_run` in a real kernel: what the cell sees, what comes back, what is recorded."""

from __future__ import annotations

import sys

from tests.magics.conftest import WAIT_S, Kernel
from tests.studio_process import opened, record, until


def test_a_cell_sees_the_notebook_and_gives_its_results_back(kernel: Kernel) -> None:
    kernel.run(
        """
        import collections, json, functools, sys
        import xml.etree.ElementTree
        import numpy as np
        from collections import Counter as Count
        LIMIT = 3
        class Base:
            factor = LIMIT
        class Box(Base):
            def __init__(self, n): self.n = n
            def __repr__(self): return f"Box({self.n})"
        """
    )
    kernel.run(
        """
        @functools.lru_cache
        def times(n, by=LIMIT):
            return n * by * Base.factor
        twice = lambda n: 2 * times(n)
        Pair = collections.namedtuple("Pair", "a b")
        pair = Pair(1, 2)
        data = np.arange(4.0)
        box = Box(7)
        counts = Count("aab")
        changed = [1]
        unused = open("/dev/null")
        """
    )
    out, err, error = kernel.run(
        """
        %%studio_run -e first --project digits -- --lr 0.5
        from __future__ import annotations; import studio, sys
        print(pair, sys.argv[1:], __name__, isinstance(box, Box), box, twice(1), json.dumps(counts))
        print(xml.etree.ElementTree.fromstring("<a/>").tag)
        studio.log({"loss": 0.25}, step=1)
        total = float(data.sum())
        changed.append(2)
        boxes = [Box(n) for n in range(2)]
        def helper(): pass
        handle = open("/dev/null")
        """
    )
    assert error == ""
    assert out.splitlines() == ["Pair(a=1, b=2) ['--lr', '0.5'] __main__ True Box(7) 18 {\"a\": 2, \"b\": 1}", "a"]
    assert "studio run: submitted experiment first" in err
    assert "not brought back from the cell: helper (define it in a cell of its own)" in err
    assert "not brought back from the cell: handle (TypeError" in err
    assert "not carried" not in err
    shown = kernel.run("print(total, changed, boxes, isinstance(boxes[0], Box), 'helper' in dir(), unused.closed)")
    assert shown[0] == "6.0 [1, 2] [Box(0), Box(1)] True False False\n"
    found = record("first")
    assert (found.status, found.project, found.summary["loss"].last) == ("finished", "digits", 0.25)
    assert found.command.target.startswith("cell_") and found.command.args == ("--lr", "0.5")
    assert found.command.interpreter == sys.executable
    manifest = opened().tracking.artifacts.manifest(str(found.artifacts["workspace"].manifest))
    (script,) = [file.path for file in manifest.files if file.path.startswith("cell_")]
    text = opened().tracking.artifacts.read(str(found.artifacts["workspace"].manifest), script).decode()
    assert text.startswith("# A cell of a notebook, run by %%studio_run.\nfrom __future__ import annotations\n")
    assert text.count("class Box(Base)") == 1 and "studio.log" in text
    assert kernel.run("import os; print(os.listdir('.'))")[0] == "[]\n"


def test_a_cell_that_fails_raises_and_gives_back_what_it_had(kernel: Kernel) -> None:
    kernel.run("x = 1")
    _, err, error = kernel.run("%%studio_run -e failed\nx += 1\ny = x / 0\n")
    assert error == "RunFailed: the cell ended with code 1"
    assert "ZeroDivisionError" in err and "y = x / 0" in err
    assert kernel.run("print(x)")[0] == "2\n"
    assert record("failed").status == "failed"
    _, _, error = kernel.run("%%studio_run\nx = 5\nimport sys\nsys.exit(3)")
    assert error == "RunFailed: the cell ended with code 3"
    assert kernel.run("print(x)")[0] == "5\n"


def test_what_cannot_be_carried_is_said(kernel: Kernel) -> None:
    kernel.run("handle = open('/dev/null')\ndef make():\n    def inner(): pass\n    return inner\ninner, = [make()]")
    _, err, error = kernel.run("%%studio_run\nprint(handle, inner)")
    assert "not carried into the cell: handle (TypeError: cannot pickle" in err
    assert "not carried into the cell: inner (no cell defines it at its top level)" in err
    assert "NameError: name 'handle' is not defined" in err and error.startswith("RunFailed")
    for cell in ("!ls", "%time 1", "files = !ls"):
        said = kernel.run(f"%%studio_run\n{cell}")[2]
        assert said.startswith("SyntaxError") and "no !command and no %magic" in said
    assert "no !command" not in kernel.run("%%studio_run\n1 +")[2]
    assert kernel.run("%%studio_run 'open\nx")[2].startswith("ConfigError")


def test_the_stop_button_stops_the_run_and_the_kernel_lives(kernel: Kernel) -> None:
    message = kernel.client.execute("%%studio_run -e stopped\nkept = 1\nprint('ready', flush=True)\nwhile True: pass")
    text = ""
    while "ready" not in text:
        found = kernel.client.get_iopub_msg(timeout=WAIT_S)
        text += found["content"].get("text", "") if found["msg_type"] == "stream" else ""
    kernel.manager.interrupt_kernel()
    reply = kernel.client.get_shell_msg(timeout=WAIT_S)
    while reply["parent_header"].get("msg_id") != message:
        reply = kernel.client.get_shell_msg(timeout=WAIT_S)
    assert reply["content"]["ename"] == "KeyboardInterrupt"
    until(lambda: record("stopped").ended, "the end of the run")
    assert record("stopped").status == "stopped"
    assert kernel.run("print(kept)")[0] == "1\n"


def test_load_ext_and_a_rerun_without_the_notebook(kernel: Kernel) -> None:
    forget = "del get_ipython().magics_manager.magics['cell']['studio_run']\n"
    for extension in ("studio.magics", "studio"):
        _, err, error = kernel.run(f"{forget}%load_ext {extension}")
        assert (err, error) == ("", "")
    kernel.run("x = 1")
    out, _, error = kernel.run("%%studio_run -e once --no-autolog\nprint(x)")
    assert (out, error) == ("1\n", "")
    out, err, error = kernel.run("!{__import__('sys').executable} -m studio run once")
    assert "these came from a notebook and are not here: x" in out + err
