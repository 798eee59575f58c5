"""Reports, deployments and schedules out of the tables, as `measure` and messages take them.

In: a connection that reads. Out: entries in the order of (finished, ref), the names of tests, evidence.
"""

import json
from collections.abc import Iterator, Sequence

from k2alert.model import (
    RESULTS,
    DeploymentEvidence,
    FactEntry,
    Kind,
    NamedTest,
    RunEvidence,
    TestEvidence,
)
from k2alert.record.connection import Connection
from k2alert.record.deployments import DeploymentRow, ScheduleRow, deployment_entry, schedule_entry
from k2alert.record.evidence import read_run_evidence
from k2alert.record.naming import members_of
from k2alert.record.reading import BATCH
from k2alert.record.reports import CoverageRow, ReportRow, benchmark_entry, coverage_entry, report_entry
from k2alert.record.rows import expand_link, unpack_id, unpack_sha
from k2alert.record.statements import QUERIES
from k2alert.times import from_ms

__all__ = [
    "read_deployment_evidence",
    "read_facts",
    "read_report_evidence",
    "read_test_evidence",
    "read_tests",
]


def read_facts(con: Connection, kind: Kind, since_ms: int) -> Iterator[list[FactEntry]]:
    """Entries of a kind of facts finished since then, in (finished, ref) order, in batches.

    Schedules are all read: they have no end.
    """
    batch: list[FactEntry] = []
    for entry in _ROWS[kind](con, since_ms):
        batch.append(entry)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _tests(con: Connection, since_ms: int) -> Iterator[FactEntry]:
    members = members_of(con)  # reports with the same tests share one number in memory
    for number, *columns in con.execute(QUERIES["test_reports"], (since_ms,)):
        row = ReportRow(*columns)
        yield report_entry(number, row, members[row.ran], members[row.failing], members[row.mixed])


def _coverage(con: Connection, since_ms: int) -> Iterator[FactEntry]:
    members = members_of(con)
    for number, *columns in con.execute(QUERIES["coverage_reports"], (since_ms,)):
        row = CoverageRow(*columns)
        yield coverage_entry(number, row, members[row.files])


def _deployments(con: Connection, since_ms: int) -> Iterator[FactEntry]:
    for number, *columns in con.execute(QUERIES["finished_deployments"], (since_ms,)):
        entry = deployment_entry(number, DeploymentRow(*columns))
        if entry is not None:
            yield entry


def _schedules(con: Connection, since_ms: int) -> Iterator[FactEntry]:
    for number, *columns in con.execute(QUERIES["active_schedules"]):
        entry = schedule_entry(number, ScheduleRow(*columns))
        if entry is not None:
            yield entry


def _benchmarks(con: Connection, since_ms: int) -> Iterator[FactEntry]:
    yield from map(benchmark_entry, con.execute(QUERIES["benchmark_points"], (since_ms,)))


_ROWS = {
    Kind.TEST: _tests,
    Kind.COVERAGE: _coverage,
    Kind.BENCHMARK: _benchmarks,
    Kind.DEPLOYMENT: _deployments,
    Kind.SCHEDULE: _schedules,
}


def read_tests(con: Connection) -> Iterator[list[NamedTest]]:
    """What every test's number stands for, in batches."""
    cursor = con.execute(QUERIES["all_tests"])
    while rows := cursor.fetchmany(BATCH):
        yield [NamedTest(*row) for row in rows]


# -------------------------------------------------------------------------------------------- evidence


def read_test_evidence(con: Connection, cases: Sequence[tuple[int, int]]) -> dict[tuple[int, int], TestEvidence]:
    """Tests in reports, by the report's number and the test's."""
    found: dict[tuple[int, int], TestEvidence] = {}
    for report, test in cases:
        row = con.execute(QUERIES["test_evidence"], (test, report)).fetchone()
        if row is not None:
            found[report, test] = _test(row[2:])
    return found


def _test(row: Sequence[str | bytes | int | None]) -> TestEvidence:
    suite, test, job, message, file, finished, sha, branch, run, job_id, link = row
    ids = [unpack_id(found) if isinstance(found, int | str) else "" for found in (run, job_id)]
    return TestEvidence(
        suite=str(suite),
        test=str(test),
        job=str(job),
        message=str(message),
        file=str(file),
        branch=str(branch),
        sha=unpack_sha(sha) if isinstance(sha, bytes) else "",
        finished_at=from_ms(finished if isinstance(finished, int) else 0),
        web_url=expand_link(str(link), *ids) if link else "",
    )


def read_report_evidence(con: Connection, kind: Kind, refs: Sequence[int]) -> dict[int, RunEvidence]:
    """The runs that reports of a kind belong to, as they ended last; those that are forgotten are left out."""
    outcomes = dict(con.execute(QUERIES[f"runs_of_{kind}_reports"], (json.dumps(list(refs)),)).fetchall())
    runs = read_run_evidence(con, sorted(set(outcomes.values())))
    return {ref: runs[outcome] for ref, outcome in outcomes.items() if outcome in runs}


def read_deployment_evidence(con: Connection, refs: Sequence[int]) -> dict[int, DeploymentEvidence]:
    """Finished deployments."""
    rows = con.execute(QUERIES["deployment_evidence"], (json.dumps(list(refs)),)).fetchall()
    return {
        number: DeploymentEvidence(
            project=project,
            id=unpack_id(forge_id),
            environment=environment,
            tier=tier,
            branch=branch,
            sha=unpack_sha(sha),
            result=RESULTS[result],
            finished_at=from_ms(finished),
            run_id=unpack_id(run),
            web_url=expand_link(link, unpack_id(forge_id)),
        )
        for number, project, forge_id, environment, tier, branch, sha, result, finished, run, link in rows
    }
