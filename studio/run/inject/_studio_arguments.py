"""What the script was told: values that argparse, click or absl parsed from its command line, and random seeds."""

from __future__ import annotations

import functools
import os
import sys
import threading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any

    from . import _studio_hooks, _studio_secrets, _studio_track
else:
    import _studio_hooks
    import _studio_secrets
    import _studio_track

_local = threading.local()
_parsed = False
_rests: list[list[str]] = []  # what parsers of the command line have left for others


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
    @functools.wraps(original)
    def call(*args: Any, **kwargs: Any) -> Any:
        inner = getattr(_local, name, False)
        setattr(_local, name, True)
        try:
            result = original(*args, **kwargs)
        finally:
            setattr(_local, name, inner)
        if not inner and _studio_hooks.working():
            _studio_hooks.guarded("arguments", observe, name, args, kwargs, result)
        return result

    call._studio = True  # type: ignore[attr-defined]
    return call


def _argparse(name: str, args: Any, kwargs: Any, result: Any) -> None:
    line = kwargs.get("args", args[1] if len(args) > 1 else None)
    if line is not None and not _is_of_the_command_line(list(line)):
        return  # a library parses something of its own
    namespace, rest = result if isinstance(result, tuple) else (result, [])
    _rests.append(list(rest))
    _keep(dict(vars(namespace)))


def _is_of_the_command_line(words: list[Any]) -> bool:
    """Whether it is all of it, what another parser left (also nothing), or some of its words in their order."""
    if words == sys.argv[1:] or words in _rests:
        return True
    own = iter(sys.argv[1:])
    return bool(words) and all(word in own for word in words)


def _absl(name: str, args: Any, kwargs: Any, result: Any) -> None:
    flags, line = args[0], kwargs.get("argv", args[1] if len(args) > 1 else ())
    if list(line) == sys.argv:
        _keep({flag.name: flag.value for flag in flags.get_key_flags_for_module(sys.argv[0])})


def _keep(values: dict[str, Any], hidden: frozenset[str] = frozenset()) -> None:
    """Records the values; those of `hidden` are secrets, whatever they are called."""
    global _parsed
    _parsed = True
    shown = {name: value for name, value in values.items() if not callable(value) and not name.startswith("_")}
    if shown:
        for name, value in shown.items():
            for text in _secrets(name, value, name in hidden):
                _seal(text)
        _studio_track.params({name: "***" if name in hidden else value for name, value in shown.items()})


def _secrets(name: str, value: Any, hidden: bool) -> list[str]:
    """What is secret in an option's value and stands on the command line, or is a variable's value."""
    found = []
    for inner in value if isinstance(value, (list, tuple)) else [value]:
        secret = hidden or _studio_secrets.shown(name, _studio_track.scalar(inner)) == _studio_secrets.MASK
        if not secret or inner is None or isinstance(inner, bool):
            continue
        text = str(inner)
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
    if _parsed or "ipykernel" in sys.modules:
        return  # the words of a kernel's command line are Jupyter's
    found: dict[str, Any] = {}
    words = list(getattr(sys, "argv", ()))[1:]
    for i, word in enumerate(words):
        name, equals, value = word.lstrip("-").partition("=")
        if not name.replace("-", "").replace("_", "").replace(".", "").isalnum() or name[0].isdigit():
            continue
        if equals:
            found[name] = _number(value)
        elif word.startswith("--"):
            follows = words[i + 1] if i + 1 < len(words) else "--"
            found[name] = True if follows.startswith("--") else _number(follows)
    _keep(found)


def _number(text: str) -> Any:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return text


def _click_invoke(original: Any) -> Any:
    @functools.wraps(original)
    def invoke(self: Any, context: Any) -> Any:
        if _studio_hooks.working():
            _studio_hooks.guarded("arguments", _click_params, self, context)
        return original(self, context)

    invoke._studio = True  # type: ignore[attr-defined]
    return invoke


def _click_params(command: Any, context: Any) -> None:
    hidden = frozenset(param.name for param in command.params if getattr(param, "hide_input", False))
    _keep(dict(context.params), hidden)


def _hook_click(module: ModuleType) -> None:
    """Every command and group tells its parameters when it is invoked."""
    for name in ("Command", "BaseCommand", "Group", "MultiCommand"):
        kind: Any = vars(module).get(name)
        original = getattr(kind, "__dict__", {}).get("invoke")
        if original is not None and not getattr(original, "_studio", False):
            kind.invoke = _click_invoke(original)


def _seed(library: str) -> Any:
    def observe(name: str, args: Any, kwargs: Any, result: Any) -> None:
        caller = sys._getframe(3)  # beyond guarded() and the wrapper
        if "-packages" in caller.f_code.co_filename and caller.f_globals.get("__name__", "").split(".")[0] != "keras":
            return  # a library seeds something of its own
        value: Any = args[0] if args else next(iter(kwargs.values()), None)
        if hasattr(value, "__index__"):
            _studio_track.params({f"seed.{library}": value.__index__()})

    return observe


_TARGETS: dict[str, tuple[str, tuple[str, ...], Any]] = {
    "argparse": ("ArgumentParser", ("parse_args", "parse_known_args"), _argparse),
    "absl.flags": ("FlagValues", ("__call__",), _absl),
    "random": ("", ("seed",), _seed("random")),
    "numpy.random": ("", ("seed", "default_rng"), _seed("numpy")),
    "torch.random": ("", ("manual_seed",), _seed("torch")),
}
