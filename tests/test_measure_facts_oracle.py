"""Every metric of reports, deployments and schedules over random histories, against brute force. Equal means `==`."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from k2alert.labels import Labels, parse_matcher
from k2alert.measure.board import Board
from k2alert.measure.catalogue import METRICS
from k2alert.model import (
    RESULTS,
    CoverageEntry,
    DeploymentEntry,
    Entry,
    FactChange,
    FactEntry,
    Kind,
    NamedTest,
    Saved,
    ScheduleEntry,
    Selection,
    Stream,
    Window,
)
from tests.support.fact_oracle import MINUTE, FactOracle, Ran, RawReport

QUICK = settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
WINDOWS = [Window(length=timedelta(milliseconds=ms)) for ms in (1, 8, 14, 500)]
TIMES = st.integers(0, 20)
ASKED = st.integers(0, 30)
NAMES = {
    "a/b": [("unit", "one"), ("unit", "two"), ("e2e", "one"), *(("bulk", f"t{n}") for n in range(15))],
    "c": [("unit", "two"), ("e2e", "one"), ("e2e", "three"), *(("bulk", f"t{n}") for n in range(15))],
}


def project_labels(labels: Mapping[str, str]) -> Labels:
    return Labels({"team": "blue" if labels["project"] == "a/b" else "red"})


def stream(number: int, kind: Kind, project: str, branch: str = "main", **more: str) -> Stream:
    ref_type = "default" if branch == "main" else "branch"
    labels = {"source": "s", "project": project, "branch": branch, "ref_type": ref_type, **more}
    return Stream(number, kind, Labels(labels))


def loaded(streams: list[Stream], kind: Kind, entries: list[FactEntry], late: int, selections: Any) -> Board:
    """A board that loaded some entries, was told of the others one by one, and of some it had to forget again."""
    board = Board(project_labels)
    for selection in selections:
        board.require(selection, frozenset({kind}))
    board.add_streams(streams)
    board.load(Kind.RUN, ())
    board.name_tests(NamedTest("s", p, n, *name) for p, names in NAMES.items() for n, name in enumerate(names))
    board.load_facts(kind, entries[:late])
    for entry in entries[late:]:
        board.apply(Saved(facts=[FactChange(kind, None, entry)]))
    if entries:
        gone = entries[-1]._replace(finished=0, ref=999)
        board.apply(Saved(facts=[FactChange(kind, None, gone)]))
        board.apply(Saved(facts=[FactChange(kind, gone, gone._replace(finished=1))]))
        board.apply(Saved(facts=[FactChange(kind, gone._replace(finished=1), None)]))
    return board


def as_labels(streams: list[Stream]) -> dict[int, Mapping[str, str]]:
    return {one.id: one.labels for one in streams}


# ----------------------------------------------------------------------------------------------- tests

TEST_STREAMS = [
    stream(0, Kind.TEST, "a/b", job="test"),
    stream(1, Kind.TEST, "a/b", "topic", job="test"),
    stream(2, Kind.TEST, "a/b", job="test", workflow="nightly"),
    stream(3, Kind.TEST, "a/b", job="e2e"),
    stream(4, Kind.TEST, "c", job="test"),
]
TEST_SELECTIONS = [
    Selection((), ("project",)),
    Selection((), ()),
    Selection((parse_matcher('branch="main"'),), ("team", "job")),
    Selection((), ("project", "suite")),
    Selection((), ("test",)),
    Selection((parse_matcher('suite=~"unit|bulk"'), parse_matcher('test!="two"')), ("project",)),
    Selection((parse_matcher('result="success"'),), ("project",)),
]


@st.composite
def raw_reports(draw: st.DrawFn, ref: int) -> RawReport:
    number, finished = draw(st.sampled_from([0, 0, 0, 1, 2, 2, 3, 4])), draw(TIMES)
    sha = draw(st.sampled_from([b"one", b"one", b"one", b"two", b""]))
    kind = draw(st.sampled_from(["totals", "few", "few", "many", "many"]))
    if kind == "totals":
        total = draw(st.integers(0, 20))
        return RawReport(number, ref, finished, sha, None, total, draw(st.integers(0, total)))
    if kind == "few":
        ran = draw(st.lists(st.builds(Ran, st.integers(0, 2), st.booleans()), min_size=1, max_size=4))
    else:  # a whole suite, of which most or nearly nothing fails
        fails = draw(st.sampled_from([0, 0, 1, 5, 9, 10, 11, 15]))
        ran = [Ran(test, test >= 3 + fails) for test in range(3, 18)]
    return RawReport(number, ref, finished, sha, tuple(ran))


@QUICK
@given(data=st.data(), selection=st.sampled_from(TEST_SELECTIONS), window=st.sampled_from(WINDOWS), at=ASKED)
def test_tests_are_measured_as_brute_force_does(
    data: st.DataObject, selection: Selection, window: Window, at: int
) -> None:
    oracle = FactOracle(as_labels(TEST_STREAMS), NAMES, project_labels)
    oracle.reports = [data.draw(raw_reports(ref)) for ref in range(data.draw(st.sampled_from([0, 2, 6, 9, 12])))]
    entries: list[FactEntry] = [report.entry() for report in oracle.reports]
    board = loaded(TEST_STREAMS, Kind.TEST, entries, data.draw(st.integers(0, 8)), TEST_SELECTIONS)
    found = board.label_sets(selection, window, at, Kind.TEST)
    assert len(found) == len(set(found))
    assert set(found) == oracle.test_label_sets(selection, window, at)
    for labels in [*found, Labels({"source": "s", "project": "a/b"}), Labels({"source": "nowhere"})]:
        for metric in of_kind(Kind.TEST):
            asked = (selection, metric, labels, window, at)
            assert board.measure(*asked) == oracle.tests(*asked), asked


def of_kind(kind: Kind) -> list[str]:
    return [metric.name for metric in METRICS.values() if metric.kind is kind]


@QUICK
@given(data=st.data(), window=st.sampled_from(WINDOWS), at=ASKED)
def test_the_tests_behind_a_value_are_those_that_it_counts(data: st.DataObject, window: Window, at: int) -> None:
    reports = [data.draw(raw_reports(ref)) for ref in range(data.draw(st.integers(1, 8)))]
    board = loaded(TEST_STREAMS, Kind.TEST, [report.entry() for report in reports], 3, TEST_SELECTIONS)
    by_ref = {report.ref: report for report in reports}
    for metric in of_kind(Kind.TEST):
        asked = (TEST_SELECTIONS[1], metric, Labels({"source": "s"}), window, at)
        found = board.evidence(*asked, 1000)
        value, samples = board.measure(*asked)
        assert all(False in by_ref[ref].outcomes(test) for ref, test in found.tests)
        assert [by_ref[ref].finished for ref in found.refs] == sorted(
            (by_ref[ref].finished for ref in found.refs), reverse=True
        )
        assert found.samples == samples
        if "flaky" in metric and value is not None:
            assert len(found.tests) == len(set(found.tests)) == found.faults
        assert board.evidence(*asked, 2).tests == found.tests[:2]


# -------------------------------------------------------------------------------------------- coverage

COVERAGE_STREAMS = [
    stream(0, Kind.COVERAGE, "a/b", job="unit"),
    stream(1, Kind.COVERAGE, "a/b", job="e2e"),
    stream(2, Kind.COVERAGE, "a/b", "topic", job="unit"),
    stream(3, Kind.COVERAGE, "c", job="unit"),
]
COVERAGE_SELECTIONS = [
    Selection((), ("project",)),
    Selection((), ()),
    Selection((), ("project", "branch")),
    Selection((parse_matcher('branch="topic"'),), ("project",)),
    Selection((parse_matcher('branch=~"topic|main"'),), ("team", "job")),
]


@st.composite
def coverage_entries(draw: st.DrawFn, ref: int) -> CoverageEntry:
    forge = draw(st.sampled_from([False, False, False, True]))
    files = 0 if forge else draw(st.sampled_from([0, 0b1, 0b11, 0b111, 0b111, 0b1111, 0b110000, 0xFF]))
    percent = draw(st.sampled_from([0.0, 60.5, 75.0, 81.25, 100.0]))
    return CoverageEntry(
        draw(st.sampled_from([0, 0, 0, 1, 2, 3])), ref, draw(TIMES), draw(st.integers(1, 5)), forge, percent, files
    )


@QUICK
@given(data=st.data(), selection=st.sampled_from(COVERAGE_SELECTIONS), window=st.sampled_from(WINDOWS), at=ASKED)
def test_coverage_is_measured_as_brute_force_does(
    data: st.DataObject, selection: Selection, window: Window, at: int
) -> None:
    oracle = FactOracle(as_labels(COVERAGE_STREAMS), NAMES, project_labels)
    oracle.coverage = [data.draw(coverage_entries(ref)) for ref in range(data.draw(st.sampled_from([0, 2, 3, 5, 10])))]
    board = loaded(COVERAGE_STREAMS, Kind.COVERAGE, [*oracle.coverage], 4, COVERAGE_SELECTIONS)
    sets = board.label_sets(selection, window, at, Kind.COVERAGE)
    for labels in [*sets, Labels({"source": "s", "project": "a/b"})]:
        for metric in of_kind(Kind.COVERAGE):
            asked = (selection, metric, labels, window, at)
            assert board.measure(*asked) == oracle.cover(*asked), asked


# ----------------------------------------------------------------------------------------- deployments

DEPLOYMENT_STREAMS = [
    stream(0, Kind.DEPLOYMENT, "a/b", environment="production", environment_tier="production"),
    stream(1, Kind.DEPLOYMENT, "a/b", environment="staging", environment_tier="staging"),
    stream(2, Kind.DEPLOYMENT, "a/b", "topic", environment="production", environment_tier="production"),
    stream(3, Kind.DEPLOYMENT, "c", environment="production", environment_tier="production"),
]
DEPLOYMENT_SELECTIONS = [
    Selection((), ("project",)),
    Selection((), ()),
    Selection((), ("project", "environment")),
    Selection((parse_matcher('environment_tier="production"'),), ("team",)),
]


@st.composite
def deployment_entries(draw: st.DrawFn, ref: int) -> DeploymentEntry:
    finished = draw(TIMES)
    created, since = finished - draw(st.integers(-2, 9)), finished - draw(st.integers(-2, 15))
    result = draw(st.integers(0, len(RESULTS) - 1) | st.integers(0, 1))
    return DeploymentEntry(draw(st.integers(0, 3)), ref, finished, created, result, since)


@QUICK
@given(data=st.data(), selection=st.sampled_from(DEPLOYMENT_SELECTIONS), window=st.sampled_from(WINDOWS), at=ASKED)
def test_deployments_are_measured_as_brute_force_does(
    data: st.DataObject, selection: Selection, window: Window, at: int
) -> None:
    oracle = FactOracle(as_labels(DEPLOYMENT_STREAMS), NAMES, project_labels)
    oracle.deployments = [data.draw(deployment_entries(ref)) for ref in range(data.draw(st.integers(0, 12)))]
    board = loaded(DEPLOYMENT_STREAMS, Kind.DEPLOYMENT, [*oracle.deployments], 5, DEPLOYMENT_SELECTIONS)
    by_ref = {entry.ref: entry for entry in oracle.deployments}
    for labels in [*board.label_sets(selection, window, at, Kind.DEPLOYMENT), Labels({"source": "s", "project": "c"})]:
        for metric in of_kind(Kind.DEPLOYMENT):
            asked = (selection, metric, labels, window, at)
            assert board.measure(*asked) == oracle.deploy(*asked), asked
            evidence = board.evidence(*asked, 3)
            assert evidence.faults >= len(evidence.refs) <= 3
            if "failed" in metric or "failure" in metric:
                assert evidence.faults == round((board.measure(*asked).value or 0) * faults_scale(metric, evidence))
                assert all(by_ref[ref].result != 0 for ref in evidence.refs)


def faults_scale(metric: str, evidence: Any) -> int:
    return evidence.samples if metric == "change_failure_rate" else 1


# ------------------------------------------------------------------------------------------- schedules

SCHEDULE_STREAMS = [
    stream(0, Kind.SCHEDULE, "a/b", schedule="one", event="schedule"),
    stream(1, Kind.SCHEDULE, "a/b", schedule="two", event="schedule"),
    stream(2, Kind.SCHEDULE, "a/b", schedule="three", workflow="nightly", event="schedule"),
    stream(3, Kind.SCHEDULE, "c", "topic", schedule="one", event="schedule"),
]
RUN_STREAMS = [
    stream(10, Kind.RUN, "a/b", event="schedule"),
    stream(11, Kind.RUN, "a/b", event="schedule", workflow="nightly"),
    stream(12, Kind.RUN, "c", "topic", event="schedule"),
    stream(13, Kind.RUN, "a/b", event="push"),
]
SCHEDULE_SELECTIONS = [Selection((), ("project",)), Selection((), ("project", "schedule")), Selection((), ())]
CRONS = ["*/20 * * * *", "7 * * * *", "30 */2 * * *", "0 * * * *", "15 3 * * *"]
MOMENTS = st.integers(0, 8 * 60 * 2).map(lambda half_minutes: half_minutes * MINUTE // 2)


@st.composite
def schedule_entries(draw: st.DrawFn, ref: int) -> ScheduleEntry:
    number = draw(st.integers(0, 3))
    last = draw(st.none() | st.none() | MOMENTS)
    delay = draw(st.sampled_from([0, 5, 30])) * MINUTE
    any_workflow = number != 2 and draw(st.booleans())
    return ScheduleEntry(number, ref, draw(MOMENTS), draw(st.sampled_from(CRONS)), "UTC", any_workflow, delay, last)


@QUICK
@given(data=st.data(), selection=st.sampled_from(SCHEDULE_SELECTIONS), at=MOMENTS)
def test_schedules_are_overdue_as_brute_force_has_it(data: st.DataObject, selection: Selection, at: int) -> None:
    oracle = FactOracle(as_labels([*SCHEDULE_STREAMS, *RUN_STREAMS]), NAMES, project_labels)
    oracle.schedules = [data.draw(schedule_entries(ref)) for ref in range(data.draw(st.integers(0, 4)))]
    runs = data.draw(st.lists(st.tuples(st.integers(10, 13), MOMENTS), max_size=6))
    oracle.scheduled_runs = [(number, created) for number, created in runs if number != 13]
    board = Board(project_labels)
    for one in SCHEDULE_SELECTIONS:
        board.require(one, frozenset({Kind.SCHEDULE}))
    board.add_streams([*SCHEDULE_STREAMS, *RUN_STREAMS])
    board.load(Kind.RUN, [run_entry(number, ref, created) for ref, (number, created) in enumerate(runs)])
    board.load_facts(Kind.SCHEDULE, oracle.schedules)
    for labels in board.label_sets(selection, WINDOWS[0], at, Kind.SCHEDULE):
        asked = (selection, "schedule_overdue_minutes", labels, WINDOWS[0], at)
        assert board.measure(*asked) == oracle.overdue(selection, labels, at), asked


def run_entry(number: int, ref: int, created: int) -> Entry:
    return Entry(number, ref, created, created + 5 * MINUTE, None, 0, None, None, False, False)


@pytest.mark.parametrize("kind", [kind for kind in Kind if not kind.of_runs])
def test_facts_that_were_not_loaded_cannot_be_measured(kind: Kind) -> None:
    board = Board(project_labels)
    board.require(TEST_SELECTIONS[0], frozenset({kind}))
    for metric in of_kind(kind):
        with pytest.raises(LookupError):
            board.measure(TEST_SELECTIONS[0], metric, Labels(), WINDOWS[0], 0)
