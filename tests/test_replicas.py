"""Several replicas on one PostgreSQL: whatever happens to them, each incident is told once, and somebody always leads.

What is done to them is in tests/support/chaos.py; what should have been told says the oracle of the other soak.
"""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.chaos import FAULTS, Hardship, some_chaos
from tests.support.postgres import PostgresServer, binaries
from tests.support.soak import Script

SHORT = Script(seed=20261126, kills=0, branches=1, pause=3, peace=1.0, vain=30)
LONG = Script(seed=7, kills=0, branches=3, pause=20, peace=6, vain=600)
ROUNDS = 100
EXCUSED = ("the store is down", "the store could not be pruned", "Future exception was never retrieved")
"""What may be logged as an error where a database goes away; the last is asyncpg's, of a connection that was lost."""


@pytest.fixture
def chaos_server() -> Iterator[PostgresServer]:
    """A server of its own: it will be restarted while others would be at theirs."""
    programs = binaries()
    if programs is None:
        pytest.skip("there is no PostgreSQL server here")
    server = PostgresServer(programs)
    yield server
    server.close()


def many(rounds: int, seed: int) -> list[str]:
    """So many faults, as many of each, in a random order."""
    faults = [FAULTS[number % len(FAULTS)] for number in range(rounds)]
    random.Random(seed).shuffle(faults)
    return faults


async def endure(folder: Path, script: Script, hardship: Hardship, server: PostgresServer) -> str:
    """All of it; its figures."""
    async with some_chaos(folder, script, hardship, server) as chaos:
        await chaos.begin()
        await chaos.live_and_reap()
        await chaos.settle()
        await chaos.until_api_agrees()
        await chaos.until_all_show_the_same()
        assert await chaos.crew.stop() == 0
        errors = [line for line in chaos.crew.lines() if line["level"] == "error"]
        assert [line for line in errors if not line["msg"].startswith(EXCUSED)] == []
        verdict = chaos.verdict()
        assert (verdict.lost, verdict.twice, verdict.odd) == ([], [], [])
        assert chaos.wrong_posts() == []
        return chaos.figures()


@pytest.mark.timeout(180)
@pytest.mark.parametrize(
    ("replicas", "faults"),
    [(2, ["kill", "sleep", "restart"]), (3, ["clock", "drop", "kill"])],
    ids=["two", "three"],
)
async def test_each_incident_is_told_once_whatever_happens_to_the_replicas(
    tmp_path: Path, chaos_server: PostgresServer, replicas: int, faults: list[str]
) -> None:
    print(await endure(tmp_path, SHORT, Hardship(replicas, faults, nap=4.0), chaos_server))


@pytest.mark.soak
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("replicas", [2, 3])
async def test_each_incident_is_told_once_over_100_rounds(
    tmp_path: Path, chaos_server: PostgresServer, capsys: pytest.CaptureFixture[str], replicas: int
) -> None:
    hardship = Hardship(replicas, many(ROUNDS, replicas), nap=60.0)
    said = await endure(tmp_path, LONG, hardship, chaos_server)
    with capsys.disabled():
        print(f"\n{said}")
