"""Who hears of an alert, who has, and why somebody has not: routes, the notification log and the alerts come in.

Pure. What is due comes from `notify.plan`, so that what is promised here is what will be sent.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime

from k2alert.cycle import Scene, hushes_of
from k2alert.explain.explanation import Hearing, Reason
from k2alert.labels import Labels
from k2alert.model import Alert, AlertState, LogEntry
from k2alert.notify.plan import Kind, next_due
from k2alert.notify.route import routes_for
from k2alert.notify.standing import Standing, standings
from k2alert.times import iso

__all__ = ["hearings_of", "standings_of"]

_DUE = {
    Kind.FIRING: "the first message",
    Kind.CHANGED: "what changed",
    Kind.REPEAT: "a repeat",
    Kind.RESOLVED: "that it is resolved",
    Kind.CLOSED: "that it is closed",
}


def standings_of(scene: Scene, *, now: datetime) -> tuple[Standing, ...]:
    """How every integration stands to every incident."""
    return standings(
        {alert.key: alert for alert in scene.alerts.values()},
        scene.log,
        scene.config.route,
        scene.config.receivers,
        hushes_of(scene, scene.alerts, now=now),
    )


def hearings_of(
    scene: Scene, labels: Labels, alert: Alert | None, standing: Sequence[Standing], *, now: datetime
) -> tuple[Hearing, ...]:
    """Every integration that hears of an alert with these labels, or heard of this one; none: nobody does.

    `standing` is from `standings_of`: empty for the past, of which nobody knows what was due.
    """
    mine = {_who(one.entry): one for one in standing if alert is not None and _is_in(alert, one.alerts)}
    told = _last_told(scene.log, alert)
    routed = list(_routed(scene, labels))
    gone = [("", *who) for who in (told | mine.keys()) if who not in {one[1:] for one in routed}]
    return tuple(
        Hearing(route=route, receiver=receiver, integration="", reason=Reason("nobody", "it says nothing to anybody"))
        if not integration
        else _hearing(route, (receiver, integration), alert, mine.get((receiver, integration)), told, now)
        for route, receiver, integration in [*routed, *gone]
    )


def _routed(scene: Scene, labels: Labels) -> Iterator[tuple[str, str, str]]:
    """The routes an alert takes, by name, with the receiver and each of its integrations ("" for none)."""
    root = scene.config.route
    for route in routes_for(root, labels) if root is not None else ():
        receiver = scene.config.receivers.get(route.receiver)
        names = [integration.name for integration in receiver.integrations] if receiver is not None else []
        yield from ((route.name, route.receiver, name) for name in names or [""])


def _who(entry: LogEntry) -> tuple[str, str]:
    return (entry.receiver, entry.integration)


def _is_in(alert: Alert, alerts: Iterable[Alert]) -> bool:
    return any(one.key == alert.key for one in alerts)


def _last_told(log: Iterable[LogEntry], alert: Alert | None) -> dict[tuple[str, str], LogEntry]:
    """The last entry that tells of the alert, for each integration."""
    found: dict[tuple[str, str], LogEntry] = {}
    for entry in log:
        before = found.get(_who(entry))
        newer = before is None or _sent_at(entry) > _sent_at(before)
        if alert is not None and alert.key in entry.told and newer:
            found[_who(entry)] = entry
    return found


def _sent_at(entry: LogEntry) -> str:
    return iso(entry.last_sent_at) if entry.last_sent_at is not None else ""


def _hearing(
    route: str,
    who: tuple[str, str],
    alert: Alert | None,
    standing: Standing | None,
    told: dict[tuple[str, str], LogEntry],
    now: datetime,
) -> Hearing:
    entry = standing.entry if standing is not None else told.get(who)
    due = next_due(standing, now=now) if standing is not None else None
    return Hearing(
        route=route,
        receiver=who[0],
        integration=who[1],
        reason=_reason(alert, entry, due),
        messages=entry.sent if entry is not None else 0,
        last_at=entry.last_sent_at if entry is not None else None,
        error=entry.error if entry is not None else "",
        due_at=due[0] if due is not None else None,
        due=due[1].value if due is not None else "",
    )


def _reason(alert: Alert | None, entry: LogEntry | None, due: tuple[datetime, Kind] | None) -> Reason:
    if entry is not None and entry.gave_up:
        return Reason("gave_up", f"the last message was given up: {entry.error}")
    if entry is not None and entry.error and entry.retry_at is not None:
        return Reason("failing", f"failed {entry.failures} times: {entry.error}; tried again {iso(entry.retry_at)}")
    if entry is not None and alert is not None and alert.key in entry.told and entry.last_sent_at is not None:
        return Reason("told", _told(entry, due))
    if alert is None or alert.state is not AlertState.FIRING:
        return Reason("not_firing", "hears of it once it fires")
    if alert.unknown:
        return Reason("unknown", "hears nothing while it is not known how things are")
    if due is not None:
        return Reason("waiting", f"hears {_DUE.get(due[1], due[1].value)} {iso(due[0])}")
    return Reason("not_told", "has not heard of it")


def _told(entry: LogEntry, due: tuple[datetime, Kind] | None) -> str:
    last = iso(entry.last_sent_at) if entry.last_sent_at is not None else "never"
    text = f"heard {entry.sent} message{'' if entry.sent == 1 else 's'} of this incident, the last {last}"
    if entry.closed:
        return f"{text}; it has heard the end"
    return f"{text}; next, {_DUE.get(due[1], due[1].value)} {iso(due[0])}" if due is not None else text
