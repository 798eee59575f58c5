"""Reads GitHub's deployments: a list that shows what is new, and the statuses of each, which say how it goes.

A new status moves the deployment's `updated_at`, and so the list. Only its newest hundred and those created since the
last look are read; what is not over is asked for again, in case its time does not move. A deployment costs a request
for its statuses whenever they have changed, and one for the time of its commit when it was a success.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple, TypeVar
from urllib.parse import quote

from k2alert.collect.flow import Batch, Failure, Request, Response
from k2alert.collect.github_deployments_parse import (
    SeenDeployment,
    SeenStatus,
    make_deployment,
    read_deployment,
    read_status,
)
from k2alert.collect.github_parse import dig, next_page, read_instant
from k2alert.collect.github_reading import Bookmark, Reading, Steps, ask_again, fetch
from k2alert.model import Deployment, Result, RunState

__all__ = ["read_deployments"]

T = TypeVar("T")

_PAGE = ("per_page", "100")
_MOST_PAGES = 100  # in one look
_LEFT = "deployments"  # the bookmark
_MOST_GOING_ON, _MOST_OVER = 50, 1000  # kept for the next look: some tools never end theirs


class _Page(NamedTuple):
    deployments: tuple[SeenDeployment, ...]
    next: int | None


_Statuses = tuple[SeenStatus, ...]


@dataclass(frozen=True, slots=True)
class _Left:
    """What a look leaves for the next: those that are not over, and of the others how they were when last read."""

    going_on: Mapping[str, SeenDeployment] = field(default_factory=dict)
    over: Mapping[str, "_Over"] = field(default_factory=dict)


class _Over(NamedTuple):
    updated_at: datetime
    success: bool


def read_deployments(reading: Reading) -> Steps[Failure | None]:
    """Every deployment that changed since `Ask.since`, and those that were going on when last seen."""
    left: _Left = reading.left.get(_LEFT, Bookmark(reading.ask.now, made=_Left())).made
    changed = yield from _read_changed(reading, left.over)
    if isinstance(changed, Failure):
        return reading.tolerate(changed, "forbidden", "not_found")
    going_on, over = {}, dict(left.over)
    for seen in {**left.going_on, **changed}.values():
        fact = yield from _read_one(reading, seen)
        if isinstance(fact, Failure):
            failure = reading.tolerate(fact, "forbidden", "not_found")
            if failure is not None:
                return failure
            continue
        if fact is not None:
            yield Batch((), reading.done, facts=(fact,))
        if fact.state is not RunState.FINISHED if fact is not None else seen.id in left.going_on:
            going_on[seen.id] = seen
        else:
            over[seen.id] = _Over(seen.updated_at, fact is not None and fact.result is Result.SUCCESS)
    left = _Left(_newest(going_on, _MOST_GOING_ON), _newest(over, _MOST_OVER))
    reading.kept[_LEFT] = Bookmark(reading.ask.now, made=left)
    return None


def _newest(by_id: Mapping[str, T], most: int) -> dict[str, T]:
    return dict(sorted(by_id.items(), key=lambda item: int(item[0]))[-most:])


def _read_changed(reading: Reading, over: Mapping[str, _Over]) -> Steps[dict[str, SeenDeployment] | Failure]:
    changed: dict[str, SeenDeployment] = {}
    number: int | None = 1
    while number is not None and number <= _MOST_PAGES:
        page = yield from _read_page(reading, number)
        if isinstance(page, Failure):
            return page
        changed |= {seen.id: seen for seen in _news(page.deployments, over, reading.ask.since)}
        reaches = bool(page.deployments) and page.deployments[-1].created_at < reading.ask.since
        number = None if reaches else page.next
    return changed


def _news(page: Sequence[SeenDeployment], over: Mapping[str, _Over], since: datetime) -> Iterator[SeenDeployment]:
    """Those that changed, but for a success whose place another took: that is all there is to say of it."""
    taken: set[str] = set()  # environments with a newer deployment; the newest come first
    for seen in page:
        before = over.get(seen.id)
        replaced = before is not None and before.success and seen.environment in taken
        if seen.updated_at >= since and not replaced and (before is None or before.updated_at != seen.updated_at):
            yield seen
        taken.add(seen.environment)


def _read_page(reading: Reading, number: int) -> Steps[_Page | Failure]:
    def make(answer: Response) -> _Page | Failure:
        if not isinstance(answer.data, list):
            return Failure("body", "the list of deployments is not what it should be")
        read = [read_deployment(item) for item in answer.data]
        if None in read:
            reading.note("a deployment is not what it should be")
        following = next_page(answer.headers.get("link", ""))
        after = following if following is not None and following > number else None
        return _Page(tuple(seen for seen in read if seen is not None), after)

    path = f"/repos/{reading.project.path}/deployments"
    request = Request(path, (_PAGE, ("page", str(number))), kind="deployments")
    return (yield from ask_again(reading, request, make, lambda page: _Page((), None)))


def _read_one(reading: Reading, seen: SeenDeployment) -> Steps[Deployment | Failure | None]:
    """One deployment as its statuses have it; None where those are as they were."""
    statuses = yield from _read_statuses(reading, seen)
    if statuses is None or isinstance(statuses, Failure):
        return statuses
    fact = make_deployment(seen, statuses, reading.project)
    if fact.result is not Result.SUCCESS or not fact.sha:
        return fact
    committed_at = yield from _read_commit(reading, fact.sha)
    if isinstance(committed_at, Failure):
        return committed_at
    return make_deployment(seen, statuses, reading.project, committed_at=committed_at)


def _read_statuses(reading: Reading, seen: SeenDeployment) -> Steps[_Statuses | Failure | None]:
    def make(answer: Response) -> _Statuses | Failure | None:
        if not isinstance(answer.data, list):
            return Failure("body", "the statuses of a deployment are not what they should be")
        read = [read_status(item) for item in answer.data]
        if None in read:
            reading.note("a status of a deployment is not what it should be")
        return tuple(status for status in read if status is not None)

    path = f"/repos/{reading.project.path}/deployments/{seen.id}/statuses"
    request = Request(path, (_PAGE, ("page", "1")), kind="statuses")
    return (yield from ask_again(reading, request, make, lambda statuses: None))


def _read_commit(reading: Reading, sha: str) -> Steps[datetime | Failure | None]:
    """When a commit was made: asked once for each, for it never changes; None where nobody may know."""
    key = f"commit {sha}"
    left = reading.kept.get(key) or reading.left.get(key)
    if left is None:
        path = f"/repos/{reading.project.path}/commits/{quote(sha, safe='')}"
        answer = yield from fetch(Request(path, (("per_page", "1"),), kind="commit"))
        if isinstance(answer, Failure) and answer.reason not in ("not_found", "forbidden", "client"):
            return answer
        data = answer.data if isinstance(answer, Response) else None
        left = Bookmark(reading.ask.now, made=read_instant(dig(data, "commit", "committer", "date")))
    reading.kept[key] = left
    at: datetime | None = left.made
    return at
