"""Recorded history as text: one JSON object a line, to be served by a daemon and rehearsed elsewhere.

Rows of a store come in, lines go out (`*_line`), and the other way round (`read_line`). Format version 1:

- `history`, the first line: `version`, and `since` when (null: all that is kept) until when.
- `project`: who is read, and how far.
- `stream`: a number for a set of labels and a kind of facts, before any row that uses it.
- `run` and `job`: an attempt of a run, an execution of a job, with what a message shows of it (`run`).
- `test`, `coverage`, `benchmark`, `deployment`, `schedule`: rows as `model.entries` describes them; sets of numbers are
  hexadecimal.
- `named_test`: what the number of a test stands for.
- `end`, the last line: how many lines came before it, so that what was cut off is told from what is whole.

Times are whole milliseconds since the epoch where they are counted, ISO 8601 where they are only shown. All text is the
forge's.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from k2alert.labels import Labels
from k2alert.model import (
    RESULTS,
    BenchmarkEntry,
    CoverageEntry,
    DeploymentEntry,
    Entry,
    FactEntry,
    JobEvidence,
    Kind,
    NamedTest,
    Project,
    ReportEntry,
    Result,
    RunEvidence,
    ScheduleEntry,
    Stream,
)
from k2alert.times import from_ms, iso, parse_instant, to_ms

__all__ = [
    "FACT_KINDS",
    "VERSION",
    "End",
    "FactLine",
    "Head",
    "HistoryError",
    "Line",
    "RunLine",
    "end_line",
    "entry_line",
    "fact_line",
    "head_line",
    "name_line",
    "project_line",
    "read_line",
    "stream_line",
]

VERSION = 1

FACT_KINDS: Mapping[Kind, type[FactEntry]] = {
    Kind.TEST: ReportEntry,
    Kind.COVERAGE: CoverageEntry,
    Kind.BENCHMARK: BenchmarkEntry,
    Kind.DEPLOYMENT: DeploymentEntry,
    Kind.SCHEDULE: ScheduleEntry,
}
"""The facts that a history holds beside runs and jobs, and what their rows are."""

_SETS = frozenset({"ran", "failing", "mixed", "files"})
_MILLISECOND = timedelta(milliseconds=1)


class HistoryError(Exception):
    """A line that is not what the format says; one clear sentence."""


class Head(NamedTuple):
    """The first line."""

    since: datetime | None
    until: datetime


class End(NamedTuple):
    """The last line."""

    lines: int


class RunLine(NamedTuple):
    """A row of a run or a job, and the run as messages show it (None where the store knows no more)."""

    kind: Kind
    entry: Entry
    run: RunEvidence | None


class FactLine(NamedTuple):
    """A row of a report, a deployment or a schedule."""

    kind: Kind
    entry: FactEntry


Line = Head | End | Project | Stream | RunLine | FactLine | NamedTest


# ----------------------------------------------------------------------------------------------- writing


def head_line(since: datetime | None, until: datetime) -> bytes:
    """How a history begins."""
    return _line("history", version=VERSION, since=None if since is None else iso(since), until=iso(until))


def end_line(lines: int) -> bytes:
    """How it ends, after so many lines."""
    return _line("end", lines=lines)


def project_line(project: Project) -> bytes:
    """A project, and how far it has been read."""
    return _line(
        "project",
        source=project.source,
        key=project.key,
        path=project.path,
        default_branch=project.default_branch,
        web_url=project.web_url,
        covered_since=None if project.covered_since is None else to_ms(project.covered_since),
        complete_at=None if project.complete_at is None else to_ms(project.complete_at),
    )


def stream_line(stream: Stream) -> bytes:
    """A stream."""
    return _line("stream", id=stream.id, kind=stream.kind.value, labels=dict(stream.labels))


def entry_line(kind: Kind, entry: Entry, run: RunEvidence | None) -> bytes:
    """A run or a job, with what is behind it."""
    row = entry._asdict() | {"result": RESULTS[entry.result].value}
    return _line(kind.value, **row, run=None if run is None else _shown(run))


def fact_line(kind: Kind, entry: FactEntry) -> bytes:
    """A report, a deployment or a schedule."""
    return _line(kind.value, **{name: _packed(name, value) for name, value in entry._asdict().items()})


def name_line(test: NamedTest) -> bytes:
    """What a test's number stands for."""
    return _line("named_test", **test._asdict())


def _line(type_: str, **fields: Any) -> bytes:
    return json.dumps({"type": type_, **fields}, separators=(",", ":")).encode() + b"\n"  # ASCII: any text survives


def _packed(name: str, value: Any) -> Any:
    if isinstance(value, bytes):
        return value.hex()
    return f"{value:x}" if name in _SETS else value


def _shown(run: RunEvidence) -> dict[str, Any]:
    return {
        "project": run.project,
        "id": run.id,
        "number": run.number,
        "workflow": run.workflow,
        "branch": run.branch,
        "sha": run.sha,
        "title": run.title,
        "result": run.result.value,
        "finished_at": iso(run.finished_at),
        "duration_ms": None if run.duration is None else run.duration // _MILLISECOND,
        "web_url": run.web_url,
        "jobs": [asdict(job) for job in run.jobs],
    }


# ----------------------------------------------------------------------------------------------- reading


def read_line(text: bytes | str) -> Line:
    """What a line says. Raises `HistoryError`."""
    try:
        fields = json.loads(text)
        kind = fields.pop("type")
        return _read(kind, fields)
    except (ValueError, TypeError, KeyError, AttributeError, IndexError, OverflowError, RecursionError):
        raise HistoryError("not a line of a k2alert history") from None


def _read(kind: str, fields: dict[str, Any]) -> Line:
    if kind == "history":
        if fields["version"] != VERSION:
            raise HistoryError(f"a history of version {fields['version']}; this k2alert reads version {VERSION}")
        since = fields["since"]
        return Head(None if since is None else parse_instant(since), parse_instant(fields["until"]))
    if kind == "end":
        return End(int(fields["lines"]))
    if kind == "project":
        return _project(fields)
    if kind == "stream":
        return Stream(int(fields["id"]), Kind(fields["kind"]), Labels(fields["labels"]))
    if kind == "named_test":
        return NamedTest(**fields)
    return _row(Kind(kind), fields)


def _project(fields: Mapping[str, Any]) -> Project:
    covered, complete = fields["covered_since"], fields["complete_at"]
    return Project(
        source=str(fields["source"]),
        key=str(fields["key"]),
        path=str(fields["path"]),
        default_branch=str(fields["default_branch"]),
        web_url=str(fields["web_url"]),
        first_seen_at=from_ms(0 if covered is None else int(covered)),
        covered_since=None if covered is None else from_ms(int(covered)),
        complete_at=None if complete is None else from_ms(int(complete)),
    )


def _row(kind: Kind, fields: dict[str, Any]) -> RunLine | FactLine:
    if kind.of_runs:
        run = fields.pop("run")
        result = RESULTS.index(Result(fields.pop("result")))
        return RunLine(kind, Entry(**fields, result=result), None if run is None else _evidence(run))
    unpacked = {name: _unpacked(name, value) for name, value in fields.items()}
    return FactLine(kind, FACT_KINDS[kind](**unpacked))


def _unpacked(name: str, value: Any) -> Any:
    if name == "sha":
        return bytes.fromhex(value)
    if name == "repeats":
        return tuple((int(number), int(ran), int(failed)) for number, ran, failed in value)
    return int(value, 16) if name in _SETS else value


def _evidence(run: Mapping[str, Any]) -> RunEvidence:
    length = run["duration_ms"]
    jobs = tuple(JobEvidence(**{**job, "result": Result(job["result"])}) for job in run["jobs"])
    rest = {name: value for name, value in run.items() if name not in ("duration_ms", "jobs", "result", "finished_at")}
    return RunEvidence(
        **rest,
        result=Result(run["result"]),
        finished_at=parse_instant(run["finished_at"]),
        duration=None if length is None else length * _MILLISECOND,
        jobs=jobs,
    )
