"""When each rule must be judged anew, so that a month costs what happened in it and not its 86,400 half minutes.

A value over a window changes only where a fact enters the window (when it finished, or was superseded) or leaves it (as
much later as the window is long); an offset moves both. Between two such instants a finding stays what it is. Ages and
overdue schedules alone move by themselves; but they only grow, so a comparison of one turns once at most. Pure.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from k2alert.judge.compiled import Compiled, compile_tree
from k2alert.judge.condition import Condition
from k2alert.judge.drift import drifting
from k2alert.judge.grammar import Use
from k2alert.labels import Labels
from k2alert.measure.board import Board
from k2alert.measure.catalogue import METRICS
from k2alert.model import Kind, Needs, Rule
from k2alert.times import from_ms, to_ms

__all__ = ["AGES", "Grid", "covered_from", "is_of_now", "is_restless", "kinds_of", "moments_of", "turning"]

AGES = frozenset(name for name, metric in METRICS.items() if metric.needs is Needs.AGE)
"""The metrics that change by themselves. From one fact to the next they never fall."""

_MILLISECOND = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True)
class Grid:
    """The instants at which a daemon would evaluate: from `start`, each `step`, `count` of them. Numbered from 0."""

    start: datetime
    step: timedelta
    count: int

    def at(self, number: int) -> datetime:
        """An instant."""
        return self.start + number * self.step

    def at_ms(self, number: int) -> int:
        """The same in milliseconds."""
        return to_ms(self.start) + number * (self.step // _MILLISECOND)

    def first(self, at: datetime) -> int:
        """The number of the first instant at or after a time; those before the start are 0."""
        return max(0, -((self.start - at) // self.step))

    def numbers(self, moments: Iterable[int]) -> set[int]:
        """The first instants at or after these moments (ms), those that lie on the grid."""
        start, step = to_ms(self.start), self.step // _MILLISECOND
        found = {-((start - moment) // step) for moment in moments}
        return {number for number in found if 0 <= number < self.count}

    @property
    def end(self) -> datetime:
        """The last instant."""
        return self.at(self.count - 1)


def kinds_of(rule: Rule, *, clear: bool = True) -> frozenset[Kind]:
    """The kinds of facts that the rule's condition rests on, and its `clear` where that is asked for."""
    uses = _uses(rule) if clear else rule.condition.uses
    kinds = (METRICS[use.metric].kind for use in uses)
    return frozenset(kind for kind in kinds if kind is not None)


def is_restless(rule: Rule) -> bool:
    """Whether its finding may change without any fact."""
    return any(use.metric in AGES for use in _uses(rule))


def turning(rule: Rule) -> tuple[Compiled, ...] | None:
    """The parts of its condition that may turn without any fact, each at most once from one fact to the next.

    None: the condition may change at any time.
    """
    condition: Condition = rule.condition
    found = drifting(condition.tree, AGES)
    return None if found is None else tuple(map(compile_tree, found))


def is_of_now(rule: Rule) -> bool:
    """Whether it asks for what is open now, of which a history knows nothing."""
    return any(METRICS[use.metric].needs is Needs.STATE for use in _uses(rule))


def moments_of(board: Board, rule: Rule, labels: Labels) -> Iterator[int]:
    """The instants (ms) at which the rule's finding for a label set may change, in no order."""
    shifts = {shift // _MILLISECOND for use in _uses(rule) for shift in _shifts(rule, use)}
    for kind in kinds_of(rule):
        for moment in set(board.moments(rule.selection, kind, labels)):
            yield from (moment + shift for shift in shifts)


def _shifts(rule: Rule, use: Use) -> Iterator[timedelta]:
    """How long after a fact it may move the value of a use."""
    window = (use.window or rule.window).look_back
    yield from (timedelta(0), rule.window.look_back)  # a label set is judged while it has a fact in the period
    yield from (use.offset, use.offset + window)
    if use.baseline:  # its days end where the window begins
        yield from (rule.window.look_back, rule.window.look_back + use.baseline)


def _uses(rule: Rule) -> tuple[Use, ...]:
    condition: Condition = rule.condition
    clear: Condition | None = rule.clear
    return (*condition.uses, *(clear.uses if clear is not None else ()))


def covered_from(covered_since: datetime, rule: Rule) -> datetime:
    """From when on all that the rule looks back on lies inside the history."""
    return max(covered_since + rule.look_back, from_ms(0))
