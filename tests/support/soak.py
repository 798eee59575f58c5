"""A daemon whose life is hard: killed at random, with receivers that fail at random, while branches break and mend.

The daemon is a process of its own that reads a stand-in GitLab. Each branch is a lane: a receiver of its own, told in
all ways. Most of the kills come in the middle of a delivery: as a message is taken, before or just after that is
answered. Steady lanes wait until everyone has heard; what is lost is waited for in vain. Hasty lanes turn green
whenever they like, so that what began may be over before the daemon is up again.
"""

import asyncio
import json
import random
import sqlite3
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
from aiohttp.test_utils import TestServer

from k2alert.rehearse.gitlab_standin import StandinGitLab, StandinPipeline
from k2alert.times import iso
from tests.support.ears import INTEGRATIONS, Ears, Said, listening_ears, receiver
from tests.support.moods import Mood, Moods
from tests.support.mortal import Mortal
from tests.support.verdict import FIRING, Lived, Verdict, judge

__all__ = ["Lane", "Script", "Soak", "a_soak"]

PROJECTS = ("k2/app", "k2/web", "k2/feed", "k2/book")
MOST_INCIDENTS = {timedelta(minutes=5): 6, timedelta(minutes=13): 9}
"""Of a lane in such a time: more than ten in five minutes would be told in lists. What was told by a clock that is
seven minutes ahead is counted then, and once more when it is that late by a right one."""

A_ROUND = timedelta(seconds=0.4)
"""A round that is under way sees a branch break, and dates that by its own beginning. What is told before the next
incident takes longer: `group_wait` and `group_interval`."""


@dataclass(frozen=True)
class Script:
    """How hard the daemon's life is."""

    seed: int
    kills: int
    branches: int  # of each of the four projects
    pause: float  # seconds that a lane is green at most
    peace: float = 2.0  # seconds that a life lasts at most before it is killed with the next message
    moods: dict[Mood, float] = field(default_factory=dict)
    most_moods: int | None = None  # bad ones that a lane meets in each way
    rest_every: int = 0  # after so many kills nobody is killed for 40 s: receivers that say nothing are left in time
    vain: float = 60.0  # seconds after which what was not told is lost


@dataclass
class Lane:
    """A branch that breaks and is mended."""

    name: str
    project: str
    branch: str
    hasty: bool
    lasts: bool  # its last incident does not end
    red: bool = False
    begun: list[datetime] = field(default_factory=list)

    def may_begin(self, now: datetime) -> bool:
        """Whether another incident would be told by itself."""
        return all(sum(now - at < span for at in self.begun) < most for span, most in MOST_INCIDENTS.items())


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
        self.lived: list[Lived] = []
        self.in_flight: dict[int, dict[tuple[str, str], set[int]]] = {}
        self.in_the_middle = 0
        self.over = False
        self._runs: Counter[str] = Counter()
        self._armed: _Armed | None = None
        self._kills: set[asyncio.Task[None]] = set()
        self.moods = ears.moods = Moods(self.chance, script.moods, script.most_moods)
        ears.life = lambda: mortal.life
        ears.on_asked = self._asked
        ears.on_said = self._heard
        for lane in self.lanes:
            ears.add_lane(lane.name)

    # ------------------------------------------------------------------------------- branches

    def put(self, lane: Lane, status: str) -> None:
        """A pipeline that has just finished; created later than all before it, as far as whole seconds tell."""
        self._runs[lane.project] += 1
        number = self._runs[lane.project]
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
        await self._until_text(url, lambda text: judged in text, "the branches were never judged")

    async def live(self, lane: Lane) -> None:
        """Incidents of a lane, one after the other, until the killing is over; one more lasts."""
        while not self.over:
            await asyncio.sleep(self.chance.uniform(0.0, self.script.pause))
            if not self.over and lane.may_begin(datetime.now(UTC)):
                await self._break(lane)
                await self._mend(lane)
        if lane.lasts:
            await self._break(lane)

    async def _break(self, lane: Lane) -> None:
        """Turns a branch red, and where everyone hears of that, red once more now and then."""
        lived = self._begin(lane)
        self.put(lane, "failed")
        lived.states.append("firing")
        await self._hear(lane, lived)
        if not lane.hasty and self.chance.random() < 0.4:
            self.put(lane, "failed")
            lived.states.append("worse")
            await self._hear(lane, lived)

    def _begin(self, lane: Lane) -> Lived:
        lane.begun.append(datetime.now(UTC) - A_ROUND)
        lived = Lived(lane.name, iso(lane.begun[-1]).removesuffix("Z"), sure=not lane.hasty)
        self.lived.append(lived)
        return lived

    async def _mend(self, lane: Lane) -> None:
        lived = next(one for one in reversed(self.lived) if one.lane == lane.name)
        self.put(lane, "success")
        lived.states.append("resolved")
        if not lane.hasty:
            await self._hear(lane, lived)

    async def _hear(self, lane: Lane, lived: Lived) -> None:
        """Until everyone has surely heard how things are; a hasty lane does not wait for that.

        Surely: what may not have been heard is said again, and what happens meanwhile becomes part of the incident.
        """
        if lane.hasty:
            await asyncio.sleep(self.chance.uniform(0.0, 2.0))
            return
        deadline = time.monotonic() + self.script.vain
        while missing := await self._unheard(lane, lived):
            assert time.monotonic() < deadline, f"lost: {missing} never heard that {lived}"
            await asyncio.sleep(0.05)
        await asyncio.sleep(self.chance.uniform(0.0, 1.0))

    async def _unheard(self, lane: Lane, lived: Lived) -> list[str]:
        return [way for way in INTEGRATIONS if not self._has_heard(way, lived)] or [
            integration for name, integration in await self.tried() if name == lane.name
        ]

    def _has_heard(self, integration: str, lived: Lived) -> bool:
        told = {said.state for said in self.ears.of(lived.lane, integration) if said.incident >= lived.since}
        return told.issuperset(lived.states)

    # ------------------------------------------------------------------------------- kills

    async def reap(self) -> None:
        """Kills and starts again, so often; a burst of kills now and then, before it is even ready.

        Half of the lives have a few seconds of peace first: with every message killed, nothing would ever get through.
        """
        for number in range(1, self.script.kills + 1):
            await self.mortal.ready() if self.chance.random() < 0.8 else await asyncio.sleep(self.chance.random())
            if self.chance.random() < 0.5:
                await asyncio.sleep(self.chance.uniform(0.0, self.script.peace))
            if self.chance.random() < 0.3:
                await self._kill()
            else:
                await self._kill_in_the_middle()
            await self.mortal.start()
            if self.script.rest_every and number % self.script.rest_every == 0:
                await asyncio.sleep(40)  # longer than any receiver is waited for
        self.over = True

    async def _kill(self) -> None:
        await self.mortal.kill()
        self.in_flight[self.mortal.life] = await self.tried()

    async def _kill_in_the_middle(self) -> None:
        """With the next message: before anyone takes it, before that is answered, or a few milliseconds after."""
        chance = self.chance.random()
        killed = self.arm(taken=chance < 0.75, answered=chance < 0.25)
        waiting = asyncio.create_task(killed.wait(), name="killed with a message")
        await asyncio.wait([waiting], timeout=4.0)
        if self._armed is not None:  # nothing to be told just now
            self._armed = None
            waiting.cancel()
            await self._kill()
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
        if self._armed is None or not self._armed.taken:
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
        await self._kill()
        killed.set()

    async def tried(self) -> dict[tuple[str, str], set[int]]:
        """The messages that the store calls tried: how many alerts fire in them, by lane and integration."""
        with closing(sqlite3.connect(self.mortal.config.with_name("k2alert.db"))) as con:
            return in_flight(con.execute(TRIED))

    # ------------------------------------------------------------------------------- the end

    async def settle(self) -> None:
        """Until everyone has heard everything, with receivers that fail no more."""
        self.ears.moods = Moods(self.chance)
        self.ears.released.set()
        deadline = time.monotonic() + self.script.vain
        while (lost := self.verdict().lost) or await self.tried():
            assert time.monotonic() < deadline, f"lost: {lost}; tried: {await self.tried()}"
            await asyncio.sleep(0.2)

    def verdict(self) -> Verdict:
        """What the oracle says so far."""
        return judge(self.lived, self.ears.heard, self.in_flight)

    async def until_api_agrees(self) -> None:
        """Until the branches that fire, as the API says, are those that are red."""
        red = {(lane.project, lane.branch) for lane in self.lanes if lane.red}
        url = f"http://127.0.0.1:{await self.mortal.ready()}/api/v1/alerts"
        await self._until_text(url, lambda text: _firing(text) == red, f"what fires are not these: {red}")

    async def _until_text(self, url: str, good: Callable[[str], bool], wrong: str) -> None:
        deadline = time.monotonic() + self.script.vain
        async with aiohttp.ClientSession() as session:
            while True:
                async with session.get(url) as answer:
                    text = await answer.text()
                if good(text):
                    return
                assert time.monotonic() < deadline, f"{wrong}\n{text}"
                await asyncio.sleep(0.05)

    def wrong_posts(self) -> list[str]:
        """Incidents whose message in the bot's channel does not show how they are now."""
        return [wrong for lane in self.lanes for wrong in self._wrong_posts(lane)]

    def _wrong_posts(self, lane: Lane) -> Iterator[str]:
        """Of a steady lane the last incident may fire, and no other.

        A hasty one may have been green while nobody was there to see it: what began before goes on. So it is the last
        message that shows how things are; one before it that still fires is one that nobody could know to be there.
        """
        shown = self.ears.shown(lane.name)
        for incident, state in shown.items():
            fires = FIRING.get(state, -1) > 0
            last = incident == max(shown) if lane.hasty else incident >= iso(lane.begun[-1]).removesuffix("Z")
            lost_sight = lane.hasty and not last and self._is_out_of_sight(lane.name, incident)
            if fires != (lane.red and last) and not (fires and lost_sight):
                yield f"{lane.name} shows {incident} as {state}"

    def _is_out_of_sight(self, lane: str, incident: str) -> bool:
        """Whether the sender of the incident's last message of its own could not know that it was taken."""
        roots = [said for said in self.ears.of(lane, "bot") if said.root and said.incident == incident]
        who = (lane, INTEGRATIONS["bot"])
        return bool(roots) and (roots[-1].mood.is_unsure or who in self.in_flight.get(roots[-1].life, {}))


TRIED = "SELECT receiver, integration, told FROM notifications WHERE handle LIKE '%*tried%'"


def in_flight(rows: Iterable[Sequence[str]]) -> dict[tuple[str, str], set[int]]:
    """How many alerts fire in the messages that the store calls tried, by lane and integration."""
    found: dict[tuple[str, str], set[int]] = {}
    for lane, integration, told in rows:
        firing = list(json.loads(told).values()).count("firing")
        found.setdefault((lane, integration), set()).add(firing)
    return found


def _firing(text: str) -> set[tuple[str, str]]:
    alerts = json.loads(text)["data"]["alerts"]
    return {(one["labels"]["project"], one["labels"]["branch"]) for one in alerts if one["state"] == "firing"}


def write_config(folder: Path, soak: Soak, url: str, store: str = "", interval: str = "100ms") -> None:
    """The rules, a receiver and a route for each lane, and everything as quick as it can be."""
    receivers = "".join(receiver(soak.ears, lane.name) for lane in soak.lanes)
    routes = "".join(
        f"\n    - {{name: {lane.name}, receiver: {lane.name}, "
        f"matchers: ['project=\"{lane.project}\"', 'branch=\"{lane.branch}\"']}}"
        for lane in soak.lanes
    )
    rules = "".join(
        f"""
  - name: {name}
    condition: consecutive_failures >= {most}
    period: 24h
    by: [project, branch]
    severity: critical
    message: "{{{{ labels.branch }}}} of {{{{ labels.project }}}} is red since {{{{ started_at }}}}"
"""
        for name, most in (("branch_is_red", 1), ("branch_stays_red", 2))
    )
    (folder / "rules.yml").write_text(f"alert_rules:{rules}")
    soak.mortal.config.write_text(
        f"""
sources:
  - {{type: gitlab, name: gitlab, url: "{url}", token: secret-token-1, projects: [{", ".join(PROJECTS)}],
     poll_interval: 200ms, backfill: 2h}}
store: "{store or f"sqlite:///{folder}/k2alert.db"}"
evaluation_interval: {interval}
rule_files: [rules.yml]
receivers:
  - name: nobody{receivers}
route:
  receiver: nobody
  group_by: [source, project, branch]
  group_wait: 200ms
  group_interval: 300ms
  routes:{routes}
"""
    )


@asynccontextmanager
async def a_soak(folder: Path, script: Script) -> AsyncIterator[Soak]:
    """Everything but the daemon runs; it is ended with the rest."""
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
