"""The values of a condition: each with its window, its samples, and why there is none where there is none."""

from datetime import datetime

from k2alert.cycle import Scene
from k2alert.explain.explanation import Figure, Reason
from k2alert.judge.condition import Condition, Term
from k2alert.judge.grammar import Use
from k2alert.judge.scope import Scope
from k2alert.model import EvidenceRefs, Kind, Metric, Needs, Rule
from k2alert.telling import MOST_RUNS, value_text
from k2alert.times import format_duration, to_ms
from k2alert.universe import Target

__all__ = ["figures_of", "scope_of"]


def scope_of(scene: Scene, rule: Rule, target: Target, *, now: datetime) -> Scope:
    """What the rule's condition sees of this label set."""
    return Scope(
        rule,
        identity=target.identity,
        labels=target.labels,
        measures=scene.measures,
        metrics=scene.metrics,
        at=to_ms(now),
    )


def figures_of(scene: Scene, rule: Rule, target: Target, scope: Scope, *, now: datetime) -> tuple[Figure, ...]:
    """Every metric and metric call of the condition, once each, in reading order."""
    condition: Condition = rule.condition
    terms = {term.text: term for term in condition.terms(scope)}
    return tuple(_figure(scene, rule, target, scope, term, now) for term in terms.values())


def _figure(scene: Scene, rule: Rule, target: Target, scope: Scope, term: Term, now: datetime) -> Figure:
    metric, samples = scene.metrics[term.use.metric], scope.samples_of(term.use)
    return Figure(
        text=term.text,
        metric=metric.name,
        window=_window(rule, term.use),
        samples=samples,
        needed=rule.min_samples if metric.needs.samples else 0,
        value=term.value,
        shown=_shown(term, metric),
        missing=_missing(rule, term, metric, samples) if term.value is None else None,
        refs=_refs(scene, rule, target, term.use, now),
    )


def _shown(term: Term, metric: Metric) -> str:
    if term.value is None:
        return "no data"
    if isinstance(term.value, bool):
        return str(term.value).lower()
    return str(term.value) if term.use.call == "samples" else value_text(term.value, metric)


def _window(rule: Rule, use: Use) -> str:
    if use.baseline:
        return f"daily values of the {format_duration(use.baseline)} before the window"
    window = use.window or rule.window
    if use.window is None:
        over = rule.period
    else:
        over = format_duration(window.length) if window.length is not None else f"{window.runs} runs"
    return f"{over}, {format_duration(use.offset)} ago" if use.offset else over


def _missing(rule: Rule, term: Term, metric: Metric, samples: int) -> Reason:
    if not metric.collected:
        return Reason("no_collector", f"nothing collects {metric.name} yet")
    if term.use.baseline:
        return Reason("baseline", "fewer than 7 days with data before the window")
    if not samples:
        return Reason("empty_window", f"{_nothing(metric)} over {_window(rule, term.use)}")
    if metric.needs.samples and samples < rule.min_samples:
        return Reason("min_samples", f"{samples} of the {rule.min_samples} samples that min_samples asks for")
    return Reason("no_value", "no value: nothing was measured, or a division by zero")


def _nothing(metric: Metric) -> str:
    if metric.needs is Needs.STATE:
        return "nothing to see now"
    return f"no {_NOUNS.get(metric.kind, 'report') if metric.kind is not None else 'report'}"


_NOUNS = {Kind.RUN: "run", Kind.JOB: "job", Kind.DEPLOYMENT: "deployment", Kind.SCHEDULE: "schedule"}
"""What a metric's facts are called; reports, unless said here."""


def _refs(scene: Scene, rule: Rule, target: Target, use: Use, now: datetime) -> EvidenceRefs | None:
    if scene.metrics[use.metric].kind is None:
        return None
    window = use.window or rule.window
    at = to_ms(now - use.offset)
    return scene.measures.evidence(rule.selection, use.metric, target.identity, window, at, MOST_RUNS)
