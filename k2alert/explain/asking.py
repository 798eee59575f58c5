"""A question about a rule, asked of a scene and the store: beside a daemon, inside one, and of the past."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from k2alert.config.report import did_you_mean
from k2alert.cycle import Scene, hushes_of
from k2alert.explain.as_json import as_json
from k2alert.explain.explain import as_if_firing, explain, matching_targets
from k2alert.explain.explanation import Explanation, Explanations, Figure
from k2alert.explain.hearing import standings_of
from k2alert.judge.condition import Condition
from k2alert.labels import Labels
from k2alert.model import (
    FAILING_ALERT,
    STALE_ALERT,
    Alert,
    AlertState,
    Known,
    Project,
    Rule,
    Severity,
    TellingQuery,
    Transition,
)
from k2alert.notify.text import clean
from k2alert.recall import behind
from k2alert.record.store import Reader, StoreError
from k2alert.telling import evidence_of, value_text, words_of
from k2alert.times import EPOCH
from k2alert.trend import with_past

__all__ = ["MOST_EXPLAINED", "MOST_HISTORIES", "Question", "Unanswerable", "answer", "ask"]

MOST_EXPLAINED = 100
"""So many label sets are explained at once; who asks for more than they can read narrows it down by labels."""

MOST_HISTORIES = 10
"""So many of them, the first, say what was sent to whom: each means to search the whole history."""

_TOLD, _SEARCHED = 20, 1000  # messages about one alert: so many are said, of so many that may be later than asked for
_EDGES = 100_000  # of one rule within retention: more than any history that people can read


@dataclass(frozen=True, slots=True)
class Question:
    """Which rule, for the label sets with which labels, and when (None: now)."""

    rule: str
    labels: tuple[tuple[str, str], ...] = ()
    at: datetime | None = None


class Unanswerable(Exception):
    """There is no such rule or label set; the text says so in a line."""


async def ask(scene: Scene, store: Reader, question: Question, *, now: datetime) -> Explanations:
    """The explanations, those of open alerts first, at most `MOST_EXPLAINED`.

    `scene` is that of now also for the past: what was recorded later tells what was true then, and the alerts of then
    are read from the history of their edges. Raises `Unanswerable`, and `StoreError` where the store is down.
    """
    rule = _rule(scene, question.rule)
    at = question.at or now
    log = {entry.key: entry for entry in (*await store.log_history(), *scene.log)}
    scene = replace(scene, log=tuple(log.values()))
    if question.at is not None:
        scene = _as_it_was(scene, await store.transitions(rule.name, _EDGES), at)
    targets = matching_targets(scene, rule, question.labels, now=at)
    if not targets:
        raise Unanswerable(_no_target(scene, rule, question))
    # Both look at every alert there is, which takes a while in a storm: beside the loop.
    hushed = await asyncio.to_thread(hushes_of, scene, scene.alerts, now=at)
    standing = await asyncio.to_thread(standings_of, scene, hushed) if question.at is None else ()
    found = []
    for target in targets[:MOST_EXPLAINED]:
        found.append(explain(scene, rule, target, standing, hushed, now=at))
        await asyncio.sleep(0)
    grounded = await _with_evidence(scene, store, found)
    told = [await _told(store, one) for one in grounded[:MOST_HISTORIES]]
    return Explanations((*told, *grounded[MOST_HISTORIES:]), len(targets) - len(found))


async def answer(scene: Scene, store: Reader, question: Question, *, now: datetime) -> tuple[int, dict[str, Any] | str]:
    """The same for HTTP: a status, and the explanations as JSON-able values, or why there are none."""
    try:
        return 200, as_json(await ask(scene, store, question, now=now))
    except Unanswerable as error:
        return 404, str(error)
    except StoreError as error:
        return 503, f"the store is down: {error}"


def _rule(scene: Scene, name: str) -> Rule:
    rules = {rule.name: rule for rule in scene.config.rules}
    if name in rules:
        return rules[name]
    if name == STALE_ALERT:
        raise Unanswerable(f"{name} has no condition: it fires for a source while one of its projects cannot be read")
    if name == FAILING_ALERT:
        raise Unanswerable(f"{name} has no condition: it fires for an integration that does not take its messages")
    near = did_you_mean(name, rules)
    raise Unanswerable(f"no rule {name!r}{near or '; there are: ' + (', '.join(sorted(rules)) or 'none')}")


def _no_target(scene: Scene, rule: Rule, question: Question) -> str:
    named = " ".join(f"{name}={value}" for name, value in question.labels)
    # With labels of facts there are only the sets that have a fact in the period, or an open alert.
    ran = f": they come from what ran in the {rule.period} before" if rule.name not in scene.universe.fixed else ""
    return f"rule {rule.name!r} has no label set{f' with {clean(named)}' if named else ''}{ran}"


# -------------------------------------------------------------------------------------------- the past


def _as_it_was(scene: Scene, edges: Iterable[Transition], at: datetime) -> Scene:
    """With the rule's alerts and the log of an earlier time, as far as is stored; `edges` come newest first."""
    of: dict[Labels, list[Transition]] = {}
    for edge in edges:
        if edge.at <= at:
            of.setdefault(edge.identity, []).append(edge)
    alerts = [_alert_of(identity, mine) for identity, mine in of.items()]
    return replace(
        scene,
        alerts={(alert.rule, alert.identity): alert for alert in alerts},
        log=tuple(entry for entry in scene.log if (entry.first_sent_at or at) <= at),
    )


def _alert_of(identity: Labels, edges: Sequence[Transition]) -> Alert:
    last = edges[0]
    fires = last.after is AlertState.FIRING
    began = edges[1] if fires and last.before is AlertState.PENDING and len(edges) > 1 else last
    return Alert(
        rule=last.rule,
        identity=identity,
        labels=identity,
        severity=Severity.INFO,
        state=last.after,
        active_at=began.at,
        fired_at=last.at if fires else None,
        ended_at=last.at if last.after is AlertState.ENDED else None,
        reason=last.reason,
        value=last.value,
    )


# -------------------------------------------------------------------------------------------- evidence


async def _told(store: Reader, one: Explanation) -> Explanation:
    """The same with what was sent to whom of its alert: since it began, or of its last times where it is over."""
    if one.alert is None:
        return replace(one, told=())
    sent = await store.tellings(TellingQuery(alert=one.alert.key, limit=_SEARCHED))
    began = one.alert.active_at or EPOCH
    told = [telling for telling in sent if began <= telling.at <= one.at]
    return replace(one, told=tuple(told[:_TOLD]))


async def _with_evidence(scene: Scene, store: Reader, found: Sequence[Explanation]) -> list[Explanation]:
    """The same with what the store knows of the rows behind each value, and with what the rules say."""
    known = await behind(store, [figure.refs for one in found for figure in one.figures if figure.refs is not None])
    projects = {(project.source, project.path): project for project in scene.projects}
    forges = {source.name: source.type for source in scene.config.sources}
    return [_resolved(scene, one, known, projects, forges) for one in found]


def _resolved(
    scene: Scene,
    one: Explanation,
    known: Known,
    projects: Mapping[tuple[str, str], Project],
    forges: Mapping[str, str],
) -> Explanation:
    source, path = one.target.identity.get("source", ""), one.target.identity.get("project", "")
    project, forge = projects.get((source, path)), forges.get(source, "")
    figures = tuple(_grounded(scene, one, figure, known, project, forge) for figure in one.figures)
    one = replace(one, figures=figures)
    words = words_of(scene, as_if_firing(one), one.rule, one.evidence, clean, now=one.at)
    return replace(one, message=words.text)


def _grounded(
    scene: Scene, one: Explanation, figure: Figure, known: Known, project: Project | None, forge: str
) -> Figure:
    """The value with what is behind it; that which messages show with the value before and the owner too."""
    if figure.refs is None:
        return figure
    evidence = evidence_of(figure.refs, known, project, forge)
    condition: Condition = one.rule.condition
    if condition.first is not None and figure.metric == condition.first.metric:
        labels = as_if_firing(one).labels
        evidence = with_past(scene, one.rule, one.target.identity, labels, evidence, now=one.at)
    return replace(figure, evidence=evidence, before=value_text(evidence.before, scene.metrics[figure.metric]))
