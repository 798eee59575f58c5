"""record: facts, alerts and the notification log, kept.

In: a store's URL. Out: a `Store`, behind which an engine keeps all that must outlive the process.
"""

from pathlib import Path

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


def open_store(url: str) -> Store:
    """The store at `sqlite:///relative.db` or `sqlite:////absolute/path.db`, its schema brought forward.

    Blocks for as long as that takes. Raises `StoreError` with one line that says what is wrong: another process has
    it, its folder is missing, it is no database, its schema is newer than this k2alert.
    """
    return EngineStore(SqliteEngine(_path_of(url)))


def look_into_store(url: str) -> Reader:
    """The store for reading only, beside a daemon that may have it. Raises `StoreError` as `open_store` does."""
    return EngineReader(SqliteOnlooker(_path_of(url)))


def _path_of(url: str) -> Path:
    path = url.removeprefix(_SQLITE)
    if not url.startswith(_SQLITE) or not path or "?" in path:
        raise StoreError(f"not a store: {_without_login(url)!r} (write it as sqlite:///k2alert.db)")
    return Path(path)


def _without_login(url: str) -> str:
    scheme, slashes, rest = url.partition("://")
    return scheme + slashes + rest.rpartition("@")[2]
