"""The admitted pickle opcodes: bytes in, inert parts out.

Hides protocols 0 to 5. Each opcode is one small function over a `Machine`; an opcode that is not in the table is
refused. They build lists, pairs and tokens only: nothing is imported, called or given a state.
Reference: CPython `Lib/pickletools.py`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

from .limits import Malformed, check_long_text
from .pickle_globals import FrozenMembers, Made, Members, OldString, OrderedPairs, Pairs, call, find
from .pickle_machine import MARK, Machine
from .pickle_text import floating, index, integer, long_line, string, unicode_line

_LINE = 200
_U16, _I32, _U32, _U64, _F64 = (struct.Struct(form).unpack_from for form in ("<H", "<i", "<I", "<Q", ">d"))


def interpret(m: Machine) -> object:
    """The one part that the stream leaves at STOP.

    Raises:
        Malformed: anything that is not a whole, admitted pickle.
    """
    data, size, table, allowed = m.data, m.size, _TABLE, m.budget.ops
    if size < 2 or data[size - 1] != 0x2E:
        raise Malformed("no-stop")
    for count in range(1, allowed + 1):
        pos = m.pos
        if pos >= size:
            raise Malformed("no-stop")
        code = data[pos]
        m.pos = pos + 1
        if m.frame_end and pos >= m.frame_end:
            if pos > m.frame_end:
                raise Malformed("bad-frame", "an opcode crosses its end")
            m.frame_end = 0
        if code == 0x2E:
            m.budget.ops -= count
            return _stop(m)
        if code == 0x80 and pos:
            raise Malformed("late-proto")
        table[code](m)
    raise Malformed("too-many-ops", f"more than {m.budget.limits.max_ops}")


def _stop(m: Machine) -> object:
    value = m.pop()
    if m.stack:
        raise Malformed("leftover-stack")
    if m.pos != m.size or m.pos < m.frame_end:
        raise Malformed("trailing-data", f"{m.size - m.pos} bytes")
    return value


def _refused(m: Machine) -> None:
    raise Malformed("opcode-refused", hex(m.data[m.pos - 1]))


def _proto(m: Machine) -> None:
    m.proto = m.data[m.skip(1)]
    if not 2 <= m.proto <= 5:
        raise Malformed("bad-proto", str(m.proto))


def _frame(m: Machine) -> None:
    length = _U64(m.data, m.skip(8))[0]
    if length > m.size - m.pos or m.frame_end:
        raise Malformed("bad-frame")
    m.frame_end = m.pos + length


def _mark(m: Machine) -> None:
    m.marks += 1
    if m.marks > m.budget.limits.max_depth:
        raise Malformed("too-deep", f"more than {m.budget.limits.max_depth}")
    m.stack.append(MARK)


def _binary_long(m: Machine, count: int) -> None:
    if count > m.budget.limits.max_int_bytes:
        raise Malformed("huge-int", f"{count} bytes")
    m.stack.append(int.from_bytes(m.take(count), "little", signed=True))


def _old_string(m: Machine, count: int) -> None:
    m.stack.append(OldString(m.take(count)))


def _text(m: Machine, count: int) -> None:
    view = m.take(count)
    check_long_text(view)
    try:
        m.stack.append(str(view, "utf-8", "surrogatepass"))
    except UnicodeDecodeError:
        raise Malformed("bad-unicode") from None


def _binary(m: Machine, count: int) -> None:
    start = m.skip(count)
    view = m.view[start : start + count]
    value = bytes(view) if count < 256 else view
    if count > 1:  # the empty and one-byte values are shared by the whole interpreter
        m.payloads[id(value)] = (start, start + count)
    m.stack.append(value)


def _global(m: Machine) -> None:
    try:
        module, name = str(m.line(_LINE), "ascii"), str(m.line(_LINE), "ascii")
    except UnicodeDecodeError:
        raise Malformed("global-refused", "not ASCII") from None
    m.stack.append(find(module, name, m.proto))


def _stack_global(m: Machine) -> None:
    name = m.pop()
    m.stack.append(find(m.pop(), name, m.proto))


def _reduce(m: Machine) -> None:
    args = m.pop()
    m.stack.append(call(m.pop(), args, m.budget))


def _build(m: Machine) -> None:
    state = m.pop()
    target = m.stack[-1] if m.stack else None
    if type(target) is OrderedPairs and type(state) is Pairs:
        return  # attributes of an OrderedDict, which is a dictionary here
    if type(target) is not Made or target.kind not in ("array", "dtype") or target.state is not None or state is None:
        raise Malformed("bad-build")
    target.state = state


def _top(m: Machine, kind: type) -> list[object]:
    top = m.stack[-1] if m.stack else None
    if type(top) is not kind and not (kind is Pairs and type(top) is OrderedPairs):
        raise Malformed("bad-target", kind.__name__)
    return top  # type: ignore[return-value]


def _append(m: Machine) -> None:
    value = m.pop()
    _top(m, list).append(value)


def _appends(m: Machine) -> None:
    items = m.pop_mark()
    _top(m, list).extend(items)


def _pairs(items: list[object]) -> Pairs:
    if len(items) % 2:
        raise Malformed("odd-items")
    return Pairs(zip(items[::2], items[1::2], strict=True))


def _set_item(m: Machine) -> None:
    value = m.pop()
    key = m.pop()
    _top(m, Pairs).append((key, value))


def _set_items(m: Machine) -> None:
    items = _pairs(m.pop_mark())
    _top(m, Pairs).extend(items)


def _add_items(m: Machine) -> None:
    items = m.pop_mark()
    _top(m, Members).extend(items)


def _tuple(count: int) -> Callable[[Machine], None]:
    def step(m: Machine) -> None:
        items = [m.pop() for _ in range(count)]
        m.stack.append(tuple(items[::-1]))

    return step


def _u8(m: Machine) -> int:
    return m.data[m.skip(1)]


def _u32(m: Machine) -> int:
    return int(_U32(m.data, m.skip(4))[0])


def _u64(m: Machine) -> int:
    return int(_U64(m.data, m.skip(8))[0])


def _sized(action: Callable[[Machine, int], None], size: Callable[[Machine], int]) -> Callable[[Machine], None]:
    return lambda m: action(m, size(m))


def _pushed(make: Callable[[Machine], object]) -> Callable[[Machine], None]:
    return lambda m: m.stack.append(make(m))


_OPCODES: dict[int, Callable[[Machine], None]] = {
    0x80: _proto,
    0x95: _frame,
    0x28: _mark,
    0x4E: _pushed(lambda m: None),
    0x88: _pushed(lambda m: True),
    0x89: _pushed(lambda m: False),
    0x4B: _pushed(_u8),
    0x4D: _pushed(lambda m: _U16(m.data, m.skip(2))[0]),
    0x4A: _pushed(lambda m: _I32(m.data, m.skip(4))[0]),
    0x47: _pushed(lambda m: _F64(m.data, m.skip(8))[0]),
    0x49: integer,
    0x4C: long_line,
    0x8A: _sized(_binary_long, _u8),
    0x8B: _sized(_binary_long, _u32),
    0x46: floating,
    0x53: string,
    0x55: _sized(_old_string, _u8),
    0x54: _sized(_old_string, _u32),
    0x56: unicode_line,
    0x8C: _sized(_text, _u8),
    0x58: _sized(_text, _u32),
    0x8D: _sized(_text, _u64),
    0x43: _sized(_binary, _u8),
    0x42: _sized(_binary, _u32),
    0x8E: _sized(_binary, _u64),
    0x96: _sized(_binary, _u64),
    0x5D: _pushed(lambda m: []),
    0x6C: _pushed(lambda m: m.pop_mark()),
    0x61: _append,
    0x65: _appends,
    0x29: _pushed(lambda m: ()),
    0x74: _pushed(lambda m: tuple(m.pop_mark())),
    0x85: _tuple(1),
    0x86: _tuple(2),
    0x87: _tuple(3),
    0x7D: _pushed(lambda m: Pairs()),
    0x64: _pushed(lambda m: _pairs(m.pop_mark())),
    0x73: _set_item,
    0x75: _set_items,
    0x8F: _pushed(lambda m: Members()),
    0x90: _add_items,
    0x91: _pushed(lambda m: FrozenMembers(m.pop_mark())),
    0x70: lambda m: m.put(index(m)),
    0x71: lambda m: m.put(_u8(m)),
    0x72: lambda m: m.put(_u32(m)),
    0x94: lambda m: m.put(len(m.memo)),
    0x67: lambda m: m.get(index(m)),
    0x68: lambda m: m.get(_u8(m)),
    0x6A: lambda m: m.get(_u32(m)),
    0x63: _global,
    0x93: _stack_global,
    0x52: _reduce,
    0x62: _build,
}


# PERSID, BINPERSID, INST, OBJ, NEWOBJ, NEWOBJ_EX, EXT*, POP, POPMARK, DUP, NEXT_BUFFER, READONLY_BUFFER: not admitted.
_TABLE: list[Callable[[Machine], None]] = [_OPCODES.get(code, _refused) for code in range(256)]
