"""A message that was in flight when the process died: nobody knows whether it was heard.

The plan's side as stories over `World`, and the store's as a whole daemon whose store fails while it tells.
"""

import sqlite3
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from k2alert.model import Retry
from k2alert.notify.dues import TRIED_KEY, Due
from k2alert.notify.outcome import record_try
from tests.support.daemon import PROJECT, a_world, daemon, until, until_judged
from tests.support.ears import Said, listening_ears
from tests.support.notified import MINUTE, SECOND, Told, World, receivers
from tests.test_daemon_stories import RULES

EDITING = pytest.mark.parametrize("edits", [True, False], ids=["edits", "says anew"])


def die_in_flight(world: World, after: timedelta = MINUTE) -> list[Due]:
    """Sends what is due, and is killed before it knows how that went."""
    world.now += after
    dues = list(world.due())
    for due in dues:
        world.write(record_try(due, now=world.now))
    return dues


@EDITING
def test_a_beginning_in_flight_is_said_again_and_is_the_same_message(edits: bool) -> None:
    world = World(receivers=receivers(Told(edits=edits)))
    red = world.fire()
    (lost,) = die_in_flight(world)
    assert world.tick(SECOND) == ["firing"]
    assert world.said[-1].mark == lost.mark
    assert world.tick(SECOND) == []
    world.end(red)
    assert world.tick(5 * MINUTE) == ["resolved"]
    assert world.tick(5 * MINUTE) == []


@EDITING
def test_a_storm_in_flight_is_one_message_to_all_its_incidents(edits: bool) -> None:
    """With so many that nothing may be computed from all of them for each of them."""
    world = World(receivers=receivers(Told(edits=edits)))
    for number in range(5000):
        world.fire(f"k2/app-{number}")
    (lost,) = die_in_flight(world)
    assert {entry.handle[TRIED_KEY] for entry in world.log.values()} == {lost.mark}
    assert world.tick(SECOND, lambda _: Retry("no answer", maybe=True)) == []
    assert {entry.handle[TRIED_KEY] for entry in world.log.values()} == {lost.mark}
    assert world.tick(MINUTE) == ["list of 5000"]


@EDITING
def test_who_may_have_heard_the_beginning_hears_the_end(edits: bool) -> None:
    world = World(receivers=receivers(Told(edits=edits)))
    red = world.fire()
    die_in_flight(world)
    world.end(red)
    assert world.finished() == frozenset()
    assert world.tick(SECOND) == ["resolved"]
    assert world.tick(5 * MINUTE) == []
    assert world.finished() == {red.key}


@EDITING
def test_an_end_in_flight_is_said_again_once(edits: bool) -> None:
    world = World(receivers=receivers(Told(edits=edits)))
    red = world.fire()
    world.tick(MINUTE)
    world.end(red)
    die_in_flight(world, 5 * MINUTE)
    assert world.finished() == frozenset()
    assert world.tick(SECOND) == ["resolved"]
    assert world.tick(5 * MINUTE) == []


@EDITING
def test_what_fires_again_while_its_end_was_in_flight_is_told(edits: bool) -> None:
    world = World(receivers=receivers(Told(edits=edits)))
    red = world.fire()
    world.tick(MINUTE)
    world.end(red)
    die_in_flight(world, 5 * MINUTE)
    world.fire()
    assert world.tick(SECOND) == ["changed"]
    world.end(red)
    assert world.tick(5 * MINUTE) == ["resolved"]


@EDITING
def test_a_list_in_flight_goes_on_as_the_same_list(edits: bool) -> None:
    world = World(receivers=receivers(Told(edits=edits)))
    for number in range(12):
        world.fire(f"k2/app{number}")
    (lost,) = die_in_flight(world)
    assert world.tick(SECOND) == ["list of 12"]
    assert world.said[-1].list_id == lost.list_id
    assert world.tick(SECOND) == []


async def test_a_store_that_fails_while_telling_ends_no_daemon_and_nothing_is_said_twice(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    database = tmp_path / "k2alert.db"

    def alter(statement: str) -> None:
        with closing(sqlite3.connect(database)) as con:
            con.execute(statement)

    async def fail(_: Said) -> None:
        ears.on_said = None
        alter("ALTER TABLE notifications RENAME TO away")

    async with a_world() as world, listening_ears() as ears:
        ears.on_said = fail
        ears.add_lane("ci")
        world.run(ago=timedelta(hours=5))
        (tmp_path / "rules.yml").write_text(RULES)
        config = tmp_path / "k2alert.yml"
        config.write_text(
            f"""
sources:
  - {{type: gitlab, name: gitlab, url: "{world.url}", token: secret-token-1, projects: [{PROJECT}],
     poll_interval: 100ms, backfill: 2d}}
store: sqlite:///{database}
evaluation_interval: 50ms
rule_files: [rules.yml]
receivers: [{{name: team, slack: {{webhook_url: "{ears.hook_url}", channel: "#ci"}}}}]
route: {{receiver: team, group_wait: 0s, group_interval: 1s}}
"""
        )
        async with daemon(config, world.clock) as running:
            await until_judged(running)
            for _ in range(3):
                world.run("failed")
                world.clock.move(minutes=1)
            await until(lambda: ears.said, "the first message")
            await until(lambda: "the store is down" in caplog.text, "the log of a store that is down")
            world.clock.move(minutes=1)
            world.run()
            alter("ALTER TABLE away RENAME TO notifications")
            await until(lambda: len(ears.said) > 1, "the end")
        assert [said.state for said in ears.said] == ["firing", "resolved"]
