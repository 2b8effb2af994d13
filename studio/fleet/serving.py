"""One serving in the foreground: from what the user named to the run that answers HTTP with it."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import replace

from ..config import Config
from ..experiment import SERVING
from ..models.wrapper_source import own_files
from ..run.commandline import Options, make_plan
from ..run.plan import Plan, Reuse, make_command
from ..serve.options import check_wrapper
from ..serve.resolve import Resolved, resolve
from ..tracking import Tracking
from .children import check_children
from .choice import check_choice
from .kept_code import told_of_code

SOURCE = "STUDIOML_SERVE_SOURCE"
"""Variable that tells the server where its model comes from, as JSON."""


def plan_serving(
    what: str | None,
    options: Sequence[str],
    *,
    tracking: Tracking,
    config: Config,
    project: str | None = None,
    wrapper: str | None = None,
) -> Plan:
    """The run of kind `serving` that answers with `what`.

    Args:
        what: A key, `last`, the unique beginning of a key, or a path to checkpoints or a wrapper; None = wrapper alone.
        options: Further words for `studio.serve_main`.
        project: Where `last` looks; None = everywhere.
        wrapper: `FILE[:attribute]` with `create_model(modeldir)`.

    Raises:
        ConfigError: `what` means two things or nothing, the wrapper has no such function, or nothing tells which
            model is best.
        ExperimentNotFound: no experiment is called so.
        ModelNotFound, ModelLoadError: `options` name a model that it has not, or its children alone have models.
    """
    found = Resolved() if what is None else resolve(what, tracking=tracking, project=project, owner=config["owner"])
    if found.is_wrapper and wrapper is None:
        wrapper = str(found.path)
    code = own_files(check_wrapper(wrapper)) if wrapper is not None else ()
    if wrapper is None:
        check_children(found, options, tracking)
        check_choice(found, options, tracking)
    words = [*options, *_naming(found, options, tracking), *(["--wrapper", wrapper] if wrapper is not None else [])]
    options_of_run = Options(no_workspace=wrapper is None, no_autolog=True)
    frame = make_plan("exec", [sys.executable], options_of_run, tracking=tracking, config=config)
    command, program, argv = make_command(
        "module", "studio.serve_main", words, folder=frame.folder, python=sys.executable
    )
    return replace(
        frame, command=command, program=program, argv=argv, kind="serving", reuses=_model(found), code=code,
        parent=found.experiment.key if found.experiment else frame.parent,
        relation=SERVING if found.experiment else frame.relation,
        env={SOURCE: json.dumps(_source(found, wrapper, tracking, config["owner"]))},
    )  # fmt: skip


def _naming(found: Resolved, options: Sequence[str], tracking: Tracking) -> list[str]:
    if found.experiment is not None:
        name = [] if "--name" in options else ["--name", found.experiment.key]
        here = tracking.home / "experiments" / found.experiment.key / "modeldir"
        if not _model(found) and here.is_dir():  # it runs here and its first capture is still to come
            return [*name, "--modeldir", str(here)]
        return name
    return [] if found.path is None or found.is_wrapper else ["--modeldir", str(found.path)]


def _model(found: Resolved) -> tuple[Reuse, ...]:
    ref = found.experiment.artifacts.get("modeldir") if found.experiment else None
    if found.experiment is None or ref is None or ref.manifest is None:
        return ()
    return (Reuse(found.experiment.key, "modeldir", "modeldata"),)


def _source(found: Resolved, wrapper: str | None, tracking: Tracking, owner: str) -> dict[str, object]:
    if found.experiment is not None:
        commit = found.experiment.git.commit if found.experiment.git else None
        own = found.experiment.owner == owner
        return {
            "kind": "experiment", "key": found.experiment.key, "commit": commit, "store": tracking.url, "own": own,
            "code": told_of_code(found.experiment),
        }  # fmt: skip
    if found.path is not None and not found.is_wrapper:
        return {"kind": "path", "path": str(found.path)}
    return {"kind": "wrapper", "path": wrapper}
