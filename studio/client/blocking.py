"""`ModelClient`: asks and blocks the calling thread meanwhile."""

from __future__ import annotations

import queue
import select
import socket
import time
from collections.abc import Coroutine, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from .asking import Asking, PartialAnswer
from .copied import Copied
from .settings import check_settings
from .wire import Addresses, look_up

if TYPE_CHECKING:
    from ..experiment import JSON

T = TypeVar("T")

LARGEST_ANSWER = 256 << 20


class ModelClient(Copied):
    """One served model. Methods may be called from any thread; close it, or use it in a `with` block.

    A forked child starts with connections of its own. A copy, by `pickle` or `copy`, has the settings, the token among
    them, and no connection.

    Args:
        url: What `studio serve` printed; a `?token=` that was pasted with it is used.
        token: The server's token; refused over plain HTTP to another machine unless `insecure`.
        timeout_s: Seconds that an answer may take in all: looking the name up, connecting, sending, every byte of the
            answer, and further tries.
        retries: How often a request is sent again when the server is busy (503) or the connection broke before
            anything was answered. None: 3 times where it broke, and where the server is busy as often as there is time.
            The waits grow, and are never shorter than the server's `Retry-After`.
        form: How requests are written: `pickle`, `json`, `npy`, `npz` or `safetensors`.
        fingerprint: SHA-256 of the server's certificate in hex: exactly this one is accepted, whoever signed it.
        insecure: Sends the token over plain HTTP.
        max_answer: Bytes of the largest answer that is read.

    Raises:
        ConfigError: an argument cannot be used, or the token would travel unencrypted.
    """

    def __init__(
        self,
        url: str,
        *,
        token: str | None = None,
        timeout_s: float = 60.0,
        retries: int | None = None,
        form: str = "pickle",
        fingerprint: str | None = None,
        insecure: bool = False,
        max_answer: int = LARGEST_ANSWER,
    ) -> None:
        self._given = {
            "url": url, "token": token, "timeout_s": timeout_s, "retries": retries, "form": form,
            "fingerprint": fingerprint, "insecure": insecure, "max_answer": max_answer,
        }  # fmt: skip
        self._asking = Asking(check_settings(**self._given), _Blocking())
        self.form = form

    def predict(self, inputs: Mapping[str, object]) -> PartialAnswer:
        """The answers, key by key.

        Args:
            inputs: Arrays (or plain values for wrappers) by key; each value is one item or a batch. A DataFrame is put
                in the order of the model's columns, which `GET /metadata` tells each time.

        Returns:
            Answers by key. A key whose inference failed is missing and stands in `.errors`.

        Raises:
            BadInput, ContractViolation, Overloaded, Timeout, …: the class that the server named.
            Timeout, TooLarge: the answer takes too long, or has more than `max_answer` bytes.
            ServeError: no server answers, or the client is closed.
        """
        return _done(self._asking.predict(inputs, self.form))

    def metadata(self) -> dict[str, JSON]:
        """What is served: `GET /metadata`."""
        return _done(self._asking.metadata())

    def ready(self) -> bool:
        """Whether the server answers requests now; False also if it cannot be reached.

        Raises:
            ServeError: the client is closed.
        """
        return _done(self._asking.ready())

    def close(self) -> None:
        """Closes all connections, those in use when their answers are there."""
        self._asking.pool.close()

    def __enter__(self) -> ModelClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _done(work: Coroutine[Any, Any, T]) -> T:
    """What `work` returns, which never suspends: what it awaits blocks."""
    try:
        work.send(None)
    except StopIteration as end:
        result: T = end.value
        return result
    raise AssertionError("a wait that should block did not")


class _Blocking:
    """Waits that hold the calling thread."""

    async def ready(self, sock: socket.socket, *, read: bool, write: bool, deadline: float) -> bool:
        poll = select.poll()
        poll.register(sock, (select.POLLIN if read else 0) | (select.POLLOUT if write else 0))
        return bool(poll.poll(max(0.0, deadline - time.monotonic()) * 1000))

    async def sleep(self, seconds: float) -> None:
        time.sleep(seconds)

    async def addresses(self, host: str, port: int, deadline: float) -> Addresses:
        found: queue.SimpleQueue[Addresses | OSError] = queue.SimpleQueue()
        look_up(host, port, found.put)
        try:
            addresses = found.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            raise TimeoutError("the name was not found in time") from None
        if isinstance(addresses, OSError):
            raise addresses
        return addresses

    async def enter(self, deadline: float) -> None:
        """The user's threads are the bound."""

    def leave(self) -> None:
        """Nothing waits."""
