"""Every metric over random histories, against a brute force that shares no code with it. Equal means `==`."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from k2alert.labels import Labels, parse_matcher
from k2alert.measure.board import Board
from k2alert.measure.catalogue import METRICS
from k2alert.model import (
    RESULTS,
    Entry,
    EntryChange,
    Kind,
    Metric,
    OpenChange,
    OpenEntry,
    RunState,
    Saved,
    Selection,
    Stream,
    Window,
)
from tests.support.oracle import Oracle

COLLECTED = [metric for metric in METRICS.values() if metric.kind is not None and metric.kind.of_runs]
KINDS = [Kind.RUN, Kind.JOB]
WINDOWS = [Window(length=timedelta(milliseconds=ms)) for ms in (0, 4, 12, 500)] + [Window(runs=n) for n in (1, 2, 5)]
TIMES = st.integers(0, 20)  # few instants, so that equal ones and exact edges are common
ASKED = st.integers(0, 30)


def project_labels(labels: Mapping[str, str]) -> Labels:
    return Labels({"team": "blue" if labels["project"] == "a/b" else "red"})


def run_stream(number: int, project: str, branch: str, workflow: str = "") -> Stream:
    labels = {"source": "s", "project": project, "branch": branch, "workflow": workflow, "ref_type": "branch"}
    return Stream(number, Kind.RUN, Labels(labels))


def job_stream(number: int, project: str, branch: str, job: str, runner: str) -> Stream:
    labels = {"source": "s", "project": project, "branch": branch, "job": job, "runner": runner}
    return Stream(number, Kind.JOB, Labels(labels))


STREAMS = [
    run_stream(0, "a/b", "main"),
    run_stream(1, "a/b", "main", "nightly"),
    run_stream(2, "a/b", "topic"),
    run_stream(3, "c", "main"),
    job_stream(4, "a/b", "main", "test", "big"),
    job_stream(5, "a/b", "main", "test", ""),
    job_stream(6, "a/b", "topic", "build", "big"),
    job_stream(7, "c", "main", "test", "big"),
]
SELECTIONS = [
    Selection((), ("project",)),
    Selection((), ()),
    Selection((), ("team", "branch")),
    Selection((parse_matcher('branch="main"'),), ("source", "project", "runner")),
    Selection((parse_matcher('result="failure"'),), ("project",)),
    Selection((parse_matcher('result!~"cancellation|skip"'), parse_matcher('team="blue"')), ("job",)),
    Selection((), ("result",)),
]
BOTH = frozenset(KINDS)


@st.composite
def entries(draw: st.DrawFn, kind: Kind, ref: int) -> Entry:
    """One recorded row. Its creation may lie after its finish, as forges' clocks have it."""
    finished = draw(TIMES)
    superseded = draw(st.none() | st.none() | st.integers(finished, finished + 15))
    stream = draw(st.integers(0, 3) if kind is Kind.RUN else st.integers(4, 7))
    length = st.none() | st.integers(-1, 5) | st.integers(0, 10**7)
    allowed = kind is Kind.JOB and draw(st.booleans())
    result = draw(st.integers(0, len(RESULTS) - 1))
    created = max(0, finished - draw(st.integers(-3, 9)))
    return Entry(
        stream, ref, created, finished, superseded, result, draw(length), draw(length), allowed, draw(st.booleans())
    )


@st.composite
def histories(draw: st.DrawFn, kind: Kind) -> list[Entry]:
    count = draw(st.integers(0, 5) | st.integers(15, 40))
    refs = draw(st.permutations(range(1, count + 1)))
    return [draw(entries(kind, ref)) for ref in refs]


@st.composite
def open_entries(draw: st.DrawFn, kind: Kind) -> OpenEntry:
    stream = draw(st.integers(0, 3) if kind is Kind.RUN else st.integers(4, 7))
    state = draw(st.sampled_from([RunState.PENDING, RunState.RUNNING, RunState.BLOCKED]))
    return OpenEntry(stream, str(draw(st.integers(1, 6))), state, draw(TIMES), None)


def new_board() -> Board:
    board = Board(project_labels)
    for selection in SELECTIONS:
        board.require(selection, BOTH)
    board.add_streams(STREAMS)
    return board


def in_finished_order(history: list[Entry]) -> list[Entry]:
    return sorted(history, key=lambda entry: entry.finished)


def assert_agree(board: Board, oracle: Oracle, selection: Selection, metric: Metric, window: Window, at: int) -> None:
    """Board and oracle give the same label sets, values, samples and evidence."""
    kind = metric.kind
    assert kind is not None
    found = board.label_sets(selection, window, at, kind)
    assert len(found) == len(set(found))
    assert set(found) == oracle.label_sets(selection, window, at, kind)
    for labels in [*found, Labels({"source": "s", "project": "a/b"}), Labels({"source": "nowhere"})]:
        asked: Any = (selection, metric.name, labels, window, at)
        assert board.measure(*asked) == oracle.measure(kind, *asked), asked
        assert board.evidence(*asked, 3) == oracle.evidence(kind, *asked, 3), asked


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    data=st.data(),
    selection=st.sampled_from(SELECTIONS),
    window=st.sampled_from(WINDOWS),
    times=st.lists(ASKED, min_size=1, max_size=2),
)
def test_a_loaded_history_measures_as_brute_force_does(
    kind: Kind, data: st.DataObject, selection: Selection, window: Window, times: list[int]
) -> None:
    board, oracle = new_board(), Oracle(STREAMS, project_labels)
    oracle.entries[kind] = data.draw(histories(kind))
    oracle.opens[kind] = data.draw(st.lists(open_entries(kind), max_size=5, unique_by=lambda entry: entry.key))
    board.apply(Saved(opens=[OpenChange(kind, entry.key, entry) for entry in oracle.opens[kind]]))
    board.load(Kind.RUN, in_finished_order(oracle.entries[Kind.RUN]))
    board.load(Kind.JOB, in_finished_order(oracle.entries[Kind.JOB]))
    for metric in (metric for metric in COLLECTED if metric.kind is kind):
        for at in times:
            assert_agree(board, oracle, selection, metric, window, at)


class History(RuleBasedStateMachine):
    """A store that learns, changes and forgets rows, with questions in between that leave caches behind."""

    @initialize()
    def begin(self) -> None:
        self.board = new_board()
        self.oracle = Oracle(STREAMS, project_labels)
        self.board.load(Kind.RUN, ())
        self.board.load(Kind.JOB, ())
        self.refs = 0

    def change(self, kind: Kind, old: Entry | None, new: Entry | None) -> None:
        facts = self.oracle.entries[kind]
        if old is not None:
            facts.remove(old)
        if new is not None:
            facts.append(new)
        self.board.apply(Saved(entries=[EntryChange(kind, old, new)]))

    @rule(data=st.data(), kind=st.sampled_from(KINDS), count=st.integers(1, 8))
    def facts_come_in_any_order(self, data: st.DataObject, kind: Kind, count: int) -> None:
        for _ in range(count):
            self.refs += 1
            self.change(kind, None, data.draw(entries(kind, self.refs)))

    @rule(data=st.data(), kind=st.sampled_from(KINDS))
    def a_fact_is_superseded_by_a_rerun(self, data: st.DataObject, kind: Kind) -> None:
        lasting = [entry for entry in self.oracle.entries[kind] if entry.superseded is None]
        if not lasting:
            return
        old = data.draw(st.sampled_from(lasting))
        self.refs += 1
        again = old.finished + data.draw(st.integers(1, 9))
        result = data.draw(st.integers(0, len(RESULTS) - 1))
        self.change(kind, old, old._replace(superseded=again))
        self.change(kind, None, old._replace(ref=self.refs, finished=again, result=result, retry=True))

    @rule(data=st.data(), kind=st.sampled_from(KINDS), removed=st.booleans())
    def a_fact_changes_or_goes(self, data: st.DataObject, kind: Kind, removed: bool) -> None:
        if self.oracle.entries[kind]:
            old = data.draw(st.sampled_from(self.oracle.entries[kind]))
            self.change(kind, old, None if removed else data.draw(entries(kind, old.ref)))

    @rule(data=st.data(), kind=st.sampled_from(KINDS))
    def an_open_one_comes_or_changes(self, data: st.DataObject, kind: Kind) -> None:
        new = data.draw(open_entries(kind))
        self.oracle.opens[kind] = [entry for entry in self.oracle.opens[kind] if entry.key != new.key] + [new]
        self.board.apply(Saved(opens=[OpenChange(kind, new.key, new)]))

    @rule(key=st.integers(1, 6), kind=st.sampled_from(KINDS))
    def an_open_one_ends(self, key: int, kind: Kind) -> None:
        self.oracle.opens[kind] = [entry for entry in self.oracle.opens[kind] if entry.key != str(key)]
        self.board.apply(Saved(opens=[OpenChange(kind, str(key), None)]))

    @rule(before=st.integers(0, 8))
    def old_facts_are_pruned(self, before: int) -> None:
        for kind, facts in self.oracle.entries.items():
            for old in [entry for entry in facts if entry.finished < before]:
                self.change(kind, old, None)
        self.board.drop_empty()

    @rule(
        selection=st.sampled_from(SELECTIONS),
        metric=st.sampled_from(COLLECTED),
        window=st.sampled_from(WINDOWS),
        at=ASKED,
    )
    def anyone_may_ask(self, selection: Selection, metric: Metric, window: Window, at: int) -> None:
        assert_agree(self.board, self.oracle, selection, metric, window, at)

    @invariant()
    def what_is_remembered_or_added_up_holds_after_every_change(self) -> None:
        window = Window(length=timedelta(milliseconds=12))
        for name in ("success_rate", "p95_duration_minutes", "consecutive_failures", "minutes_since_success"):
            for at in (9, 25):
                assert_agree(self.board, self.oracle, SELECTIONS[1], METRICS[name], window, at)
        assert_agree(self.board, self.oracle, SELECTIONS[1], METRICS["total_pipelines"], Window(runs=2), 15)


TestHistory = History.TestCase
TestHistory.settings = settings(
    max_examples=60, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)
