"""When a project is looked at, how far back, and what a look leaves it in.

Projects, looks and instants come in, projects and instants go out: the arithmetic of `collector`, apart from its
sleeping. Pure; `now` is always an argument.
"""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta

from k2alert.collect.flow import Failure, Look
from k2alert.model import KnownRun, Project, RunState

__all__ = [
    "OVERLAP",
    "first_look",
    "goes_on",
    "known_since",
    "needs_backfill",
    "next_look",
    "read_since",
    "settle",
    "settle_failure",
    "sweep_due",
]

OVERLAP = timedelta(minutes=5)
"""How far a look reaches back before the start of the last complete one.

The forge's clock is not ours, its database replicas lag, and a run that changes while pages are being read may
slip over a page border; recording is idempotent, so reading five minutes twice costs little and misses nothing.
"""

_RERUN_AGE = timedelta(days=30)  # a GitHub run can be run again for so long, its `created_at` staying as it was
_SWEEP_EVERY = timedelta(days=1)
_LONGEST_BACKOFF = timedelta(minutes=15)  # the default max_staleness: a mended forge is seen again by then
_LONGEST_RETRY_AFTER = timedelta(hours=1)  # GitHub's primary limit is over within the hour; longer is a mistake
_SOONEST = timedelta(seconds=15)
_UNDER_WAY = frozenset({RunState.PENDING, RunState.RUNNING})
_LONG_RUN = timedelta(hours=3)
_FIRST_LOOKS_APART = timedelta(milliseconds=100)  # so that three projects need not wait for their share of a minute


def first_look(*, position: int, projects: int, poll_interval: timedelta, now: datetime) -> datetime:
    """When the project at this position among so many is first looked at: at most one poll interval from now."""
    return now + position * min(_FIRST_LOOKS_APART, poll_interval / max(projects, 1))


def next_look(
    *,
    started: datetime,
    now: datetime,
    poll_interval: timedelta,
    failures: int = 0,
    retry_after: timedelta | None = None,
    lively: bool = False,
) -> datetime:
    """When a project is due again, after a look that started at `started` and ended at `now`.

    One poll interval after the start; after failures in a row the interval doubles, to at most 15 minutes, and
    what the forge asked for (`retry_after`) is waited for, to at most an hour. Where runs go on (`lively`), their ends
    are looked for sooner: after half the interval, but no sooner than every 15 s.
    """
    if lively and not failures:
        return started + max(poll_interval / 2, min(poll_interval, _SOONEST))
    due = started + _backoff(poll_interval, failures)
    if failures and retry_after is not None:
        return max(due, now + min(retry_after, _LONGEST_RETRY_AFTER))
    return due


def goes_on(known: Iterable[KnownRun], *, now: datetime) -> bool:
    """Whether a run is under way that may end soon: one that has not waited, or been forgotten, for hours."""
    return any(run.state in _UNDER_WAY and now - run.seen < _LONG_RUN for run in known)


def _backoff(poll_interval: timedelta, failures: int) -> timedelta:
    doublings = min(max(failures - 1, 0), 16)  # beyond any cap; a month of failures must not overflow
    return max(poll_interval, min(poll_interval * (1 << doublings), _LONGEST_BACKOFF))


def needs_backfill(project: Project, *, depth: timedelta, now: datetime) -> bool:
    """Whether history must be read to `depth` before now: never read, or rules look back further than they did.

    A clock set back a little must not cost a backfill, hence the overlap.
    """
    return project.covered_since is None or project.covered_since > now - depth + OVERLAP


def read_since(project: Project, *, depth: timedelta, now: datetime) -> datetime:
    """From when on a look that starts now reads changes.

    A cursor ahead of now was set by a clock that was wrong; nobody knows since when, so all is read again.
    """
    if project.cursor is None or project.cursor > now or needs_backfill(project, depth=depth, now=now):
        return now - depth
    return project.cursor - OVERLAP


def known_since(since: datetime, *, sweep: bool, now: datetime) -> datetime:
    """From when on a look must be told what is recorded; a sweep compares all runs that may have run again."""
    return min(since, now - _RERUN_AGE) if sweep else since


def sweep_due(project: Project, *, now: datetime) -> bool:
    """Whether re-runs of old runs are to be looked for: once a day, and at first."""
    return project.swept_at is None or now - project.swept_at >= _SWEEP_EVERY


def settle(project: Project, look: Look, *, since: datetime, started: datetime, ended: datetime) -> Project:
    """The project after a look that read from `since`: as the forge names it now, and how far it has been read.

    A failed look moves no cursor, so that the next one reads the same again. What was read under another path is
    recorded under that: all of history is read again, and until then nobody takes what is new for all there was.
    """
    told = look.project
    moved = project.covered_since is not None and told.path != project.path
    project = replace(
        project,
        cursor=None if moved else project.cursor,
        covered_since=None if moved else project.covered_since,
        path=told.path,
        forge_id=told.forge_id,
        default_branch=told.default_branch,
        web_url=told.web_url,
    )
    if look.failure is not None:
        return settle_failure(project, look.failure)
    if moved:
        return replace(project, success_at=ended, failure="", forbidden=False, failures=0)
    return replace(
        project,
        cursor=started,
        covered_since=min(since, project.covered_since or since),
        complete_at=ended,
        success_at=ended,
        swept_at=started if look.swept else project.swept_at,
        failure="",
        forbidden=False,
        failures=0,
    )


def settle_failure(project: Project, failure: Failure) -> Project:
    """The project after one more look that failed."""
    forbidden = failure.reason in ("auth", "forbidden", "not_found")
    return replace(project, failure=failure.detail, forbidden=forbidden, failures=project.failures + 1)
