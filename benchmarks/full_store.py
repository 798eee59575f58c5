"""A store as a daemon leaves it after a month: P projects with 200 runs a day each, put in by bulk.

The rows are those that recording each run would have written, one after the other in the order in which they finished,
with titles, commits and links; they go into a store that the daemon itself has made (`open_store`), in one transaction
without waiting for the disk, which takes some 20 s a million. Run as
`python benchmarks/full_store.py FILE [1000 projects] [30 days]`.
"""

import asyncio
import random
import sqlite3
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from k2alert.model import RESULTS, Kind, Result
from k2alert.record import open_store
from k2alert.record.rows import PER_RUN, StreamKey
from k2alert.record.statements import QUERIES
from k2alert.times import to_ms

__all__ = ["RUNS_A_DAY", "make_store", "path_of"]

RUNS_A_DAY, DAY_MS, BATCH = 200, 86_400_000, 50_000
FINISHED = 3  # the last of `RunState`


def path_of(project: int) -> str:
    return f"k2/group-{project % 100}/project-{project}"


def make_store(file: Path, projects: int, days: int, now: datetime) -> int:
    """Makes the store, and says how many runs are in it."""
    asyncio.run(open_store(f"sqlite:///{file}").close())
    con = sqlite3.connect(file, isolation_level=None)
    con.execute("PRAGMA synchronous = OFF")
    con.execute("PRAGMA cache_size = -200000")
    con.execute("BEGIN")
    sources = [("gitlab", path_of(number)) for number in range(projects)]
    con.executemany(QUERIES["add_origin"], sources)
    origins = dict(con.execute("SELECT project, id FROM origins"))
    con.executemany(
        QUERIES["add_link"], [(f"https://gitlab.example.com/{path}/-/pipelines/{{run}}",) for _, path in sources]
    )
    links = dict(con.execute("SELECT id, url FROM links"))
    assert len(links) == projects
    for number, (source, path) in enumerate(sources, 1):
        key = StreamKey(Kind.RUN.value, source, path, "default", "main", "push", "")
        con.execute(QUERIES["add_stream"], (number, key.fingerprint, key.kind, origins[path], *key[3:]))
    seen = to_ms(now)
    con.executemany(
        QUERIES["put_project"],
        [
            (
                source,
                path,
                path,
                str(number),
                "main",
                f"https://gitlab.example.com/{path}",
                seen - days * DAY_MS,
                seen,
                seen - days * DAY_MS,
                seen,
                seen,
                seen,
                "",
                0,
                0,
            )
            for number, (source, path) in enumerate(sources, 1)
        ],
    )
    runs = 0
    for batch in _batches(projects, days, seen):
        con.executemany(QUERIES["put_run"], [run for run, _ in batch])
        con.executemany(QUERIES["put_outcome"], [outcome for _, outcome in batch])
        runs += len(batch)
    con.execute(
        "INSERT INTO run_totals SELECT r.origin, 'default', o.result, count(*), sum(o.duration), count(o.duration)"
        " FROM outcomes AS o JOIN runs AS r ON r.id = o.id >> 16 GROUP BY r.origin, o.result"
    )
    con.execute("COMMIT")
    con.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    con.close()
    return runs


def _batches(projects: int, days: int, now: int) -> Iterator[list[tuple[tuple[object, ...], tuple[object, ...]]]]:
    chance = random.Random(1)
    runs = projects * days * RUNS_A_DAY
    start, step = now - days * DAY_MS, days * DAY_MS / runs
    failing = [chance.uniform(0.01, 0.12) for _ in range(projects)]
    batch: list[tuple[tuple[object, ...], tuple[object, ...]]] = []
    for run in range(1, runs + 1):
        project = chance.randrange(projects)
        finished = start + int(run * step)
        lasted = int(chance.lognormvariate(6.5, 0.6)) * 1000
        created = finished - lasted - 5000
        result = RESULTS.index(Result.FAILURE if chance.random() < failing[project] else Result.SUCCESS)
        title = f"Merge branch 'feature-{run % 9973}' into 'main'"
        sha = chance.getrandbits(160).to_bytes(20, "big")
        row = (
            run,
            project + 1,
            10**9 + run,
            run,
            project + 1,
            sha,
            title,
            project + 1,
            FINISHED,
            created,
            None,
            finished,
        )
        batch.append((row, (run * PER_RUN, finished // 1000, result, finished, None, lasted, 5000, 0)))
        if len(batch) == BATCH:
            yield batch
            batch = []
    yield batch


if __name__ == "__main__":
    if len(sys.argv) == 1:
        sys.exit(0)  # `benchmarks/start.py` makes one for itself
    numbers = [int(text) for text in sys.argv[2:]]
    projects, days = numbers + [1000, 30][len(numbers) :]
    began, file = time.monotonic(), Path(sys.argv[1])
    made = make_store(file, projects, days, datetime.now(UTC) - timedelta(minutes=1))
    size = file.stat().st_size
    print(f"{made:,} runs in {time.monotonic() - began:.0f} s, {size / 1e6:,.0f} MB, {size / made:.0f} bytes a run")
