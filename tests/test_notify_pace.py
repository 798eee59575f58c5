"""Turns, on a clock in hand."""

import asyncio
from datetime import timedelta

from k2alert.notify.pace import Limit, Pace
from tests.support.wires import Waits

SECOND = timedelta(seconds=1)
ONE = Limit(1, SECOND)
FIVE = Limit(5, timedelta(seconds=10))


async def test_turns_are_given_in_the_order_of_asking_and_each_waits_for_its_own() -> None:
    woken: list[float] = []
    now = [0.0]

    async def sleep(seconds: float) -> None:
        woken.append(seconds)

    pace = Pace(lambda: now[0], sleep)
    assert await asyncio.gather(*(pace.turn("a", ONE) for _ in range(4))) == [None] * 4
    assert woken == [1, 2, 3]
    now[0] = 2.5
    assert await pace.turn("a", ONE) is None
    assert woken[3:] == [1.5]
    now[0] = 100
    assert await pace.turn("a", ONE) is None
    assert woken[4:] == []


async def test_a_burst_is_let_through_whole_and_what_is_beyond_waits() -> None:
    waits = Waits()
    pace = waits.pace
    for _ in range(5):
        assert await pace.turn("a", FIVE) is None
    assert waits.slept == []
    assert await pace.turn("a", FIVE) == timedelta(seconds=10)
    waits.now = 6
    assert await pace.turn("a", FIVE) is None
    assert waits.slept == [4]
    assert await pace.turn("b", FIVE) is None


async def test_nobody_waits_where_it_takes_long_and_no_turn_is_lost_by_that() -> None:
    waits = Waits()
    pace = waits.pace
    pace.hold("a", 6 * SECOND)
    assert [await pace.turn("a", ONE) for _ in range(3)] == [6 * SECOND] * 3
    pace.hold("a", 2 * SECOND)  # asked for less than before
    waits.now = 1
    assert await pace.turn("a", ONE) is None
    assert waits.slept == [5]


async def test_those_who_have_not_been_spoken_to_for_long_are_forgotten() -> None:
    waits = Waits()
    pace = waits.pace
    pace.hold("held", timedelta(days=1))
    for number in range(5000):
        waits.now += 1
        assert await pace.turn(number, ONE) is None
    assert len(pace._lines) <= 1001
    assert await pace.turn("held", ONE) is not None
