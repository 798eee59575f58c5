"""Reads what the jobs of a finished pipeline reported to GitLab: tests, over REST v4, and coverage.

A scan, or a look over GraphQL, brings the summary of tests and the coverage along with the pipeline; over REST the
summary costs a request. The full report, which may be megabytes, is asked for where a test failed or a job was retried.
What could not be read is asked for again in the next looks (`gitlab_facts`). After a look that broke off, and after a
restart, all is read again that is listed and has no mark in the project's bookmarks.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from k2alert.collect.flow import Batch, Failure, Request
from k2alert.collect.gitlab_facts_parse import parse_coverage, parse_tests
from k2alert.collect.gitlab_parse import id_of
from k2alert.collect.gitlab_reading import FATAL, Reading, Steps, fetch
from k2alert.model import Fact, Kind, PipelineRun, RunState

__all__ = ["read_reports"]


def read_reports(reading: Reading, runs: Sequence[PipelineRun], items: Mapping[str, Any]) -> Steps[Failure | None]:
    """The reports of those of these runs that have finished; `items` are the pipelines in REST's words, by id."""
    for run in runs:
        if run.state is not RunState.FINISHED:
            continue
        failure = yield from _read_reports_of(reading, run, items[run.id])
        if failure is not None and failure.reason in FATAL:
            return failure
        if failure is None or failure.reason in ("forbidden", "not_found"):
            reading.mark(run.id)
        else:
            reading.owe(run.id)
    return None


def _read_reports_of(reading: Reading, run: PipelineRun, item: Mapping[str, Any]) -> Steps[Failure | None]:
    if Kind.COVERAGE in reading.ask.wants and (coverage := parse_coverage(item, run)) is not None:
        yield _batch(reading, [coverage])
    return (yield from _read_tests_of(reading, run, item)) if reading.wants_summaries and run.jobs else None


def _read_tests_of(reading: Reading, run: PipelineRun, item: Mapping[str, Any]) -> Steps[Failure | None]:
    path = f"{reading.api}/pipelines/{id_of(item)}"
    summary = item.get("test_report_summary")
    if summary is None:
        answer = yield from fetch(Request(f"{path}/test_report_summary", kind="test_report_summary"))
        if isinstance(answer, Failure):
            return answer
        summary = answer.data
    reports = parse_tests(summary, None, run)
    failure: Failure | None = None
    if reports and (any(report.failed for report in reports) or any(job.attempt > 1 for job in run.jobs)):
        full = yield from fetch(Request(f"{path}/test_report", kind="test_report"))
        failure = full if isinstance(full, Failure) else None
        reports = reports if isinstance(full, Failure) else parse_tests(summary, full.data, run)
    if reports:
        yield _batch(reading, reports)
    return failure


def _batch(reading: Reading, facts: Sequence[Fact]) -> Batch:
    return Batch((), reading.done, reading.total, facts=tuple(facts))
