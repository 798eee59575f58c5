"""Gauges that take long to draw hold up no round."""

import asyncio
from pathlib import Path

from k2alert.model import Result
from tests.support.house import a_house, counted
from tests.support.looks import finished_run
from tests.support.office import Pause


async def test_gauges_are_drawn_beside_the_rounds_and_left_alone_for_ten_times_as_long_as_they_took(
    tmp_path: Path,
) -> None:
    async with a_house(tmp_path, projects=60) as (house, rounds):
        house.takes = 0.5
        await rounds.round()
        assert house.drawn == 0
        await rounds.draw()
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


async def test_however_long_gauges_take_they_are_drawn_as_often_as_rounds_come_by_themselves(tmp_path: Path) -> None:
    async with a_house(tmp_path, projects=60) as (house, rounds):
        house.takes = 20.0
        await rounds.round()
        await rounds.draw()
        house.seconds += 30
        await rounds.round()
        assert house.drawn == 1
        await rounds.draw()
        assert house.drawn == 2


async def test_a_round_calls_for_gauges_and_while_one_is_going_on_none_are_drawn(tmp_path: Path) -> None:
    async with a_house(tmp_path, projects=60) as (house, rounds):
        await rounds.round()
        assert rounds.pictures.undrawn.is_set()
        house.seconds += 10
        house.drawing = Pause()
        drawing = asyncio.create_task(rounds.draw())
        await house.drawing.reached.wait()
        await house.store.save([finished_run("3", 3, Result.FAILURE)])
        house.looking = Pause()
        later = asyncio.create_task(rounds.round())
        await house.looking.reached.wait()
        house.drawing.go.set()
        for _ in range(100):
            await asyncio.sleep(0)
        assert not drawing.done()
        house.looking.go.set()
        await later
        await drawing
        assert counted(rounds) == 3  # the round has taken none of it back: that would be a reset, to Prometheus
        house.seconds += 10
        await rounds.draw()
        assert house.drawn == 2  # what the round left


async def test_rounds_that_leave_each_other_no_rest_do_not_keep_gauges_from_being_drawn(tmp_path: Path) -> None:
    async with a_house(tmp_path, projects=60) as (house, rounds):
        await rounds.round()
        house.seconds += 30
        await rounds.round()
        drawn, began = rounds.pictures.drawings, house.seconds
        drawing = asyncio.create_task(rounds.draw())
        while not drawing.done():
            house.seconds += 1
            await rounds.round()
        assert rounds.pictures.drawings == drawn + 1
        assert house.seconds - began < 40


async def test_gauges_that_could_not_be_drawn_are_drawn_once_the_store_is_back(tmp_path: Path) -> None:
    async with a_house(tmp_path, projects=60) as (house, rounds):
        await rounds.round()
        house.down = True
        await rounds.draw()
        house.down = False
        assert counted(rounds) == 0
        await rounds.draw()
        assert counted(rounds) == 2


async def test_while_gauges_are_drawn_no_round_draws_others_that_those_would_take_back(tmp_path: Path) -> None:
    async with a_house(tmp_path) as (house, rounds):
        house.down = True
        await rounds.round()
        house.down = False
        house.drawing = Pause()
        drawing = asyncio.create_task(rounds.draw())
        await house.drawing.reached.wait()
        later = asyncio.create_task(rounds.round())
        while not rounds.pictures.undrawn.is_set():
            await asyncio.sleep(0)
        assert house.drawn == 2
        house.drawing.go.set()
        await asyncio.gather(drawing, later)
        await rounds.draw()
        assert house.drawn == 3
