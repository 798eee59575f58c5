"""The board that values are read from: recorded rows in, the answers of `Measures` out.

Each selection of facts that a rule or a gauge asks for has one table for runs and one for jobs, and a table has one
series for each label set; other facts have a board of their own (`fact_board`). Which series a stream's rows belong to
is worked out once per stream. The store is the truth and the board a copy of it in memory: what `Store.save` changed is
applied to it row by row.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import count
from operator import attrgetter

from k2alert.labels import Labels, matches_all
from k2alert.measure.catalogue import METRICS
from k2alert.measure.changes import Changes, Mark
from k2alert.measure.columns import marks_of
from k2alert.measure.evidence import find_evidence
from k2alert.measure.fact_board import FactBoard
from k2alert.measure.formulas import FORMULAS, NO_DATA
from k2alert.measure.pages import Page
from k2alert.measure.series import Series
from k2alert.measure.timeline import NEVER, Pile, row_of
from k2alert.model import (
    RESULTS,
    Entry,
    EntryChange,
    EntryRow,
    Event,
    EvidenceRefs,
    FactEntry,
    Kind,
    Measured,
    NamedTest,
    Needs,
    OpenChange,
    OpenEntry,
    Saved,
    Selection,
    Stream,
    Window,
    packed,
)

__all__ = ["Board"]

Route = tuple[Series | None, ...]
"""Where a stream's rows go, by result; the last place is for what is open and has no result."""

_RESULT_LABELS = (*(str(result) for result in RESULTS), "")
_OPEN = len(RESULTS)
_PACKED_AT_A_TIME = 10_000
_AT_A_TIME = 1_000_000  # rows sorted into series, in some 30 MB: of thousands of projects each has some
_KINDS = tuple(kind for kind in Kind if kind.of_runs)
_NOWHERE: Route = (None,) * len(_RESULT_LABELS)
_GROWING = frozenset(  # while there is anything to tell the age of
    name for name, metric in METRICS.items() if metric.needs is Needs.AGE or name.startswith("oldest_")
)


class _Streams:
    """What is known of each stream: its labels with its project's, and its lane."""

    def __init__(self) -> None:
        self.mark = Mark()
        self._lane_numbers: dict[tuple[str, ...], int] = {}
        self._new_lanes = count()  # no number is given twice: series may remember a lane that was forgotten
        self.labels: dict[int, Labels] = {}
        self.lanes: dict[int, int] = {}
        self.scheduled: set[int] = set()  # streams of runs that a schedule started

    def add_stream(self, stream: Stream, labels: Labels) -> None:
        self.labels[stream.id] = labels
        if labels.get("event") == Event.SCHEDULE.value:
            self.scheduled.add(stream.id)
        lane = tuple(labels.get(name, "") for name in ("source", "project", "workflow", "branch"))
        if lane not in self._lane_numbers:
            self._lane_numbers[lane] = next(self._new_lanes)
        self.lanes[stream.id] = self._lane_numbers[lane]

    def forget(self, streams: Iterable[int]) -> None:
        for number in streams:
            self.labels.pop(number, None)
            self.lanes.pop(number, None)
            self.scheduled.discard(number)
        left = set(self.lanes.values())
        self._lane_numbers = {lane: number for lane, number in self._lane_numbers.items() if number in left}


class _Table:
    """The series of one selection and one kind."""

    def __init__(self, selection: Selection, kind: Kind, streams: _Streams) -> None:
        self._matchers = [matcher for matcher in selection.match if matcher.name != "result"]
        self._result_matchers = [matcher for matcher in selection.match if matcher.name == "result"]
        self._by = {"source", *selection.by}
        self._kind = kind
        self._counts = selection.counts if selection.without else None
        self._streams = streams
        self._routes: dict[int, Route] = {}
        self._everywhere: dict[Series, Route] = {}
        self.series: dict[Labels, Series] = {}
        self.nothing = Series(kind)
        self.changes = Changes(streams.mark)

    def load(self, page: Page) -> None:
        routed: defaultdict[Series, list[int]] = defaultdict(list)
        for stream in page.lasting:
            for series in dict.fromkeys((self._routes.get(stream) or self._route(stream))[:_OPEN]):
                if series is not None:
                    routed[series].append(stream)
        for series, streams in routed.items():
            pile = self._counting(page.pile(tuple(streams)), series, self._routes[streams[0]])
            if pile.codes:
                series.extend(pile)
        for entry in page.past:
            past = self._series_of(entry.stream, entry.result)
            if past is not None and (self._counts is None or self._counts(entry.finished)):
                past.insert(row_of(entry, self._streams.lanes[entry.stream]))

    def _counting(self, pile: Pile, series: Series, route: Route) -> Pile:
        """The rows that belong to a series: those with its results, which are the same of all its streams."""
        if route.count(series) < len(route):
            pile = pile.only(pile.codes.translate(marks_of(lambda result, *_: route[RESULTS.index(result)] is series)))
        if self._counts is not None:
            pile = pile.only(bytes(map(self._counts, pile.finished)))
        return pile

    def apply(self, change: EntryChange) -> None:
        for entry, add in ((change.old, False), (change.new, True)):
            if entry is not None and self._counts is not None and not self._counts(entry.finished):
                continue
            series = None if entry is None else self._series_of(entry.stream, entry.result)
            if entry is not None and series is not None:
                row = row_of(entry, self._streams.lanes[entry.stream])
                series.insert(row) if add else series.remove(row)
                self.changes.note(series.labels)

    def apply_open(self, old: OpenEntry | None, new: OpenEntry | None) -> None:
        was = None if old is None else self._series_of(old.stream, _OPEN)
        if old is not None and was is not None:
            was.opens.pop(old.key, None)
            self.changes.note(was.labels)
        now = None if new is None else self._series_of(new.stream, _OPEN)
        if new is not None and now is not None:
            now.opens[new.key] = new
            self.changes.note(now.labels)

    def drop_empty(self) -> None:
        gone = {series for series in self.series.values() if not series}
        if gone:
            self.series = {labels: series for labels, series in self.series.items() if series not in gone}
            self._routes = {stream: route for stream, route in self._routes.items() if gone.isdisjoint(route)}
            self._everywhere = {series: route for series, route in self._everywhere.items() if series not in gone}
        self.changes.forget_all_but(self.series)

    def forget(self, streams: Iterable[int]) -> None:
        for number in streams:
            self._routes.pop(number, None)

    def _series_of(self, stream: int, result: int) -> Series | None:
        return (self._routes.get(stream) or self._route(stream))[result]

    def _route(self, stream: int) -> Route:
        route = self._routes[stream] = self._find_route(self._streams.labels[stream])
        return route

    def _find_route(self, labels: Labels) -> Route:
        if not matches_all(self._matchers, labels):
            return _NOWHERE
        if not self._result_matchers and "result" not in self._by:
            series = self._series(labels)
            return self._everywhere.setdefault(series, (series,) * len(_RESULT_LABELS))
        return tuple(self._series_with(labels, result) for result in _RESULT_LABELS)

    def _series_with(self, labels: Labels, result: str) -> Series | None:
        if not all(matcher.matches_value(result) for matcher in self._result_matchers):
            return None
        return self._series(labels.merged({"result": result}))

    def _series(self, labels: Labels) -> Series:
        key = labels.only(self._by)
        if key not in self.series:
            self.series[key] = Series(self._kind, key)
        return self.series[key]


class Board:
    """The rows behind every selection asked for; implements `Measures`. Not safe for several threads.

    `project_labels` gives the labels that a stream's `source` and `project` earn it; a fact's own labels win.

    A new selection is announced with `require` and filled with `load`; until then it cannot be measured, so that
    nobody mistakes "not loaded" for zero.
    """

    def __init__(self, project_labels: Callable[[Mapping[str, str]], Labels]) -> None:
        self._project_labels = project_labels
        self._streams = _Streams()
        self._opens: dict[Kind, dict[str, OpenEntry]] = {kind: {} for kind in _KINDS}
        self._tables: dict[Kind, dict[Selection, _Table]] = {kind: {} for kind in _KINDS}
        self._fresh: dict[Kind, dict[Selection, _Table]] = {kind: {} for kind in _KINDS}
        self._facts = FactBoard(self._streams.mark)
        self._pages = {kind: Page(self._streams.lanes) for kind in _KINDS}

    # ------------------------------------------------------------------------------------- what comes in

    def require(self, selection: Selection, kinds: frozenset[Kind], *, later: bool = False) -> bool:
        """Ask for a selection's facts. True when it is new for one of the kinds: `load` them then.

        `later`: nobody waits for them, so where the history that is loaded takes long to work out, they have no data
        until `settle` has done it.
        """
        known = [kind for kind in _KINDS if selection in self._tables[kind] or selection in self._fresh[kind]]
        new = [kind for kind in kinds if kind.of_runs and kind not in known]
        for kind in new:
            self._fresh[kind][selection] = _Table(selection, kind, self._streams)
        return self._facts.require(selection, [kind for kind in kinds if not kind.of_runs], later=later) or bool(new)

    def add_streams(self, streams: Iterable[Stream]) -> None:
        """Learn the labels of streams; before any entry that uses them."""
        for stream in streams:
            labels = self._project_labels(stream.labels).merged(stream.labels)
            if stream.kind.of_runs:
                self._streams.add_stream(stream, labels)
            if stream.kind is not Kind.JOB:  # runs are timed as benchmarks, too
                self._facts.add_stream(stream, labels)

    def load(self, kind: Kind, entries: Iterable[Entry], *, more: bool = False) -> None:
        """Fill the selections that are new since the last load with all entries of the store, by finishing time.

        `more`: another part follows; then nothing may be applied in between. Other selections stay as they are.
        """
        ordered = sorted(entries, key=attrgetter("finished", "ref"))
        for first in range(0, len(ordered), _PACKED_AT_A_TIME):
            self.load_rows(kind, list(map(packed, ordered[first : first + _PACKED_AT_A_TIME])), more=True)
        self.load_rows(kind, (), more=more)

    def load_rows(self, kind: Kind, rows: Sequence[EntryRow], *, more: bool = False) -> None:
        """The same for rows by (finished, ref). Until it is filled a board may be so in another thread."""
        fresh = self._fresh[kind]
        page = self._pages[kind]
        page.add(rows)
        if not more or page.count >= _AT_A_TIME:
            self._pages[kind] = page.next()
            self._take(kind, page)
        if not more:
            for table in fresh.values():
                for entry in self._opens[kind].values():
                    table.apply_open(None, entry)
            self._tables[kind].update(fresh)
            self._fresh[kind] = {}

    def _take(self, kind: Kind, page: Page) -> None:
        for table in self._fresh[kind].values():
            table.load(page)
        if kind is Kind.RUN:
            self._facts.load_runs(page)
            self._note_scheduled(page.past)
            for stream in page.lasting.keys() & self._streams.scheduled:
                labels = self._streams.labels[stream]
                for row in page.pile((stream,)).rows():
                    self._facts.runs.add(labels, row.created, str(row.ref))

    def settle(self, *, later: bool) -> Iterator[None]:
        """Works out what takes long of the history that was loaded, bit by bit: steps of benchmarks.

        Also of selections that were asked for `later`, if wanted.
        """
        return self._facts.settle(later=later)

    @property
    def wants_tests(self) -> bool:
        """Whether it must know what the numbers of tests stand for, and be told with `name_tests`."""
        return self._facts.wants_tests

    def name_tests(self, tests: Iterable[NamedTest]) -> None:
        """Learn what numbers of tests stand for."""
        self._facts.name_tests(tests)

    def load_facts(self, kind: Kind, entries: Sequence[FactEntry], *, more: bool = False) -> None:
        """The same as `load` for kinds of facts that are not of runs."""
        self._facts.load(kind, entries, more=more)

    def apply(self, saved: Saved) -> None:
        """Take over what a save changed. Selections that are not loaded yet will load it."""
        self.add_streams(saved.streams)
        for change in saved.entries:
            for table in self._tables[change.kind].values():
                table.apply(change)
            self._note_change(change)
        for opened in saved.opens:
            self._apply_open(opened)
        self._facts.apply(saved.facts, saved.tests)
        if saved.gone:
            self._forget_streams(saved.gone)

    def _forget_streams(self, streams: Sequence[int]) -> None:
        for tables in self._tables.values():
            for table in tables.values():
                table.forget(streams)
        self._streams.forget(streams)
        self._facts.forget_streams(streams)

    def drop_empty(self) -> None:
        """Let go of the series that nothing is in any more, such as those of branches that retention forgot."""
        for tables in self._tables.values():
            for table in tables.values():
                table.drop_empty()
        self._facts.drop_empty()

    # ------------------------------------------------------------------------------------- what is asked

    def measure(self, selection: Selection, metric: str, labels: Labels, window: Window, at: int) -> Measured:
        """The metric over the series with these `by` labels in the window that ends at `at`.

        Raises `LookupError` for a selection that was not loaded or a name that is not in the catalogue.
        """
        kind = METRICS[metric].kind
        if kind is None:
            return NO_DATA
        if not kind.of_runs:
            return self._facts.measure(kind, selection, metric, labels, window, at)
        return FORMULAS[metric](self._series(selection, kind, labels), window, at)

    @property
    def mark(self) -> int:
        """A number that grows with each change: see `changed`."""
        return self._streams.mark.number

    def changed(self, selection: Selection, kind: Kind, mark: int) -> list[Labels] | None:
        """The label sets whose facts changed since the board's mark was `mark`; None: all of them may have."""
        if not kind.of_runs:
            return self._facts.changed(kind, selection, mark)
        table = self._tables[kind].get(selection)
        return None if table is None else table.changes.since(mark)

    def steady_until(self, selection: Selection, metric: str, labels: Labels, window: Window, at: int) -> int:
        """The first instant after `at` at which `measure` may come to something else, if nothing is saved.

        `at` itself where that cannot be said.
        """
        kind = METRICS[metric].kind
        if kind is None:
            return NEVER
        if not kind.of_runs:
            return self._facts.steady_until(kind, selection, labels, window, at)
        series = self._series(selection, kind, labels)
        if metric in _GROWING and FORMULAS[metric](series, window, at).samples:
            return at
        return series.steady_until(window, at)

    def formula(self, selection: Selection, metric: str, labels: Labels) -> Callable[[Window, int], Measured]:
        """`measure` with all but the window and the time given, for who asks often; good until something is saved."""
        kind = METRICS[metric].kind
        if kind is None:
            return lambda _window, _at: NO_DATA
        if not kind.of_runs:
            return partial(self._facts.measure, kind, selection, metric, labels)
        return partial(FORMULAS[metric], self._series(selection, kind, labels))

    def label_sets(self, selection: Selection, window: Window, at: int, kind: Kind) -> list[Labels]:
        """The label sets with a fact in the window: a row that counts, or a run or job that is open."""
        if not kind.of_runs:
            return self._facts.label_sets(selection, window, at, kind)
        table = self._tables[kind][selection]
        return [labels for labels, series in table.series.items() if series.seen(window, at)]

    def every_label_set(self, selection: Selection, kind: Kind) -> list[Labels]:
        """The label sets with a fact at any time."""
        if not kind.of_runs:
            return self._facts.every_label_set(selection, kind)
        return [labels for labels, series in self._tables[kind][selection].series.items() if series]

    def moments(self, selection: Selection, kind: Kind, labels: Labels) -> list[int]:
        """The instants at which what counts of a series changes, whatever the window, in no order."""
        if not kind.of_runs:
            return self._facts.moments(selection, kind, labels)
        return list(self._series(selection, kind, labels).moments())

    def has_fact(self, selection: Selection, window: Window, at: int, kind: Kind, labels: Labels) -> bool:
        """Whether the label set is among `label_sets`."""
        if not kind.of_runs:
            return labels in self._facts.label_sets(selection, window, at, kind)
        return self._series(selection, kind, labels).seen(window, at)

    def evidence(
        self, selection: Selection, metric: str, labels: Labels, window: Window, at: int, limit: int
    ) -> EvidenceRefs:
        """The rows behind the value that `measure` gives for the same arguments."""
        kind = METRICS[metric].kind
        if kind is None:
            return EvidenceRefs(Kind.RUN, (), 0, 0, None, None)
        if not kind.of_runs:
            return self._facts.evidence(kind, selection, metric, labels, window, at, limit)
        return find_evidence(self._series(selection, kind, labels), metric, window, at, limit)

    # ----------------------------------------------------------------------------------------------------

    def _series(self, selection: Selection, kind: Kind, labels: Labels) -> Series:
        table = self._tables[kind][selection]
        return table.series.get(labels, table.nothing)

    def _apply_open(self, change: OpenChange) -> None:
        opens = self._opens[change.kind]
        old = opens.pop(change.key, None)
        if change.new is not None:
            opens[change.key] = change.new
        for table in self._tables[change.kind].values():
            table.apply_open(old, change.new)
        if change.kind is Kind.RUN:
            for entry, note in ((old, self._facts.runs.remove), (change.new, self._facts.runs.add)):
                if entry is not None:
                    note(self._streams.labels[entry.stream], entry.created, f"open {entry.key}")

    def _note_scheduled(self, entries: Iterable[Entry]) -> None:
        """Which runs a schedule started: whether one is overdue depends on them, whatever rules select."""
        for entry in entries:
            if entry.stream in self._streams.scheduled:
                self._facts.runs.add(self._streams.labels[entry.stream], entry.created, str(entry.ref))

    def _note_change(self, change: EntryChange) -> None:
        old = change.old
        if change.kind is Kind.RUN and old is not None and old.stream in self._streams.scheduled:
            self._facts.runs.remove(self._streams.labels[old.stream], old.created, str(old.ref))
        if change.kind is Kind.RUN:
            self._facts.apply_run(change)
            self._note_scheduled(() if change.new is None else (change.new,))
