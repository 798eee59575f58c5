"""Replicas in one process, with the lease in the test's hands: one leads, the others stand by, and change places."""

import asyncio
import json
import math
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import aiohttp
from aiohttp import web

from k2alert.model import Saved
from k2alert.record import StoreError
from tests.support.daemon import PATIENCE, Clock, Running, World, a_world, daemon, until, until_judged, until_seen
from tests.support.shared_store import Hub
from tests.support.shown import show
from tests.support.slack import Slack, stand_in_slack
from tests.test_daemon_webhooks import post, write_config

NEW_RULE = "  - {name: new, condition: failed_pipelines > 9, period: 1h, severity: info, message: many}\n"
LEADS, STANDS_BY = "k2alert_leader 1.0", "k2alert_leader 0.0"


@dataclass
class Stage:
    """Two replicas, a forge and Slack."""

    hub: Hub
    world: World
    slack: Slack
    replicas: Sequence[Running]

    async def lead(self, number: int) -> None:
        self.hub.lead(number)
        await until_seen(self.replicas[number], LEADS)

    async def lead_in_vain(self, number: int) -> None:
        """This replica, which may not read, wins the lease, begins to read what is missing, and loses it again."""
        door = self.hub.doors[number]
        readings = door.readings
        self.hub.lead(number)
        await until(lambda: door.readings > readings, "it to read")
        self.hub.lead(None)

    def told(self) -> list[str]:
        return [message.body["text"].partition("*")[2][:12] for message in self.slack.top()]


@asynccontextmanager
async def a_stage(
    folder: Path,
    slack: Slack | None = None,
    ahead: timedelta = timedelta(0),
    ran: Callable[[World], None] = lambda _: None,
    rules: str = "",
) -> AsyncIterator[Stage]:
    """The first of the two leads, and has read the forge; the next look at it is an hour away. Its clock is ahead."""
    async with AsyncExitStack() as stack:
        world = await stack.enter_async_context(a_world())
        told = await stack.enter_async_context(stand_in_slack(slack))
        world.run(ago=timedelta(hours=1))
        ran(world)
        hub = Hub.at(folder)
        stack.push_async_callback(hub.store.close)
        config = write_config(folder, world, told)
        config.write_text(config.read_text().replace("evaluation_interval: 1h", "evaluation_interval: 200ms") + rules)
        clocks = (Clock(world.clock.ahead + ahead) if ahead else world.clock, world.clock)
        replicas = [await stack.enter_async_context(daemon(config, clock, opener=hub.door)) for clock in clocks]
        for running in replicas:
            while "not ready" in await running.text("/-/ready"):
                pass
        stage = Stage(hub, world, told, replicas)
        await stage.lead(0)
        await until_judged(replicas[0])
        yield stage
        hub.lead(None)


async def break_main(stage: Stage, by: Running) -> None:
    """Two pipelines of main fail, and webhooks say so to one of the replicas."""
    for _ in range(2):
        stage.world.number += 1
        assert await post(by, stage.world, stage.world.number, "failed") == 200


async def test_a_standby_takes_webhooks_and_shows_what_the_leader_does(tmp_path: Path) -> None:
    async with a_stage(tmp_path) as stage:
        _, standby = stage.replicas
        await break_main(stage, standby)
        await until(stage.slack.top, "the message")
        await until_seen(standby, 'k2alert_alerts{rule="main_is_red",severity="critical",state="firing"} 1.0')
        async with asyncio.timeout(PATIENCE), aiohttp.ClientSession() as session:
            one = other = {"": [""]}
            while one != other or one == {"": [""]}:
                one, other = [await show(session, running.port) for running in stage.replicas]
        assert "main_is_red" in "".join(one["/api/v1/alerts"])
        assert STANDS_BY in await standby.text("/metrics")
        assert len(stage.slack.top()) == 1
        assert stage.hub.refused == []


async def test_a_standby_shows_what_a_leader_does_whose_clock_is_minutes_ahead(tmp_path: Path) -> None:
    async with a_stage(tmp_path, ahead=timedelta(minutes=7)) as stage:
        leader, standby = stage.replicas
        await break_main(stage, leader)
        await until(stage.slack.top, "the message")
        await until_seen(standby, 'k2alert_alerts{rule="main_is_red",severity="critical",state="firing"} 1.0')
        assert 'k2alert_projects{source="gitlab",state="ok"} 1.0' in await standby.text("/metrics")
        assert "cannot be read" not in await standby.text("/")
        explained = json.loads(await standby.text("/api/v1/explain?rule=main_is_red"))
        assert "stale" not in json.dumps(explained)


async def test_whoever_leads_next_goes_on_where_the_other_was(tmp_path: Path) -> None:
    async with a_stage(tmp_path) as stage:
        leader, standby = stage.replicas
        await break_main(stage, leader)
        await until_seen(leader, 'k2alert_notifications_total{integration="slack",receiver="team"} 1.0')
        await stage.lead(1)
        await until_seen(leader, STANDS_BY)
        stage.world.number += 1
        assert await post(leader, stage.world, stage.world.number, "success") == 200
        await until(lambda: len(stage.slack.posts) == 2, "the end, in the thread")
        assert len(stage.slack.top()) == 1
        await stage.lead(0)
        await break_main(stage, standby)
        await until(lambda: len(stage.slack.top()) == 2, "the next incident")


class Hanging(Slack):
    """A Slack that takes a message and does not answer, until it is told to."""

    asked = 0
    hangs = True

    async def api(self, request: web.Request) -> web.Response:
        self.asked += 1
        answer = await super().api(request)
        while self.hangs:
            await asyncio.sleep(0.01)
        return answer


async def test_what_is_in_flight_when_another_leads_is_said_again_by_that_one_and_by_nobody_else(
    tmp_path: Path,
) -> None:
    async with a_stage(tmp_path, slack := Hanging()) as stage:
        leader, _ = stage.replicas
        await break_main(stage, leader)
        await until(lambda: slack.asked == 1, "the message")
        await stage.lead(1)
        await until(lambda: slack.asked == 2, "the message again")
        slack.hangs = False
        await until_seen(leader, STANDS_BY)
        while any("*tried" in entry.handle for entry in await stage.hub.store.log()):
            await asyncio.sleep(0.02)
        await stage.lead(0)
        stage.world.number += 1
        assert await post(leader, stage.world, stage.world.number, "success") == 200
        await until(lambda: any("thread_ts" in post.body for post in slack.posts), "the end")
        assert len(slack.top()) == 2


async def test_a_silence_made_at_a_standby_is_kept_by_the_leader(tmp_path: Path) -> None:
    async with a_stage(tmp_path) as stage:
        leader, standby = stage.replicas
        now = stage.world.clock.now()
        silence = {
            "matchers": [{"name": "alertname", "value": "main_is_red", "isRegex": False, "isEqual": True}],
            "startsAt": now.isoformat(),
            "endsAt": (now + timedelta(hours=1)).isoformat(),
            "createdBy": "Ada",
            "comment": "known",
        }
        url = f"http://127.0.0.1:{standby.port}/api/v2/silences"
        async with standby.session.post(url, json=silence) as answer:
            assert answer.status == 200, await answer.text()

        async def known() -> int:
            return len(json.loads(await leader.text("/api/v2/silences")))

        while not await known():
            pass
        await break_main(stage, leader)
        await until_seen(leader, 'k2alert_alerts{rule="main_is_red",severity="critical",state="firing"} 1.0')
        assert stage.slack.top() == []


async def test_a_replica_that_has_missed_too_much_reads_everything_anew(tmp_path: Path) -> None:
    async with a_stage(tmp_path) as stage:
        leader, standby = stage.replicas
        stage.hub.doors[1].fails = StoreError("the network is down")
        await break_main(stage, leader)
        await until(stage.slack.top, "the message")
        assert "not ready" in await standby.text("/-/ready")
        stage.hub.forgotten = len(stage.hub.told)
        stage.hub.doors[1].fails = None
        stage.hub.tell(Saved(), None)
        await until_seen(standby, 'k2alert_alerts{rule="main_is_red",severity="critical",state="firing"} 1.0')
        await stage.lead(1)
        stage.world.number += 1
        assert await post(standby, stage.world, stage.world.number, "success") == 200
        await until(lambda: len(stage.slack.posts) == 2, "the end, in the thread")


async def test_the_store_refuses_what_another_leader_writes_and_it_lives_on_as_a_standby(tmp_path: Path) -> None:
    async with a_stage(tmp_path) as stage:
        leader, standby = stage.replicas
        stage.hub.leads = stage.hub.doors[1]  # nobody has told the first
        stage.hub.epoch += 1
        await break_main(stage, leader)
        await until(lambda: stage.hub.refused, "a write that is refused")
        stage.hub.doors[1].turned.set()
        await until_seen(leader, STANDS_BY)
        await until_seen(standby, LEADS)
        await until(stage.slack.top, "the message")
        while "is ready" not in await leader.text("/-/ready"):
            pass


async def test_who_has_lost_the_lease_neither_is_ready_nor_tries_for_it_until_it_has_read_everything(
    tmp_path: Path,
) -> None:
    async with a_stage(tmp_path) as stage:
        late, other = stage.replicas
        door = stage.hub.doors[0]
        assert door.idle() < math.inf
        door.may_read.clear()
        await stage.lead(1)
        await until(lambda: door.reading, "everything to be read anew")
        assert "the history is being read" in await late.text("/-/ready")
        assert (await late.text("/api/v1/explain?rule=main_is_red")).count("being read")
        assert door.idle() == math.inf
        await break_main(stage, other)
        await until_seen(other, 'k2alert_notifications_total{integration="slack",receiver="team"} 1.0')
        stage.hub.lead(0)  # though it did not try
        assert STANDS_BY in await late.text("/metrics")
        door.may_read.set()
        await until_seen(late, LEADS)
        assert "is ready" in await late.text("/-/ready")
        assert door.idle() < math.inf
        stage.world.number += 1
        assert await post(other, stage.world, stage.world.number, "success") == 200
        await until(lambda: len(stage.slack.posts) == 2, "the end, in the thread")
        assert len(stage.slack.top()) == 1


async def test_a_standby_that_is_far_behind_neither_is_ready_nor_tries_for_the_lease(tmp_path: Path) -> None:
    async with a_stage(tmp_path) as stage:
        leader, standby = stage.replicas
        door = stage.hub.doors[1]
        door.fails = StoreError("the network is down")
        await break_main(stage, leader)
        await until(stage.slack.top, "the message")
        stage.hub.forgotten = len(stage.hub.told)
        door.may_read.clear()
        door.fails = None
        stage.hub.tell(Saved(), None)
        await until(lambda: door.reading, "everything to be read anew")
        assert "the history is being read" in await standby.text("/-/ready")
        assert door.idle() == math.inf
        await stage.lead_in_vain(1)
        door.may_read.set()
        await until(lambda: door.idle() < math.inf, "all to be read")
        assert "is ready" in await standby.text("/-/ready")
        await stage.lead(1)
        assert stage.hub.refused == []


async def test_a_reload_is_not_undone_by_a_lease_that_was_lost_meanwhile(tmp_path: Path) -> None:
    async with a_stage(tmp_path) as stage:
        leader, _ = stage.replicas
        door = stage.hub.doors[0]
        door.may_read.clear()
        config = tmp_path / "k2alert.yml"
        config.write_text(config.read_text() + NEW_RULE)
        await until(lambda: door.reading, "the reload to read everything")
        await stage.lead(1)
        await until_seen(leader, STANDS_BY)
        assert "the history is being read" in await leader.text("/-/ready")
        door.may_read.set()
        while "is ready" not in await leader.text("/-/ready"):
            pass
        await until_seen(leader, 'k2alert_alerts{rule="new",severity="info",state="inactive"} 1.0')


SLOWER = """
  - {name: slower, condition: "avg_duration_minutes > value(\\"avg_duration_minutes\\", offset=\\"1h\\")", period: 1h,
     match: ['branch="dev"'], severity: info, message: slow}
"""


async def threshold_of(running: Running) -> float | None:
    for alert in json.loads(await running.text("/api/v1/alerts"))["data"]["alerts"]:
        if alert["labels"]["alertname"] == "slower":
            return float(alert["k2alert"]["threshold"])
    return None


async def test_a_standby_shows_the_last_threshold_that_was_known_though_another_alert_was_stored_since(
    tmp_path: Path,
) -> None:
    def ran(world: World) -> None:
        for ago, minutes in ((100, 1), (50, 3), (10, 5)):
            world.run(ago=timedelta(minutes=ago), minutes=minutes, ref="dev")

    async with a_stage(tmp_path, ran=ran, rules=SLOWER) as stage:
        leader, standby = stage.replicas
        for minutes, expected in ((0, 1), (65, 4), (10, 5), (60, 5)):  # the last two: no run is left in the window
            stage.world.clock.move(minutes=minutes)
            for running in (leader, standby):
                while await threshold_of(running) != expected:
                    await asyncio.sleep(0.02)
        await break_main(stage, leader)
        await until_seen(standby, 'k2alert_alerts{rule="main_is_red",severity="critical",state="firing"} 1.0')
        assert await threshold_of(leader) == await threshold_of(standby) == 5


async def test_a_silence_made_here_is_ended_and_changed_there_at_once(tmp_path: Path) -> None:
    async with a_stage(tmp_path) as stage:
        now = stage.world.clock.now()
        silence = {
            "matchers": [{"name": "alertname", "value": "nothing", "isRegex": False, "isEqual": True}],
            "startsAt": now.isoformat(),
            "endsAt": (now + timedelta(hours=1)).isoformat(),
            "createdBy": "Ada",
            "comment": "known",
        }
        here, there = (f"http://127.0.0.1:{running.port}/api/v2" for running in stage.replicas)
        session = stage.replicas[0].session
        for _ in range(2):
            async with session.post(f"{here}/silences", json=silence) as answer:
                made = (await answer.json())["silenceID"]
            async with session.post(f"{there}/silences", json={**silence, "id": made, "comment": "new"}) as answer:
                assert answer.status == 200, await answer.text()
                changed = (await answer.json())["silenceID"]
            async with session.delete(f"{here}/silence/{changed}") as answer:
                assert answer.status == 200, await answer.text()
            here, there = there, here
