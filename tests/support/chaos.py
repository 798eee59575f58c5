"""Replicas whose life is hard: the one that leads is killed or put to sleep, the database fails, clocks are wrong.

The branches, the receivers and what should have been told are those of the other soak (soak.py, verdict.py). What may
be said twice is what the store called tried at any time while something was done to the replicas: a trigger in the
database writes that down, for what was in flight as a database failed is soon said again by who takes over.
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
from tests.support.mortal import Mortal, until_all_has_come
from tests.support.postgres import PostgresServer
from tests.support.shown import show
from tests.support.soak import PROJECTS, TRIED, Script, Soak, in_flight, write_config

__all__ = ["FAULTS", "Chaos", "Hardship", "some_chaos"]

FAULTS = ("kill", "sleep", "drop", "restart", "clock")
"""kill -9 of the leader; SIGSTOP of the leader, and SIGCONT; all connections dropped; PostgreSQL restarted at once,
with no time to end anything; a replica whose clock is wrong becomes the leader by SIGTERM of the one that leads."""


ONLOOKER = "onlooker"
"""What the database calls this process."""

_WATCH = """
CREATE TABLE seen_tried (
    number bigserial PRIMARY KEY, at timestamptz NOT NULL DEFAULT clock_timestamp(), receiver text, integration text,
    incident text, told text, tried boolean);
CREATE FUNCTION see_tried() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO seen_tried (receiver, integration, incident, told, tried)
    VALUES (NEW.receiver, NEW.integration, NEW.incident, NEW.told, NEW.handle LIKE '%*tried%');
    RETURN NEW;
END $$;
CREATE TRIGGER see_tried AFTER INSERT OR UPDATE ON notifications FOR EACH ROW EXECUTE FUNCTION see_tried();
"""
_TRIED_SINCE = """
SELECT receiver, integration, told FROM (
    SELECT *, lead(at) OVER (PARTITION BY receiver, integration, incident ORDER BY number) AS until FROM seen_tried
) AS seen
WHERE tried AND (until IS NULL OR until >= $1)
"""


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

    async def begin(self) -> None:
        """As of the other soak; from then on the database writes down what is tried."""
        await super().begin()
        self.server.say(_WATCH, self.database.rpartition("/")[2])

    async def tried(self) -> dict[tuple[str, str], set[int]]:
        """As the store has it, as soon as it can be asked."""
        return in_flight(await self._ask(TRIED))

    async def tried_since(self, at: datetime) -> dict[tuple[str, str], set[int]]:
        """What the store called tried at any time since then."""
        return in_flight(await self._ask(_TRIED_SINCE, at))

    async def _ask(self, sql: str, *args: object) -> list[asyncpg.Record]:
        while True:
            try:
                async with self._asking:
                    if self._con is None or self._con.is_closed():
                        self._con = await asyncpg.connect(self.database, server_settings={"application_name": ONLOOKER})
                    found: list[asyncpg.Record] = await self._con.fetch(sql, *args)
                    return found
            except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
                await asyncio.sleep(0.02)

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
            await self._struck.pause()
        else:
            await self._struck.kill()
        await self._note(self._struck_at)

    async def _note(self, since: datetime, lives: int = 1) -> None:
        """A life is over. What was tried since then, in as many lives, may be said again in the next ones."""
        self.crew.life += 1
        over = range(self.crew.life - lives, self.crew.life)
        tried = await self.tried_since(since)
        for life in over:
            self.in_flight[life] = tried

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
        self.in_flight[self.crew.life] = sleeping
        self.crew.life += 1
        self._struck.wake()

    async def _drop_connections(self) -> None:
        began = self._store_fails_now()
        await self._terminate_backends()
        await until_all_has_come()
        await self._note(began, lives=2)

    async def _terminate_backends(self) -> None:
        """All but ours, and waits until none of them is left: one that is busy writes a little longer."""
        others = f"FROM pg_stat_activity WHERE application_name <> '{ONLOOKER}' AND datname = current_database()"
        gone = [row["pid"] for row in await self._ask(f"SELECT pid, pg_terminate_backend(pid) {others}")]
        while await self._ask("SELECT pid FROM pg_stat_activity WHERE pid = ANY ($1)", gone):
            await asyncio.sleep(0.005)

    async def _restart_database(self) -> None:
        began = self._store_fails_now()
        await asyncio.to_thread(self.server.stop, signal.SIGQUIT)
        await asyncio.sleep(self.chance.uniform(0.0, 3.0))
        await asyncio.gather(self._note(began, lives=2), asyncio.to_thread(self.server.start))

    def _store_fails_now(self) -> datetime:
        """The store is about to fail, since now: what is said while it fails is of a life of its own."""
        self.crew.life += 1
        return datetime.now(UTC)

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
