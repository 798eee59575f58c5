"""Which projects a source reads: those it names, and those that its groups or organizations hold.

A forge's listing is a flow like a look: it yields requests, is sent answers, and returns what it found or why not. What
was found comes in, which of it is read goes out; no I/O here.
"""

from collections.abc import Callable, Generator, Iterable, Mapping
from datetime import timedelta
from fnmatch import fnmatchcase
from typing import NamedTuple

from k2alert.collect.flow import Answer, Failure, Request
from k2alert.collect.settings import SourceSettings

__all__ = ["AGAIN", "EVERY", "MOST_PAGES", "Found", "Listing", "chosen", "is_excluded"]

EVERY = timedelta(hours=1)
"""How often groups are read again: a project that is new, gone, renamed or archived shows after so long at most."""

AGAIN = timedelta(minutes=5)
"""When a listing that failed is tried again."""

MOST_PAGES = 1000
"""Of one listing: a forge whose pages never end must not keep us. 100,000 projects are more than any group has."""


class Found(NamedTuple):
    """A project that a listing found: the key by which it is read, its path, and the forge's id."""

    key: str
    path: str
    id: str


Listing = Generator[Request, Answer, tuple[Found, ...] | Failure]
ListProjects = Callable[[str], Listing]


def is_excluded(path: str, settings: SourceSettings) -> bool:
    """Whether one of the globs in `exclude` matches; `*` stands for any text, with slashes too, in any case."""
    return any(fnmatchcase(path.lower(), glob.lower()) for glob in settings.exclude)


def chosen(settings: SourceSettings, found: Iterable[Found]) -> Mapping[str, Found]:
    """What is read of what was found, by key: not what is excluded, and not what the source names itself."""
    named = {str(key).lower() for key in settings.projects}
    return {
        one.key: one
        for one in found
        if not is_excluded(one.path, settings) and named.isdisjoint({one.path.lower(), one.id, one.key.lower()})
    }
