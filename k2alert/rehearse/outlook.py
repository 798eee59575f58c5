"""What lies ahead of a rule and a label set: the instants at which it must be judged.

A finding follows from facts and time alone, whatever became of the alert. So its truth is gone through beforehand, and
an inactive alert is judged only where it may become another. One that is pending or fires is judged wherever its
finding may change, for its value is told. The rules of one selection go through a series together, so that they share
what is measured. Pure.
"""

from array import array
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial

from k2alert.cycle import Scene
from k2alert.judge.judge import truth_at
from k2alert.labels import Labels
from k2alert.measure.board import Board
from k2alert.model import Measured, NoDataPolicy, Rule, Selection, Truth, Window
from k2alert.rehearse.agenda import Grid, is_restless, kinds_of, moments_of
from k2alert.times import to_ms
from k2alert.universe import Target

__all__ = ["Case", "Outlook", "is_target", "look_ahead"]

_MILLISECOND = timedelta(milliseconds=1)


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


@dataclass(slots=True)
class _View:
    """A case that is looked through: the truth at a time, and whether it was a target at the time before."""

    case: Case
    outlook: Outlook
    truth: Callable[[int], Truth]
    quiet: frozenset[Truth]
    was_target: bool | None = None

    def look(self, board: Board, instant: int, at: int) -> None:
        """Notes whether an inactive alert must be judged at this instant."""
        target = self.case.is_fixed or is_target(board, self.case, at)
        stirs = target is not self.was_target or (target and self.truth(at) not in self.quiet)
        self.was_target = target
        self.outlook.instants.append(instant)
        self.outlook.stirs.append(stirs)


def look_ahead(scene: Scene, board: Board, grid: Grid, cases: Sequence[Case]) -> list[Outlook]:
    """The outlook of each case."""
    together: defaultdict[tuple[Selection, Labels], list[tuple[Case, Outlook]]] = defaultdict(list)
    found = [Outlook(is_restless(case.rule)) for case in cases]
    for case, outlook in zip(cases, found, strict=True):
        together[case.rule.selection, case.target.identity].append((case, outlook))
    for (selection, labels), here in together.items():
        series = _OneSeries(board, selection, labels)
        _look_through([_view(scene, series, case, outlook) for case, outlook in here], board, grid)
    return found


def _view(scene: Scene, series: _OneSeries, case: Case, outlook: Outlook) -> _View:
    rule, target = case.rule, case.target
    truth = truth_at(rule, identity=target.identity, labels=target.labels, measures=series, metrics=scene.metrics)
    quiet = {Truth.FALSE} if rule.no_data is NoDataPolicy.ALERT else {Truth.FALSE, Truth.NO_DATA}
    return _View(case, outlook, truth, frozenset(quiet))


def _look_through(views: Sequence[_View], board: Board, grid: Grid) -> None:
    """Looks through the cases of one series, in the order of time."""
    todo = sorted(
        (instant, number) for number, view in enumerate(views) for instant in _instants(board, grid, view.case)
    )
    start, step = to_ms(grid.start), grid.step // _MILLISECOND
    for instant, number in todo:
        views[number].look(board, instant, start + instant * step)


def _instants(board: Board, grid: Grid, case: Case) -> Iterable[int]:
    """Where the finding may change: at the first instant at which it is known, and with facts or by itself later."""
    if case.complete_from is None:
        return ()
    first = grid.first(case.complete_from)
    if is_restless(case.rule):
        return range(first, grid.count)
    numbers = grid.numbers(moments_of(board, case.rule, case.target.identity))
    return {number for number in numbers if number > first} | {first}
