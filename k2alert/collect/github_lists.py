"""GitHub's lists of runs: pages of them, and searches by creation in spans that fit below its limit.

https://docs.github.com/en/rest/actions/workflow-runs#list-workflow-runs-for-a-repository. No list can be asked for what
*changed*, and a search gives at most 1,000 runs, so a span with more is halved.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from typing import NamedTuple

from k2alert.collect.flow import Failure, Request, Response
from k2alert.collect.github_parse import SeenRun, read_page, read_run, run_state
from k2alert.collect.github_reading import Reading, Steps, ask_again
from k2alert.model import RunState
from k2alert.times import iso

__all__ = ["MOST_PAGES", "SEARCH_LIMIT", "RunPage", "Span", "days", "read_list"]

SEARCH_LIMIT = 1000  # results of one search with a filter, whatever its pages
_PAGE_SIZE = 100  # the most GitHub gives
MOST_PAGES = SEARCH_LIMIT // _PAGE_SIZE
_SECOND = timedelta(seconds=1)  # the resolution of `created`
_DAY = timedelta(days=1)
_DISORDER = timedelta(minutes=1)  # two runs may be listed as if created in the other order


class RunPage(NamedTuple):
    """One page of a list of runs, the newest first.

    Of a page that has not changed, `runs` are only those that were not finished: time may end them, and their jobs
    move without them. `shown` counts the items, `total` those of all pages.
    """

    runs: Sequence[SeenRun]
    shown: int
    total: int
    next: int | None
    changed: bool = True

    @property
    def whole(self) -> bool:
        """Whether it shows all there are."""
        return self.next is None and self.total <= self.shown

    def reaches(self, since: datetime) -> bool:
        """Whether it shows every run created since then; the order, which GitHub does not promise, is checked."""
        ordered = all(later.created_at <= earlier.created_at + _DISORDER for earlier, later in pairwise(self.runs))
        return self.whole or (ordered and bool(self.runs) and self.runs[-1].created_at < since - _DISORDER)


class Span(NamedTuple):
    """Creation times, whole seconds, both ends included; no end: until whatever GitHub's clock says."""

    start: datetime
    end: datetime | None

    @property
    def created(self) -> str:
        """As GitHub's search syntax writes it."""
        return f">={iso(self.start)}" if self.end is None else f"{iso(self.start)}..{iso(self.end)}"

    def halves(self, now: datetime) -> tuple["Span", ...]:
        """Two spans that make up this one; none where it is a single second."""
        last = now.replace(microsecond=0) if self.end is None else self.end
        if last <= self.start:
            return ()
        middle = (self.start + (last - self.start) / 2).replace(microsecond=0)
        return (Span(self.start, middle), Span(middle + _SECOND, self.end))


def days(start: datetime, end: datetime) -> Iterator[Span]:
    """The days (UTC) that hold all from start to end: the same question from day to day, so that an ETag serves."""
    day = start.replace(hour=0, minute=0, second=0, microsecond=0)
    while day <= end:
        yield Span(day, day + _DAY - _SECOND)
        day += _DAY


def read_list(reading: Reading, narrowed: tuple[tuple[str, str], ...], number: int) -> Steps[RunPage | Failure]:
    """A page of the repository's runs, narrowed by status or creation; what is not as it should be is left out."""

    def make(answer: Response) -> RunPage | Failure:
        page = read_page(answer, "workflow_runs", number)
        if page is None:
            return Failure("body", "the list of workflow_runs is not what it should be")
        runs = [read_run(item) for item in page.items]
        if None in runs:
            reading.note("a run is not what it should be")
        return RunPage([run for run in runs if run is not None], len(page.items), page.total, page.next)

    def keep(page: RunPage) -> RunPage:
        going_on = [run for run in page.runs if run_state(run, now=reading.ask.now) is not RunState.FINISHED]
        return page._replace(runs=going_on, changed=False)

    # Never another order: an ETag is for the URL as it is written.
    params = (*narrowed, ("exclude_pull_requests", "false"), ("per_page", str(_PAGE_SIZE)), ("page", str(number)))
    request = Request(f"/repos/{reading.project.path}/actions/runs", params, kind="workflow_runs")
    return (yield from ask_again(reading, request, make, keep))
