"""Why alerts are not heard, as in Alertmanager: silences, other alerts that say it already (inhibition), times.

Alerts, silences, inhibit rules and routes come in; out goes a `Hush` for every open alert that is kept quiet, and the
alert groups of all that fire. Nothing of it changes what an alert is: that goes on unheard.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from k2alert.labels import Labels, Matcher, matches_all
from k2alert.model import Alert, AlertGroup, AlertState, Hush, Silence, SilenceState
from k2alert.notify.route import Route, routes_for
from k2alert.notify.standing import group_labels

__all__ = ["Inhibition", "alert_groups", "all_hushes", "hushes"]

_OPEN = (AlertState.PENDING, AlertState.FIRING)


@dataclass(frozen=True, slots=True)
class Inhibition:
    """While an alert of the source fires, alerts of the target with the same `equal` labels are not heard."""

    source: tuple[Matcher, ...]
    target: tuple[Matcher, ...]
    equal: tuple[str, ...] = ()


def hushes(
    alerts: Mapping[str, Alert], silences: Sequence[Silence], inhibitions: Sequence[Inhibition], *, now: datetime
) -> dict[str, Hush]:
    """The pending and firing alerts that are silenced or inhibited now, by `Alert.key`, as `alerts` are too."""
    active = [one for one in silences if one.state(now) is SilenceState.ACTIVE and one.outlives(alerts)]
    open_alerts = {key: alert for key, alert in alerts.items() if alert.state in _OPEN} if active or inhibitions else {}
    inhibited: dict[str, list[str]] = {}
    for rule in inhibitions:
        for key, source in _inhibited(rule, open_alerts):
            inhibited.setdefault(key, []).append(source)
    found = {}
    for key, alert in open_alerts.items():
        silenced = tuple(silence.id for silence in active if silence.matches(alert.labels))
        if silenced or key in inhibited:
            found[key] = Hush(silenced, tuple(dict.fromkeys(inhibited.get(key, ()))))
    return found


def all_hushes(
    alerts: Mapping[str, Alert],
    silences: Sequence[Silence],
    inhibitions: Sequence[Inhibition],
    route: Route | None,
    *,
    now: datetime,
) -> dict[str, Hush]:
    """The same, with the time intervals that keep all routes of an alert mute: why nobody is told of it."""
    found = hushes(alerts, silences, inhibitions, now=now)
    if route is None or not any(one.mute or one.active for one in route.tree()):
        return found
    muted = {one.name: one.muted_by(now) for one in route.tree()}
    for key, alert in alerts.items():
        names = [muted[one.name] for one in routes_for(route, alert.labels)] if alert.state in _OPEN else []
        if names and all(names):
            by = tuple(dict.fromkeys(name for some in names for name in some))
            found[key] = replace(found.get(key, Hush()), muted_by=by)
    return found


def alert_groups(alerts: Iterable[Alert], route: Route | None, *, now: datetime) -> tuple[AlertGroup, ...]:
    """Every alert group of what fires, by receiver and labels, whatever has been said of it."""
    found: dict[tuple[str, str, Labels], list[Alert]] = {}
    for alert in alerts:
        if alert.state is AlertState.FIRING and route is not None:
            for one in routes_for(route, alert.labels):
                found.setdefault((one.receiver, one.name, group_labels(one, alert.labels)), []).append(alert)
    muted = {one.name: one.muted_by(now) for one in route.tree()} if route is not None else {}
    ordered = sorted(found, key=lambda slot: (slot[0], str(slot[2]), slot[1]))
    return tuple(
        AlertGroup(name, receiver, labels, tuple(found[receiver, name, labels]), muted[name])
        for receiver, name, labels in ordered
    )


def _inhibited(rule: Inhibition, alerts: Mapping[str, Alert]) -> Iterator[tuple[str, str]]:
    """The targets that a rule keeps quiet, each with the source that does.

    What is on both sides is not kept quiet by what is on both sides too, itself least of all.
    """
    targets = {key for key, alert in alerts.items() if matches_all(rule.target, alert.labels)}
    sources = [
        key
        for key, alert in sorted(alerts.items())
        if alert.state is AlertState.FIRING and matches_all(rule.source, alert.labels)
    ]
    both = targets.intersection(sources)
    any_side = _by_labels(rule, alerts, sources)
    one_side = _by_labels(rule, alerts, [key for key in sources if key not in both])
    for key in targets:
        source = (one_side if matches_all(rule.source, alerts[key].labels) else any_side).get(_equal(rule, alerts[key]))
        if source is not None:
            yield key, source


def _by_labels(rule: Inhibition, alerts: Mapping[str, Alert], keys: Iterable[str]) -> dict[tuple[str, ...], str]:
    """One of these alerts for each set of values of the labels that must be equal."""
    return {_equal(rule, alerts[key]): key for key in keys}


def _equal(rule: Inhibition, alert: Alert) -> tuple[str, ...]:
    return tuple(alert.labels.get(name, "") for name in rule.equal)
