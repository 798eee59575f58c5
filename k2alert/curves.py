"""What rules' values were: the past measured from the board, which costs two binary searches a point.

A scene, a rule and a label set come in, and the edges of the alert's life; a `Curve` goes out. Pure.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta

from k2alert.cycle import Scene
from k2alert.judge.condition import Condition
from k2alert.judge.scope import Scope
from k2alert.labels import Labels
from k2alert.model import AlertState, Curve, CurvePoint, Finding, Needs, Rule, Transition
from k2alert.times import to_ms
from k2alert.trend import known_since

__all__ = ["curve_of", "usual_span"]

POINTS = 120
_PERIODS = 7  # a curve shows so many of its rule's periods where nobody asks for more or less
_SHORTEST, _LONGEST = timedelta(days=1), timedelta(days=30)


def usual_span(rule: Rule) -> timedelta:
    """How much of the past a rule's curve shows where nobody asks for more or less."""
    return min(max(rule.window.look_back * _PERIODS, _SHORTEST), _LONGEST)


def curve_of(
    scene: Scene, finding: Finding, edges: Iterable[Transition], *, span: timedelta, now: datetime
) -> Curve | None:
    """The value of a finding's rule for its label set over the time before `now`; `edges` are of the rule's alerts.

    It begins where all that each value is measured from has been read and is kept; a limit that is measured too, such
    as a `baseline`, may reach further back and then rests on less. None for a rule that shows no number, or one that is
    known of now only.
    """
    rule, identity = finding.rule, finding.identity
    condition: Condition | None = rule.condition
    first = condition.first if condition is not None else None
    if condition is None or first is None or scene.metrics[first.metric].needs is Needs.STATE:
        return None
    known = known_since(scene, identity, now=now)
    reach = (first.window or rule.window).look_back + first.offset
    start = max(now - span, known + reach) if known is not None else now
    if start >= now:
        return Curve(metric=first.metric, points=())
    times = [start + (now - start) * step / (POINTS - 1) for step in range(POINTS)]
    return Curve(
        metric=first.metric,
        points=tuple(_point(scene, finding, at) for at in times),
        incidents=tuple(_incidents(identity, edges, start, now)),
    )


def _point(scene: Scene, finding: Finding, at: datetime) -> CurvePoint:
    scope = Scope(
        finding.rule,
        identity=finding.identity,
        labels=finding.labels,
        measures=scene.measures,
        metrics=scene.metrics,
        at=to_ms(at),
    )
    condition: Condition = finding.rule.condition
    return CurvePoint(at, _number(condition.value(scope)), _number(condition.threshold(scope)))


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _incidents(
    identity: Labels, edges: Iterable[Transition], start: datetime, now: datetime
) -> Iterator[tuple[datetime, datetime]]:
    """The stretches between an edge to firing and the next one from it, cut to the curve's time."""
    since: datetime | None = None
    for edge in sorted((edge for edge in edges if edge.identity == identity), key=lambda edge: edge.at):
        if edge.after is AlertState.FIRING:
            since = edge.at
        elif edge.before is AlertState.FIRING:
            begun = max(since or start, start)
            since = None
            if edge.at > start:
                yield begun, edge.at
    if since is not None:
        yield max(since, start), now
