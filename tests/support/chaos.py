"""Replicas whose life is hard: the one that leads is killed or put to sleep, the database fails, clocks are wrong.

The branches, the receivers and what should have been told are those of the other soak (soak.py, verdict.py). What may
be said twice is what the store called tried when something was done to the replicas.
"""

import asyncio
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from difflib import unified_diff
from pathlib import Path
from statistics import median

import aiohttp
import asyncpg
from aiohttp.test_utils import TestServer

from k2alert.rehearse.gitlab_standin import StandinGitLab
from k2alert.times import iso, parse_asked
from tests.support.crew import Crew, Reign
from tests.support.ears import Ears, listening_ears
from tests.support.mortal import Mortal
from tests.support.postgres import PostgresServer
from tests.support.shown import show
from tests.support.soak import PROJECTS, TRIED, Script, Soak, in_flight, write_config

__all__ = ["FAULTS", "Chaos", "Hardship", "some_chaos"]

FAULTS = ("kill", "sleep", "drop", "restart", "clock")
"""kill -9 of the leader; SIGSTOP of the leader, and SIGCONT; all connections dropped; PostgreSQL restarted at once,
with no time to end anything; a replica whose clock is wrong becomes the leader by SIGTERM of the one that leads."""


@dataclass(frozen=True)
class Hardship:
    """What is done to how many replicas; how long one is put to sleep and how wrong a clock is, in seconds."""

    replicas: int
    faults: Sequence[str]
    nap: float
    ahead: Sequence[float] = (420.0,)  # longer than clocks may differ without anybody noticing


class Chaos(Soak):
    """The soak, with several replicas in place of one daemon."""

    def __init__(
        self, script: Script, hardship: Hardship, ears: Ears, forge: StandinGitLab, crew: Crew, server: PostgresServer
    ) -> None:
        super().__init__(script, ears, forge, crew)  # type: ignore[arg-type]
        self.hardship, self.crew, self.server = hardship, crew, server
        self.database = server.make_database()
        name = self.database.rpartition("/")[2]
        server.say(f"ALTER DATABASE {name} SET synchronous_commit = on")  # what is done is on disk at a crash
        self.took: dict[str, list[tuple[float, float]]] = {}  # until somebody leads, and has judged, by fault
        self.done: Counter[str] = Counter()
        self._sleeps = False
        self._struck_at = datetime.now(UTC)
        self._struck: Mortal | None = None
        self._true: dict[tuple[str, str], str] = {}
        self._con: asyncpg.Connection | None = None
        self._asking = asyncio.Lock()
        ears.true_time = self._true_time

    # ------------------------------------------------------------------------------- what is seen

    async def tried(self) -> dict[tuple[str, str], set[int]]:
        """As the store has it, as soon as it can be asked."""
        while True:
            try:
                return in_flight(await self._ask(TRIED))
            except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
                await asyncio.sleep(0.02)

    async def _ask(self, sql: str) -> list[asyncpg.Record]:
        async with self._asking:
            if self._con is None or self._con.is_closed():
                self._con = await asyncpg.connect(self.database, server_settings={"application_name": "onlooker"})
            found: list[asyncpg.Record] = await self._con.fetch(sql)
            return found

    async def close(self) -> None:
        if self._con is not None:
            self._con.terminate()

    def _true_time(self, lane: str, began: str) -> str:
        """An alert that began later than now was dated by the clock that is ahead."""
        if (lane, began) not in self._true:
            at = parse_asked(f"{began}Z")
            wrong = at > datetime.now(UTC) + timedelta(seconds=30)
            by = timedelta(seconds=max(self.hardship.ahead)) if wrong else timedelta(0)
            self._true[lane, began] = iso(at - by).removesuffix("Z")
        return self._true[lane, began]

    async def until_all_show_the_same(self) -> None:
        """Until every replica serves what the leader does; rounds fall on different moments, so one looks again."""
        deadline = time.monotonic() + self.script.vain
        async with aiohttp.ClientSession() as session:
            while True:
                leader, *others = [await show(session, await one.ready()) for one in self._standby_last()]
                differ = [name for name in leader for other in others if other[name] != leader[name]]
                if leader["/metrics"] and not differ:
                    return
                assert time.monotonic() < deadline, "\n".join(
                    f"{name} {line}"
                    for other in others
                    for name in differ
                    for line in unified_diff(leader[name], other[name], n=0, lineterm="")
                )
                await asyncio.sleep(0.1)

    def _standby_last(self) -> list[Mortal]:
        leader = self.crew.leader()
        return sorted(self.crew.members, key=lambda member: member is not leader)

    # ------------------------------------------------------------------------------- what is done

    async def live_and_reap(self) -> None:
        """The branches break and mend while it is done."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.reap(), name="reap")
            for lane in self.lanes:
                tasks.create_task(self.live(lane), name=lane.name)

    async def reap(self) -> None:
        """Everything that is to be done, with a little peace in between."""
        faults: Mapping[str, Callable[[], Awaitable[None]]] = {
            "kill": self._kill_leader,
            "sleep": self._put_to_sleep,
            "drop": self._drop_connections,
            "restart": self._restart_database,
            "clock": self._let_a_wrong_clock_lead,
        }
        for fault in self.hardship.faults:
            for member in self.crew.members:
                await member.ready()
            await asyncio.sleep(self.chance.uniform(0.0, self.script.peace))
            await faults[fault]()
            self.done[fault] += 1
        self.over = True

    async def _kill(self) -> None:
        """To the leader, as the soak does it in the middle of a delivery: the end, or only sleep."""
        self._struck, self._struck_at = self.crew.leader(), datetime.now(UTC)
        if self._sleeps:
            self._struck.pause()
        else:
            await self._struck.kill()
        self._note(await self.tried())

    def _note(self, tried: dict[tuple[str, str], set[int]]) -> None:
        self.in_flight[self.crew.life] = tried
        self.crew.life += 1

    async def _strike_leader(self, fault: str) -> None:
        before = self.crew.epoch
        await (self._kill() if self.chance.random() < 0.3 else self._kill_in_the_middle())
        self._measure(fault, await self.crew.next_reign(before))

    def _measure(self, fault: str, reign: Reign) -> None:
        assert reign.judged_at is not None
        won, judged = ((at - self._struck_at).total_seconds() for at in (reign.won_at, reign.judged_at))
        self.took.setdefault(fault, []).append((won, judged))

    async def _kill_leader(self) -> None:
        self._sleeps = False
        await self._strike_leader("kill")
        assert self._struck is not None
        await self._struck.start()

    async def _put_to_sleep(self) -> None:
        """And wakes it up when another has led for long: what it was about to say must not be said any more."""
        self._sleeps = True
        awake = asyncio.get_running_loop().time() + self.hardship.nap
        await self._strike_leader("sleep")
        sleeping = self.in_flight[self.crew.life - 1]
        await asyncio.sleep(max(0.0, awake - asyncio.get_running_loop().time()))
        assert self._struck is not None
        self._note(sleeping)
        self._struck.wake()

    async def _drop_connections(self) -> None:
        tried = await self.tried()
        await self._ask("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name <> 'onlooker'")
        self._note(_both(tried, await self.tried()))

    async def _restart_database(self) -> None:
        tried = await self.tried()
        await asyncio.to_thread(self.server.stop, signal.SIGQUIT)
        await asyncio.sleep(self.chance.uniform(0.0, 3.0))
        await asyncio.to_thread(self.server.start)
        self._note(_both(tried, await self.tried()))

    async def _let_a_wrong_clock_lead(self) -> None:
        """A standby comes back with a wrong clock, then everybody else in turn with a right one, by SIGTERM."""
        wrong, *others = self._standby_first()
        for member in (wrong, *others):
            member.ahead = self.chance.choice(self.hardship.ahead) if member is wrong else 0.0
            leads, before = member is self.crew.leader(), self.crew.epoch
            self._struck_at = datetime.now(UTC)
            assert await member.stop() == 0
            if leads:
                self._measure("SIGTERM", await self.crew.next_reign(before))
            await member.start()
            await member.ready()

    def _standby_first(self) -> list[Mortal]:
        leader = self.crew.leader()
        return sorted(self.crew.members, key=lambda member: member is leader)

    # ------------------------------------------------------------------------------- the figures

    def figures(self) -> str:
        """What was done, and how long it took until another led."""
        done = ", ".join(f"{fault} {number}" for fault, number in self.done.items())
        lines = [
            f"seed {self.script.seed}: {len(self.crew.members)} replicas; {done}; {len(self.lived)} incidents on "
            f"{len(self.lanes)} branches; {len(self.ears.said)} messages; lost 0; said twice 0 but in flight: "
            f"{sum(self.verdict().again.values())}"
        ]
        for fault, times in self.took.items():
            won, judged = ([one[place] for one in times] for place in (0, 1))
            lines.append(
                f"  after {fault} another led within {median(won):.2f} s (median; at most {max(won):.2f}), "
                f"and had judged within {median(judged):.2f} s (at most {max(judged):.2f}), {len(times)} times"
            )
        return "\n".join(lines)


def _both(
    one: dict[tuple[str, str], set[int]], other: dict[tuple[str, str], set[int]]
) -> dict[tuple[str, str], set[int]]:
    return {who: one.get(who, set()) | other.get(who, set()) for who in one.keys() | other.keys()}


@asynccontextmanager
async def some_chaos(folder: Path, script: Script, hardship: Hardship, server: PostgresServer) -> AsyncIterator[Chaos]:
    """Everything but the replicas runs; they are ended with the rest."""
    forge = StandinGitLab(lambda: datetime.now(UTC))
    for project in PROJECTS:
        forge.add_project(project)
    standin = TestServer(forge.app())
    await standin.start_server()
    config = folder / "k2alert.yml"
    crew = Crew(config, [Mortal(config, name=f"{name}.") for name in "abc"[: hardship.replicas]])
    try:
        async with listening_ears() as ears:
            chaos = Chaos(script, hardship, ears, forge, crew, server)
            write_config(folder, chaos, str(standin.make_url("")).rstrip("/"), chaos.database, "200ms")
            try:
                yield chaos
            finally:
                for member in crew.members:
                    member.wake()
                await crew.stop()
                await chaos.close()
    finally:
        await standin.close()
