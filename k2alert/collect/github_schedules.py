"""Reads when workflows should start by themselves: `on.schedule` of the workflow files on the default branch.

Once an hour, and soon after each time that one should have started: the workflows, which say what is switched off; the
folder of their files, which says what has changed; and each file that has, or is new. A file is text from a forge: what
is no YAML, too large or odd in other ways has no schedule.
https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-syntax#onschedule
"""

import binascii
from base64 import b64decode
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from urllib.parse import quote
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from k2alert.collect.flow import Batch, Failure, Request, Response
from k2alert.collect.github_parse import dig, next_page, read_instant, read_number, read_text
from k2alert.collect.github_reading import Bookmark, Reading, Steps, ask_again, fetch
from k2alert.document import parse_document
from k2alert.model import RefType, Schedule, Schedules

__all__ = ["read_crons", "read_schedules"]

_EVERY = timedelta(hours=1)
_AFTER_DUE = timedelta(minutes=5)
"""After a schedule should have run it is read anew: who switched it off meanwhile must not hear that it is overdue."""
_DUE = "schedule due"  # the bookmark
_FOLDER = ".github/workflows"
_MOST_PAGES = 10  # of a hundred workflows
_LARGEST_FILE = 256 * 1024  # bytes: half a second to read; GitHub itself takes twice as much
_MOST_CRONS = 50  # of one file
_LONGEST = 100  # characters of a cron line or a time zone


@dataclass(frozen=True, slots=True, kw_only=True)
class _Workflow:
    id: str
    name: str
    path: str
    link: str
    active: bool
    changed_at: datetime


class _Cron(NamedTuple):
    """One line of `on.schedule`."""

    line: str
    timezone: str


class _Made(NamedTuple):
    """What was made of a file: `sha` is the blob's, so the file has not changed while it is the same."""

    sha: str
    crons: tuple[_Cron, ...]


def read_schedules(reading: Reading) -> Steps[Failure | None]:
    """All schedules of the repository. Where the token may not read contents, nothing is said of any."""
    next_due = reading.left.get(_DUE, Bookmark(reading.ask.now)).made
    was_due = next_due is not None and next_due + _AFTER_DUE <= reading.ask.now
    if not (reading.is_due("schedules", _EVERY) or was_due):
        return None
    schedules = yield from _read_all(reading)
    if isinstance(schedules, Failure):
        return reading.tolerate(schedules, "forbidden", "not_found")
    project = reading.project
    told = Schedules(source=project.source, project=project.path, seen=reading.ask.now, schedules=schedules)
    dues = [due for one in schedules if (due := _next_due(one, reading.ask.now - _AFTER_DUE)) is not None]
    reading.kept[_DUE] = Bookmark(reading.ask.now, made=min(dues, default=None))
    yield Batch((), reading.done, facts=(told,))
    return None


def _next_due(schedule: Schedule, after: datetime) -> datetime | None:
    """When it should run first after a time; None where its line or its zone cannot be read."""
    try:
        return next(CronSim(schedule.cron, after.astimezone(ZoneInfo(schedule.timezone)))).astimezone(UTC)
    except (CronSimError, KeyError, ValueError, OSError, OverflowError, StopIteration):
        return None


def _read_all(reading: Reading) -> Steps[tuple[Schedule, ...] | Failure]:
    workflows = yield from _read_workflows(reading)
    if isinstance(workflows, Failure):
        return workflows
    active = [workflow for workflow in workflows if workflow.active and workflow.path.startswith(f"{_FOLDER}/")]
    files = (yield from _read_folder(reading)) if active else {}
    if isinstance(files, Failure):
        return files
    schedules: list[Schedule] = []
    for workflow in active:
        if workflow.path in files:
            crons = yield from _read_file(reading, workflow.path, files[workflow.path])
            if isinstance(crons, Failure):
                return crons
            schedules += _schedules(workflow, crons, reading.project.default_branch)
    return tuple(schedules)


def _read_workflows(reading: Reading) -> Steps[tuple[_Workflow, ...] | Failure]:
    found: tuple[_Workflow, ...] = ()
    number: int | None = 1
    while number is not None and number <= _MOST_PAGES:
        page = yield from _read_page(reading, number)
        if isinstance(page, Failure):
            return page
        read, number = page
        found += read
    return found


def _read_page(reading: Reading, number: int) -> Steps[tuple[tuple[_Workflow, ...], int | None] | Failure]:
    def make(answer: Response) -> tuple[tuple[_Workflow, ...], int | None] | Failure:
        items = dig(answer.data, "workflows")
        if not isinstance(items, list):
            return Failure("body", "the list of workflows is not what it should be")
        following = next_page(answer.headers.get("link", ""))
        after = following if following is not None and following > number else None
        return tuple(found for item in items if (found := _workflow(item)) is not None), after

    path = f"/repos/{reading.project.path}/actions/workflows"
    params = (("per_page", "100"), ("page", str(number)))
    return (yield from ask_again(reading, Request(path, params, kind="workflows"), make))


def _workflow(item: Any) -> _Workflow | None:
    number, path = read_number(dig(item, "id")), read_text(dig(item, "path"))
    changed_at = read_instant(dig(item, "updated_at")) or read_instant(dig(item, "created_at"))
    if number is None or changed_at is None or not path:
        return None
    return _Workflow(
        id=str(number),
        name=read_text(dig(item, "name")) or path,
        path=path,
        link=read_text(dig(item, "html_url")),
        active=dig(item, "state") == "active",
        changed_at=changed_at,
    )


def _read_folder(reading: Reading) -> Steps[dict[str, str] | Failure]:
    """The blobs of the workflow files, by path."""

    def make(answer: Response) -> dict[str, str] | Failure:
        if not isinstance(answer.data, list):
            return Failure("body", "the folder of workflows is not what it should be")
        return {read_text(dig(item, "path")): read_text(dig(item, "sha")) for item in answer.data}

    path = f"/repos/{reading.project.path}/contents/{_FOLDER}"
    return (yield from ask_again(reading, Request(path, kind="contents"), make))


def _read_file(reading: Reading, path: str, sha: str) -> Steps[tuple[_Cron, ...] | Failure]:
    """The schedules in a file; one that is as it was is not asked for."""
    key = f"workflow {path}"
    made = reading.left.get(key, Bookmark(reading.ask.now, made=_Made("", ()))).made
    if made.sha != sha or not sha:
        where = f"/repos/{reading.project.path}/contents/{quote(path)}"
        answer = yield from fetch(Request(where, kind="contents"))
        if isinstance(answer, Failure) and answer.reason != "not_found":
            return answer
        content = answer.data if isinstance(answer, Response) else None
        made = _Made(sha, read_crons(_decode(content), path))
    reading.kept[key] = Bookmark(reading.ask.now, made=made)
    crons: tuple[_Cron, ...] = made.crons
    return crons


def _decode(data: Any) -> bytes:
    """The content of a file; empty where it is none, or larger than it may be."""
    content = dig(data, "content")
    if dig(data, "encoding") != "base64" or not isinstance(content, str) or len(content) > 2 * _LARGEST_FILE:
        return b""
    try:
        return b64decode(content)
    except (binascii.Error, ValueError):
        return b""


def read_crons(content: bytes, path: str) -> tuple[_Cron, ...]:
    """The lines of `on.schedule` in a workflow file; none where it cannot be read."""
    if b"schedule" not in content or len(content) > _LARGEST_FILE:
        return ()
    document, _ = parse_document(content, path)
    lines = dig(document.data if document is not None else None, "on", "schedule")
    items = lines[:_MOST_CRONS] if isinstance(lines, list) else []
    return tuple(cron for item in items if (cron := _cron(item)) is not None)


def _cron(item: Any) -> _Cron | None:
    line, timezone = dig(item, "cron"), dig(item, "timezone")
    zone = timezone if isinstance(timezone, str) and timezone else "UTC"
    if not isinstance(line, str) or not line.strip() or max(len(line), len(zone)) > _LONGEST:
        return None
    return _Cron(" ".join(line.split()), zone)


def _schedules(workflow: _Workflow, crons: tuple[_Cron, ...], branch: str) -> list[Schedule]:
    """One for each line; the line is part of the name where there are several, and of what tells them apart."""
    return [
        Schedule(
            id=f"{workflow.id} {cron.timezone} {cron.line}",
            name=workflow.name if len(crons) == 1 else f"{workflow.name} ({cron.line})",
            cron=cron.line,
            timezone=cron.timezone,
            branch=branch,
            ref_type=RefType.DEFAULT,
            workflow=workflow.name,
            since=workflow.changed_at,
            web_url=workflow.link,
        )
        for cron in dict.fromkeys(crons)
    ]
