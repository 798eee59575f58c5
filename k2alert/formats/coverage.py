"""Coverage reports: Cobertura, Clover and JaCoCo, which are XML, and LCOV, which is text.

Lines and branches are never mixed: coverage.py's total with branches is another number than its share of lines. Counts
go before rates, for rates are rounded; where the root has none, lines are counted, each once for each source file.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from k2alert.formats.caps import Caps, Chunks, Stop, Unreadable, malformed, peek, quoted, too_large
from k2alert.formats.lcov import read_lcov
from k2alert.formats.lines import Coverage, covered, share
from k2alert.formats.xml import walk

__all__ = ["Coverage", "all_coverage", "read_coverage"]

_CONDITIONS = re.compile(r"\((\d{1,9})/(\d{1,9})\)")


def read_coverage(chunks: Chunks, caps: Caps | None = None) -> Coverage | Unreadable:
    """What a coverage report says, whichever of the four it is."""
    caps = caps or Caps()
    begun, whole = peek(chunks)
    if begun[:1] != b"<" and begun[:3] != b"\xef\xbb\xbf" and b"\0" not in begun[:4]:
        return read_lcov(whole, caps) if begun else malformed("it is empty")
    reader = _Reader(caps)
    trouble = walk(whole, reader, caps)
    return trouble if trouble is not None else reader.coverage()


def all_coverage(files: Sequence[Coverage]) -> Coverage | None:
    """All files of one execution together; None without any.

    Lines are added up: modules that each write their own report. Where a file tells only a rate, the mean of the rates.
    """
    if len(files) < 2:
        return files[0] if files else None
    counts = [(each.lines_covered, each.lines_valid) for each in files]
    hit = sum(one or 0 for one, _ in counts)
    valid = sum(one or 0 for _, one in counts)
    known = all(one is not None for _, one in counts)
    branches = [(each.branches_covered, each.branches_valid) for each in files if each.branches_valid]
    return Coverage(
        percent=share(hit, valid) if known else sum(each.percent for each in files) / len(files),
        branch_percent=share(sum(hit for hit, _ in branches), sum(valid for _, valid in branches))
        if branches
        else None,
        lines_covered=hit if known else None,
        lines_valid=valid if known else None,
        branches_covered=sum(hit for hit, _ in branches),
        branches_valid=sum(valid for _, valid in branches),
        files=tuple(dict.fromkeys(path for each in files for path in each.files)),
    )


@dataclass(slots=True)
class _Tally:
    """Things and how many of them were covered."""

    hit: int = 0
    valid: int = 0


class _Reader:
    """Hears of the elements of any of the three, and tells them apart by the root."""

    def __init__(self, caps: Caps) -> None:
        self.listens = False
        self._caps = caps
        self._open: list[str] = []
        self._root: Mapping[str, str] = {}
        self._files: dict[str, None] = {}
        self._room = caps.names
        self._package = self._file = ""
        self._lines: dict[str, dict[int, bool]] = {}  # of Cobertura: by file and number, whether it was hit
        self._held = 0
        self._branches = _Tally()
        self._totals: dict[str, _Tally] = {}  # of JaCoCo and Clover: those that the root tells
        self._sums: dict[str, _Tally] = {}  # and those of the files

    def start(self, name: str, attributes: Mapping[str, str]) -> None:
        if not self._open:
            if name not in ("coverage", "report"):
                raise Stop(malformed(f"its root is <{quoted(name)}>, and neither <coverage> nor <report>"))
            self._root = dict(attributes)
        elif self._open[0] == "report":
            self._hear_jacoco(name, attributes)
        elif name == "metrics" and self._open[-1] == "project":
            self._hear_clover(attributes)
        else:
            self._hear_cobertura(name, attributes)
        self._open.append(name)

    def end(self, name: str) -> None:
        self._open.pop()

    def text(self, text: str) -> None: ...

    # ------------------------------------------------------------------------------------------ the dialects

    def _hear_jacoco(self, name: str, attributes: Mapping[str, str]) -> None:
        if name == "package":
            self._package = attributes.get("name", "")
        elif name == "sourcefile":
            self._add_file(f"{self._package}/{attributes.get('name', '')}".lstrip("/"))
        elif name == "counter" and self._open[-1] in ("report", "sourcefile"):
            tallies = self._totals if self._open[-1] == "report" else self._sums
            tally = tallies.setdefault(attributes.get("type", "")[:20], _Tally())
            hit, missed = _count(attributes, "covered"), _count(attributes, "missed")
            tally.hit += hit
            tally.valid += hit + missed

    def _hear_clover(self, attributes: Mapping[str, str]) -> None:
        for kind, valid, hit in (
            ("LINE", "statements", "coveredstatements"),
            ("BRANCH", "conditionals", "coveredconditionals"),
        ):
            self._totals[kind] = _Tally(_count(attributes, hit), _count(attributes, valid))

    def _hear_cobertura(self, name: str, attributes: Mapping[str, str]) -> None:
        if name == "class":
            self._file = attributes.get("filename", "")
            self._add_file(self._file)
        elif name == "file":  # Clover's
            self._add_file(attributes.get("path") or attributes.get("name", ""))
        elif name == "line" and self._open[-2:] == ["class", "lines"] and "lines-valid" not in self._root:
            self._add_line(attributes)

    def _add_file(self, path: str) -> None:
        if path and path not in self._files:
            self._files[path] = None
            self._room -= len(path)
            if len(self._files) > self._caps.files or self._room < 0:
                raise too_large(f"it is of more than {self._caps.files} source files")

    def _add_line(self, attributes: Mapping[str, str]) -> None:
        lines = self._lines.setdefault(self._file, {})
        number = _count(attributes, "number")
        if number not in lines:
            self._held += 1
            conditions = _CONDITIONS.search(attributes.get("condition-coverage", "")[:100])
            if conditions:
                self._branches.hit += int(conditions[1])
                self._branches.valid += int(conditions[2])
        lines[number] = lines.get(number, False) or _count(attributes, "hits") > 0
        if self._held > self._caps.cases * 4:
            raise too_large(f"it is of more than {self._caps.cases * 4} lines")

    # ------------------------------------------------------------------------------------------ what it comes to

    def coverage(self) -> Coverage | Unreadable:
        """All that was heard."""
        totals = self._totals if "LINE" in self._totals else self._sums
        if "LINE" in totals:
            lines, branches = totals["LINE"], totals.get("BRANCH", _Tally())
        elif "lines-valid" in self._root:
            lines = _Tally(_count(self._root, "lines-covered"), _count(self._root, "lines-valid"))
            branches = _Tally(_count(self._root, "branches-covered"), _count(self._root, "branches-valid"))
        else:
            hits = [hit for lines in self._lines.values() for hit in lines.values()]
            lines, branches = _Tally(sum(hits), len(hits)), self._branches
        if not lines.valid and "line-rate" in self._root and "lines-valid" not in self._root:
            return self._by_rate()
        return covered(
            hit=lines.hit,
            valid=lines.valid,
            branches_hit=branches.hit,
            branches_valid=branches.valid,
            files=tuple(self._files),
        )

    def _by_rate(self) -> Coverage | Unreadable:
        try:
            rate = float(self._root["line-rate"])
        except ValueError:
            rate = -1
        if not 0 <= rate <= 1:
            return malformed("its line-rate is no number between 0 and 1")
        return Coverage(percent=rate * 100, files=tuple(self._files))


def _count(attributes: Mapping[str, str], name: str) -> int:
    """A whole number that is not negative; 0 where there is none."""
    text = attributes.get(name, "").strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 15 else 0
