"""Reads what GitLab says beside pipelines: test reports, deployments and pipeline schedules, over REST v4.

Only what a rule needs is asked for. Test reports belong to the runs that a look found finished: the summary of each,
and the full report, which may be megabytes, where a test failed or a job was retried. Deployments and schedules are
asked for once in every look.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from k2alert.collect.flow import Answer, Batch, Failure, Look, Request
from k2alert.collect.gitlab_facts_parse import parse_deployment, parse_schedules, parse_tests
from k2alert.collect.gitlab_reading import Reading, Steps, fetch
from k2alert.model import Fact, Kind, PipelineRun, RunState

__all__ = ["end_look", "read_facts"]

_PAGE = 100
_MOST_PAGES = 100  # of deployments in one look
_FATAL = frozenset({"auth", "rate_limited", "network"})
"""Failures that say something of the source, and not of one report or of what this token may read."""


def end_look(reading: Reading, failure: Failure | None) -> Steps[Look]:
    """How a look ends whose runs were read, or were not: with what rules need beside them.

    One item that is not what the API promises makes the look fail, once everything readable has been handed over.
    """
    if failure is None:
        failure = yield from read_facts(reading)
    if failure is None and reading.malformed:
        more = len(reading.malformed) - 1
        failure = Failure("body", reading.malformed[0] + (f" (and {more} more such items)" if more else ""))
    return Look(reading.project, failure, memory=reading.memory, bookmarks=reading.bookmarks)


def read_facts(reading: Reading) -> Steps[Failure | None]:
    """What the rules need of this project, once its runs are recorded."""
    wanted = reading.ask.wants
    steps: list[tuple[Kind, Callable[[Reading], Steps[Failure | None]]]] = [
        (Kind.TEST, _read_tests),
        (Kind.DEPLOYMENT, _read_deployments),
        (Kind.SCHEDULE, _read_schedules),
    ]
    for kind, read in steps:
        failure = (yield from read(reading)) if kind in wanted else None
        if failure is not None and failure.reason in _FATAL:
            return failure
    return None


def _read_tests(reading: Reading) -> Steps[Failure | None]:
    if reading.ask.reports.junit:  # its files say more: `flakyFailure`, and each execution of a retried job
        return None
    for run in reading.runs:
        if run.state is not RunState.FINISHED or not run.jobs:
            continue
        failure = yield from _read_tests_of(reading, run)
        if failure is not None and failure.reason in _FATAL:
            return failure
    return None


def _read_tests_of(reading: Reading, run: PipelineRun) -> Steps[Failure | None]:
    path = f"{reading.api}/pipelines/{run.id}"
    summary = yield from fetch(Request(f"{path}/test_report_summary", kind="test_report_summary"))
    if isinstance(summary, Failure):
        return summary
    reports = parse_tests(summary.data, None, run)
    if reports and (any(report.failed for report in reports) or any(job.attempt > 1 for job in run.jobs)):
        full = yield from fetch(Request(f"{path}/test_report", kind="test_report"))
        if isinstance(full, Failure):
            yield _facts(reading, reports)
            return full
        reports = parse_tests(summary.data, full.data, run)
    yield _facts(reading, reports)
    return None


def _read_deployments(reading: Reading) -> Steps[Failure | None]:
    # GitLab takes `updated_after` only in this order (app/finders/deployments_finder.rb).
    order = (("updated_after", reading.since), ("order_by", "updated_at"), ("sort", "asc"), ("per_page", str(_PAGE)))
    for page in range(1, _MOST_PAGES + 1):
        request = Request(f"{reading.api}/deployments", (*order, ("page", str(page))), kind="deployments")
        items = _items((yield from fetch(request)))
        if isinstance(items, Failure):
            return items
        found = (parse_deployment(item, reading.project) for item in items)
        yield _facts(reading, [each for each in found if each is not None])
        if len(items) < _PAGE:
            break
    return None


def _read_schedules(reading: Reading) -> Steps[Failure | None]:
    items: list[Any] = []
    for page in range(1, _MOST_PAGES + 1):
        params = (("per_page", str(_PAGE)), ("page", str(page)))
        listed = _items((yield from fetch(Request(f"{reading.api}/pipeline_schedules", params, kind="schedules"))))
        if isinstance(listed, Failure):
            return listed
        items += listed
        if len(listed) < _PAGE:
            break
    yield _facts(reading, [parse_schedules(items, reading.project, seen=reading.ask.now)])
    return None


def _items(answer: Answer) -> Sequence[Mapping[str, Any]] | Failure:
    if isinstance(answer, Failure):
        return answer
    if not isinstance(answer.data, list):
        return Failure("body", "a listing is no list")
    return [item if isinstance(item, Mapping) else {} for item in answer.data]


def _facts(reading: Reading, facts: Iterable[Fact]) -> Batch:
    return Batch((), reading.done, reading.total, facts=tuple(facts))
