"""How many facts a second are recorded in SQLite, each batch on disk before it is answered.

A fact is what a rule counts: a finished run, or one execution of one of its jobs. Looks at runs of twenty projects, new
ones with 0, 5 or 20 jobs each, are saved as collect saves them, in batches; then all of them are looked at again, as
after a restart, and nothing changes. Wall and CPU time of the whole process. Run as
`python benchmarks/ingest.py [100000 facts]`.
"""

import asyncio
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from k2alert.model import Event, JobRun, Outcome, PipelineRun, RefType, Result, RunState
from k2alert.record import open_store

NOW = datetime(2026, 1, 8, tzinfo=UTC)
PROJECTS, BATCHES = 20, (100, 1000)
WAITED, LASTED = timedelta(seconds=5), timedelta(minutes=9)


def job_of(project: str, run: int, place: int, created: datetime) -> JobRun:
    id = str(run * 100 + place)
    return JobRun(
        id=id,
        name=f"job {place}",
        job=f"job {place}",
        stage="test",
        runner="linux",
        state=RunState.FINISHED,
        result=Result.SUCCESS,
        attempt=1,
        allowed=False,
        created_at=created,
        started_at=created + WAITED,
        finished_at=created + WAITED + LASTED,
        duration=LASTED,
        queued=WAITED,
        reason="",
        web_url=f"https://gitlab.example.com/{project}/-/jobs/{id}",
    )


def run_of(number: int, jobs: int) -> PipelineRun:
    project = f"k2/project-{number % PROJECTS}"
    created = NOW + timedelta(seconds=number)
    finished = created + timedelta(minutes=10)
    outcome = Outcome(
        attempt=1,
        result=Result.SUCCESS,
        started_at=created + WAITED,
        finished_at=finished,
        duration=LASTED,
        queued=WAITED,
    )
    return PipelineRun(
        source="gitlab",
        project=project,
        id=str(number),
        number=str(number),
        workflow="",
        event=Event.PUSH,
        ref_type=RefType.DEFAULT,
        branch="main",
        sha=f"{number:040x}",
        title=f"Merge branch 'feature-{number}' into 'main'",
        web_url=f"https://gitlab.example.com/{project}/-/pipelines/{number}",
        state=RunState.FINISHED,
        created_at=created,
        started_at=created + WAITED,
        seen=finished,
        outcomes=(outcome,),
        jobs=tuple(job_of(project, number, place, created) for place in range(jobs)),
    )


async def measure(facts: int, jobs: int, batch: int) -> None:
    """Prints a line."""
    runs = [run_of(number, jobs) for number in range(1, facts // (1 + jobs) + 1)]
    count = len(runs) * (1 + jobs)
    with TemporaryDirectory() as folder:
        file = Path(folder, "k2alert.db")
        store = open_store(f"sqlite:///{file}")
        rates = []
        for _ in ("new", "the same again"):
            wall, busy = time.perf_counter(), time.process_time()
            for first in range(0, len(runs), batch):
                await store.save(runs[first : first + batch])
            rates += [count / (time.perf_counter() - wall), count / (time.process_time() - busy)]
        await store.close()
        size = file.stat().st_size / count
    new, new_cpu, again, again_cpu = (f"{rate:,.0f}" for rate in rates)
    print(f"| {jobs} | {batch} | {new} ({new_cpu}) | {again} ({again_cpu}) | {size:.0f} |", flush=True)


def main() -> None:
    facts = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    print(
        "| jobs of a run | runs in a batch | new facts/s (per CPU second) | the same again | bytes a fact on disk |\n"
        "|--:|--:|--:|--:|--:|"
    )
    for jobs in (0, 5, 20):
        for batch in BATCHES:
            asyncio.run(measure(facts, jobs, batch))


if __name__ == "__main__":
    main()
