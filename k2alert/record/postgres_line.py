"""One connection to PostgreSQL and the thread that speaks over it.

In: work, as plain functions of a `Connection`. Out: what they return, or `StoreError` in one line that holds no secret.
The thread has an event loop of its own, so that work can be plain functions here as with SQLite. A connection that was
lost is made anew by the next call; what failed is never done twice.
"""

import asyncio
import json
import re
import ssl
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any, TypeVar
from urllib.parse import quote, unquote

import asyncpg

from k2alert.record.dialect import query_for_postgres
from k2alert.record.store import StoreBusy, StoreError

__all__ = ["Line", "PostgresConnection", "Server", "connect", "is_lost", "telling"]

T = TypeVar("T")

CONNECT_SECONDS = 10.0
CALL_SECONDS = 60.0
"""How long one statement may take: nothing here needs a tenth of it, and a server that is cut off says nothing."""

LOAD_SECONDS = 3600.0
"""The same for what is read at length: the first rows of tens of millions come when all are sorted."""

_OLDEST_SERVER = 13
_CHUNK = 10_000  # rows of one fetch
_FOREVER_LOST = (
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.ClientConfigurationError,
)
_LOST = (
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,  # the server stops, or an administrator ended the session
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.ReadOnlySQLTransactionError,  # the server became a standby; another may have become the primary
    asyncpg.InterfaceError,  # the connection was closed between two statements
    asyncpg.InternalClientError,  # the session was ended between two statements, and asyncpg had not read that yet
    ConnectionError,
    TimeoutError,
    OSError,
)
_AGAIN = (
    asyncpg.InsufficientResourcesError,
    asyncpg.TransactionRollbackError,  # serialization failures, deadlocks
    asyncpg.LockNotAvailableError,
    asyncpg.QueryCanceledError,
)
_HIDDEN = re.compile(r"[?&](?:ssl)?password=([^&]*)")
_BUGS = (asyncpg.IntegrityConstraintViolationError, asyncpg.DataError, asyncpg.SyntaxOrAccessError)


class Server:
    """Where a database is: its URL, and the name that may be shown."""

    def __init__(self, url: str) -> None:
        scheme, _, rest = url.partition("://")
        login, at, place = rest.rpartition("@")
        self.name = f"store postgresql://{place.partition('?')[0]}"
        self.url = f"{scheme}://{quote(login, safe=':%')}{at}{place}"
        self.settings = {"jit": "off"}  # costs more than it gives, for estimates of lists are rough
        if "application_name=" not in place:
            self.settings["application_name"] = "k2alert"
        passwords = [login.partition(":")[2], *_HIDDEN.findall(place)]
        written = {form for word in passwords for form in (word, unquote(word), quote(word, safe=""))} - {""}
        self._secrets = sorted(written, key=len, reverse=True)

    def line(self, error: object) -> str:
        """What went wrong as one line, without the password, and without the rows that PostgreSQL may quote."""
        said = error.args[0] if isinstance(error, asyncpg.PostgresError) else error
        text = " ".join(str(said).split()) or type(error).__name__
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return f"{self.name}: {text}"


def is_lost(error: BaseException) -> bool:
    """Whether the connection is of no more use."""
    return isinstance(error, _LOST) and not isinstance(error, asyncpg.QueryCanceledError)


@contextmanager
def telling(server: Server) -> Iterator[None]:
    """Turns what PostgreSQL says into one clear line; a bug of ours (a wrong statement's use) stays what it is."""
    try:
        yield
    except StoreError:
        raise
    except asyncpg.InsufficientPrivilegeError as error:
        raise StoreError(server.line(error)) from error
    except _BUGS:
        raise
    except _AGAIN as error:
        raise StoreBusy(server.line(error)) from error
    except asyncpg.PostgresError as error:
        raise (StoreBusy if is_lost(error) else StoreError)(server.line(error)) from error
    except _LOST as error:
        raise StoreBusy(server.line(error)) from error


async def connect(server: Server, settings: Mapping[str, str] | None = None) -> asyncpg.Connection:
    """A connection set up the one way that is right here; raises `StoreBusy` where it is worth trying again."""
    try:
        con = await asyncpg.connect(
            server.url,
            timeout=CONNECT_SECONDS,
            command_timeout=CALL_SECONDS,
            statement_cache_size=256,  # more than we have statements
            max_cached_statement_lifetime=0,
            server_settings={**server.settings, **(settings or {})},
        )
    except (ssl.SSLError, *_FOREVER_LOST) as error:
        shown = "its URL can't be read" if isinstance(error, asyncpg.ClientConfigurationError) else error
        raise StoreError(server.line(shown)) from None
    except OSError as error:
        raise StoreBusy(server.line(error.strerror or error)) from None
    except (TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        busy = isinstance(error, (*_LOST, *_AGAIN))
        raise (StoreBusy if busy else StoreError)(server.line(error)) from None
    except ValueError:
        hint = "its URL can't be read; write what is special in a password as %XX"
        raise StoreError(server.line(hint)) from None
    if con.get_server_version().major < _OLDEST_SERVER:
        await con.close()
        raise StoreError(server.line(f"k2alert needs PostgreSQL {_OLDEST_SERVER} or newer"))
    await con.set_type_codec("jsonb", schema="pg_catalog", encoder=json.dumps, decoder=json.loads)
    return con


class _Found:
    """`Rows` that have all come."""

    def __init__(self, rows: list[Any]) -> None:
        self._rows = rows
        self._next = 0

    def __iter__(self) -> Iterator[Any]:
        return iter(self.fetchall())

    def fetchone(self) -> Any:
        rows = self.fetchmany(1)
        return rows[0] if rows else None

    def fetchall(self) -> list[Any]:
        return self.fetchmany(len(self._rows))

    def fetchmany(self, size: int) -> list[Any]:
        rows = self._rows[self._next : self._next + size]
        self._next += len(rows)
        return rows


class _Coming:
    """`Rows` that come as they are asked for, by a cursor."""

    def __init__(self, fetch: Callable[[int], list[Any]]) -> None:
        self._fetch = fetch

    def __iter__(self) -> Iterator[Any]:
        while rows := self._fetch(_CHUNK):
            yield from rows

    def fetchone(self) -> Any:
        rows = self._fetch(1)
        return rows[0] if rows else None

    def fetchall(self) -> list[Any]:
        return list(self)

    def fetchmany(self, size: int) -> list[Any]:
        return self._fetch(size)


class PostgresConnection:
    """`Connection`, for work in a thread that has this event loop. `lazy`: rows come as they are asked for."""

    def __init__(self, con: asyncpg.Connection, loop: asyncio.AbstractEventLoop, *, lazy: bool = False) -> None:
        self._con = con
        self._loop = loop
        self._lazy = lazy

    def execute(self, sql: str, args: Sequence[Any] = ()) -> "_Found | _Coming":
        """See `Connection`."""
        sql = query_for_postgres(sql)
        if not self._lazy:
            return _Found(self._wait(self._con.fetch(sql, *args)))
        cursor = self._wait(self._cursor(sql, args))
        return _Coming(lambda size: self._wait(cursor.fetch(size, timeout=LOAD_SECONDS)))

    def executemany(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        """See `Connection`."""
        every = [tuple(row) for row in rows]
        if every:
            self._wait(self._con.executemany(query_for_postgres(sql), every))

    async def _cursor(self, sql: str, args: Sequence[Any]) -> Any:
        return await self._con.cursor(sql, *args, timeout=LOAD_SECONDS)

    def _wait(self, answer: Coroutine[Any, Any, T]) -> T:
        return self._loop.run_until_complete(answer)


class Line:
    """A thread with one connection that lasts, and more for as long as somebody asks; open it before use."""

    def __init__(self, server: Server, name: str, settings: Mapping[str, str] | None = None) -> None:
        self.server = server
        self._settings = settings
        self._thread = ThreadPoolExecutor(1, name)
        self._loop = self._thread.submit(asyncio.new_event_loop).result()
        self._con: asyncpg.Connection | None = None
        self._more: set[asyncpg.Connection] = set()
        self._closed = False

    def open(self, work: Callable[[asyncpg.Connection, asyncio.AbstractEventLoop], None]) -> None:
        """Connects, and does what comes first; raises `StoreError`. Blocks."""

        def first() -> None:
            with telling(self.server):
                work(self._connected(), self._loop)

        try:
            self._thread.submit(first).result()
        except BaseException:
            self.shut()
            raise

    async def call(self, work: Callable[[], T]) -> T:
        """Runs something in the thread."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def wait(self, answer: Coroutine[Any, Any, T]) -> T:
        """In the thread: waits for an answer."""
        return self._loop.run_until_complete(answer)

    def begin(self, begin: str) -> asyncpg.Connection:
        """In the thread: the lasting connection, in a transaction. One that was lost meanwhile is made anew."""
        known = self._con is not None and not self._con.is_closed()
        try:
            self.wait(self._connected().execute(begin))
        except Exception as error:
            self.drop()
            if not known or not (is_lost(error) or isinstance(error, asyncpg.InterfaceError)):
                raise
            self.wait(self._connected().execute(begin))  # nothing was asked yet that could be done twice
        return self._connected()

    def end(self, con: asyncpg.Connection) -> None:
        """In the thread: takes back what was not committed."""
        try:
            if con.is_closed():
                self.drop()
            elif con.is_in_transaction():
                self.wait(con.execute("ROLLBACK"))
        except Exception:
            self.drop()

    def ask(self, sql: str, *args: Any) -> Any:
        """In the thread: the one value that a statement finds, outside of any transaction."""
        with telling(self.server):
            return self.wait(self._connected().fetchval(sql, *args))

    def drop(self) -> None:
        """In the thread: has the next call connect anew."""
        con, self._con = self._con, None
        if con is not None:
            self._terminate(con)

    def adapt(self, con: asyncpg.Connection, *, lazy: bool = False) -> PostgresConnection:
        """In the thread: a connection as work takes it."""
        return PostgresConnection(con, self._loop, lazy=lazy)

    def more(self) -> asyncpg.Connection:
        """In the thread: another connection, until it is let go."""
        con = self.wait(connect(self.server, self._settings))
        self._more.add(con)
        return con

    def let_go(self, cons: Sequence[asyncpg.Connection]) -> None:
        """Ends these other connections once the thread is free; nobody waits for a server that does not answer."""
        if not self._closed:
            self._thread.submit(self._terminate_all, cons)

    def _terminate_all(self, cons: Sequence[asyncpg.Connection]) -> None:
        for con in cons:
            self._terminate(con)

    def _terminate(self, con: asyncpg.Connection) -> None:
        self._more.discard(con)
        con.terminate()
        self.wait(asyncio.sleep(0))  # lets the loop close the socket

    def _connected(self) -> asyncpg.Connection:
        if self._con is None or self._con.is_closed():
            self._con = self.wait(connect(self.server, self._settings))
        return self._con

    def shut(self) -> None:
        """Ends the thread and the connection; blocks."""
        self._closed = True
        self._thread.submit(self._close).result()
        self._thread.shutdown()

    async def close(self) -> None:
        """Ends the thread and the connection."""
        if not self._closed:
            self._closed = True
            await self.call(self._close)
            self._thread.shutdown()

    def _close(self) -> None:
        for con in tuple(self._more):
            self._terminate(con)
        con, self._con = self._con, None
        if con is not None:
            with suppress(Exception):
                self.wait(con.close(timeout=2))
            self._terminate(con)
        self._loop.close()
