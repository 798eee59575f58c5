"""Who hears what when, in a rehearsal: alerts that changed come in, messages and the next instant to look at go out.

The daemon looks at every incident in every round. Here only those alert groups are looked at in which an alert changed,
or whose next word may be due; with them go the groups that share an alert or a list with them. Those told of in the
last five minutes stand beside them while it is decided what is said, for together it may be too much. Where routes go
by the time of day, or alerts inhibit others, all are looked at.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from heapq import heappop, heappush

from k2alert.alert.lifecycle import AlertId
from k2alert.cycle import Scene, hushes_of
from k2alert.model import Alert, AlertState
from k2alert.notify.lists import STORM_SPAN
from k2alert.notify.plan import next_due
from k2alert.notify.route import Route, routes_for
from k2alert.notify.standing import group_key, standings
from k2alert.rehearse.agenda import Grid
from k2alert.rehearse.world import Office, Told

__all__ = ["Hearers"]

_EVERY_ROUND = "*"
"""Stands for an alert group while every round may be the one that may speak; no group's key looks like it."""


class Hearers:
    """The office of a backtest. `next` is when somebody may have to hear, if no alert changes before."""

    def __init__(self, scene: Scene, grid: Grid) -> None:
        self._scene = scene
        self._grid = grid
        self._office = Office()
        self._alerts: dict[AlertId, Alert] = {}  # those that somebody has heard of or should
        self._groups: dict[AlertId, frozenset[str]] = {}
        self._members: defaultdict[str, set[AlertId]] = defaultdict(set)
        self._next: dict[str, int] = {}  # when the next word of a group may be due
        self._words: list[tuple[int, str]] = []  # a heap of these, and of some that are past
        self._by_the_clock = _goes_by_the_clock(scene.config.route)
        self._together = self._by_the_clock or bool(scene.config.inhibitions)

    @property
    def next(self) -> int:
        """The number of that instant; one beyond the last where nothing is awaited."""
        while self._words and self._next.get(self._words[0][1]) != self._words[0][0]:
            heappop(self._words)
        return self._words[0][0] if self._words else self._grid.count

    def note(self, id: AlertId, alert: Alert) -> None:
        """An alert as it is now."""
        if id in self._alerts or alert.state in (AlertState.FIRING, AlertState.ENDED):
            if id not in self._groups:
                self._groups[id] = self._groups_of(alert)
                for group in self._groups[id]:
                    self._members[group].add(id)
            self._alerts[id] = alert

    def tell(self, changed: Iterable[AlertId], instant: int) -> tuple[list[Told], list[Alert]]:
        """Says what is due; gives the messages, and the alerts that are over and inactive again."""
        now = self._grid.at(instant)
        groups = self._awake(changed, instant)
        beside = groups if self._together else groups | self._near(self._office.log.told_lately(now, STORM_SPAN))
        told = self._office.tell(self._scene, self._alerts_of(beside), now=now, groups=beside)
        alerts = self._alerts_of(groups)
        back, _ = self._office.tidy(self._scene, alerts, now=now, groups=groups)
        for alert in back:
            alerts[alert.rule, alert.identity] = self._alerts[alert.rule, alert.identity] = alert
        self._look_ahead(alerts, groups, instant)
        self._let_go(alerts, groups)
        return told, back

    # ------------------------------------------------------------------------------------ which groups

    def _groups_of(self, alert: Alert) -> frozenset[str]:
        route = self._scene.config.route
        routes = routes_for(route, alert.labels) if route is not None else ()
        return frozenset(group_key(one, alert.labels) for one in routes) or frozenset({""})

    def _awake(self, changed: Iterable[AlertId], instant: int) -> set[str]:
        """The groups in which something changed or may be due, and those that go with them."""
        if self._together:
            return {*self._members, *self._office.log.open_groups()}
        found = {group for id in changed for group in self._groups.get(id, ())}
        while self.next <= instant:
            _, group = heappop(self._words)
            found.add(group)
        return self._near(found)

    def _near(self, groups: set[str]) -> set[str]:
        """The groups, and those that share an alert or a list with them."""
        found: set[str] = set()
        todo = set(groups)
        while todo:
            group = todo.pop()
            found.add(group)
            near = {other for id in self._members.get(group, ()) for other in self._groups[id]}
            todo |= (near | self._office.log.listed_with(group)) - found
        return found

    def _alerts_of(self, groups: Iterable[str]) -> dict[AlertId, Alert]:
        return {id: self._alerts[id] for group in groups for id in sorted(self._members.get(group, ()), key=str)}

    # -------------------------------------------------------------------------------------------- when

    def _look_ahead(self, alerts: Mapping[AlertId, Alert], groups: set[str], instant: int) -> None:
        """When each of these groups must be looked at again."""
        for group in (*groups, _EVERY_ROUND):
            self._next.pop(group, None)
        for group, at in self._words_of(alerts, groups, instant):
            self._next[group] = min(at, self._next.get(group, at))
            heappush(self._words, (self._next[group], group))

    def _words_of(self, alerts: Mapping[AlertId, Alert], groups: set[str], instant: int) -> Iterator[tuple[str, int]]:
        log, now = self._office.log.of(groups), self._grid.at(instant)
        if self._by_the_clock and (alerts or any(not entry.closed for entry in log)):
            yield _EVERY_ROUND, instant + 1
        config, hushed = self._scene.config, hushes_of(self._scene, alerts, now=now)
        by_key = {alert.key: alert for alert in alerts.values()}
        for standing in standings(by_key, log, config.route, config.receivers, hushed):
            word = next_due(standing, now=now)
            if word is not None:  # one that is due now and was not said waits for its list
                yield standing.entry.group, max(instant + 1, self._grid.first(word[0]))

    def _let_go(self, alerts: Mapping[AlertId, Alert], groups: set[str]) -> None:
        """Forgets the alerts that nobody has heard of and nobody should hear of."""
        told = {key for entry in self._office.log.of(groups) if not entry.closed for key in entry.told}
        for id, alert in alerts.items():
            if alert.state not in (AlertState.FIRING, AlertState.ENDED) and alert.key not in told:
                del self._alerts[id]
                for group in self._groups.pop(id):
                    self._members[group].discard(id)
                    if not self._members[group]:
                        del self._members[group]


def _goes_by_the_clock(route: Route | None) -> bool:
    """Whether what any route says depends on the time of day."""
    return route is not None and any(one.mute or one.active or one.digest for one in route.tree())
