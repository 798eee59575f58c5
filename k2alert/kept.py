"""What a round keeps for the next, so that it judges only what can have changed since.

A finding follows from facts and from time. Of time it depends where a fact comes into a window or leaves it: `measure`
says when that will be. So a finding is kept until then, or until a fact of its label set is saved, or its projects are
complete or not any more, whichever comes first. What cannot be said in advance (an age, a baseline's days, what rests
on other label sets' facts) is judged in every round. `cycle.plan` keeps nothing, and tests hold this against it.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from heapq import heapify, heappop, heappush

from k2alert.alert.lifecycle import AlertId
from k2alert.judge.condition import Condition
from k2alert.labels import Labels
from k2alert.measure.board import Board
from k2alert.model import Alert, Finding, Kind, Metric, Rule, Truth, Window
from k2alert.universe import ProjectId, Target, Universe

__all__ = ["Kept", "KeptRule"]

_NEVER = 2**63 - 1
_MILLISECOND = timedelta(milliseconds=1)

_Read = tuple[str, Window, int]
"""A metric, over which window, and how many milliseconds ago that ends."""


@dataclass(slots=True)
class KeptRule:
    """The findings of one rule, in the order of its targets, and until when (ms) each stays what it is."""

    rule: Rule
    kinds: frozenset[Kind]
    reads: tuple[_Read, ...] | None  # None: it may change at any time
    targets: Sequence[Target] = ()
    findings: list[Finding] = field(default_factory=list)
    places: dict[Labels, int] = field(default_factory=dict)
    _until: list[int] = field(default_factory=list)
    _soon: list[tuple[int, int]] = field(default_factory=list)  # a heap of `_until` with the place
    _complete: frozenset[ProjectId] = frozenset()

    def turn_to(self, targets: Sequence[Target]) -> bool:
        """From now on these are its targets; those it had keep their findings. Whether they are others than before."""
        if targets is self.targets or targets == self.targets:
            self.targets = targets
            return False
        before = {target.identity: place for place, target in enumerate(self.targets)}
        findings, until = [], []
        for target in targets:
            place = before.get(target.identity)
            same = place is not None and self.targets[place] == target
            findings.append(self.findings[place] if same and place is not None else _unjudged(self.rule, target))
            until.append(self._until[place] if same and place is not None else 0)
        self.targets, self.findings, self._until = targets, findings, until
        self.places = {target.identity: place for place, target in enumerate(targets)}
        self._soon = [(at, place) for place, at in enumerate(until)]
        heapify(self._soon)
        return True

    def target_of(self, identity: Labels) -> Target | None:
        """Its target with these labels, if it has one."""
        place = self.places.get(identity)
        return None if place is None else self.targets[place]

    def open_places(self, board: Board, mark: int, complete: frozenset[ProjectId], at: int) -> list[int]:
        """Which of its targets must be judged at `at` (ms): the facts changed since the board's mark, it is time, or
        their projects are complete or not any more.
        """
        found = {place for labels in self._changed(board, mark) if (place := self.places.get(labels)) is not None}
        while self._soon and self._soon[0][0] <= at:
            until, place = heappop(self._soon)
            if until == self._until[place]:
                found.add(place)
        found.update(self._turned(complete))
        self._complete = complete
        return list(found)

    def _changed(self, board: Board, mark: int) -> Iterable[Labels]:
        for kind in self.kinds:
            changed = board.changed(self.rule.selection, kind, mark)
            yield from self.places if changed is None else changed

    def _turned(self, complete: frozenset[ProjectId]) -> Iterator[int]:
        """The targets whose projects have become complete, or are not any more."""
        if complete != self._complete:
            others = complete ^ self._complete
            for place, target in enumerate(self.targets):
                if not others.isdisjoint(target.members):
                    yield place

    def put(self, place: int, finding: Finding, board: Board, at: int) -> bool:
        """Takes a finding of `at` (ms); whether it is another than before."""
        until = self._steady_until(finding, board, at)
        if until != self._until[place] or until <= at:
            self._until[place] = until
            heappush(self._soon, (until, place))
        if finding == self.findings[place]:
            return False
        self.findings[place] = finding
        return True

    def _steady_until(self, finding: Finding, board: Board, at: int) -> int:
        if finding.truth is Truth.UNKNOWN:
            return at if finding.error else _NEVER  # until its projects are complete
        if self.reads is None:
            return at
        until = _NEVER
        for metric, window, offset in self.reads:
            steady = board.steady_until(self.rule.selection, metric, finding.identity, window, at - offset) + offset
            if steady <= at:
                return at
            if steady < until:
                until = steady
        return until


class Kept:
    """The findings of all rules over a board, and the alerts that they came to; of one process, for its rounds alone.

    `restless` are the ids of alerts that may move though their finding stays the same; the targets are of `universe`.
    It is good for one configuration and one board.
    """

    def __init__(self, rules: Iterable[Rule], metrics: Mapping[str, Metric], board: Board) -> None:
        self.board = board
        self.rules = tuple(_kept_rule(rule, metrics) for rule in rules)
        self.alerts: Mapping[AlertId, Alert] = {}
        self.restless: set[AlertId] = set()
        self.universe: Universe | None = None
        self._numbers = {kept.rule.name: number for number, kept in enumerate(self.rules)}
        self._mark = board.mark
        self._at = 0
        self._sound = True

    def begin(self, at: int) -> int:
        """Begins a round at `at` (ms); the board's mark since which facts may have changed.

        Nothing that was kept holds where the clock was set back, or the last round did not come to its end.
        """
        if not self._sound or at < self._at:
            for rule in self.rules:
                rule.turn_to(())
            self.alerts, self.restless = {}, set()
        mark = self._mark
        self._at, self._mark, self._sound = at, self.board.mark, False
        return mark

    def end(self, alerts: Mapping[AlertId, Alert]) -> None:
        """The round has come to its end, with these alerts."""
        self.alerts, self._sound = alerts, True

    def place_of(self, alert: AlertId) -> tuple[int, int] | None:
        """The numbers of an alert's rule and of its target; None where it is not among those that are judged."""
        number = self._numbers.get(alert[0])
        place = None if number is None else self.rules[number].places.get(alert[1])
        return None if number is None or place is None else (number, place)


def _kept_rule(rule: Rule, metrics: Mapping[str, Metric]) -> KeptRule:
    condition: Condition = rule.condition
    clear: Condition | None = rule.clear
    uses = (*condition.uses, *(() if clear is None else clear.uses))
    reads = {(use.metric, use.window or rule.window, use.offset // _MILLISECOND): None for use in uses}
    kinds = frozenset(kind for use in uses if (kind := metrics[use.metric].kind) is not None)
    return KeptRule(rule, kinds, None if any(use.baseline for use in uses) else tuple(reads))


def _unjudged(rule: Rule, target: Target) -> Finding:
    return Finding(rule=rule, identity=target.identity, labels=target.labels, truth=Truth.UNKNOWN)
