"""Report files out of job artifacts, the same for every forge: which runs are asked for, and what comes of them.

A forge's look goes in, the same look followed by the reading of artifacts comes out. A run's artifacts are read once it
has finished, whoever told of it: this look, a look before that broke off, or a webhook. What was read is kept in the
project's bookmarks; after a restart the runs of the last minutes are read again, which changes nothing.

How a forge lists a run's artifacts is its own (`ListArchives`); everything else is here.
"""

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from fnmatch import fnmatchcase
from functools import partial
from typing import Any, NamedTuple, TypeVar, cast

from k2alert.collect.flow import Answer, Ask, Batch, Failure, Flow, Look, LookFlow, Refusal, Request, Scan, ScanFlow
from k2alert.formats import Harvest, Reason, Wanted, harvest
from k2alert.model import Execution, Fact, Kind, PipelineRun, Project, RunState

__all__ = ["Archive", "FinishedRun", "ListArchives", "Steps", "is_chosen", "scan_with_artifacts", "with_artifacts"]

_BOOKMARK = "artifacts"
_MOST_RUNS = 100  # in one look, the newest first: a backfill must not download for days
_MOST_VAIN = 3  # downloads in a row that fail before the others are left for the next look
_FATAL = frozenset({"auth", "rate_limited", "network"})
"""Failures that say something of the forge, and not of one archive or of what this token may read."""
_PASSING = frozenset({"server", "timeout"})
"""Failures after which the same archive is asked for again in the next look."""


class FinishedRun(NamedTuple):
    """A run whose artifacts may be read: its id, the state of it that was seen, and when its attempts finished."""

    id: str
    seen: datetime
    attempts: tuple[tuple[int, datetime], ...]

    def attempt_at(self, at: datetime) -> int:
        """The attempt that wrote something at this time."""
        return next((number for number, finished in self.attempts if at <= finished), self.attempts[-1][0])


class Archive(NamedTuple):
    """One archive of artifacts: the forge's id of it, where it is, its size in bytes packed, and who wrote it."""

    id: str
    path: str
    size: int
    by: Execution


_T = TypeVar("_T")
Steps = Generator[Request | Batch, Answer | None, _T]
"""A part of a look that comes to a T."""

ListArchives = Callable[[Ask, Project, FinishedRun], Steps[Sequence[Archive] | Failure]]
"""The archives of a run that the settings choose."""

_LARGEST = 256 * 1024 * 1024  # bytes of an archive, as much as is downloaded


def is_chosen(by: Execution, ask: Ask) -> bool:
    """Whether a job (of GitHub: an artifact) of this name, or label `job`, is read; all are where globs are none."""
    globs = ask.reports.jobs
    return not globs or any(fnmatchcase(name, glob) for glob in globs for name in (by.name, by.job))


def with_artifacts(look: LookFlow, list_archives: ListArchives) -> LookFlow:
    """A look that reads report files too, where rules and settings want any."""

    def look_at_both(ask: Ask) -> Flow:
        wanted = _wanted(ask)
        if wanted == Wanted():
            return (yield from look(ask))
        told = _Told()
        seen = yield from _overhear(look(_without_marks(ask)), told)
        marks = ask.bookmarks.get(_BOOKMARK, {})
        reading = _Reading(ask, seen.project, wanted, list_archives, told.last, dict(marks))
        failure = seen.failure
        if failure is None or failure.reason == "body":
            failure = (yield from reading.read(_due(ask, told.runs))) or failure
        return replace(seen, failure=failure, bookmarks={**seen.bookmarks, _BOOKMARK: reading.marks})

    return look_at_both


def scan_with_artifacts(scan: ScanFlow) -> ScanFlow:
    """A scan that leaves out the projects whose artifacts are due, so that downloads hold up only their own project.

    Such a project is looked at by itself, next; its runs are recorded already.
    """

    def scan_without(asks: Sequence[Ask]) -> Steps[Scan]:
        told = _Told()
        seen = yield from _overhear(scan([_without_marks(ask) for ask in asks]), told)
        looks = {}
        for ask in asks:
            look = seen.looks.get(ask.project.key)
            if look is not None and not _is_due(ask, look, told):
                looks[ask.project.key] = replace(look, bookmarks=_kept(ask, look))
        return replace(seen, looks=looks)

    return scan_without


def _is_due(ask: Ask, look: Look, told: "_Told") -> bool:
    if look.failure is not None or _wanted(ask) == Wanted():
        return False
    runs = {id: run for id, run in told.runs.items() if run.project == look.project.path}
    marks = ask.bookmarks.get(_BOOKMARK, {})
    return any(marks.get(run.id, _Mark()).seen != run.seen for run in _due(ask, runs))


def _without_marks(ask: Ask) -> Ask:
    """The ask as the forge's own flow takes it: bookmarks are its own."""
    return replace(ask, bookmarks={key: mark for key, mark in ask.bookmarks.items() if key != _BOOKMARK})


def _kept(ask: Ask, look: Look) -> Mapping[str, Any]:
    """The look's bookmarks, with those of artifacts as they were."""
    return {**look.bookmarks, _BOOKMARK: ask.bookmarks.get(_BOOKMARK, {})}


def _wanted(ask: Ask) -> Wanted:
    kinds, reports = ask.wants, ask.reports
    return Wanted(
        tests=reports.junit if Kind.TEST in kinds else (),
        coverage=reports.coverage if Kind.COVERAGE in kinds else (),
        benchmarks=reports.benchmarks if Kind.BENCHMARK in kinds else (),
    )


@dataclass(slots=True)
class _Told:
    """What a look handed over: the runs, and its last batch, which says how far it came."""

    runs: dict[str, PipelineRun] = field(default_factory=dict)
    last: Batch = field(default_factory=lambda: Batch(()))


def _overhear(flow: Steps[_T], told: _Told) -> Steps[_T]:
    """The flow as it is; `told` hears what it hands over."""
    answer: Answer | None = None
    try:
        while True:
            said = flow.send(answer)
            if isinstance(said, Batch):
                told.runs.update({run.id: run for run in said.runs})
                told.last = said
            answer = yield said
    except StopIteration as end:
        return cast(_T, end.value)
    finally:
        flow.close()


def _due(ask: Ask, told: Mapping[str, PipelineRun]) -> list[FinishedRun]:
    """The finished runs that changed since `Ask.since`, the newest first."""
    runs = {
        id: FinishedRun(id, run.seen, ((run.attempt, run.seen),))
        for id, run in ask.known.items()
        if run.state is RunState.FINISHED and run.seen >= ask.since
    }
    for id, run in told.items():
        runs.pop(id, None)
        if run.state is RunState.FINISHED and run.outcomes:
            attempts = tuple((outcome.attempt, outcome.finished_at) for outcome in run.outcomes)
            runs[id] = FinishedRun(id, run.seen, attempts)
    return sorted(runs.values(), key=lambda run: run.seen, reverse=True)


class _Mark(NamedTuple):
    """What has been read of a run: the state in which all of it was, and the archives."""

    seen: datetime | None = None
    archives: frozenset[str] = frozenset()


@dataclass(slots=True)
class _Reading:
    """The artifacts of one look in progress."""

    ask: Ask
    project: Project
    wanted: Wanted
    list_archives: ListArchives
    last: Batch
    marks: dict[str, _Mark]
    vain: int = 0

    def read(self, due: Sequence[FinishedRun]) -> Steps[Failure | None]:
        """All that is due; the failure that ends it, where that is the forge's own."""
        self.marks = {run.id: self.marks.get(run.id, _Mark()) for run in due}
        unread = [run for run in due if self.marks[run.id].seen != run.seen]
        for run in unread[:_MOST_RUNS]:
            failure = yield from self._read_run(run)
            if failure is not None or self.vain >= _MOST_VAIN:
                return failure
        return None

    def _read_run(self, run: FinishedRun) -> Steps[Failure | None]:
        archives = yield from self.list_archives(self.ask, self.project, run)
        if isinstance(archives, Failure):
            return archives if archives.reason in _FATAL else None
        left = 0
        for archive in [one for one in archives if one.id not in self.marks[run.id].archives]:
            failure = yield from self._read_archive(archive)
            if failure is not None and failure.reason in _FATAL:
                return failure
            if failure is not None and failure.reason in _PASSING:
                left += 1
            else:
                self.marks[run.id] = _Mark(None, self.marks[run.id].archives | {archive.id})
            if self.vain >= _MOST_VAIN:
                return None
        if not left:
            self.marks[run.id] = self.marks[run.id]._replace(seen=run.seen)
        return None

    def _read_archive(self, archive: Archive) -> Steps[Failure | None]:
        if archive.size > _LARGEST:
            yield self._refuse(archive, Reason.TOO_LARGE, f"they are larger than {_LARGEST // 2**20} MiB")
            return None
        answer = yield Request(archive.path, kind="artifacts", read=partial(harvest, wanted=self.wanted))
        if answer is None or isinstance(answer, Failure):
            return (yield from self._tell(archive, answer or Failure("client", "no answer")))
        self.vain = 0
        found = cast(Harvest, answer.data)
        refusals = tuple(
            Refusal(why.reason, archive.by.run, archive.by.name, file, why.line) for file, why in found.refused
        )
        yield self._batch(facts=_facts(found, archive.by), refusals=refusals)
        return None

    def _tell(self, archive: Archive, failure: Failure) -> Steps[Failure | None]:
        """The failure, where it matters; artifacts that are gone (expired, erased, or none at all) are none."""
        if failure.reason in ("not_found", *_FATAL):
            return None if failure.reason == "not_found" else failure
        self.vain += 1
        reason = Reason.TOO_LARGE if failure.reason == "body" else Reason.DOWNLOAD
        yield self._refuse(archive, reason, failure.detail)
        return failure

    def _refuse(self, archive: Archive, reason: Reason, line: str) -> Batch:
        return self._batch(refusals=(Refusal(reason, archive.by.run, archive.by.name, "", line),))

    def _batch(self, facts: tuple[Fact, ...] = (), refusals: tuple[Refusal, ...] = ()) -> Batch:
        return replace(self.last, runs=(), facts=facts, refusals=refusals)


def _facts(found: Harvest, by: Execution) -> tuple[Fact, ...]:
    reports = [each.report(by) for each in (found.tests, found.coverage, found.benchmarks) if each is not None]
    return tuple(reports)
