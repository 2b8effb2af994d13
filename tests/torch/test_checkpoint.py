"""Checkpoints of real models, with the real library."""

from __future__ import annotations

import logging
import os
import pickle
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'studio[torch]'")

from studio.errors import ModelLoadError  # noqa: E402
from studio.torch import Saver, load_checkpoint, save_checkpoint  # noqa: E402


def make(seed: int):
    torch.manual_seed(seed)
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4), torch.nn.Linear(4, 1))
    return model, torch.optim.Adam(model.parameters(), lr=0.1 * (seed + 1))


def train(model, optimizer, steps: int) -> list[float]:
    x = torch.linspace(-1, 1, 24).reshape(8, 3)
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = (model(x) - x.sum(1, keepdim=True)).pow(2).mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def test_training_goes_on_as_if_it_had_not_stopped(tmp_path: Path):
    model, optimizer = make(0)
    train(model, optimizer, 5)
    path = Saver(model, optimizer).save(tmp_path / "new" / "folder", 5)
    assert path == tmp_path / "new" / "folder" / "checkpoint"
    expected = train(model, optimizer, 5)
    other, its_optimizer = make(1)
    assert Saver(other, its_optimizer).restore(tmp_path / "new" / "folder", map_to_cpu=True) == 5
    assert train(other, its_optimizer, 5) == expected
    assert its_optimizer.param_groups[0]["lr"] == 0.1


def test_no_checkpoint_is_step_0(tmp_path: Path):
    model, optimizer = make(0)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert Saver(model, optimizer).restore(tmp_path / "none") == 0
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_parts_of_a_model(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    model, _ = make(0)
    save_checkpoint(model, None, 7, tmp_path, ignore=["2."])
    other, its_optimizer = make(1)
    own = other[2].weight.clone()
    with caplog.at_level(logging.WARNING):
        assert load_checkpoint(other, its_optimizer, tmp_path) == 7
    assert torch.equal(other[0].weight, model[0].weight)
    assert torch.equal(other[2].weight, own)
    assert "has no 2.weight, 2.bias" in caplog.text and "has no optimizer" in caplog.text


def test_a_save_that_fails_leaves_the_checkpoint_before(tmp_path: Path):
    model, optimizer = make(0)
    saver = Saver(model, optimizer)
    saver.save(tmp_path, 1)
    optimizer.param_groups[0]["lr"] = (n for n in ())  # a generator cannot be saved
    with pytest.raises(TypeError):
        saver.save(tmp_path, 2)
    assert os.listdir(tmp_path) == ["checkpoint"]
    assert Saver(*make(1)).restore(tmp_path) == 1


class Evil:
    def __reduce__(self):
        return os.mkdir, (os.environ["EVIL_FOLDER"],)


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ("torch", "it holds .*mkdir, more than"),
        ("pickle", "it holds .*mkdir, more than"),
        ("network", "it holds torch.nn.modules.linear.Linear, more than"),
        ("torn", "damaged|archive"),
        ("text", "it is damaged, or was not saved by Saver"),
        ("other", "it is damaged, or was not saved by Saver"),
    ],
)
def test_a_file_that_is_more_or_less_than_tensors_is_refused(how, why, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("EVIL_FOLDER", str(tmp_path / "evil"))
    model, optimizer = make(0)
    path = Saver(model, optimizer).save(tmp_path, 1)
    if how == "torch":
        torch.save({"model": Evil(), "step": 1}, path)
    elif how == "network":
        torch.save({"model": torch.nn.Linear(1, 1)}, path)
    elif how == "pickle":
        path.write_bytes(pickle.dumps({"model": Evil()}, 2))
    elif how == "torn":
        path.write_bytes(path.read_bytes()[:-100])
    elif how == "text":
        path.write_bytes(b"half a file")
    else:
        torch.save([1, 2], path)
    with pytest.raises(ModelLoadError, match=f"checkpoint cannot be loaded: .*(?:{why})") as caught:
        load_checkpoint(model, optimizer, tmp_path)
    assert "map_to_cpu" in caught.value.hint and "\x1b" not in str(caught.value)
    assert not (tmp_path / "evil").exists()
