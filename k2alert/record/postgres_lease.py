"""The lease of replicas that share a PostgreSQL database: a row with an end by the database's clock.

In: a server, and how long the event loop has been idle. Out: `Lease`. It is kept by a thread and a connection of its
own, so neither a long round nor a long write costs the lease; and as a thread would go on while the event loop hangs,
it asks the loop for signs of life. The end that this replica believes in is counted from before it asked, by a clock
that nobody sets and that goes on while a machine sleeps: it is never later than the database's.
"""

import asyncio
import logging
import secrets
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import asyncpg

from k2alert.record.dialect import query_for_postgres
from k2alert.record.lease import Holding
from k2alert.record.postgres_line import Server, connect
from k2alert.record.statements import REPLICA_QUERIES
from k2alert.record.store import StoreError

__all__ = ["LEASE", "TTL_MS", "PostgresLease", "now_awake_or_asleep"]

_LOG = logging.getLogger(__name__)

LEASE = "leader"
"""The row's name."""

TTL = 2.5
"""Seconds. A leader that is gone is replaced within these and one try."""

TTL_MS = round(TTL * 1000)

_DRIFT = 0.05  # two clocks that count the same seconds differ by less
RENEW_EVERY = 0.8
TRY_EVERY = 0.3
_LOOK_EVERY = 0.1
MOST_IDLE = 2.0
"""Seconds. An event loop that shows no sign of life for longer hangs, and should be replaced."""

_ANSWER_WITHIN = 1.0  # another try comes before the lease ends
_SETTINGS = {"lock_timeout": "800", "idle_in_transaction_session_timeout": "2000", "statement_timeout": "1000"}
_FREED = "k2alert_lease"
_LOST = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # the session was ended between two statements, and asyncpg had not read that yet
    OSError,
    TimeoutError,
)


def now_awake_or_asleep() -> float:
    """Seconds on a clock that is never set, and goes on while the machine sleeps where there is such a one."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class PostgresLease:
    """`Lease`, which is tried for and kept from now on."""

    def __init__(
        self,
        server: Server,
        name: str,
        idle: Callable[[], float],
        clock: Callable[[], float] = now_awake_or_asleep,
    ) -> None:
        self._server = server
        self._name = name
        self._idle = idle
        self._clock = clock
        self._holding = Holding(clock)
        self._told: str | None = None
        self._loop = asyncio.new_event_loop()
        self._released = asyncio.Event()
        self._freed = asyncio.Event()
        self.holder = f"{name} {secrets.token_hex(4)}"
        self._thread = threading.Thread(target=self._run, name="k2alert-lease", daemon=True)
        self._thread.start()

    @property
    def epoch(self) -> int:
        """See `Lease`."""
        return self._holding.epoch

    @property
    def leader(self) -> str:
        """See `Lease`."""
        return self._name if self.holds() else self._holding.leader

    def holds(self) -> bool:
        """See `Lease`."""
        return self._holding.epoch > 0

    def disown(self, epoch: int) -> None:
        """The database says that this reign is over; another one may begin."""
        self._holding.disown(epoch)

    async def changed(self) -> None:
        """See `Lease`."""
        await self._holding.changed()

    async def release(self) -> None:
        """See `Lease`. A database that does not answer costs three seconds; the lease ends then by itself."""
        if self._thread.is_alive():
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._released.set)
            await asyncio.to_thread(self._thread.join)

    # ------------------------------------------------------------------------------------- in the thread

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._campaign())
        finally:
            self._holding.lose()
            self._loop.close()

    async def _campaign(self) -> None:
        watch = asyncio.ensure_future(self._watch())
        while not self._released.is_set():
            try:
                async with asyncio.timeout(2 * _ANSWER_WITHIN):
                    con = await connect(self._server, _SETTINGS)
            except (StoreError, *_LOST) as error:
                self._tell(str(error) or self._server.line("does not answer"))
                await self._pause(TRY_EVERY)
                continue
            try:
                await self._use(con)
            except _LOST as error:
                self._tell(self._server.line(error))
                await self._pause(TRY_EVERY / 2)
            finally:
                con.terminate()
                await asyncio.sleep(0)
        watch.cancel()
        await asyncio.gather(watch, return_exceptions=True)

    async def _watch(self) -> None:
        while True:
            self._holding.look()
            await asyncio.sleep(_LOOK_EVERY)

    async def _use(self, con: asyncpg.Connection) -> None:
        """Tries for the lease and keeps it, as long as the connection lasts."""
        await self._ask(con, "make_lease", LEASE)
        await con.add_listener(_FREED, lambda *_: self._freed.set())
        while not self._released.is_set():
            with suppress(asyncpg.LockNotAvailableError, asyncpg.QueryCanceledError):
                await self._once(con)
            self._told = None
            await self._pause(RENEW_EVERY if self._holding.reign else TRY_EVERY)
        reign = self._holding.reign
        self._holding.lose()
        if reign:
            await self._ask(con, "release_lease", LEASE, self.holder, reign)
            await con.execute(f"NOTIFY {_FREED}", timeout=_ANSWER_WITHIN)

    async def _once(self, con: asyncpg.Connection) -> None:
        if self._idle() > MOST_IDLE:
            return
        asked, reign = self._clock(), self._holding.reign
        if reign:
            found = await self._ask(con, "renew_lease", TTL_MS, LEASE, self.holder, reign)
            if found is None:
                self._holding.lose()
                _LOG.warning("another replica has taken the lead")
        else:
            found = await self._try(con)
        if found is not None:
            self._holding.extend(found[0], asked + TTL - _DRIFT)

    async def _try(self, con: asyncpg.Connection) -> Any:
        row = await self._ask(con, "now_and_lease", TTL_MS, LEASE)
        if row is not None and row["held"] and row["holder"] == self.holder:
            await self._ask(con, "release_lease", LEASE, self.holder, row["epoch"])  # a reign that was disowned
        elif row is not None and row["held"]:
            self._holding.leader = row["holder"].rpartition(" ")[0]
            return None
        self._holding.leader = ""
        return await self._ask(con, "take_lease", LEASE, TTL_MS, self.holder, TTL_MS)

    async def _ask(self, con: asyncpg.Connection, query: str, *args: Any) -> Any:
        return await con.fetchrow(query_for_postgres(REPLICA_QUERIES[query]), *args, timeout=_ANSWER_WITHIN)

    async def _pause(self, seconds: float) -> None:
        """Until it is time to try again, the lease is free, or it is to be given back."""
        waits = [asyncio.ensure_future(event.wait()) for event in (self._released, self._freed)]
        await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()
        self._freed.clear()

    def _tell(self, what: str) -> None:
        """Says once what goes wrong."""
        if what != self._told:
            self._told = what
            _LOG.warning("the lease can't be tried for: %s", what)
