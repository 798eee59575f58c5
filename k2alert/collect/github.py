"""GitHub Actions as a flow: an `Ask` comes in, requests and batches of facts go out, a `Look` ends it.

What makes GitHub hard is that a re-run keeps the id and `created_at` of its run, that no list can be asked for what
*changed*, and that every answer counts against a limit, save the one that nothing has changed. So the questions of a
look stay the same from look to look, with the ETags of the last answers, in this order:

1. the newest hundred runs; where they do not reach back to `Ask.since`, everything created since then, in ranges of
   at most 1,000 (all that GitHub lists for one search);
2. every five minutes, what is in progress or queued, of any age: re-runs of old runs that go on now (every fifteen
   where those lists keep changing, which costs);
3. each run that the store holds as open and that no list showed, by its id;
4. once a day, and in a backfill: the runs of the last 30 days (the age at which GitHub refuses a re-run), for
   re-runs that began and ended between two looks, and for runs that were created before `Ask.since` and ended after.

Where the first list shows all runs there are, it stands for the others. What a run consists of is read in
`github_runs`. The flow does no I/O and reads no clock; paths, parameters and limits are from
https://docs.github.com/en/rest/actions.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from urllib.parse import quote

from k2alert.collect.artifacts import with_artifacts
from k2alert.collect.flow import Ask, Batch, Failure, Flow, Forge, Look, Request, Response
from k2alert.collect.github_artifacts import list_archives
from k2alert.collect.github_facts import read_facts
from k2alert.collect.github_hooks import HOOKS
from k2alert.collect.github_lists import MOST_PAGES, SEARCH_LIMIT, RunPage, Span, days, read_list
from k2alert.collect.github_owners import list_owner
from k2alert.collect.github_parse import SeenRun, is_repository, read_project, read_run, run_state
from k2alert.collect.github_probes import TOKEN, probe_repository
from k2alert.collect.github_reading import Bookmark, Reading, Steps, ask_again
from k2alert.collect.github_runs import read_fact
from k2alert.model import Kind, PipelineRun, Project, RunState
from k2alert.times import iso

__all__ = ["FORGE", "look"]

_RERUN_AGE = timedelta(days=30)  # an older run cannot be re-run
_BATCH = 20  # runs read before they are handed over: a progress bar that moves, few transactions
_SECOND = timedelta(seconds=1)  # the resolution of `created`
_FEW = 300  # runs of thirty days that one search gives in so few pages that ETags of thirty days would save nothing
_IDENTIFIED_EVERY = timedelta(hours=1)
_GOING_ON_EVERY = timedelta(minutes=5)  # two requests that show what the newest hundred runs do not: rarely anything
_BUSY_EVERY = timedelta(minutes=15)  # where they were billed the last time
_GOING_ON = "going on"  # the bookmark: whether they were
_OPEN = (RunState.PENDING, RunState.RUNNING)


def look(ask: Ask) -> Flow:
    """Read everything of one repository that changed since `ask.since`.

    A failure ends the look, but what was read before it has been handed over. Runs, attempts and job lists that
    GitHub keeps no longer are passed over. Whatever is not what it should be is left out, and the look fails as
    `body` once everything else was read.
    """
    reading = Reading(ask, ask.project)
    failure = yield from _identify(reading)
    if failure is not None:
        return Look(ask.project, failure, memory=ask.memory, bookmarks=ask.bookmarks)
    runs = _Runs(reading)
    failure = (yield from runs.read()) or (yield from read_facts(reading)) or reading.flaw
    bookmarks = reading.bookmarks if failure is None else ask.bookmarks  # else the ETags would hide what is missing
    return Look(
        reading.project, failure, swept=runs.sweeps and failure is None, memory=reading.memory, bookmarks=bookmarks
    )


FORGE = Forge(
    look=with_artifacts(look, list_archives),
    default_url="https://api.github.com",
    api_path="",
    headers={"Accept": "application/vnd.github+json", "X-GitHub-Api-Version": "2022-11-28"},
    hooks=HOOKS,
    list_projects=list_owner,
    probes=probe_repository,
    token_probes=TOKEN,
)


def _identify(reading: Reading) -> Steps[Failure | None]:
    """What the forge calls the project now, once an hour and after a failure.

    Where it may not be asked, what is known goes on; runs may be readable.
    """
    project = reading.project
    path = project.key if is_repository(project.key) else project.path
    if not is_repository(path):
        return Failure("client", f"not a repository: {project.key[:100]!r} (write it as owner/name)")
    if not reading.is_due("identified", _IDENTIFIED_EVERY) and project.path and not project.failures:
        return None

    def make(answer: Response) -> Project | Failure:
        return read_project(answer.data, project) or Failure("body", "the repository is not what it should be")

    found = yield from ask_again(reading, Request(f"/repos/{path}", kind="project"), make)
    if isinstance(found, Project):
        reading.project = found
        return None
    if found.reason not in ("forbidden", "not_found"):
        return found
    reading.project = replace(project, path=project.path or path, default_branch=project.default_branch or "main")
    return None


class _Runs:
    """The runs of one look: which have been met so far, and how to read the rest."""

    def __init__(self, reading: Reading) -> None:
        ask = reading.ask
        self.sweeps = ask.sweep or ask.first
        self._reading = reading
        self._ask = ask
        self._since = ask.since.replace(microsecond=0)
        self._changed_since = self._find_changed_since()
        self._met: set[str] = set()
        self._all_met = False  # the first list showed all there are
        busy = reading.left.get(_GOING_ON, Bookmark(ask.now, made=False)).made
        self._turn = reading.is_due(_GOING_ON, _BUSY_EVERY if busy else _GOING_ON_EVERY) or self.sweeps
        self._total: int | None = None

    def read(self) -> Steps[Failure | None]:
        """All parts of the look, in the order of the module's docstring; the first failure ends it."""
        for part in (self._read_newest, self._read_going_on, self._read_followed, self._read_older):
            failure = yield from part()
            if failure is not None:
                return failure
        return None

    def _find_changed_since(self) -> datetime:
        """From when on a change of a run that the store does not know is news.

        A sweep reads what changed within the history that is to be complete, as far back as the store was asked.
        """
        if not self.sweeps:
            return self._ask.since
        covered = self._ask.project.covered_since or self._ask.since
        return max(min(covered, self._ask.since), min(self._ask.since, self._ask.now - _RERUN_AGE))

    # ------------------------------------------------------------------------------ the four parts of a look

    def _read_newest(self) -> Steps[Failure | None]:
        """The newest runs of all, and everything created since `since` where that is more."""
        page = yield from read_list(self._reading, (), 1)
        if isinstance(page, Failure):
            return page
        self._all_met = page.whole
        if page.changed and not page.reaches(self._since):
            failure = yield from self._read_span(Span(self._since, None))
            if failure is not None:
                return failure
        return (yield from self._read_runs(page.runs))

    def _read_going_on(self) -> Steps[Failure | None]:
        """Runs of any age that are in progress or queued.

        A list cut at 1,000 is no failure here: of those left out, new ones are in the list by creation, known ones
        are asked for by id, and the daily sweep finds the rest.
        """
        if self._all_met or not self._turn:
            return None
        changed = False
        for status in ("in_progress", "queued"):
            page = yield from self._ask_page("status", status, 1)
            failure = yield from self._read_search("status", status, page)
            if failure is not None:
                return failure
            changed = changed or (isinstance(page, RunPage) and page.changed)
        self._reading.kept[_GOING_ON] = Bookmark(self._ask.now, made=changed)
        return None

    def _read_followed(self) -> Steps[Failure | None]:
        """Runs that the store holds as open and that no list showed; one that GitHub has deleted is passed over.

        One that waits for a person is asked for less often.
        """
        states = (*_OPEN, RunState.BLOCKED) if self._turn else _OPEN
        known = self._ask.known.items()
        for key in [key for key, run in known if run.state in states and key not in self._met]:
            run = yield from self._read_run(key)
            if isinstance(run, Failure):
                failure = self._reading.tolerate(run, "not_found")
            else:
                failure = yield from self._read_runs([run])
            if failure is not None:
                return failure
        return None

    def _read_older(self) -> Steps[Failure | None]:
        """The sweep: runs created before `since` that changed within the history that is to be complete."""
        start, end = (self._ask.now - _RERUN_AGE).replace(microsecond=0), self._since - _SECOND
        if self._all_met or not self.sweeps or end < start:
            return None
        for span in days(start, end) if len(self._ask.known) > _FEW else (Span(start, end),):
            failure = yield from self._read_span(span)
            if failure is not None:
                return failure
        return None

    # ------------------------------------------------------------------------------------------ lists of runs

    def _read_span(self, span: Span) -> Steps[Failure | None]:
        """Every run created in the span, halved until each part fits into one search; the newest part first."""
        spans = [span]
        while spans:
            span = spans.pop()
            page = yield from self._ask_page("created", span.created, 1)
            if isinstance(page, Failure):
                return page
            self._total = self._total or page.total
            # A full search is halved too: nobody promises that the total goes on counting beyond the limit.
            halves = span.halves(self._ask.now) if page.total >= SEARCH_LIMIT else ()
            spans.extend(halves)
            failure = None if halves else (yield from self._read_part(span, page))
            if failure is not None:
                return failure
        return None

    def _read_part(self, span: Span, page: RunPage) -> Steps[Failure | None]:
        if page.total > SEARCH_LIMIT:
            lost = f"GitHub lists {SEARCH_LIMIT} of the {page.total} runs created at {iso(span.start)}"
            self._reading.flaw = self._reading.flaw or Failure("client", lost)
        return (yield from self._read_search("created", span.created, page))

    def _read_search(self, name: str, value: str, page: RunPage | Failure | None = None) -> Steps[Failure | None]:
        """All pages of a search, from the first, which may have been read."""
        page = page or (yield from self._ask_page(name, value, 1))
        while isinstance(page, RunPage):
            failure = yield from self._read_runs(page.runs)
            if failure is not None:
                return failure
            if page.next is None or page.next > MOST_PAGES:
                return None
            page = yield from self._ask_page(name, value, page.next)
        return page

    def _ask_page(self, name: str, value: str, number: int) -> Steps[RunPage | Failure]:
        return (yield from read_list(self._reading, ((name, value),), number))

    def _read_run(self, key: str) -> Steps[SeenRun | Failure]:
        """One run by its id; that it is gone is remembered for a while."""
        gone = f"gone {key}"
        if gone in self._reading.left:
            return Failure("not_found", "gone")

        def make(answer: Response) -> SeenRun | Failure:
            return read_run(answer.data) or Failure("body", "a run is not what it should be")

        path = f"/repos/{self._reading.project.path}/actions/runs/{quote(key, safe='')}"
        run = yield from ask_again(self._reading, Request(path, kind="run"), make)
        if isinstance(run, Failure) and run.reason == "not_found":
            self._reading.kept[gone] = Bookmark(self._ask.now)
        return run

    # ------------------------------------------------------------------------------------------ what is news

    def _read_runs(self, runs: Iterable[SeenRun]) -> Steps[Failure | None]:
        """Read what belongs to those of these runs that are news, and hand them over, a batch at a time."""
        self._reading.listed_tags = None
        met = self._meet(runs)
        news = [run for run in met if self._is_news(run)]
        self._reading.done += len(met) - len(news)
        for start in range(0, len(news), _BATCH):
            facts, failure = yield from self._read_facts(news[start : start + _BATCH])
            if facts:
                total = self._total if self._total is None else max(self._total, self._reading.done)
                yield Batch(facts, self._reading.done, total)
            if failure is not None:
                return failure
        return None

    def _meet(self, runs: Iterable[SeenRun]) -> list[SeenRun]:
        """Those that this look has not met; pages shift while runs are created, so some come twice."""
        fresh = {run.id: run for run in runs if run.id not in self._met}
        self._met.update(fresh)
        return list(fresh.values())

    def _is_news(self, run: SeenRun) -> bool:
        """Whether a run may have facts that the store lacks."""
        known, state = self._ask.known.get(run.id), run_state(run, now=self._ask.now)
        if known is None:
            return state in _OPEN or run.updated_at >= self._changed_since
        if run.updated_at < known.seen:
            return False
        if state in _OPEN and Kind.JOB in self._ask.wants:
            return True  # its jobs start and end without it
        lacks_outcome = state is RunState.FINISHED and run.result is not None and run.attempt != known.attempt
        return lacks_outcome or (run.updated_at, state) != (known.seen, known.state)

    def _read_facts(self, runs: Sequence[SeenRun]) -> Steps[tuple[tuple[PipelineRun, ...], Failure | None]]:
        """The facts of the runs, up to the first failure that ends the look."""
        facts: list[PipelineRun] = []
        for run in runs:
            fact = yield from read_fact(self._reading, run)
            if isinstance(fact, PipelineRun):
                facts.append(fact)
            elif fact is not None and self._reading.tolerate(fact) is not None:
                return tuple(facts), fact
            self._reading.done += 1
        return tuple(facts), None
