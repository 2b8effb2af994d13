"""A notebook's cell as a script: hides which imports, definitions and values of the notebook it needs, in which order.

Modules are imported, functions and classes of the notebook copied as text, values pickled into a private folder.
"""

from __future__ import annotations

import ast
import pickle
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any, TypeGuard

from .inject import _studio_cell

HEAD = "# A cell of a notebook, run by %%studio_run.\n"
TAKE = """\
try:
    import _studio_cell
except ImportError:
    from studio.run.inject import _studio_cell
"""
Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Assign


@dataclass(frozen=True, slots=True)
class CellScript:
    """The text of the script, and what of the notebook it goes without: name → why."""

    text: str
    left_out: Mapping[str, str]


def compose(
    cell: str,
    namespace: Mapping[str, object],
    history: Sequence[str],
    folder: Path,
    protocol: int = _studio_cell.PROTOCOL,
) -> CellScript:
    """Makes the script for a cell, and its values in `folder`.

    Args:
        cell: The cell's text.
        namespace: The notebook's globals.
        history: The cells that were run, the newest last: definitions are taken from there.
        folder: An empty folder that is private to the user.
        protocol: Of the pickles, which the script's Python has to know.

    Raises:
        SyntaxError: the cell is not plain Python.
    """
    tree = _parsed(cell)
    carried = _Carried(namespace, history, folder, protocol)
    carried.take_all(tree)
    index = {"values": carried.files, "digests": carried.digests, "definitions": list(carried.definitions)}
    _studio_cell.write_index(str(folder), index)
    futures, rest = _split_futures(cell, tree)
    text = HEAD + "".join(f"{line}\n" for line in [*futures, *carried.imports()])
    early = [name for name in carried.files if name not in carried.late]
    late = [name for name in carried.files if name in carried.late]
    text += f"{TAKE}_studio_cell.begin(globals(), {early!r})\n"
    text += "".join(f"\n\n{source}\n" for source in carried.definitions.values())
    text += f"_studio_cell.complete(globals(), {late!r})\n\n# The cell itself.\n{rest}"
    return CellScript(text if text.endswith("\n") else text + "\n", carried.left_out)


@dataclass
class _Carried:
    namespace: Mapping[str, object]
    history: Sequence[str]
    folder: Path
    protocol: int
    modules: dict[str, str] = field(default_factory=dict)
    definitions: dict[str, str] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    digests: dict[str, str] = field(default_factory=dict)
    late: set[str] = field(default_factory=set)
    left_out: dict[str, str] = field(default_factory=dict)
    _seen: set[str] = field(default_factory=set)
    _dotted: set[str] = field(default_factory=set)

    def take_all(self, tree: ast.AST) -> None:
        """Carries everything that the tree names."""
        self._dotted.update(_dotted_names(tree))
        for name in _names(tree):
            self.take(name)

    def take(self, name: str) -> None:
        """Carries what the notebook knows under this name, and before it whatever that needs."""
        if name in self._seen or name not in self.namespace:
            return
        self._seen.add(name)
        value = self.namespace[name]
        if isinstance(value, ModuleType):
            if value.__spec__ is None:
                self.left_out[name] = "it is a module that cannot be imported"
            else:
                self.modules[name] = value.__name__
        elif _is_of_notebook(value):
            self._define(name)
        else:
            self._save(name, value)

    def _define(self, name: str) -> None:
        found = _definition(name, self.history)
        if found is None:
            self.left_out[name] = "no cell defines it at its top level"
            return
        source, node = found
        self.take_all(node)
        self.definitions[name] = source

    def imports(self) -> Iterator[str]:
        """The lines that import the modules, and those below them that are used by way of them."""
        for name, module in self.modules.items():
            for dotted in sorted(self._dotted):
                root, *parts = dotted.split(".")
                below = [".".join([module, *parts[:n]]) for n in range(1, len(parts) + 1)]
                known = [found for found in below if root == name and found in sys.modules]
                yield from (f"import {found}" for found in known[-1:])
            yield f"import {module}" + (f" as {name}" if name != module else "")

    def _save(self, name: str, value: object) -> None:
        file = f"{len(self._seen)}.pickle"
        needs: set[str] = set()

        class Pickler(pickle.Pickler):
            def reducer_override(self, obj: object) -> Any:
                if isinstance(obj, type | FunctionType) and obj.__module__ == "__main__":
                    needs.add(obj.__qualname__.partition(".")[0])
                return NotImplemented

        try:
            digest = _studio_cell.save(value, str(self.folder / file), Pickler, self.protocol)
        except Exception as exc:  # noqa: BLE001  (what pickling an object calls may raise anything)
            self.left_out[name] = f"{type(exc).__name__}: {exc}"
            return
        for needed in needs:
            self.take(needed)
        lacking = sorted(needs - set(self.definitions))
        if lacking:
            self.left_out[name] = "no cell defines " + ", ".join(lacking)
            return
        self.files[name], self.digests[name] = file, digest
        if needs:
            self.late.add(name)


def _is_of_notebook(value: object) -> bool:
    """Whether it is a function or class that a cell defines (also one that a decorator has wrapped)."""
    return getattr(value, "__module__", None) == "__main__" and hasattr(value, "__qualname__")


def _definition(name: str, history: Sequence[str]) -> tuple[str, Definition] | None:
    """The newest top-level definition of a function or class, or assignment of a lambda, as text and as a tree."""
    for cell in reversed(history):
        if name not in cell:
            continue
        try:
            body = ast.parse(cell).body
        except SyntaxError:
            continue
        for node in reversed(body):
            if _defines(node, name):
                first = min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", ()))])
                return "\n".join(cell.split("\n")[first - 1 : node.end_lineno]), node
    return None


def _defines(node: ast.stmt, name: str) -> TypeGuard[Definition]:
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            return node.name == name
        case ast.Assign(targets=[ast.Name(id=target)], value=ast.Lambda() | ast.Call()):
            return target == name
    return False


def _names(tree: ast.AST) -> Iterator[str]:
    """The names that are read anywhere in the tree, or changed in place."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name):
            yield node.target.id


def _dotted_names(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        parts = []
        while isinstance(node, ast.Attribute):
            parts.append(node.attr)
            node = node.value
        if parts and isinstance(node, ast.Name):
            yield ".".join([node.id, *reversed(parts)])


def _parsed(cell: str) -> ast.Module:
    try:
        return ast.parse(cell, "<cell>")
    except SyntaxError as exc:
        if re.match(r"(?:[\w.,\s]+=)?\s*[!%]", exc.text or ""):
            exc.msg = "a cell that runs as a script has no !command and no %magic; give them a cell of their own"
        raise


def _split_futures(cell: str, tree: ast.Module) -> tuple[list[str], str]:
    """The `from __future__` imports, which must stand first, and the cell without them."""
    lines = cell.split("\n")
    futures = []
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and node.module == "__future__":
            futures.append(ast.unparse(node))
            end = node.end_lineno or node.lineno
            before = lines[node.lineno - 1].encode()[: node.col_offset].decode()
            after = lines[end - 1].encode()[node.end_col_offset :].decode()
            lines[node.lineno - 1 : end] = [f"{before}pass{after}", *[""] * (end - node.lineno)]
    return futures, "\n".join(lines)
