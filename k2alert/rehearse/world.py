"""A world without waiting: the daemon's own cycle at set times, where everybody hears at once.

A scene and a time come in; what became of the alerts, and who was told what, goes out. Nothing is decided here: the
cycle judges and plans, `notify.outcome` writes the log. Only the delivery is made up: every message is taken at once.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from k2alert.alert.lifecycle import AlertId, forget
from k2alert.cycle import Plan, Scene, due_now, hushes_of, plan
from k2alert.model import Alert, AlertState, Sent
from k2alert.notify.digest import awaited_by_digests, open_digests
from k2alert.notify.dues import Due
from k2alert.notify.outcome import finished, record_outcome, settled
from k2alert.rehearse.logbook import Logbook

__all__ = ["Office", "Told", "World"]

_KEEP_CLOSED = timedelta(hours=1)  # longer than a storm is counted over, as in the daemon


@dataclass(frozen=True, slots=True)
class Told:
    """One message that somebody was told."""

    at: datetime
    due: Due


@dataclass(slots=True)
class Office:
    """The notification log of a rehearsal: whoever is due to hear, hears."""

    log: Logbook = field(default_factory=Logbook)

    def tell(
        self,
        scene: Scene,
        alerts: Mapping[AlertId, Alert],
        *,
        now: datetime,
        groups: Collection[str] | None = None,
    ) -> list[Told]:
        """Says what is due of these alerts, all those of these alert groups, and remembers it."""
        told = []
        for due in due_now(replace(scene, log=self.log.of(groups)), alerts, now=now):
            self.log.keep(record_outcome(due, Sent(), now=now))
            told.append(Told(now, due))
        return told

    def tidy(
        self,
        scene: Scene,
        alerts: Mapping[AlertId, Alert],
        *,
        now: datetime,
        groups: Collection[str] | None = None,
    ) -> tuple[list[Alert], list[Alert]]:
        """The ended alerts that are over (see `lifecycle.forget`), once nobody waits for a word about them."""
        by_key = {alert.key: alert for alert in alerts.values()}
        route, receivers = scene.config.route, scene.config.receivers
        self.log.keep(settled(alerts=by_key, log=self.log.of(groups), route=route, receivers=receivers))
        hushed, log = hushes_of(scene, alerts, now=now), self.log.of(groups)
        self.log.keep(open_digests(alerts=by_key, log=log, route=route, receivers=receivers, now=now, hushed=hushed))
        log = self.log.of(groups)
        heard = finished(alerts=by_key, log=log, receivers=receivers)
        heard -= awaited_by_digests(alerts=by_key, log=log, route=route, receivers=receivers)
        over = forget(alerts, lambda alert: alert.key in heard)
        self._drop_closed(by_key, now)
        return over

    def _drop_closed(self, alerts: Mapping[str, Alert], now: datetime) -> None:
        is_open = {key for key, alert in alerts.items() if alert.state is not AlertState.INACTIVE}
        for entry in self.log.closed():
            old = entry.last_sent_at is None or now - entry.last_sent_at > _KEEP_CLOSED
            if old and is_open.isdisjoint(entry.told):
                self.log.drop(entry)


@dataclass(slots=True)
class World:
    """The alerts and the log of a rehearsal, moved round by round as the daemon moves them."""

    alerts: dict[AlertId, Alert] = field(default_factory=dict)
    office: Office = field(default_factory=Office)

    def round(self, scene: Scene, *, now: datetime) -> tuple[Plan, list[Told]]:
        """One round: everything judged, every alert moved, everybody told; the scene's alerts and log stand aside."""
        made = plan(replace(scene, alerts=self.alerts, log=()), now=now)
        self.alerts = dict(made.step.alerts)
        told = self.office.tell(scene, self.alerts, now=now)
        back, gone = self.office.tidy(scene, self.alerts, now=now)
        self.alerts |= {(alert.rule, alert.identity): alert for alert in back}
        for alert in gone:
            del self.alerts[alert.rule, alert.identity]
        return made, told
