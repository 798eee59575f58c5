"""Benchmarks: measurements in, those whose level has moved for the worse out.

Beside what report files say, two things are measured as benchmarks: how long the successful runs of a workflow on the
default branch take (`pipeline:WORKFLOW`), and how long the tests of a job there take (`suite:JOB`).

Measurements are compared within one branch, job and processor. Where a whole report gets worse at once, at least
`_MANY` benchmarks of which `_SHARE` step together, it was the machine that changed, and none of them counts.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NamedTuple

from k2alert.labels import Labels, matches_all
from k2alert.measure.courses import Course, Worsening
from k2alert.measure.pages import Times
from k2alert.model import (
    RESULTS,
    BenchmarkEntry,
    Entry,
    EvidenceRefs,
    Kind,
    Measured,
    RefType,
    ReportEntry,
    Result,
    Selection,
    Window,
)

__all__ = [
    "BENCHMARK_FORMULAS",
    "Benchmarks",
    "Point",
    "find_evidence",
    "model_of_runs",
    "point_of",
    "time_of_run",
    "time_of_tests",
]

_MANY = 5
_SHARE = 0.8
_AT_A_TIME = 500  # points whose steps are worked out in one go: some milliseconds
_TOGETHER = 10  # points of a benchmark within which steps are one event
_SUCCESS = RESULTS.index(Result.SUCCESS)
_NO_DATA = Measured(None, 0)
_LABEL = "benchmark"


_Lane = tuple[str, ...]


class Point(NamedTuple):
    """A measurement on its way to its course. `kind` says what `ref` numbers: reports of either kind, or runs."""

    kind: Kind
    stream: int
    benchmark: str
    cpu: str
    lower_is_better: bool
    finished: int
    ref: int
    value: float


def point_of(entry: BenchmarkEntry) -> Point:
    """A measurement of a report file."""
    return Point(
        Kind.BENCHMARK,
        entry.stream,
        entry.benchmark,
        entry.cpu,
        entry.lower_is_better,
        entry.finished,
        entry.ref,
        entry.value,
    )


def model_of_runs(stream: int, labels: Mapping[str, str]) -> Point | None:
    """What the lengths of a stream's runs have in common, where they are to be compared: on the default branch."""
    if labels.get("ref_type") != RefType.DEFAULT.value:
        return None
    return Point(Kind.RUN, stream, f"pipeline:{labels.get('workflow', '')}", "", True, 0, 0, 0)


def time_of_run(entry: Entry, labels: Mapping[str, str]) -> Point | None:
    """How long a run took, where it is one to compare with others: a success on the default branch."""
    if entry.result != _SUCCESS or entry.duration is None or entry.duration <= 0:
        return None
    model = model_of_runs(entry.stream, labels)
    return model and model._replace(finished=entry.finished, ref=entry.ref, value=entry.duration)


def time_of_tests(entry: ReportEntry, labels: Mapping[str, str]) -> Point | None:
    """How long the tests of a job took, where none failed: those that fail stop early, or run into a timeout."""
    if entry.failed or not entry.duration or labels.get("ref_type") != RefType.DEFAULT.value:
        return None
    name = f"suite:{labels.get('job', '')}"
    return Point(Kind.TEST, entry.stream, name, "", True, entry.finished, entry.ref, entry.duration)


class _Group(NamedTuple):
    """What a stream's courses have in common: their labels without `benchmark`, and the job and branch they are of."""

    labels: Labels
    lane: _Lane


class _Key(NamedTuple):
    """What tells a course from every other of its selection."""

    group: _Group
    benchmark: str
    cpu: str
    kind: Kind


@dataclass(slots=True)
class Benchmarks:
    """The courses of one selection. `labels` are those of all streams, by number.

    `later`: no rule asks, so what takes long may wait, and there is no data until it is worked out.
    """

    selection: Selection
    labels: Mapping[int, Labels]
    later: bool = False
    _courses: dict[_Key, Course] = field(default_factory=dict)
    _groups: dict[int, _Group | None] = field(default_factory=dict)
    _by_labels: defaultdict[Labels, dict[_Key, Course]] = field(default_factory=lambda: defaultdict(dict))
    _by_lane: defaultdict[_Lane, list[Course]] = field(default_factory=lambda: defaultdict(list))
    _unread: set[Course] = field(default_factory=set)
    _newest: dict[_Lane, int] = field(default_factory=dict)  # when its last measurement finished
    _machine: defaultdict[_Lane, dict[Worsening, bool]] = field(default_factory=lambda: defaultdict(dict))

    def load(self, points: Iterable[Point]) -> None:
        """Many measurements; in their order is fastest. Their steps wait for `settle`, or for who asks."""
        self._unread.update(course for point in points if (course := self.insert(point)) is not None)

    def load_times(self, model: Point, times: Times) -> None:
        """The same for runs of one course, which differ from the model in when, which and how long."""
        if self.selection.without:
            counting = bytes(map(self.selection.counts, times.finished))
            times = times.only(counting)
        course = self._course(model._replace(finished=times.finished[0])) if len(times.finished) else None
        if course is not None:
            course.extend(times.finished, times.refs, times.lengths)
            self._unread.add(course)

    def settle(self) -> Iterator[None]:
        """Works out the steps of what was loaded, a little at a time: months of it would hold the first round up."""
        while self._unread:
            course = next(iter(self._unread))
            while course.read_on(_AT_A_TIME):
                yield
            self._unread.discard(course)
            yield

    def insert(self, point: Point) -> Course | None:
        """One more measurement, if it counts; then its course."""
        course = self._course(point)
        if course is not None:
            course.insert(point.finished, point.ref, point.value)
            self._judge_anew(point)
        return course

    def remove(self, point: Point) -> None:
        """One measurement less."""
        course = self._course(point)
        if course is not None:
            course.remove(point.finished, point.ref)
            self._judge_anew(point)

    def drop_empty(self) -> None:
        """Lets go of what has no measurement any more."""
        left = {key: course for key, course in self._courses.items() if len(course)}
        for held in (self._courses, self._groups, self._by_labels, self._by_lane, self._machine):
            held.clear()
        for key, course in left.items():
            self._put(key, course)

    def _course(self, point: Point) -> Course | None:
        if point.stream not in self._groups:
            self._groups[point.stream] = self._find_group(point.stream)
        group = self._groups[point.stream]
        if group is None or not self.selection.counts(point.finished) or not self._is_picked(point.benchmark):
            return None
        key = _Key(group, point.benchmark, point.cpu, point.kind)
        if key not in self._courses:
            self._put(key, Course(point.kind, point.lower_is_better))
        return self._courses[key]

    def _judge_anew(self, point: Point) -> None:
        """What was said of the machine may not hold any more."""
        group = self._groups[point.stream]
        if group is not None and point.kind is Kind.BENCHMARK:
            self._newest[group.lane] = max(point.finished, self._newest.get(group.lane, 0))
            self._machine.pop(group.lane, None)

    def _put(self, key: _Key, course: Course) -> None:
        self._courses[key] = course
        named = _LABEL in self.selection.by
        labels = key.group.labels.merged({_LABEL: key.benchmark}) if named else key.group.labels
        self._by_labels[labels][key] = course
        if key.kind is Kind.BENCHMARK:
            self._by_lane[key.group.lane].append(course)

    def _find_group(self, stream: int) -> _Group | None:
        labels = self.labels[stream]
        matchers = [matcher for matcher in self.selection.match if matcher.name != _LABEL]
        if not matches_all(matchers, labels):
            return None
        lane = tuple(labels.get(name, "") for name in ("source", "project", "workflow", "branch", "job"))
        return _Group(labels.only({"source", *self.selection.by} - {_LABEL}), lane)

    def _is_picked(self, benchmark: str) -> bool:
        return all(m.matches_value(benchmark) for m in self.selection.match if m.name == _LABEL)

    # ------------------------------------------------------------------------------------- what is asked

    def label_sets(self, since: int, at: int) -> list[Labels]:
        """The label sets with a measurement in (since, at]."""
        sets = self._by_labels.items()
        return [labels for labels, courses in sets if any(course.span(since, at) for course in courses.values())]

    def every_label_set(self) -> list[Labels]:
        """The label sets with a measurement at any time."""
        return [labels for labels, courses in self._by_labels.items() if any(map(len, courses.values()))]

    def moments(self, labels: Labels) -> list[int]:
        """When the measurements of a label set finished."""
        return [time for course in self._of(labels).values() for time in course.times]

    def worsened(self, labels: Labels, since: int, at: int) -> dict[str, tuple[Kind, Worsening]]:
        """The benchmarks that got worse in (since, at], each with its worst step, the worst benchmark first."""
        found: dict[str, tuple[Kind, Worsening]] = {}
        for name, kind, step in self._steps(labels, since, at):
            if name not in found or found[name][1].percent < step.percent:
                found[name] = kind, step
        return dict(sorted(found.items(), key=lambda item: (-item[1][1].percent, item[0])))

    def measured(self, labels: Labels, since: int, at: int) -> int:
        """How many benchmarks have a measurement in (since, at]; none while that of one is put off."""
        if self.later and not self._unread.isdisjoint(self._of(labels).values()):
            return 0
        return len({key.benchmark for key, course in self._of(labels).items() if course.span(since, at)})

    def _of(self, labels: Labels) -> Mapping[_Key, Course]:
        return self._by_labels.get(labels, {})

    def _steps(self, labels: Labels, since: int, at: int) -> Iterator[tuple[str, Kind, Worsening]]:
        """Each step of a benchmark of the label set that is its own, and not that of the machine."""
        for key, course in self._of(labels).items():
            for step in course.worsenings(since, at):
                if key.kind is not Kind.BENCHMARK or not self._is_the_machine(key.group.lane, step, at):
                    yield key.benchmark, key.kind, step

    def _is_the_machine(self, lane: _Lane, step: Worsening, at: int) -> bool:
        """Whether nearly all benchmarks of the job got worse together with this one; the same until one is measured."""
        if at < self._newest[lane]:
            return self._are_worse_together(lane, step, at)
        known = self._machine[lane]
        if step not in known:
            known[step] = self._are_worse_together(lane, step, at)
        return known[step]

    def _are_worse_together(self, lane: _Lane, step: Worsening, at: int) -> bool:
        courses = [course for course in self._by_lane[lane] if course.span(step.began - 1, at)]
        if len(courses) < _MANY:
            return False
        return sum(_steps_with(course, step, at) for course in courses) >= _SHARE * len(courses)


def _steps_with(course: Course, step: Worsening, at: int) -> bool:
    """Whether a course gets worse about when another one does: within so many of its own points."""
    return any(
        course.span(min(step.began, other.began), max(step.began, other.began)) <= _TOGETHER
        for other in course.worsenings(0, at)
    )


def _since(window: Window, at: int) -> int:
    return at - int(window.look_back.total_seconds() * 1000)


def _count(benchmarks: Benchmarks, labels: Labels, window: Window, at: int) -> Measured:
    since = _since(window, at)
    measured = benchmarks.measured(labels, since, at)
    return Measured(len(benchmarks.worsened(labels, since, at)), measured) if measured else _NO_DATA


def _largest(benchmarks: Benchmarks, labels: Labels, window: Window, at: int) -> Measured:
    since = _since(window, at)
    measured = benchmarks.measured(labels, since, at)
    if not measured:
        return _NO_DATA
    worst = [step.percent for _, step in benchmarks.worsened(labels, since, at).values()]
    return Measured(max(worst, default=0.0), measured)


BENCHMARK_FORMULAS: Mapping[str, Callable[[Benchmarks, Labels, Window, int], Measured]] = MappingProxyType(
    {"benchmark_regressions": _count, "max_benchmark_regression_percent": _largest}
)


def find_evidence(benchmarks: Benchmarks, labels: Labels, window: Window, at: int, limit: int) -> EvidenceRefs:
    """The rows that new levels began with, the worst first, of the kind of the worst; and the last row before it."""
    since = _since(window, at)
    measured = benchmarks.measured(labels, since, at)
    steps = list(benchmarks.worsened(labels, since, at).values()) if measured else []
    if not steps:
        return EvidenceRefs(Kind.BENCHMARK, (), 0, measured, None, None)
    kind, worst = steps[0]
    refs = tuple(dict.fromkeys(step.ref for of, step in steps if of is kind))
    before = worst.before if kind is Kind.RUN else None
    return EvidenceRefs(kind, refs[:limit], len(steps), measured, refs[0] if before is not None else None, before)
