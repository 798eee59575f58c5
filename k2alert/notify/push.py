"""What receivers without a memory of ours are told: the present alerts, again and again (Alertmanager's API v2).

Alerts, routes and receivers come in; out goes one `Due` for each integration that `pushes`, with every alert that
fires for it and those that ended lately. No log is kept of it: what was missed is in the next push.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from k2alert.labels import Labels
from k2alert.model import Alert, AlertState, LogEntry
from k2alert.notify.dues import Due, Kind, Part
from k2alert.notify.route import Receiver, Route, routes_for

__all__ = ["PUSH_EVERY", "RESOLVED_FOR", "PushState", "pushes", "remembered"]

PUSH_EVERY = timedelta(minutes=1)
"""How often the present alerts are pushed while nothing changes; Prometheus's `resend-delay`."""

RESOLVED_FOR = timedelta(minutes=15)
"""How long an ended alert is pushed as resolved, as Prometheus does (`resolvedRetention` in rules/alerting.go)."""


@dataclass(frozen=True, slots=True)
class PushState:
    """How pushes to an integration go: since when they fail, None where they work, and why."""

    failing_since: datetime | None = None
    error: str = ""


def remembered(known: Mapping[str, Alert], alerts: Iterable[Alert], *, now: datetime) -> dict[str, Alert]:
    """The ended alerts that are still to be pushed: those known before and those of now, by `Alert.key`."""
    ended = {alert.key: alert for alert in alerts if alert.state is AlertState.ENDED}
    return {key: alert for key, alert in {**known, **ended}.items() if _is_young(alert, now)}


def _is_young(alert: Alert, now: datetime) -> bool:
    return alert.ended_at is not None and timedelta(0) <= now - alert.ended_at < RESOLVED_FOR


def pushes(
    *,
    alerts: Iterable[Alert],
    ended: Mapping[str, Alert],
    route: Route | None,
    receivers: Mapping[str, Receiver],
    now: datetime,
    hushed: Collection[str] = frozenset(),
) -> tuple[Due, ...]:
    """What is to be pushed to whom: to each integration that pushes, alerts or none.

    `hushed` ones are left out, and what comes by routes that are mute now, as Alertmanager does for every receiver.
    """
    who = {receiver.name for receiver in receivers.values() for one in receiver.integrations if one.pushes}
    if not who or route is None:
        return ()
    firing = {alert.key: alert for alert in alerts if alert.state is AlertState.FIRING and alert.key not in hushed}
    muted = {one.name: bool(one.muted_by(now)) for one in route.tree()}
    heard: dict[str, list[Alert]] = {name: [] for name in who}
    for alert in (dict(ended) | firing).values():
        for name in {one.receiver for one in routes_for(route, alert.labels) if not muted[one.name]} & who:
            heard[name].append(alert)
    return tuple(due for name, mine in sorted(heard.items()) for due in _dues(receivers[name], tuple(mine)))


def _dues(receiver: Receiver, alerts: tuple[Alert, ...]) -> Iterator[Due]:
    for integration in receiver.integrations:
        if not integration.pushes:
            continue
        told = tuple(one for one in alerts if integration.settings.send_resolved or one.state is AlertState.FIRING)
        if told:
            yield Due(
                kind=Kind.REPEAT,
                receiver=receiver.name,
                integration=integration,
                parts=(_part(receiver.name, integration.name, told),),
            )


def _part(receiver: str, integration: str, alerts: tuple[Alert, ...]) -> Part:
    entry = LogEntry(incident="", group="", group_labels=Labels(), receiver=receiver, integration=integration)
    return Part(
        kind=Kind.REPEAT, entry=entry, alerts=alerts, news=(), told={alert.key: alert.state for alert in alerts}
    )
