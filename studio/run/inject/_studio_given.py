"""Which parameters the user typed, and whose a parser is: the script's, or a library's that parses for itself."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import FrameType
    from typing import Any

_here = os.path.dirname(os.path.abspath(__file__))
_standard = os.path.dirname(os.__file__) + os.sep


def is_the_scripts(frame: FrameType | None, *packages: str) -> bool:
    """Whether the script made a call, seen from a frame within it.

    Args:
        frame: Where to begin; frames of studio and of `packages` are passed over.
        packages: What stands between: the parser's own class may come from a library.
    """
    while frame is not None:
        file, name = frame.f_code.co_filename, str(frame.f_globals.get("__name__", ""))
        if os.path.dirname(file) != _here and name.partition(".")[0] not in packages:
            return name == "__main__" or not ("-packages" in file or file.startswith((_standard, "<frozen")))
        frame = frame.f_back
    return False


def typed(parser: Any, words: Iterable[Any], namespace: Any) -> set[str]:
    """The names in an argparse namespace that words of the command line gave a value."""
    listed = [str(word) for word in words]
    if parser.fromfile_prefix_chars is not None:
        listed = parser._read_args_from_files(listed)
    found: set[str] = set()
    options = {option: action for action in parser._actions for option in action.option_strings}
    for word in listed[: listed.index("--")] if "--" in listed else listed:
        if word[:1] and word[0] in parser.prefix_chars:
            found.update(action.dest for action in _meant(parser, options, word))
    for action in parser._actions:
        if action.option_strings:
            continue
        choices = action.choices if hasattr(action, "add_parser") else None
        if choices is not None:
            chosen = next((i for i, word in enumerate(listed) if word in choices), None)
            if chosen is not None:
                found.add(action.dest)
                found |= typed(choices[listed[chosen]], listed[chosen + 1 :], namespace)
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
    while frame is not None:
        if str(frame.f_globals.get("__name__", "")).partition(".")[0] == "click" and frame.f_code.co_name == "main":
            outermost = frame
        frame = frame.f_back
    if outermost is None:
        return True, True
    line = outermost.f_locals.get("args")
    whole = line is None or [str(word) for word in line] == sys.argv[1:]
    return is_the_scripts(outermost, "click", "typer"), whole
