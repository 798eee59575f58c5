"""The board of reports, deployments and schedules: recorded facts in, values out.

Like the board of runs and jobs beside it: each selection has a table for each kind of facts asked of it, and a table
has a ledger for each label set. Tests have two labels, `suite` and `test`, that a report has many of: a table whose
selection speaks of them keeps its ledgers without them, and asks for a set of tests when it measures.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

from k2alert.labels import Labels, matches_all
from k2alert.measure.benchmarks import (
    BENCHMARK_FORMULAS,
    Benchmarks,
    Point,
    find_evidence,
    model_of_runs,
    point_of,
    time_of_run,
    time_of_tests,
)
from k2alert.measure.changes import Changes, Mark
from k2alert.measure.coverage import COVERAGE_EVIDENCE, COVERAGE_FORMULAS
from k2alert.measure.dora import DEPLOYMENT_EVIDENCE, DEPLOYMENT_FORMULAS
from k2alert.measure.executions import TEST_EVIDENCE, TEST_FORMULAS, Chosen, Executions
from k2alert.measure.ledger import Ledger, Place, StreamInfo
from k2alert.measure.pages import Page
from k2alert.measure.schedules import SCHEDULE_FORMULAS, Branch, ScheduledRuns, Schedules
from k2alert.measure.timeline import NEVER
from k2alert.model import (
    BenchmarkEntry,
    Entry,
    EntryChange,
    EvidenceRefs,
    FactChange,
    FactEntry,
    Kind,
    Measured,
    NamedTest,
    NameOfTest,
    RefType,
    ReportEntry,
    ScheduleEntry,
    Selection,
    Stream,
    Window,
)

__all__ = ["FACT_FORMULAS", "FactBoard"]

_TEST_LABELS = frozenset({"suite", "test"})
_TABLED = tuple(kind for kind in Kind if not kind.of_runs and kind is not Kind.BENCHMARK)

FACT_FORMULAS = frozenset(
    {*TEST_FORMULAS, *COVERAGE_FORMULAS, *BENCHMARK_FORMULAS, *DEPLOYMENT_FORMULAS, *SCHEDULE_FORMULAS}
)
"""The metrics that rest on these facts."""


class _Streams:
    """What is known of each stream of facts."""

    def __init__(self, mark: Mark) -> None:
        self.mark = mark
        self.labels: dict[int, Labels] = {}
        self.infos: dict[int, StreamInfo] = {}  # of those that ledgers hold entries of

    def add(self, stream: Stream, labels: Labels) -> None:
        self.labels[stream.id] = labels
        if not stream.kind.of_runs:
            self.infos[stream.id] = StreamInfo.of(stream.labels)

    def forget(self, streams: Iterable[int]) -> None:
        for number in streams:
            self.labels.pop(number, None)
            self.infos.pop(number, None)


class _Table:
    """The ledgers of one selection and one kind."""

    def __init__(self, selection: Selection, kind: Kind, streams: _Streams) -> None:
        self.by = frozenset({"source", *selection.by})
        of_tests = _TEST_LABELS if kind is Kind.TEST else frozenset[str]()
        self.test_matchers = [matcher for matcher in selection.match if matcher.name in of_tests]
        self.test_labels = self.by & of_tests
        self._matchers = [matcher for matcher in selection.match if matcher.name not in of_tests]
        self._only_default = kind is Kind.COVERAGE and not _picks_branch(selection)
        self._counts = selection.counts if selection.without and kind is not Kind.SCHEDULE else None
        self._streams = streams
        self._routes: dict[int, Ledger | None] = {}
        self.ledgers: dict[Labels, Ledger] = {}
        self.nothing = Ledger(streams.infos)
        self.changes = Changes(streams.mark)

    @property
    def picks_tests(self) -> bool:
        """Whether which tests count, or how they are told apart, depends on their names."""
        return bool(self.test_matchers or self.test_labels)

    def load(self, entries: Iterable[FactEntry]) -> None:
        piles: defaultdict[int, list[FactEntry]] = defaultdict(list)
        for entry in entries:
            if self._counts is None or self._counts(entry.finished):
                piles[entry.stream].append(entry)
        merged: dict[int, tuple[Ledger, list[FactEntry]]] = {}
        for stream, pile in piles.items():
            ledger = self._route(stream)
            if ledger is not None:
                merged.setdefault(id(ledger), (ledger, []))[1].extend(pile)
        for ledger, pile in merged.values():
            ledger.extend(pile)

    def apply(self, change: FactChange) -> None:
        old = self._ledger_of(change.old)
        if old is not None and change.old is not None:
            old.remove(change.old)
            self.changes.note(old.labels)
        new = self._ledger_of(change.new)
        if new is not None and change.new is not None:
            new.insert(change.new)
            self.changes.note(new.labels)

    def drop_empty(self) -> None:
        self.ledgers = {labels: ledger for labels, ledger in self.ledgers.items() if ledger.entries}
        self._routes.clear()
        self.changes.forget_all_but(self.ledgers)

    def _ledger_of(self, entry: FactEntry | None) -> Ledger | None:
        if entry is None or (self._counts is not None and not self._counts(entry.finished)):
            return None
        return self._route(entry.stream)

    def forget(self, streams: Iterable[int]) -> None:
        for number in streams:
            self._routes.pop(number, None)

    def _route(self, stream: int) -> Ledger | None:
        if stream not in self._routes:
            self._routes[stream] = self._find_route(stream)
        return self._routes[stream]

    def _find_route(self, stream: int) -> Ledger | None:
        labels = self._streams.labels[stream]
        if self._only_default and labels.get("ref_type") != RefType.DEFAULT.value:
            return None
        if not matches_all(self._matchers, labels):
            return None
        key = labels.only(self.by - self.test_labels)
        return self.ledgers.setdefault(key, Ledger(self._streams.infos, labels=key))


def _picks_branch(selection: Selection) -> bool:
    """Whether coverage is measured on branches that the rule names; else it is on the default branch (contract §3)."""
    return "branch" in selection.by or any(
        matcher.name == "branch" and matcher.op == "=" for matcher in selection.match
    )


class FactBoard:
    """The facts behind every selection asked for. See `Board`, of which it is a part."""

    def __init__(self, mark: Mark) -> None:
        self._streams = _Streams(mark)
        self._tables: dict[Kind, dict[Selection, _Table]] = {kind: {} for kind in _TABLED}
        self._fresh: dict[Kind, dict[Selection, _Table]] = {kind: {} for kind in self._tables}
        self._benchmarks: dict[Selection, Benchmarks] = {}
        self._fresh_benchmarks: dict[Selection, Benchmarks] = {}
        self._tests: defaultdict[Place, dict[int, NameOfTest]] = defaultdict(dict)
        self._named = 0  # how often names came: what was picked by them before may not hold any more
        self._picked: dict[Selection, tuple[int, Mapping[tuple[str, ...], Chosen]]] = {}
        self._schedules: defaultdict[Branch, dict[int, ScheduleEntry]] = defaultdict(dict)
        self._sets: dict[int, int] = {}
        self.runs = ScheduledRuns()

    # ------------------------------------------------------------------------------------- what comes in

    def require(self, selection: Selection, kinds: Iterable[Kind], *, later: bool) -> bool:
        """Ask for a selection's facts. True when it is new for one of the kinds. See `Board.require`."""
        new = [kind for kind in kinds if not self._has(selection, kind)]
        for kind in new:
            if kind is Kind.BENCHMARK:
                self._fresh_benchmarks[selection] = Benchmarks(selection, self._streams.labels, later)
            else:
                self._fresh[kind][selection] = _Table(selection, kind, self._streams)
        return bool(new)

    def _has(self, selection: Selection, kind: Kind) -> bool:
        if kind is Kind.BENCHMARK:
            return selection in self._benchmarks or selection in self._fresh_benchmarks
        return selection in self._tables[kind] or selection in self._fresh[kind]

    @property
    def wants_tests(self) -> bool:
        """Whether any selection speaks of tests by name; only then are names held."""
        tables = (*self._tables[Kind.TEST].values(), *self._fresh[Kind.TEST].values())
        return any(table.picks_tests for table in tables)

    def add_stream(self, stream: Stream, labels: Labels) -> None:
        """Learn the labels of a stream, those of its project included."""
        self._streams.add(stream, labels)

    def forget_streams(self, streams: Sequence[int]) -> None:
        """Forget streams that no fact has any more."""
        for tables in self._tables.values():
            for table in tables.values():
                table.forget(streams)
        self._streams.forget(streams)

    def name_tests(self, tests: Iterable[NamedTest]) -> None:
        """Learn what numbers of tests stand for."""
        for source, project, number, suite, test in tests:
            self._tests[Place(source, project)][number] = NameOfTest(suite, test)
            self._named += 1

    def load(self, kind: Kind, entries: Sequence[FactEntry], *, more: bool) -> None:
        """Fill the selections that are new with facts of the store."""
        for courses in self._fresh_benchmarks.values():
            courses.load(filter(None, map(self._point, entries)))
        if kind is Kind.BENCHMARK:
            if not more:
                self._benchmarks.update(self._fresh_benchmarks)
                self._fresh_benchmarks = {}
            return
        for table in self._fresh[kind].values():
            table.load(entries)
        self._take_schedules(entries)
        if not more:
            self._tables[kind].update(self._fresh[kind])
            self._fresh[kind] = {}

    def apply(self, changes: Iterable[FactChange], tests: Sequence[NamedTest]) -> None:
        """Take over what a save changed."""
        if tests and self.wants_tests:
            self.name_tests(tests)
        for change in map(self._shared, changes):
            self._move_point(*(entry and self._point(entry) for entry in (change.old, change.new)))
            for table in self._tables.get(change.kind, {}).values():
                table.apply(change)
            if isinstance(change.old, ScheduleEntry):
                self._schedules[self._branch_of(change.old)].pop(change.old.ref, None)
            self._take_schedules([] if change.new is None else [change.new])

    def load_runs(self, page: Page) -> None:
        """Time the runs of the store, for benchmarks that are new; before the facts of benchmarks are loaded."""
        if self._fresh_benchmarks:
            for stream in page.lasting:
                model = model_of_runs(stream, self._streams.labels[stream])
                times = page.timed(stream) if model is not None else None
                for courses in self._fresh_benchmarks.values():
                    if model is not None and times is not None:
                        courses.load_times(model, times)
            past = [point for entry in page.past if (point := self._time_of(entry)) is not None]
            for courses in self._fresh_benchmarks.values():
                courses.load(past)

    def settle(self, *, later: bool) -> Iterator[None]:
        """See `Board.settle`."""
        for courses in self._benchmarks.values():
            if later or not courses.later:
                yield from courses.settle()

    def apply_run(self, change: EntryChange) -> None:
        """Take over what a save changed of a run."""
        if self._benchmarks:
            self._move_point(*(entry and self._time_of(entry) for entry in (change.old, change.new)))

    def _move_point(self, old: Point | None, new: Point | None) -> None:
        for courses in self._benchmarks.values() if old != new else ():
            if old is not None:
                courses.remove(old)
            if new is not None:
                courses.insert(new)

    def _time_of(self, entry: Entry) -> Point | None:
        return time_of_run(entry, self._streams.labels[entry.stream])

    def _point(self, entry: FactEntry) -> Point | None:
        """What an entry measures, if it does."""
        if isinstance(entry, BenchmarkEntry):
            return point_of(entry)
        return time_of_tests(entry, self._streams.labels[entry.stream]) if isinstance(entry, ReportEntry) else None

    def drop_empty(self) -> None:
        """Let go of the ledgers that nothing is in any more."""
        for courses in self._benchmarks.values():
            courses.drop_empty()
        for tables in self._tables.values():
            for table in tables.values():
                table.drop_empty()
        self._sets.clear()

    def _shared(self, change: FactChange) -> FactChange:
        """The same, with a set of tests that is here already: most reports of a job have the same."""
        if not isinstance(change.new, ReportEntry):
            return change
        ran = self._sets.setdefault(change.new.ran, change.new.ran)
        return change._replace(new=change.new._replace(ran=ran))

    def _take_schedules(self, entries: Iterable[FactEntry]) -> None:
        for entry in entries:
            if isinstance(entry, ScheduleEntry):
                self._schedules[self._branch_of(entry)][entry.ref] = entry

    def _branch_of(self, schedule: ScheduleEntry) -> Branch:
        info = self._streams.infos[schedule.stream]
        return info.place, info.branch

    # ------------------------------------------------------------------------------------- what is asked

    def measure(
        self, kind: Kind, selection: Selection, metric: str, labels: Labels, window: Window, at: int
    ) -> Measured:
        """See `Board.measure`."""
        if kind is Kind.BENCHMARK:
            return BENCHMARK_FORMULAS[metric](self._benchmarks[selection], labels, window, at)
        table = self._tables[kind][selection]
        if kind is Kind.TEST:
            return TEST_FORMULAS[metric](self._executions(table, selection, labels), window, at)
        ledger = table.ledgers.get(labels, table.nothing)
        if kind is Kind.SCHEDULE:
            return SCHEDULE_FORMULAS[metric](Schedules(ledger, self._schedules, self.runs), window, at)
        formulas = COVERAGE_FORMULAS if kind is Kind.COVERAGE else DEPLOYMENT_FORMULAS
        return formulas[metric](ledger, window, at)

    def changed(self, kind: Kind, selection: Selection, mark: int) -> list[Labels] | None:
        """See `Board.changed`; of benchmarks nobody keeps anything (see `steady_until`)."""
        if kind is Kind.BENCHMARK:
            return []
        table = self._tables[kind].get(selection)
        return None if table is None else table.changes.since(mark)

    def steady_until(self, kind: Kind, selection: Selection, labels: Labels, window: Window, at: int) -> int:
        """See `Board.steady_until`. It cannot be said of what rests on more than a ledger: on what other facts say of
        a benchmark's machine, of tests' names, or of the runs that a schedule started.
        """
        if kind is Kind.BENCHMARK:
            return at
        table = self._tables[kind][selection]
        ledger = table.ledgers.get(labels, table.nothing)
        if table.picks_tests or (kind is Kind.SCHEDULE and ledger.entries):
            return at
        return NEVER if ledger is table.nothing else ledger.steady_until(window, at)

    def evidence(
        self, kind: Kind, selection: Selection, metric: str, labels: Labels, window: Window, at: int, limit: int
    ) -> EvidenceRefs:
        """See `Board.evidence`."""
        if kind is Kind.BENCHMARK:
            return find_evidence(self._benchmarks[selection], labels, window, at, limit)
        table = self._tables[kind][selection]
        if kind is Kind.TEST:
            return TEST_EVIDENCE[metric](self._executions(table, selection, labels), window, at, limit)
        if kind is Kind.SCHEDULE:
            return EvidenceRefs(kind, (), 0, 0, None, None)  # what did not start has left nothing to point at
        finders = COVERAGE_EVIDENCE if kind is Kind.COVERAGE else DEPLOYMENT_EVIDENCE
        return finders[metric](table.ledgers.get(labels, table.nothing), window, at, limit)

    def label_sets(self, selection: Selection, window: Window, at: int, kind: Kind) -> list[Labels]:
        """The label sets with a fact in the window; a schedule is one for as long as it is active."""
        if kind is Kind.BENCHMARK:
            return self._benchmarks[selection].label_sets(at - int(window.look_back.total_seconds() * 1000), at)
        table = self._tables[kind][selection]
        found: list[Labels] = []
        for labels, ledger in table.ledgers.items():
            low, high = (0, ledger.until(at)) if kind is Kind.SCHEDULE else ledger.span(window, at)
            if low < high:
                found += self._with_tests(table, labels, ledger, (low, high)) if table.picks_tests else [labels]
        return found

    def every_label_set(self, selection: Selection, kind: Kind) -> list[Labels]:
        """See `Board.every_label_set`."""
        if kind is Kind.BENCHMARK:
            return self._benchmarks[selection].every_label_set()
        table = self._tables[kind][selection]
        found: list[Labels] = []
        for labels, ledger in table.ledgers.items():
            whole = (0, len(ledger.entries))
            found += self._with_tests(table, labels, ledger, whole) if table.picks_tests else [labels]
        return found

    def moments(self, selection: Selection, kind: Kind, labels: Labels) -> list[int]:
        """See `Board.moments`."""
        if kind is Kind.BENCHMARK:
            return self._benchmarks[selection].moments(labels)
        table = self._tables[kind][selection]
        ledger = table.ledgers.get(labels.only(table.by - table.test_labels), table.nothing)
        if kind is Kind.SCHEDULE:
            return Schedules(ledger, self._schedules, self.runs).moments()
        return [entry.finished for entry in ledger.entries]

    # ------------------------------------------------------------------------------------ tests by name

    def _executions(self, table: _Table, selection: Selection, labels: Labels) -> Executions:
        if not table.picks_tests:
            return Executions(table.ledgers.get(labels, table.nothing))
        base = labels.only(table.by - table.test_labels)
        asked = tuple(labels.get(name, "") for name in sorted(table.test_labels))
        chosen = self._choices(table, selection).get(asked, {})
        return Executions(table.ledgers.get(base, table.nothing), chosen)

    def _choices(self, table: _Table, selection: Selection) -> Mapping[tuple[str, ...], Chosen]:
        """The sets of tests that the selection tells apart, by their suite, their test or both."""
        held = self._picked.get(selection)
        if held is None or held[0] != self._named:
            held = self._picked[selection] = (self._named, _choose(self._tests, table))
        return held[1]

    def _with_tests(self, table: _Table, labels: Labels, ledger: Ledger, span: tuple[int, int]) -> list[Labels]:
        """The label sets of the tests that ran in a stretch."""
        return ledger.remember(("names", self._named), span, lambda: self._find_tests(table, labels, ledger, span))

    def _find_tests(self, table: _Table, labels: Labels, ledger: Ledger, span: tuple[int, int]) -> list[Labels]:
        ran: defaultdict[Place, int] = defaultdict(int)
        for report in ledger.within(span):
            ran[ledger.info(report).place] |= report.ran
        found: dict[Labels, None] = {}
        for place, tests in ran.items():
            for number, name in self._tests[place].items():
                if tests >> number & 1 and matches_all(table.test_matchers, name._asdict()):
                    found[labels.merged({label: getattr(name, label) for label in table.test_labels})] = None
        return list(found)


def _choose(tests: Mapping[Place, Mapping[int, NameOfTest]], table: _Table) -> Mapping[tuple[str, ...], Chosen]:
    found: defaultdict[tuple[str, ...], defaultdict[Place, int]] = defaultdict(lambda: defaultdict(int))
    for place, names in tests.items():
        for number, name in names.items():
            if matches_all(table.test_matchers, name._asdict()):
                found[tuple(getattr(name, label) for label in sorted(table.test_labels))][place] |= 1 << number
    return found
