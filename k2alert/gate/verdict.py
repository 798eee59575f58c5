"""What a gate comes to, and how it is shown: as text, JSON, Markdown for a merge request, and JUnit's XML.

Names in reports are anybody's text: on a terminal they hold nothing invisible, in Markdown they stand in code, where
nothing is a link or a mention.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from xml.etree.ElementTree import Element, SubElement, tostring

from k2alert.text import cut, visible

__all__ = ["Line", "Verdict", "as_json", "as_junit", "as_markdown", "as_text"]

_LONGEST = 200
_MOST_SHOWN = 100  # lines in a comment or on a terminal; JSON has all


@dataclass(frozen=True, slots=True)
class Line:
    """One thing that was looked at. `passed` None: it is shown and not judged."""

    what: str
    value: str
    limit: str = ""
    passed: bool | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a gate (`coverage`, say) found; the first line is what matters most."""

    gate: str
    lines: tuple[Line, ...]
    notes: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether nothing that was judged failed."""
        return all(line.passed is not False for line in self.lines)

    @property
    def title(self) -> str:
        """The verdict in one line."""
        failed = sum(line.passed is False for line in self.lines)
        return f"gate {self.gate}: passed" if not failed else f"gate {self.gate}: failed ({failed})"


def as_text(verdict: Verdict) -> str:
    """A table for a terminal, and the verdict last, where a log ends."""
    rows = [[_clean(cell) for cell in _cells(line)] for line in _shown(verdict)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    table = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
    return "\n".join([*table, *_more(verdict), *map(_clean, verdict.notes), verdict.title])


def as_markdown(verdict: Verdict) -> str:
    """A comment for a merge request."""
    head = ["", "", "value", "limit", ""]
    rows = [[mark, *map(_code, (what, value, limit)), _code(note)] for mark, what, value, limit, note in _rows(verdict)]
    table = [_row(head), _row(["---"] * len(head)), *map(_row, rows)]
    notes = [f"- {_code(note)}" for note in (*_more(verdict), *verdict.notes)]
    return (
        "\n".join([f"### {'✅' if verdict.passed else '❌'} {verdict.title}", "", *table, "", *notes]).rstrip() + "\n"
    )


def as_json(verdict: Verdict) -> str:
    """The same for programs; `passed` of a line is null where it is not judged."""
    lines = [
        {"what": line.what, "value": line.value, "limit": line.limit, "passed": line.passed, "note": line.note}
        for line in verdict.lines
    ]
    found = {"gate": verdict.gate, "passed": verdict.passed, "lines": lines, "notes": verdict.notes}
    return json.dumps(found, indent=2, ensure_ascii=False).encode("utf-8", "replace").decode()


def as_junit(verdict: Verdict) -> bytes:
    """A test suite whose cases are the lines that were judged."""
    judged = [line for line in verdict.lines if line.passed is not None]
    counts = {"tests": str(len(judged)), "failures": str(sum(not line.passed for line in judged)), "errors": "0"}
    name = f"k2alert gate {verdict.gate}"
    top = Element("testsuites", name=name)
    suite = SubElement(top, "testsuite", {"name": name, **counts})
    for line in judged:
        case = SubElement(suite, "testcase", name=_clean(line.what), classname=name)
        if not line.passed:
            SubElement(case, "failure", message=_clean(f"{line.value}, {line.limit} {line.note}".strip()))
    content: bytes = tostring(top, encoding="utf-8", xml_declaration=True)
    return content


def _shown(verdict: Verdict) -> Sequence[Line]:
    return verdict.lines[:_MOST_SHOWN]


def _more(verdict: Verdict) -> list[str]:
    left = len(verdict.lines) - _MOST_SHOWN
    return [f"and {left} more"] if left > 0 else []


def _rows(verdict: Verdict) -> Iterable[tuple[str, ...]]:
    return (_cells(line) for line in _shown(verdict))


def _cells(line: Line) -> tuple[str, ...]:
    mark = "" if line.passed is None else "ok" if line.passed else "FAIL"
    return mark, line.what, line.value, line.limit, line.note


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _clean(text: str) -> str:
    return cut(visible(text), _LONGEST)


def _code(text: str) -> str:
    """Text of others as a piece of code: nothing in it is markup, and it ends no table cell."""
    safe = _clean(text).replace("`", "'").replace("|", "¦").strip()
    return f"`{safe}`" if safe else ""
