"""A fitted model that is kept in `modeldir`: at once where that is cheap, at the end of the process otherwise."""

from __future__ import annotations

import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from . import _studio_end, _studio_modeldir, _studio_saves, _studio_track
else:
    import _studio_end
    import _studio_modeldir
    import _studio_saves
    import _studio_track

SHARE = 0.05


class Keeper:
    """The newest of the models that one library fits, in one file.

    Args:
        file: Its name in `modeldir`.
        how: What fitted it, for the event.
    """

    def __init__(self, file: str, how: str) -> None:
        self._file, self._how = file, how
        self._unsaved: tuple[str, Callable[[str], object]] | None = None
        self._trained = self._spent = self._took = 0.0

    def trained(self, name: str, write: Callable[[str], object], took_s: float) -> None:
        """A model was fitted in `took_s`; `write(path)` saves it."""
        if _studio_modeldir.folder() is None:
            return
        self._trained += took_s
        self._unsaved = (name, write)
        if self._spent + (self._took or 0.01) <= SHARE * self._trained:
            self._save()
        else:
            _studio_end.at_end(self._file, self._save)

    def _save(self) -> None:
        with _studio_modeldir.SAVING:
            self._write()

    def _write(self) -> None:
        todo, self._unsaved = self._unsaved, None
        modeldir = _studio_modeldir.folder()
        if todo is None or modeldir is None or _studio_modeldir.is_the_scripts(modeldir):
            return
        name, write = todo
        began = time.monotonic()
        try:
            with _studio_saves.quietly():
                path = _studio_modeldir.put(modeldir, self._file, write)
            _studio_track.event("model", path=path, how=self._how, name=name)
        except Exception as exc:  # noqa: BLE001  (what is within a model may raise anything)
            text = f"the model {name} cannot be saved by studio: {type(exc).__name__}: {exc}"
            _studio_track.warning(self._file, text)
        finally:
            self._took = time.monotonic() - began
            self._spent += self._took
