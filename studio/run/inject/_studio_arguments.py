"""What the script was told: values that argparse, click or absl parsed from its command line, and random seeds."""

from __future__ import annotations

import os
import sys
import threading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from types import ModuleType
    from typing import Any

    from . import _studio_frames, _studio_given, _studio_hooks, _studio_secrets, _studio_track
else:
    import _studio_frames
    import _studio_given
    import _studio_hooks
    import _studio_secrets
    import _studio_track

_local = threading.local()

TYPED, BEGUN, TOLD, ASIDE = 4, 3, 2, 1
"""How much a value counts: one that the user typed, one whose option was only begun, one of the script's own parser,
one of a library's parser."""


class Known:
    """What is known of one run's parameters."""

    def __init__(self) -> None:
        self.ranks: dict[str, int] = {}
        self.parsed = False  # whether something parsed the command line
        self.rests: list[list[Any]] = []  # what parsers of the command line have left for others
        self.aside: dict[str, Any] = {}  # what the script's parsers made of other words, as in a notebook
        self.namespaces: list[tuple[Any, dict[str, Any]]] = []
        self.words: dict[str, list[str]] = {}  # parameter -> the words of its option


def _known() -> Known:
    found: Known = _studio_track.memory("arguments", Known)
    return found


def hook(module: ModuleType) -> None:
    """Wraps the function of this module that parses, or that seeds."""
    if module.__name__ == "click.core":
        _hook_click(module)
        return
    owner, names, observe = _TARGETS[module.__name__]
    target = getattr(module, owner) if owner else module
    for name in names:
        original = getattr(target, name, None)
        if original is None or getattr(original, "_studio", False):
            continue
        observed = _observed(original, name, observe)
        if owner:
            setattr(target, name, observed)
        else:
            _studio_hooks.replace(module, name, observed)


def _observed(original: Any, name: str, observe: Any) -> Any:
    def call(original: Any, *args: Any, **kwargs: Any) -> Any:
        topic = observe.__qualname__
        inner = getattr(_local, topic, False)  # parse_args calls parse_known_args, and that of its sub-parsers
        try:
            setattr(_local, topic, True)
            result = original(*args, **kwargs)
        finally:
            setattr(_local, topic, inner)
        if not inner and _studio_hooks.working():
            _studio_hooks.guarded("arguments", observe, name, args, kwargs, result)
        return result

    return _studio_frames.around(original, call)


def _argparse(name: str, args: Any, kwargs: Any, result: Any) -> None:
    parser, line = args[0], kwargs.get("args", args[1] if len(args) > 1 else None)
    namespace, rest = result if isinstance(result, tuple) else (result, [])
    caller = _studio_given.caller(sys._getframe(1), "argparse", type(parser).__module__.partition(".")[0])
    own = _studio_given.is_the_scripts(caller)
    words = sys.argv[1:] if line is None else list(line)
    values = dict(vars(namespace))
    _known().words.update(_options(parser))
    if line is not None and not _is_of_the_command_line(line, words):
        if own:
            _known().aside.update(values)
        return  # else a library parses something for itself
    shortened: set[str] = set()
    given = _studio_given.typed(parser, words, namespace, shortened)
    if not own and _studio_given.starts_scripts(caller):
        return  # its own options; the script's stand in the words that it leaves
    if not own and "known" in name:  # it takes what is its, and leaves the rest to the script
        values = {dest: value for dest, value in values.items() if dest in given}
        _keep(values, rank=ASIDE)
        return
    _known().rests.append(rest)
    _known().namespaces.append((namespace, values))
    _keep(values, given=given, begun=shortened)


def _options(parser: Any) -> Iterator[tuple[str, list[str]]]:
    """Each parameter of a parser and of its sub-parsers, with the words of its option."""
    waiting, seen = [parser], set()
    while waiting:
        one = waiting.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        for action in getattr(one, "_actions", ()):
            yield action.dest, list(action.option_strings)
            if isinstance(action.choices, dict):
                waiting += action.choices.values()


def _is_secret(name: str, value: Any, hidden: frozenset[str]) -> bool:
    """Whether another word of the option says that this is a secret: `--api-key` with `dest="cred"`."""
    shown, value = _studio_secrets.shown, _studio_track.load("_studio_params").scalar(value)
    words = [word.lstrip("-") for word in _known().words.get(name, ()) if word[:2] == "--"]
    return name in hidden or any(shown(word, value) == _studio_secrets.MASK for word in words)


def _is_of_the_command_line(line: Any, words: list[Any]) -> bool:
    """Whether it is all of it, what another parser left (also nothing), or some of its words in their order."""
    rests = _known().rests
    if any(line is rest for rest in rests) or (words and (words == sys.argv[1:] or words in rests)):
        return True
    own = iter(sys.argv[1:])
    return bool(words) and all(word in own for word in words)


def reread() -> None:
    """What the script has changed of the parsed values since, by a configuration file for instance, but for what was
    typed; and what it parsed aside, if nothing parsed the command line.
    """
    known = _known()
    for namespace, before in known.namespaces:
        now = {name: value for name, value in vars(namespace).items() if name in before}
        changed = {name: value for name, value in now.items() if not _is_same(value, before[name])}
        if changed:
            before.update(changed)
            _keep(changed)
    if known.aside and not known.parsed:
        aside, known.aside = known.aside, {}
        _keep(aside, rank=ASIDE, parsed=False)


def _is_same(value: Any, before: Any) -> bool:
    return value is before or (type(value) is type(before) and _spelled(value) == _spelled(before))


def _spelled(value: Any) -> str:
    return str(_studio_track.load("_studio_text").spelled(value, 1 << 16))


def _absl(name: str, args: Any, kwargs: Any, result: Any) -> None:
    flags, line = args[0], kwargs.get("argv", args[1] if len(args) > 1 else ())
    if list(line) == sys.argv:
        own = {flag.name: flag for flag in flags.get_key_flags_for_module(sys.argv[0])}
        given = {name for name, flag in own.items() if flag.present}
        _keep({name: flag.value for name, flag in own.items()}, given=given)


def _keep(
    values: dict[str, Any],
    hidden: frozenset[str] = frozenset(),
    *,
    given: Iterable[str] = (),
    begun: Iterable[str] = (),
    rank: int = TOLD,
    parsed: bool = True,
) -> None:
    """Records the values that count as much as those that are known; those of `hidden` are secrets, whatever they
    are called.
    """
    known = _known()
    known.parsed = known.parsed or (parsed and rank > ASIDE)
    ranks = {name: BEGUN if name in begun else TYPED if name in given else rank for name in values}
    shown = {
        name: value
        for name, value in values.items()
        if not callable(value) and not name.startswith("_") and ranks[name] >= known.ranks.get(name, 0)
    }
    if shown:
        known.ranks.update((name, ranks[name]) for name in shown)
        secret = {name for name, value in shown.items() if _is_secret(name, value, hidden)}
        for name, value in shown.items():
            for text in _secrets(name, value, name in secret):
                _seal(text)
        _studio_track.given_params(shown, given, secret)


def _secrets(name: str, value: Any, hidden: bool) -> list[str]:
    """What is secret in an option's value and stands on the command line, or is a variable's value."""
    found = []
    for inner in value if isinstance(value, (list, tuple)) else [value]:
        secret = (
            hidden
            or _studio_secrets.shown(name, _studio_track.load("_studio_params").scalar(inner)) == _studio_secrets.MASK
        )
        if not secret or inner is None or isinstance(inner, bool):
            continue
        text = _studio_track._text(inner)
        given = any(text in word for word in sys.argv[1:]) or text in os.environ.values()
        if given and text.lower() not in _studio_secrets.NOTHING and (hidden or not os.path.exists(text)):
            found.append(text)
    return found


def _seal(text: str) -> None:
    """Tells who supervises the run which value is secret: by its digest, since what is told stands on the disk."""
    from hashlib import sha256

    salt = os.urandom(16).hex()
    digest = sha256(salt.encode() + text.encode("utf-8", "surrogateescape")).hexdigest()
    _studio_secrets.learn_also(text)
    _studio_track.event("sealed", salt=salt, digest=digest, chars=len(text))


def unparsed() -> None:
    """At the end, if nothing parsed the command line: `--name value`, `--name=value`, `name=value` are parameters."""
    reread()
    if _known().parsed or "ipykernel" in sys.modules:
        return  # the words of a kernel's command line are Jupyter's
    found: dict[str, Any] = {}
    words = list(getattr(sys, "argv", ()))[1:]
    for i, word in enumerate(words):
        name, equals, value = word.lstrip("-+").partition("=")
        if not name.replace("-", "").replace("_", "").replace(".", "").isalnum() or name[0].isdigit():
            continue
        if equals:
            found[name] = _number(value)
        elif word.startswith("--"):
            follows = words[i + 1] if i + 1 < len(words) else "--"
            found[name] = True if follows.startswith("--") else _number(follows)
    _keep(found, given=found)


def _number(text: str) -> Any:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return text


def _click_invoke(original: Any) -> Any:
    def invoke(original: Any, self: Any, context: Any) -> Any:
        if _studio_hooks.working():
            _studio_hooks.guarded("arguments", _click_params, self, context)
        return original(self, context)

    return _studio_frames.around(original, invoke)


def _click_main(original: Any) -> Any:
    def main(original: Any, self: Any, *args: Any, **kwargs: Any) -> Any:
        return _studio_given.note_click_words(original, self, args, kwargs)

    return _studio_frames.around(original, main)


def _click_params(command: Any, context: Any) -> None:
    own, whole = _studio_given.click_line(sys._getframe(1))
    if not own and not whole:
        return  # a library's command, for itself
    hidden = frozenset(param.name for param in command.params if getattr(param, "hide_input", False))
    _known().words.update((param.name, list(param.opts)) for param in command.params)
    source = getattr(context, "get_parameter_source", lambda name: None)
    given = {name for name in context.params if getattr(source(name), "name", "") == "COMMANDLINE"} if whole else ()
    _keep(dict(context.params), hidden, given=given, rank=TOLD if whole else ASIDE)


def _hook_click(module: ModuleType) -> None:
    """Every command and group tells its parameters when it is invoked."""
    for name in ("Command", "BaseCommand", "Group", "MultiCommand"):
        kind: Any = vars(module).get(name)
        for method, observed in (("invoke", _click_invoke), ("main", _click_main)):
            original = getattr(kind, "__dict__", {}).get(method)
            if original is not None and not getattr(original, "_studio", False):
                setattr(kind, method, observed(original))


def _seed(library: str) -> Any:
    def observe(name: str, args: Any, kwargs: Any, result: Any) -> None:
        caller: Any = _studio_frames.outside(sys._getframe(1))
        if "-packages" in caller.f_code.co_filename and caller.f_globals.get("__name__", "").split(".")[0] != "keras":
            return  # a library seeds something of its own
        value: Any = args[0] if args else next(iter(kwargs.values()), None)
        if hasattr(value, "__index__"):
            _studio_track.params({f"seed.{library}": value.__index__()})

    return observe


_PARSES = ("parse_args", "parse_known_args", "parse_intermixed_args", "parse_known_intermixed_args")
_TARGETS: dict[str, tuple[str, tuple[str, ...], Any]] = {
    "argparse": ("ArgumentParser", _PARSES, _argparse),
    "absl.flags": ("FlagValues", ("__call__",), _absl),
    "random": ("", ("seed",), _seed("random")),
    "numpy.random": ("", ("seed", "default_rng"), _seed("numpy")),
    "torch.random": ("", ("manual_seed",), _seed("torch")),
}
