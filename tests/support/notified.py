"""Builders of alerts, and a small world in which they live and receivers are told: no I/O, a clock in hand."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from k2alert.alert.lifecycle import step
from k2alert.config.model import Config
from k2alert.labels import Labels, parse_matcher
from k2alert.model import (
    FAILING_ALERT,
    Alert,
    AlertState,
    Delivery,
    EndReason,
    Evidence,
    Hush,
    JobEvidence,
    LogEntry,
    Result,
    RunEvidence,
    Sent,
    Severity,
    Silence,
)
from k2alert.notify.digest import awaited_by_digests, digests_due, open_digests
from k2alert.notify.dues import Due
from k2alert.notify.hush import Inhibition, all_hushes
from k2alert.notify.message import Item
from k2alert.notify.outcome import finished, record_outcome, settled
from k2alert.notify.plan import due
from k2alert.notify.route import Integration, Receiver, Route
from k2alert.notify.unreached import forsaken, mended
from k2alert.undelivered import undelivered_findings

T0 = datetime(2026, 1, 5, 10, 0, tzinfo=UTC)
SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)


@dataclass(frozen=True)
class Told:
    """The smallest settings: what the plan asks."""

    send_resolved: bool = True
    edits: bool = False


def alert(rule: str = "main_is_red", project: str = "k2/app", at: datetime = T0, **changes: object) -> Alert:
    """A firing alert."""
    labels = Labels({"alertname": rule, "severity": "warning", "source": "gitlab", "project": project})
    made = Alert(
        rule=rule,
        identity=Labels({"source": "gitlab", "project": project}),
        labels=labels,
        severity=Severity.WARNING,
        state=AlertState.FIRING,
        active_at=at,
        fired_at=at,
        value=3,
        threshold=3,
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def ended(old: Alert, at: datetime, reason: EndReason = EndReason.RECOVERED) -> Alert:
    return replace(old, state=AlertState.ENDED, ended_at=at, reason=reason)


def run(number: int, **changes: object) -> RunEvidence:
    made = RunEvidence(
        project="k2/app",
        id=str(1000 + number),
        number=str(number),
        workflow="",
        branch="main",
        sha="0123456789abcdef",
        title=f"Commit {number}",
        result=Result.FAILURE,
        finished_at=T0,
        duration=MINUTE,
        web_url=f"https://gitlab.test/k2/app/-/pipelines/{1000 + number}",
        jobs=(JobEvidence(name="test 3/20", stage="test", result=Result.FAILURE, reason="script_failure", web_url=""),),
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def item(of: Alert, text: str = "Main is red", **changes: object) -> Item:
    made = Item(
        alert=of,
        text=text,
        html=text,
        value_text="3",
        threshold_text=">= 3",
        evidence=Evidence(
            runs=(run(7), run(6)),
            faults=12,
            samples=40,
            first_failing=run(5),
            last_green=run(4, result=Result.SUCCESS),
            compare_url="https://gitlab.test/k2/app/-/compare/a...b",
        ),
        annotations={"runbook_url": "https://wiki.test/red?a=1&b=2", "summary": "not shown"},
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def receivers(*settings: Told, name: str = "team") -> dict[str, Receiver]:
    made = tuple(Integration("told", f"told[{position}]", one) for position, one in enumerate(settings or (Told(),)))
    return {name: Receiver(name, made)}


def always(_: Due) -> Delivery:
    return Sent({"there": "mark"})


@dataclass
class World:
    """Alerts, the log, and what was said, at a time that only moves when it is told to."""

    now: datetime = T0
    route: Route | None = field(default_factory=lambda: Route(name="root", receiver="team"))
    receivers: dict[str, Receiver] = field(default_factory=receivers)
    alerts: dict[str, Alert] = field(default_factory=dict)
    log: dict[tuple[str, str, str], LogEntry] = field(default_factory=dict)
    said: list[Due] = field(default_factory=list)
    silences: list[Silence] = field(default_factory=list)
    inhibitions: list[Inhibition] = field(default_factory=list)

    def put(self, *alerts: Alert) -> None:
        self.alerts |= {one.key: one for one in alerts}

    def fire(self, project: str = "k2/app", **changes: object) -> Alert:
        made = alert(project=project, at=self.now, **changes)
        self.put(made)
        return made

    def end(self, one: Alert, reason: EndReason = EndReason.RECOVERED) -> None:
        self.put(ended(self.alerts[one.key], self.now, reason))

    def due(self) -> tuple[Due, ...]:
        log, hushed = tuple(self.log.values()), self.hushes()
        singly = due(
            alerts=self.alerts,
            log=log,
            route=self.route,
            receivers=self.receivers,
            now=self.now,
            hushed=hushed,
            address=lambda _integration, alerts: alerts[0].labels.get("team", "") if alerts else "",
        )
        return (
            *singly,
            *digests_due(
                alerts=self.alerts,
                log=log,
                route=self.route,
                receivers=self.receivers,
                now=self.now,
                hushed=hushed,
            ),
        )

    def hushes(self) -> dict[str, Hush]:
        return all_hushes(self.alerts, self.silences, self.inhibitions, None, now=self.now)

    def silence(self, matcher: str, length: timedelta = HOUR, until: Iterable[Alert] = ()) -> Silence:
        made = Silence(
            id=f"silence-{len(self.silences)}",
            matchers=(parse_matcher(matcher),),
            starts_at=self.now,
            ends_at=self.now + length,
            updated_at=self.now,
            author="ana",
            comment="known",
            until_resolved={one.key: one.fired_at for one in until if one.fired_at},
        )
        self.silences.append(made)
        return made

    def judge_deliveries(self) -> None:
        """The alerts about those who are not reached, as a round makes them."""
        config = Config(receivers=self.receivers)
        findings = tuple(undelivered_findings(config, tuple(self.log.values()), {}, now=self.now))
        mine = {(one.rule, one.identity): one for one in self.alerts.values() if one.rule == FAILING_ALERT}
        rules = {finding.rule.name: finding.rule for finding in findings}
        self.put(*step(mine, findings, rules=rules, now=self.now).alerts.values())

    def write(self, entries: Iterable[LogEntry]) -> None:
        self.log |= {entry.key: entry for entry in entries}

    def tick(self, after: timedelta = timedelta(0), answer: Callable[[Due], Delivery] = always) -> list[str]:
        """One round, `after` later: the kinds of what was delivered, with the number of incidents in lists."""
        self.now += after
        log = tuple(self.log.values())
        told = {"alerts": self.alerts, "route": self.route, "receivers": self.receivers}
        self.write(settled(log=log, **told))  # type: ignore[arg-type]
        self.write(forsaken(log, now=self.now))
        self.write(open_digests(log=log, now=self.now, hushed=self.hushes(), **told))  # type: ignore[arg-type]
        kinds = []
        for one in self.due():
            delivery = answer(one)
            if isinstance(delivery, Sent):
                self.said.append(one)
                kinds.append(one.kind.value + (f" of {len(one.parts)}" if one.list_id else ""))
            self.write(record_outcome(one, delivery, now=self.now))
            if isinstance(delivery, Sent) and not delivery.error:
                told = {part.entry.key for part in one.parts}
                others = [entry for key, entry in self.log.items() if key not in told]
                self.write(mended(others, (one.receiver, one.integration.name), now=self.now))
        return kinds

    def finished(self) -> frozenset[str]:
        log = tuple(self.log.values())
        done = finished(alerts=self.alerts, log=log, receivers=self.receivers)
        return done - awaited_by_digests(alerts=self.alerts, log=log, route=self.route, receivers=self.receivers)
