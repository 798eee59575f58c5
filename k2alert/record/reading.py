"""Facts out of the tables, as `measure` and `collect` take them.

In: a connection that reads. Out: streams, entries, open things, known runs.
"""

from collections.abc import Iterator

from k2alert.model import Entry, EntryRow, Kind, KnownRun, OpenEntry, Stream
from k2alert.record.connection import Connection
from k2alert.record.rows import STATES, StreamKey, unpack_id
from k2alert.record.statements import QUERIES
from k2alert.times import from_ms

__all__ = ["BATCH", "read_entries", "read_known_runs", "read_opens", "read_rows", "read_streams"]

BATCH = 10_000
"""Entries in one batch: about 20 ms to read, so other reads come in between."""


def read_streams(con: Connection) -> list[Stream]:
    """Every stream, by number. Most have the labels of others save one: what is equal is held once."""
    same: dict[str, str] = {}
    return [
        Stream(number, Kind(kind), StreamKey(kind, *(same.setdefault(label, label) for label in labels)).labels)
        for number, kind, *labels in con.execute(QUERIES["all_streams"])
    ]


def read_entries(con: Connection, kind: Kind, since_ms: int) -> Iterator[list[Entry]]:
    """Entries finished since then, in (finished, ref) order, in batches."""
    cursor = con.execute(QUERIES[f"{kind.value}_entries"], (since_ms,))
    while rows := cursor.fetchmany(BATCH):
        yield [
            Entry(stream, ref, created, finished, superseded, result, duration, queued, allowed == 1, retry == 1)
            for stream, ref, created, finished, superseded, result, duration, queued, allowed, retry in rows
        ]


def read_rows(con: Connection, kind: Kind) -> Iterator[list[EntryRow]]:
    """All of them as rows, in the same order."""
    cursor = con.execute(QUERIES[f"{kind.value}_rows"])
    while rows := cursor.fetchmany(BATCH):
        yield rows


def read_opens(con: Connection) -> list[tuple[Kind, OpenEntry]]:
    """Every open run, then every open job."""
    return [
        (kind, OpenEntry(stream, str(number), STATES[state], created, started))
        for kind, query in ((Kind.RUN, "open_runs"), (Kind.JOB, "open_jobs"))
        for number, stream, state, created, started in sorted(con.execute(QUERIES[query]))
    ]


def read_known_runs(con: Connection, source: str, project: str, since_ms: int) -> dict[str, KnownRun]:
    """Runs of a project seen since then or still open, by the forge's id."""
    rows = con.execute(QUERIES["known_runs"], (source, project, since_ms, source, project))
    return {
        unpack_id(forge_id): KnownRun(from_ms(seen), attempt, STATES[state]) for forge_id, seen, state, attempt in rows
    }
