"""Where a value comes from: what it was in the window before, and the way it took since.

A rule and a label set come in, values of earlier times go out. A time is asked about only where all that its window
needs has been read: half a history would give a number that looks like a fact.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from operator import ge, gt, le, lt

from k2alert.cycle import Scene
from k2alert.judge.condition import Condition
from k2alert.judge.grammar import Use
from k2alert.labels import Labels
from k2alert.model import Evidence, Needs, Rule, Window
from k2alert.notify.chart import Chart
from k2alert.times import human_duration, to_ms

__all__ = ["Trend", "known_since", "owner_of", "with_past"]

Number = float | int

_OWNERS = ("owner", "team")
# A streak and an age reach back as far as they must, so the window before tells nothing; and now has no before.
_WITHOUT_BEFORE = frozenset({Needs.STREAK, Needs.AGE, Needs.STATE})
_POINTS = 49
_SHORTEST, _LONGEST = timedelta(days=1), timedelta(days=14)
_BEYOND: Mapping[str, Callable[[Number, Number], bool]] = {"<": lt, "<=": le, ">": gt, ">=": ge}


def owner_of(labels: Labels) -> str:
    """Who is to look after an alert: the first of these labels that the configuration gave it, "" where none did."""
    return next((labels[name] for name in _OWNERS if name in labels), "")


def with_past(
    scene: Scene, rule: Rule, identity: Labels, labels: Labels, evidence: Evidence, *, now: datetime
) -> Evidence:
    """The evidence with the value before and the owner; `labels` are the alert's."""
    trend = Trend.of(scene, rule, identity, now=now)
    return replace(evidence, before=trend.before() if trend else None, owner=owner_of(labels))


@dataclass(frozen=True, slots=True)
class Trend:
    """The value that a rule shows for one label set, at any time since `covered`."""

    scene: Scene
    rule: Rule
    identity: Labels
    use: Use
    window: Window
    covered: datetime
    now: datetime

    @classmethod
    def of(cls, scene: Scene, rule: Rule, identity: Labels, *, now: datetime) -> "Trend | None":
        """None where the rule shows no value that has a past."""
        condition: Condition | None = rule.condition
        use = condition.first if condition is not None else None
        covered = known_since(scene, identity, now=now)
        if use is None or covered is None or scene.metrics[use.metric].needs is Needs.STATE:
            return None
        return cls(scene, rule, identity, use, use.window or rule.window, covered, now)

    @property
    def span(self) -> str:
        """How long the window is, for people; "" for one that counts runs."""
        return human_duration(self.window.length) if self.window.length is not None else ""

    def at(self, time: datetime) -> Number | None:
        """The value at that time; None where there was no data, or not all of it is known."""
        end = time - self.use.offset
        if end - self.window.look_back < self.covered:
            return None
        metric = self.use.metric
        found = self.scene.measures.measure(self.rule.selection, metric, self.identity, self.window, to_ms(end))
        short = found.samples < self.rule.min_samples and self.scene.metrics[metric].needs.samples
        return None if short else found.value

    def before(self) -> Number | None:
        """The value of the window that ended where the present one began; None where there is no such window."""
        if self.window.length is None or self.scene.metrics[self.use.metric].needs in _WITHOUT_BEFORE:
            return None
        return self.at(self.now - self.window.length)

    def chart(self, threshold: Number | None, show: Callable[[Number], str]) -> Chart | None:
        """The way to here over four windows, at least a day and at most two weeks; None where there is none to see."""
        length = min(max(4 * self.window.look_back, _SHORTEST), _LONGEST)
        values = tuple(self.at(self.now - length * (_POINTS - 1 - step) / (_POINTS - 1)) for step in range(_POINTS))
        known = [value for value in values if value is not None]
        if len(known) < 2:
            return None
        sign = self.rule.condition.operator
        is_beyond = _BEYOND.get(sign)
        limit = threshold if is_beyond is not None else None
        return Chart(
            values=values,
            is_bad=tuple(_is_bad(value, limit, is_beyond) for value in values),
            threshold=limit,
            title=self.use.metric.replace("_", " "),
            span=human_duration(length),
            low_text=show(min(known)),
            high_text=show(max(known)),
            threshold_text=f"{sign} {show(limit)}" if limit is not None else "",
        )


def _is_bad(value: Number | None, limit: Number | None, is_beyond: Callable[[Number, Number], bool] | None) -> bool:
    return value is not None and limit is not None and is_beyond is not None and is_beyond(value, limit)


def known_since(scene: Scene, identity: Labels, *, now: datetime) -> datetime | None:
    """Since when all that the label set is measured from is recorded: read, and not yet forgotten.

    None where some of it has never been read.
    """
    source, path = identity.get("source", ""), identity.get("project", "")
    of = [one.covered_since for one in scene.projects if one.source == source and path in ("", one.path)]
    known = [since for since in of if since is not None]
    return max(*known, now - scene.config.retention) if known and len(known) == len(of) else None
