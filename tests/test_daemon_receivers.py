"""Restarts and reloads in the middle of an incident, as every kind of receiver hears them: a whole daemon."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from tests.support.daemon import PROJECT, Running, World, a_world, daemon, until, until_judged
from tests.support.ears import INTEGRATIONS, Ears, listening_ears, receiver

RULES = """
alert_rules:
  - name: main_is_red
    condition: consecutive_failures >= 1
    period: 24h
    severity: critical
    message: "red since {{ started_at }}"
  - name: main_stays_red
    condition: consecutive_failures >= 2
    period: 24h
    severity: critical
    message: "red since {{ started_at }}"
"""


def write_config(folder: Path, world: World, ears: Ears, lane: str) -> Path:
    """One receiver, told in all ways."""
    (folder / "rules.yml").write_text(RULES)
    config = folder / "k2alert.yml"
    config.write_text(
        f"""
sources:
  - {{type: gitlab, name: gitlab, url: "{world.url}", token: secret-token-1, projects: [{PROJECT}],
     poll_interval: 100ms, backfill: 2d, max_staleness: 30d}}
store: sqlite:///{folder}/k2alert.db
evaluation_interval: 100ms
rule_files: [rules.yml]
receivers:{receiver(ears, "old")}{receiver(ears, "new")}
route: {{name: {lane}, receiver: {lane}, group_by: [source, project], group_wait: 0s, group_interval: 1s}}
"""
    )
    return config


def heard(ears: Ears, lane: str) -> list[list[str]]:
    return [[said.state for said in ears.of(lane, way)] for way in INTEGRATIONS]


def in_every_way(*states: str) -> list[list[str]]:
    return [list(states)] * len(INTEGRATIONS)


async def until_heard(ears: Ears, lane: str, *states: str) -> None:
    await until(lambda: heard(ears, lane) == in_every_way(*states), f"{states} of {lane}, and not {heard(ears, lane)}")


@pytest.fixture
async def ears() -> AsyncIterator[Ears]:
    async with listening_ears() as running:
        running.add_lane("old")
        running.add_lane("new")
        yield running


def fail(world: World) -> None:
    world.clock.move(minutes=1)
    world.run("failed")


def mend(world: World) -> None:
    world.clock.move(minutes=1)
    world.run()


async def test_a_restart_in_the_middle_is_heard_by_no_kind_of_receiver(tmp_path: Path, ears: Ears) -> None:
    async with a_world() as world:
        world.run(ago=timedelta(hours=5))
        config = write_config(tmp_path, world, ears, "old")
        async with daemon(config, world.clock) as running:
            await until_judged(running)
            fail(world)
            await until_heard(ears, "old", "firing")
        async with daemon(config, world.clock) as running:
            await until_judged(running)
            fail(world)
            await until_heard(ears, "old", "firing", "worse")
        mend(world)  # while nobody runs
        async with daemon(config, world.clock):
            await until_heard(ears, "old", "firing", "worse", "resolved")
        async with daemon(config, world.clock) as running:
            await until_judged(running)
        assert heard(ears, "old") == in_every_way("firing", "worse", "resolved")
        assert len({said.incident for said in ears.said}) == 1
        assert len(ears.top("C-old")) == 1
        assert len({mail["References"] for _, mail in ears.mails}) == 1


async def test_after_a_reload_in_the_middle_who_heard_it_hears_its_end_in_every_way(tmp_path: Path, ears: Ears) -> None:
    async with a_world() as world:
        world.run(ago=timedelta(hours=5))
        config = write_config(tmp_path, world, ears, "old")
        async with daemon(config, world.clock) as running:
            await until_judged(running)
            fail(world)
            await until_heard(ears, "old", "firing")
            write_config(tmp_path, world, ears, "new")
            await reload(running)
            await until_heard(ears, "new", "firing")
            fail(world)
            await until_heard(ears, "new", "firing", "worse")
            mend(world)
            await until_heard(ears, "new", "firing", "worse", "resolved")
            await until_heard(ears, "old", "firing", "resolved")


async def reload(running: Running) -> None:
    async with running.session.post(f"http://127.0.0.1:{running.port}/-/reload") as answer:
        assert answer.status == 200, await answer.text()
