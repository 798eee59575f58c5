"""Why alerts are not heard: silences, and other alerts that say it already (inhibition), as in Alertmanager.

Alerts, silences and inhibit rules come in; out goes a `Hush` for every open alert that one of them keeps quiet.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from k2alert.labels import Matcher, matches_all
from k2alert.model import Alert, AlertState, Hush, Silence, SilenceState

__all__ = ["Inhibition", "hushes"]

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
    active = [silence for silence in silences if silence.state(now) is SilenceState.ACTIVE]
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
