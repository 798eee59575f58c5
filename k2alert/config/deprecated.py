"""Keys that have another name now: old files go on being read, with a warning, until a release that is named in it.

A file and a table come in; out come the same file under today's names, every place as it was, and what is to be said.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from k2alert.document import Document, DocumentPath
from k2alert.model import Problem

__all__ = ["DEPRECATED", "Deprecated", "brought_up"]


@dataclass(frozen=True, slots=True)
class Deprecated:
    """A key of the mappings at `where`; "*" stands for each item of a list or each key of a mapping.

    `instead` is its name in the same mapping now; "" where nothing is read from it any more. It was deprecated with the
    release `since`, and is an unknown key in the release `until`.
    """

    where: tuple[str, ...]
    key: str
    instead: str
    since: str
    until: str


DEPRECATED: Sequence[Deprecated] = ()
"""What is deprecated in this release. A row goes with the release that it names, and a test says so."""


def brought_up(document: Document, table: Sequence[Deprecated]) -> tuple[Document, tuple[Problem, ...]]:
    """The file under today's names, a warning for each old one, and an error where both are written."""
    problems = []
    for row in table:
        for path, mapping in _mappings(document.data, row.where):
            if row.key not in mapping:
                continue
            place = document.key_place((*path, row.key))
            if row.instead in mapping:
                text = f"{row.key}: is another name for {row.instead}, which is here too; leave this one out"
                problems.append(Problem(place, text, "config", False))
                continue
            now = f"is called {row.instead}" if row.instead else "does nothing"
            text = f"{row.key}: {now} since {row.since}, and will be unknown in {row.until}"
            problems.append(Problem(place, text, "deprecated", True))
            document = document.renamed((*path, row.key), row.instead)
    return document, tuple(problems)


def _mappings(
    data: Any, where: Sequence[str], path: DocumentPath = ()
) -> Iterator[tuple[DocumentPath, dict[str, Any]]]:
    """The mappings that a row is about, with their paths; whatever else stands there is not its business."""
    if not where:
        if isinstance(data, dict):
            yield path, data
        return
    first, *rest = where
    if isinstance(data, list) and first == "*":
        found: list[tuple[str | int, Any]] = list(enumerate(data))
    elif isinstance(data, dict):
        found = [(key, value) for key, value in data.items() if first in ("*", key)]
    else:
        found = []
    for part, value in found:
        yield from _mappings(value, rest, (*path, part))
