"""What rounds do, and what happens between them."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from k2alert.labels import parse_matcher
from k2alert.model import Result, SilenceDraft
from tests.support.house import APP, a_house, counted
from tests.support.living import delivered
from tests.support.looks import finished_run
from tests.support.posts import taking_posts


async def test_what_is_silenced_between_two_rounds_is_not_told_any_more(tmp_path: Path) -> None:
    async with taking_posts() as posts, a_house(tmp_path, hook=posts.url) as (house, rounds):
        posts.script = [(503, {})]
        await rounds.round()
        await delivered()
        draft = SilenceDraft(
            matchers=(parse_matcher('project="k2/app"'),),
            starts_at=house.now,
            ends_at=house.now + timedelta(hours=1),
            author="dana",
            comment="known",
        )
        await rounds.silences.save(draft)
        house.seconds += 20
        await rounds.deliver()
        await delivered()
        assert (posts.script, posts.taken) == ([], [])


async def test_when_a_round_of_a_few_projects_is_over_its_gauges_are_there(tmp_path: Path) -> None:
    async with a_house(tmp_path) as (house, rounds):
        house.takes = 0.1
        for runs in (2, 3):
            await rounds.round()
            assert counted(rounds) == runs
            await house.store.save([finished_run("3", 3, Result.FAILURE)])
            house.seconds += 1


async def test_where_its_gauges_take_long_the_next_round_does_not_draw_them(tmp_path: Path) -> None:
    async with a_house(tmp_path) as (house, rounds):
        house.takes = 0.5
        for _ in range(2):
            await rounds.round()
            house.seconds += 5
        assert house.drawn == 1
        await rounds.draw()
        assert house.drawn == 2


async def test_projects_whose_source_a_reload_took_away_are_not_looked_at(tmp_path: Path) -> None:
    async with a_house(tmp_path) as (house, rounds):
        house.projects.append(replace(APP, source="gone"))  # as the collector has it until its looks have ended
        await rounds.round()
        assert rounds.snapshot is not None
        assert b"gone" not in rounds.snapshot.series.plain
