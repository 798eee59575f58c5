"""What is due: who is to be told what, now.

Alerts, the notification log, routes and receivers come in; out go the messages that are due at `now`. There are
no timers: every decision follows from times that are stored, so a restart, a hang or a failed delivery changes
nothing but the moment. What a message says is always the present state, so a late message is never a wrong one.

The main path: `standings` (who stands where to which incident), `_part` (what is due of one incident), and
`lists.messages` (single messages, or lists when there are too many).
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import groupby

from k2alert.model import Alert, LogEntry
from k2alert.notify.dues import PARTLY_KEY, TRIED_KEY, Address, Due, Kind, Part, Told
from k2alert.notify.lists import Desk, messages
from k2alert.notify.outlook import Outlook
from k2alert.notify.retrying import is_put_off
from k2alert.notify.route import Receiver, Route
from k2alert.notify.standing import Standing, fired_at, recovered, standings, standings_of
from k2alert.notify.unreached import Who, heard
from k2alert.pauses import Pausing, at_once
from k2alert.times import EPOCH

__all__ = ["due", "due_of", "next_due"]


def due(
    *,
    alerts: Mapping[str, Alert],
    log: Sequence[LogEntry],
    route: Route | None,
    receivers: Mapping[str, Receiver],
    now: datetime,
    hushed: Collection[str] = frozenset(),
    address: Address = lambda _integration, _alerts: "",
) -> tuple[Due, ...]:
    """The messages that are due now, those of one integration in the order in which incidents began to fire.

    `alerts` are all that are known, by `Alert.key`; those never fired are passed over, and those `hushed` are no news.
    Messages of one integration must be delivered, and their outcome logged, before this is asked again; integrations
    don't wait for each other.
    """
    found: list[Due] = []
    standing_by = sorted(
        standings(alerts, log, route, receivers, hushed), key=_who
    )  # stable: keeps the order of firing
    for who, mine in groupby(standing_by, key=_who):
        found.extend(at_once(_messages(Desk(tuple(mine), _of(who, log), now, address))))
    return tuple(found)


def due_of(
    who: Who, outlook: Outlook, *, log: Sequence[LogEntry], now: datetime, address: Address
) -> Pausing[tuple[Due, ...]]:
    """What `due` says of one integration, with pauses.

    What comes of it may be begun only where nothing of the integration was in flight, nor its part of the log changed,
    from the first step to the last.
    """
    standing_by = yield from standings_of(
        who, outlook.alerts, log, outlook.routing, outlook.receivers, outlook.hushed, outlook.fires_for[who]
    )
    if not standing_by:
        return ()
    return (yield from _messages(Desk(standing_by, _of(who, log), now, address)))


def _messages(desk: Desk) -> Pausing[tuple[Due, ...]]:
    parts: list[Part] = []
    for standing in desk.standings:
        yield
        part = _part(standing, desk.now)
        if part is not None:
            parts.append(part)
    return (yield from messages(desk, parts))


def _of(who: Who, log: Iterable[LogEntry]) -> list[LogEntry]:
    return [entry for entry in log if (entry.receiver, entry.integration) == who]


def next_due(standing: Standing, *, now: datetime) -> tuple[datetime, Kind] | None:
    """When the next message of an incident is due if nothing changes until then, and why; None where none is."""
    for at in sorted({now, *(moment for moment in _moments(standing) if moment > now)}):
        kind = _kind(standing, at)
        if kind is not None:
            return at, kind
    return None


def _moments(standing: Standing) -> Iterator[datetime]:
    """The times at which something can become due by itself."""
    entry, route = standing.entry, standing.route
    if entry.retry_at is not None:
        yield entry.retry_at
    if route is not None:
        yield from (fired_at(alert) + route.group_wait for alert in standing.new)
        last = entry.last_sent_at or EPOCH
        yield from (last + route.group_interval, last + route.repeat_interval)


def _who(standing: Standing) -> Who:
    return (standing.entry.receiver, standing.entry.integration)


# ------------------------------------------------------------------------------- what of one incident


def _part(standing: Standing, now: datetime) -> Part | None:
    kind = _kind(standing, now)
    if kind is None:
        return None
    return Part(
        kind=kind,
        entry=standing.entry,
        alerts=standing.alerts,
        news=(*standing.new, *standing.ended),
        told=standing.told_now(),
    )


def _kind(standing: Standing, now: datetime) -> Kind | None:
    """What is due of the incident, if anything."""
    entry = standing.entry
    if is_put_off(entry, now) or _is_mute(standing, now):
        return None
    if not entry.told:
        return _first(standing, now)
    if not standing.is_open:
        return _end(standing, now)
    if standing.route is None:
        return None
    kind = _change(standing, standing.route, now)
    # Nobody has heard the first message: to them this is it.
    return Kind.FIRING if kind is not None and not heard(entry) else kind


def _is_mute(standing: Standing, now: datetime) -> bool:
    """Whether its route must not speak; what may have been heard already at a crash is said again all the same."""
    route = standing.route
    return route is not None and bool(route.muted_by(now)) and TRIED_KEY not in standing.entry.handle


def _first(standing: Standing, now: datetime) -> Kind | None:
    if not standing.new or standing.route is None:
        return None
    began = min(_past(fired_at(alert), now) for alert in standing.new)
    return Kind.FIRING if now >= began + standing.route.group_wait else None


def _end(standing: Standing, now: datetime) -> Kind | None:
    entry = standing.entry
    wait = standing.route.group_interval if standing.route is not None else timedelta(0)
    if not heard(entry) or not _settings(standing).send_resolved or now < _not_before(entry, wait, now):
        return None
    if entry.gave_up and not standing.ended and (entry.retry_at is None or not standing.alerts):
        return None  # that end was given up, and is not to be told again, or no more
    # Where nothing ended anew, some addresses have not heard yet how it all ended.
    well = all(map(recovered, standing.ended or standing.alerts)) and not standing.lost
    return Kind.RESOLVED if well else Kind.CLOSED


def _change(standing: Standing, route: Route, now: datetime) -> Kind | None:
    entry = standing.entry
    changed = standing.new or (standing.ended and _settings(standing).send_resolved)
    if changed:
        return Kind.CHANGED if now >= _not_before(entry, route.group_interval, now) else None
    if not standing.firing:
        return None
    if now >= _repeat_at(entry, route, now):
        return Kind.REPEAT
    if entry.retry_at is None or not _is_owed(entry):
        return None
    return Kind.FIRING if entry.sent == 0 else Kind.CHANGED


def _is_owed(entry: LogEntry) -> bool:
    """Whether somebody may not have heard what the log calls told.

    A message that nobody took changed nothing of that: once things are again as they were told, it is no news.
    """
    return entry.gave_up or not {TRIED_KEY, PARTLY_KEY}.isdisjoint(entry.handle)


def _not_before(entry: LogEntry, interval: timedelta, now: datetime) -> datetime:
    """When the next message may go: when a failed one may be tried again, or `interval` after the last."""
    if entry.retry_at is not None:
        return entry.retry_at if is_put_off(entry, now) else now
    return _past(entry.last_sent_at, now) + interval


def _repeat_at(entry: LogEntry, route: Route, now: datetime) -> datetime:
    """When it is said again though nothing changed: a clock that is set back a little must not bring that about."""
    last = entry.last_sent_at
    return EPOCH if last is None or last > now + route.repeat_interval else last + route.repeat_interval


def _past(at: datetime | None, now: datetime) -> datetime:
    """The time, or long ago where there is none, or where it was taken from a clock that has been set back since."""
    return at if at is not None and at <= now else EPOCH


def _settings(standing: Standing) -> Told:
    settings: Told = standing.integration.settings
    return settings
