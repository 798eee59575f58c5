"""When, how far back, and in what state: the collector's arithmetic."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from k2alert.collect.flow import Failure, Look, Reason
from k2alert.collect.schedule import (
    first_look,
    goes_on,
    known_since,
    needs_backfill,
    next_look,
    read_since,
    settle,
    sweep_due,
)
from k2alert.model import KnownRun, Project, ProjectState, RunState
from tests.support.fake_time import T0
from tests.support.staleness import state_of

MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)
NEW = Project(source="s", key="a/b", path="a/b", first_seen_at=T0)
READ = replace(NEW, cursor=T0, covered_since=T0 - 7 * DAY, complete_at=T0, success_at=T0)


@pytest.mark.parametrize(
    ("projects", "last"),
    [
        pytest.param(3, timedelta(milliseconds=200), id="a few start at once, nearly"),
        pytest.param(1000, timedelta(seconds=59.94), id="a thousand take a whole interval"),
    ],
)
def test_first_looks_are_spread(projects: int, last: timedelta) -> None:
    dues = [first_look(position=n, projects=projects, poll_interval=MINUTE, now=T0) for n in range(projects)]
    assert dues[0] == T0
    assert dues == sorted(set(dues))
    assert dues[-1] - T0 == last


@pytest.mark.parametrize(
    ("failures", "minutes"),
    [(0, 1), (1, 1), (2, 2), (3, 4), (4, 8), (5, 15), (6, 15), (100_000, 15)],
)
def test_the_more_failures_in_a_row_the_longer_until_the_next_look(failures: int, minutes: float) -> None:
    due = next_look(started=T0, now=T0 + MINUTE / 2, poll_interval=MINUTE, failures=failures)
    assert due == T0 + minutes * MINUTE


@pytest.mark.parametrize(
    ("interval", "due"), [(MINUTE, MINUTE / 2), (MINUTE / 3, MINUTE / 4), (MINUTE / 6, MINUTE / 6), (DAY, DAY / 2)]
)
def test_where_runs_go_on_the_next_look_is_sooner(interval: timedelta, due: timedelta) -> None:
    assert next_look(started=T0, now=T0, poll_interval=interval, lively=True) == T0 + due
    assert next_look(started=T0, now=T0, poll_interval=interval, failures=1, lively=True) >= T0 + interval


@pytest.mark.parametrize(
    ("state", "hours", "lively"),
    [
        (RunState.RUNNING, 1, True),
        (RunState.PENDING, 1, True),
        (RunState.RUNNING, 4, False),
        (RunState.BLOCKED, 1, False),
        (RunState.FINISHED, 0, False),
    ],
)
def test_runs_that_may_end_soon_make_a_project_lively(state: RunState, hours: float, lively: bool) -> None:
    assert goes_on([KnownRun(T0 - hours * 60 * MINUTE, 0, state)], now=T0) is lively


def test_failing_never_brings_a_look_forward() -> None:
    assert next_look(started=T0, now=T0, poll_interval=DAY, failures=3) == T0 + DAY


@pytest.mark.parametrize(
    ("asked", "due"),
    [
        pytest.param(timedelta(seconds=5), T0 + MINUTE, id="less than the interval"),
        pytest.param(20 * MINUTE, T0 + 20.5 * MINUTE, id="more, from the end of the look"),
        pytest.param(365 * DAY, T0 + 60.5 * MINUTE, id="a year is a mistake: an hour"),
    ],
)
def test_what_the_forge_asks_for_is_waited_for(asked: timedelta, due: datetime) -> None:
    ended = T0 + MINUTE / 2
    assert next_look(started=T0, now=ended, poll_interval=MINUTE, failures=1, retry_after=asked) == due


@pytest.mark.parametrize(
    ("project", "depth", "later", "needed"),
    [
        pytest.param(NEW, 7 * DAY, 0 * DAY, True, id="never read"),
        pytest.param(READ, 7 * DAY, 0 * DAY, False, id="read as deep as needed"),
        pytest.param(READ, 7 * DAY, 3 * DAY, False, id="history only grows"),
        pytest.param(READ, 30 * DAY, 0 * DAY, True, id="a new rule looks back further"),
        pytest.param(READ, 30 * DAY, 23 * DAY, False, id="until history has grown to it"),
        pytest.param(READ, 7 * DAY, -MINUTE, False, id="a clock set back a little"),
    ],
)
def test_history_is_read_when_it_does_not_reach_back_far_enough(
    project: Project, depth: timedelta, later: timedelta, needed: bool
) -> None:
    assert needs_backfill(project, depth=depth, now=T0 + later) is needed


@pytest.mark.parametrize(
    ("project", "depth", "since"),
    [
        pytest.param(NEW, 7 * DAY, T0 + DAY - 7 * DAY, id="first: the whole depth"),
        pytest.param(READ, 7 * DAY, T0 - 5 * MINUTE, id="then: from the last complete look, with an overlap"),
        pytest.param(READ, 30 * DAY, T0 + DAY - 30 * DAY, id="deeper: the whole depth again"),
    ],
)
def test_a_look_reads_from_where_history_ends(project: Project, depth: timedelta, since: datetime) -> None:
    assert read_since(project, depth=depth, now=T0 + DAY) == since


def test_a_sweep_must_know_what_may_have_run_again() -> None:
    assert known_since(T0, sweep=False, now=T0 + DAY) == T0
    assert known_since(T0, sweep=True, now=T0 + DAY) == T0 - 29 * DAY
    assert known_since(T0 - 60 * DAY, sweep=True, now=T0) == T0 - 60 * DAY


def test_a_sweep_is_due_at_first_and_once_a_day() -> None:
    assert sweep_due(NEW, now=T0)
    swept = replace(NEW, swept_at=T0)
    assert not sweep_due(swept, now=T0 + DAY - MINUTE)
    assert sweep_due(swept, now=T0 + DAY)


@pytest.mark.parametrize(
    ("project", "minutes", "state"),
    [
        pytest.param(NEW, 0, ProjectState.BACKFILLING, id="new"),
        pytest.param(NEW, 15, ProjectState.BACKFILLING, id="new, and still within max_staleness"),
        pytest.param(NEW, 16, ProjectState.STALE, id="never heard of"),
        pytest.param(replace(NEW, success_at=T0 + 60 * MINUTE), 70, ProjectState.BACKFILLING, id="a long backfill"),
        pytest.param(replace(NEW, success_at=T0 + 60 * MINUTE), 76, ProjectState.STALE, id="a backfill that died"),
        pytest.param(READ, 15, ProjectState.OK, id="read lately"),
        pytest.param(READ, 16, ProjectState.STALE, id="not read for long"),
        pytest.param(
            replace(READ, success_at=T0 + 20 * MINUTE), 20, ProjectState.STALE, id="answers, but never to the end"
        ),
        pytest.param(replace(READ, failures=1, failure="500"), 1, ProjectState.OK, id="one failure is no matter"),
        pytest.param(replace(READ, forbidden=True), 0, ProjectState.FORBIDDEN, id="refused"),
        pytest.param(replace(NEW, forbidden=True), 99, ProjectState.FORBIDDEN, id="refused from the start"),
    ],
)
def test_the_state_of_a_project(project: Project, minutes: int, state: ProjectState) -> None:
    assert state_of(project, now=T0 + minutes * MINUTE, max_staleness=15 * MINUTE) is state


def test_a_complete_look_moves_the_cursor_to_its_own_start() -> None:
    named = replace(NEW, path="k2/b", forge_id="7", default_branch="main", web_url="https://h/k2/b")
    before = replace(NEW, failures=3, failure="500", forbidden=True)
    since, ended = T0 - 7 * DAY, T0 + MINUTE
    after = settle(before, Look(named, swept=True), since=since, started=T0, ended=ended)
    assert after == replace(
        named, cursor=T0, covered_since=since, complete_at=ended, success_at=ended, swept_at=T0, key="a/b"
    )


def test_a_later_look_keeps_what_is_covered() -> None:
    later = T0 + DAY
    after = settle(READ, Look(READ), since=T0 - 5 * MINUTE, started=later, ended=later)
    assert (after.covered_since, after.cursor, after.swept_at) == (READ.covered_since, later, None)


@pytest.mark.parametrize(
    ("reason", "forbidden"),
    [("auth", True), ("forbidden", True), ("not_found", True), ("server", False), ("timeout", False)],
)
def test_a_failed_look_moves_nothing_but_the_count(reason: Reason, forbidden: bool) -> None:
    look = Look(replace(READ, web_url="https://h/new"), Failure(reason, "why"))
    after = settle(READ, look, since=T0, started=T0 + DAY, ended=T0 + DAY)
    assert after == replace(READ, web_url="https://h/new", failure="why", failures=1, forbidden=forbidden)


@pytest.mark.parametrize("failure", [None, Failure("server", "why")])
def test_a_project_that_moved_is_read_from_the_start_again(failure: Failure | None) -> None:
    after = settle(READ, Look(replace(READ, path="new/name"), failure), since=T0, started=T0 + DAY, ended=T0 + DAY)
    assert (after.path, after.cursor, after.covered_since) == ("new/name", None, None)
    assert (after.failure, after.failures) == (("", 0) if failure is None else ("why", 1))
    assert needs_backfill(after, depth=DAY, now=T0 + DAY)
