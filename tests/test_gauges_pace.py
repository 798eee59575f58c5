"""Gauges that take long to draw hold up no round."""

import asyncio
from pathlib import Path

from k2alert.model import Result
from k2alert.rounds import Rounds
from tests.support.house import a_house
from tests.support.looks import finished_run
from tests.support.office import Pause


async def test_gauges_that_take_long_are_left_alone_for_ten_times_as_long_and_drawn_then(tmp_path: Path) -> None:
    async with a_house(tmp_path) as (house, rounds):
        house.takes = 0.5
        await rounds.round()
        assert house.drawn == 1
        house.seconds += 1
        await rounds.round()
        await rounds.draw()
        assert house.drawn == 1
        assert rounds.snapshot is not None
        assert rounds.snapshot.now == house.now
        house.seconds += 4.1
        await rounds.draw()
        assert house.drawn == 2
        house.seconds += 60
        await rounds.draw()
        assert house.drawn == 2  # there is nothing new


async def test_gauges_that_take_a_moment_are_drawn_in_every_round(tmp_path: Path) -> None:
    async with a_house(tmp_path) as (house, rounds):
        for number in range(3):
            house.takes = 0.2
            await rounds.round()
            assert house.drawn == number + 1


async def test_however_long_gauges_take_they_are_drawn_as_often_as_rounds_come_by_themselves(tmp_path: Path) -> None:
    async with a_house(tmp_path) as (house, rounds):
        house.takes = 20.0
        await rounds.round()
        house.seconds += 30
        await rounds.round()
        assert house.drawn == 1
        await rounds.draw()
        assert house.drawn == 2


async def test_gauges_that_are_drawn_while_a_round_is_shown_stay(tmp_path: Path) -> None:
    async with a_house(tmp_path) as (house, rounds):
        house.takes = 0.5
        await rounds.round()
        assert counted(rounds) == 2
        house.seconds += 10
        await rounds.round()
        await house.store.save([finished_run("3", 3, Result.FAILURE)])
        house.looking = Pause()
        later = asyncio.create_task(rounds.round())
        await house.looking.reached.wait()
        await rounds.draw()
        assert counted(rounds) == 3
        house.looking.go.set()
        await later
        assert counted(rounds) == 3  # a counter that goes back has been reset, to Prometheus


async def test_what_came_while_gauges_were_drawn_in_a_moment_is_drawn_before_the_next_round(tmp_path: Path) -> None:
    async with a_house(tmp_path) as (house, rounds):
        house.takes = 0.5
        await rounds.round()
        house.seconds += 10
        await rounds.round()
        house.takes = 0.1
        house.drawing = Pause()
        drawing = asyncio.create_task(rounds.draw())
        await house.drawing.reached.wait()
        await rounds.round()
        house.drawing.go.set()
        await drawing
        assert house.drawn == 2
        house.seconds += 5
        await rounds.draw()
        assert house.drawn == 3


def counted(rounds: Rounds) -> int:
    """How many runs the series count."""
    assert rounds.snapshot is not None
    text = rounds.snapshot.series.plain.decode()
    return sum(int(float(line.split()[-1])) for line in text.splitlines() if line.startswith("k2alert_ci_runs_total{"))
