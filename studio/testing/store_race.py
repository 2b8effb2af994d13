"""One racer of the store's contract suite, run as a process of its own: `python -m studio.testing.store_race`."""

from __future__ import annotations

import sys

from ..errors import Conflict, NotFound
from ..stores import Store, open_store


def race_create(store: Store, who: str, rounds: int) -> int:
    """Tries to be the first to create each of `rounds` objects; returns how many it won."""
    won = 0
    for number in range(rounds):
        try:
            store.write(f"race/create/{number:04d}", who.encode(), if_absent=True)
            won += 1
        except Conflict:
            pass
    return won


def race_swap(store: Store, who: str, rounds: int) -> int:
    """Adds 1 to a shared counter `rounds` times; returns how often it had to repeat."""
    lost = 0
    for _ in range(rounds):
        while True:
            data, tag = store.read("race/counter")
            try:
                store.write("race/counter", b"%d" % (int(data) + 1), if_tag=tag)
                break
            except Conflict:
                lost += 1
    return lost


def race_append(store: Store, who: str, rounds: int) -> int:
    """Appends `rounds` lines to a shared stream, finding its end anew after each defeat."""
    lost = 0
    for number in range(rounds):
        line = f"{who}:{number}\n".encode()
        while True:
            try:
                store.append("race/stream", _end(store), line)
                break
            except Conflict:
                lost += 1
    return lost


def race_remove(store: Store, who: str, rounds: int) -> int:
    """Writes and removes objects of one folder, which others prune while it fills it."""
    for number in range(rounds):
        store.write(f"race/folder/deep/{who}-{number}", b"x")
        store.remove(f"race/folder/deep/{who}-{number}")
    return 0


def _end(store: Store) -> int:
    try:
        return store.stat("race/stream").size
    except NotFound:
        return 0


RACES = {"create": race_create, "swap": race_swap, "append": race_append, "remove": race_remove}

if __name__ == "__main__":
    url, race, who, rounds = sys.argv[1:]
    racer = open_store(url)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()  # the starting gun
    sys.stdout.write(f"{RACES[race](racer, who, int(rounds))}\n")
