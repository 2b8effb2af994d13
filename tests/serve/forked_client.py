"""Run by tests: a client that was used before forks, in children and their parent at once; prints what was wrong.

Usage: forked_client.py URL FINGERPRINT CHILDREN REQUESTS
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import traceback
import warnings

from studio.client import AsyncModelClient, ModelClient

url, fingerprint, children, requests = sys.argv[1], sys.argv[2] or None, int(sys.argv[3]), int(sys.argv[4])
warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns of forks of a process with threads: this is one
client = ModelClient(url, fingerprint=fingerprint, retries=0)
awaited = AsyncModelClient(url, fingerprint=fingerprint, retries=0)
done = threading.Event()


def right(who: int, count: int) -> bool:
    """Whether each answer is the one to its own question."""
    return all(client.predict({"k": [who, n]})["k"].tolist() == [who, n] for n in range(count))  # type: ignore[attr-defined]


async def right_too(who: int, count: int) -> bool:
    async def one(n: int) -> bool:
        answer = await awaited.predict({"k": [who, n]})
        return answer["k"].tolist() == [who, n]  # type: ignore[attr-defined, no-any-return]

    return all([all(await asyncio.gather(*(one(n + k) for k in range(4)))) for n in range(0, count, 4)])


def go_on() -> None:
    while not done.is_set():
        assert right(10_000, 1)


def child(who: int) -> int:
    try:
        good = right(who, requests // 2) and asyncio.run(right_too(who, requests // 2))
        client.close()  # the child's own connections only
        return 0 if good else 1
    except BaseException:
        traceback.print_exc()
        return 2


assert right(0, 4) and asyncio.run(right_too(0, 8))  # the pools hold connections now
threads = [threading.Thread(target=go_on, daemon=True) for _ in range(3)]
for thread in threads:  # some forks come in the midst of an exchange, or while a lock is held
    thread.start()
pids = []
for number in range(1, children + 1):
    pid = os.fork()
    if pid == 0:
        os._exit(child(number))
    pids.append(pid)
own = right(children + 1, requests)
codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]
done.set()
for thread in threads:
    thread.join()
assert asyncio.run(right_too(children + 2, 8))
client.close()
print("children:", codes, "parent:", own)
sys.exit(0 if own and codes == [0] * children else 1)
