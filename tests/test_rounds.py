"""What rounds do, and what happens between them."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from k2alert.labels import parse_matcher
from k2alert.model import SilenceDraft
from tests.support.house import APP, a_house
from tests.support.living import delivered
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


async def test_the_first_round_leaves_no_gauge_of_a_few_projects_out(tmp_path: Path) -> None:
    async with a_house(tmp_path) as (_, rounds):
        await rounds.round()
        assert rounds.snapshot is not None
        assert b"k2alert_ci_runs_total{" in rounds.snapshot.series.plain


async def test_projects_whose_source_a_reload_took_away_are_not_looked_at(tmp_path: Path) -> None:
    async with a_house(tmp_path) as (house, rounds):
        house.projects.append(replace(APP, source="gone"))  # as the collector has it until its looks have ended
        await rounds.round()
        assert rounds.snapshot is not None
        assert b"gone" not in rounds.snapshot.series.plain
