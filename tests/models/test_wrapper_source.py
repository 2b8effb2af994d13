"""What a wrapper's source tells before it runs: no training is started by mistake, and its own files are known."""

from __future__ import annotations

from pathlib import Path

import pytest

from studio.errors import ModelLoadError
from studio.models.wrapper_source import check_source, own_files

TRAININGS = [
    "import time\nopen('trained', 'w')\n",
    "def main():\n    def create_model(modeldir):\n        pass\nmain()\n",
    "class Trainer:\n    def create_model(self, modeldir):\n        pass\nTrainer()\n",
    "import keras\nfrom nets import build_model as build\nbuild()\n# create_model\n'create_model'\n",
    "def build(create_model=3): ...\n",
    "def create_model():\n    return 1\nmodel = create_model()\n",
    "def create_model(*, units=3):\n    return 1\nmodel = create_model()\n",
    "",
]
WRAPPERS = [
    "def create_model(modeldir): ...\n",
    "async def create_model(modeldir): ...\n",
    "class create_model:\n    def __init__(self, modeldir): ...\n",
    "create_model = lambda modeldir: None\n",
    "import nets\ncreate_model = nets.build\n",
    "from nets import create_model\n",
    "from nets import build as create_model\n",
    "from nets import *\n",
    "import create_model\n",
    "try:\n    from a import create_model\nexcept ImportError:\n    from b import create_model\n",
    "if True:\n    for _ in range(1):\n        with open('f') as f:\n            def create_model(modeldir): ...\n",
    "(create_model := lambda modeldir: None)\n",
    "create_model: object = print\n",
    "a, (create_model, *b) = 1, (print, 2)\n",
    "match print:\n    case create_model: ...\n",
    "def make():\n    global create_model\n    create_model = print\nmake()\n",
    "globals()['create_' + 'model'] = print\n",
    "import sys\nsetattr(sys.modules[__name__], 'create_model', print)\n",
    "exec('create_model = print')\n",
    "def __getattr__(name): ...\n",
    "def create_model(*arguments): ...\n",
    "import functools\n@functools.wraps(print)\ndef create_model(): ...\n",
    "def create_model(): ...\ncreate_model = print\n",
    "def create_model(modeldir) ...\n",  # Python itself says what is wrong with it
    "(" * 5000,
]


@pytest.mark.parametrize("text", TRAININGS)
def test_a_training_script_is_refused_unread(tmp_path: Path, text: str) -> None:
    path = tmp_path / "train.py"
    path.write_text(text)
    with pytest.raises(ModelLoadError, match="create_model") as caught:
        check_source(path, "create_model")
    assert "studio run train.py" in caught.value.hint


@pytest.mark.parametrize("text", WRAPPERS)
def test_what_can_be_a_wrapper_passes(tmp_path: Path, text: str) -> None:
    path = tmp_path / "wrapper.py"
    path.write_text(text)
    check_source(path, "create_model")


def test_another_attribute_is_looked_for(tmp_path: Path) -> None:
    path = tmp_path / "wrapper.py"
    path.write_text("def make(modeldir): ...\n")
    check_source(path, "make")
    with pytest.raises(ModelLoadError, match=r"has no mak\(\)") as caught:
        check_source(path, "mak")
    assert "did you mean 'make'?" in caught.value.hint


def test_its_own_files_are_those_that_it_imports(tmp_path: Path) -> None:
    files = {
        "wrapper.py": "import numpy, features\nfrom pack.deep import tool\n__import__('late')\n",
        "features.py": "import helper\nimport wrapper\n",
        "helper.py": "broken (",
        "late.py": "",
        "pack/__init__.py": "from . import base\n",
        "pack/base.py": "from ..up import x\n",
        "pack/deep/__init__.py": "",
        "pack/deep/tool.py": "from ..other import y\nfrom .near import z\n",
        "pack/deep/near.py": "",
        "pack/other.py": "",
        "up.py": "",
        "unused.py": "",
        "pack/unused.py": "",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    found = {path.relative_to(tmp_path).as_posix() for path in own_files(tmp_path / "wrapper.py")}
    assert found == {name for name in files if "unused" not in name}
