"""Receivers and routes: who hears of which alerts, in Alertmanager's words."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from k2alert.intervals import Interval, Moments
from k2alert.labels import Matcher, matches_all


@dataclass(frozen=True, slots=True)
class Integration:
    """One way in which a receiver is told. `name` is its kind and position: "slack[0]".

    One that `pushes` hears no messages about incidents, but all present alerts again and again (`notify.push`).
    """

    kind: str  # a key of INTEGRATIONS
    name: str
    settings: Any
    pushes: bool = False


@dataclass(frozen=True, slots=True)
class Receiver:
    """Someone who hears, through any number of integrations (none: hears, says nothing)."""

    name: str
    integrations: tuple[Integration, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """A node of the route tree, its inherited values filled in.

    `name` is unique in the tree: the one written, or else its place ("root", "root/0"). It is part of an
    alert group's key, so two routes never share one. It says nothing in its `mute` intervals, and where it has
    `active` ones nothing outside of them. With a `digest` it says one summary at each of its moments, nothing singly.
    """

    name: str
    receiver: str
    matchers: tuple[Matcher, ...] = ()
    continues: bool = False
    group_by: tuple[str, ...] = ("alertname", "source", "project")  # ("...",) groups by all labels
    group_wait: timedelta = timedelta(seconds=30)
    group_interval: timedelta = timedelta(minutes=5)
    repeat_interval: timedelta = timedelta(hours=4)
    mute: tuple[Interval, ...] = ()
    active: tuple[Interval, ...] = ()
    digest: Moments | None = None
    routes: tuple["Route", ...] = field(default=())

    def muted_by(self, now: datetime) -> tuple[str, ...]:
        """The time intervals for which it is mute now: those it must not speak in, else those it may only speak in."""
        mute = tuple(interval.name for interval in self.mute if interval.contains(now))
        if mute or not self.active or any(interval.contains(now) for interval in self.active):
            return mute
        return tuple(interval.name for interval in self.active)

    def tree(self) -> Iterator["Route"]:
        """This route and all below it."""
        yield self
        for child in self.routes:
            yield from child.tree()


def integrations_of(receivers: Mapping[str, Receiver]) -> dict[tuple[str, str], Integration]:
    """Every integration by receiver and name, in the order of the configuration."""
    return {(receiver.name, one.name): one for receiver in receivers.values() for one in receiver.integrations}


def routes_for(route: Route, labels: Mapping[str, str]) -> tuple[Route, ...]:
    """The routes that an alert with these labels takes: depth first, the first match wins unless it continues."""
    if not matches_all(route.matchers, labels):
        return ()
    taken: list[Route] = []
    for child in route.routes:
        found = routes_for(child, labels)
        taken.extend(found)
        if found and not child.continues:
            break
    return tuple(taken) or (route,)


def all_routes(route: Route) -> Iterator[Route]:
    """The route and every one below it, in the order in which they are written."""
    yield route
    for child in route.routes:
        yield from all_routes(child)
