"""When the Keras hook saves: newest and best epoch, at most a twentieth of the time, never half a file."""

from __future__ import annotations

import contextlib
import json
import os
import threading
from pathlib import Path

import pytest

from studio.run.inject import _studio_track  # makes the injected modules importable

import _studio_checkpoints  # isort: skip


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class SlowModel:
    """What `Checkpoints` asks of a model; saving takes time by the clock."""

    def __init__(self, clock: Clock, save_s: float, parameters: int = 10) -> None:
        self.clock, self.save_s, self.parameters = clock, save_s, parameters
        self.saves = 0
        self.error: Exception | None = None

    def _flatten_layers(self) -> list[object]:
        return []

    def count_params(self) -> int:
        return self.parameters

    def save_weights(self, path: str) -> None:
        self.save(path)

    def save(self, path: str) -> None:
        Path(path).write_text("half")
        if self.error is not None:
            raise self.error
        self.clock.now += self.save_s
        self.saves += 1
        Path(path).write_text(f"weights {self.saves}")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def checkpoints(tmp_path, clock, monkeypatch):
    spool = tmp_path / "spool"
    spool.mkdir()
    monkeypatch.setenv("STUDIOML_ARTIFACT_MAPPING", json.dumps({"modeldir": str(tmp_path / "modeldir")}))
    _studio_track.attach(str(spool))
    yield _studio_checkpoints.Checkpoints(str(tmp_path / "modeldir"), clock)
    _studio_track.detach()


def train(checkpoints, model, clock, epoch_s, accuracies, name="val_accuracy"):
    checkpoints.begin(model)
    for epoch, accuracy in enumerate(accuracies):
        checkpoints.epoch_begins(epoch)
        clock.now += epoch_s
        checkpoints.epoch_ended(epoch, {"loss": 1.0, name: accuracy})
        if epoch < len(accuracies) - 1:
            checkpoints.save(model, last=False)
    checkpoints.save(model, last=True)


def files(folder: Path) -> list[str]:
    return sorted(os.listdir(folder / "modeldir"))


def events(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / "spool" / "events").read_text().splitlines()]


@pytest.mark.parametrize(
    ("is_error", "epoch_s", "kept", "told"),
    [
        (True, 10.0, "model-001.keras",
         "its fit was ended by why in epoch 2, after 2 batches; model-001.keras is of epoch 1"),
        (True, 0.01, "model-002.keras", "its fit was ended by why in epoch 2, after 2 batches"),
        (False, 10.0, "model-002.keras", "its fit was stopped (why) in epoch 2, after 2 batches"),
    ],
    ids=["error", "no whole epoch", "Ctrl-C"],
)  # fmt: skip
def test_what_cut_a_fit_short_is_told(tmp_path, clock, checkpoints, is_error, epoch_s, kept, told):
    model = SlowModel(clock, 0.01)
    checkpoints.begin(model)
    checkpoints.epoch_begins(0)
    clock.now += epoch_s
    checkpoints.epoch_ended(0, {})
    checkpoints.save(model, last=False)
    checkpoints.epoch_begins(1)
    for batch in range(2):
        checkpoints.batches.begins()
        checkpoints.batches.ends(batch)
    checkpoints.broken(model, "why", is_error=is_error)
    note = json.loads((tmp_path / "modeldir" / ".studio.json").read_text())
    (entry,) = note["models"]
    assert entry["file"] == kept and kept in files(tmp_path)
    assert [entry.get("cut"), *(one["why"] for one in note["lost"])] == ([None, told] if "is of" in told else [told])
    assert not entry.get("cut") or entry["reason"].endswith("; " + told)


def test_newest_and_best_are_kept(tmp_path, clock, checkpoints):
    train(checkpoints, SlowModel(clock, 0.01), clock, 10.0, [0.5, 0.9, 0.7, 0.8])
    assert files(tmp_path) == [".studio.json", "model-002.keras", "model-004.keras"]
    about = json.loads((tmp_path / "modeldir" / ".studio.json").read_text())
    assert about["newest"] == {"file": "model-004.keras", "epoch": 3}
    best = {"file": "model-002.keras", "epoch": 1, "metric": "val_accuracy", "value": 0.9, "mode": "max"}
    assert about["best"] == best
    saved = [json.loads(line) for line in (tmp_path / "spool" / "events").read_text().splitlines()]
    assert [(event["epoch"], event["best"]) for event in saved] == [(0, True), (1, True), (2, False), (3, False)]


def test_of_a_loss_the_smallest_is_the_best_and_nan_is_never(tmp_path, clock, checkpoints):
    train(checkpoints, SlowModel(clock, 0.01), clock, 10.0, [0.5, 0.2, float("nan"), 0.3], name="val_loss")
    assert files(tmp_path) == [".studio.json", "model-002.keras", "model-004.keras"]


@pytest.mark.parametrize(
    ("names", "judge"),
    [
        ("loss val_loss val_brier_score", "val_loss"), ("loss val_fid_score val_loss", "val_loss"),
        ("val_inaccuracy val_loss", "val_loss"), ("val_neg_accuracy val_loss", "val_loss"),
        ("val_raccoon val_disco val_loss", "val_loss"), ("val_precision_loss val_loss", "val_loss"),
        ("val_out_sparse_top_k_categorical_accuracy val_loss", "val_out_sparse_top_k_categorical_accuracy"),
        ("val_auc_1 val_loss", "val_auc_1"), ("val_f1_score val_loss", "val_f1_score"), ("loss iou", "iou"),
        ("val_mean_io_u val_loss", "val_mean_io_u"),
        ("d_loss loss", "loss"), ("mae", None),
    ],
)  # fmt: skip
def test_the_best_epoch_is_judged_by_what_is_surely_better(names, judge):
    found = _studio_checkpoints._studio_best.judged_by(dict.fromkeys(names.split(), 0.5))
    assert (found and found[0]) == judge


@pytest.mark.parametrize(("epoch_s", "save_s"), [(1.0, 0.2), (0.1, 0.5), (10.0, 0.1), (1.0, 0.03)])
def test_saving_takes_a_twentieth_of_the_time_at_most(clock, checkpoints, epoch_s, save_s):
    model = SlowModel(clock, save_s, parameters=int(save_s * 200e6 / 12))
    train(checkpoints, model, clock, epoch_s, [epoch / 200 for epoch in range(200)])
    trained = 200 * epoch_s
    assert (model.saves - 1) * save_s <= 0.05 * trained + 1e-9  # the last one is not asked for its price
    assert model.saves >= min(200, 0.05 * trained / save_s) * 0.5
    assert model.saves >= 1


def test_time_in_callbacks_pays_for_saving_too(clock, checkpoints):
    model = SlowModel(clock, 0.2, parameters=int(0.2 * 200e6 / 12))
    checkpoints.begin(model)
    for epoch in range(3):
        checkpoints.epoch_begins(epoch)
        clock.now += 0.1
        checkpoints.epoch_ended(epoch, {"loss": 1.0 - epoch / 10})
        clock.now += 6.0
        checkpoints.save(model, last=False)
    assert model.saves == 3


def test_an_epoch_that_ended_is_saved_while_a_callback_or_validation_goes_on(tmp_path, clock, checkpoints):
    model = SlowModel(clock, 0.01)
    checkpoints.begin(model)
    checkpoints.epoch_begins(0)
    epoch_of(checkpoints, batches=3)
    checkpoints.validates()
    clock.now += 0.9
    assert checkpoints.look() and model.saves == 0
    clock.now += 5.0
    assert not checkpoints.look() and model.saves == 1
    assert note(tmp_path)["newest"] == {"file": "model-001.keras", "epoch": 0, "batches": 3}
    checkpoints.epoch_ended(0, {"val_loss": 0.5})
    clock.now += 5.0
    assert not checkpoints.look() and model.saves == 2
    assert note(tmp_path)["newest"] == {"file": "model-001.keras", "epoch": 0} and "best" not in note(tmp_path)
    checkpoints.judge({"val_loss": 0.5, "val_f1": 0.7})  # a callback has added to it, and may have set weights
    checkpoints.save(model, last=False)
    assert model.saves == 3 and note(tmp_path)["best"]["metric"] == "val_f1"
    checkpoints.epoch_begins(1)
    assert checkpoints.batches.begins()
    checkpoints.validates()
    clock.now += 60.0
    checkpoints.epoch_ended(1, {})  # the batch was its last one, whatever became of it
    assert not checkpoints.look() and note(tmp_path)["newest"]["epoch"] == 1


def epoch_of(checkpoints, batches: int) -> None:
    for batch in range(batches):
        assert checkpoints.batches.begins()
        checkpoints.batches.ends(batch)


def note(folder: Path) -> dict:
    return json.loads((folder / "modeldir" / ".studio.json").read_text())


def test_a_model_that_is_stopped_within_an_epoch_is_no_epoch_that_has_ended(tmp_path, clock, checkpoints):
    model = SlowModel(clock, 0.01)
    checkpoints.begin(model)
    for epoch in range(2):
        checkpoints.epoch_begins(epoch)
        epoch_of(checkpoints, batches=3)
        if epoch == 0:
            checkpoints.epoch_ended(epoch, {"loss": 0.5})
            clock.now += 5.0
            checkpoints.save(model, last=False)
    checkpoints.stop(0.0)
    assert note(tmp_path)["newest"] == {"file": "model-002.keras", "epoch": 1, "batches": 3}
    assert note(tmp_path)["best"]["file"] == "model-001.keras" and not note(tmp_path)["lost"]
    assert files(tmp_path) == [".studio.json", "model-001.keras", "model-002.keras"]


def test_a_stop_that_comes_too_early_for_the_model_is_noted(tmp_path, clock, checkpoints):
    """In the midst of a batch; or the process ends while it is saved."""
    model = SlowModel(clock, 0.01)
    checkpoints.begin(model)
    checkpoints.stop(0.0)
    assert not (tmp_path / "modeldir").exists()  # nothing was trained yet
    checkpoints.epoch_begins(0)
    epoch_of(checkpoints, batches=1)
    checkpoints.batches.begins()
    checkpoints.stop(0.0)
    (lost,) = note(tmp_path)["lost"]
    assert lost["name"] == "SlowModel" and lost["why"] == _studio_checkpoints.STOPPED and model.saves == 0
    checkpoints.batches.ends(1)
    said = []
    model.save = lambda path: (said.append(note(tmp_path)["lost"][0]["why"]), SlowModel.save(model, path))
    checkpoints.stop(0.0)
    assert said == [_studio_checkpoints.STOPPED] and not note(tmp_path)["lost"] and model.saves == 1
    checkpoints.batches.begins()
    checkpoints.stop(0.0)
    assert note(tmp_path)["lost"][0]["why"].endswith("; model-001.keras is of epoch 1")
    assert note(tmp_path)["lost"][0]["trained"] > note(tmp_path)["models"][0]["trained"]
    checkpoints.save(model, last=True)  # the script went on
    assert not note(tmp_path)["lost"]


def test_a_model_that_takes_too_long_to_be_saved_is_noted_until_it_is(tmp_path, clock, checkpoints):
    model = SlowModel(clock, 9.0, parameters=int(9 * 200e6 / 12))
    checkpoints.begin(model)
    checkpoints.epoch_begins(0)
    epoch_of(checkpoints, batches=1)
    checkpoints.epoch_ended(0, {"loss": 0.5})
    clock.now += 4.0
    assert note(tmp_path)["lost"][0]["why"] == _studio_checkpoints.UNSAVED  # what is killed now has that word of it
    assert checkpoints.look() and note(tmp_path)["lost"][0]["why"] == _studio_checkpoints.UNSAVED
    clock.now += 4.0
    assert checkpoints.look() and "saving it takes 9.0 s" in note(tmp_path)["lost"][0]["why"]
    clock.now += 1000.0
    assert not checkpoints.look() and model.saves == 1 and not note(tmp_path)["lost"]


def test_no_batch_begins_while_the_model_is_saved_and_none_is_read_within_a_batch():
    batches = _studio_checkpoints._studio_batches.Batches()
    with batches.held(0.0) as at_rest:
        assert at_rest and not batches.begins()
        waiter = threading.Thread(target=batches.wait)
        waiter.start()
        waiter.join(0.05)
        assert waiter.is_alive()
    waiter.join()
    batches.begins()
    batches.ends(1)  # Keras tells of it later than of the next one's begin, in any order
    with batches.held(0.0) as at_rest:
        assert not at_rest
    batches.ends(0)
    batches.alone = True
    with batches.held(0.0) as at_rest:
        assert not at_rest and batches.done == 2


def test_what_the_script_saves_into_modeldir_is_left_alone(tmp_path, clock, checkpoints):
    model = SlowModel(clock, 0.01)
    train(checkpoints, model, clock, 10.0, [0.5])
    assert "model-001.keras" in files(tmp_path)
    (tmp_path / "modeldir" / "mine.h5").write_text("x")
    train(checkpoints, model, clock, 10.0, [0.5, 0.6])
    assert files(tmp_path) == ["mine.h5"]
    assert "the script saves into modeldir itself" in (tmp_path / "spool" / "events").read_text()


def test_a_model_that_cannot_be_saved_is_said_once_and_leaves_nothing_behind(tmp_path, clock, checkpoints):
    model = SlowModel(clock, 0.01)
    model.error = ValueError("no get_config")
    train(checkpoints, model, clock, 10.0, [0.5, 0.6, 0.7])
    assert files(tmp_path) == [".studio.json"]
    text = (tmp_path / "spool" / "events").read_text()
    assert text.count("the model SlowModel cannot be kept: ") == 1 and "ValueError: no get_config" in text
    (lost,) = json.loads((tmp_path / "modeldir" / ".studio.json").read_text())["lost"]
    assert lost["name"] == "SlowModel" and "no get_config" in lost["why"]
    assert [name for name in os.listdir(tmp_path / "spool") if "saving" in name] == []


def test_another_model_is_judged_anew(tmp_path, clock, checkpoints):
    train(checkpoints, SlowModel(clock, 0.01), clock, 10.0, [0.99])
    second = SlowModel(clock, 0.01)
    checkpoints.begin(second)
    for epoch, accuracy in ((5, 0.3), (6, 0.2)):
        checkpoints.epoch_begins(epoch)
        clock.now += 10
        checkpoints.epoch_ended(epoch, {"accuracy": accuracy})
        checkpoints.save(second, last=False)
    assert files(tmp_path) == [".studio.json", "model-006.keras", "model-007.keras"]


def test_files_of_the_scripts_own_are_not_touched_though_they_are_named_like_ours(tmp_path, clock, checkpoints):
    """`ModelCheckpoint("…/model-{epoch:03d}.keras")` is what many would write."""
    mine = tmp_path / "modeldir" / "model-001.keras"
    model = SlowModel(clock, 0.01)
    checkpoints.begin(model)
    for epoch in range(3):
        checkpoints.epoch_begins(epoch)
        clock.now += 10
        checkpoints.epoch_ended(epoch, {"loss": 1.0 - epoch})
        mine.parent.mkdir(exist_ok=True)
        mine.with_name(f"model-{epoch + 1:03d}.keras").write_text("the script's")
        checkpoints.save(model, last=epoch == 2)
    assert files(tmp_path) == ["model-001.keras", "model-002.keras", "model-003.keras"]
    assert mine.read_text() == "the script's"


def test_one_that_is_written_over_is_the_scripts_from_then_on(tmp_path, clock, checkpoints):
    train(checkpoints, SlowModel(clock, 0.01), clock, 10.0, [0.5])
    mine = tmp_path / "modeldir" / "model-001.keras"
    mine.write_text("the script's")
    train(checkpoints, SlowModel(clock, 0.01), clock, 10.0, [0.5, 0.6])
    assert files(tmp_path) == ["model-001.keras"] and mine.read_text() == "the script's"


def test_a_model_that_cannot_be_saved_says_nothing_of_the_next(tmp_path, clock, checkpoints):
    bad = SlowModel(clock, 0.01)
    bad.error = ValueError("no get_config")
    train(checkpoints, bad, clock, 10.0, [0.5])
    train(checkpoints, SlowModel(clock, 0.01), clock, 10.0, [0.5])
    assert "model-001.keras" in files(tmp_path)


def test_models_that_are_trained_in_two_threads_are_saved_one_after_the_other(tmp_path, clock, checkpoints):
    class Meeting(SlowModel):
        """Saves when the other thread saves as well, or would if it could."""

        def save(self, path: str) -> None:
            super().save(path)
            with contextlib.suppress(threading.BrokenBarrierError):
                barrier.wait(0.2)

    barrier = threading.Barrier(2)
    train(checkpoints, SlowModel(clock, 0.0), clock, 1.0, [0.5])
    models = [Meeting(clock, 0.0) for _ in range(2)]
    checkpoints.epoch_ended(4, {"val_accuracy": 0.6})
    threads = [threading.Thread(target=checkpoints.save, args=(m,), kwargs={"last": True}) for m in models]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [model.saves for model in models] == [1, 1]
    assert files(tmp_path) == [".studio.json", "model-005.keras"]
    assert not [e for e in events(tmp_path) if e["type"] in ("warning", "note")]
