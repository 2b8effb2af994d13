"""The models that a run's script fitted: which are kept, under which names, and which of them is *the* model.

`.studio.json` in `modeldir` tells the server: `models` (with a signature each), `lost`, `dropped`, and what the Keras
hook knows of the best epoch. docs/howto/autolog.md has the rule.
"""

from __future__ import annotations

import functools
import json
import os
import sys
import time
import weakref

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from . import _studio_modeldir, _studio_secrets, _studio_track, _studio_variables
else:
    import _studio_modeldir
    import _studio_secrets
    import _studio_track
    import _studio_variables

NOTE = ".studio.json"
MOST = 20  # models that are kept; a search by hand fits thousands
MOST_BYTES = 1 << 30
LOST = 20  # that are told of
LONGEST = 500  # characters of why one was lost, what to do included

DUMPED = "the one that the script saved last"
OWN = "the newest checkpoint that the script wrote into modeldir"
HELD = "the newest one that a variable still holds"
NEWEST = "the newest fit"
NONE = "; there is no predictor"
CUT = "the one that was being trained when the run was stopped"
LOADED = "a variable still holds it; it was loaded, the script fitted none"
_BEGAN = time.time()  # when a model was trained that no fit told of: before those of the script


class Model:
    """One model of the script. `ref` gives the object while it lives; `files` are names within `modeldir`."""

    def __init__(self, name: str, library: str, kind: str, role: str) -> None:
        self.name, self.library, self.kind, self.role = name, library, kind, role
        self.ref: Callable[[], Any] = _nothing
        self.file = ""
        self.files: list[str] = []
        self.trained = self.saved_at = 0.0  # when its newest fit ended, and the one that the file is of
        self.fits = 0
        self.saved_fits = -1  # which fit the file is of
        self.signature: dict[str, Any] | None = None
        self.variable = ""  # that held it when the script ended
        self.pinned = 0.0  # its time, whatever is saved of it later
        self.loaded = False  # not fitted by the script
        self.failed = False  # its newest fit raised
        self.cut = False  # kept in the midst of its fit, when the run was stopped
        self.copy = False  # of a file that the script saved elsewhere
        self.python = ""  # of the script, where the file has code of its modules
        self.further: dict[str, Any] = {}

    def as_json(self, chosen: bool, reason: str) -> dict[str, Any]:
        """As `.studio.json` has it."""
        found: dict[str, Any] = {
            **self.further, "name": self.name, "file": self.file, "library": self.library, "class": self.kind,
            "role": self.role, "trained": round(self.saved_at, 6), "chosen": chosen, "reason": reason,
            "signature": self.signature,
        }  # fmt: skip
        if self.python:
            found["python"] = self.python
        return found


class Shelf:
    """The models of one run.

    Attributes:
        known: Id of the object -> what is known of it, while it lives.
        kept: Those with a file, in the order of their fits.
        read: The modeldir whose note was read.
        about: Further fields of the note.
    """

    def __init__(self) -> None:
        self.known: dict[int, Model] = {}
        self.kept: list[Model] = []
        self.lost: list[dict[str, Any]] = []
        self.dropped = 0
        self.names: dict[str, int] = {}
        self.began = False
        self.read = ""
        self.about: dict[str, Any] = {}
        self.reason: tuple[Model | None, str] = (None, NEWEST)


_of_any_run: dict[int, Callable[[], Any]] = {}


def _here() -> Shelf:
    found: Shelf = _studio_track.memory("models", Shelf)
    return found


def _nothing() -> Any:
    return None


def find(thing: Any) -> Model | None:
    """What is known of this object."""
    model = _here().known.get(id(thing))
    return model if model is not None and model.ref() is thing else None


def fitted(thing: Any, library: str, role: str, signature: dict[str, Any] | None) -> Model:
    """An object was fitted, for the first time or once more."""
    _carry_over()
    if not _here().began:
        _here().began = True
        last = sys.modules.get("_studio_last")
        if last is not None:
            last.first_fit()
    model = find(thing)
    if model is None:
        model = _new(thing, library, role)
    model.trained = model.pinned or time.time()
    model.fits += 1
    model.failed = model.cut = False
    for word in ("cut", "broken"):
        model.further.pop(word, None)
    if signature is not None:
        model.signature = signature
    model.role = role
    return model


def unfinished(thing: Any, kind: str, library: str, role: str) -> Model:
    """What a fit is under way of, or was; None for `thing` where nobody has seen it."""
    _carry_over()
    model = find(thing)
    if model is None:
        model = Model(unique(kind), library, kind, role) if thing is None else _new(thing, library, role)
    return model


def _new(thing: Any, library: str, role: str) -> Model:
    kind = type(thing).__name__
    model = Model(unique(kind), library, kind, role)
    model.ref = _reference(thing)
    _here().known[id(thing)] = model
    try:
        _of_any_run[id(thing)] = weakref.ref(thing, functools.partial(_forget, id(thing)))
    except TypeError:
        pass
    return model


def _forget(number: int, _: object) -> None:
    _of_any_run.pop(number, None)


def adopted(thing: Any, library: str, role: str, *, loaded: bool) -> Model:
    """A fitted model that no fit told of. It counts as older than the script's fits."""
    _carry_over()
    model = _new(thing, library, role)
    model.trained = model.pinned = _BEGAN + 1e-6 * len(_here().known)
    model.loaded, model.fits = loaded, 1
    return model


def is_known(thing: Any) -> bool:
    """Whether a run of this process knows this object."""
    found = _of_any_run.get(id(thing))
    return find(thing) is not None or (found is not None and found() is thing)


def kept() -> list[Model]:
    """Those with a file, in the order of their fits."""
    return list(_here().kept)


def room() -> int:
    """How many models more are kept."""
    return max(0, MOST - sum(not model.copy for model in _here().kept))


def _reference(thing: Any) -> Callable[[], Any]:
    number, known = id(thing), _here().known
    try:
        return weakref.ref(thing, lambda _: known.pop(number, None))
    except TypeError:  # a class with slots of its own
        return lambda: thing


def unique(kind: str) -> str:
    """A name for one more model of this class: `Ridge`, `Ridge-2` and so on."""
    _carry_over()
    _here().names[kind] = number = _here().names.get(kind, 0) + 1
    name = kind if number == 1 else f"{kind}-{number}"
    return unique(kind) if any(model.name == name for model in _here().kept) else name


def file_name(model: Model, suffix: str) -> str:
    """The file of a model: `model.joblib` for the first predictor, then `model-Ridge.joblib`; `helper-…`."""
    if model.file:
        return model.file
    clean = "".join(c if c.isalnum() or c in "-_" else "_" for c in model.name)
    if model.role != "predictor":
        return f"helper-{clean}{suffix}"
    plain = "model" + suffix
    return f"model-{clean}{suffix}" if any(other.file == plain for other in _here().kept) else plain


def stem(model: Model) -> str:
    """What the names of a model's epochs begin with: `model` for the first one, then `model-Sequential-2`."""
    if not any(other.library == "keras" and not other.further for other in _here().kept):
        return "model"
    return "model-" + "".join(c if c.isalnum() or c in "-_" else "_" for c in model.name)


def saved(model: Model, file: str, files: list[str] | None = None, *, copy: bool = False) -> None:
    """The model as it is after its newest fit is in `file` now; what there is too much of goes, but for copies."""
    model.file, model.files = file, files or [file]
    model.saved_fits, model.saved_at = model.fits, model.trained
    if model in _here().kept:
        _here().kept.remove(model)
    _here().kept.append(model)
    _here().kept.sort(key=lambda other: other.trained)
    _here().lost[:] = [entry for entry in _here().lost if entry["name"] != model.name]
    model.copy = copy
    if not copy:
        _bound()
        write()


def withdraw(model: Model) -> None:
    """The script keeps this model itself."""
    if model in _here().kept:
        _here().kept.remove(model)
    model.file, model.files, model.saved_fits = "", [], model.fits
    _here().about.clear()
    modeldir = _studio_modeldir.folder()
    if not _here().kept and modeldir is not None:
        _studio_modeldir.remove_ours(os.path.join(modeldir, NOTE))


def lose(model: Model, why: str, *, topic: str = "", quiet: bool = False) -> None:
    """The model, as it is after its newest fit, cannot be kept; said once for each topic, by default each model."""
    model.saved_fits = model.fits
    _here().lost[:] = [entry for entry in _here().lost if entry["name"] != model.name][1 - LOST :]
    entry: dict[str, Any] = {"name": model.name, "class": model.kind, "library": model.library, "role": model.role}
    entry["trained"] = round(model.trained, 6)
    _here().lost.append({**entry, "why": short(_studio_secrets.clean(why), LONGEST)})
    if not quiet:
        said = short(f"the model {model.name} cannot be kept: {why}", LONGEST + 100)
        _studio_track.warning(topic or f"lost {model.name}", said)
    write()


def short(text: str, most: int) -> str:
    """The text, or as many of its whole words as there is room for."""
    if len(text) <= most:
        return text
    start, blank, _ = text[:most].rpartition(" ")
    return (start if blank and len(start) > most // 2 else text[: most - 2]) + " …"


def newest_lost(library: str) -> float:
    """When the newest model of this library that cannot be kept was trained; 0 if there is none."""
    return max([float(entry["trained"]) for entry in _here().lost if entry.get("library") == library], default=0.0)


def regained(library: str, names: set[str] | None = None) -> None:
    """Models of this library, all or those with these names, are not lost any more."""
    _carry_over()
    lost = _here().lost
    left = [e for e in lost if e.get("library") != library or (names is not None and e["name"] not in names)]
    if len(left) < len(lost):
        lost[:] = left
        write()


def behind(model: Model, why: str, *, when: float | None = None) -> None:
    """The script has trained the model on, and its file is as it was before. `saved` takes that back."""
    model.trained = when or time.time()
    model.fits += 1
    lose(model, why, quiet=True)


def cut_short(model: Model, why: str, *, broken: bool = False) -> None:
    """The file has the model as it was when its fit was cut short; `broken`: by an error, in the midst of an epoch."""
    model.further["cut"] = why
    if broken:
        model.further["broken"] = True
    write()


def drop(model: Model | None) -> None:
    """A model was too many, or died before there was time to save it."""
    _here().dropped += 1
    if model is not None and model in _here().kept:
        _here().kept.remove(model)
        modeldir = _studio_modeldir.folder()
        for name in model.files:
            _studio_modeldir.remove_ours(os.path.join(modeldir or "", name))
        model.file, model.files, model.saved_fits = "", [], -1


def discard(file: str) -> str:
    """The copy of a file of the script's counts no more; returns the name that it had, "" if there is none."""
    name = ""
    for model in [model for model in _here().kept if model.copy and model.file == file]:
        _here().kept.remove(model)
        name = model.name
    return name


def only(file: str, when: float, known: Any) -> None:
    """The script keeps its models in `modeldir` itself: studio's go, and its newest is *the* model."""
    modeldir = _studio_modeldir.folder() or ""
    for model in _here().kept:
        for name in model.files:
            _studio_modeldir.remove_ours(os.path.join(modeldir, name))
    _here().kept.clear()
    _here().known.clear()
    _here().about.clear()
    model = Model(os.path.splitext(os.path.basename(file))[0], "", "", "predictor")
    if known is not None:
        model.library, model.kind, model.signature = known.library, known.kind, known.signature
    model.file, model.files, model.trained, model.saved_at = file, [], when, when
    model.further = {"own": when}
    model.fits = model.saved_fits = 1
    _here().kept.append(model)


def about(**fields: Any) -> None:
    """Further fields of the note, such as the best epoch."""
    _here().about.update(fields)
    for name in [name for name in _here().about if _here().about[name] is None]:
        del _here().about[name]


def _bound() -> None:
    """The newest stay: at most `MOST`, `MOST_BYTES` in all, always one predictor if there is one."""
    modeldir = _studio_modeldir.folder() or ""
    room, most = MOST_BYTES, MOST
    fitted = [model for model in _here().kept if not model.copy]
    predictors = [model for model in fitted if model.role == "predictor"]
    first = predictors[-1:] or fitted[-1:]
    for model in first + [other for other in reversed(fitted) if other not in first]:
        size = sum(_studio_modeldir.size(os.path.join(modeldir, name)) for name in model.files)
        if model in first or (size <= room and most > 0):
            room, most = room - size, most - 1
        else:
            drop(model)


def choose() -> Model | None:
    """*The* model, of all that are kept or still alive; `write` gives the reason."""
    held = _studio_variables.held()
    for model in [*_here().kept, *list(_here().known.values())]:
        thing = model.ref()
        model.variable = _studio_variables.shown(held.get(id(thing), "")) if thing is not None else ""
    _here().reason = _by_rule()
    return _here().reason[0]


def _by_rule() -> tuple[Model | None, str]:
    known = _here().kept + [model for model in list(_here().known.values()) if model.fits and model not in _here().kept]
    known = [model for model in known if model.file or model.saved_fits != model.fits]  # not one that is lost
    for role in ("predictor", "helper"):
        models = sorted((model for model in known if model.role == role), key=lambda model: model.trained)
        if models and models[-1].cut and models[-1].file:
            return models[-1], CUT
        for reason, key in ((OWN, "own"), (DUMPED, "dumped")):
            found = [model for model in models if model.further.get(key)]
            if key == "dumped":  # a network that others were fitted after may be what they build on
                found = [model for model in found if model.library != "torch" or model is models[-1]]
            if found:
                return max(found, key=lambda model: float(model.further[key])), reason
        note = "" if role == "predictor" else NONE
        found = [model for model in models if model.variable]
        own = [model for model in found if not model.loaded]
        if own:
            return own[-1], HELD + note
        if found and all(model.loaded for model in models):
            return found[-1], LOADED
        if models:
            return models[-1], DUMPED if models[-1].library == "torch" else NEWEST + note
    return None, NEWEST


def told() -> bool:
    """Whether there is anything to tell but a model."""
    return bool(_here().lost or _here().dropped)


def write() -> None:
    """Writes the note; `choose` decides at the end, until then the newest fit stands."""
    modeldir = _studio_modeldir.folder()
    if modeldir is None:
        return
    for model in [model for model in _here().kept if not os.path.lexists(os.path.join(modeldir, model.file))]:
        _here().kept.remove(model)  # the script has removed it
        model.file, model.saved_fits = "", model.fits
    chosen, reason = _here().reason
    if chosen is None or chosen not in _here().kept:
        predictors = [model for model in _here().kept if model.role == "predictor"]
        chosen, reason = next(reversed(predictors or _here().kept), None), NEWEST
    models = [model.as_json(model is chosen, _reason(model, reason, chosen)) for model in _here().kept]
    note = {**_here().about, "schema": 1, "models": models, "lost": _here().lost, "dropped": _here().dropped}

    def put(path: str) -> None:
        with open(path, "w", encoding="utf-8") as file:
            json.dump(note, file)

    try:
        _studio_modeldir.put(modeldir, NOTE, put)
    except OSError as exc:
        _studio_track.warning("modeldir", f"which models are kept cannot be noted: {type(exc).__name__}: {exc}")


def _reason(model: Model, reason: str, chosen: Model | None) -> str:
    """Why it is the model, or which variable holds it, so that models of one class can be told apart."""
    if model is chosen:
        why = f"{reason} ({model.variable})" if model.variable else reason
    else:
        why = f"variable {model.variable}" if model.variable else ""
    return "; ".join(filter(None, (why, model.further.get("cut"))))


def _carry_over() -> None:
    """Models that an earlier process of this run kept stay as they are."""
    modeldir = _studio_modeldir.folder()
    if modeldir is None or _here().read == modeldir:
        return
    _here().read = modeldir
    note = _studio_modeldir.note(modeldir)
    _here().about.update({name: note[name] for name in note if name not in ("schema", "models", "lost", "dropped")})
    _here().dropped = note["dropped"] if isinstance(note.get("dropped"), int) else 0
    _here().lost.extend(entry for entry in note.get("lost") or () if isinstance(entry, dict) and "name" in entry)
    for entry in note.get("models") or ():
        try:
            model = Model(str(entry["name"]), str(entry["library"]), str(entry["class"]), str(entry["role"]))
            model.file, model.trained, model.signature = str(entry["file"]), float(entry["trained"]), entry["signature"]
        except (KeyError, TypeError, ValueError):
            continue
        model.files, model.saved_at = [model.file], model.trained
        model.fits = model.saved_fits = 1
        model.python = str(entry.get("python") or "")
        if os.path.exists(os.path.join(modeldir, model.file)):
            _here().kept.append(model)
            base = model.name.rpartition("-")[0] or model.name
            _here().names.setdefault(base, 0)
