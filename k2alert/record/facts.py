"""One save of reports, deployments and schedules, and what that really changed.

In: an open transaction and the facts of one batch. Out: `Saved`. First everything that the batch names gets its number
(projects, streams, links) and the runs that reports belong to are looked up; then each fact is recorded by its kind.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, assert_never

from k2alert.model import (
    BenchmarkReport,
    CoverageReport,
    Deployment,
    Fact,
    FactChange,
    Kind,
    NamedTest,
    Saved,
    Schedules,
    TestReport,
)
from k2alert.record.connection import Connection
from k2alert.record.deployments import (
    deployment_link,
    deployment_stream,
    save_deployment,
    save_schedules,
    schedule_link,
    schedule_stream,
)
from k2alert.record.reports import RunOf, report_stream, save_benchmarks, save_coverage, save_tests
from k2alert.record.rows import RunRow, StreamKey, clean, pack_id
from k2alert.record.saving import number_links, number_origins, number_streams
from k2alert.record.statements import QUERIES

__all__ = ["save_facts"]

Report = TestReport | CoverageReport | BenchmarkReport
RunKey = tuple[str, str, int | str]  # source, project, the forge's id

_KINDS: Mapping[type, Kind] = {
    TestReport: Kind.TEST,
    CoverageReport: Kind.COVERAGE,
    BenchmarkReport: Kind.BENCHMARK,
}
_RUN_FIELDS = len(RunRow._fields)


class _Known(NamedTuple):
    """The store's numbers for what a batch names, and the runs that it is about."""

    origins: Mapping[tuple[str, str], int]
    runs: Mapping[RunKey, RunOf]
    streams: Mapping[StreamKey, int]
    links: Mapping[str, int]

    def run_of(self, fact: Report | Deployment) -> RunOf | None:
        return self.runs.get(_run_key(fact))


def save_facts(con: Connection, facts: Sequence[Fact]) -> Saved:
    """Records a batch. A report whose run is not recorded is left out."""
    origins = number_origins(con, {_project(fact) for fact in facts})
    runs = _find_runs(con, facts, origins)
    streams, new_streams = number_streams(con, set(_streams_of(facts, runs)), origins)
    known = _Known(origins, runs, streams, number_links(con, set(_links_of(facts))))
    changes: list[FactChange] = []
    tests: list[NamedTest] = []
    for fact in facts:
        changed, named = _save(con, fact, known)
        changes += changed
        tests += named
    return Saved(tuple(new_streams), (), (), tuple(changes), tuple(tests))


def _save(con: Connection, fact: Fact, known: _Known) -> tuple[Iterable[FactChange], Iterable[NamedTest]]:
    if isinstance(fact, Schedules):
        origin = known.origins[_project(fact)]
        return save_schedules(con, fact, origin=origin, streams=known.streams, links=known.links), ()
    run = known.run_of(fact)
    if isinstance(fact, Deployment):
        stream, link = known.streams[deployment_stream(fact, run)], known.links[deployment_link(fact)]
        origin = known.origins[_project(fact)]
        return save_deployment(con, fact, run, origin=origin, stream=stream, link=link), ()
    if run is None:
        return (), ()
    stream = known.streams[report_stream(_KINDS[type(fact)], run.stream, fact.by)]
    if isinstance(fact, TestReport):
        return save_tests(con, fact, run, stream)
    if isinstance(fact, CoverageReport):
        return save_coverage(con, fact, run, stream), ()
    if isinstance(fact, BenchmarkReport):
        return save_benchmarks(con, fact, run, stream), ()
    assert_never(fact)


def _project(fact: Fact) -> tuple[str, str]:
    of = fact if isinstance(fact, Deployment | Schedules) else fact.by
    return clean(of.source), clean(of.project)


def _run_key(fact: Report | Deployment) -> RunKey:
    run = fact.run if isinstance(fact, Deployment) else fact.by.run
    return (*_project(fact), pack_id(run))


def _find_runs(con: Connection, facts: Iterable[Fact], origins: Mapping[tuple[str, str], int]) -> dict[RunKey, RunOf]:
    wanted: dict[tuple[str, str], set[int | str]] = defaultdict(set)
    for fact in facts:
        if not isinstance(fact, Schedules):
            wanted[_project(fact)].add(_run_key(fact)[2])
    found: dict[RunKey, RunOf] = {}
    for project, ids in wanted.items():
        for row in con.execute(QUERIES["find_runs"], (origins[project], json.dumps(list(ids)))):
            run = RunRow(*row[:_RUN_FIELDS])
            stream = StreamKey(Kind.RUN.value, *project, *row[_RUN_FIELDS:])
            found[(*project, run.forge_id)] = RunOf(run.id, run.origin, stream, run.sha, run.created)
    return found


def _streams_of(facts: Iterable[Fact], runs: Mapping[RunKey, RunOf]) -> Iterator[StreamKey]:
    for fact in facts:
        if isinstance(fact, Schedules):
            yield from (schedule_stream(fact, schedule) for schedule in fact.schedules)
        elif isinstance(fact, Deployment):
            yield deployment_stream(fact, runs.get(_run_key(fact)))
        elif (run := runs.get(_run_key(fact))) is not None:
            yield report_stream(_KINDS[type(fact)], run.stream, fact.by)


def _links_of(facts: Iterable[Fact]) -> Iterator[str]:
    for fact in facts:
        if isinstance(fact, Schedules):
            yield from map(schedule_link, fact.schedules)
        elif isinstance(fact, Deployment):
            yield deployment_link(fact)
