"""Which parameters the user typed, and whose a parser is: the script's, or a library's that parses for itself."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import FrameType
    from typing import Any

    from . import _studio_frames
else:
    import _studio_frames

STARTERS = frozenset({"hydra"})
_standard = os.path.dirname(os.__file__) + os.sep


def caller(frame: FrameType | None, *packages: str) -> FrameType | None:
    """Who made a call, seen from a frame within it; frames of studio and of `packages` are passed over.

    Args:
        frame: Where to begin.
        packages: What stands between: the parser's own class may come from a library.
    """
    while frame is not None:
        name = str(frame.f_globals.get("__name__", ""))
        if not _studio_frames.is_ours(frame.f_code) and name.partition(".")[0] not in packages:
            return frame
        frame = frame.f_back
    return None


def is_the_scripts(found: FrameType | None) -> bool:
    """Whether a frame is the script's: of itself or of its modules."""
    if found is None:
        return False
    file = found.f_code.co_filename
    return found.f_globals.get("__name__") == "__main__" or not (
        "-packages" in file or file.startswith((_standard, "<frozen"))
    )


def starts_scripts(found: FrameType | None) -> bool:
    """Whether a frame is of a library whose command line has options of its own beside what is the script's."""
    return found is not None and str(found.f_globals.get("__name__", "")).partition(".")[0] in STARTERS


def typed(parser: Any, words: Iterable[Any], namespace: Any, shortened: set[str]) -> set[str]:
    """The names in an argparse namespace that words of the command line gave a value.

    Those whose option was only begun (`--lea` for `--learning-rate`) are added to `shortened`: to another parser the
    same word may be another option, spelled in full.
    """
    listed = [str(word) for word in words]
    if parser.fromfile_prefix_chars is not None:
        listed = parser._read_args_from_files(listed)
    found: set[str] = set()
    options = {option: action for action in parser._actions for option in action.option_strings}
    for word in listed[: listed.index("--")] if "--" in listed else listed:
        if word[:1] and word[0] in parser.prefix_chars:
            meant = {action.dest for action in _meant(parser, options, word)}
            in_full = word[1:2] not in parser.prefix_chars or word in options or word.partition("=")[0] in options
            shortened.difference_update(meant) if in_full else shortened.update(meant)  # the last word counts
            found |= meant
    for action in parser._actions:
        if action.option_strings:
            continue
        choices = action.choices if hasattr(action, "add_parser") else None
        if choices is not None:
            chosen = next((i for i, word in enumerate(listed) if word in choices), None)
            if chosen is not None:
                found.add(action.dest)
                found |= typed(choices[listed[chosen]], listed[chosen + 1 :], namespace, shortened)
        elif action.nargs not in ("?", "*", "...") or getattr(namespace, action.dest, None) != action.default:
            found.add(action.dest)
    return found


def _meant(parser: Any, options: dict[str, Any], word: str) -> list[Any]:
    """The actions of one word: an option, the beginning of one, or several of one letter."""
    name = word.partition("=")[0]
    exact = options.get(word) or options.get(name)
    if exact is not None:
        return [exact]
    if word[1:2] in parser.prefix_chars:
        begun = [action for option, action in options.items() if option.startswith(name)]
        return begun[:1] if getattr(parser, "allow_abbrev", True) and len({id(a) for a in begun}) == 1 else []
    found = []
    for letter in word[1:]:
        action = options.get(word[0] + letter)
        if action is None:
            break
        found.append(action)
        if action.nargs != 0:
            break  # what follows is its value
    return found


def click_line(frame: FrameType | None) -> tuple[bool, bool]:
    """For a click command that is invoked: whether the script, and whether the command line, started it."""
    outermost: FrameType | None = None
    whole = True
    while frame is not None:
        if frame.f_code is note_click_words.__code__:
            outermost, whole = frame, frame.f_locals["whole"]
        frame = frame.f_back
    return outermost is None or is_the_scripts(caller(outermost, "click", "typer")), whole


@_studio_frames.hidden
def note_click_words(main: Any, command: Any, args: Any, kwargs: Any) -> Any:
    """Calls click's `main`. Whether its words are the command line is seen before: click takes them off the list."""
    line = kwargs.get("args", args[0] if args else None)
    listed = isinstance(line, (list, tuple))  # anything else can be read only once
    whole = line is None or (listed and [str(word) for word in line] == sys.argv[1:])  # noqa: F841  for click_line
    return main(command, *args, **kwargs)
