"""What is due, made into messages.

Dues and the scene of the round come in, and what the store knows of the rows behind them; messages go out. Pure:
the store is asked in between, by whoever calls (`wanted` says for what).
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from k2alert.cycle import Scene
from k2alert.judge.condition import Condition
from k2alert.judge.judge import message_context
from k2alert.labels import Labels
from k2alert.model import (
    FAILING_ALERT,
    Alert,
    AlertState,
    Evidence,
    EvidenceRefs,
    Kind,
    Known,
    Metric,
    Needs,
    Project,
    Rule,
    RunEvidence,
)
from k2alert.notify import INTEGRATIONS
from k2alert.notify.dues import Due
from k2alert.notify.message import Item, Message, compose
from k2alert.notify.text import clean
from k2alert.pauses import Pausing, at_once
from k2alert.stale import stale_words
from k2alert.times import to_ms
from k2alert.trend import Trend, owner_of
from k2alert.undelivered import undelivered_words

__all__ = [
    "Words",
    "evidence_of",
    "items_of",
    "message_of",
    "value_text",
    "wanted",
    "words_of",
]

_NOUNS = {
    Kind.JOB: "jobs",
    Kind.TEST: "tests",
    Kind.COVERAGE: "reports",
    Kind.DEPLOYMENT: "deployments",
    Kind.SCHEDULE: "schedules",
}
"""What a metric's samples are called; runs, unless said here."""

MOST_RUNS = 10
"""A message links so many runs, then "and N more" (contract §6)."""


@dataclass(frozen=True, slots=True)
class Words:
    """What a rule says of one alert: its message and annotations."""

    text: str
    annotations: Mapping[str, str]


def wanted(
    scene: Scene, alerts: Iterable[Alert], rules: Mapping[str, Rule], *, now: datetime, ended: bool = False
) -> dict[str, EvidenceRefs]:
    """The rows behind the firing alerts' values, by `Alert.key`; with `ended`, behind the others' as they began."""
    found = {}
    for alert in alerts:
        rule = rules.get(alert.rule)
        at = now if alert.state is AlertState.FIRING else alert.fired_at if ended else None
        if at is not None and rule is not None and rule.condition is not None:
            found[alert.key] = _refs(scene, rule, alert.identity, at)
    return found


def _refs(scene: Scene, rule: Rule, identity: Labels, now: datetime) -> EvidenceRefs:
    condition: Condition = rule.condition
    first = condition.first
    if first is None or scene.metrics[first.metric].kind is None:
        return EvidenceRefs(Kind.RUN, (), 0, 0, None, None)
    at = to_ms(now - first.offset)
    window = first.window or rule.window
    return scene.measures.evidence(rule.selection, first.metric, identity, window, at, MOST_RUNS)


def evidence_of(refs: EvidenceRefs, known: Known, project: Project | None, forge: str) -> Evidence:
    """The evidence as people are shown it; `forge` is the source's type, for the form of its links."""
    rows = known.runs_of(refs.kind)
    deployments = known.deployments if refs.kind is Kind.DEPLOYMENT else {}
    first = known.runs.get(refs.first_failing) if refs.first_failing is not None else None
    last = known.runs.get(refs.last_green) if refs.last_green is not None else None
    return Evidence(
        runs=tuple(rows[ref] for ref in refs.refs if ref in rows),
        tests=tuple(known.tests[test] for test in refs.tests if test in known.tests),
        deployments=tuple(deployments[ref] for ref in refs.refs if ref in deployments),
        faults=refs.faults,
        samples=refs.samples,
        first_failing=first,
        last_green=last,
        compare_url=_compare_url(project, forge, last, first),
    )


def _compare_url(project: Project | None, forge: str, old: RunEvidence | None, new: RunEvidence | None) -> str:
    """The page with the changes from one commit to another; both forges write it with three dots."""
    if project is None or not project.web_url or old is None or new is None or not old.sha or not new.sha:
        return ""
    return f"{project.web_url}{'/-' if forge == 'gitlab' else ''}/compare/{old.sha}...{new.sha}"


def words_of(
    scene: Scene, alert: Alert, rule: Rule, evidence: Evidence, escape: Callable[[str], str], *, now: datetime
) -> Words:
    """The rule's message and annotations for an alert, every interpolated value escaped."""
    context = _context(scene, alert, rule, evidence, now)
    return Words(
        rule.message.render(context, escape=escape) if rule.message is not None else "",
        {name: text.render(context, escape=escape) for name, text in rule.annotations.items()},
    )


def _context(scene: Scene, alert: Alert, rule: Rule, evidence: Evidence, now: datetime) -> dict[str, Any]:
    measured: Mapping[str, Any] = {}
    if rule.condition is not None:
        measured = message_context(
            rule,
            identity=alert.identity,
            labels=alert.labels,
            measures=scene.measures,
            metrics=scene.metrics,
            at=to_ms(now),
        )
    return {
        **measured,
        "labels": alert.labels,
        "value": alert.value,
        "k2alert_rule_value": alert.value,
        "threshold": alert.threshold,
        "period": rule.period,
        "reason": alert.reason.value if alert.reason else "",
        "evidence": evidence if rule.condition is not None else _behind(scene, alert, now),
        "started_at": alert.fired_at or alert.active_at,
        "now": now,
        "severity": alert.severity.value,
        "rule": alert.rule,
    }


def _behind(scene: Scene, alert: Alert, now: datetime) -> str:
    """What is behind an alert that no condition is behind."""
    if alert.rule == FAILING_ALERT:
        who = (alert.identity.get("receiver", ""), alert.identity.get("integration", ""))
        return undelivered_words(scene.config, scene.log, scene.pushed, who)
    source = alert.identity.get("source", "")
    return stale_words(scene.config, scene.projects, source, scene.started_at, now=now)


def message_of(
    scene: Scene,
    due: Due,
    alerts: Iterable[Alert],
    rules: Mapping[str, Rule],
    evidence: Mapping[str, Evidence],
    *,
    now: datetime,
) -> Message:
    """The message of a Due; `alerts` are those it shows."""
    items = at_once(items_of(scene, due, alerts, rules, evidence, now=now))
    return compose(due, items, now=now, external_url=scene.config.web.external_url)


def items_of(
    scene: Scene,
    due: Due,
    alerts: Iterable[Alert],
    rules: Mapping[str, Rule],
    evidence: Mapping[str, Evidence],
    *,
    now: datetime,
) -> Pausing[list[Item]]:
    """What it says of these alerts, with pauses."""
    items: list[Item] = []
    for alert in alerts:
        yield
        items.append(_item(scene, due, alert, rules.get(alert.rule), evidence.get(alert.key, Evidence()), now))
    return items


def _item(scene: Scene, due: Due, alert: Alert, rule: Rule | None, evidence: Evidence, now: datetime) -> Item:
    if rule is None:
        return Item(alert=alert, evidence=evidence)
    kind = INTEGRATIONS[due.integration.kind]
    metric = _metric(scene, rule)
    trend = Trend.of(scene, rule, alert.identity, now=now)
    evidence = replace(evidence, before=trend.before() if trend else None, owner=owner_of(alert.labels))
    return Item(
        alert=alert,
        text=words_of(scene, alert, rule, evidence, kind.escape, now=now).text,
        html=words_of(scene, alert, rule, evidence, kind.escape_html, now=now).text if kind.escape_html else "",
        annotations=words_of(scene, alert, rule, evidence, clean, now=now).annotations,
        value_text=value_text(alert.value, metric),
        threshold_text=_threshold_text(alert, rule, metric),
        noun=_NOUNS.get(metric.kind, "runs") if metric is not None and metric.kind is not None else "runs",
        before_text=value_text(evidence.before, metric),
        before_span=trend.span if trend else "",
        owner=evidence.owner,
        chart=trend.chart(alert.threshold, lambda value: value_text(value, metric)) if kind.charts and trend else None,
        evidence=evidence,
    )


def _metric(scene: Scene, rule: Rule) -> Metric | None:
    condition: Condition | None = rule.condition
    return scene.metrics[condition.first.metric] if condition is not None and condition.first is not None else None


def value_text(value: float | int | str | None, metric: Metric | None) -> str:
    """A value as people read it, in the metric's unit: `92.3%`, `31.5 min`, `4 runs`, `1 run`; "" for no data."""
    if value is None or isinstance(value, str) or metric is None:
        return "" if value is None else str(value)
    if metric.unit == "ratio":
        return f"{_short(value * 100)}%"
    if metric.unit == "percent":
        return f"{_short(value)}%"
    if metric.unit in ("minutes", "hours"):
        return f"{_short(value, 3)} {'min' if metric.unit == 'minutes' else 'h'}"
    if metric.unit == "score":
        return _short(value)
    return f"{_short(value)} {metric.unit.removesuffix('s') if value == 1 else metric.unit}"


def _short(value: float | int, digits: int = 4) -> str:
    return f"{value:.{digits}g}" if abs(value) < 10 ** (digits - 1) else f"{value:,.0f}"


def _threshold_text(alert: Alert, rule: Rule, metric: Metric | None) -> str:
    condition: Condition | None = rule.condition
    if condition is None or alert.threshold is None or not condition.operator:
        return ""
    if alert.state is not AlertState.FIRING:
        return ""  # a value that recovered is not compared any more
    counted = metric is not None and metric.needs in (Needs.COUNT, Needs.STREAK)  # "3 runs >= 3" says it once
    shown = _short(alert.threshold) if counted else value_text(alert.threshold, metric)
    return f"{condition.operator} {shown}"
