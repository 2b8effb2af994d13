"""What a pipe costs beside `concurrent.futures`, in µs; both interleaved in the same run, the best of some rounds."""

from __future__ import annotations

import argparse
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from studio.pipe import ModelPipe

WORKERS = 32


def square(x: int) -> int:
    return x * x


def squares(batch: list[int]) -> list[int]:
    return [x * x for x in batch]


def seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def by_threads(count: int, work: Callable[[], object]) -> Callable[[], None]:
    """`work` in `count` threads at once."""

    def run() -> None:
        threads = [threading.Thread(target=work) for _ in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    return run if count > 1 else lambda: (work(), None)[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    items = options.items
    pipe = ModelPipe().add(square, num_workers=WORKERS)
    timed = ModelPipe().add(square, num_workers=WORKERS, timeout=60)
    batched = ModelPipe().add(squares, num_workers=1, batch_size=64)
    two = ModelPipe().add(square, num_workers=4).add(squares, num_workers=1, batch_size=64)
    inline = ModelPipe().add(square)
    data = {x: x for x in range(items)}
    print(f"{items} items, {WORKERS} workers, best of {options.rounds} rounds; µs, and the ratio to the first line")
    with ThreadPoolExecutor(WORKERS) as pool:
        for threads in (1, 64):
            share = items // threads
            some = {x: x for x in range(share)}
            per_item: dict[str, Callable[[], object]] = {
                "ThreadPoolExecutor.map": lambda some=some: dict(
                    zip(some, pool.map(square, some.values()), strict=True)
                ),
                "pipe(dict)": lambda some=some: pipe(some),
                "pipe(dict), with a timeout": lambda some=some: timed(some),
                "pipe(dict), batches of 64": lambda some=some: batched(some),
                "pipe(dict), two stages": lambda some=some: two(some),
                "pipe(dict), no queue": lambda some=some: inline(some),
                "pipe(generator)": lambda some=some: sum(1 for _ in pipe(iter(some))),
            }
            report(f"an item, {threads} calling threads", per_item, threads, share, options.rounds)
            calls = max(1, items // 4 // threads)
            per_call: dict[str, Callable[[], object]] = {
                "ThreadPoolExecutor.submit": lambda calls=calls: [
                    pool.submit(square, 3).result() for _ in range(calls)
                ],
                "pipe({key: value})": lambda calls=calls: [pipe({"k": 3}) for _ in range(calls)],
                "pipe.submit": lambda calls=calls: [pipe.submit(3).result() for _ in range(calls)],
                "pipe({key: value}), batches of 64": lambda calls=calls: [batched({"k": 3}) for _ in range(calls)],
                "pipe({key: value}), no queue": lambda calls=calls: [inline({"k": 3}) for _ in range(calls)],
            }
            report(f"a call of one value, {threads} calling threads", per_call, threads, calls, options.rounds)
    assert pipe(data) == {k: k * k for k in data}


def report(title: str, ways: dict[str, Callable[[], object]], threads: int, count: int, rounds: int) -> None:
    best = dict.fromkeys(ways, float("inf"))
    for _ in range(rounds):
        for name, work in ways.items():
            best[name] = min(best[name], seconds(by_threads(threads, work)))
    print(f"\n{title}")
    reference = next(iter(best.values()))
    for name, taken in best.items():
        print(f"  {name:36} {taken / count / threads * 1e6:8.1f} µs  {taken / reference:5.2f}")


if __name__ == "__main__":
    main()
