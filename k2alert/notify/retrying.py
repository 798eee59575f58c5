"""How long to wait after failures, and what their number says of how long they have gone on."""

from datetime import datetime, timedelta

from k2alert.model import LogEntry

__all__ = ["GIVE_UP_AFTER", "LATE", "LONGEST_RETRY", "backoff", "failing_for", "is_put_off"]

FIRST_WAIT = timedelta(seconds=10)
LONGEST_WAIT = timedelta(minutes=15)

LONGEST_RETRY = timedelta(hours=24)
"""No message waits longer to be tried again; a time beyond that was taken from a clock that was wrong."""

GIVE_UP_AFTER = LONGEST_RETRY
"""How long one message is tried, counted in waits: time in which k2alert does not run does not count."""

LATE = timedelta(minutes=10)
"""What has failed for so long is told through somebody else, though it is still tried."""


def backoff(failures: int, chance: float = 1.0) -> timedelta:
    """How long to wait after so many failures in a row: 10 s, doubled each time, at most 15 min.

    `chance`, from 0 to 1, takes up to a quarter off, so that what failed together is not tried together again.
    """
    return min(FIRST_WAIT * (1 << min(failures - 1, 20)), LONGEST_WAIT) * (0.75 + 0.25 * chance)


def is_put_off(entry: LogEntry, now: datetime) -> bool:
    """Whether its time to be tried again is yet to come, by a clock that was right as far as can be told."""
    at, sent = entry.retry_at, entry.last_sent_at
    return at is not None and now < at <= now + LONGEST_RETRY and (sent is None or sent <= now)


def failing_for(failures: int) -> timedelta:
    """How long so many failures took, the wait after the last not counted."""
    return sum((backoff(number) for number in range(1, failures)), start=timedelta(0))
