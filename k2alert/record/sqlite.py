"""The engine for one SQLite file, for one process.

In: work for a store. Out: each piece as one whole transaction in one thread that writes, or one read in one thread that
reads, so that loading a week of history never holds up what has to be written. A transaction that is a plain function
in one thread can't be interleaved with another's.
"""

import asyncio
import logging
import os
import sqlite3
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar, TypeVarTuple

from k2alert.record.connection import Connection, ReadEngine
from k2alert.record.lease import SoleLease
from k2alert.record.sqlite_file import (
    check_schema,
    connect_onlooker,
    connect_reader,
    connect_writer,
    has_wal_bug,
    lock_file,
    migrate,
    telling,
    transaction,
)
from k2alert.record.store import Change, Lease, Topic

__all__ = ["SqliteEngine", "SqliteOnlooker"]

_LOG = logging.getLogger(__name__)

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class SqliteOnlooker:
    """The reading half of `Engine`: it takes no lock and changes nothing, so it may look on while a daemon writes.

    Opening raises `StoreError` where there is no store, or one of another schema.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._reader = ThreadPoolExecutor(1, "k2alert-store-reader")
        self._loads: set[sqlite3.Connection] = set()
        self._closed = False
        try:
            self._read_con = self._reader.submit(self._open).result()
        except BaseException:
            self._reader.shutdown()
            raise

    async def read(self, work: Callable[[Connection, *Ts], T], *args: *Ts) -> T:
        """See `Engine`."""

        def read() -> T:
            with telling(self._path), transaction(self._read_con, "BEGIN"):
                return work(self._read_con, *args)

        return await asyncio.get_running_loop().run_in_executor(self._reader, read)

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
        loop = asyncio.get_running_loop()
        con = await loop.run_in_executor(self._reader, self._open_load)
        try:
            yield _Moment(self._path, self._reader, con)
        finally:
            if con in self._loads:  # else the store has been closed meanwhile
                await loop.run_in_executor(self._reader, self._close_load, con)

    async def close(self) -> None:
        """See `Engine`."""
        if self._closed:
            return
        self._closed = True
        await asyncio.get_running_loop().run_in_executor(self._reader, self._close_readers)
        self._reader.shutdown()

    def _close_readers(self) -> None:
        for con in (*self._loads, self._read_con):
            con.close()
        self._loads.clear()

    def _open(self) -> sqlite3.Connection:
        con = self._connect()
        try:
            check_schema(con, self._path)
        except BaseException:
            con.close()
            raise
        return con

    def _connect(self) -> sqlite3.Connection:
        return connect_onlooker(self._path)

    def _open_load(self) -> sqlite3.Connection:
        with telling(self._path):
            con = self._connect()
            self._loads.add(con)
            con.execute("BEGIN")
            return con

    def _close_load(self, con: sqlite3.Connection) -> None:
        self._loads.discard(con)
        con.close()


class _Moment:
    """What one connection sees within one transaction."""

    def __init__(self, path: Path, reader: ThreadPoolExecutor, con: sqlite3.Connection) -> None:
        self._path = path
        self._reader = reader
        self._con = con

    async def read(self, work: Callable[[Connection, *Ts], T], *args: *Ts) -> T:
        def read() -> T:
            with telling(self._path):
                return work(self._con, *args)

        return await asyncio.get_running_loop().run_in_executor(self._reader, read)

    async def load(
        self, work: Callable[[Connection, *Ts], Iterator[list[T]]], *args: *Ts
    ) -> AsyncGenerator[list[T], None]:
        loop = asyncio.get_running_loop()
        batches = work(self._con, *args)
        while (batch := await loop.run_in_executor(self._reader, self._next_batch, batches)) is not None:
            yield batch

    def _next_batch(self, batches: Iterator[list[T]]) -> list[T] | None:
        with telling(self._path):
            return next(batches, None)

    @asynccontextmanager
    async def frozen(self) -> AsyncIterator[ReadEngine]:
        yield self

    async def close(self) -> None:
        """Whoever froze it closes it."""


class SqliteEngine(SqliteOnlooker):
    """`Engine` in one file. Opening takes the lock and brings the schema forward; raises `StoreError`."""

    def __init__(self, path: Path) -> None:
        self._lock = lock_file(path)
        self._writer = ThreadPoolExecutor(1, "k2alert-store-writer")
        try:
            self._write_con = self._writer.submit(_open_writer, path).result()
        except BaseException:
            self._writer.shutdown()
            os.close(self._lock)
            raise
        super().__init__(path)
        _tell_version(path)

    def _connect(self) -> sqlite3.Connection:
        return connect_reader(self._path)

    async def write(
        self, work: Callable[[Connection, *Ts], T], *args: *Ts, topic: Topic | None = None, by_all: bool = False
    ) -> T:
        """See `Engine`. There are no other replicas to tell or to heed."""

        def write() -> T:
            with telling(self._path), transaction(self._write_con, "BEGIN IMMEDIATE"):
                return work(self._write_con, *args)

        return await asyncio.get_running_loop().run_in_executor(self._writer, write)

    def campaign(self, name: str, idle: Callable[[], float]) -> Lease:
        """See `Store`."""
        return SoleLease(name)

    async def changes(self, after: int) -> list[Change] | None:
        """See `Store`."""
        return []

    async def wait_for_change(self, seconds: float) -> None:
        """See `Store`."""
        await asyncio.sleep(seconds)

    async def close(self) -> None:
        """See `Engine`. The writer closes last, for the last one to close checkpoints."""
        if self._closed:
            return
        await super().close()
        await asyncio.get_running_loop().run_in_executor(self._writer, self._write_con.close)
        self._writer.shutdown()
        os.close(self._lock)


def _open_writer(path: Path) -> sqlite3.Connection:
    con = connect_writer(path)
    try:
        migrate(con, path)
    except BaseException:
        con.close()
        raise
    return con


def _tell_version(path: Path) -> None:
    _LOG.info("store %s opened with SQLite %s", path, sqlite3.sqlite_version)
    if has_wal_bug(sqlite3.sqlite_version_info):
        _LOG.info(
            "SQLite %s has the WAL-reset bug, which one writer never meets: let nothing but k2alert write to %s",
            sqlite3.sqlite_version,
            path,
        )
