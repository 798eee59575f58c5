"""Coverage as a gate: enough of the lines, and not much less than before."""

from collections.abc import Sequence

from k2alert.formats import Coverage, all_coverage
from k2alert.gate.verdict import Line, Verdict

__all__ = ["judge_coverage"]

_PART = 0.75  # of the files of the report before: with fewer it may be only a part of a report, as for the daemon
_DIGITS = 6  # what is less than a millionth of a point is the arithmetic's


def judge_coverage(
    files: Sequence[Coverage], previous: Coverage | float | None, *, minimum: float, max_drop: float
) -> Verdict:
    """Lines covered against a minimum in percent, and the drop in points against `previous`, a report or a percentage.

    A shrunken report is compared all the same, and said to be one: a gate is no place to trust what is missing.
    """
    now = all_coverage(files)
    if now is None:
        raise ValueError("no coverage report")
    lines = [_minimum(now, minimum), *_drop(now, previous, max_drop)]
    if now.branch_percent is not None:
        lines.append(Line("branches", _percent(now.branch_percent)))
    return Verdict("coverage", tuple(lines), tuple(_notes(now, previous)))


def _minimum(now: Coverage, minimum: float) -> Line:
    counts = f"{now.lines_covered} of {now.lines_valid} lines" if now.lines_valid is not None else ""
    enough = round(now.percent - minimum, _DIGITS) >= 0
    return Line("lines", _percent(now.percent), f"at least {_percent(minimum)}", enough, counts)


def _drop(now: Coverage, previous: Coverage | float | None, max_drop: float) -> list[Line]:
    if previous is None:
        return [Line("drop", "unknown", f"at most {max_drop:g} points", None, "nothing to compare with")]
    before = previous.percent if isinstance(previous, Coverage) else previous
    drop = round(before - now.percent, _DIGITS)
    return [
        Line("drop", f"{drop:.2f} points", f"at most {max_drop:g} points", drop <= max_drop, f"from {_percent(before)}")
    ]


def _notes(now: Coverage, previous: Coverage | float | None) -> list[str]:
    if not isinstance(previous, Coverage) or not now.files or not previous.files:
        return []
    kept = len(set(now.files) & set(previous.files))
    if kept >= _PART * len(previous.files):
        return []
    return [f"it holds {kept} of the {len(previous.files)} source files of the report before: is it only a part?"]


def _percent(value: float) -> str:
    """A percentage cut, not rounded: what is just below a limit must not look as if it reached it."""
    return f"{int(value * 100 + 1e-6) / 100:.2f}%"
