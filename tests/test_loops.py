"""Rounds that are called for: at once, but for no more than a share of the time. The clock is in the test's hands."""

import asyncio
from datetime import timedelta

import pytest

from k2alert.loops import Allowance, Breaks, repeat


@pytest.mark.parametrize(
    ("rounds", "missing"),
    [
        ([], 0.0),
        ([(0.0, 0.4), (0.5, 0.4)], 0.0),  # now and then one that takes long: nobody waits
        ([(0.0, 1.2)], 2.0),  # a second was saved up, what is more comes in at a tenth of the time
        ([(0.0, 1.0), (0.0, 0.1), (0.0, 0.1)], 2.0),  # so do many short ones
        ([(0.0, 1.2), (1.5, 0.0)], 0.5),
        ([(0.0, 1.2), (2.0, 0.0)], 0.0),
        ([(3600.0, 1.1)], 1.0),  # no more than a second is saved up
        ([(0.0, 1.0), (-5.0, 0.1)], 1.0),  # a clock that stands still or worse gives nothing
    ],
)
def test_rounds_that_are_called_for_wait_once_they_have_taken_more_than_a_tenth_of_the_time(
    rounds: list[tuple[float, float]], missing: float
) -> None:
    now = 50.0
    allowance = Allowance(now)
    for after, took in rounds:
        now += after
        allowance.missing(now)
        allowance.spend(took)
    assert allowance.missing(now) == pytest.approx(missing)


async def test_who_calls_just_after_a_long_round_that_came_by_itself_does_not_wait_for_the_next() -> None:
    stop, wake, busy = asyncio.Event(), asyncio.Event(), [0.0]
    rounds = 0

    async def work() -> None:
        nonlocal rounds
        rounds += 1
        busy[0] += 60.0 if rounds == 1 else 0.2
        (stop if rounds == 4 else wake).set()

    await repeat(work, lambda: timedelta(hours=1), stop, monotonic=lambda: 1000.0, wake=wake, busy=lambda: busy[0])
    assert rounds == 4


async def test_what_neighbours_make_long_counts_for_nothing() -> None:
    stop, wake, clock = asyncio.Event(), asyncio.Event(), [0.0]
    rounds = 0

    async def work() -> None:
        nonlocal rounds
        rounds += 1
        clock[0] += 60.0
        (stop if rounds == 4 else wake).set()

    await repeat(
        work, lambda: timedelta(hours=1), stop, monotonic=lambda: clock[0], wake=wake, busy=lambda: clock[0] / 1000
    )
    assert rounds == 4


async def test_work_in_small_parts_rests_after_some_of_them_and_not_after_each() -> None:
    clock, rests = [0.0], 0

    async def sleep(seconds: float) -> None:
        nonlocal rests
        assert seconds > 0
        rests += 1
        clock[0] += seconds

    breaks = Breaks(monotonic=lambda: clock[0], sleep=sleep)
    for _ in range(1000):
        await breaks.pause()
        clock[0] += 0.0001
    assert 20 <= rests <= 60
