"""The two engines of the store: facts recorded and read, and how long nobody leads after a leader has ended.

PostgreSQL is a server of its own on this machine, as durable as it comes (fsync, synchronous_commit). Facts are runs
and their jobs, five each, in saves of 200 runs; CPU is that of this process and of the server's together, so a busy
machine changes little. A leader is a process of its own that is stopped in each way; the time is from then until
another process leads, by the wall.

    .venv/bin/python benchmarks/postgres.py [--runs 10000] [--rounds 10]
"""

import argparse
import asyncio
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

sys.path.insert(0, str(Path(__file__).parents[1]))

from k2alert.model import Kind, PipelineRun
from k2alert.record import Store, open_store
from tests.support.looks import finished_run, job
from tests.support.postgres import PostgresServer, binaries

BATCH = 200
JOBS = 5
DURABLE = {"max_wal_size": "2GB", "shared_buffers": "256MB"}


def looks(runs: int) -> list[PipelineRun]:
    """Finished pipelines with all their jobs."""
    return [
        finished_run(
            str(10_000 + number),
            1 + number / 10,
            jobs=tuple(
                job(f"job {place}", id=str(1_000_000 + JOBS * number + place), finished=1 + number / 10)
                for place in range(JOBS)
            ),
        )
        for number in range(runs)
    ]


def cpu(server: int | None) -> float:
    """Seconds of CPU of this process, and of a server with its sessions, those that ended too."""
    mine = resource.getrusage(resource.RUSAGE_SELF)
    ticks = 0
    for pid in [] if server is None else [server, *children(server)]:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += sum(map(int, fields[11:15] if pid == server else fields[11:13]))
    return mine.ru_utime + mine.ru_stime + ticks / os.sysconf("SC_CLK_TCK")


def children(pid: int) -> list[int]:
    """Processes that a process began."""
    return [int(text) for text in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


async def ingest(url: str, runs: int, *, follow: bool, server: int | None) -> tuple[float, float]:
    """Facts recorded, and entries read again, in a second of CPU."""
    store = await asyncio.to_thread(open_store, url)
    if follow:
        await store.campaign("bench", lambda: 0.0).changed()
    made = looks(runs)
    began = cpu(server)
    for start in range(0, runs, BATCH):
        await store.save(made[start : start + BATCH])
    wrote = cpu(server) - began
    began = cpu(server)
    rows = await read(store)
    took = cpu(server) - began
    await store.close()
    return runs * (1 + JOBS) / wrote, rows / took


async def read(store: Store) -> int:
    """Every entry."""
    return sum([len(batch) for kind in (Kind.RUN, Kind.JOB) async for batch in store.entries(kind)])


# ---------------------------------------------------------------------------------------------- take-over

WAYS: dict[str, Callable[[subprocess.Popen[str]], None]] = {
    "given back (SIGTERM)": lambda leader: leader.stdin.close() if leader.stdin else None,
    "killed (SIGKILL)": lambda leader: leader.kill(),
    "stopped (SIGSTOP)": lambda leader: leader.send_signal(signal.SIGSTOP),
}


async def take_over(url: str, end: Callable[[subprocess.Popen[str]], None], *, within: bool = False) -> float:
    """Seconds from the end of one leader to the beginning of another."""
    command = [sys.executable, "-m", "tests.support.replica", url, "child", *(["within"] if within else [])]
    leader = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with leader:
        assert leader.stdout is not None
        while not (await asyncio.to_thread(leader.stdout.readline)).startswith("within" if within else "saved 5"):
            pass
        store = await asyncio.to_thread(open_store, url)
        lease = store.campaign("bench", lambda: 0.0)
        await asyncio.sleep(0.0 if within else 1.0)
        began = time.monotonic()
        end(leader)
        await lease.changed()
        took = time.monotonic() - began
        await store.close()
        leader.kill()
    return took


async def main(runs: int, rounds: int) -> None:
    programs = binaries()
    if programs is None:
        sys.exit("there is no PostgreSQL server here")
    server = PostgresServer(programs, DURABLE)
    try:
        print(f"| engine, {runs * (1 + JOBS):,} facts | recorded a CPU second | read a CPU second |\n|---|---|---|")
        with TemporaryDirectory() as folder:
            row("SQLite", *await ingest(f"sqlite:///{folder}/k2alert.db", runs, follow=False, server=None))
        for follow, name in ((False, "PostgreSQL"), (True, "PostgreSQL, with a lease and the feed")):
            row(name, *await ingest(server.make_database(), runs, follow=follow, server=server.pid))
        print(f"\n| a leader that is | replaced after, median of {rounds} | most |\n|---|---|---|")
        url = server.make_database()
        for name, end in WAYS.items():
            times = [await take_over(url, end) for _ in range(rounds)]
            print(f"| {name} | {median(times):.2f} s | {max(times):.2f} s |")
        times = [await take_over(url, lambda _: None, within=True) for _ in range(rounds)]
        print(f"| stopped within a write | {median(times):.2f} s | {max(times):.2f} s |")
    finally:
        server.close()


def row(name: str, wrote: float, took: float) -> None:
    print(f"| {name} | {wrote:,.0f} | {took:,.0f} |", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=10)
    asked = parser.parse_args()
    asyncio.run(main(asked.runs, asked.rounds))
