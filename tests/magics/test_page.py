"""docs/howto/notebooks.md, cell by cell, in a real kernel."""

from __future__ import annotations

from tests.docs.blocks import blocks
from tests.magics.conftest import Kernel
from tests.studio_process import ROOT, record


def test_the_page_does_what_it_says(kernel: Kernel) -> None:
    cells = [block.body for block in blocks(ROOT / "docs" / "howto" / "notebooks.md") if block.language == "python"]
    assert len(cells) == 3
    outputs = []
    for cell in cells:
        out, err, error = kernel.run(cell)
        assert error == "", err
        outputs.append(out)
    assert [out.partition(" ")[0] for out in outputs] == ["", "loss", ""]
    found = record()
    assert (found.project, found.summary["loss"].count) == ("digits", 100)
