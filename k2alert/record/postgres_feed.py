"""What replicas on one PostgreSQL database tell each other: who writes appends, who follows reads and listens.

In: what a write changed, within its transaction. Out: the changes after one, in the order in which they took effect.
"""

import asyncio
from contextlib import suppress

import asyncpg

from k2alert.model import Saved
from k2alert.record.connection import Connection
from k2alert.record.feed import VERSION, decode_change, encode_change
from k2alert.record.postgres_line import Server, connect
from k2alert.record.statements import REPLICA_QUERIES
from k2alert.record.store import Change, StoreError, Topic

__all__ = ["Ear", "read_changes", "tell_others"]

_LOCK = 0x6B32_616C_0002  # beside the one of migrations
_KEPT_MS = 10 * 60 * 1000  # more than any replica is behind that need not read everything anew
_TRIM_EVERY = 50
_MOST = 100  # changes read at once; those of a backfill are a megabyte each
_CONNECT_AGAIN = 2.0
_LOST = (TimeoutError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
_CHANNEL = "k2alert_changes"


def tell_others(con: Connection, done: object, topic: Topic | None) -> None:
    """The last that a transaction does: appends what it changed, if it did."""
    topics = frozenset() if topic is None else frozenset((topic,))
    saved = done if isinstance(done, Saved) else Saved()
    if not (topics or any(saved)):
        return
    con.execute(REPLICA_QUERIES["lock_changes"], (_LOCK,))
    (seq, _) = con.execute(REPLICA_QUERIES["add_change"], (VERSION, encode_change(saved, topics))).fetchone()
    if seq % _TRIM_EVERY == 0:
        con.execute(REPLICA_QUERIES["trim_changes"], (seq, _KEPT_MS))


def read_changes(con: Connection, after: int) -> list[Change] | None:
    """See `Store.changes`."""
    rows = con.execute(REPLICA_QUERIES["changes_after"], (after, _MOST)).fetchall()
    if not rows:
        (newest,) = con.execute(REPLICA_QUERIES["newest_change"]).fetchone()
        return [] if newest == after else None
    found: list[Change] = []
    for place, (seq, version, body) in enumerate(rows, after + 1):
        told = decode_change(version, body) if seq == place else None
        if told is None:
            return None
        found.append(Change(seq, *told))
    return found


class Ear:
    """Hears that something was appended, on a connection of its own in the caller's event loop.

    While there is none, whoever waits is woken by the time alone.
    """

    def __init__(self, server: Server) -> None:
        self._server = server
        self._con: asyncpg.Connection | None = None
        self._heard = asyncio.Event()
        self._again_at = 0.0

    async def wait(self, seconds: float) -> None:
        """Until something was appended, or it is not known whether it was; at most so long."""
        if self._con is None or self._con.is_closed():
            await self._listen(seconds)
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):  # `wait_for` may swallow that we are cancelled, before Python 3.12
                await self._heard.wait()
        self._heard.clear()

    async def _listen(self, seconds: float) -> None:
        now = asyncio.get_running_loop().time()
        if now < self._again_at:
            return
        con: asyncpg.Connection | None = None
        try:
            async with asyncio.timeout(max(seconds, _CONNECT_AGAIN)):
                con = await connect(self._server)
            con.add_termination_listener(lambda _: self._heard.set())
            await con.add_listener(_CHANNEL, lambda *_: self._heard.set())
            self._con = con
        except (StoreError, *_LOST):
            self._again_at = now + _CONNECT_AGAIN
            return
        finally:
            if con is not None and con is not self._con:
                con.terminate()  # else who is broken off here leaves it behind
        self._heard.set()  # much may have happened before

    async def close(self) -> None:
        """Listens no more."""
        con, self._con = self._con, None
        if con is not None and not con.is_closed():
            with suppress(Exception):
                await con.close(timeout=2)
            con.terminate()
