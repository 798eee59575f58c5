"""Retention: what may be forgotten, and what ages and streaks still need.

In: the tables as they stand, and a time. Out: numbers of rows to drop, and `Saved` for those that were. What
ended before the time goes, save the newest finished and the newest successful outcome that counts

- of each stream that is still alive (has an outcome since) or of a default branch, and
- of each family of streams (all labels but the branch),

so that the age of the last green stays known however long ago it was, while dead branches and change requests
leave nothing behind. Open runs that no look has seen since that time go too: forges keep blocked ones for ever. Once a
day the label sets that no fact has any more go as well.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from k2alert.model import RESULTS, RefType, Result, RunState, Saved
from k2alert.record.connection import Connection
from k2alert.record.merge import Book
from k2alert.record.rows import PER_RUN, STATES
from k2alert.record.saving import HORIZON, load_books, saved, write_books
from k2alert.record.statements import QUERIES

__all__ = [
    "CHUNK",
    "drop_history",
    "drop_jobs",
    "drop_outcomes",
    "drop_runs",
    "drop_streams",
    "find_old_outcomes",
    "find_old_runs",
    "find_unused_streams",
    "is_sweep_due",
    "note_sweep",
]

CHUNK = 500
"""Rows dropped in one transaction: some tens of milliseconds, so that saves are never held up for long."""

_READ_CHUNK = 10_000
_RUNS_LOOKED_THROUGH = 50_000  # in one statement, with their jobs: some tens of milliseconds
_SWEPT = "streams_swept_before"
_SWEEP_EVERY = 24 * 3_600_000  # ms: it reads which label set every run and job has
_SUCCESS = RESULTS.index(Result.SUCCESS)
_FINISHED = STATES.index(RunState.FINISHED)

Family = tuple[Any, ...]  # origin, ref_type, event, workflow


@dataclass(slots=True)
class _Keepers:
    """Walks outcomes from the newest to the oldest and says which to keep."""

    families: dict[int, Family]
    alive: set[int] = field(default_factory=set)
    finished: set[Any] = field(default_factory=set)  # streams and families whose newest has been met
    green: set[Any] = field(default_factory=set)  # and whose newest success has been met

    def meet(self, stream: int, green: bool) -> None:
        """Takes note of an outcome that stays anyway."""
        self.alive.add(stream)
        self._take(stream, green)

    def keeps(self, stream: int, green: bool) -> bool:
        """Whether the next older outcome is needed, and takes note of it."""
        before = len(self.finished) + len(self.green)
        self._take(stream, green)
        return len(self.finished) + len(self.green) > before

    def _take(self, stream: int, green: bool) -> None:
        family = self.families[stream]
        lasting = stream in self.alive or family[1] == RefType.DEFAULT.value
        keys = (stream, family) if lasting else (family,)
        self.finished.update(keys)
        if green:
            self.green.update(keys)


def find_old_outcomes(con: Connection, before: int) -> Iterator[list[int]]:
    """The outcomes to drop, in chunks; some are empty, so that the caller can let others read in between."""
    keepers = _Keepers({row[0]: row[1:] for row in con.execute(QUERIES["stream_families"])})
    young = con.execute(QUERIES["young_outcomes"], (before,))
    while rows := young.fetchmany(_READ_CHUNK):
        for stream, result in rows:
            keepers.meet(stream, result == _SUCCESS)
        yield []
    old = con.execute(QUERIES["old_outcomes"], (before,))
    while rows := old.fetchmany(_READ_CHUNK):
        yield [row[0] for row in rows if not _needed(keepers, *row[1:])]


def _needed(keepers: _Keepers, stream: int, result: int, superseded: int | None) -> bool:
    return superseded is None and keepers.keeps(stream, result == _SUCCESS)


def find_old_runs(con: Connection, before: int) -> list[int]:
    """Runs not seen since then that are open, or have no outcome left."""
    return [row[0] for row in con.execute(QUERIES["old_runs"], (before,))]


def drop_outcomes(con: Connection, before: int, numbers: Sequence[int]) -> Saved:
    """Drops those of these outcomes that still ended before the time."""
    chosen = set(numbers)

    def shrink(book: Book) -> Book:
        kept = tuple(row for row in book.outcomes if row.id not in chosen or row.finished >= before)
        return book._replace(outcomes=kept)

    return _write(con, [(book, shrink(book)) for book in _books_of(con, chosen)])


def drop_jobs(con: Connection, before: int) -> Saved | None:
    """Drops a chunk of old job executions; None when there is none left."""
    chosen = {row[0] for row in con.execute(QUERIES["old_jobs"], (before, CHUNK))}

    def shrink(book: Book) -> Book:
        return book._replace(jobs=tuple(row for row in book.jobs if row.id not in chosen))

    return _write(con, [(book, shrink(book)) for book in _books_of(con, chosen)]) if chosen else None


def drop_runs(con: Connection, before: int, ids: Iterable[int]) -> Saved:
    """Ends those of these runs that still were not seen since then, and drops those without outcomes."""

    def end(book: Book) -> Book:
        return book._replace(run=book.run._replace(state=_FINISHED, started=None), jobs=())

    changes = [(book, end(book)) for book in load_books(con, ids) if book.run.seen < before]
    ended = _write(con, changes)
    con.executemany(QUERIES["drop_run"], [(book.run.id,) for book, _ in changes if not book.outcomes])
    return ended


def is_sweep_due(con: Connection, before: int) -> bool:
    """Whether retention has gone on by a day since label sets were looked through."""
    swept = con.execute(QUERIES["note"], (_SWEPT,)).fetchone()
    return swept is None or not 0 <= before - swept[0] < _SWEEP_EVERY


def find_unused_streams(con: Connection) -> Iterator[list[int]]:
    """The label sets that no fact has, last of all. What is saved meanwhile is not seen, so nothing may be saved until
    they are dropped.
    """
    unused = {row[0] for row in con.execute(QUERIES["streams_without_facts"])}
    (last,) = con.execute(QUERIES["last_run"]).fetchone()
    for first in range(0, last + 1, _RUNS_LOOKED_THROUGH):
        end = first + _RUNS_LOOKED_THROUGH
        for query, places in (("streams_of_runs", 1), ("streams_of_jobs", PER_RUN)):
            numbers = con.execute(QUERIES[query], (first * places, end * places - 1))
            unused.difference_update(row[0] for row in numbers)
        yield []
    yield sorted(unused)


def drop_streams(con: Connection, numbers: Sequence[int]) -> Saved:
    """Forgets these label sets."""
    con.executemany(QUERIES["drop_stream"], [(number,) for number in numbers])
    return Saved(gone=tuple(numbers))


def note_sweep(con: Connection, before: int) -> None:
    """Notes how far retention had gone when label sets were looked through."""
    con.execute(QUERIES["put_note"], (_SWEPT, before))


def drop_history(con: Connection, before: int) -> None:
    """Drops old edges, log entries and messages tried, and notes how far retention has gone."""
    con.execute(QUERIES["drop_old_transitions"], (before,))
    con.execute(QUERIES["drop_old_notifications"], (before,))
    con.execute(QUERIES["drop_old_tellings"], (before,))
    con.execute(QUERIES["put_note"], (HORIZON, before))


def _books_of(con: Connection, numbers: Iterable[int]) -> list[Book]:
    """The books of the runs that these outcomes or jobs belong to."""
    return load_books(con, {number // PER_RUN for number in numbers})


def _write(con: Connection, changes: Sequence[tuple[Book, Book]]) -> Saved:
    write_books(con, changes)
    return saved(changes)
