"""kill -9 at random moments: no alert lost, none said twice but the one in flight.

The daemon is a process of its own that reads a stand-in GitLab, whose branches break and are mended all the time.
Each branch is a lane: a receiver of its own, told by webhook, by bot token and by mail, where every message is
counted as it is taken. Most of the kills come in the middle of a delivery: as a message is taken, before or just
after that is answered. Steady lanes wait until everyone has heard; what is lost is waited for in vain. Hasty lanes
turn green whenever they like, so that what began may be over before the daemon is up again.
"""

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import aiohttp
import pytest
from aiohttp.test_utils import TestServer

from k2alert.rehearse.gitlab_standin import StandinGitLab, StandinPipeline
from tests.support.daemon import until
from tests.support.ears import INTEGRATIONS, Ears, Said, listening_ears, receiver
from tests.support.mortal import Mortal

PROJECTS = ("k2/app", "k2/web", "k2/feed", "k2/book")
IN_FLIGHT = 5.0  # seconds within which a message that was taken is surely in the log, on the slowest of machines
VAIN = 60.0  # seconds after which what was not told is lost


@dataclass(frozen=True)
class Script:
    """How hard the daemon's life is."""

    seed: int
    kills: int
    branches: int
    incidents: int  # of each lane, at most 4: more messages in five minutes would be told in lists
    pause: float  # seconds that a lane is green at most


@dataclass
class Lane:
    """A branch that breaks and is mended."""

    name: str
    project: str
    branch: str
    hasty: bool
    lasts: bool  # its last incident does not end
    incidents: int = 0
    red: bool = False


@dataclass(frozen=True)
class _Armed:
    """The next message kills its sender: after it was taken (or before), after it was answered (or before)."""

    taken: bool
    answered: bool
    killed: asyncio.Event = field(default_factory=asyncio.Event)


class Soak:
    """The stand-in, the receivers, the daemon, and what is done to it."""

    def __init__(self, script: Script, ears: Ears, forge: StandinGitLab, mortal: Mortal) -> None:
        self.script, self.ears, self.forge, self.mortal = script, ears, forge, mortal
        self.chance = random.Random(script.seed)
        self.lanes = [
            Lane(
                f"lane-{project}-{branch}", PROJECTS[project], f"b{branch}", hasty=branch == 0, lasts=branch == project
            )
            for project in range(len(PROJECTS))
            for branch in range(script.branches)
        ]
        self.runs: Counter[str] = Counter()
        self.in_the_middle = 0
        self._armed: _Armed | None = None
        self._kills: set[asyncio.Task[None]] = set()
        ears.life = lambda: mortal.life
        ears.on_asked = self._asked
        ears.on_said = self._heard
        for lane in self.lanes:
            ears.add_lane(lane.name)

    # ------------------------------------------------------------------------------- branches

    def put(self, lane: Lane, status: str) -> None:
        """A pipeline that has just finished; created later than all before it, as far as whole seconds tell."""
        self.runs[lane.project] += 1
        number = self.runs[lane.project]
        now = datetime.now(UTC)
        created = now - timedelta(hours=1) + timedelta(seconds=number)
        pipeline = StandinPipeline(
            id=number, created_at=created, started_at=created, finished_at=now, status=status, ref=lane.branch
        )
        self.forge.put(lane.project, pipeline)
        lane.red = status == "failed"

    async def begin(self) -> None:
        """Everything is green, and has been read."""
        for lane in self.lanes:
            self.put(lane, "success")
        await self.mortal.start()
        url = f"http://127.0.0.1:{await self.mortal.ready()}/metrics"
        judged = f'k2alert_alerts{{rule="branch_is_red",severity="critical",state="inactive"}} {len(self.lanes)}.0'
        deadline = time.monotonic() + VAIN
        while judged not in await _get(url):
            assert time.monotonic() < deadline, "the branches were never judged"
            await asyncio.sleep(0.05)

    async def live(self, lane: Lane) -> None:
        """All incidents of a lane, one after the other."""
        for number in range(self.script.incidents):
            await asyncio.sleep(self.chance.uniform(0.0, self.script.pause))
            self.put(lane, "failed")
            lane.incidents += 1
            if lane.hasty:
                await asyncio.sleep(self.chance.uniform(0.0, 2.0))
            else:
                await self._until_all(lane, "firing", lane.incidents)
                await asyncio.sleep(self.chance.uniform(0.0, 1.0))
            if lane.lasts and number == self.script.incidents - 1:
                return
            self.put(lane, "success")
            if not lane.hasty:
                await self._until_all(lane, "resolved", lane.incidents)

    async def _until_all(self, lane: Lane, state: str, times: int) -> None:
        for integration in INTEGRATIONS:
            deadline = time.monotonic() + VAIN
            while len(distinct(self.ears.of(lane.name, integration), state)) < times:
                assert time.monotonic() < deadline, f"lost: {integration} never heard that {lane.name} is {state}"
                await asyncio.sleep(0.05)

    # ------------------------------------------------------------------------------- kills

    async def reap(self) -> None:
        """Kills and starts again, so often; a burst of kills now and then, before it is even ready."""
        for _ in range(self.script.kills):
            await self.mortal.ready() if self.chance.random() < 0.8 else await asyncio.sleep(self.chance.random())
            if self.chance.random() < 0.3:
                await asyncio.sleep(self.chance.uniform(0.0, 2.0))
                await self.mortal.kill()
            else:
                await self._kill_in_the_middle()
            await self.mortal.start()

    async def _kill_in_the_middle(self) -> None:
        """With the next message: before anyone takes it, before that is answered, or a few milliseconds after."""
        chance = self.chance.random()
        killed = self.arm(taken=chance < 0.75, answered=chance < 0.25)
        waiting = asyncio.create_task(killed.wait(), name="killed with a message")
        await asyncio.wait([waiting], timeout=4.0)
        if self._armed is not None:  # nothing to be told just now
            self._armed = None
            waiting.cancel()
            await self.mortal.kill()
        else:
            await waiting
            self.in_the_middle += 1

    def arm(self, *, taken: bool, answered: bool = False) -> asyncio.Event:
        """Has the next message kill its sender: before or after it is taken, and then before or after the answer."""
        self._armed = _Armed(taken, answered)
        return self._armed.killed

    async def _asked(self) -> bool:
        if self._armed is None or self._armed.taken:
            return False
        await asyncio.wait([self._strike(0.0)])
        return True

    async def _heard(self, said: Said) -> None:
        if self._armed is None:
            return
        if self._armed.answered:
            self._strike(self.chance.choice((0.0, 0.001, 0.005, 0.02)))
        else:
            await asyncio.wait([self._strike(0.0)])

    def _strike(self, after: float) -> asyncio.Task[None]:
        """Kills in a task of its own, for a server ends what answers a client that is gone."""
        assert self._armed is not None
        killed, self._armed = self._armed.killed, None
        kill = asyncio.create_task(self._kill_after(after, killed), name="kill in the middle")
        self._kills.add(kill)
        return kill

    async def _kill_after(self, seconds: float, killed: asyncio.Event) -> None:
        await asyncio.sleep(seconds)
        await self.mortal.kill()
        killed.set()

    # ------------------------------------------------------------------------------- the end

    async def settle(self) -> None:
        """Until every lane's last word is what it is now."""
        for lane in self.lanes:
            for integration in INTEGRATIONS:
                deadline = time.monotonic() + VAIN
                while not self._is_settled(lane, integration):
                    heard = [said.state for said in self.ears.of(lane.name, integration)]
                    assert time.monotonic() < deadline, f"lost: {lane} and {integration} heard {heard}"
                    await asyncio.sleep(0.05)

    def told(self, lane: Lane) -> list[list[str]]:
        """What each integration heard of a lane, in order."""
        return [[said.state for said in self.ears.of(lane.name, integration)] for integration in INTEGRATIONS]

    def _is_settled(self, lane: Lane, integration: str) -> bool:
        heard = self.ears.of(lane.name, integration)
        if not heard:
            return lane.hasty
        return heard[-1].state == ("firing" if lane.red else "resolved")

    async def until_api_agrees(self) -> None:
        """Until the branches that fire, as the API says, are those that are red."""
        red = {f"{lane.project} {lane.branch}" for lane in self.lanes if lane.red}
        url = f"http://127.0.0.1:{await self.mortal.ready()}/api/v1/alerts"
        deadline = time.monotonic() + VAIN
        while (firing := await _firing(url)) != red:
            assert time.monotonic() < deadline, f"{firing} fire, and {red} are red"
            await asyncio.sleep(0.05)


async def _firing(url: str) -> set[str]:
    alerts = json.loads(await _get(url))["data"]["alerts"]
    return {f"{one['labels']['project']} {one['labels']['branch']}" for one in alerts if one["state"] == "firing"}


async def _get(url: str) -> str:
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        return await answer.text()


def distinct(heard: list[Said], state: str) -> list[Said]:
    """What was said of a state, each time once: what repeats the message before is left out."""
    changes = [said for before, said in pairwise([None, *heard]) if before is None or before.state != said.state]
    return [said for said in changes if said.state == state]


def twice(heard: list[Said]) -> Iterator[tuple[Said, Said]]:
    """Messages that repeat the one before, with that one."""
    return ((before, said) for before, said in pairwise(heard) if before.state == said.state)


def write_config(folder: Path, soak: Soak, url: str) -> None:
    receivers = "".join(receiver(soak.ears, lane.name) for lane in soak.lanes)
    routes = "".join(
        f"\n    - {{name: {lane.name}, receiver: {lane.name}, "
        f"matchers: ['project=\"{lane.project}\"', 'branch=\"{lane.branch}\"']}}"
        for lane in soak.lanes
    )
    (folder / "rules.yml").write_text(
        """
alert_rules:
  - name: branch_is_red
    condition: consecutive_failures >= 1
    period: 24h
    by: [project, branch]
    severity: critical
    message: "{{ labels.branch }} of {{ labels.project }} is red"
"""
    )
    soak.mortal.config.write_text(
        f"""
sources:
  - {{type: gitlab, name: gitlab, url: "{url}", token: secret-token-1, projects: [{", ".join(PROJECTS)}],
     poll_interval: 200ms, backfill: 2h}}
store: sqlite:///{folder}/k2alert.db
evaluation_interval: 100ms
rule_files: [rules.yml]
receivers:
  - name: nobody{receivers}
route:
  receiver: nobody
  group_wait: 200ms
  group_interval: 300ms
  routes:{routes}
"""
    )


@asynccontextmanager
async def a_soak(folder: Path, script: Script) -> AsyncIterator[Soak]:
    forge = StandinGitLab(lambda: datetime.now(UTC))
    for project in PROJECTS:
        forge.add_project(project)
    server = TestServer(forge.app())
    await server.start_server()
    mortal = Mortal(folder / "k2alert.yml")
    try:
        async with listening_ears() as ears:
            soak = Soak(script, ears, forge, mortal)
            write_config(folder, soak, str(server.make_url("")).rstrip("/"))
            try:
                yield soak
            finally:
                await mortal.stop()
    finally:
        await server.close()


async def endure(folder: Path, script: Script) -> str:
    """The whole script; its figures."""
    async with a_soak(folder, script) as soak:
        await soak.begin()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(soak.reap(), name="reap")
            for lane in soak.lanes:
                tasks.create_task(soak.live(lane), name=lane.name)
        await soak.settle()
        await soak.until_api_agrees()
        assert await soak.mortal.stop() == 0
        assert [line for line in soak.mortal.lines() if line["level"] == "error"] == []
        assert_all_told_once(soak)
        return figures(soak)


def assert_all_told_once(soak: Soak) -> None:
    for lane in soak.lanes:
        for integration in INTEGRATIONS:
            heard = soak.ears.of(lane.name, integration)
            where = (lane, heard)
            assert {said.state for said in heard} <= {"firing", "resolved"}, where
            assert not heard or heard[0].state == "firing", where
            incidents = len(distinct(heard, "firing"))
            assert incidents <= lane.incidents if lane.hasty else incidents == lane.incidents, where
            for first, second in twice(heard):
                assert first.life < second.life, f"said twice in one life: {where}"
                assert soak.mortal.killed_at[first.life] - first.at < IN_FLIGHT, f"was not in flight: {where}"


def figures(soak: Soak) -> str:
    of = [soak.ears.of(lane.name, integration) for lane in soak.lanes for integration in INTEGRATIONS]
    repeated = [(first, second) for heard in of for first, second in twice(heard)]
    waits = [soak.mortal.killed_at[first.life] - first.at for first, _ in repeated]
    incidents = sum(lane.incidents for lane in soak.lanes)
    return (
        f"kills {len(soak.mortal.killed_at)}, {soak.in_the_middle} of them in the middle of a delivery; incidents "
        f"{incidents} on {len(soak.lanes)} branches; messages {len(soak.ears.said)}; lost 0; said twice "
        f"{len(repeated)}, all of them in flight, taken at most {max([0, *waits]):.3f} s before the kill"
    )


@pytest.mark.parametrize(
    ("taken", "heard"),
    [(True, ["firing", "firing", "resolved"]), (False, ["firing", "resolved"])],
    ids=["taken and not answered", "not taken"],
)
async def test_what_was_in_flight_and_is_over_meanwhile_is_told_from_beginning_to_end(
    tmp_path: Path, taken: bool, heard: list[str]
) -> None:
    async with a_soak(tmp_path, Script(seed=1, kills=1, branches=1, incidents=1, pause=0)) as soak:
        await soak.begin()
        killed = soak.arm(taken=taken)
        soak.put(soak.lanes[0], "failed")
        await killed.wait()
        soak.put(soak.lanes[0], "success")
        await soak.mortal.start()
        await until(lambda: heard in soak.told(soak.lanes[0]), "the whole story")
        await soak.settle()
        await soak.until_api_agrees()
        told = soak.told(soak.lanes[0])
    # Those whose message was not in flight may never hear of it: when they could have been told, it was over.
    assert all(one in ([], ["firing", "resolved"], ["firing", "firing", "resolved"]) for one in told)


async def test_nothing_is_lost_or_said_twice_when_killed_at_random(tmp_path: Path) -> None:
    print(await endure(tmp_path, Script(seed=20260105, kills=7, branches=2, incidents=3, pause=6)))


@pytest.mark.soak
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", [1, 2])
async def test_nothing_is_lost_or_said_twice_over_many_kills(
    tmp_path: Path, seed: int, capsys: pytest.CaptureFixture[str]
) -> None:
    said = await endure(tmp_path, Script(seed=seed, kills=60, branches=6, incidents=4, pause=80))
    with capsys.disabled():
        print(f"\n{said}")
