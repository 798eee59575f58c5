"""SQLite's side: the file, its lock, its connections, its schema.

In: the path of a database file. Out: connections set up the one way that is safe here, or `StoreError`.

Before its fixed releases SQLite can corrupt a WAL database when two connections write or checkpoint at the same
instant (https://www.sqlite.org/wal.html, "the WAL-reset bug"). So there is one process (a lock), one connection that
writes and checkpoints, and readers that do neither.
"""

import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from k2alert.record.migrating import VERSIONS, check_version, missing_steps
from k2alert.record.statements import MIGRATIONS, Migration, split_statements
from k2alert.record.store import StoreBusy, StoreError

__all__ = [
    "check_schema",
    "connect_onlooker",
    "connect_reader",
    "connect_writer",
    "has_wal_bug",
    "lock_file",
    "migrate",
    "telling",
    "transaction",
]

_BUSY_SECONDS = 5.0  # someone may look at the file with the sqlite3 shell
_FIXED_IN = (3, 51, 3)
_FIRST_WITH_BUG = (3, 7, 0)
_WITHDRAWN = (3, 52, 0)  # came out before the fix
_LARGEST_WAL = 64 * 1024 * 1024  # a long load holds checkpoints back; give the room back afterwards


def has_wal_bug(version: tuple[int, int, int]) -> bool:
    """Whether this SQLite has the WAL-reset bug."""
    return version == _WITHDRAWN or _FIRST_WITH_BUG <= version < _FIXED_IN


@contextmanager
def telling(path: Path) -> Iterator[None]:
    """Turns what SQLite says into one clear line; a bug of ours (a wrong statement's use) stays what it is."""
    try:
        yield
    except (sqlite3.IntegrityError, sqlite3.ProgrammingError):
        raise
    except sqlite3.DatabaseError as error:
        busy = error.sqlite_errorcode in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
        raise (StoreBusy if busy else StoreError)(f"store {path}: {error}") from error


def lock_file(path: Path) -> int:
    """Takes the store for this process, by a lock on `<path>.lock`; closing the descriptor gives it back.

    A file of its own, since closing any descriptor of the database would drop SQLite's own locks on it
    (https://www.sqlite.org/howtocorrupt.html, "posix advisory locks canceled").
    """
    try:
        descriptor = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except FileNotFoundError:
        raise StoreError(f"store {path}: the folder {path.parent} does not exist") from None
    except OSError as error:
        raise StoreError(f"store {path}: {error.strerror}: {error.filename}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise StoreError(f"store {path}: another process has it open") from error
    return descriptor


def connect_writer(path: Path) -> sqlite3.Connection:
    """The one connection that writes. A new file is for its owner's eyes only."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise StoreError(f"store {path}: {error.strerror}") from error
    con = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None)
    try:
        with telling(path):
            _set_up_writer(con, path)
    except BaseException:
        con.close()
        raise
    return con


def _set_up_writer(con: sqlite3.Connection, path: Path) -> None:
    (mode,) = con.execute("PRAGMA journal_mode = WAL").fetchone()
    if mode != "wal":
        raise StoreError(f"store {path}: its file system does not allow SQLite's write-ahead log")
    con.execute("PRAGMA synchronous = FULL")  # what has been saved is on disk before anyone is told
    con.execute("PRAGMA cache_size = -32000")
    con.execute(f"PRAGMA journal_size_limit = {_LARGEST_WAL}")


def connect_reader(path: Path) -> sqlite3.Connection:
    """A connection that neither writes nor checkpoints."""
    con = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None)
    return _set(con, "query_only = 1", "wal_autocheckpoint = 0")


def connect_onlooker(path: Path) -> sqlite3.Connection:
    """A connection that cannot write, for a process that looks on while another may have the store."""
    if not path.is_file():
        raise StoreError(f"store {path}: there is none")
    with telling(path):
        con = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=_BUSY_SECONDS, isolation_level=None
        )
        return _set(con, "query_only = 1")


def _set(con: sqlite3.Connection, *pragmas: str) -> sqlite3.Connection:
    """The connection with these settings; closed where it does not take them, as a file that is no database."""
    try:
        for pragma in pragmas:
            con.execute(f"PRAGMA {pragma}")
    except sqlite3.Error:
        con.close()
        raise
    return con


def check_schema(con: sqlite3.Connection, path: Path) -> None:
    """Refuses a store that is not of the schema this k2alert reads; only a daemon brings one forward."""
    with telling(path):
        tables = {row[0] for row in con.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if "schema_version" not in tables:
            raise StoreError(f"store {path}: not a store of k2alert's")
        (found,) = con.execute("SELECT max(version) FROM schema_version").fetchone()
    check_version(f"store {path}", found)


@contextmanager
def transaction(con: sqlite3.Connection, begin: str) -> Iterator[None]:
    """All of it or nothing. Some errors (a full disk) have rolled back by themselves already."""
    con.execute(begin)
    try:
        yield
        con.execute("COMMIT")
    except BaseException:
        if con.in_transaction:
            con.execute("ROLLBACK")
        raise


def migrate(con: sqlite3.Connection, path: Path, migrations: tuple[Migration, ...] = MIGRATIONS) -> None:
    """Brings the schema forward, all steps in one transaction."""
    with telling(path), transaction(con, "BEGIN IMMEDIATE"):
        for step in _missing_steps(con, path, migrations):
            for statement in split_statements(step.sql):
                con.execute(statement)
            con.execute("INSERT INTO schema_version VALUES (?, ?, ?)", (step.version, step.name, step.checksum))


def _missing_steps(con: sqlite3.Connection, path: Path, migrations: tuple[Migration, ...]) -> list[Migration]:
    tables = {row[0] for row in con.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if tables and "schema_version" not in tables:
        raise StoreError(f"store {path}: a database, but not one of k2alert's")
    con.execute(VERSIONS)
    applied = dict(con.execute("SELECT version, checksum FROM schema_version ORDER BY version").fetchall())
    return missing_steps(f"store {path}", applied, migrations)
