"""Schedules: what should have started, and the runs that did; how long the first missing one is overdue comes out.

A schedule's cron line says when a run is due, in the schedule's time zone and right over changes of the clock: what is
due at a time that does not exist is due an hour later, what is due at one that comes twice is due once. Forges start
late, so a run has until `delay` after it was due. A run that started, however late, clears everything due before it.

Forges do not say which schedule of a branch a run came from. So a run is taken for that of the schedule that was due
last before it.
"""

from bisect import bisect_left, bisect_right, insort
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from types import MappingProxyType
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from k2alert.measure.ledger import Ledger, Place
from k2alert.model import Event, Measured, ScheduleEntry, Window
from k2alert.times import from_ms, to_ms

__all__ = ["SCHEDULE_FORMULAS", "Branch", "ScheduledRuns", "Schedules", "last_due", "next_due"]

_NO_DATA = Measured(None, 0)
_MINUTE = 60_000
_EARLY = _MINUTE  # a run may seem to start before it is due: two clocks of one forge

Branch = tuple[Place, str]
Start = tuple[int, str, str]  # when a run was created, its workflow, what it is known by


class ScheduledRuns:
    """When scheduled runs were created, finished or not, by project and branch."""

    def __init__(self) -> None:
        self._starts: dict[Branch, list[Start]] = defaultdict(list)

    def add(self, labels: Mapping[str, str], created: int, key: str) -> None:
        """A run, where a schedule started it; one that is known already is not taken twice."""
        starts = self._of(labels)
        start = (created, labels.get("workflow", ""), key)
        if starts is not None and start not in starts[bisect_left(starts, start) : bisect_right(starts, start)]:
            insort(starts, start)

    def remove(self, labels: Mapping[str, str], created: int, key: str) -> None:
        """Takes one out."""
        starts = self._of(labels)
        start = (created, labels.get("workflow", ""), key)
        if starts is not None and start in starts:
            starts.remove(start)

    def newest_first(self, branch: Branch, at: int) -> Iterator[tuple[int, str]]:
        """When the runs of a branch created by then were created, and their workflows."""
        starts = self._starts.get(branch, [])
        for index in range(bisect_right(starts, at, key=lambda start: start[0]) - 1, -1, -1):
            created, workflow, _ = starts[index]
            yield created, workflow

    def starts(self, branch: Branch) -> list[int]:
        """When all runs of a branch were created, in order."""
        return [created for created, _, _ in self._starts.get(branch, [])]

    def _of(self, labels: Mapping[str, str]) -> list[Start] | None:
        if labels.get("event") != Event.SCHEDULE.value:
            return None
        return self._starts[Place(labels.get("source", ""), labels.get("project", "")), labels.get("branch", "")]


@dataclass(frozen=True, slots=True, eq=False)
class Schedules:
    """The schedules that count, all there are (`every`, by branch and number), and the runs that schedules started."""

    ledger: Ledger
    every: Mapping[Branch, Mapping[int, ScheduleEntry]]
    runs: ScheduledRuns

    def overdue(self, schedule: ScheduleEntry, at: int) -> int | None:
        """For how long its first missing run is overdue (milliseconds); 0 when on time, None where none is ever due."""
        started = self._started(schedule, at)
        begin = schedule.finished if started is None else max(schedule.finished, started + _EARLY)
        due = next_due(schedule.cron, schedule.timezone, begin)
        if due is None:
            return None
        return at - due if due + schedule.delay <= at else 0

    def moments(self) -> list[int]:
        """The instants at which the last start of a schedule may change; in between they only become more overdue."""
        found: list[int] = []
        for schedule in self.ledger.entries:
            info = self.ledger.info(schedule)
            found += (schedule.finished, *(() if schedule.last_run is None else (schedule.last_run,)))
            found += self.runs.starts((info.place, info.branch))
        return found

    def _started(self, schedule: ScheduleEntry, at: int) -> int | None:
        """When it last started a run, as far as is known."""
        told = schedule.last_run if schedule.last_run is not None and schedule.last_run <= at else None
        info = self.ledger.info(schedule)
        branch = (info.place, info.branch)
        for created, workflow in self.runs.newest_first(branch, at):
            if created <= max(schedule.finished, told or 0):
                break
            if self._is_of(schedule, branch, created, workflow):
                return created
        return told

    def _is_of(self, schedule: ScheduleEntry, branch: Branch, created: int, workflow: str) -> bool:
        """Whether no other schedule that may have started the run was due later before it."""
        own = self._due_before(schedule, created, workflow)
        others = (self._due_before(other, created, workflow) for other in self.every[branch].values())
        return own is not None and all(other is None or other <= own for other in others)

    def _due_before(self, schedule: ScheduleEntry, created: int, workflow: str) -> int | None:
        """When it was last due before a run that may be its own."""
        if not schedule.any_workflow and self.ledger.info(schedule).workflow != workflow:
            return None
        return last_due(schedule.cron, schedule.timezone, created + _EARLY)


@lru_cache(maxsize=100_000)
def next_due(cron: str, timezone: str, after: int) -> int | None:
    """The first time a cron line is due later than a time; None where the line or the zone cannot be read."""
    return _due(cron, timezone, after, reverse=False)


@lru_cache(maxsize=100_000)
def last_due(cron: str, timezone: str, before: int) -> int | None:
    """The last time a cron line was due at or before a time."""
    return _due(cron, timezone, before + 1, reverse=True)


def _due(cron: str, timezone: str, at: int, *, reverse: bool) -> int | None:
    try:
        local: datetime = from_ms(at).astimezone(ZoneInfo(timezone))
        return to_ms(next(CronSim(cron, local, reverse=reverse)))
    except (CronSimError, KeyError, ValueError, OSError, OverflowError, StopIteration):
        return None


def _overdue(schedules: Schedules, window: Window, at: int) -> Measured:
    """The worst of the schedules that count."""
    high = schedules.ledger.until(at)
    found = [schedules.overdue(schedule, at) for schedule in schedules.ledger.within((0, high))]
    known = [length for length in found if length is not None]
    return Measured(max(known) / _MINUTE, len(known)) if known else _NO_DATA


SCHEDULE_FORMULAS: Mapping[str, Callable[[Schedules, Window, int], Measured]] = MappingProxyType(
    {"schedule_overdue_minutes": _overdue}
)
