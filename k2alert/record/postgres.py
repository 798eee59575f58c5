"""The engine for a PostgreSQL database, which several replicas may share.

In: work for a store. Out: each piece as one whole transaction. One thread and connection writes, another reads, and
what reads for long has a connection of its own, as with SQLite.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from typing import TypeVar, TypeVarTuple

import asyncpg

from k2alert.record.connection import Connection, ReadEngine
from k2alert.record.dialect import query_for_postgres, schema_for_postgres
from k2alert.record.migrating import VERSIONS, check_version, missing_steps
from k2alert.record.postgres_feed import Ear, read_changes, tell_others
from k2alert.record.postgres_lease import LEASE, PostgresLease
from k2alert.record.postgres_line import Line, Server, is_lost, telling
from k2alert.record.statements import MIGRATIONS, REPLICA_QUERIES, Migration, split_statements
from k2alert.record.store import Change, Lease, NotLeader, StoreBusy, StoreError, Topic

__all__ = ["PostgresEngine", "PostgresOnlooker", "migrate"]

_LOG = logging.getLogger(__name__)

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

_ONE_MOMENT = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
_WRITE = "BEGIN ISOLATION LEVEL READ COMMITTED"
_CHECK = query_for_postgres(REPLICA_QUERIES["check_lease"])
_ASKS, _ASK_EVERY = 20, 0.2
_STEP_SECONDS = 3600.0  # an index over tens of millions of rows takes minutes
_MIGRATION_LOCK = 0x6B32_616C_0001  # "k2al"; one number of our own among the database's advisory locks
_READING = {"idle_in_transaction_session_timeout": "0"}
_WRITING = {
    # One who stopped in the middle of a write must not keep another from leading.
    "idle_in_transaction_session_timeout": "3500",
    "lock_timeout": "10000",
}


class PostgresOnlooker:
    """The reading half of `Engine`: it changes nothing. Opening raises `StoreError` where there is no store."""

    def __init__(self, url: str) -> None:
        self._server = Server(url)
        self._reading = Line(self._server, "k2alert-store-reader", _READING)
        self._reading.open(self._first)

    def _first(self, con: asyncpg.Connection, loop: asyncio.AbstractEventLoop) -> None:
        if not loop.run_until_complete(con.fetchval("SELECT to_regclass('schema_version') IS NOT NULL")):
            raise StoreError(f"{self._server.name}: not a store of k2alert's")
        check_version(
            self._server.name, loop.run_until_complete(con.fetchval("SELECT max(version) FROM schema_version"))
        )

    async def read(self, work: Callable[[Connection, *Ts], T], *args: *Ts) -> T:
        """See `Engine`."""

        def read() -> T:
            with telling(self._server):
                con = self._reading.begin(_ONE_MOMENT)
                try:
                    found = work(self._reading.adapt(con), *args)
                    self._reading.wait(con.execute("COMMIT"))
                    return found
                finally:
                    self._reading.end(con)

        return await self._reading.call(read)

    async def load(
        self, work: Callable[[Connection, *Ts], Iterator[list[T]]], *args: *Ts
    ) -> AsyncGenerator[list[T], None]:
        """See `Engine`."""
        async with self.frozen() as moment:
            async for batch in moment.load(work, *args):
                yield batch

    @asynccontextmanager
    async def frozen(self) -> AsyncIterator[ReadEngine]:
        """See `Engine`: a connection of its own, which reads in the reading thread."""
        made: list[asyncpg.Connection] = []
        try:
            await self._reading.call(lambda: self._freeze(made))
            yield _Moment(self._reading, made[0])
        finally:
            self._reading.let_go(made)

    def _freeze(self, made: list[asyncpg.Connection]) -> None:
        with telling(self._server):
            made.append(self._reading.more())
            self._reading.wait(made[0].execute(_ONE_MOMENT))

    async def close(self) -> None:
        """See `Engine`."""
        await self._reading.close()


class _Moment:
    """What one connection sees within one transaction."""

    def __init__(self, line: Line, con: asyncpg.Connection) -> None:
        self._line = line
        self._con = con

    async def read(self, work: Callable[[Connection, *Ts], T], *args: *Ts) -> T:
        def read() -> T:
            with telling(self._line.server):
                return work(self._line.adapt(self._con), *args)

        return await self._line.call(read)

    async def load(
        self, work: Callable[[Connection, *Ts], Iterator[list[T]]], *args: *Ts
    ) -> AsyncGenerator[list[T], None]:
        batches = work(self._line.adapt(self._con, lazy=True), *args)
        while (batch := await self._line.call(lambda: self._next_batch(batches))) is not None:
            yield batch

    def _next_batch(self, batches: Iterator[list[T]]) -> list[T] | None:
        with telling(self._line.server):
            return next(batches, None)

    @asynccontextmanager
    async def frozen(self) -> AsyncIterator[ReadEngine]:
        yield self

    async def close(self) -> None:
        """Whoever froze it closes it."""


class PostgresEngine(PostgresOnlooker):
    """`Engine` in one database. Opening brings the schema forward; raises `StoreError`."""

    def __init__(self, url: str) -> None:
        server = Server(url)
        self._lease: PostgresLease | None = None
        self._ear = Ear(server)
        self._writing = Line(server, "k2alert-store-writer", _WRITING)
        self._writing.open(lambda con, loop: _open(server, con, loop))
        try:
            super().__init__(url)
        except BaseException:
            self._writing.shut()
            raise

    async def write(
        self, work: Callable[[Connection, *Ts], T], *args: *Ts, topic: Topic | None = None, by_all: bool = False
    ) -> T:
        """See `Engine`."""

        lease = self._lease
        epoch = (
            lease.epoch if lease is not None else 0
        )  # as of now: what waits for its turn may not be of a later reign

        def write() -> T:
            with telling(self._server):
                con = self._writing.begin(_WRITE)
                try:
                    number = self._number(con, None if by_all else lease, epoch)
                    done = work(self._writing.adapt(con), *args)
                    if lease is not None:
                        tell_others(self._writing.adapt(con), done, topic)
                    self._commit(con, number)
                    return done
                except asyncpg.ReadOnlySQLTransactionError:
                    self._writing.drop()  # a session stays as it began, and another host may be the primary by now
                    raise
                finally:
                    self._writing.end(con)

        return await self._writing.call(write)

    def _number(self, con: asyncpg.Connection, lease: PostgresLease | None, epoch: int) -> str:
        """In the writing thread: the transaction's number, where it may be done."""
        if lease is None:
            return str(self._writing.wait(con.fetchval("SELECT pg_current_xact_id()::text")))
        number = epoch and self._writing.wait(con.fetchval(_CHECK, LEASE, lease.holder, epoch))
        if not number:
            lease.disown(epoch)
            raise NotLeader(self._server.line("this replica does not lead"))
        return str(number)

    def _commit(self, con: asyncpg.Connection, number: str) -> None:
        """In the writing thread. Where the answer does not come, asks anew whether it was done, for memory follows."""
        try:
            self._writing.wait(con.execute("COMMIT"))
        except Exception as error:
            if not is_lost(error):
                raise
            self._writing.drop()
            for _ in range(_ASKS):
                with suppress(StoreBusy):
                    status = self._fate_of(number)
                    if status == "committed":
                        return
                    if status != "in progress":
                        raise
                self._writing.wait(asyncio.sleep(_ASK_EVERY))
            lost = "the connection was lost, and it can't be asked whether the last write was done"
            raise StoreBusy(self._server.line(lost)) from error

    def _fate_of(self, number: str) -> str:
        """In the writing thread: what became of a transaction."""
        try:
            return str(self._writing.ask("SELECT pg_xact_status($1::text::xid8)", number))
        except asyncpg.DataError:  # its number is yet to come: another server took over, and never heard of it
            return "aborted"

    def campaign(self, name: str, idle: Callable[[], float]) -> Lease:
        """See `Store`."""
        if self._lease is not None:
            raise ValueError("this replica campaigns already")
        self._lease = PostgresLease(self._server, name, idle)
        return self._lease

    async def changes(self, after: int) -> list[Change] | None:
        """See `Store`."""
        return await self.read(read_changes, after)

    async def wait_for_change(self, seconds: float) -> None:
        """See `Store`."""
        await self._ear.wait(seconds)

    async def close(self) -> None:
        """See `Engine`."""
        if self._lease is not None:
            await self._lease.release()
        await self._ear.close()
        await super().close()
        await self._writing.close()


def _open(server: Server, con: asyncpg.Connection, loop: asyncio.AbstractEventLoop) -> None:
    loop.run_until_complete(migrate(server, con))
    version = con.get_settings().server_version.partition(" ")[0]
    _LOG.info("%s opened with PostgreSQL %s", server.name, version)


async def migrate(server: Server, con: asyncpg.Connection, migrations: tuple[Migration, ...] = MIGRATIONS) -> None:
    """Brings the schema forward, all steps in one transaction; of several processes that begin, one does it."""
    if con.get_settings().server_encoding != "UTF8":
        raise StoreError(f"{server.name}: its encoding is not UTF8; create it with ENCODING 'UTF8' TEMPLATE template0")
    async with con.transaction():
        await con.execute("SET LOCAL lock_timeout = 0")  # another one may be at it for long
        await con.execute(f"SELECT pg_advisory_xact_lock({_MIGRATION_LOCK})", timeout=_STEP_SECONDS)
        for step in await _missing_steps(server, con, migrations):
            for statement in split_statements(step.sql):
                await con.execute(schema_for_postgres(statement), timeout=_STEP_SECONDS)
            await con.execute("INSERT INTO schema_version VALUES ($1, $2, $3)", step.version, step.name, step.checksum)


async def _missing_steps(server: Server, con: asyncpg.Connection, migrations: tuple[Migration, ...]) -> list[Migration]:
    tables = {
        row[0] for row in await con.fetch("SELECT tablename::text FROM pg_tables WHERE schemaname = current_schema()")
    }
    if tables and "schema_version" not in tables:
        raise StoreError(f"{server.name}: a database, but not one of k2alert's")
    await con.execute(schema_for_postgres(VERSIONS))
    applied = {row[0]: row[1] for row in await con.fetch("SELECT version, checksum FROM schema_version")}
    return missing_steps(server.name, applied, migrations)
