"""Digests: on a route with `digest`, one summary of what fired and ended since the last, and nothing singly.

Alerts, the log, routes and receivers come in, as in plan.py; out goes what is due, and what the log says meanwhile.
From one summary to the next a digest is an incident of its own: `open_digests` opens it, its message closes it. The
log remembers since when; so one that was missed while nobody ran is sent once, as soon as somebody does.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from k2alert.labels import Labels
from k2alert.model import Alert, AlertState, LogEntry
from k2alert.notify.dues import TRIED_KEY, Due, Kind, Part
from k2alert.notify.outlook import Outlook
from k2alert.notify.retrying import is_put_off
from k2alert.notify.route import Integration, Receiver, Route, routes_for
from k2alert.notify.standing import DIGEST, fired_at, is_digest
from k2alert.notify.unreached import Who
from k2alert.times import EPOCH, iso, parse_instant, to_ms

__all__ = ["awaited_by_digests", "digests_due", "digests_of", "open_digests", "since_of"]

_SINCE_KEY = "*since"  # in a log entry's handle: the instant after which its digest tells; no address looks like it


def digests_due(
    *,
    alerts: Mapping[str, Alert],
    log: Sequence[LogEntry],
    route: Route | None,
    receivers: Mapping[str, Receiver],
    now: datetime,
    hushed: Collection[str] = frozenset(),
) -> tuple[Due, ...]:
    """The digests that are due now and have something to say."""
    return tuple(_due(_desks(alerts, log, route, receivers, hushed), now))


def digests_of(who: Who, outlook: Outlook, *, log: Sequence[LogEntry], now: datetime) -> tuple[Due, ...]:
    """The same of one integration."""
    desks = _open_desks(outlook.alerts, log, outlook.routing.route, outlook.receivers, outlook.hushed, outlook.digested)
    return tuple(_due((desk for desk in desks if (desk.receiver, desk.integration.name) == who), now))


def _due(desks: "Iterable[_Desk]", now: datetime) -> Iterator[Due]:
    for desk in desks:
        part = desk.part() if desk.is_due(now) else None
        if part is not None:
            yield desk.due(part)


def open_digests(
    *,
    alerts: Mapping[str, Alert],
    log: Sequence[LogEntry],
    route: Route | None,
    receivers: Mapping[str, Receiver],
    now: datetime,
    hushed: Collection[str] = frozenset(),
) -> tuple[LogEntry, ...]:
    """The log entries of digests that begin, that had nothing to say at their moment, or whose route is gone."""
    desks = tuple(_desks(alerts, log, route, receivers, hushed))
    moved = [_moved(desk, log, now) for desk in desks]
    here = {(desk.group, desk.receiver, desk.integration.name) for desk in desks}
    gone = (
        replace(entry, closed=True, retry_at=None)
        for entry in log
        if is_digest(entry) and not entry.closed and (entry.group, entry.receiver, entry.integration) not in here
    )
    return (*(entry for entry in moved if entry is not None), *gone)


def awaited_by_digests(
    *,
    alerts: Mapping[str, Alert],
    log: Sequence[LogEntry],
    route: Route | None,
    receivers: Mapping[str, Receiver],
) -> frozenset[str]:
    """The keys of the ended alerts that a digest is still to tell of."""
    return frozenset(alert.key for desk in _desks(alerts, log, route, receivers, ()) for alert in desk.ended())


def since_of(entry: LogEntry) -> datetime:
    """The instant after which a digest tells."""
    return parse_instant(entry.handle[_SINCE_KEY]) if _SINCE_KEY in entry.handle else EPOCH


@dataclass(frozen=True, slots=True)
class _Desk:
    """A digest of one integration: its route, the alerts that come here, and the open log entry, if there is one."""

    route: Route
    receiver: str
    integration: Integration
    entry: LogEntry | None
    alerts: Mapping[str, Alert]
    hushed: Collection[str]

    @property
    def group(self) -> str:
        return f"{self.route.name}{DIGEST}"

    def due(self, part: Part) -> Due:
        return Due(
            kind=Kind.DIGEST,
            receiver=self.receiver,
            integration=self.integration,
            parts=(part,),
            handle=part.entry.handle,
        )

    def is_due(self, now: datetime) -> bool:
        entry = self.entry
        if entry is None or self.route.digest is None:
            return False
        if is_put_off(entry, now):
            return False
        if TRIED_KEY in entry.handle:  # somebody may have heard it, others have not
            return True
        return self.route.digest.last_before(now) > since_of(entry) and not self.route.muted_by(now)

    def part(self) -> Part | None:
        """What there is to say; None where nothing fires, and nothing ended."""
        entry, firing, ended = self.entry, self.firing(), self.ended()
        if entry is None or not (firing or ended):
            return None
        told = {alert.key: AlertState.ENDED for alert in ended} | {alert.key: AlertState.FIRING for alert in firing}
        news = tuple(alert for alert in (*firing, *ended) if entry.told.get(alert.key) is not told[alert.key])
        return Part(kind=Kind.DIGEST, entry=entry, alerts=(*firing, *ended), news=news, told=told)

    def firing(self) -> list[Alert]:
        """What fires, and is not hushed or was told."""
        return [
            alert
            for key, alert in self.alerts.items()
            if (alert.state is AlertState.FIRING and not (alert.unknown or key in self.hushed)) or self._fires_on(alert)
        ]

    def ended(self) -> list[Alert]:
        """What ended since the last digest: what it told of, and what came and went in between."""
        since = to_ms(since_of(self.entry) if self.entry is not None else EPOCH)
        return [
            alert
            for key, alert in self.alerts.items()
            if alert.state is not AlertState.FIRING
            and (self._told_firing(key) or (alert.ended_at is not None and to_ms(alert.ended_at) > since))
        ]

    def _told_firing(self, key: str) -> bool:
        return self.entry is not None and self.entry.told.get(key) is AlertState.FIRING

    def _fires_on(self, alert: Alert) -> bool:
        return alert.state is AlertState.FIRING and self._told_firing(alert.key)


def _desks(
    alerts: Mapping[str, Alert],
    log: Sequence[LogEntry],
    route: Route | None,
    receivers: Mapping[str, Receiver],
    hushed: Collection[str],
) -> Iterator[_Desk]:
    if route is None or not any(_digests(route)):
        return
    yield from _open_desks(alerts, log, route, receivers, hushed, _routed(alerts, route))


def _open_desks(
    alerts: Mapping[str, Alert],
    log: Sequence[LogEntry],
    route: Route | None,
    receivers: Mapping[str, Receiver],
    hushed: Collection[str],
    routed: Mapping[str, Mapping[str, Alert]],
) -> Iterator[_Desk]:
    """`routed` are the alerts that come to each digest, by its route's name."""
    entries = {_slot(entry): entry for entry in log if is_digest(entry) and not entry.closed}
    for one in _digests(route) if route is not None else ():
        receiver = receivers.get(one.receiver)
        for integration in receiver.integrations if receiver is not None else ():
            if integration.pushes:
                continue
            entry = entries.get((f"{one.name}{DIGEST}", one.receiver, integration.name))
            told = {key: alerts[key] for key in (entry.told if entry is not None else ()) if key in alerts}
            yield _Desk(one, one.receiver, integration, entry, {**told, **routed.get(one.name, {})}, hushed)


def _digests(route: Route) -> Iterator[Route]:
    return (one for one in route.tree() if one.digest is not None)


def _slot(entry: LogEntry) -> tuple[str, str, str]:
    return (entry.group, entry.receiver, entry.integration)


def _routed(alerts: Mapping[str, Alert], route: Route) -> dict[str, dict[str, Alert]]:
    """The alerts that fire or ended, in the order of firing, by the names of the digests' routes that they take."""
    found: dict[str, dict[str, Alert]] = {}
    fired = [(fired_at(one), key) for key, one in alerts.items() if one.state in (AlertState.FIRING, AlertState.ENDED)]
    for _, key in sorted(fired):
        for taken in routes_for(route, alerts[key].labels):
            if taken.digest is not None:
                found.setdefault(taken.name, {})[key] = alerts[key]
    return found


def _moved(desk: _Desk, log: Sequence[LogEntry], now: datetime) -> LogEntry | None:
    entry = desk.entry
    if entry is None:
        return _opened(desk, log, now)
    if desk.is_due(now) and desk.part() is None:
        handle = {key: left for key, left in entry.handle.items() if key != TRIED_KEY}
        return replace(entry, handle={**handle, _SINCE_KEY: iso(now)}, retry_at=None)
    return None


def _opened(desk: _Desk, log: Sequence[LogEntry], now: datetime) -> LogEntry:
    """The next digest begins where the last was told, and remembers what it told of that fires on."""
    mine = (desk.group, desk.receiver, desk.integration.name)
    before = [entry for entry in log if _slot(entry) == mine and entry.last_sent_at is not None]
    last = max(before, key=lambda entry: entry.last_sent_at or EPOCH, default=None)
    since = now if last is None or last.last_sent_at is None else last.last_sent_at
    firing = {key: state for key, state in last.told.items() if state is AlertState.FIRING} if last is not None else {}
    return LogEntry(
        incident=Labels({"group": desk.group, "since": iso(since)}).fingerprint,
        group=desk.group,
        group_labels=Labels(),
        receiver=desk.receiver,
        integration=desk.integration.name,
        told=firing,
        handle={_SINCE_KEY: iso(since)},
    )
