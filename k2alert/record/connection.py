"""The seam between what the store does and the database it does it in.

In: work, a plain function of a connection. Out: what it returns, done as one whole transaction. The functions of this
package know these protocols only; each engine (`sqlite.py`, …) brings its own.
"""

from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol, TypeVar, TypeVarTuple

from k2alert.record.store import Change, Lease, Topic

__all__ = ["Connection", "Engine", "ReadEngine", "Rows"]

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class Rows(Protocol):
    """What a statement found, each row once, in order; a row can be read by place and unpacked."""

    def __iter__(self) -> Iterator[Any]: ...

    def fetchone(self) -> Any:
        """The next row, None after the last."""
        ...

    def fetchall(self) -> list[Any]:
        """All that are left."""
        ...

    def fetchmany(self, size: int, /) -> list[Any]:
        """The next few, none after the last."""
        ...


class Connection(Protocol):
    """One connection within a transaction. Statements are those of `QUERIES`, their parameters in order."""

    def execute(self, sql: str, args: Sequence[Any] = ..., /) -> Rows:
        """Runs a statement once."""
        ...

    def executemany(self, sql: str, rows: Iterable[Sequence[Any]], /) -> object:
        """Runs a statement that finds nothing once for each row of parameters."""
        ...


class ReadEngine(Protocol):
    """A database that can be read. Every method raises `StoreError` when it can't be."""

    async def read(self, work: Callable[[Connection, *Ts], T], *args: *Ts) -> T:
        """Does work that reads, as of one moment."""
        ...

    def load(self, work: Callable[[Connection, *Ts], Iterator[list[T]]], *args: *Ts) -> AsyncIterator[list[T]]:
        """What work yields, batch by batch as it is asked for, as of one moment; others read and write in between."""
        ...

    def frozen(self) -> AbstractAsyncContextManager["ReadEngine"]:
        """The database as of one moment; to be left before `close`."""
        ...

    async def close(self) -> None:
        """Ends what is running and lets go; a second time does nothing."""
        ...


class Engine(ReadEngine, Protocol):
    """A database that can be written to as well."""

    async def write(
        self, work: Callable[[Connection, *Ts], T], *args: *Ts, topic: Topic | None = None, by_all: bool = False
    ) -> T:
        """Does work that writes, all or nothing; what this has returned from is on disk.

        Other replicas are told of the `topic`, and of what the work returns where that is `Saved`. Raises `NotLeader`
        on a replica that does not lead, unless it is `by_all`.
        """
        ...

    def campaign(self, name: str, idle: Callable[[], float]) -> Lease:
        """See `Store`."""
        ...

    async def changes(self, after: int) -> list[Change] | None:
        """See `Store`."""
        ...

    async def wait_for_change(self, seconds: float) -> None:
        """See `Store`."""
        ...
