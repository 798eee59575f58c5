"""Reads a project's pipelines over GraphQL: twenty with all their jobs in one request.

Answers are brought into REST's words and read by `gitlab_parse`. REST is still asked for the jobs of pipelines that
failed (GraphQL tells a failure's reason as a sentence, in the user's language, and not as a code) and of those with
more jobs than one answer holds. Where GraphQL cannot be used, reading ends with `Refused`, and REST takes over.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from k2alert.collect.flow import Failure, Request
from k2alert.collect.gitlab_parse import id_of, text, title_of
from k2alert.collect.gitlab_queries import Refused, TooMuch, Unknown, drop, dropped, hear, write_query
from k2alert.collect.gitlab_reading import Reading, Steps, fetch
from k2alert.collect.gitlab_reasons import explain, read_failed_jobs
from k2alert.collect.gitlab_reports import read_reports
from k2alert.collect.gitlab_rest import read_jobs, unless_gone
from k2alert.collect.gitlab_sizes import PAGE
from k2alert.collect.gitlab_words import connection, job_words, pipeline_words
from k2alert.model import PipelineRun

__all__ = ["read_graphql", "read_on"]

_RUNNING = {"status": "RUNNING"}


def read_graphql(reading: Reading) -> Steps[Failure | Refused | None]:
    """Everything that changed since `Ask.since`, then the runs still running whose jobs may have moved on."""
    ended = yield from _read_listing(reading, {"since": reading.since})
    if ended is None and reading.leaves_running:
        ended = yield from _read_listing(reading, _RUNNING)
    return ended


def read_on(reading: Reading, project: Mapping[str, Any]) -> Steps[Failure | Refused | None]:
    """The same, where a scan's answer holds the first page of what changed, and of what runs."""
    ended = yield from _read_page(reading, project, "pipelines")
    if isinstance(ended, str):
        ended = yield from _read_listing(reading, {"since": reading.since}, ended)
    if ended is None and reading.leaves_running:
        ended = yield from _read_page(reading, project, "running")
        if isinstance(ended, str):
            ended = yield from _read_listing(reading, _RUNNING, ended)
    return ended


@dataclass(frozen=True, slots=True)
class _Page:
    nodes: Sequence[Any]
    after: str | None  # the cursor of the page behind it


def _read_listing(
    reading: Reading, condition: Mapping[str, str], after: str | None = None
) -> Steps[Failure | Refused | None]:
    """A listing page by page, from the one behind the cursor `after` on."""
    met: set[str] = set() if after is None else {after}
    while True:
        project = yield from _fetch_project(reading, condition, after)
        if isinstance(project, Failure | Refused):
            return project
        if reading.total is None:
            reading.total = _count(project)
        ended = yield from _read_page(reading, project, "pipelines", met)
        if not isinstance(ended, str):
            return ended
        after = ended
        met.add(after)


def _fetch_project(
    reading: Reading, condition: Mapping[str, str], after: str | None
) -> Steps[Mapping[str, Any] | Failure | Refused]:
    """The answer's project, after as many tries with less as it takes: each asks for less, so they end."""
    while True:
        size = PAGE.at(reading.memory, reading.ask.now)
        variables = {"path": reading.project.path, "first": size, "after": after}
        variables |= {"counted": reading.ask.first and after is None, "tests": reading.wants_summaries}
        variables |= condition
        body = {"query": write_query(dropped(reading.memory)), "variables": variables}
        heard = hear((yield from fetch(Request("/graphql", body=body, kind="graphql"))), "project")
        refused: Refused | None = None
        if isinstance(heard, TooMuch):
            refused = _ask_less(reading, heard)
        elif isinstance(heard, Unknown):
            refused = drop(reading.memory, heard)
        elif isinstance(heard, Failure | Refused):
            return heard
        else:
            project = heard["project"]
            # One project that GraphQL does not show (moved, or not ours to see) says nothing about the others.
            return project if isinstance(project, Mapping) else Refused("no such project", lasting=False)
        if refused is not None:
            return refused


def _ask_less(reading: Reading, heard: TooMuch) -> Refused | None:
    if PAGE.halve(reading.memory, reading.ask.now):
        return None
    PAGE.forget(reading.memory)
    return Refused(heard.why, lasting=False, tires=True)


def _read_page(
    reading: Reading, project: Mapping[str, Any], name: str, met: Collection[str] = ()
) -> Steps[str | Failure | Refused | None]:
    """A page of the listing that the answer holds under this name; the cursor of the next one, if there is one."""
    _name_project(reading, project)
    page = _as_page(project.get(name), met)
    if isinstance(page, Refused):
        return page
    failure = yield from _read_nodes(reading, page.nodes)
    return page.after if failure is None else failure


def _name_project(reading: Reading, project: Mapping[str, Any]) -> None:
    repository = project.get("repository")  # null where the token may not read code
    reading.name_project(
        path=text(project, "fullPath"),
        forge_id=id_of(project),
        default_branch=text(repository, "rootRef") if isinstance(repository, Mapping) else "",
        web_url=text(project, "webUrl"),
    )


def _as_page(listing: Any, met: Collection[str]) -> _Page | Refused:
    nodes, info = connection(listing)
    if nodes is None:
        return Refused("no pipelines in the answer", lasting=False)
    if info.get("hasNextPage") is not True:
        return _Page(nodes, None)
    cursor = info.get("endCursor")
    if not isinstance(cursor, str) or not cursor or cursor in met:
        return Refused("a page without an end", lasting=False)
    return _Page(nodes, cursor)


def _count(project: Mapping[str, Any]) -> int | None:
    listing = project.get("pipelines")
    count = listing.get("count") if isinstance(listing, Mapping) else None
    return count if isinstance(count, int) and not isinstance(count, bool) and count >= 0 else None


def _read_nodes(reading: Reading, nodes: Sequence[Any]) -> Steps[Failure | None]:
    runs: list[PipelineRun] = []
    listed = {id_of(item): (item, node) for node in nodes if (item := _take(reading, node)) is not None}
    whole = {number: _jobs(reading, node) for number, (_, node) in listed.items()}
    failed = [jobs for number, jobs in whole.items() if jobs is not None and listed[number][0]["status"] == "failed"]
    failure = yield from read_failed_jobs(reading, failed)
    for number, (item, _) in listed.items():
        if failure is not None and (whole[number] is None or item["status"] == "failed"):
            continue  # what needs no more than the answer is kept
        run = yield from _read_run(reading, item, whole[number])
        if isinstance(run, Failure):
            failure = run
        elif run is not None:
            runs.append(run)
    yield reading.batch(runs)
    return failure or (yield from read_reports(reading, runs, {number: item for number, (item, _) in listed.items()}))


def _take(reading: Reading, node: Any) -> dict[str, Any] | None:
    """A pipeline in REST's words, if it is to be read."""
    item = pipeline_words(node if isinstance(node, Mapping) else {}, reading.project.web_url)
    return item if reading.takes(item) else None


def _jobs(reading: Reading, node: Mapping[str, Any]) -> list[dict[str, Any]] | None:
    """All jobs of a pipeline in REST's words; None where the answer does not hold them all."""
    nodes, info = connection(node.get("jobs"))
    if nodes is None or info.get("hasNextPage") is True:
        return None
    return [words for job in nodes if (words := job_words(job, reading.project.web_url)) is not None]


def _read_run(
    reading: Reading, item: Mapping[str, Any], jobs: Sequence[Mapping[str, Any]] | None
) -> Steps[PipelineRun | Failure | None]:
    if jobs is not None and item["status"] != "failed":
        return reading.make_run(item, jobs)
    listed = explain(reading, jobs) if jobs is not None else None
    if listed is not None:
        return reading.make_run(item, listed, title=next(filter(None, (title_of([job]) for job in listed)), ""))
    asked = yield from read_jobs(reading, id_of(item))
    if isinstance(asked, Failure):
        return (yield from unless_gone(reading, asked))
    return reading.make_run(item, asked, title=title_of(asked))
