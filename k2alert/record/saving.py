"""One save: looks at runs into tables, and what that really changed.

In: an open transaction and the looks of one batch. Out: `Saved`. First everything the batch names gets its number
(projects, streams, links), then the books of its runs are read, merged (`merge.py`) and written where they differ.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from k2alert.model import Kind, PipelineRun, Saved, Stream
from k2alert.record.connection import Connection
from k2alert.record.merge import Book, Numbers, entry_changes, merge, open_book, open_changes
from k2alert.record.rows import (
    PER_RUN,
    JobRow,
    Look,
    OutcomeRow,
    RunRow,
    StreamKey,
    job_stream,
    link_of_job,
    prepare,
)
from k2alert.record.statements import QUERIES

__all__ = [
    "HORIZON",
    "load_books",
    "number_links",
    "number_origins",
    "number_streams",
    "save_runs",
    "saved",
    "write_books",
]

HORIZON = "pruned_before"
"""The note that says up to where retention has gone: what ended before it may have been counted already."""

_RUN_FIELDS = len(RunRow._fields)

Key = tuple[str, str, int | str]  # source, project, the forge's id
Change = tuple[Book, Book]  # the book before and after


def save_runs(con: Connection, runs: Sequence[PipelineRun]) -> Saved:
    """Records a batch of looks."""
    looks = [prepare(run) for run in runs]
    origins = number_origins(con, {look.project for look in looks})
    books = _find_books(con, looks, origins)
    streams, new_streams = number_streams(con, _streams_of(looks, books), origins)
    links = number_links(con, _links_of(looks))
    changes = _merge_all(looks, books, origins, Numbers(0, streams, links), _scalar(con, "last_run") + 1)
    write_books(con, changes)
    _count(con, changes)
    return saved(changes, new_streams)


def saved(changes: Sequence[Change], streams: Sequence[Stream] = ()) -> Saved:
    """What these changes mean to others."""
    entries = tuple(change for before, after in changes for change in entry_changes(before, after))
    return Saved(tuple(streams), entries, tuple(change for book in changes for change in open_changes(*book)))


def _merge_all(
    looks: Iterable[Look],
    books: Mapping[Key, Book],
    origins: Mapping[tuple[str, str], int],
    numbers: Numbers,
    next_run: int,
) -> list[Change]:
    """Every look onto its book, in the order they came."""
    changes: dict[Key, Change] = {}
    for look in looks:
        numbered = numbers._replace(origin=origins[look.project])
        if look.key in changes:
            before, book = changes[look.key]
        elif look.key in books:
            before = book = books[look.key]
        else:
            before = book = open_book(next_run, look, numbered)
            next_run += 1
        changes[look.key] = (before, merge(book, look, numbered))
    return list(changes.values())


def write_books(con: Connection, changes: Sequence[Change]) -> None:
    """Writes the rows that differ and drops those that are gone. The blank row of a new run differs from any."""
    con.executemany(QUERIES["put_run"], [after.run for before, after in changes if before.run != after.run])
    con.executemany(QUERIES["drop_outcome"], _gone((before.outcomes, after.outcomes) for before, after in changes))
    con.executemany(QUERIES["put_outcome"], _differing((before.outcomes, after.outcomes) for before, after in changes))
    con.executemany(QUERIES["drop_job"], _gone((before.jobs, after.jobs) for before, after in changes))
    con.executemany(QUERIES["put_job"], _differing((before.jobs, after.jobs) for before, after in changes))


Rows = Sequence[OutcomeRow] | Sequence[JobRow]


def _differing(pairs: Iterable[tuple[Rows, Rows]]) -> list[OutcomeRow | JobRow]:
    rows: list[OutcomeRow | JobRow] = []
    for before, after in pairs:
        if before:
            known = set(before)
            rows += [row for row in after if row not in known]
        else:
            rows += after
    return rows


def _gone(pairs: Iterable[tuple[Rows, Rows]]) -> list[tuple[int]]:
    return [
        (number,)
        for before, after in pairs
        if before
        for number in {row.id for row in before} - {row.id for row in after}
    ]


def _count(con: Connection, changes: Sequence[Change]) -> None:
    """Adds the attempts recorded for the first time to the totals."""
    horizon = con.execute(QUERIES["note"], (HORIZON,)).fetchone()
    since = horizon[0] if horizon else 0
    sums: dict[tuple[int, str, int], list[int]] = defaultdict(lambda: [0, 0, 0])
    for before, after in changes:
        known = {row.id for row in before.outcomes}
        for row in after.outcomes:
            if row.id not in known and row.finished >= since:
                total = sums[(after.run.origin, after.labels.ref_type, row.result)]
                total[0] += 1
                total[1] += row.duration or 0
                total[2] += row.duration is not None
    con.executemany(QUERIES["count_total"], [(*key, *total) for key, total in sums.items()])


# ---------------------------------------------------------------------------------------- reading books


def _find_books(con: Connection, looks: Iterable[Look], origins: Mapping[tuple[str, str], int]) -> dict[Key, Book]:
    wanted: dict[tuple[str, str], list[int | str]] = defaultdict(list)
    for look in looks:
        wanted[look.project].append(look.key[2])
    found: dict[Key, Book] = {}
    for (source, project), ids in wanted.items():
        rows = con.execute(QUERIES["find_runs"], (origins[source, project], json.dumps(ids))).fetchall()
        for book in _read_books(con, rows, source, project):
            found[source, project, book.run.forge_id] = book
    return found


def load_books(con: Connection, ids: Iterable[int]) -> list[Book]:
    """The books of runs by their numbers. Their labels lack source and project."""
    rows = con.execute(QUERIES["runs_by_id"], (json.dumps(list(ids)),)).fetchall()
    return list(_read_books(con, rows, "", ""))


def _read_books(con: Connection, rows: Sequence[Any], source: str, project: str) -> Iterator[Book]:
    if not rows:
        return
    ids = json.dumps([row[0] for row in rows])
    outcomes: dict[int, list[OutcomeRow]] = defaultdict(list)
    for found in con.execute(QUERIES["outcomes_of_runs"], (ids,)):
        outcomes[found[0] // PER_RUN].append(OutcomeRow(*found))
    jobs: dict[int, list[JobRow]] = defaultdict(list)
    for found in con.execute(QUERIES["jobs_of_runs"], (ids,)):
        jobs[found[0] // PER_RUN].append(JobRow(*found))
    for row in rows:
        run = RunRow(*row[:_RUN_FIELDS])
        ref_type, branch, event, workflow = row[_RUN_FIELDS:]
        labels = StreamKey(Kind.RUN.value, source, project, ref_type, branch, event, workflow)
        ordered = sorted(outcomes[run.id], key=lambda outcome: outcome.attempt)
        yield Book(labels, run, tuple(ordered), tuple(jobs[run.id]))


# ---------------------------------------------------------------------------------------- giving numbers


def number_origins(con: Connection, pairs: set[tuple[str, str]]) -> dict[tuple[str, str], int]:
    """The numbers of projects by source and path, new ones too."""
    con.executemany(QUERIES["add_origin"], sorted(pairs))
    return {pair: con.execute(QUERIES["find_origin"], pair).fetchone()[0] for pair in pairs}


def _streams_of(looks: Iterable[Look], books: Mapping[Key, Book]) -> set[StreamKey]:
    """The streams that a batch needs: those of new runs, and those of jobs under the labels of their run."""
    labels = {key: book.labels for key, book in books.items()}
    streams: set[StreamKey] = set()
    for look in looks:
        stream = labels.get(look.key)
        if stream is None:
            stream = labels[look.key] = look.stream
            streams.add(stream)
        for job in look.run.jobs:
            streams.add(job_stream(stream, job))
    return streams


def number_streams(
    con: Connection, keys: set[StreamKey], origins: Mapping[tuple[str, str], int]
) -> tuple[dict[StreamKey, int], list[Stream]]:
    """The numbers of streams, and those that are new."""
    by_fingerprint = {key.fingerprint: key for key in keys}
    rows = con.execute(QUERIES["find_streams"], (json.dumps(list(by_fingerprint)),))
    known = {by_fingerprint[fingerprint]: number for fingerprint, number in rows}
    first = _scalar(con, "last_stream") + 1
    new = dict(zip(sorted(keys - known.keys()), range(first, first + len(keys)), strict=False))
    con.executemany(QUERIES["add_stream"], [_stream_row(key, number, origins) for key, number in new.items()])
    return known | new, [Stream(number, Kind(key.kind), key.labels) for key, number in new.items()]


def _stream_row(key: StreamKey, number: int, origins: Mapping[tuple[str, str], int]) -> tuple[int | str, ...]:
    return (number, key.fingerprint, key.kind, origins[key.source, key.project], *key[3:])


def _links_of(looks: Iterable[Look]) -> set[str]:
    jobs = {link_of_job(look.run, job) for look in looks for job in look.run.jobs}
    return jobs | {look.link for look in looks}


def number_links(con: Connection, links: set[str]) -> dict[str, int]:
    """The numbers of folded web addresses, new ones too."""
    wanted = (json.dumps(list(links)),)
    known = dict(con.execute(QUERIES["find_links"], wanted).fetchall())
    missing = links - known.keys()
    if missing:
        con.executemany(QUERIES["add_link"], [(link,) for link in sorted(missing)])
        known = dict(con.execute(QUERIES["find_links"], wanted).fetchall())
    return known


def _scalar(con: Connection, query: str) -> int:
    return int(con.execute(QUERIES[query]).fetchone()[0])
