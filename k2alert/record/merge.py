"""What the store knows of one run, and what one more look at it changes.

In: a `Book`, all that is recorded of a run, and a look at the run. Out: the book after, and by comparing two
books the entries and open things that changed. Pure: no database here. The rules:

1. A run's labels and its time of creation stay what they first were; so do a job's labels.
2. A look older than the newest one (`seen`) changes nothing that is known. Finished attempts and job executions
   that it alone knows of are added.
3. An attempt is recorded once; a look that is not older may correct its result, end and lengths.
4. At a time t that one counts which is the latest (by attempt; jobs of one name by attempt and id) of those
   finished by t. So a row is superseded by the first of its successors to finish, or from its own end on where a
   successor finished before it: then it never counts.
   Executions of a job whose attempt is not known (0) are ordered by id alone.
5. A job of a finished run is not open, whatever its own state (GitLab leaves manual jobs behind).
6. An execution whose attempt is not known was told of by a webhook, which does not know its labels either: a look that
   knows the attempt gives it both.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol, TypeVar

from k2alert.model import (
    RESULTS,
    Entry,
    EntryChange,
    JobRun,
    Kind,
    OpenChange,
    OpenEntry,
    Outcome,
    PipelineRun,
    RunState,
)
from k2alert.record.rows import (
    PER_RUN,
    STATES,
    JobRow,
    Look,
    OutcomeRow,
    RunRow,
    StreamKey,
    clean,
    clean_title,
    job_stream,
    length_ms,
    link_of_job,
    maybe_ms,
    pack_id,
    pack_sha,
)
from k2alert.times import to_ms

__all__ = ["Book", "Numbers", "entry_changes", "merge", "open_book", "open_changes"]

_FINISHED = STATES.index(RunState.FINISHED)
_RESULT_CODES = {result: code for code, result in enumerate(RESULTS)}
_STATE_CODES = {state: code for code, state in enumerate(STATES)}

RowT = TypeVar("RowT", OutcomeRow, JobRow)


class Numbers(NamedTuple):
    """The store's numbers for what a look names."""

    origin: int
    streams: Mapping[StreamKey, int]
    links: Mapping[str, int]


class Book(NamedTuple):
    """All that is recorded of one run; `labels` are the run's."""

    labels: StreamKey
    run: RunRow
    outcomes: tuple[OutcomeRow, ...]  # by attempt
    jobs: tuple[JobRow, ...]


class _Row(Protocol):
    @property
    def id(self) -> int: ...


def open_book(run_id: int, look: Look, numbers: Numbers) -> Book:
    """The empty book of a run that is new."""
    key, created = look.key[2], to_ms(look.run.created_at)
    stream = numbers.streams[look.stream]
    blank = RunRow(run_id, numbers.origin, key, "", stream, b"", "", 0, _FINISHED, created, None, look.seen)
    return Book(look.stream, blank, (), ())


def merge(book: Book, look: Look, numbers: Numbers) -> Book:
    """The book after one more look."""
    fresh = look.seen >= book.run.seen
    run = _look_again(book.run, look, numbers) if fresh else book.run
    outcomes = _merge_outcomes(book, look.run.outcomes, fresh) if look.run.outcomes else book.outcomes
    jobs = _merge_jobs(book, look.run, numbers, fresh) if look.run.jobs else book.jobs
    if jobs:
        jobs = tuple(_open_jobs_ended(jobs) if run.state == _FINISHED else jobs)
    return Book(book.labels, run, outcomes, jobs)


def _look_again(run: RunRow, look: Look, numbers: Numbers) -> RunRow:
    state = _STATE_CODES[look.run.state]
    return RunRow(
        run.id,
        run.origin,
        run.forge_id,
        pack_id(look.run.number),
        run.stream,
        pack_sha(look.run.sha),
        clean_title(look.run.title),
        numbers.links[look.link],
        state,
        run.created,
        None if state == _FINISHED else maybe_ms(look.run.started_at),
        look.seen,
    )


# ------------------------------------------------------------------------------------------- outcomes


def _merge_outcomes(book: Book, looks: Iterable[Outcome], fresh: bool) -> tuple[OutcomeRow, ...]:
    known = {row.attempt: row for row in book.outcomes}
    place = _next_id(book.run.id, book.outcomes)
    for look in looks:
        row = known.get(look.attempt)
        if row is None and place < (book.run.id + 1) * PER_RUN:
            known[look.attempt] = _outcome_row(place, look)
            place += 1
        elif row is not None and fresh:
            known[look.attempt] = _outcome_row(row.id, look)._replace(retry=row.retry)
    return _in_order([known[attempt] for attempt in sorted(known)])


def _outcome_row(place: int, look: Outcome) -> OutcomeRow:
    return OutcomeRow(
        place,
        look.attempt,
        _RESULT_CODES[look.result],
        to_ms(look.finished_at),
        None,
        length_ms(look.duration),
        length_ms(look.queued),
        0,
    )


def _next_id(run_id: int, rows: Sequence[_Row]) -> int:
    return max(row.id for row in rows) + 1 if rows else run_id * PER_RUN


def _in_order(rows: Sequence[RowT]) -> tuple[RowT, ...]:
    """The rows of one run or one job name, in order, with what follows from the order.

    Once a retry, always one: the first execution may have been forgotten by retention.
    """
    if len(rows) == 1:
        return tuple(rows) if rows[0].superseded is None else (rows[0]._replace(superseded=None),)
    ends = _superseded([row.finished or 0 for row in rows])
    return tuple(
        row._replace(superseded=end, retry=1 if place or row.retry else 0)
        for place, (row, end) in enumerate(zip(rows, ends, strict=True))
    )


def _superseded(finishes: Sequence[int]) -> list[int | None]:
    """From when on a later one counts, for each (rule 4)."""
    ends: list[int | None] = []
    earliest: int | None = None
    for finished in reversed(finishes):
        ends.append(None if earliest is None else max(finished, earliest))
        earliest = finished if earliest is None else min(finished, earliest)
    return ends[::-1]


# ----------------------------------------------------------------------------------------------- jobs


def _merge_jobs(book: Book, look: PipelineRun, numbers: Numbers, fresh: bool) -> tuple[JobRow, ...]:
    known = {row.forge_id: row for row in book.jobs}
    place = _next_id(book.run.id, book.jobs)
    for job in look.jobs:
        row = known.get(pack_id(job.id))
        if row is None and place < (book.run.id + 1) * PER_RUN and (fresh or _ends(job)):
            row = _job_row(place, book.labels, look, job, numbers)
            known[row.forge_id] = row
            place += 1
        elif row is not None and (fresh or (_ends(job) and not _has_ended(row)) or (job.attempt and not row.attempt)):
            known[row.forge_id] = _job_again(row, _job_row(row.id, book.labels, look, job, numbers))
    return _order_jobs(row for row in known.values() if row.state != _FINISHED or _has_ended(row))


def _open_jobs_ended(rows: Iterable[JobRow]) -> Iterator[JobRow]:
    """Rule 5: of the open ones only those stay that ended before."""
    for row in rows:
        if _has_ended(row):
            yield row if row.state == _FINISHED else row._replace(state=_FINISHED, created=None, started=None)


def _ends(job: JobRun) -> bool:
    return job.state is RunState.FINISHED and job.result is not None and job.finished_at is not None


def _has_ended(row: JobRow) -> bool:
    return row.finished is not None


def _job_row(place: int, labels: StreamKey, look: PipelineRun, job: JobRun, numbers: Numbers) -> JobRow:
    key = job_stream(labels, job)
    ended, is_open = _ends(job), job.state is not RunState.FINISHED
    return JobRow(
        id=place,
        forge_id=pack_id(job.id),
        name=clean(job.name),
        stream=numbers.streams[key],
        link=numbers.links[link_of_job(look, job)],
        state=_STATE_CODES[job.state],
        attempt=job.attempt,
        allowed=int(job.allowed),
        retry=0,
        result=_RESULT_CODES[job.result] if ended and job.result is not None else None,
        reason=clean(job.reason) if ended else "",
        created=maybe_ms(job.created_at) if is_open else None,
        started=maybe_ms(job.started_at) if is_open else None,
        finished=maybe_ms(job.finished_at) if ended else None,
        superseded=None,
        duration=length_ms(job.duration) if ended else None,
        queued=length_ms(job.queued) if ended else None,
    )


def _job_again(row: JobRow, look: JobRow) -> JobRow:
    """A known execution after a look: an end once recorded stays, also while the job is open again."""
    if look.attempt and not row.attempt:  # rule 6
        row = row._replace(stream=look.stream, attempt=look.attempt)
    attempt = look.attempt or row.attempt
    if _has_ended(look):
        return look._replace(stream=row.stream, attempt=attempt, retry=row.retry)
    return row._replace(state=look.state, created=look.created, started=look.started, link=look.link)


def _order_jobs(rows: Iterable[JobRow]) -> tuple[JobRow, ...]:
    names: dict[str, list[JobRow]] = {}
    rest: list[JobRow] = []
    for row in rows:
        if _has_ended(row):
            names.setdefault(row.name, []).append(row)
        else:
            rest.append(row)
    return tuple(rest) + tuple(row for same in names.values() for row in _in_order(_by_execution(same)))


def _by_execution(rows: Sequence[JobRow]) -> list[JobRow]:
    """The executions of one job in order: by attempt where each is known, then by the forge's id as a number."""
    known = all(row.attempt for row in rows)
    return sorted(rows, key=lambda row: (row.attempt if known else 0, len(str(row.forge_id)), str(row.forge_id)))


# -------------------------------------------------------------------------------------------- changes


def _run_entry(run: RunRow, row: OutcomeRow) -> Entry:
    """An outcome as `measure` counts it."""
    return Entry(
        run.stream,
        row.id,
        run.created,
        row.finished,
        row.superseded,
        row.result,
        row.duration,
        row.queued,
        False,
        row.retry == 1,
    )


def _job_entry(run: RunRow, row: JobRow) -> Entry | None:
    """A finished job execution as `measure` counts it."""
    if row.finished is None or row.result is None:
        return None
    return Entry(
        row.stream,
        row.id,
        run.created,
        row.finished,
        row.superseded,
        row.result,
        row.duration,
        row.queued,
        row.allowed == 1,
        row.retry == 1,
    )


def entry_changes(before: Book, after: Book) -> list[EntryChange]:
    """The entries that came, went or changed."""
    changes: list[EntryChange] = []
    if before.outcomes != after.outcomes:
        compared = _compare(_run_entries(before), _run_entries(after))
        changes += [EntryChange(Kind.RUN, old, new) for _, old, new in compared]
    if before.jobs != after.jobs:
        compared = _compare(_job_entries(before), _job_entries(after))
        changes += [EntryChange(Kind.JOB, old, new) for _, old, new in compared]
    return changes


def open_changes(before: Book, after: Book) -> list[OpenChange]:
    """The open runs and jobs that came, ended or changed."""
    changes: list[OpenChange] = []
    if before.run.state != _FINISHED or after.run.state != _FINISHED:
        compared = _compare(_open_run(before), _open_run(after))
        changes += [OpenChange(Kind.RUN, str(number), new) for number, _, new in compared]
    if before.jobs != after.jobs:
        opens = _compare(_open_jobs(before), _open_jobs(after))
        changes += [OpenChange(Kind.JOB, str(number), new) for number, _, new in opens]
    return changes


ThingT = TypeVar("ThingT")


def _compare(old: Mapping[int, ThingT], new: Mapping[int, ThingT]) -> list[tuple[int, ThingT | None, ThingT | None]]:
    """What went, then what came or changed, by number."""
    gone: list[tuple[int, ThingT | None, ThingT | None]] = [
        (number, thing, None) for number, thing in old.items() if number not in new
    ]
    return gone + [(number, old.get(number), thing) for number, thing in new.items() if old.get(number) != thing]


def _run_entries(book: Book) -> dict[int, Entry]:
    return {row.id: _run_entry(book.run, row) for row in book.outcomes}


def _job_entries(book: Book) -> dict[int, Entry]:
    found = ((row.id, _job_entry(book.run, row)) for row in book.jobs)
    return {number: entry for number, entry in found if entry is not None}


def _open_run(book: Book) -> dict[int, OpenEntry]:
    run = book.run
    if run.state == _FINISHED:
        return {}
    return {run.id: OpenEntry(run.stream, str(run.id), STATES[run.state], run.created, run.started)}


def _open_jobs(book: Book) -> dict[int, OpenEntry]:
    return {row.id: _open_job(book.run, row) for row in book.jobs if row.state != _FINISHED}


def _open_job(run: RunRow, row: JobRow) -> OpenEntry:
    created = run.created if row.created is None else row.created
    return OpenEntry(row.stream, str(row.id), STATES[row.state], created, row.started)
