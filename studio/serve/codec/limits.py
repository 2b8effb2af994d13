"""What a body may cost: every cap of the readers, and the budget that one request spends.

Hides how a cap is shared: a request that holds many pickles pays for all of them from one purse.
"""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Caps of one request. Bytes are decompressed bytes wherever a format compresses.

    Args:
        max_bytes: Bytes of the body.
        max_output: Bytes of all values, counted at each reference to them; 0 means twice `max_bytes`.
        max_ops: Pickle opcodes.
        max_nodes: Values that a pickle expands to, at most 10,000 and 2 for each byte of it, and lists and
            objects of a JSON document.
        max_depth: Nesting of lists, tuples and dictionaries.
        max_numbers: Values of a JSON document.
        max_ndim: Dimensions of an array.
        max_int_bytes: Bytes of one integer outside arrays.
        max_keys: Named values of a request.
        max_members: Files of an npz, tensors of a safetensors file, parts of a form.
        max_pixels: Pixels of one image.
        nulls: Whether `null` among numbers is read as not-a-number, and not refused.
    """

    max_bytes: int = 64 << 20
    max_output: int = 0
    max_ops: int = 200_000
    max_nodes: int = 100_000
    max_depth: int = 32
    max_numbers: int = 4_000_000
    max_ndim: int = 32
    max_int_bytes: int = 32
    max_keys: int = 4096
    max_members: int = 256
    max_pixels: int = 50_000_000
    nulls: bool = False

    @property
    def output_bytes(self) -> int:
        """The cap on the values' bytes."""
        return self.max_output or 2 * self.max_bytes


DEFAULT = Limits()
_FREE_NODES = 10_000


class Budget:
    """What is left of `Limits` while one request is read; not thread-safe."""

    __slots__ = ("limits", "nodes", "ops", "output", "work")

    def __init__(self, limits: Limits = DEFAULT) -> None:
        self.limits = limits
        self.ops = limits.max_ops
        self.nodes = limits.max_nodes
        self.output = limits.output_bytes
        self.work = limits.output_bytes

    def fit(self, size: int) -> Budget:
        """This budget for a body of `size` bytes: a small one may not expand to as much as a large one."""
        self.nodes = min(self.nodes, _FREE_NODES + 2 * size)
        return self


class Malformed(ValueError):
    """Data that a reader refuses; each format turns it into its own error of `studio.errors`.

    Args:
        code: A stable machine-readable reason, such as `bad-shape`.
    """

    def __init__(self, code: str, detail: str = "") -> None:
        super().__init__(f"{code}: {detail}" if detail else code)
        self.code = code
        self.detail = detail


NULL_HINT = "send a number; a server with --nulls nan reads null as not-a-number, for models that take it as missing"


def check_keys(count: int, limits: Limits) -> None:
    """Refuses a dictionary of more named values than one request may have.

    Raises:
        Malformed: it has.
    """
    if count > limits.max_keys:
        raise Malformed("too-many-keys", f"more than {limits.max_keys} named values in one request")


_LONG_TEXT = 16 << 20
_BEYOND_LATIN1 = re.compile(rb"[\xc4-\xff]")


def check_long_text(data: bytes | bytearray | memoryview) -> None:
    """Refuses long UTF-8 text with characters beyond latin-1: one of them makes Python take 4 bytes for each.

    Raises:
        Malformed: the text has over 16 MiB and such a character.
    """
    if len(data) > _LONG_TEXT and _BEYOND_LATIN1.search(data):
        raise Malformed("too-large", f"{len(data)} bytes of text beyond latin-1")
