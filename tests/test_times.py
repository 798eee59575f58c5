"""Instants as text: the same before the store, which keeps milliseconds, and after it."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from k2alert.times import from_ms, iso, to_ms

T = datetime(2026, 1, 5, 12, 0, 15, tzinfo=UTC)


@pytest.mark.parametrize(
    ("microseconds", "text"),
    [(0, "15Z"), (1, "15Z"), (999, "15Z"), (1000, "15.001Z"), (1999, "15.001Z"), (999_999, "15.999Z")],
)
def test_an_instant_reads_the_same_once_it_was_stored(microseconds: int, text: str) -> None:
    at = T + timedelta(microseconds=microseconds)
    assert iso(at) == f"2026-01-05T12:00:{text}"
    assert iso(from_ms(to_ms(at))) == iso(at)


def test_other_zones_are_written_in_utc() -> None:
    assert iso(T.astimezone(timezone(timedelta(hours=2)))) == "2026-01-05T12:00:15Z"
