"""GitHub Actions as a flow: an `Ask` comes in, requests and batches of facts go out, a `Look` ends it.

What makes GitHub hard is that a re-run keeps the id and `created_at` of its run, and that no list can be asked for what
*changed*. So one look reads, in this order:

1. every run created since `Ask.since`, in ranges of at most 1,000 (all that GitHub lists for one search);
2. what is in progress or queued, of any age: re-runs that go on now;
3. each run that the store holds as open and that no list showed, by its id;
4. once a day, and in a backfill: the runs of the last 30 days (the age at which GitHub refuses a re-run), for
   re-runs that began and ended between two looks, and for runs that were created before `Ask.since` and ended after.

For each run that is new or changed come its jobs (of all attempts, in one list) and its earlier attempts. The flow
does no I/O and reads no clock; paths, parameters and limits are from https://docs.github.com/en/rest/actions.
"""

from collections.abc import Generator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, NamedTuple, TypeVar, cast
from urllib.parse import quote

from k2alert.collect.flow import Answer, Ask, Batch, Failure, Flow, Forge, Look, Request, Response
from k2alert.collect.github_hooks import HOOKS
from k2alert.collect.github_owners import list_owner
from k2alert.collect.github_parse import (
    Page,
    SeenRun,
    assemble_run,
    is_repository,
    read_job,
    read_page,
    read_project,
    read_run,
    ref_type_of,
    run_state,
)
from k2alert.collect.github_probes import TOKEN, probe_repository
from k2alert.model import JobRun, KnownRun, PipelineRun, Project, RefType, RunState
from k2alert.times import EPOCH, iso

__all__ = ["FORGE", "look"]

T = TypeVar("T")
Steps = Generator[Request | Batch, Answer | None, T]

_SEARCH_LIMIT = 1000  # results of one search with a filter, whatever its pages
_PAGE_SIZE = 100  # the most GitHub gives
_MOST_RUN_PAGES = _SEARCH_LIMIT // _PAGE_SIZE
_MOST_JOB_PAGES = 400  # GitHub's own end of paging; a forge that never stops must not keep us
_MOST_JOBS = 1 << 16  # of one run: what the store keeps
_MOST_ATTEMPTS = 100  # GitHub allows 50 re-runs
_RERUN_AGE = timedelta(days=30)  # an older run cannot be re-run
_BATCH = 20  # runs read before they are handed over: a progress bar that moves, few transactions
_SECOND = timedelta(seconds=1)  # the resolution of `created`
_MOST_REFS = 5000  # names of branches and tags remembered for one source

_TAGS = "tags"  # the key of the flow's memory


class _Span(NamedTuple):
    """Creation times, whole seconds, both ends included; no end: until whatever GitHub's clock says."""

    start: datetime
    end: datetime | None

    @property
    def created(self) -> str:
        """As GitHub's search syntax writes it."""
        return f">={iso(self.start)}" if self.end is None else f"{iso(self.start)}..{iso(self.end)}"

    def halves(self, now: datetime) -> tuple["_Span", ...]:
        """Two spans that make up this one; none where it is a single second."""
        last = now.replace(microsecond=0) if self.end is None else self.end
        if last <= self.start:
            return ()
        middle = (self.start + (last - self.start) / 2).replace(microsecond=0)
        return (_Span(self.start, middle), _Span(middle + _SECOND, self.end))


def look(ask: Ask) -> Flow:
    """Read everything of one repository that changed since `ask.since`.

    A failure ends the look, but what was read before it has been handed over. Runs, attempts and job lists that
    GitHub keeps no longer are passed over. Whatever is not what it should be is left out, and the look fails as
    `body` once everything else was read.
    """
    project = yield from _identify(ask.project)
    if isinstance(project, Failure):
        return Look(ask.project, project, memory=ask.memory)
    reading = _Reading(ask, project)
    failure = (yield from reading.read()) or reading.flaw
    return Look(project, failure, swept=reading.sweeps and failure is None, memory=reading.memory)


FORGE = Forge(
    look=look,
    default_url="https://api.github.com",
    api_path="",
    headers={"Accept": "application/vnd.github+json", "X-GitHub-Api-Version": "2022-11-28"},
    hooks=HOOKS,
    list_projects=list_owner,
    probes=probe_repository,
    token_probes=TOKEN,
)


def _identify(project: Project) -> Steps[Project | Failure]:
    """What the forge calls the project now. Where it may not be asked, what is known goes on; runs may be readable."""
    path = project.key if is_repository(project.key) else project.path
    if not is_repository(path):
        return Failure("client", f"not a repository: {project.key[:100]!r} (write it as owner/name)")
    answer = yield from _send(Request(f"/repos/{path}", kind="project"))
    if not isinstance(answer, Failure):
        return read_project(answer.data, project) or Failure("body", "the repository is not what it should be")
    if answer.reason not in ("forbidden", "not_found"):
        return answer
    return replace(project, path=project.path or path, default_branch=project.default_branch or "main")


class _Reading:
    """One look in progress: what has been met so far, and how to read the rest."""

    def __init__(self, ask: Ask, project: Project) -> None:
        self.flaw: Failure | None = None  # what was wrong and did not end the look
        self.sweeps = ask.sweep or ask.first
        self._ask = ask
        self._project = project
        self._runs = f"/repos/{project.path}/actions/runs"
        self._since = ask.since.replace(microsecond=0)
        self._met: set[str] = set()
        self._tags: dict[str, bool] = dict(ask.memory.get(_TAGS, {}))
        self._done = 0
        self._total = 0

    @property
    def memory(self) -> dict[str, Any]:
        """Which names are tags, for the next look; the latest names where there are too many."""
        return {**self._ask.memory, _TAGS: dict(list(self._tags.items())[-_MOST_REFS:])}

    def read(self) -> Steps[Failure | None]:
        """All parts of the look, in the order of the module's docstring; the first failure ends it."""
        for part in (self._read_created, self._read_going_on, self._read_followed, self._read_older):
            failure = yield from part()
            if failure is not None:
                return failure
        return None

    # ------------------------------------------------------------------------------ the four parts of a look

    def _read_created(self) -> Steps[Failure | None]:
        """Every run created since `since`."""
        return (yield from self._read_span(_Span(self._since, None), EPOCH))

    def _read_going_on(self) -> Steps[Failure | None]:
        """Runs of any age that are in progress or queued.

        A list cut at 1,000 is no failure here: of those left out, new ones are in the list by creation, known ones
        are asked for by id, and the daily sweep finds the rest.
        """
        for status in ("in_progress", "queued"):
            failure = yield from self._read_search("status", status, EPOCH)
            if failure is not None:
                return failure
        return None

    def _read_followed(self) -> Steps[Failure | None]:
        """Runs that the store holds as open and that no list showed; one that GitHub has deleted is passed over."""
        known = self._ask.known.items()
        for key in [key for key, run in known if run.state is not RunState.FINISHED and key not in self._met]:
            answer = yield from _send(Request(f"{self._runs}/{quote(key, safe='')}", kind="run"))
            if isinstance(answer, Response):
                failure = yield from self._read_runs([answer.data], EPOCH)
            else:
                failure = self._tolerate(answer, "not_found")
            if failure is not None:
                return failure
        return None

    def _read_older(self) -> Steps[Failure | None]:
        """The sweep: runs created before `since` that changed within the history that is to be complete."""
        start, end = (self._ask.now - _RERUN_AGE).replace(microsecond=0), self._since - _SECOND
        if not self.sweeps or end < start:
            return None
        covered = self._ask.project.covered_since or self._ask.since
        return (yield from self._read_span(_Span(start, end), min(covered, self._ask.since)))

    # ------------------------------------------------------------------------------------------ lists of runs

    def _read_span(self, span: _Span, changed_since: datetime) -> Steps[Failure | None]:
        """Every run created in the span, halved until each part fits into one search; the newest part first."""
        spans = [span]
        while spans:
            span = spans.pop()
            page = yield from self._ask_page("created", span.created, 1)
            if isinstance(page, Failure):
                return page
            self._total = self._total or page.total
            # A full search is halved too: nobody promises that the total goes on counting beyond the limit.
            halves = span.halves(self._ask.now) if page.total >= _SEARCH_LIMIT else ()
            spans.extend(halves)
            failure = None if halves else (yield from self._read_part(span, page, changed_since))
            if failure is not None:
                return failure
        return None

    def _read_part(self, span: _Span, page: Page, changed_since: datetime) -> Steps[Failure | None]:
        if page.total > _SEARCH_LIMIT:
            lost = f"GitHub lists {_SEARCH_LIMIT} of the {page.total} runs created at {iso(span.start)}"
            self.flaw = self.flaw or Failure("client", lost)
        return (yield from self._read_search("created", span.created, changed_since, page))

    def _read_search(
        self, name: str, value: str, changed_since: datetime, page: Page | Failure | None = None
    ) -> Steps[Failure | None]:
        """All pages of a search, from the first, which may have been read."""
        page = page or (yield from self._ask_page(name, value, 1))
        while isinstance(page, Page):
            failure = yield from self._read_runs(page.items, changed_since)
            if failure is not None:
                return failure
            if page.next is None or page.next > _MOST_RUN_PAGES:
                return None
            page = yield from self._ask_page(name, value, page.next)
        return page

    def _ask_page(self, name: str, value: str, number: int) -> Steps[Page | Failure]:
        narrowed = (name, value), ("exclude_pull_requests", "false")
        return (yield from _ask_page(self._runs, narrowed, "workflow_runs", number))

    # -------------------------------------------------------------------------------------- what a run consists of

    def _read_runs(self, items: Sequence[Any], changed_since: datetime) -> Steps[Failure | None]:
        """Read what belongs to those of these runs that are news, and hand them over, a batch at a time."""
        news = [run for run in self._meet(items) if self._is_news(run, changed_since)]
        for start in range(0, len(news), _BATCH):
            facts, failure = yield from self._read_facts(news[start : start + _BATCH])
            if facts:
                yield Batch(facts, self._done, max(self._total, self._done))
            if failure is not None:
                return failure
        self._done += len(items) - len(news)
        return None

    def _meet(self, items: Sequence[Any]) -> list[SeenRun]:
        """The runs of a page that this look has not met; pages shift while runs are created, so some come twice."""
        met = []
        for item in items:
            run = read_run(item)
            if run is None:
                self._note("a run is not what it should be")
            elif run.id not in self._met:
                self._met.add(run.id)
                met.append(run)
        return met

    def _is_news(self, run: SeenRun, changed_since: datetime) -> bool:
        known = self._ask.known.get(run.id)
        if known is None:
            return run.updated_at >= changed_since
        return run.updated_at >= known.seen and _differs(run, known, run_state(run, now=self._ask.now))

    def _read_facts(self, runs: Sequence[SeenRun]) -> Steps[tuple[tuple[PipelineRun, ...], Failure | None]]:
        """The facts of the runs, up to the first failure that ends the look."""
        facts: list[PipelineRun] = []
        for run in runs:
            fact = yield from self._read_fact(run)
            if isinstance(fact, PipelineRun):
                facts.append(fact)
            elif self._tolerate(fact) is not None:
                return tuple(facts), fact
            self._done += 1
        return tuple(facts), None

    def _read_fact(self, run: SeenRun) -> Steps[PipelineRun | Failure]:
        jobs = yield from self._read_jobs(run)
        if isinstance(jobs, Failure):
            return jobs
        earlier = yield from self._read_earlier(run)
        if isinstance(earlier, Failure):
            return earlier
        ref_type = yield from self._find_ref_type(run)
        if isinstance(ref_type, Failure):
            return ref_type
        return assemble_run(run, earlier, jobs, project=self._project, ref_type=ref_type, now=self._ask.now)

    def _read_jobs(self, run: SeenRun) -> Steps[list[JobRun] | Failure]:
        """The jobs of all attempts; none where GitHub keeps them no longer."""
        jobs: list[JobRun] = []
        number: int | None = 1
        while number is not None and number <= _MOST_JOB_PAGES and len(jobs) < _MOST_JOBS:
            page = yield from _ask_page(f"{self._runs}/{run.id}/jobs", (("filter", "all"),), "jobs", number)
            if isinstance(page, Failure):
                return [] if page.reason == "not_found" else page
            read = [read_job(item, run) for item in page.items]
            jobs.extend(job for job in read if job is not None)
            if None in read:
                self._note("a job is not what it should be")
            number = page.next
        return jobs

    def _read_earlier(self, run: SeenRun) -> Steps[list[SeenRun] | Failure]:
        """The attempts before the run's present one that the store lacks and GitHub still has."""
        known = self._ask.known.get(run.id)
        first = max(known.attempt if known else 0, run.attempt - _MOST_ATTEMPTS, 0) + 1
        earlier = []
        for number in range(first, run.attempt):
            answer = yield from _send(Request(f"{self._runs}/{run.id}/attempts/{number}", kind="attempt"))
            if isinstance(answer, Response):
                attempt = read_run(answer.data)
                if attempt is None or (attempt.id, attempt.attempt) != (run.id, number):
                    return Failure("body", "an attempt is not what it should be")
                earlier.append(attempt)
            elif answer.reason != "not_found":
                return answer
        return earlier

    # ---------------------------------------------------------------------------------------- branches and tags

    def _find_ref_type(self, run: SeenRun) -> Steps[RefType | Failure]:
        known = ref_type_of(run, self._project.default_branch)
        if known is not None:
            return known
        is_tag = yield from self._find_tag(run.branch)
        if isinstance(is_tag, Failure):
            return is_tag
        return RefType.TAG if is_tag else RefType.BRANCH

    def _find_tag(self, name: str) -> Steps[bool | Failure]:
        """Whether a tag and no branch has the name, asked once for each name: mostly one request, two for a tag."""
        key = tag_key(self._project.path, name)
        if key not in self._tags:
            is_tag = yield from self._exists(f"tags/{name}")
            if is_tag is True:
                is_branch = yield from self._exists(f"heads/{name}")
                is_tag = is_branch if isinstance(is_branch, Failure) else not is_branch
            if isinstance(is_tag, Failure):
                return is_tag
            self._tags[key] = is_tag
        return self._tags[key]

    def _exists(self, ref: str) -> Steps[bool | Failure]:
        """Whether the repository has the ref. A token that may not read contents hears no, and all are branches."""
        path = f"/repos/{self._project.path}/commits/{quote(ref, safe='')}"
        # One file of the commit's diff is the least that can be asked for.
        answer = yield from _send(Request(path, (("per_page", "1"),), kind="ref"))
        if isinstance(answer, Response):
            return True
        return False if answer.reason in ("not_found", "client", "forbidden") else answer

    # ------------------------------------------------------------------------------------------------- failures

    def _tolerate(self, failure: Failure, *reasons: str) -> Failure | None:
        """None where the look can go on: an answer that is not what it should be is remembered, `reasons` are fine."""
        if failure.reason == "body":
            self.flaw = self.flaw or failure
        return None if failure.reason in ("body", *reasons) else failure

    def _note(self, detail: str) -> None:
        self.flaw = self.flaw or Failure("body", detail)


def tag_key(path: str, name: str) -> str:
    """Under which a look remembers whether a name is a tag's, in its memory's `tags`."""
    return f"{path} {name}"


def _differs(run: SeenRun, known: KnownRun, state: RunState) -> bool:
    """Whether a known run may have facts that the store lacks; jobs start and end without moving `updated_at`."""
    if state in (RunState.PENDING, RunState.RUNNING):
        return True
    lacks_outcome = state is RunState.FINISHED and run.result is not None and run.attempt != known.attempt
    return lacks_outcome or (run.updated_at, state) != (known.seen, known.state)


def _ask_page(path: str, params: tuple[tuple[str, str], ...], field: str, number: int) -> Steps[Page | Failure]:
    """One page of a list; the number alone is taken from `Link`, so that no answer leads to another host."""
    paging = ("per_page", str(_PAGE_SIZE)), ("page", str(number))
    answer = yield from _send(Request(path, (*params, *paging), kind=field))
    if isinstance(answer, Failure):
        return answer
    return read_page(answer, field, number) or Failure("body", f"the list of {field} is not what it should be")


def _send(request: Request) -> Steps[Answer]:
    """The answer to a request; the driver sends None for batches only."""
    return cast(Answer, (yield request))
