"""record: facts, alerts and the notification log, kept.

In: a store's URL. Out: a `Store`, behind which an engine keeps all that must outlive the process.
"""

from importlib import import_module
from pathlib import Path
from types import ModuleType

from k2alert.record.calls import EngineReader, EngineStore
from k2alert.record.sqlite import SqliteEngine, SqliteOnlooker
from k2alert.record.store import Change, Lease, Moment, NotLeader, Reader, Store, StoreBusy, StoreError, Topic

__all__ = [
    "Change",
    "Lease",
    "Moment",
    "NotLeader",
    "Reader",
    "Store",
    "StoreBusy",
    "StoreError",
    "Topic",
    "look_into_store",
    "open_store",
]

_SQLITE = "sqlite:///"
_POSTGRES = ("postgresql://", "postgres://")


def open_store(url: str) -> Store:
    """The store at `sqlite:///relative.db`, `sqlite:////absolute/path.db` or `postgresql://user:password@host/db`.

    Brings its schema forward, and blocks for as long as that takes. Raises `StoreError` with one line that says what is
    wrong: another process has it, its folder or its database is missing, it is no store, its schema is newer than this
    k2alert; and `StoreBusy` where it is worth trying again.
    """
    if url.startswith(_POSTGRES):
        return EngineStore(_postgres().PostgresEngine(url))
    return EngineStore(SqliteEngine(_path_of(url)))


def look_into_store(url: str) -> Reader:
    """The store for reading only, beside a daemon that may have it. Raises `StoreError` as `open_store` does."""
    if url.startswith(_POSTGRES):
        return EngineReader(_postgres().PostgresOnlooker(url))
    return EngineReader(SqliteOnlooker(_path_of(url)))


def _postgres() -> ModuleType:
    """Its engine, which needs a library that is not installed with k2alert."""
    try:
        return import_module("k2alert.record.postgres")
    except ModuleNotFoundError as error:
        if error.name != "asyncpg":
            raise
        raise StoreError("a PostgreSQL store needs asyncpg, which comes with k2alert[postgres]") from None


def _path_of(url: str) -> Path:
    path = url.removeprefix(_SQLITE)
    if not url.startswith(_SQLITE) or not path or "?" in path:
        raise StoreError(f"not a store: {_without_login(url)!r} (write it as sqlite:///k2alert.db)")
    return Path(path)


def _without_login(url: str) -> str:
    scheme, slashes, rest = url.partition("://")
    return scheme + slashes + rest.rpartition("@")[2]
