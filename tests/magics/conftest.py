"""A real kernel, started for one test in a folder of its own."""

from __future__ import annotations

import os
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.studio_process import ROOT

WAIT_S = 100


class Kernel:
    """A kernel of its own in a folder."""

    def __init__(self, folder: Path) -> None:
        from jupyter_client.manager import KernelManager

        self.manager = KernelManager()
        self.manager.kernel_spec.argv[0] = sys.executable
        self.manager.transport = "ipc"
        self.manager.ip = str(folder / "kernel")
        env = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST")}
        env |= {"PYTHONPATH": str(ROOT), "IPYTHONDIR": str(folder / "ipython"), "STUDIOML_STOP_GRACE": "2"}
        (folder / "notebook").mkdir()
        self.manager.start_kernel(cwd=str(folder / "notebook"), env=env)
        self.client = self.manager.blocking_client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=WAIT_S)

    def run(self, text: str) -> tuple[str, str, str]:
        """Runs a cell; its stdout, its stderr and the name of its error."""
        parts: dict[str, list[str]] = {"stdout": [], "stderr": []}

        def take(message: dict) -> None:
            if message["msg_type"] == "stream":
                parts[message["content"]["name"]].append(message["content"]["text"])

        reply = self.client.execute_interactive(textwrap.dedent(text), output_hook=take, timeout=WAIT_S)["content"]
        error = f"{reply['ename']}: {reply['evalue']}" if reply["status"] == "error" else ""
        return "".join(parts["stdout"]), "".join(parts["stderr"]), error

    def close(self) -> None:
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)
        self.manager.cleanup_resources()
        self.manager.context.destroy(linger=0)


@pytest.fixture
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    for module in ("ipykernel", "jupyter_client"):
        pytest.importorskip(module, reason=f"{module} is not installed")
    kernel = Kernel(tmp_path_factory.mktemp("k"))
    kernel.run("from studio import magics")
    yield kernel
    kernel.close()
