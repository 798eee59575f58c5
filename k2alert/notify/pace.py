"""How the outside is spoken to, and how often: turns, kept on the clock passed in.

Who wants to ask takes a turn and waits for it; turns are given out in the order of asking, so that several desks may
speak to the same address. Where a turn is far away nobody waits: it is said how long that would be, and others go on.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, cast

import aiohttp
from aiohttp.connector import Connection

from k2alert.model import Retry

__all__ = ["PATIENCE", "WITHIN", "Asking", "LeadsNoMore", "Limit", "Pace", "Wire", "fenced"]

WITHIN = timedelta(seconds=30)
"""How long one call of a receiver may take. Nobody else waits for it; what answers later counts as not answered."""

PATIENCE = timedelta(seconds=5)
"""So long a desk waits for a turn; what takes longer is tried again later."""

_MOST_IDLE = 1000  # so many of whom nobody speaks to are remembered


class LeadsNoMore(aiohttp.ClientError, ConnectionError):
    """Nothing was said: this process may not speak any more."""


class Fence:
    """A transport over which nothing is written but while `allowed()`, asked at each write.

    A process may be stopped for minutes in the middle of a request, and somebody else speak in its place by then. It
    must not say what it was about to say when it wakes, wherever it was stopped: between the question and the system's
    call there are some microseconds, and nothing that waits.
    """

    def __init__(self, transport: asyncio.Transport, allowed: Callable[[], bool]) -> None:
        self._transport = transport
        self._allowed = allowed

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: Any) -> None:
        """As of `asyncio.WriteTransport`. Raises `LeadsNoMore`."""
        self._ask()
        self._transport.write(data)

    def writelines(self, chunks: Iterable[Any]) -> None:
        """As of `asyncio.WriteTransport`. Raises `LeadsNoMore`."""
        self._ask()
        self._transport.writelines(chunks)

    def _ask(self) -> None:
        if not self._allowed():
            raise LeadsNoMore


def fenced(transport: asyncio.BaseTransport | None, allowed: Callable[[], bool]) -> Any:
    """The transport behind a fence; the same where it is, or where there is none."""
    if transport is None or isinstance(transport, Fence):
        return transport
    return Fence(cast("asyncio.Transport", transport), allowed)


class Asking(aiohttp.TCPConnector):
    """Connections over which requests go only while `allowed()`."""

    def __init__(self, allowed: Callable[[], bool]) -> None:
        super().__init__()
        self._allowed = allowed

    async def connect(
        self,
        req: aiohttp.ClientRequest,
        traces: list[Any],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109
    ) -> Connection:
        """A connection, behind a fence. See `Fence` for what writing may raise."""
        connection = await super().connect(req, traces, timeout)
        if connection.protocol is not None:
            connection.protocol.transport = fenced(connection.protocol.transport, self._allowed)
        return connection


@dataclass(frozen=True, slots=True)
class Limit:
    """So many turns in any such span of time."""

    turns: int
    span: timedelta


@dataclass(slots=True)
class _Line:
    """The last turns given to one address, and until when it wants to be left alone, in monotonic seconds."""

    given: deque[float] = field(default_factory=deque)
    held: float = 0.0

    @property
    def over_at(self) -> float:
        return max(self.held, self.given[-1] if self.given else 0.0)


class Pace:
    """The turns of everybody. `monotonic` and `sleep` are in seconds."""

    def __init__(self, monotonic: Callable[[], float], sleep: Callable[[float], Awaitable[None]]) -> None:
        self._monotonic = monotonic
        self._sleep = sleep
        self._lines: dict[Hashable, _Line] = {}

    async def turn(self, whom: Hashable, limit: Limit) -> timedelta | None:
        """Waits for a turn with this address; None when it has come, or how far away it is where that is too far."""
        now, line = self._monotonic(), self._line(whom)
        while len(line.given) > limit.turns:
            line.given.popleft()
        at = max(now, line.held)
        if len(line.given) == limit.turns:
            at = max(at, line.given[0] + limit.span.total_seconds())
        wait = timedelta(seconds=at - now)
        if wait > PATIENCE:
            return wait
        line.given.append(at)
        if at > now:
            await self._sleep(at - now)
        return None

    def hold(self, whom: Hashable, wait: timedelta) -> None:
        """Gives no more turns with this address for that long: it asked to be left alone."""
        line = self._line(whom)
        line.held = max(line.held, self._monotonic() + wait.total_seconds())

    def _line(self, whom: Hashable) -> _Line:
        if whom not in self._lines and len(self._lines) >= _MOST_IDLE:
            now = self._monotonic() - 60  # longer than any limit's span reaches back
            self._lines = {one: line for one, line in self._lines.items() if line.over_at > now}
        return self._lines.setdefault(whom, _Line())


@dataclass(frozen=True, slots=True)
class Wire:
    """How the outside is spoken to: over which session, how long one call may take, and how often.

    `allowed` is asked last of all, just before something is said: whoever leads no more says nothing.
    """

    session: aiohttp.ClientSession
    pace: Pace
    within: timedelta = WITHIN
    allowed: Callable[[], bool] = lambda: True

    def refusal(self) -> Retry | None:
        """Why nothing may be said now; None where it may."""
        return None if self.allowed() else Retry("this replica does not lead any more", reason="contextCanceled")
