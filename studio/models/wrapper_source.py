"""Reads a wrapper's source without running it: whether it can have the function, and which files are its own."""

from __future__ import annotations

import ast
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from ..errors import ModelLoadError, nearest
from .folder import opened

MOST_FILES = 2_000
MOST_BYTES = 16 * 1024 * 1024
_DYNAMIC = frozenset({"exec", "eval", "globals", "locals", "vars", "setattr", "__getattr__", "__dict__", "modules"})
"""Names by which a module may get an attribute that no statement of it shows."""

_Scope = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda


def check_source(path: Path, attribute: str) -> None:
    """Refuses a file that does not define the wrapper's function, such as a training script, before it runs.

    A file that may get the attribute in a way that its statements do not show passes.

    Raises:
        ModelLoadError: it has no such function, or one that takes nothing.
    """
    tree = _parsed(path)
    if tree is None:
        return
    run = f"to run the file: studio run {path.name}"
    bound = _bound(tree)
    if attribute not in bound and not _is_dynamic(tree, attribute):
        near = nearest(attribute, [name for name in bound if not name.startswith("_")])
        told = near or "a wrapper defines create_model(modeldir) that returns a function from dict to dict"
        raise ModelLoadError(f"{path.name} has no {attribute}()", hint=f"{told}; {run}")
    made = [node for node in tree.body if getattr(node, "name", None) == attribute]
    if bound.count(attribute) == 1 and made and _takes_nothing(made[0]):
        raise ModelLoadError(
            f"{attribute}() of {path.name} takes no argument, so it is no wrapper's",
            hint=f"a wrapper defines {attribute}(modeldir) that returns a function from dict to dict; {run}",
        )


def own_files(wrapper: Path) -> tuple[Path, ...]:
    """The wrapper and the modules beside it that it imports, directly or through one another; none of its data."""
    root = wrapper.parent
    found: dict[Path, None] = {wrapper: None}
    waiting = deque([wrapper])
    while waiting and len(found) < MOST_FILES:
        file = waiting.popleft()
        for names in _imported(file, root):
            for path in _modules(root, names):
                if path not in found:
                    found[path] = None
                    waiting.append(path)
    return tuple(found)


def _parsed(path: Path) -> ast.Module | None:
    """The tree, or None for what Python itself has to judge."""
    try:
        with opened(path) as descriptor, open(descriptor, "rb", closefd=False) as file:
            source = file.read(MOST_BYTES + 1)
        return ast.parse(source) if len(source) <= MOST_BYTES else None
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _bound(tree: ast.Module) -> list[str]:
    """Every name that a statement of the module itself may bind; those of functions and classes are their own."""
    names: list[str] = []
    waiting: list[ast.AST] = list(tree.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.append(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names += [(alias.asname or alias.name).partition(".")[0] for alias in node.names]
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.append(node.id)
        elif isinstance(node, ast.MatchAs | ast.MatchStar) and node.name:
            names.append(node.name)
        if not isinstance(node, _Scope):
            waiting.extend(ast.iter_child_nodes(node))
    return names


def _is_dynamic(tree: ast.Module, attribute: str) -> bool:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and any(alias.name == "*" for alias in node.names):
            return True
        if isinstance(node, ast.Global) and attribute in node.names:
            return True
        name = getattr(node, "id", None) or getattr(node, "attr", None) or getattr(node, "name", None)
        if name in _DYNAMIC:
            return True
    return False


def _takes_nothing(node: ast.AST) -> bool:
    if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or node.decorator_list:
        return False
    return not (node.args.posonlyargs or node.args.args or node.args.vararg)


def _imported(file: Path, root: Path) -> Iterator[list[str]]:
    """The dotted names, in parts, that a file imports; relative ones from `root`."""
    tree = _parsed(file)
    package = list(file.parent.relative_to(root).parts)
    for node in ast.walk(tree) if tree is not None else ():
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".") for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level <= len(package) + 1:
            base = package[: len(package) + 1 - node.level] if node.level else []
            base += node.module.split(".") if node.module else []
            yield base
            yield from ([*base, alias.name] for alias in node.names)
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = getattr(node.func, "attr", None) or getattr(node.func, "id", None)
            if called in ("import_module", "__import__") and isinstance(node.args[0].value, str):
                yield node.args[0].value.split(".")


def _modules(root: Path, names: list[str]) -> Iterator[Path]:
    """The files below `root` that importing a dotted name runs."""
    if not all(name.isidentifier() for name in names):
        return
    folder = root
    for name in names:
        for path in (folder / f"{name}.py", folder / name / "__init__.py"):
            if path.is_file():
                yield path
        folder /= name
