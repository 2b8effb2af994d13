"""Differential fuzz in a process of its own: what our decoder accepts must be what a stock unpickler makes of it.

    python -m tests.codec.fuzz_child COUNT SEED

Mutates real pickles; the last line is {"tried", "accepted", "equal", "different": […]}. A stock unpickler only ever
sees streams that ours accepted, so it meets admitted names alone.
"""

from __future__ import annotations

import json
import pickle
import random
import sys
import tarfile
import warnings
from pathlib import Path

from studio.errors import RefusedPickle
from studio.serve.codec.limits import Limits
from studio.serve.codec.safepickle import loads

from .equality import same, same_python2

ARCHIVE = Path(__file__).parent.parent / "fixtures" / "numpy-pickles.tar.gz"
LIMITS = Limits(max_bytes=1 << 20)
OPCODES = bytes(range(0x28, 0x7E)) + bytes(range(0x80, 0x99))


def seeds() -> list[bytes]:
    """The real pickles of up to 2 kB, those that are refused among them."""
    with tarfile.open(ARCHIVE) as archive:
        found = {archive.extractfile(m).read() for m in archive if m.isfile() and m.size < 2000}  # type: ignore[union-attr]
    return sorted(found)


def mutate(data: bytes, others: list[bytes], random_: random.Random) -> bytes:
    """`data` with one to four small changes; still ending in STOP, since all else is refused at once."""
    body = bytearray(data)
    for _ in range(random_.choice((1, 1, 1, 2, 2, 4))):
        at = random_.randrange(len(body))
        kind = random_.randrange(8)
        if kind == 0:
            body[at] ^= 1 << random_.randrange(8)
        elif kind == 1:
            body[at] = random_.choice(OPCODES)
        elif kind == 2:
            body[at:at] = bytes((random_.choice(OPCODES),))
        elif kind == 3:
            del body[at : at + random_.randrange(1, 5)]
        elif kind == 4:
            body[at] = random_.choice((0, 1, 2, 3, 4, 8, 127, 128, 255, 0x30, 0x31, 0x39, 0x2D))
        elif kind == 5:
            other = random_.choice(others)
            start = random_.randrange(len(other))
            body[at:at] = other[start : start + random_.randrange(1, 30)]
        elif kind == 6:
            size = random_.randrange(1, 12)
            body[at:at] = body[at : at + size]
        else:
            start = random_.randrange(len(body))
            size = random_.randrange(1, 9)
            body[at : at + size] = body[start : start + size]
        if not body:
            body = bytearray(b"N")
    if body[-1:] != b".":
        body += b"."
    return bytes(body)


def compare(data: bytes) -> str:
    """`refused`, `equal`, or what differs."""
    try:
        ours = loads(data, LIMITS)
    except RefusedPickle:
        return "refused"
    try:
        theirs = pickle.loads(data, encoding="latin1")
    except ModuleNotFoundError as exc:
        return "refused" if str(exc.name).startswith("numpy._core") else f"stock refuses with {exc}"  # numpy 1
    except Exception as exc:
        return f"stock refuses with {type(exc).__name__}: {exc}"[:150]
    if same(ours, theirs) or same_python2(ours, theirs):
        return "equal"
    return f"{ours!r} is not {theirs!r}"[:300]


def main(count: int, seed: int) -> None:
    warnings.simplefilter("ignore")
    random_ = random.Random(seed)
    pool = seeds()
    accepted = equal = 0
    different: list[tuple[str, str]] = []
    for _ in range(count):
        data = mutate(random_.choice(pool), pool, random_)
        said = compare(data)
        accepted += said != "refused"
        equal += said == "equal"
        if said not in ("refused", "equal"):
            different.append((said, data.hex()))
    print(json.dumps({"tried": count, "accepted": accepted, "equal": equal, "different": different[:200]}))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
