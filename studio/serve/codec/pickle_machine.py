"""The state of the pickle interpreter: position, stack, memo, and the budget that every step is charged to.

Hides bounds: no byte is read that is not there, no value popped below a mark, nothing remembered out of range.
"""

from __future__ import annotations

from .limits import Budget, Malformed

MARK = object()


class Machine:
    """The state of one reading: position, stack and memo."""

    __slots__ = (
        "budget",
        "data",
        "frame_end",
        "marks",
        "memo",
        "payloads",
        "pos",
        "proto",
        "reused",
        "size",
        "stack",
        "view",
    )

    def __init__(self, data: bytes | bytearray, budget: Budget) -> None:
        self.data = data
        self.view = memoryview(data)
        self.size = len(data)
        self.pos = 0
        self.frame_end = 0  # of the open frame; 0: none is open
        self.proto = 0
        self.marks = 0
        self.stack: list[object] = []
        self.memo: dict[int, object] = {}
        self.payloads: dict[int, tuple[int, int]] = {}  # where bytes on the stack came from, by their id
        self.reused = False  # whether any of them was pushed twice
        self.budget = budget

    def skip(self, count: int) -> int:
        """Steps over `count` bytes that must be there; where they begin."""
        start = self.pos
        if count > self.size - start:
            raise Malformed("truncated", str(count)[:24])
        self.pos = start + count
        return start

    def take(self, count: int) -> memoryview:
        """The next `count` bytes, not copied."""
        start = self.skip(count)
        return self.view[start : start + count]

    def line(self, cap: int | None = None) -> bytes:
        """The bytes up to the next newline."""
        start = self.pos
        end = self.data.find(b"\n", start, self.size if cap is None else start + cap + 1)
        if end < 0:
            raise Malformed("bad-line", "not ended, or too long")
        self.pos = end + 1
        return bytes(self.view[start:end])

    def pop(self) -> object:
        """The topmost value."""
        if not self.stack or self.stack[-1] is MARK:
            raise Malformed("stack-underflow")
        return self.stack.pop()

    def pop_mark(self) -> list[object]:
        """All values above the topmost mark."""
        stack = self.stack
        at = len(stack) - 1
        while at >= 0 and stack[at] is not MARK:
            at -= 1
        if at < 0:
            raise Malformed("no-mark")
        items = stack[at + 1 :]
        del stack[at:]
        self.marks -= 1
        return items

    def put(self, index: int) -> None:
        """Remembers the topmost value."""
        if not self.stack or self.stack[-1] is MARK:
            raise Malformed("stack-underflow")
        if index > self.budget.limits.max_ops:
            raise Malformed("bad-memo", "index")
        self.memo[index] = self.stack[-1]

    def get(self, index: int) -> None:
        """Pushes what was remembered."""
        if index not in self.memo:
            raise Malformed("bad-memo", str(index)[:24])
        value = self.memo[index]
        if id(value) in self.payloads:
            self.reused = True
        self.stack.append(value)
