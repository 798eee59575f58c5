"""What a backtest comes to in figures: a rehearsal comes in, rows for rules, weeks and comparisons go out. Pure."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta

from k2alert.labels import Labels
from k2alert.model import Evidence
from k2alert.rehearse.backtest import Incident
from k2alert.rehearse.backtest_source import WithEvidence
from k2alert.rehearse.world import Told

__all__ = ["Change", "Row", "Week", "changes", "not_compared", "rows_of", "weeks_of", "with_evidence"]


@dataclass(frozen=True, slots=True)
class Row:
    """One rule: how many incidents, how many of them fire still, for how long in all, how many messages speak of it."""

    rule: str
    incidents: int
    open: int
    total: timedelta
    messages: int
    kinds: Counter[str]


@dataclass(frozen=True, slots=True)
class Week:
    """The incidents that began, and the messages, of a week from Monday on (UTC)."""

    begins: date
    incidents: int
    messages: int


@dataclass(frozen=True, slots=True)
class Change:
    """An incident that is there only with one set of rules, or lasts longer or shorter with the new ones."""

    what: str  # new, gone, longer, shorter
    rule: str
    labels: Labels
    before: timedelta | None
    after: timedelta | None
    fired_at: datetime


def with_evidence(found: WithEvidence) -> Iterable[tuple[Incident, Evidence]]:
    """Each incident with what was behind it."""
    return zip(found.rehearsed.incidents, found.evidence, strict=True)


def rows_of(found: WithEvidence) -> list[Row]:
    """A row for each rule, in the order of the files."""
    return [_row(found, rule.name) for rule in found.rules]


def _row(found: WithEvidence, rule: str) -> Row:
    incidents = [one for one in found.rehearsed.incidents if one.rule.name == rule]
    kinds = Counter(one.due.kind.value for one in found.rehearsed.messages if rule in rules_of(one))
    total = sum((length(one, found.rehearsed.grid.end) for one in incidents), start=timedelta(0))
    still = sum(one.ended_at is None for one in incidents)
    return Row(rule, len(incidents), still, total, kinds.total(), kinds)


def rules_of(told: Told) -> set[str]:
    """The rules that a message speaks of."""
    return {alert.rule for part in told.due.parts for alert in part.alerts}


def length(incident: Incident, end: datetime) -> timedelta:
    """How long it lasted, to the end of the rehearsal where it still does."""
    return (incident.ended_at or end) - incident.fired_at


def weeks_of(found: WithEvidence) -> list[Week]:
    """Every week of the rehearsal, the quiet ones too."""
    incidents = Counter(_monday(one.fired_at) for one in found.rehearsed.incidents)
    messages = Counter(_monday(one.at) for one in found.rehearsed.messages)
    monday, last = _monday(found.rehearsed.grid.start), _monday(found.rehearsed.grid.end)
    weeks = []
    while monday <= last:
        weeks.append(Week(monday, incidents[monday], messages[monday]))
        monday += timedelta(days=7)
    return weeks


def _monday(at: datetime) -> date:
    return at.date() - timedelta(days=at.weekday())


def changes(before: WithEvidence, after: WithEvidence) -> list[Change]:
    """What is different with the new rules: incidents of a rule and its labels are the same where they overlap.

    A rule is compared from when both could judge it: what one of them could not see is no difference.
    """
    since, end = _judged_by_both(before, after), after.rehearsed.grid.end
    old, new = _cut(before, since), _cut(after, since)
    found = [_compared(one, _overlapping(one, old, end), end) for one in new]
    gone = [one for one in old if not _overlapping(one, new, end)]
    found += [Change("gone", one.rule.name, one.alert.identity, length(one, end), None, one.fired_at) for one in gone]
    return sorted((one for one in found if one is not None), key=lambda one: (one.fired_at, one.rule, str(one.labels)))


def not_compared(before: WithEvidence, after: WithEvidence) -> list[str]:
    """A line for each rule that only one of both could judge, always or at first."""
    lines = []
    for name, since in _judged_by_both(before, after).items():
        starts = {found.rehearsed.judged_from.get(name) for found in (before, after)}
        if since is None and starts != {None}:
            lines.append(f"{name} is not compared: one of both looks back further than the history goes")
        elif since is not None and len(starts) > 1:
            lines.append(f"{name} is compared from {since:%Y-%m-%d %H:%M} UTC: only one of both is judged before")
    return lines


def _judged_by_both(before: WithEvidence, after: WithEvidence) -> dict[str, datetime | None]:
    """From when on each rule that both have was judged by both; None: never."""
    old, new = before.rehearsed.judged_from, after.rehearsed.judged_from
    shared = [rule.name for rule in after.rules if rule.name in {other.name for other in before.rules}]
    return {name: max(old[name], new[name]) if name in old and name in new else None for name in shared}


def _cut(found: WithEvidence, since: Mapping[str, datetime | None]) -> list[Incident]:
    """The incidents as far as they lie in the time that is compared."""
    kept = []
    for one in found.rehearsed.incidents:
        begin = since.get(one.rule.name, one.fired_at)
        if begin is not None and (one.ended_at is None or one.ended_at > begin):
            kept.append(replace(one, fired_at=max(one.fired_at, begin)))
    return kept


def _overlapping(one: Incident, others: Sequence[Incident], end: datetime) -> list[Incident]:
    return [
        other
        for other in others
        if (other.rule.name, other.alert.identity) == (one.rule.name, one.alert.identity)
        and other.fired_at <= (one.ended_at or end)
        and one.fired_at <= (other.ended_at or end)
    ]


def _compared(one: Incident, same: Sequence[Incident], end: datetime) -> Change | None:
    now = length(one, end)
    if not same:
        return Change("new", one.rule.name, one.alert.identity, None, now, one.fired_at)
    then = sum((length(other, end) for other in same), start=timedelta(0))
    if now == then:
        return None
    return Change("longer" if now > then else "shorter", one.rule.name, one.alert.identity, then, now, one.fired_at)
