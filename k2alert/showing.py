"""A round drawn for HTTP: the scene, its findings and the alerts come in, frozen pictures go out.

Two of them, one after the other: what fires, which whoever follows a message must find, and the gauges of all projects,
for which no message need wait. The series are rendered here, once a round and not once a scrape; so are the texts of
what is pending or fires.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import chain

from k2alert.alert.lifecycle import AlertId
from k2alert.cycle import Scene
from k2alert.expose.exposition import Rendered, Sheet, alerts_family, run_families, states_of, value_families
from k2alert.expose.packing import Packed
from k2alert.expose.selfmetrics import SelfMetrics
from k2alert.expose.view import Snapshot
from k2alert.gauges import ci_families
from k2alert.grounds import grounds_of
from k2alert.model import Alert, AlertState, Evidence, Finding, Rule
from k2alert.notify.text import clean
from k2alert.record.store import Reader
from k2alert.stale import is_current, state_of
from k2alert.telling import words_of

__all__ = ["MOST_SAMPLES", "count", "draw_alerts", "draw_gauges"]

MOST_SAMPLES = 200_000
"""So many CI samples are exported at most; what is over is dropped and counted."""

_PROJECTS_AT_A_TIME = 1000
_AT_A_TIME = 100  # alerts whose words are rendered before others may work again
_FINDINGS_AT_A_TIME = 5000  # counted in some milliseconds

Alerts = Mapping[AlertId, Alert]


async def draw_alerts(
    scene: Scene,
    findings: Sequence[Finding],
    alerts: Alerts,
    store: Reader,
    *,
    now: datetime,
    took: timedelta,
) -> Snapshot:
    """What a round judged and what fires now, without gauges. Raises `StoreError`."""
    rules = {finding.rule.name: finding.rule for finding in findings} | {rule.name: rule for rule in scene.config.rules}
    await asyncio.sleep(0)
    messages, annotations = await _words(scene, alerts, rules, store, now)
    return Snapshot(
        now=now,
        interval=scene.config.evaluation_interval,
        took=took,
        rules=scene.config.rules,
        findings=findings,
        alerts=tuple(alerts.values()),
        messages=messages,
        annotations=annotations,
        alert_series=await _alert_series(scene, findings, alerts),
    )


async def _alert_series(scene: Scene, findings: Sequence[Finding], alerts: Alerts) -> Packed:
    states: Counter[tuple[str, str, str]] = Counter()
    for first in range(0, len(findings), _FINDINGS_AT_A_TIME):
        states.update(states_of(findings[first : first + _FINDINGS_AT_A_TIME], alerts))
        await asyncio.sleep(0)
    sheet = Sheet(MOST_SAMPLES)
    sheet.add(alerts_family(scene.config.rules, states))
    return sheet.render().text


async def draw_gauges(
    picture: Snapshot, scene: Scene, store: Reader, *, pause: Callable[[], Awaitable[None]]
) -> Rendered:
    """The other series of the same round, as text. Raises `StoreError`.

    They are made in parts: ten thousand projects take seconds; `pause` lets others work in between.
    """
    findings, now = picture.findings, picture.now
    sources = {source.name: source for source in scene.config.sources}
    read = [project for project in scene.projects if is_current(project, sources[project.source], now=now)]
    await pause()
    here = {(project.source, project.path) for project in scene.projects}
    totals = await store.totals()
    await pause()
    sheet = Sheet(MOST_SAMPLES)
    for part in chain(
        value_families(findings),
        run_families(row for row in totals if (row.source, row.project) in here),
        ci_families(scene.config, scene.metrics, scene.measures, read, now=now),
    ):
        sheet.add(part)
        await pause()
    return await asyncio.to_thread(sheet.render)


async def _words(
    scene: Scene, alerts: Alerts, rules: Mapping[str, Rule], store: Reader, now: datetime
) -> tuple[dict[str, str], dict[str, Mapping[str, str]]]:
    """What the rules say of the open alerts, with the evidence where they speak of it."""
    states = (AlertState.PENDING, AlertState.FIRING)
    spoken = [alert for alert in alerts.values() if alert.state in states and alert.rule in rules]
    await asyncio.sleep(0)
    messages: dict[str, str] = {}
    annotations: dict[str, Mapping[str, str]] = {}
    for first in range(0, len(spoken), _AT_A_TIME):
        part = spoken[first : first + _AT_A_TIME]
        shown_by = [alert for alert in part if _shows_evidence(rules[alert.rule])]
        evidence = await grounds_of(scene, store, shown_by, rules, now=now) if shown_by else {}
        for alert in part:
            found = evidence.get(alert.key, Evidence())
            words = words_of(scene, alert, rules[alert.rule], found, clean, now=now)
            messages[alert.key], annotations[alert.key] = words.text, words.annotations
        await asyncio.sleep(0)
    return messages, annotations


def _shows_evidence(rule: Rule) -> bool:
    return any("evidence" in text.variables for text in (rule.message, *rule.annotations.values()))


async def count(
    self_metrics: SelfMetrics,
    scene: Scene,
    findings: Sequence[Finding],
    *,
    now: datetime,
    took: timedelta,
) -> None:
    """Counts a round among what is said of ourselves."""
    failed = {rule.name: False for rule in scene.config.rules}
    failed |= {finding.rule.name: True for finding in findings if finding.error}
    await asyncio.sleep(0)
    self_metrics.evaluated(failed, took=took)
    sources = {source.name: source for source in scene.config.sources}
    counts: dict[tuple[str, str], int] = {}
    for place, project in enumerate(scene.projects):
        if place % _PROJECTS_AT_A_TIME == 0:
            await asyncio.sleep(0)
        state = state_of(project, sources[project.source], scene.started_at, now=now)
        counts[project.source, state.value] = counts.get((project.source, state.value), 0) + 1
    self_metrics.set_projects(counts)
