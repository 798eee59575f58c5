"""What lies ahead of a rule and a label set: the instants at which it must be judged.

A finding follows from facts and time alone, whatever became of the alert. So its truth is gone through beforehand, and
an inactive alert is judged only where it may become another. One that is pending or fires is judged wherever its
finding may change, for its value is told. The rules of one selection go through a series together, so that they share
what is measured. Pure.
"""

from array import array
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from itertools import pairwise

from k2alert.cycle import Scene
from k2alert.judge.judge import truth_at
from k2alert.labels import Labels
from k2alert.measure.board import Board
from k2alert.model import Measured, NoDataPolicy, Rule, Selection, Truth, Window
from k2alert.rehearse.agenda import Grid, is_restless, kinds_of, moments_of, turning
from k2alert.universe import Target

__all__ = ["Case", "Outlook", "is_target", "look_ahead"]


@dataclass(frozen=True, slots=True)
class Case:
    """A rule and a label set. `is_fixed`: it is judged whether or not it has facts. `complete_from`: unknown before."""

    rule: Rule
    target: Target
    is_fixed: bool
    complete_from: datetime | None


@dataclass(frozen=True, slots=True)
class Outlook:
    """The numbers of a grid's instants, in order, at which a finding may change while it is known.

    `stirs` has a one for each at which an inactive alert must be judged, a zero for the others. `is_restless`: the
    value changes at every instant, also between these.
    """

    is_restless: bool
    instants: "array[int]" = field(default_factory=lambda: array("I"))
    stirs: bytearray = field(default_factory=bytearray)

    def after(self, instant: int, *, is_inactive: bool) -> int | None:
        """The next instant at which an alert must be judged; None: never again, if nothing else happens to it."""
        if self.is_restless and not is_inactive:
            return instant + 1
        place = bisect_right(self.instants, instant)
        if is_inactive:
            place = self.stirs.find(1, place)
        return self.instants[place] if 0 <= place < len(self.instants) else None


def is_target(board: Board, case: Case, at: int) -> bool:
    """Whether a round at `at` (ms) looks at a case that has no open alert: it is fixed, or has a fact in the period."""
    if case.is_fixed:
        return True
    rule, labels = case.rule, case.target.identity
    kinds = kinds_of(rule, clear=False)
    return any(board.has_fact(rule.selection, rule.window, at, kind, labels) for kind in kinds)


class _OneSeries:
    """The measures of one series, at hand: who looks through a history asks a million times."""

    def __init__(self, board: Board, selection: Selection, labels: Labels) -> None:
        self._formula = partial(board.formula, selection, labels=labels)
        self._formulas: dict[str, Callable[[Window, int], Measured]] = {}

    def measure(self, _selection: Selection, metric: str, _labels: Labels, window: Window, at: int) -> Measured:
        formula = self._formulas.get(metric)
        if formula is None:
            formula = self._formulas[metric] = self._formula(metric)
        return formula(window, at)


class _View:
    """A case, to be looked through in the order of time."""

    def __init__(self, scene: Scene, board: Board, series: _OneSeries, case: Case, outlook: Outlook) -> None:
        rule, target = case.rule, case.target
        self.case = case
        self._is_fixed = case.is_fixed
        self._board = board
        self._outlook = outlook
        self._truth_at = partial(
            truth_at,
            rule,
            identity=target.identity,
            labels=target.labels,
            measures=series,
            metrics=scene.metrics,
        )
        self._truth = self._truth_at()
        quiet = {Truth.FALSE} if rule.no_data is NoDataPolicy.ALERT else {Truth.FALSE, Truth.NO_DATA}
        self._quiet = frozenset(quiet)
        self._was_target: bool | None = None

    def instants(self, grid: Grid) -> Iterable[int]:
        """Where the condition may change: at the first instant at which it is known, with facts, or by itself."""
        case = self.case
        if case.complete_from is None:
            return ()
        first = grid.first(case.complete_from)
        parts = turning(case.rule)
        if parts is None:
            return range(first, grid.count)
        numbers = grid.numbers(moments_of(self._board, case.rule, case.target.identity))
        found = sorted({first, *(number for number in numbers if number > first)})
        turns = (turn for part in parts for turn in _turns(self._truth_at(holds=part), found, grid))
        return {*found, *turns} if first < grid.count else ()

    def look(self, instant: int, at: int) -> None:
        """Notes whether an inactive alert must be judged at this instant."""
        target = self._is_fixed or is_target(self._board, self.case, at)
        stirs = target is not self._was_target or (target and self._truth(at) not in self._quiet)
        self._was_target = target
        self._outlook.instants.append(instant)
        self._outlook.stirs.append(stirs)


def look_ahead(scene: Scene, board: Board, grid: Grid, cases: Sequence[Case]) -> list[Outlook]:
    """The outlook of each case."""
    together: defaultdict[tuple[Selection, Labels], list[tuple[Case, Outlook]]] = defaultdict(list)
    found = [Outlook(is_restless(case.rule)) for case in cases]
    for case, outlook in zip(cases, found, strict=True):
        together[case.rule.selection, case.target.identity].append((case, outlook))
    for (selection, labels), here in together.items():
        series = _OneSeries(board, selection, labels)
        _look_through([_View(scene, board, series, *one) for one in here], grid)
    return found


def _look_through(views: Sequence[_View], grid: Grid) -> None:
    """Looks through the cases of one series, in the order of time."""
    todo = sorted((instant, number) for number, view in enumerate(views) for instant in view.instants(grid))
    start, step = grid.at_ms(0), grid.at_ms(1) - grid.at_ms(0)
    for instant, number in todo:
        views[number].look(instant, start + instant * step)


def _turns(truth: Callable[[int], Truth], facts: Sequence[int], grid: Grid) -> Iterator[int]:
    """The instants between facts at which something turns that turns at most once between two of them."""
    for low, following in pairwise([*facts, grid.count]):
        before = truth(grid.at_ms(low))
        between = range(low, following)
        if len(between) > 1 and truth(grid.at_ms(between[-1])) is not before:
            yield between[bisect_left(between, True, key=lambda number: truth(grid.at_ms(number)) is not before)]
