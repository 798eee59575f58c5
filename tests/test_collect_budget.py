"""Limits of a forge are kept before they are hit, and nothing waits that need not."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from k2alert.collect.budget import Allowance, Budget, Pace, read_allowance

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)
RESET = str(int((NOW + timedelta(minutes=30)).timestamp()))


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, None),
        ({"x-ratelimit-remaining": "7"}, None),
        ({"x-ratelimit-reset": RESET}, None),
        ({"x-ratelimit-remaining": "-7", "x-ratelimit-reset": RESET}, None),
        ({"x-ratelimit-remaining": "7", "x-ratelimit-reset": "soon"}, None),
        ({"x-ratelimit-remaining": "7", "x-ratelimit-reset": RESET}, Allowance("", 7, 0, 1801)),
        (
            {
                "x-ratelimit-remaining": "7",
                "x-ratelimit-limit": "60",
                "x-ratelimit-resource": "core",
                "x-ratelimit-reset": RESET,
            },
            Allowance("core", 7, 60, 1801),
        ),
        (
            {
                "ratelimit-remaining": "7",
                "ratelimit-limit": "2000",
                "ratelimit-name": "throttle_authenticated_api",
                "ratelimit-reset": RESET,
            },
            Allowance("throttle_authenticated_api", 7, 2000, 1801),
        ),
        ({"ratelimit-remaining": "7", "ratelimit-limit": "lots", "ratelimit-reset": RESET}, Allowance("", 7, 0, 1801)),
    ],
)
def test_what_an_answer_says_of_a_limit(headers: dict[str, str], expected: Allowance | None) -> None:
    assert read_allowance(headers, now=NOW) == expected


def test_the_forges_own_clock_says_how_long_a_period_lasts() -> None:
    headers = {"x-ratelimit-remaining": "7", "x-ratelimit-reset": RESET, "date": "Mon, 05 Jan 2026 12:20:00 GMT"}
    allowance = read_allowance(headers, now=NOW - timedelta(hours=3))
    assert allowance is not None
    assert allowance.seconds == 601


@given(at=st.floats(min_value=-1e9, max_value=1e9))
def test_whoever_was_told_nothing_waits_for_nothing_whatever_its_clock_says(at: float) -> None:
    assert (Budget().paused(at), Budget().reserve(at)) == (0, 0)


def test_plenty_waits_for_nothing() -> None:
    budget = Budget()
    budget.learn(Allowance("core", 1001, 5000, 3600), at=0)
    assert [budget.reserve(at) for at in (0, 0, 0)] == [0, 0, 0]
    assert budget.paused(0) == 0


def test_the_last_fifth_is_spread_over_the_time_that_is_left() -> None:
    budget = Budget()
    budget.learn(Allowance("core", 1000, 5000, 3600), at=0)
    waits = [budget.reserve(0) for _ in range(3)]
    assert waits == [0, 4, 8]  # 900 may be asked within 3600 s


def test_a_spread_is_never_so_wide_that_nothing_is_read() -> None:
    budget = Budget()
    budget.learn(Allowance("core", 12, 60, 3600), at=0)
    assert [budget.reserve(0) for _ in range(3)] == [0, 10, 20]


def test_the_last_part_is_left_to_others_until_the_period_ends() -> None:
    budget = Budget()
    budget.learn(Allowance("core", 101, 5000, 3600), at=0)
    assert budget.paused(0) == 0
    budget.learn(Allowance("core", 100, 5000, 3590), at=10)
    assert budget.paused(10) == 3590
    assert budget.paused(3600) == 0
    assert budget.reserve(3600) == 0


def test_less_than_half_of_a_limit_is_scarce_until_it_starts_anew() -> None:
    budget = Budget()
    assert not budget.is_scarce(0)
    budget.learn(Allowance("core", 2499, 5000, 600), at=0)
    assert budget.is_scarce(599)
    assert not budget.is_scarce(600)
    budget.learn(Allowance("core", 2500, 5000, 600), at=700)
    assert not budget.is_scarce(700)


def test_answers_that_overtake_each_other_do_not_give_back_what_is_used() -> None:
    budget = Budget()
    budget.learn(Allowance("core", 100, 5000, 600), at=0)
    budget.learn(Allowance("core", 300, 5000, 600), at=0)
    assert budget.paused(0) == 600


def test_a_new_period_begins_with_its_first_answer() -> None:
    budget = Budget()
    budget.learn(Allowance("core", 100, 5000, 5), at=0)
    budget.learn(Allowance("core", 4999, 5000, 3600), at=6)
    assert budget.paused(6) == 0


def test_each_limit_of_a_forge_counts_by_itself_and_the_nearest_holds() -> None:
    budget = Budget()
    budget.learn(Allowance("api", 1900, 2000, 30), at=0)
    budget.learn(Allowance("jobs", 5, 600, 60), at=0)
    budget.learn(Allowance("api", 1899, 2000, 30), at=0)
    assert budget.paused(0) == 60


@settings(deadline=None)
@given(
    limit=st.integers(min_value=2, max_value=1000),
    seconds=st.floats(min_value=1, max_value=3600),
    others=st.integers(min_value=0, max_value=3),
)
def test_no_limit_is_ever_hit(limit: int, seconds: float, others: int) -> None:
    """A forge that counts, asked as fast as the budget allows, while somebody else uses the same token."""
    budget, used, at, asked = Budget(), 0, 0.0, 0
    while at < seconds and asked < 2 * limit:
        if paused := budget.paused(at):
            at += paused
            continue
        at += budget.reserve(at)
        if at >= seconds:
            break
        assert used < limit, "the forge would have refused this"
        used, asked = used + 1, asked + 1
        left = limit - used
        budget.learn(Allowance("core", left, limit, seconds - at), at)
        used = min(limit, used + (others if left > 2 * others + limit // 50 + 1 else 0))


def test_no_minute_holds_more_than_the_pace() -> None:
    pace = Pace(2)
    assert [pace.reserve(0) for _ in range(5)] == [0, 0, 60, 60, 120]
    assert Pace(None).reserve(0) == 0
