"""How each integration stands to each incident: what it has been told, and how things are.

Alerts, the notification log and the route tree come in; out goes one `Standing` for every alert group and
integration that has something open. An incident is one alert group from its first firing to the end of its
last alert; the log remembers it, so nothing here lasts longer than a call.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property, lru_cache

from k2alert.labels import Labels
from k2alert.model import FAILING_ALERT, Alert, AlertState, EndReason, LogEntry
from k2alert.notify.route import Integration, Receiver, Route, integrations_of, routes_for
from k2alert.notify.unreached import Who, able, outlived, refusing
from k2alert.pauses import Pausing, at_once
from k2alert.times import EPOCH

__all__ = [
    "DIGEST",
    "Routing",
    "Standing",
    "fired_at",
    "group_key",
    "group_labels",
    "is_digest",
    "recovered",
    "standing_up",
    "standings",
    "standings_of",
]

DIGEST = ":digest"
"""How the `group` of a digest's log entry ends; no alert group's does."""

_ASKED_OFTEN = 100_000  # of every alert that fires, whenever it is planned who hears of it

_Slot = tuple[str, str, str]  # receiver, integration, key of the alert group


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """One incident as one integration stands to it.

    `entry` is what the log says (a fresh entry if the integration knows nothing). `route` gives the timers; None
    if no alert of it is routed here any more, then only the end is told. `alerts` are those that fire, and those
    once told; of these `firing` fire for sure and are not hushed, `held` are unknown or hushed but told, `new` fire and
    are not told, `ended` were told to fire and do so no more. `lost` counts what was told of alerts that nobody knows
    now.
    """

    integration: Integration
    entry: LogEntry
    route: Route | None
    alerts: tuple[Alert, ...]
    firing: tuple[Alert, ...]
    held: tuple[Alert, ...]
    new: tuple[Alert, ...]
    ended: tuple[Alert, ...]
    lost: int

    @property
    def is_open(self) -> bool:
        """Whether an alert of it fires, as far as is known."""
        return bool(self.firing or self.held)

    def told_now(self) -> dict[str, AlertState]:
        """What will have been told once the present state has been said."""
        told = dict.fromkeys(self.entry.told, AlertState.ENDED)
        return told | {alert.key: AlertState.FIRING for alert in (*self.firing, *self.held)}


def is_digest(entry: LogEntry) -> bool:
    """Whether it tells of a digest, not of an incident."""
    return entry.group.endswith(DIGEST)


def fired_at(alert: Alert) -> datetime:
    """When it began to fire."""
    return alert.fired_at or EPOCH


def recovered(alert: Alert) -> bool:
    """Whether it ended well. One that is pending or inactive again has ended before, and well."""
    return alert.state is not AlertState.ENDED or alert.reason is EndReason.RECOVERED


def standings(
    alerts: Mapping[str, Alert],
    log: Sequence[LogEntry],
    route: Route | None,
    receivers: Mapping[str, Receiver],
    hushed: Collection[str] = frozenset(),
) -> tuple[Standing, ...]:
    """Every open incident for every integration that is there, in the order of first firing.

    `hushed` are the keys of alerts that nobody is told of now. They are no news, and neither is what has outlived its
    cause; who heard of one that fires on has an open incident all the same.

    An alert stands where an open log entry tells of it, whatever the routes say meanwhile: who heard of it hears
    its end, and nobody hears of it twice because a route was renamed. Otherwise it stands in the first alert
    group that its routes lead to, for each integration. Digests are no incidents (see digest.py).
    """
    return at_once(standing_up(alerts, log, route, receivers, hushed))


def standing_up(
    alerts: Mapping[str, Alert],
    log: Sequence[LogEntry],
    route: Route | None,
    receivers: Mapping[str, Receiver],
    hushed: Collection[str] = frozenset(),
) -> Pausing[tuple[Standing, ...]]:
    """The same with pauses, in which nobody may change the alerts."""
    places = _Places(log, receivers, outlived(alerts, log, receivers).union(hushed))
    yield from places.keep(log)
    keys = [key for key, alert in alerts.items() if places.concern(key, alert)]
    return (yield from places.fill(_in_order(keys, alerts), alerts, Routing(route)))


def standings_of(
    who: Who,
    alerts: Mapping[str, Alert],
    log: Sequence[LogEntry],
    routing: "Routing",
    receivers: Mapping[str, Receiver],
    hushed: Collection[str],
    fires: Sequence[str],
) -> Pausing[tuple[Standing, ...]]:
    """The same of one integration. `fires` are the keys of what fires on its routes, in order of firing."""
    places = _Places(log, receivers, outlived(alerts, log, receivers).union(hushed), only=who)
    yield from places.keep(log)
    others = places.held.intersection(alerts).difference(fires)
    yield
    keys = _in_order([*fires, *others], alerts) if others else fires
    return (yield from places.fill(keys, alerts, routing))


def _in_order(keys: Iterable[str], alerts: Mapping[str, Alert]) -> list[str]:
    """In order of firing."""
    return [key for _, key in sorted((fired_at(alerts[key]), key) for key in keys)]


class Routing:
    """The routes that alerts take: looked up once for each label set, however many integrations hear of it."""

    def __init__(self, route: Route | None) -> None:
        self.route = route
        self._taken: dict[Labels, tuple[Route, ...]] = {}

    def of(self, alert: Alert) -> tuple[Route, ...]:
        """Those that it takes."""
        if self.route is None:
            return ()
        taken = self._taken.get(alert.labels)
        if taken is None:
            taken = self._taken[alert.labels] = routes_for(self.route, alert.labels)
        return taken


@dataclass(slots=True)
class _Place:
    entry: LogEntry | None = None
    route: Route | None = None
    group_labels: Labels = field(default_factory=Labels)
    alerts: dict[str, Alert] = field(default_factory=dict)


class _Places:
    """Where alerts stand while they are being put there: with everyone, or with `only` one integration."""

    def __init__(
        self,
        log: Sequence[LogEntry],
        receivers: Mapping[str, Receiver],
        hushed: Collection[str],
        only: Who | None = None,
    ) -> None:
        self._log = log
        self._receivers = receivers
        self._hushed = hushed
        self._integrations = {
            who: integration for who, integration in integrations_of(receivers).items() if only in (None, who)
        }
        self._places: dict[_Slot, _Place] = {}
        self._held: dict[str, dict[Who, _Slot]] = {}  # alert key: who was told, where

    @cached_property
    def _able(self) -> Who | None:
        return next(able(self._log, self._receivers), None)

    @cached_property
    def _refusing(self) -> frozenset[Who]:
        return refusing(self._log)

    @property
    def held(self) -> frozenset[str]:
        """The keys of the alerts that somebody here was told of, and not yet of their end."""
        return frozenset(self._held)

    def keep(self, log: Iterable[LogEntry]) -> Pausing[None]:
        """Puts there what the log says."""
        for entry in log:
            there = (entry.receiver, entry.integration) in self._integrations
            if there and not entry.closed and not is_digest(entry):
                self._keep(entry)
                yield

    def fill(
        self, keys: Iterable[str], alerts: Mapping[str, Alert], routing: "Routing"
    ) -> Pausing[tuple[Standing, ...]]:
        """Puts these alerts there, one after the other; what comes of it."""
        for key in keys:
            yield
            alert = alerts[key]
            if self.concern(key, alert):
                self.put(key, alert, routing.of(alert))
        return (yield from self._stand(alerts))

    def _keep(self, entry: LogEntry) -> None:
        who, slot = (entry.receiver, entry.integration), (entry.receiver, entry.integration, entry.group)
        self._places[slot] = _Place(entry=entry, group_labels=entry.group_labels)
        for key, state in entry.told.items():
            if state is AlertState.FIRING:
                self._held.setdefault(key, {})[who] = slot

    def concern(self, key: str, alert: Alert) -> bool:
        """Whether anyone has heard of it or should."""
        return self._is_news(key, alert) or key in self._held

    def _is_news(self, key: str, alert: Alert) -> bool:
        return alert.state is AlertState.FIRING and not alert.unknown and key not in self._hushed

    def put(self, key: str, alert: Alert, routes: Iterable[Route]) -> None:
        """Puts the alert into its place for every integration that has heard of it or should."""
        held = self._held.get(key, {})
        placed: set[Who] = set()
        for route, who in self._listeners(alert, tuple(routes)):
            if (
                who not in self._integrations
                or who in placed
                or not (who in held or (route.digest is None and self._is_news(key, alert)))
            ):
                continue
            placed.add(who)
            place = self._place(alert, route, held.get(who) or (*who, group_key(route, alert.labels)))
            place.alerts[key] = alert
        for who, slot in held.items():
            if who not in placed:
                self._places[slot].alerts[key] = alert

    def _listeners(self, alert: Alert, routes: Sequence[Route]) -> list[tuple[Route, Who]]:
        """Who is to hear of the alert. That some are not reached is told by those who are, whoever that is."""
        found = list(self._routed(routes))
        if alert.rule != FAILING_ALERT:
            return found
        found = [(route, who) for route, who in found if who not in self._refusing and route.digest is None]
        return found or [(route, self._able) for route in routes[:1] if self._able is not None]

    def _routed(self, routes: Iterable[Route]) -> Iterator[tuple[Route, Who]]:
        for route in routes:
            receiver = self._receivers.get(route.receiver)
            for integration in receiver.integrations if receiver is not None else ():
                if not integration.pushes:
                    yield route, (route.receiver, integration.name)

    def _place(self, alert: Alert, route: Route, slot: _Slot) -> _Place:
        if slot not in self._places:
            self._places[slot] = _Place(group_labels=group_labels(route, alert.labels))
        place = self._places[slot]
        place.route = place.route or route
        return place

    def _stand(self, alerts: Mapping[str, Alert]) -> Pausing[tuple[Standing, ...]]:
        found: list[Standing] = []
        for slot, place in self._places.items():
            yield
            entry = place.entry or _fresh_entry(slot, place)
            # Those told to have ended before still belong to the story of an incident that goes on.
            over = {key: alerts[key] for key in entry.told if key in alerts and alerts[key].state is AlertState.ENDED}
            integration = self._integrations[slot[:2]]
            found.append(_stand(integration, entry, place.route, over | place.alerts, self._firing(place)))
        return tuple(found)

    def _firing(self, place: _Place) -> dict[str, Alert]:
        return {key: alert for key, alert in place.alerts.items() if self._is_news(key, alert)}


def _stand(
    integration: Integration,
    entry: LogEntry,
    route: Route | None,
    alerts: Mapping[str, Alert],
    firing: Mapping[str, Alert],
) -> Standing:
    told_firing = {key for key, state in entry.told.items() if state is AlertState.FIRING}
    held = {
        key: alert
        for key, alert in alerts.items()
        if key in told_firing and key not in firing and (alert.unknown or alert.state is AlertState.FIRING)
    }
    over = told_firing - firing.keys() - held.keys()
    return Standing(
        integration=integration,
        entry=entry,
        route=route,
        alerts=tuple(alerts.values()),
        firing=tuple(firing.values()),
        held=tuple(held.values()),
        new=tuple(alert for key, alert in firing.items() if key not in told_firing),
        ended=tuple(alert for key, alert in alerts.items() if key in over),
        lost=len(told_firing - alerts.keys()),
    )


def _fresh_entry(slot: _Slot, place: _Place) -> LogEntry:
    receiver, integration, group = slot
    return LogEntry(
        incident=_incident_of(group, next(iter(place.alerts.values()))),
        group=group,
        group_labels=place.group_labels,
        receiver=receiver,
        integration=integration,
    )


def _incident_of(group: str, first: Alert) -> str:
    """The same in every process: the alert group, and the first life of an alert in this incident."""
    return _incident_id(group, first.key, fired_at(first))


@lru_cache(maxsize=_ASKED_OFTEN)
def _incident_id(group: str, alert: str, at: datetime) -> str:
    return Labels({"group": group, "alert": alert, "at": at.isoformat()}).fingerprint


def group_labels(route: Route, labels: Labels) -> Labels:
    """The labels that alerts of one alert group share on a route."""
    return labels if "..." in route.group_by else _only(labels, route.group_by)


def group_key(route: Route, labels: Labels) -> str:
    """Alertmanager's form: the route and the group labels."""
    return _named(route.name, group_labels(route, labels))


@lru_cache(maxsize=_ASKED_OFTEN)
def _only(labels: Labels, names: tuple[str, ...]) -> Labels:
    return labels.only(names)


@lru_cache(maxsize=_ASKED_OFTEN)
def _named(route: str, labels: Labels) -> str:
    return f"{route}:{labels!r}"
