"""Flaky tests as a gate: report files of one job on one commit, as retries leave them, judged as the daemon does."""

from collections.abc import Sequence
from datetime import timedelta

from k2alert.formats import Tests
from k2alert.gate.verdict import Line, Verdict
from k2alert.measure.executions import Executions
from k2alert.measure.ledger import Ledger, Place, StreamInfo
from k2alert.model import NameOfTest, ReportEntry, Window

__all__ = ["judge_flaky"]

_PLACE = Place("", "")
_JOB = StreamInfo(_PLACE, "", "", "", "", "")
_WINDOW = Window(length=timedelta(days=1))


def judge_flaky(files: Sequence[Tests], *, max_rate: float) -> Verdict | None:
    """The share of distinct tests that both failed and passed against a limit; None where no test was executed.

    A report of which most failed, and at least ten tests, makes nothing flaky, as for the daemon.
    """
    numbers: dict[NameOfTest, int] = {}
    entries = [_entry(index, file, numbers) for index, file in enumerate(files)]
    executions = Executions(Ledger({0: _JOB}, entries))
    distinct = executions.distinct(_WINDOW, 0)
    if not distinct:
        return None
    flaky = executions.flaky(_WINDOW, 0).get((_PLACE, ""), 0)
    names = sorted(name for name, number in numbers.items() if flaky >> number & 1)
    rate = len(names) / distinct
    counts = f"{len(names)} of {distinct} tests"
    lines = [Line("flaky tests", f"{rate:.2%}", f"at most {max_rate:.2%}", rate <= max_rate, counts)]
    lines += [Line(f"{name.suite}: {name.test}" if name.suite else name.test, "flaky") for name in names]
    return Verdict("flaky", tuple(lines), _notes(files))


def _entry(index: int, file: Tests, numbers: dict[NameOfTest, int]) -> ReportEntry:
    """A file as the daemon counts a report; each test gets a number."""
    failed = [NameOfTest(case.suite, case.test) for case in file.cases]
    mixed = [NameOfTest(case.suite, case.test) for case in file.cases if case.both]
    named = file.named
    return ReportEntry(
        stream=0,
        ref=index,
        finished=0,
        executed=max(0, file.total - file.skipped),
        failed=file.failed,
        sha=b"one commit",
        named=named,
        ran=_bits([*file.passed, *failed], numbers) if named else 0,
        failing=_bits(failed, numbers) if named else 0,
        mixed=_bits(mixed, numbers) if named else 0,
        repeats=(),
    )


def _bits(names: Sequence[NameOfTest], numbers: dict[NameOfTest, int]) -> int:
    chosen = {numbers.setdefault(name, len(numbers)) for name in names}
    room = bytearray(len(numbers) // 8 + 1)
    for number in chosen:
        room[number >> 3] |= 1 << (number & 7)
    return int.from_bytes(room, "little")


def _notes(files: Sequence[Tests]) -> tuple[str, ...]:
    unnamed = sum(not file.named for file in files)
    return (f"{unnamed} of {len(files)} files name no tests, and give totals only",) if unnamed else ()
