"""When a project's data is complete enough to be judged, and the built-in alert that says so when it is not.

Contract §6: while a project's backfill is not done, or its last complete read is older than `max_staleness`,
its alerts are unknown, hold their state and say nothing; `K2AlertSourceStale`, one for each source, speaks.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import lru_cache

from k2alert.collect.settings import SourceSettings
from k2alert.config.model import Config
from k2alert.labels import Labels
from k2alert.model import STALE_ALERT, Finding, Project, ProjectState, Rule, Selection, Severity, Truth, Window
from k2alert.template import compile_template
from k2alert.times import format_duration

__all__ = [
    "by_our_clock",
    "current_ones",
    "is_complete",
    "is_current",
    "is_stale",
    "needed",
    "stale_findings",
    "stale_words",
    "state_of",
]

# A machine that slept wakes up with everything stale; it has this long to look before anyone is told.
_AWAKE = timedelta(minutes=1)

_STALE_TEXT = (
    "{% if value %}{{ value }} project(s) of source {{ labels.source }} could not be read for {{ period }}: "
    "{{ evidence }}. Their alerts hold still until they can."
    "{% else %}Source {{ labels.source }} can be read again.{% endif %}"
)
_MOST_NAMED = 5
_CLOCKS_APART = timedelta(minutes=5)


def is_complete(project: Project, source: SourceSettings, look_back: timedelta, *, now: datetime) -> bool:
    """Whether what is recorded of the project covers the look-back (or `backfill`, where shorter) up to now."""
    return any(since <= now - needed(source, look_back) for _, since in current_ones([project], source, now=now))


def needed(source: SourceSettings, look_back: timedelta) -> timedelta:
    """How much history a look-back needs of the source."""
    return look_back if source.backfill is None else min(look_back, source.backfill)


def current_ones(
    projects: Iterable[Project], source: SourceSettings, *, now: datetime
) -> list[tuple[Project, datetime]]:
    """The projects of the source that were read to the end lately, each with since when all of it is recorded."""
    oldest = now - source.max_staleness
    return [
        (project, project.covered_since)
        for project in projects
        if project.covered_since is not None and project.complete_at is not None and project.complete_at >= oldest
    ]


def is_current(project: Project, source: SourceSettings, *, now: datetime) -> bool:
    """Whether the project was read to the end lately; if not, its numbers are not shown, least of all as zero."""
    return project.complete_at is not None and project.complete_at >= now - source.max_staleness


def by_our_clock(project: Project, *, now: datetime) -> Project:
    """The project, without a reading that lies ahead of now: it was dated by a clock that was wrong."""
    if project.complete_at is None or project.complete_at - now <= _CLOCKS_APART:
        return project
    return replace(project, complete_at=None)


def is_stale(project: Project, source: SourceSettings, started_at: datetime, *, now: datetime) -> bool:
    """Whether the project has gone unread for longer than `max_staleness` while this process could read it.

    A backfill counts as read for as long as the forge goes on answering: reading a month of history may take
    longer than `max_staleness`.
    """
    read_at = project.complete_at if project.covered_since is not None else project.success_at
    since = max(read_at or project.first_seen_at, started_at)
    return now - since > source.max_staleness


def state_of(project: Project, source: SourceSettings, started_at: datetime, *, now: datetime) -> ProjectState:
    """What `k2alert_projects` counts the project as."""
    if project.forbidden:
        return ProjectState.FORBIDDEN
    if is_stale(project, source, started_at, now=now):
        return ProjectState.STALE
    return ProjectState.OK if project.covered_since is not None else ProjectState.BACKFILLING


def stale_findings(
    config: Config, projects: Sequence[Project], started_at: datetime, *, now: datetime
) -> Iterator[Finding]:
    """One finding for each source: true while any of its projects is stale; the value is how many are."""
    for source in config.sources:
        stale = _count(source, projects, started_at, now)
        rule = _stale_rule(source.max_staleness)
        yield Finding(
            rule=rule,
            identity=Labels({"source": source.name}),
            labels=config.labels.merged(
                {"alertname": STALE_ALERT, "severity": rule.severity.value, "source": source.name}
            ),
            truth=Truth.TRUE if stale else Truth.FALSE,
            value=stale,
            threshold=0,
        )


def stale_words(
    config: Config, projects: Sequence[Project], source: str, started_at: datetime, *, now: datetime
) -> str:
    """Which projects of the source are stale and why, the first few by name."""
    settings = next((found for found in config.sources if found.name == source), None)
    stale = [
        f"{project.path} ({project.failure or 'no answer yet'})"
        for project in projects
        if settings is not None and project.source == source and is_stale(project, settings, started_at, now=now)
    ]
    more = [f"and {len(stale) - _MOST_NAMED} more"] if len(stale) > _MOST_NAMED else []
    return ", ".join([*stale[:_MOST_NAMED], *more])


def _count(source: SourceSettings, projects: Iterable[Project], started_at: datetime, now: datetime) -> int:
    return sum(project.source == source.name and is_stale(project, source, started_at, now=now) for project in projects)


@lru_cache(maxsize=64)
def _stale_rule(max_staleness: timedelta) -> Rule:
    return Rule(
        name=STALE_ALERT,
        condition=None,
        window=Window(max_staleness),
        period=format_duration(max_staleness),
        severity=Severity.WARNING,
        hold=min(_AWAKE, max_staleness),
        message=compile_template(_STALE_TEXT, names=("value", "labels", "period", "evidence"), functions=()),
        selection=Selection((), ("source",)),
    )
