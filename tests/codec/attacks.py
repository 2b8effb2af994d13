"""Hostile pickles over every class of bypass that docs/explanation/safe-decoder.md lists.

`attacks(canary)` yields (id, data). Those whose id begins with `exec-` create the file `canary` when a stock unpickler
reads them under some conditions; all must be refused by ours, without effect, quickly and in little memory.
"""

from __future__ import annotations

import pickle
import struct
import zlib
from collections.abc import Iterator

from . import attacks_data
from .pickle_assembly import call, name, p, short, stack_name, text

Attack = tuple[str, bytes]

CREATORS = [
    ("os", "mkdir"), ("posix", "mkdir"), ("os", "makedirs"), ("os", "system"), ("posix", "system"),
    ("subprocess", "call"), ("subprocess", "Popen"), ("subprocess", "check_output"), ("subprocess", "getoutput"),
    ("builtins", "eval"), ("builtins", "exec"), ("__builtin__", "eval"), ("__builtin__", "exec"), ("os", "mkfifo"),
]  # fmt: skip


def _argument(module: str, attribute: str, canary: str) -> str:
    if attribute in ("eval", "exec"):
        return f"__import__('os').mkdir({canary!r})"
    if attribute in ("system", "getoutput"):
        return f"mkdir {canary}"
    return canary


def execution(canary: str) -> Iterator[Attack]:
    """Code that runs in a stock unpickler, by every opcode that can run it."""
    for group in (_called, _opcodes, _dotted, _elsewhere, _through_others, _in_states, _dressed, _registered):
        yield from group(canary)


def _called(canary: str) -> Iterator[Attack]:
    """Functions that make the folder, by the three ways in which pickle spells a call."""
    for module, attribute in CREATORS:
        argument = _argument(module, attribute, canary)
        args = (
            f"(S'mkdir'\nS'{canary}'\nl" if module == "subprocess" and attribute != "getoutput" else f"S{argument!r}\n"
        ).encode()
        yield f"exec-proto0-{module}.{attribute}", name(module, attribute) + b"(" + args + b"tR."
        yield f"exec-reduce-{module}.{attribute}", p(name(module, attribute) + b"(" + args + b"tR")
        yield f"exec-stack-global-{module}.{attribute}", p(stack_name(module, attribute) + b"(" + args + b"tR")


def _opcodes(canary: str) -> Iterator[Attack]:
    """Opcodes that call without REDUCE, and names and arguments that come from the memo."""
    path, mkdir = short(canary), name("os", "mkdir")
    yield "exec-inst", b"(S'" + canary.encode() + b"'\nios\nmkdir\n."
    yield "exec-obj", b"(cos\nmkdir\nS'" + canary.encode() + b"'\no."
    yield "exec-newobj", p(name("subprocess", "Popen") + b"(" + short("mkdir") + path + b"l\x85\x81")
    yield "exec-newobj-ex", p(name("subprocess", "Popen") + b"(" + short("mkdir") + path + b"l\x85}\x92")
    yield (
        "exec-memo-global",
        p(short("os") + b"\x94" + short("mkdir") + b"\x94" + b"00h\x00h\x01\x93" + path + b"\x85R"),
    )
    yield (
        "exec-memo-kept",
        p(short("os") + b"q\x05" + b"0" + short("mkdir") + b"q\x06" + b"0h\x05h\x06\x93" + path + b"\x85R"),
    )
    yield "exec-dup-argument", p(mkdir + path + b"\x85" + b"R" + b"0" + b"N2" + b"0")


def _dotted(canary: str) -> Iterator[Attack]:
    """Attributes of attributes, down from a name that is admitted."""
    path = short(canary)
    yield "exec-dotted", p(stack_name("numpy", "lib._utils_impl.os.mkdir") + path + b"\x85R")
    yield "exec-dotted-core", p(stack_name("numpy._core.multiarray", "overrides.os.mkdir") + path + b"\x85R")
    yield "exec-dotted-ndarray", p(stack_name("numpy", "ndarray.__class__.__base__") + b")R")


def _elsewhere(canary: str) -> Iterator[Attack]:
    """The call stands where its answer is never used, or where the stream breaks off."""
    path, mkdir = short(canary), name("os", "mkdir")
    yield "exec-before-bad-opcode", p(mkdir + path + b"\x85R" + b"\xff")
    yield "exec-before-truncation", b"\x80\x04" + mkdir + path + b"\x85R"
    yield "exec-before-second-pickle", p(mkdir + path + b"\x85R") + p(b"N")
    yield "exec-after-first-pickle", p(b"N") + p(mkdir + path + b"\x85R")
    yield "exec-in-dict", p(b"}" + short("x") + mkdir + path + b"\x85Rs")
    yield "exec-as-key", p(b"}" + mkdir + path + b"\x85RNs")
    yield "exec-popped", p(b"}" + short("x") + b"K\x01s" + mkdir + path + b"\x85R0")
    yield "exec-pop-mark", p(b"K\x01(" + mkdir + path + b"\x85R1")


def _through_others(canary: str) -> Iterator[Attack]:
    """Functions that call another one, or run text, for whoever names them."""
    path, mkdir = short(canary), name("os", "mkdir")
    yield "exec-map", p(call(name("builtins", "list"), call(name("builtins", "map"), mkdir, path + b"\x85")))
    yield (
        "exec-getattr",
        p(
            call(
                call(name("builtins", "getattr"), call(name("builtins", "__import__"), short("os")), short("mkdir")),
                path,
            )
        ),
    )
    yield "exec-reduce-on-result", p(call(name("functools", "partial"), mkdir, path) + b")R")
    yield (
        "exec-methodcaller",
        p(
            call(
                call(name("operator", "methodcaller"), short("mkdir"), path),
                call(name("importlib", "import_module"), short("os")),
            )
        ),
    )
    yield (
        "exec-nested-loads",
        p(
            call(
                name("pickle", "loads"),
                b"B" + struct.pack("<I", len(p(mkdir + path + b"\x85R"))) + p(mkdir + path + b"\x85R"),
            )
        ),
    )
    yield (
        "exec-nested-_loads",
        p(
            call(
                name("_pickle", "loads"),
                b"B" + struct.pack("<I", len(p(mkdir + path + b"\x85R"))) + p(mkdir + path + b"\x85R"),
            )
        ),
    )
    yield (
        "exec-runstring",
        p(call(name("numpy.testing._private.utils", "runstring"), short(f"import os; os.mkdir({canary!r})"), b"}")),
    )
    yield "exec-timeit", p(call(name("timeit", "main"), b"(" + short(f"import os; os.mkdir({canary!r})") + b"l"))
    yield "exec-code", p(call(name("code", "interact")))


def _in_states(canary: str) -> Iterator[Attack]:
    """The call hides in a state, a shape or an array's data."""
    path, mkdir = short(canary), name("os", "mkdir")
    yield "exec-build-dict", p(call(name("types", "SimpleNamespace")) + b"}" + short("a") + mkdir + path + b"\x85Rsb")
    yield (
        "exec-build-slots",
        p(call(name("types", "SimpleNamespace")) + b"N}" + short("a") + mkdir + path + b"\x85Rs\x86b"),
    )
    yield "exec-in-array-data", p(_array_head() + mkdir + path + b"\x85R" + b"tb")
    yield "exec-in-shape", p(b"(" + mkdir + path + b"\x85R" + b"t")


def _dressed(canary: str) -> Iterator[Attack]:
    """The call in other clothes: compressed, after spaces, by old and by long opcodes."""
    path, mkdir = short(canary), name("os", "mkdir")
    yield "exec-compressed", zlib.compress(p(mkdir + path + b"\x85R"))
    yield "exec-leading-space", b" \n" + p(mkdir + path + b"\x85R")
    yield "exec-proto1", b"(]q\x00" + mkdir + b"(S'" + canary.encode() + b"'\ntRa."
    yield "exec-long4-name", p(text("os") + text("mkdir") + b"\x93" + path + b"\x85R")
    yield "exec-bytes-name", p(b"C\x02osC\x05mkdir\x93" + path + b"\x85R")


def _registered(canary: str) -> Iterator[Attack]:
    """What goes by a registry: copyreg, extension codes, persistent ids, out-of-band buffers, a class's own reduce."""
    path = short(canary)
    yield (
        "exec-copyreg",
        p(call(name("copyreg", "_reconstructor"), name("subprocess", "Popen"), name("builtins", "object"), b"N")),
    )
    yield "exec-copy_reg", b"ccopy_reg\n_reconstructor\n(cos\nmkdir\nc__builtin__\nobject\nNtR."
    for code, form in ((0x82, "<B"), (0x83, "<H"), (0x84, "<i")):
        yield f"exec-ext-{code:x}", p(bytes((code,)) + struct.pack(form, 1) + path + b"\x85R")
    yield "exec-persid", b"Pos.mkdir\n."
    yield "exec-binpersid", p(short("os.mkdir") + b"Q")
    yield "exec-out-of-band", p(b"\x97\x98", 5)
    yield "exec-real-reduce", pickle.dumps(_Evil(canary))


class _Evil:
    def __init__(self, canary: str) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[object, ...]:
        import os

        return os.mkdir, (self.canary,)


def _array_head() -> bytes:
    from .pickle_assembly import EMPTY_ARRAY, dtype, shape

    return EMPTY_ARRAY + b"(K\x01" + shape(1) + dtype() + b"\x89"


def gadgets(canary: str) -> Iterator[Attack]:
    """Every known gadget's name, called and merely named; and near misses of the admitted names."""
    for at, gadget in enumerate(attacks_data.GADGETS):
        module, _, attribute = gadget.rpartition(":")
        stream = (name(module, attribute), stack_name(module, attribute))[at % 2]
        yield f"gadget-{gadget}", p(stream + short(canary) + b"\x85R")
    for module, attribute in attacks_data.NEAR_MISSES:
        yield f"near-miss-{module!r}.{attribute!r}", p(stack_name(module, attribute) + b")R")


def attacks(canary: str) -> Iterator[Attack]:
    """All of them."""
    from .attacks_state import allocation, arguments, framing, state
    from .attacks_work import work

    yield from execution(canary)
    yield from gadgets(canary)
    for group in (arguments, state, allocation, framing, work):
        yield from group()
