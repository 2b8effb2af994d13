"""Decides which entry style a model folder or a wrapper is, loads it, and says what was degraded on the way."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from .. import plugins
from ..errors import ConfigError, ModelLoadError, StudioError
from .base import DictModel, LoadedModel
from .find import Candidate, best_first, find_checkpoints, find_weights, format_of

Loader = Callable[[Path, str, bool], LoadedModel]
"""(file or folder, runtime, may it run code) → model. Third parties add theirs as entry points of `studio.loaders`."""

RUNTIMES = ("auto", "keras", "onnx")
RUN_CODE = ("joblib", "saved_model")
"""Formats that are programs: a pickle, or a graph that can read and write files."""

SETTLE_S = 2.0
"""A newest checkpoint that changed this recently may still be being written: it is tried once more."""


def load_model(
    modeldir: Path | None,
    *,
    wrapper: str | None = None,
    runtime: str = "auto",
    best: bool = False,
    trust: bool = False,
    own: bool = True,
    debug: bool = False,
) -> LoadedModel:
    """Loads the wrapper if one is given, else the newest loadable checkpoint, else the identity.

    Args:
        modeldir: The folder with checkpoints; a single checkpoint file is taken as well; None = no folder.
        wrapper: `FILE[:attribute]` with a `create_model(modeldir)`.
        runtime: `auto`, `keras` or `onnx`.
        best: The checkpoint with the best metric instead of the newest.
        trust: Allows formats that run code (joblib, SavedModel) although they are not one's own.
        own: Whether the model comes from the user's own experiment; files must belong to the user, too.
        debug: Errors keep the original traceback visible.

    Raises:
        ModelLoadError: there are checkpoints and none can be loaded, or the wrapper cannot.
        ConfigError: an option's value cannot be used.
    """
    if runtime not in RUNTIMES:
        raise ConfigError(f"no runtime is called {runtime!r}", hint="known: " + ", ".join(RUNTIMES))
    if wrapper is not None:
        from .wrapper import load_wrapper

        return load_wrapper(wrapper, modeldir, debug=debug)
    if modeldir is None:
        return identity("no model folder was given, so the identity is served: it answers with its input")
    if not modeldir.exists():
        raise ModelLoadError(f"the model folder {modeldir} does not exist", hint="check the path, or --modeldir")
    return _checkpoint(modeldir, runtime=runtime, best=best, trust=trust, own=own)


def identity(warning: str) -> DictModel:
    """The model that returns its input, as the original serves where there is no checkpoint."""
    return DictModel(style="identity", call=lambda data: data, threads=0, warnings=(warning,))


def _weights_only(path: Path) -> ModelLoadError:
    if path.suffix in (".pt", ".pth"):
        return ModelLoadError(
            f"{path.name} holds weights only, or a pickle of PyTorch's whose code studio does not run",
            hint="build the network in a wrapper: --wrapper FILE; or save it with torch.onnx.export(…, 'model.onnx')",
        )
    return ModelLoadError(
        f"{path.name} holds weights only, without the model's structure",
        hint="save the whole model (model.save('model.keras')), or build it in a wrapper: --wrapper FILE",
    )


def _checkpoint(modeldir: Path, *, runtime: str, best: bool, trust: bool, own: bool) -> LoadedModel:
    folder, candidates = _candidates(modeldir)
    if not candidates:
        weights = find_weights(folder)
        if weights:
            raise _weights_only(weights[-1])
        return identity(f"no checkpoint in {modeldir}, so the identity is served: it answers with its input")
    if best:
        candidates = best_first(candidates, folder)
    failures: list[str] = []
    skipped: list[str] = []
    last: StudioError | None = None
    hint = "a model with classes of its own needs a wrapper: studio serve … --wrapper FILE"
    for candidate in candidates:
        try:
            trusted = trust or (own and candidate.path.stat().st_uid == os.getuid())
            model = _load_one(candidate, runtime, trusted)
        except StudioError as exc:
            failures.append(f"{candidate.label(folder)}: {exc.message}")
            skipped.append(f"skipped {failures[-1]}" + (f"; {exc.hint}" if exc.hint else ""))
            hint, last = exc.hint or hint, exc
            continue
        notes = tuple(skipped)
        if failures and not best:
            notes += (f"serving {candidate.label(folder)}, an older checkpoint than the newest",)
        return replace(model, file=candidate.label(folder), warnings=notes + model.warnings)
    raise ModelLoadError(
        f"none of {len(candidates)} checkpoints in {modeldir} can be loaded: " + "; ".join(failures),
        hint=hint,
    ) from last


def _candidates(modeldir: Path) -> tuple[Path, list[Candidate]]:
    found = format_of(modeldir)
    if found is not None:
        return modeldir.parent, [Candidate(modeldir, found, modeldir.stat().st_mtime)]
    if not modeldir.is_dir():
        raise ModelLoadError(
            f"{modeldir} is not a checkpoint",
            hint="known: .keras .h5 .hdf* .onnx .joblib, files of XGBoost and LightGBM, SavedModel, a folder of these",
        )
    return modeldir, find_checkpoints(modeldir)


def _load_one(candidate: Candidate, runtime: str, trusted: bool) -> LoadedModel:
    """Loads one checkpoint; one that was written moments ago gets a second chance when it is complete."""
    loader: Loader = plugins.load("studio.loaders", candidate.format)
    if not trusted and candidate.format in RUN_CODE:
        raise ModelLoadError(
            f"{candidate.path.name} is somebody else's, and loading such a file can run its code",
            hint="if you trust where it comes from: --trust",
        )
    try:
        return loader(candidate.path, runtime, trusted)
    except ModelLoadError:
        wait_s = candidate.mtime + SETTLE_S - time.time()
        if not 0 < wait_s <= SETTLE_S:
            raise
        time.sleep(min(wait_s, 0.5))
        return loader(candidate.path, runtime, trusted)
