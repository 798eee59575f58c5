"""Judging: one rule, one label set and one time in; whether it holds, and the numbers to show, out.

What follows from it (pending, firing, what no data means to an alert) is for `alert`. An exception out of here
is a bug in a metric; the cycle makes the finding unknown.
"""

from collections.abc import Callable, Mapping
from typing import Any

from k2alert.judge.compiled import Compiled
from k2alert.judge.condition import Condition
from k2alert.judge.scope import Scope
from k2alert.labels import Labels
from k2alert.model import Finding, Measures, Measuring, Metric, Rule, Truth
from k2alert.template import FUNCTIONS_KEY

__all__ = ["judge", "message_context", "truth_at"]

_TRUTHS = {True: Truth.TRUE, False: Truth.FALSE, None: Truth.NO_DATA}


def judge(
    rule: Rule,
    *,
    identity: Labels,
    labels: Labels,
    measures: Measures,
    metrics: Mapping[str, Metric],
    at: int,
) -> Finding:
    """Whether the rule holds at `at` (ms) for the series with the labels `identity`.

    `labels` are the alert's, which `label()` sees. `value`, `threshold` and `samples` are those of the condition's
    first metric or metric call.
    """
    scope = Scope(rule, identity=identity, labels=labels, measures=measures, metrics=metrics, at=at)
    condition: Condition = rule.condition
    clear: Condition | None = rule.clear
    return Finding(
        rule=rule,
        identity=identity,
        labels=labels,
        truth=_TRUTHS[condition.evaluate(scope)],
        clears=None if clear is None else _TRUTHS[clear.evaluate(scope)],
        value=condition.value(scope),
        threshold=condition.threshold(scope),
        samples=None if condition.first is None else scope.samples_of(condition.first),
    )


def truth_at(
    rule: Rule,
    *,
    identity: Labels,
    labels: Labels,
    measures: Measuring,
    metrics: Mapping[str, Metric],
    holds: Compiled | None = None,
) -> Callable[[int], Truth]:
    """A function that gives the truth alone that `judge` comes to at a time (ms); unknown where a metric has a bug.

    For who asks about many times. With `holds` it is that of a part of the rule's condition.
    """
    scope = Scope(rule, identity=identity, labels=labels, measures=measures, metrics=metrics, at=0)
    condition: Condition = rule.condition
    evaluate = holds or condition.holds

    def truth(at: int) -> Truth:
        scope.move(at)
        try:
            return _TRUTHS[evaluate(scope)]
        except Exception:  # `cycle` says more of it, when it judges the rule
            return Truth.UNKNOWN

    return truth


def message_context(
    rule: Rule,
    *,
    identity: Labels,
    labels: Labels,
    measures: Measures,
    metrics: Mapping[str, Metric],
    at: int,
) -> Mapping[str, Any]:
    """The metrics that the rule's message and annotations name, and the functions under `FUNCTIONS_KEY`.

    The same numbers as `judge` sees with the same arguments. The other names of templates (`labels`, `value`,
    `evidence`, …) are the caller's to add.
    """
    scope = Scope(rule, identity=identity, labels=labels, measures=measures, metrics=metrics, at=at)
    templates = (rule.message, *rule.annotations.values())
    names = frozenset().union(*(template.variables for template in templates)) & metrics.keys()
    return {**{name: scope[name] for name in sorted(names)}, FUNCTIONS_KEY: scope.functions}
