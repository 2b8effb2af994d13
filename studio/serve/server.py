"""Ties a loaded model, its data plane, the lane and the pages into one process that starts, drains and ends."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import logging
import os
import select
import signal
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import uvicorn

from ..errors import ServeError
from .access import Access
from .connection import drain, sweep
from .endpoint import Endpoint, Limits
from .facts import Facts
from .forks import kept_from_children
from .lane import lane_for, supported
from .oip import OpenInference
from .predictor import Predictor
from .rehearsal import rehearse
from .site import Site

log = logging.getLogger(__name__)

KEEP_ALIVE_S = 75
LAME_DUCK_S = 0.5
"""After SIGTERM the server is not ready, but still takes connections for so long: balancers need to notice."""

BACKLOG_S = 0.1
"""For handshakes that have begun."""

BACKLOG_ROUNDS = 4096
"""Of the loop, each of which takes one connection that waits in the queue; a busy machine takes its time for them."""

HUNG_S = 5.0
"""So long a server whose calls hang waits, not ready, for one of them to return; then it ends to be replaced."""

STUCK_LOOKS = 30
"""So many seconds beyond the time limit the event loop may stand still, in a call that ran on it, before the process is
ended. Counted by looks once a second, so that a machine that slept is not taken for a loop that stands."""

DRAIN_S = 10.0
HARD_END_S = 14.0


_SO_ATTACH_FILTER = 26  # Linux


@dataclass(slots=True)
class Settings:
    """How to serve; one field for each option of the contract that the server itself needs."""

    limits: Limits = field(default_factory=Limits)
    batch_size: int | None = None
    batch_mode: str = "auto"
    tls_cert: str | None = None
    tls_key: str | None = None
    debug: bool = False


class _Uvicorn(uvicorn.Server):
    """uvicorn's server with our signals and our word when it is ready."""

    def __init__(self, config: uvicorn.Config, started: Callable[[], None]) -> None:
        super().__init__(config)
        self._tell = started

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are handled by `Server`."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listens, then says so."""
        await super().startup(sockets=sockets)
        if self.started:
            self._tell()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Takes the connections that wait already, then closes the port; whoever comes later is refused by it."""
        if sockets and all(list(map(_take_no_more, sockets))):
            await asyncio.sleep(BACKLOG_S)
            for _ in range(BACKLOG_ROUNDS):
                if not any(map(_has_waiting, sockets)):
                    break
                await asyncio.sleep(0)
        await super().shutdown(sockets=sockets)


class Server:
    """One served model.

    Args:
        facts: What is served.
        sock: Listening socket.
        access: Who may ask.
        settings: How.
        ready: Called once, when requests are answered.
        fails: Gets the reason where the server ends because it can answer no more; in any thread.
    """

    def __init__(
        self,
        facts: Facts,
        sock: socket.socket,
        access: Access,
        settings: Settings,
        ready: Callable[[], None],
        fails: Callable[[str], None] = lambda reason: None,
    ) -> None:
        self._facts, self._sock, self._access, self._settings, self._ready = facts, sock, access, settings, ready
        self._fails = fails
        self._signal = 0
        self._failed = False
        self._draining = False
        self._hung_since = 0.0
        self._beat = True

    def run(self) -> int:
        """Serves until a signal or the idle limit; the exit code: 0, 130 for Ctrl-C, 8 if the model's calls hang."""
        loop_factory = _loop_factory()
        if sys.version_info >= (3, 11):
            with asyncio.Runner(loop_factory=loop_factory) as runner:
                runner.run(self._serve())
        else:
            loop = loop_factory() if loop_factory else asyncio.new_event_loop()
            try:
                loop.run_until_complete(self._serve())
            finally:
                loop.close()
        return self._code

    @property
    def _code(self) -> int:
        if self._failed:
            return ServeError.exit_code
        return 130 if self._signal == signal.SIGINT else 0

    async def _serve(self) -> None:
        loop = asyncio.get_running_loop()
        facts, settings = self._facts, self._settings
        predictor = Predictor(
            facts.model, loop=loop, timeout_s=settings.limits.timeout_s, max_inflight=settings.limits.max_inflight,
            batch_size=settings.batch_size, batch_mode=settings.batch_mode,
        )  # fmt: skip
        facts.inflight = lambda: predictor.inflight
        facts.unmerged = lambda: predictor.unmerged
        facts.runtime["batch"] = most = predictor.batch_size
        if predictor.unmerged == "" and (settings.batch_size or 0) > most:
            self._warn(f"batches have {most} rows at most: what was tried at load, less than --batch-size")
        elif predictor.unmerged is None and settings.batch_size is not None:
            self._warn("--batch-size has no effect: this model gets each request whole")
        self._endpoint = Endpoint(predictor, self._access, facts.idle, settings.limits, debug=settings.debug)
        oip = OpenInference(facts)
        self._site = Site(self._endpoint, self._pages, oip)
        self._uvicorn = _Uvicorn(self._config(), self._started)
        before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
        for number in before:
            loop.add_signal_handler(number, self._on_signal, number)
        watch = loop.create_task(self._watch())
        threading.Thread(target=self._watch_loop, name="watchdog", daemon=True).start()
        try:
            for warning in await rehearse(self._endpoint, oip):
                self._warn(warning)
            with kept_from_children(self._sock, lambda: self._uvicorn.server_state.connections, before):
                await self._uvicorn.serve(sockets=[self._sock])
        finally:
            watch.cancel()
            self._endpoint.close()
            predictor.close()

    def _pages(self) -> Any:
        from .http import make_pages

        return make_pages(self._facts)

    def _config(self) -> uvicorn.Config:
        settings = self._settings
        fast = supported()
        if not fast:
            self._warn(f"uvicorn {uvicorn.__version__} is not known: requests take the slow way in")
        return uvicorn.Config(
            self._site, http=lane_for(self._endpoint) if fast else "h11", loop="none", lifespan="off", ws="none",
            log_config=None, log_level="warning", access_log=False, server_header=False, date_header=False,
            proxy_headers=False, timeout_keep_alive=KEEP_ALIVE_S, timeout_graceful_shutdown=int(DRAIN_S),
            ssl_certfile=settings.tls_cert, ssl_keyfile=settings.tls_key,
        )  # fmt: skip

    def _warn(self, text: str) -> None:
        """In the metadata, on the page and in the terminal."""
        self._facts.warnings.append(text)
        log.warning("%s", text)

    def _started(self) -> None:
        self._site.ready = True
        self._facts.idle.touch()
        self._ready()

    async def _watch(self) -> None:
        """Each half second: slow connections, the idle limit. While draining ten times a second: idle connections."""
        while True:
            await asyncio.sleep(0.1 if self._draining else 0.5)
            self._beat = True
            self._look_for_hung()
            if self._draining:
                drain(self._uvicorn.server_state.connections)
            sweep(self._uvicorn.server_state.connections, self._settings.limits.timeout_s)
            left = self._facts.idle.remaining_s(self._endpoint.predictor.inflight)
            if left == 0.0 and not self._draining:
                log.warning("nobody asked for %g s: ending", self._facts.idle.killafter_s)
                self._drain(0.0)

    def _look_for_hung(self) -> None:
        """Not ready while the model's calls hang; if none of them returns, the server ends so that it is replaced."""
        self._endpoint.replace_hung()
        if not self._endpoint.exhausted:
            self._hung_since = 0.0
            return
        self._hung_since = self._hung_since or time.monotonic()
        if time.monotonic() - self._hung_since > HUNG_S and not self._draining:
            self._fail("the model's calls hang beyond --timeout: this server can answer no more and ends")
            self._drain(0.0)

    def _watch_loop(self) -> None:
        """In a thread: ends the process when the event loop stands still in a call that does not return."""
        looks = 0
        while True:
            time.sleep(1.0)
            looks = 0 if self._beat else looks + 1
            self._beat = False
            if looks > self._settings.limits.timeout_s + STUCK_LOOKS:
                self._fail("a call of the model holds the event loop and does not return: ending")
                sys.stderr.flush()
                os._exit(ServeError.exit_code)

    def _fail(self, reason: str) -> None:
        log.error("%s", reason)
        self._failed = True
        self._fails(reason)

    def _on_signal(self, number: int) -> None:
        if self._draining:
            self._uvicorn.force_exit = self._uvicorn.should_exit = True
            return
        self._signal = number
        self._drain(LAME_DUCK_S if number == signal.SIGTERM else 0.0)

    def _drain(self, lame_duck_s: float) -> None:
        """Not ready any more; after the lame-duck time no new connections; what is in flight is answered."""
        self._draining = True
        self._endpoint.draining = True
        end = threading.Timer(HARD_END_S, _end_now, [self._code])
        end.daemon = True
        end.start()

        def stop() -> None:
            self._uvicorn.should_exit = True

        asyncio.get_running_loop().call_later(lame_duck_s, stop)


def _take_no_more(sock: socket.socket) -> bool:
    """No new handshake begins on a listening socket, those begun are finished; False where the system cannot do it.

    Closing it at once would reset the connections that wait in its queue, whose requests may have been sent.
    """
    flags, syn = 13, 0x02  # of a TCP header: where its flags are, and the one that asks for a connection
    code = [(0x30, 0, 0, flags), (0x45, 0, 1, syn), (0x06, 0, 0, 0), (0x06, 0, 0, 0xFFFFFFFF)]
    program = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in code))
    if sys.platform != "linux":
        return False
    try:
        sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("HL", len(code), ctypes.addressof(program)))
    except OSError:
        return False
    return True


def _has_waiting(sock: socket.socket) -> bool:
    """Whether connections wait in the queue of a listening socket."""
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(0))


def _end_now(code: int) -> None:
    """The last resort: something (a hanging model, a thread of a wrapper) keeps the process from ending."""
    log.error("the server did not end in time; ending now")
    sys.stderr.flush()
    os._exit(code)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory
