"""Decides which entry style a model folder or a wrapper is, loads it, and says what was degraded on the way."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from .. import plugins
from ..errors import ConfigError, ModelLoadError, ModelNotFound, StudioError
from .base import DictModel, LoadedModel
from .find import best_first, chosen_first, judged_by, named
from .folder import Candidate, Found, Leftover, look_at, look_into, shown
from .note import Note, one_line, read_note
from .ownership import foreign
from .standin import Tried, joined

Loader = Callable[[Path, str, bool], LoadedModel]
"""(file or folder, runtime, may it run code) → model. Third parties add theirs as entry points of `studio.loaders`."""

RUNTIMES = ("auto", "keras", "onnx")
RUN_CODE = ("joblib", "saved_model")
"""Formats that are programs: a pickle, or a graph that can read and write files."""

SETTLE_S = 2.0
"""A newest checkpoint that changed this recently may still be being written: it is tried once more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Choice:
    """Which model of a folder to load, and what it may do; see `load_model`."""

    model: str | None
    best: bool
    runtime: str
    trust: bool
    own: bool
    private: bool
    of: str


def load_model(
    modeldir: Path | None,
    *,
    wrapper: str | None = None,
    model: str | None = None,
    best: bool = False,
    as_identity: bool = False,
    runtime: str = "auto",
    trust: bool = False,
    own: bool = True,
    private: bool = False,
    of: str = "",
    debug: bool = False,
) -> LoadedModel:
    """Loads the wrapper if one is given, else the chosen checkpoint or the next best, else the identity.

    Args:
        modeldir: The folder with checkpoints; a single checkpoint file is taken as well; None = no folder.
        wrapper: `FILE[:attribute]` with a `create_model(modeldir)`.
        model: A name of `--model`, which alone is loaded; None = *the* model, or the next best.
        best: The checkpoint with the best metric instead.
        as_identity: The identity, whatever is in the folder.
        runtime: `auto`, `keras` or `onnx`.
        trust: Allows formats that run code (joblib, SavedModel) although they are not one's own.
        own: Whether the model comes from the user's own experiment; files must belong to the user, too.
        private: Whether nobody else could have changed the folder: studio made it, in its own home.
        of: What messages call the folder where the user knows it by another name: `experiment KEY`.
        debug: Errors keep the original traceback visible.

    Raises:
        ModelLoadError: there is what looks like a model and none of it can be served, or the wrapper cannot.
        ModelNotFound: no model is called so.
        ConfigError: an option's value cannot be used.
    """
    if runtime not in RUNTIMES:
        raise ConfigError(f"no runtime is called {runtime!r}", hint="known: " + ", ".join(RUNTIMES))
    if wrapper is not None:
        from .wrapper import load_wrapper

        return load_wrapper(wrapper, modeldir, debug=debug)
    if as_identity:
        return identity("--identity: the identity is served, which answers with its input")
    if modeldir is None:
        if model is not None:
            raise ModelNotFound(f"no model {one_line(model)!r}: there is no model folder to look in")
        return identity("no model folder was given, so the identity is served: it answers with its input")
    folder, found = _look(modeldir)
    choice = _Choice(model=model, best=best, runtime=runtime, trust=trust, own=own, private=private, of=of)
    return _checkpoint(modeldir, folder, found, choice)


def identity(warning: str) -> DictModel:
    """The model that returns its input, as the original serves where there is no checkpoint."""
    return DictModel(style="identity", call=lambda data: data, threads=0, warnings=(warning,), caveat="identity")


def _look(modeldir: Path) -> tuple[Path, Found]:
    """The folder, and what is in it; for a single file, that alone."""
    at = look_at(modeldir)
    if isinstance(at, Candidate):
        return modeldir.parent, Found([at])
    if isinstance(at, str):
        raise ModelLoadError(f"{shown(str(modeldir))} cannot be served: {at}")
    if isinstance(at, Leftover):
        return modeldir.parent, Found(leftovers=[at])
    try:
        if modeldir.is_dir():
            return modeldir, look_into(modeldir)
        modeldir.lstat()
    except FileNotFoundError:
        raise ModelLoadError(
            f"the model folder {shown(str(modeldir))} does not exist", hint="check the path, or --modeldir"
        ) from None
    except OSError as exc:
        raise ModelLoadError(f"{shown(str(modeldir))} cannot be read: {exc.strerror or exc}") from exc
    raise ModelLoadError(
        f"{shown(str(modeldir))} is not a checkpoint",
        hint="known: .keras .h5 .hdf* .onnx .joblib .pkl, files of XGBoost and LightGBM, SavedModel, a folder of these",
    )


def _checkpoint(modeldir: Path, folder: Path, found: Found, choice: _Choice) -> LoadedModel:
    note, where = read_note(folder), choice.of or shown(str(modeldir))
    if choice.model is not None:
        candidate = named(choice.model, found.checkpoints, folder, note, where)
        return replace(_load_one(candidate, choice), file=candidate.label(folder))
    if not found.checkpoints:
        return _nothing(where, found, note, choice)
    candidates = (
        best_first(found.checkpoints, folder, note, where)
        if choice.best
        else chosen_first(found.checkpoints, folder, note)
    )
    tried = Tried(folder, found, note, choice.best)
    for candidate in candidates:
        if tried.known_helper(candidate) and tried.wants_predictor(candidate):
            tried.passed.append(candidate)
            continue
        try:
            model = _load_one(candidate, choice)
        except StudioError as exc:
            tried.failures.append((candidate, exc))
            continue
        if model.helper and tried.unknown(candidate) and tried.wants_predictor(candidate):
            tried.passed.append(candidate)
            continue
        notes, caveat = tried.caveats(candidate)
        if choice.best and (best := judged_by(candidate, candidates, folder, note)):
            notes.append(f"--best: {candidate.label(folder)} has the best {best}")
        return replace(model, file=candidate.label(folder), warnings=(*notes, *model.warnings), caveat=caveat)
    raise tried.error(where, single=folder != modeldir) from next((exc for _, exc in tried.failures), None)


def _nothing(where: str, found: Found, note: Note, choice: _Choice) -> LoadedModel:
    """The identity where nothing looks like a model.

    Raises:
        ModelLoadError: something does, or a training was seen whose model was not kept.
        ConfigError: the best one was asked for.
    """
    lost = sorted(note.lost, key=lambda one: -one.trained)
    reasons = [f"{one.name} was trained and could not be kept: {one.why}" for one in lost]
    reasons += [f"{left.label} {left.why}" for left in sorted(found.leftovers, key=lambda one: -one.mtime)]
    reasons += found.skipped
    if not reasons and choice.best:
        raise ConfigError(f"--best: there is no checkpoint in {where}", hint="leave out --best")
    if not reasons:
        return identity(f"no checkpoint in {where}, so the identity is served: it answers with its input")
    raise ModelLoadError(
        f"no model in {where} can be served: {joined(reasons)}",
        hint=f"save the whole model ({_whole_saves(found)}) or build it in a wrapper: --wrapper FILE; --identity "
        "serves a server that answers with its input",
    )


def _whole_saves(found: Found) -> str:
    """How the library whose files lie there saves a whole model; of both, where that cannot be told."""
    keras, torch = "model.save('model.keras')", "torch.onnx.export(…, 'model.onnx')"
    if any(left.label.endswith((".pt", ".pth", ".bin", ".ckpt")) for left in found.leftovers):
        return torch
    return keras if any(left.label.endswith(".h5") for left in found.leftovers) else f"{keras}, {torch}"


def _load_one(candidate: Candidate, choice: _Choice) -> LoadedModel:
    """Loads one checkpoint; one that was written moments ago gets a second chance when it is complete."""
    loader: Loader = plugins.load("studio.loaders", candidate.format)
    whose = "is somebody else's" if not choice.own else foreign(candidate.path, folders=not choice.private)
    trusted = choice.trust or not whose
    if not trusted and candidate.format in RUN_CODE:
        raise ModelLoadError(
            f"{candidate.path.name} {whose}, and loading such a file can run its code",
            hint="if you trust where it comes from: --trust",
        )
    try:
        return _guarded(loader, candidate, choice.runtime, trusted=trusted)
    except ModelLoadError as exc:
        exc.hint = exc.hint or _hint_of(exc.__cause__)
        wait_s = candidate.mtime + SETTLE_S - time.time()
        if not 0 < wait_s <= SETTLE_S:
            raise
        time.sleep(min(wait_s, 0.5))
        return _guarded(loader, candidate, choice.runtime, trusted=trusted)


def _hint_of(cause: BaseException | None) -> str:
    """What to do about code that a pickled model refers to and that is not here."""
    if isinstance(cause, ModuleNotFoundError) and cause.name:
        package = cause.name.partition(".")[0]
        return f"install what has the module {one_line(package)}, or import it in a wrapper: --wrapper FILE"
    if isinstance(cause, AttributeError) and "__main__" in str(cause):
        return (
            "the file refers to code of the script that saved it: train it under studio run, which keeps that code "
            "with the model, or define it in a wrapper: --wrapper FILE"
        )
    return ""


def _guarded(loader: Loader, candidate: Candidate, runtime: str, *, trusted: bool) -> LoadedModel:
    """Whatever a library raises while it loads or first runs a file is a reason to take the next one."""
    try:
        return loader(candidate.path, runtime, trusted)
    except StudioError:
        raise
    except (Exception, SystemExit) as exc:
        text = one_line(str(exc))
        raise ModelLoadError(
            f"{candidate.path.name} cannot be loaded: {type(exc).__name__}{': ' + text if text else ''}"
        ) from exc
