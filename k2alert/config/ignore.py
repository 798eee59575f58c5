"""`# k2alert: ignore CODE`: the comments by which the author of a file says that a warning is known.

A file's text comes in; which codes are ignored on which lines goes out, and a warning for a code that there is not.
"""

import difflib
import re
from collections.abc import Iterator
from typing import NamedTuple

from k2alert.config.codes import IGNORABLE
from k2alert.model import Place, Problem

__all__ = ["Ignored", "ignored_in"]

_COMMENT = re.compile(r"(?P<before>.*?)#\s*k2alert:\s*ignore\b\s*(?P<codes>[^#]*)", re.DOTALL)
_SEPARATORS = re.compile(r"[,\s]+")


class Ignored(NamedTuple):
    """Codes by file and line, and what is wrong with the comments."""

    codes: frozenset[tuple[str, int, str]]
    problems: tuple[Problem, ...]


def ignored_in(text: str, file: str) -> Ignored:
    """What a file's comments ignore: on their own line, or on the next line with more than a comment."""
    codes: set[tuple[str, int, str]] = set()
    problems: list[Problem] = []
    waiting: set[str] = set()
    for number, line in enumerate(text.split("\n"), 1):
        found = _COMMENT.match(line)
        asked = set(_codes(found["codes"])) if found else set()
        problems += [_unknown(code, Place(file, number, line.index(code) + 1)) for code in sorted(asked - IGNORABLE)]
        stands_alone = line.strip().startswith("#") or not line.strip()
        waiting |= asked & IGNORABLE
        if not stands_alone:
            codes |= {(file, number, code) for code in waiting}
            waiting = set()
    return Ignored(frozenset(codes), tuple(problems))


def _codes(text: str) -> Iterator[str]:
    return (code for code in _SEPARATORS.split(text) if code)


def _unknown(code: str, place: Place) -> Problem:
    near = difflib.get_close_matches(code, sorted(IGNORABLE), n=1)
    advice = f'; did you mean "{near[0]}"?' if near else ""
    return Problem(place, f'there is no code "{code[:60]}" to ignore{advice}', "ignore", warning=True)
