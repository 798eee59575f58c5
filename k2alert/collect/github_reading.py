"""What the parts of a look at GitHub share: its state, what it leaves for the next look, and how a question is asked.

A question that was asked before carries the ETag of its answer. GitHub answers 304 to it while nothing has changed,
and counts no such answer against its rate limit, where there is a token:
https://docs.github.com/en/rest/using-the-rest-api/best-practices-for-using-the-rest-api#use-conditional-requests
"""

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, TypeVar, cast
from urllib.parse import urlencode

from k2alert.collect.flow import Answer, Ask, Batch, Failure, Request, Response
from k2alert.model import Project

__all__ = ["Bookmark", "Reading", "Steps", "ask_again", "fetch", "tag_key"]

T = TypeVar("T")
Steps = Generator[Request | Batch, Answer | None, T]

_MOST_REFS = 5000  # names of branches and tags remembered for one source
_TAGS = "tags"  # the key of the flow's memory
_USEFUL = timedelta(days=2)  # how long an ETag is kept unused: what a sweep asks for comes again after a day


@dataclass(frozen=True, slots=True)
class Bookmark:
    """The answer to a question as a look saw it at `at`, and what was made of it; or when something was last done.

    `brief`: for the next look only, which asks again or never.
    """

    at: datetime
    etag: str = ""
    made: Any = None
    brief: bool = False


class Reading:
    """One look in progress: what it is for, what was wrong on the way, and what it leaves for the next.

    `flaw` is what was wrong and did not end the look; `done` counts the runs that it read.
    `unsettled`: some run must be read again, whatever the ETags of the lists say. `listed_tags` are the tags, and
    whether these are all of them, as listed after the runs at hand: a tag is there before its runs are.
    """

    def __init__(self, ask: Ask, project: Project) -> None:
        self.ask = ask
        self.project = project
        self.flaw: Failure | None = None
        self.done = 0
        self.unsettled = False
        self.tags: dict[str, bool] = dict(ask.memory.get(_TAGS, {}))
        self.listed_tags: tuple[frozenset[str], bool] | None = None
        # A look that reaches further back needs what the ETags say is known already.
        own = {key: mark for key, mark in ask.bookmarks.items() if isinstance(mark, Bookmark)}
        reaches_back = ask.first or ask.since < own.get("since", Bookmark(ask.since)).at
        self.left: Mapping[str, Bookmark] = {} if reaches_back else own
        self.kept: dict[str, Bookmark] = {"since": Bookmark(ask.since)}

    @property
    def memory(self) -> dict[str, Any]:
        """Which names are tags, for the next look; the latest names where there are too many."""
        return {**self.ask.memory, _TAGS: dict(list(self.tags.items())[-_MOST_REFS:])}

    @property
    def bookmarks(self) -> dict[str, Bookmark]:
        """For the next look, once all of this one is recorded."""
        if self.unsettled:
            return {}
        useful = {key: mark for key, mark in self.left.items() if not mark.brief and self.ask.now - mark.at < _USEFUL}
        return {**useful, **self.kept}

    def is_due(self, name: str, every: timedelta) -> bool:
        """Whether something that is done now and then is to be done in this look; then it counts as done."""
        last = self.left.get(name)
        due = last is None or not timedelta(0) <= self.ask.now - last.at < every
        if due:
            self.kept[name] = Bookmark(self.ask.now)
        return due

    def tolerate(self, failure: Failure, *reasons: str) -> Failure | None:
        """None where the look can go on: an answer that is not what it should be is remembered, `reasons` are fine."""
        if failure.reason == "body":
            self.flaw = self.flaw or failure
        return None if failure.reason in ("body", *reasons) else failure

    def note(self, detail: str) -> None:
        """Something is not what it should be."""
        self.flaw = self.flaw or Failure("body", detail)


def ask_again(
    reading: Reading,
    request: Request,
    make: Callable[[Response], T | Failure],
    keep: Callable[[T], T] = lambda made: made,
) -> Steps[T | Failure]:
    """What `make` makes of the answer; while that has not changed, what an earlier look has kept of it."""
    question = f"{request.path}?{urlencode(request.params)}"
    left = reading.kept.get(question) or reading.left.get(question, Bookmark(reading.ask.now))
    answer = yield from fetch(replace(request, etag=left.etag))
    if isinstance(answer, Failure):
        return answer
    if answer.unchanged:
        reading.kept[question] = replace(left, at=reading.ask.now)
        return cast(T, left.made)
    made = make(answer)
    if not isinstance(made, Failure) and answer.etag:
        reading.kept[question] = Bookmark(reading.ask.now, answer.etag, keep(made))
    return made


def fetch(request: Request) -> Steps[Answer]:
    """The answer to a request; the driver sends None for batches only."""
    return cast(Answer, (yield request))


def tag_key(path: str, name: str) -> str:
    """Under which a look remembers whether a name is a tag's, in its memory's `tags`."""
    return f"{path} {name}"
