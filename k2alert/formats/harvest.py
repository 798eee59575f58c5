"""What the report files in an archive say, all taken together.

An archive and globs come in, one `Harvest` goes out: at most one report of each kind, for an archive is of one
execution of a job. What cannot be read is told and left out, and the rest is read.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import BinaryIO, NamedTuple, TypeVar

from k2alert.formats.archive import ArchiveCaps, Member, list_members, read_member
from k2alert.formats.benchmarks import Benchmarks, all_benchmarks, read_benchmarks
from k2alert.formats.caps import Caps, Chunks, Reason, Stop, Unreadable
from k2alert.formats.coverage import Coverage, all_coverage, read_coverage
from k2alert.formats.globs import path_matcher
from k2alert.formats.junit import read_tests
from k2alert.formats.tests import Tests, all_tests
from k2alert.text import cut, visible

__all__ = ["Harvest", "Refused", "Wanted", "harvest"]

_T = TypeVar("_T")
_MOST_REFUSED = 100  # told of one archive


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which files of an archive are read as what, as globs on their paths."""

    tests: tuple[str, ...] = ()
    coverage: tuple[str, ...] = ()
    benchmarks: tuple[str, ...] = ()


class Refused(NamedTuple):
    """A file that was not read, and why; `file` is "" where it is the whole archive."""

    file: str
    why: Unreadable


@dataclass(frozen=True, slots=True)
class Harvest:
    """What the files of one archive say; None where there is none of a kind."""

    tests: Tests | None = None
    coverage: Coverage | None = None
    benchmarks: Benchmarks | None = None
    refused: tuple[Refused, ...] = ()


def harvest(
    file: BinaryIO, wanted: Wanted, caps: Caps | None = None, archive_caps: ArchiveCaps | None = None
) -> Harvest:
    """Reads the wanted files of an archive."""
    reading = _Reading(file, caps or Caps(), archive_caps or ArchiveCaps())
    try:
        tests, coverage, benchmarks = reading.find(wanted.tests, wanted.coverage, wanted.benchmarks)
    except Stop as stop:
        return Harvest(refused=(Refused("", stop.why),))
    found = Harvest(
        tests=all_tests(list(reading.read_tests(tests))),
        coverage=all_coverage(list(reading.read(coverage, read_coverage))),
        benchmarks=all_benchmarks(list(reading.read(benchmarks, read_benchmarks))),
    )
    return replace(found, refused=tuple(reading.refused))


@dataclass(slots=True)
class _Reading:
    """One archive being read, and how much may still be read of it."""

    file: BinaryIO
    caps: Caps
    archive_caps: ArchiveCaps
    refused: list[Refused] = field(default_factory=list)
    unpacked: int = 0

    def find(self, *globs: Sequence[str]) -> list[list[Member]]:
        """The members that match each of these lists of globs."""
        matchers = [path_matcher(each) for each in globs]
        found: list[list[Member]] = [[] for _ in globs]
        for member in list_members(self.file, self.archive_caps):
            for matches, members in zip(matchers, found, strict=True):
                if matches(member.name):
                    self._take(member, members)
        return found

    def _take(self, member: Member, members: list[Member]) -> None:
        if len(members) < self.archive_caps.wanted:
            members.append(member)
        else:
            self._refuse(member, Reason.TOO_LARGE, f"there are more than {self.archive_caps.wanted} such files")

    def read(self, members: Sequence[Member], read: Callable[[Chunks, Caps], _T | Unreadable]) -> Iterator[_T]:
        """What those members say that can be read."""
        for member in members:
            found = self._read_one(member, read, self.caps)
            if found is not None:
                yield found

    def read_tests(self, members: Sequence[Member]) -> Iterator[Tests]:
        """The same of tests, of which only so many are held at once."""
        left = self.caps.cases
        for member in members:
            if left <= 0:
                self._refuse(member, Reason.TOO_LARGE, f"there are more than {self.caps.cases} tests in all files")
                continue
            found = self._read_one(member, read_tests, replace(self.caps, cases=left))
            if found is not None:
                left -= found.total if found.named else 0
                yield found

    def _read_one(self, member: Member, read: Callable[[Chunks, Caps], _T | Unreadable], caps: Caps) -> _T | None:
        try:
            found = read(self._chunks(member), caps)
        except Stop as stop:
            found = stop.why
        except Exception as error:  # what a stranger writes must not keep us from reading a project
            found = Unreadable(Reason.BUG, _name_bug(error))
        if isinstance(found, Unreadable):
            self._refuse(member, found.reason, found.line)
            return None
        return found

    def _chunks(self, member: Member) -> Iterator[bytes]:
        for chunk in read_member(self.file, member, self.archive_caps):
            self.unpacked += len(chunk)
            if self.unpacked > self.archive_caps.total:
                size = self.archive_caps.total // 2**20
                raise Stop(Unreadable(Reason.TOO_LARGE, f"the reports are larger than {size} MiB together"))
            yield chunk

    def _refuse(self, member: Member, reason: Reason, line: str) -> None:
        if len(self.refused) < _MOST_REFUSED:
            self.refused.append(Refused(cut(visible(member.name), 200), Unreadable(reason, line)))


def _name_bug(error: Exception) -> str:
    """What the bug is and where in the code."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    where = f" at {trace.tb_frame.f_code.co_name}:{trace.tb_lineno}" if trace is not None else ""
    return f"a bug in k2alert, {type(error).__name__}{where}"
