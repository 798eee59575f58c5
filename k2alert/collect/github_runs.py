"""What one run of GitHub consists of: its jobs, its earlier attempts, and whether it ran for a branch or a tag.

In comes a run as a list showed it, out goes a `PipelineRun`. Jobs cost a request for each run, so they are read when
it has finished, and of a run that goes on only where a rule speaks of jobs.
"""

from dataclasses import replace
from datetime import timedelta
from urllib.parse import quote

from k2alert.collect.flow import Failure, Request, Response
from k2alert.collect.github_parse import (
    Page,
    SeenRun,
    assemble_run,
    dig,
    next_page,
    read_job,
    read_page,
    read_run,
    read_text,
    ref_type_of,
    run_state,
)
from k2alert.collect.github_reading import Bookmark, Reading, Steps, ask_again, fetch, tag_key
from k2alert.model import JobRun, Kind, PipelineRun, RefType, RunState

__all__ = ["read_fact"]

_PAGE_SIZE = 100  # the most GitHub gives
_MOST_PAGES = 400  # GitHub's own end of paging; a forge that never stops must not keep us
_MOST_JOBS = 1 << 16  # of one run: what the store keeps
_MOST_TAG_PAGES = 5
_MOST_ATTEMPTS = 100  # GitHub allows 50 re-runs
_SETTLED = timedelta(hours=1)  # a job of a finished run that has not ended by then never will
_SECOND = timedelta(seconds=1)


def read_fact(reading: Reading, run: SeenRun) -> Steps[PipelineRun | Failure | None]:
    """The run with all that belongs to it; None where nothing of it has changed."""
    known = reading.ask.known.get(run.id)
    state = run_state(run, now=reading.ask.now)
    earlier = yield from _read_earlier(reading, run)
    if isinstance(earlier, Failure):
        return earlier
    jobs: list[JobRun] | Failure | None = []
    if state is RunState.FINISHED or earlier or Kind.JOB in reading.ask.wants:
        moved = known is None or (run.updated_at, state) != (known.seen, known.state)
        jobs = yield from _read_jobs(reading, run, again=not moved and not earlier)
    if jobs is None or isinstance(jobs, Failure):
        return jobs
    ref_type = yield from _find_ref_type(reading, run)
    if isinstance(ref_type, Failure):
        return ref_type
    fact = assemble_run(run, earlier, jobs, project=reading.project, ref_type=ref_type, now=reading.ask.now)
    return _settle(reading, fact, run.attempt)


def _settle(reading: Reading, fact: PipelineRun, attempt: int) -> PipelineRun:
    """A finished run one of whose jobs has not ended yet is dated a second early: the next look reads it again."""
    goes_on = any(job.attempt == attempt and job.state is not RunState.FINISHED for job in fact.jobs)
    if fact.state is RunState.FINISHED and goes_on and reading.ask.now - fact.seen < _SETTLED:
        reading.unsettled = True
        return replace(fact, seen=fact.seen - _SECOND)
    return fact


def _read_jobs(reading: Reading, run: SeenRun, *, again: bool) -> Steps[list[JobRun] | Failure | None]:
    """The jobs of all attempts; none where GitHub keeps them no longer. `again`: None where they are as they were."""
    jobs: list[JobRun] = []
    number: int | None = 1
    while number is not None and number <= _MOST_PAGES and len(jobs) < _MOST_JOBS:
        page = yield from _read_job_page(reading, run, number, again=again)
        if page is None or isinstance(page, Failure):
            return [] if page is not None and page.reason == "not_found" else page
        read = [read_job(item, run) for item in page.items]
        jobs.extend(job for job in read if job is not None)
        if None in read:
            reading.note("a job is not what it should be")
        number = page.next
    return jobs


def _read_job_page(reading: Reading, run: SeenRun, number: int, *, again: bool) -> Steps[Page | Failure | None]:
    key = f"jobs {run.id} {number}"
    left = reading.left.get(key) if again else None
    params = (("filter", "all"), ("per_page", str(_PAGE_SIZE)), ("page", str(number)))
    path = f"/repos/{reading.project.path}/actions/runs/{run.id}/jobs"
    answer = yield from fetch(Request(path, params, kind="jobs", etag=left.etag if left is not None else ""))
    if isinstance(answer, Failure):
        return answer
    if answer.unchanged and left is not None:
        reading.kept[key] = replace(left, at=reading.ask.now)
        return None
    page = read_page(answer, "jobs", number)
    if page is None:
        return Failure("body", "the list of jobs is not what it should be")
    if answer.etag and number == 1 and page.next is None:  # one ETag says nothing of the other pages
        reading.kept[key] = Bookmark(reading.ask.now, answer.etag, brief=True)
    return page


def _read_earlier(reading: Reading, run: SeenRun) -> Steps[list[SeenRun] | Failure]:
    """The attempts before the run's present one that the store lacks and GitHub still has."""
    known = reading.ask.known.get(run.id)
    first = max(known.attempt if known else 0, run.attempt - _MOST_ATTEMPTS, 0) + 1
    earlier = []
    for number in range(first, run.attempt):
        path = f"/repos/{reading.project.path}/actions/runs/{run.id}/attempts/{number}"
        answer = yield from fetch(Request(path, kind="attempt"))
        if isinstance(answer, Response):
            attempt = read_run(answer.data)
            if attempt is None or (attempt.id, attempt.attempt) != (run.id, number):
                return Failure("body", "an attempt is not what it should be")
            earlier.append(attempt)
        elif answer.reason != "not_found":
            return answer
    return earlier


def _find_ref_type(reading: Reading, run: SeenRun) -> Steps[RefType | Failure]:
    known = ref_type_of(run, reading.project.default_branch)
    if known is not None:
        return known
    is_tag = yield from _find_tag(reading, run.branch)
    if isinstance(is_tag, Failure):
        return is_tag
    return RefType.TAG if is_tag else RefType.BRANCH


def _find_tag(reading: Reading, name: str) -> Steps[bool | Failure]:
    """Whether a tag and no branch has the name.

    All tags are listed, which costs nothing while there is no new one; of too many, each name is asked for.
    """
    key = tag_key(reading.project.path, name)
    if key not in reading.tags:
        is_tag = yield from _is_listed(reading, name)
        if is_tag is True:
            is_branch = yield from _exists(reading, f"heads/{name}")
            is_tag = is_branch if isinstance(is_branch, Failure) else not is_branch
        if isinstance(is_tag, Failure):
            return is_tag
        reading.tags[key] = is_tag
    return reading.tags[key]


def _is_listed(reading: Reading, name: str) -> Steps[bool | Failure]:
    if reading.listed_tags is None:
        listed = yield from _list_tags(reading)
        if isinstance(listed, Failure):
            return listed
        reading.listed_tags = listed
    names, whole = reading.listed_tags
    return True if name in names else False if whole else (yield from _exists(reading, f"tags/{name}"))


def _list_tags(reading: Reading) -> Steps[tuple[frozenset[str], bool] | Failure]:
    """The names of the tags, and whether these are all; a token that may not read contents hears of none."""
    names: frozenset[str] = frozenset()
    number: int | None = 1
    while number is not None and number <= _MOST_TAG_PAGES:
        page = yield from _read_tags(reading, number)
        if isinstance(page, Failure):
            return (names, True) if page.reason in ("not_found", "forbidden") else page
        names, number = names | page[0], page[1]
    return names, number is None


def _read_tags(reading: Reading, number: int) -> Steps[tuple[frozenset[str], int | None] | Failure]:
    def make(answer: Response) -> tuple[frozenset[str], int | None] | Failure:
        if not isinstance(answer.data, list):
            return Failure("body", "the list of tags is not what it should be")
        following = next_page(answer.headers.get("link", ""))
        after = following if following is not None and following > number else None
        return frozenset(read_text(dig(item, "name")) for item in answer.data), after

    params = (("per_page", str(_PAGE_SIZE)), ("page", str(number)))
    return (yield from ask_again(reading, Request(f"/repos/{reading.project.path}/tags", params, kind="tags"), make))


def _exists(reading: Reading, ref: str) -> Steps[bool | Failure]:
    """Whether the repository has the ref. A token that may not read contents hears no, and all are branches."""
    path = f"/repos/{reading.project.path}/commits/{quote(ref, safe='')}"
    # One file of the commit's diff is the least that can be asked for.
    answer = yield from fetch(Request(path, (("per_page", "1"),), kind="ref"))
    if isinstance(answer, Response):
        return True
    return False if answer.reason in ("not_found", "client", "forbidden") else answer
