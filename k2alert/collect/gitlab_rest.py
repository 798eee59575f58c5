"""Reads a project's pipelines over REST v4: the listing page by page, then each pipeline's detail and jobs.

A listing says neither when a pipeline finished nor how long it took (`PipelineBasic`), so every new or changed one
costs two requests more. Pages are asked for by number: GitLab's `Link` names the instance's configured host, which
need not be the one that we reach it by.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from k2alert.collect.flow import Answer, Failure, Request
from k2alert.collect.gitlab_parse import id_of, text, title_of
from k2alert.collect.gitlab_reading import Reading, Steps, fetch
from k2alert.collect.gitlab_reports import read_reports
from k2alert.model import PipelineRun

_PAGE = 100  # the most that GitLab gives
_MOST_JOBS = 1 << 16  # of one pipeline: what the store keeps of one run
_CHUNK = 20  # runs handed over at once: at most 40 requests are lost when a look breaks off


def identify(reading: Reading) -> Steps[Failure | None]:
    """Asks what the project is called and what its default branch is.

    Where only that is refused (a token may read pipelines and not this), reading goes on with what is known.
    """
    answer = yield from fetch(Request(reading.api, kind="project"))
    if isinstance(answer, Failure):
        return None if answer.reason in ("forbidden", "not_found", "client", "body") else answer
    if isinstance(answer.data, Mapping):
        reading.name_project(
            path=text(answer.data, "path_with_namespace"),
            forge_id=id_of(answer.data),
            default_branch=text(answer.data, "default_branch"),
            web_url=text(answer.data, "web_url"),
        )
    return None


def read_rest(reading: Reading) -> Steps[Failure | None]:
    """Everything that changed since `Ask.since`, then the runs still running whose jobs may have moved on."""
    reading.done = 0
    failure = yield from _read_listing(reading, ("updated_after", reading.since))
    if failure is None and reading.leaves_running:
        failure = yield from _read_listing(reading, ("status", "running"))
    return failure


def read_jobs(reading: Reading, run_id: str) -> Steps[list[Any] | Failure]:
    """Every execution of every job of a pipeline, retried ones too, in REST's words."""
    path, items = f"{reading.api}/pipelines/{run_id}/jobs", list[Any]()
    listed = _FIRST
    while listed.next is not None and len(items) < _MOST_JOBS:
        params = (("include_retried", "true"), ("per_page", str(_PAGE)), ("page", str(listed.next)))
        answer = yield from fetch(Request(path, params, kind="jobs"))
        following = _as_page(answer, listed)
        if isinstance(following, Failure):
            return following
        listed = following
        items += listed.items
    return items


def unless_gone(reading: Reading, failure: Failure) -> Steps[Failure | None]:
    """None where only the pipeline is gone (deleted since it was listed): then the project still answers.

    Otherwise the failure, so that a project shut to us mid-look is not taken for one without pipelines.
    """
    if failure.reason != "not_found":
        return failure
    answer = yield from fetch(Request(f"{reading.api}/pipelines", (("per_page", "1"),), kind="pipelines"))
    return answer if isinstance(answer, Failure) else None


@dataclass(frozen=True, slots=True)
class _Page:
    items: list[Any]
    next: int | None
    total: int | None


_FIRST = _Page([], 1, None)
"""What comes before the first page."""


def _read_listing(reading: Reading, condition: tuple[str, str]) -> Steps[Failure | None]:
    listed = _FIRST
    while listed.next is not None:
        order = (("order_by", "id"), ("sort", "desc"), ("per_page", str(_PAGE)), ("page", str(listed.next)))
        answer = yield from fetch(Request(f"{reading.api}/pipelines", (condition, *order), kind="pipelines"))
        following = _as_page(answer, listed)
        if isinstance(following, Failure):
            return following
        listed = following
        if reading.total is None:
            reading.total = listed.total
        for start in range(0, len(listed.items), _CHUNK):
            failure = yield from _read_chunk(reading, listed.items[start : start + _CHUNK])
            if failure is not None:
                return failure
    return None


def _read_chunk(reading: Reading, listed: Sequence[Any]) -> Steps[Failure | None]:
    runs: list[PipelineRun] = []
    items: dict[str, Any] = {}
    failure = None
    for each in listed:
        if not reading.takes(each):
            continue
        read = yield from read_pipeline(reading, each)
        if isinstance(read, Failure):
            failure = read
            break
        if read is not None:
            run, item = read
            runs.append(run)
            items[run.id] = item
    yield reading.batch(runs)
    return failure or (yield from read_reports(reading, runs, items))


def read_pipeline(
    reading: Reading, listed: Mapping[str, Any]
) -> Steps[tuple[PipelineRun, Mapping[str, Any]] | Failure | None]:
    """A pipeline of which at least the id is known, as a run and in REST's words; None where it is gone, or rubbish."""
    item = yield from _read_detail(reading, listed)
    if item is None or isinstance(item, Failure):
        return item
    run = yield from _read_run(reading, item)
    return run if run is None or isinstance(run, Failure) else (run, item)


def _read_detail(reading: Reading, listed: Mapping[str, Any]) -> Steps[Mapping[str, Any] | Failure | None]:
    path = f"{reading.api}/pipelines/{id_of(listed)}"
    answer = yield from fetch(Request(path, kind="pipeline"))
    if isinstance(answer, Failure):
        return (yield from unless_gone(reading, answer))
    if not isinstance(answer.data, Mapping):
        return Failure("body", f"pipeline {id_of(listed)}: its detail is no object")
    return {**listed, **answer.data, "id": listed["id"]}


def _read_run(reading: Reading, item: Mapping[str, Any]) -> Steps[PipelineRun | Failure | None]:
    jobs = yield from read_jobs(reading, id_of(item))
    if isinstance(jobs, Failure):
        return (yield from unless_gone(reading, jobs))
    return reading.make_run(item, jobs, title=title_of(jobs))


def _as_page(answer: Answer, before: _Page) -> _Page | Failure:
    """What a listing's next answer holds, and the number of the page after it (None at the end).

    A page that is the one before again comes from a server or a proxy that does not page: reading on would not end.
    """
    if isinstance(answer, Failure):
        return answer
    if not isinstance(answer.data, list):
        return Failure("body", "a listing is no list")
    page = before.next or 1
    if answer.data and answer.data == before.items:
        return Failure("body", f"page {page} of a listing is the page before it again")
    said = answer.headers.get("x-next-page")
    if said is None:  # a proxy drops the headers: a full page may have another behind it
        following = page + 1 if len(answer.data) >= _PAGE else None
    elif said == "":
        following = None
    elif _is_number(said) and int(said) > page:
        following = int(said)
    else:
        return Failure("body", f"page {page} of a listing names an impossible next page")
    total = answer.headers.get("x-total", "")  # absent above 10,000
    return _Page(answer.data, following, int(total) if _is_number(total) else None)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 10
