"""What three metrics must be, worked out from the lines of a history alone, by contract §3 and in exact fractions.

Nothing of k2alert is used here, and nothing is clever: every window looks at every line.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Any, NamedTuple

__all__ = ["Ended", "Expected", "ended_of", "expect", "window_ends"]

DAY = 86_400_000
WEEK = 7 * DAY
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MINUTE = 60_000

# Each forge's own words; Bitcoin's collector wrote in capitals. True: success; False: failure, error or timeout;
# None: it decides nothing. A word that is not here is an error of this table.
_VERDICTS: Mapping[str, bool | None] = {
    "success": True,
    "COMPLETED": True,
    "failure": False,
    "failed": False,
    "FAILED": False,
    "startup_failure": False,
    "cancelled": None,
    "canceled": None,
    "ABORTED": None,
}


class Ended(NamedTuple):
    """A run that finished: when, in how long (milliseconds), and what it says."""

    finished: int
    duration: int
    verdict: bool | None


class Expected(NamedTuple):
    """What the metrics of these names are in one window."""

    success_rate: float | None
    avg_duration_minutes: float | None
    total_pipelines: int


def ended_of(row: Mapping[str, Any], *, whole_seconds: bool = False) -> Ended | None:
    """How the line's run ended; None where it did not, or where nobody knows how.

    GitLab says itself when a pipeline finished and how long it took (`whole_seconds`: its GraphQL leaves out the
    milliseconds). A GitHub run ends with its last job, or when it was last updated where no job is known, and takes
    from its start to that.
    """
    if row["conclusion"] is None or row["status"] == "running":
        return None
    verdict = _VERDICTS[row["conclusion"]]
    if row["provider"] == "gitlab":
        finished = _ms(row["finished_at"])
        return Ended(finished - finished % 1000 if whole_seconds else finished, int(row["duration_s"] * 1000), verdict)
    finished = max((_ms(job["finished_at"]) for job in row["jobs"] if job["finished_at"]), default=0)
    finished = finished or _ms(row["updated_at"])
    return Ended(finished, finished - _ms(row["started_at"]), verdict)


def expect(runs: Iterable[Ended], length: int, at: int) -> Expected:
    """The metrics over the window (at − length, at], all in milliseconds."""
    inside = [run for run in runs if at - length < run.finished <= at]
    decided = [run for run in inside if run.verdict is not None]
    if not decided:
        return Expected(None, None, len(inside))
    rate = Fraction(sum(run.verdict is True for run in decided), len(decided))
    minutes = Fraction(sum(run.duration for run in decided), len(decided) * _MINUTE)
    return Expected(float(rate), float(minutes), len(inside))


def window_ends(runs: Sequence[Ended], lengths: Iterable[int]) -> list[int]:
    """Where a window's value may change, and a millisecond before; and every midnight until nothing is left in any.

    A run enters a window at its finish, and leaves it as much later as the window is long.
    """
    longest = max(lengths := tuple(lengths))
    first, last = min(run.finished for run in runs), max(run.finished for run in runs) + longest
    moves = {run.finished + shift for run in runs for shift in (0, *lengths)}
    midnights = range(first - first % DAY, last + DAY, DAY)
    return sorted({*moves, *(at - 1 for at in moves), *midnights})


def _ms(text: str) -> int:
    return (datetime.fromisoformat(text) - _EPOCH) // timedelta(milliseconds=1)
