"""How long a backtest takes: 30 days of 100 projects with 20 runs a day each, 20 rules, judged every 30 s.

    .venv/bin/python benchmarks/backtest.py [PROJECTS] [DAYS] [noisy|calm]

Prints what it took to record the history, and to rehearse the rules; and what they came to. The noisy history (one day
in ten half of the runs fail, else one in twenty) makes each rule fire some four times a month for each project; the
calm one (one day in thirty, and one run in fifty) about once a month.
"""

import asyncio
import random
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from k2alert.config.load import load
from k2alert.measure.catalogue import METRICS
from k2alert.model import Event, Outcome, PipelineRun, Project, RefType, Result, RunState
from k2alert.record import Store, look_into_store, open_store
from k2alert.rehearse.agenda import Grid
from k2alert.rehearse.backtest_source import rehearse

END = datetime(2026, 3, 1, tzinfo=UTC)
RUNS_A_DAY = 20
LOOK_BACK = timedelta(days=8)
BAD_DAYS = {"noisy": 0.1, "calm": 1 / 30}
FAILING = {"noisy": 0.05, "calm": 0.02}  # of the runs on other days

MAIN = """
sources: [{{type: gitlab, name: gitlab, url: "http://127.0.0.1", token: abcdefgh, projects: [{projects}]}}]
store: sqlite:///{store}
retention: 90d
notifications: {{slack: {{webhook_url: "http://127.0.0.1/x"}}}}
rule_files: [rules.yml]
"""
CONDITIONS = [
    ("success_rate < 0.8", "24h", ""),
    ("success_rate < 0.7", "24h", ", min_samples: 10, for: 10m"),
    ("success_rate < 0.9", "7d", ", keep_firing_for: 1h"),
    ("success_rate < 0.6", "20 runs", ", clear: success_rate > 0.9"),
    ("consecutive_failures >= 3", "24h", ""),
    ("consecutive_failures >= 5", "24h", ", severity: critical"),
    ("failed_pipelines > 8", "24h", ""),
    ("failed_pipelines > 4", "6h", ", by: [project, branch]"),
    ("error_rate > 0.1", "24h", ""),
    ("avg_duration_minutes > 20", "24h", ", for: 30m"),
    ("p95_duration_minutes > 45", "24h", ""),
    ("max_duration_minutes > 90", "24h", ""),
    ("median_duration_minutes > 15", "7d", ""),
    ("health_score < 0.7", "24h", ""),
    ("avg_queue_minutes > 5", "24h", ""),
    ("total_pipelines == 0", "24h", ""),
    ("success_rate < 0.8 and total_pipelines > 10", "24h", ""),
    ('upper("success_rate") < 0.9', "24h", ""),
    ('value("success_rate", window="1h") < 0.5 and value("success_rate", window="6h") < 0.7', "24h", ""),
    ('avg_duration_minutes > 1.5 * value("avg_duration_minutes", window="7d", offset="24h")', "24h", ""),
]


def rules() -> str:
    """Twenty rules of every kind that teams write."""
    lines = ["alert_rules:"]
    for number, (condition, period, more) in enumerate(CONDITIONS):
        severity = "" if "severity" in more else ", severity: warning"
        lines.append(f"  - {{name: r{number}, condition: '{condition}', period: {period}{severity}, message: x{more}}}")
    return "\n".join(lines) + "\n"


def history(project: int, days: int, kind: str) -> list[PipelineRun]:
    """One project's runs, from a seeded generator: some days are bad."""
    chance = random.Random(project)
    runs = []
    start = END - timedelta(days=days) - LOOK_BACK
    for number in range((days + LOOK_BACK.days) * RUNS_A_DAY):
        created = start + timedelta(days=number / RUNS_A_DAY, seconds=chance.uniform(0, 3600))
        bad = random.Random(f"{project} {created:%j}").random() < BAD_DAYS[kind]
        result = Result.FAILURE if chance.random() < (0.5 if bad else FAILING[kind]) else Result.SUCCESS
        duration = timedelta(seconds=chance.lognormvariate(6.5, 0.6))
        runs.append(_run(f"k2/p{project}", str(number), created, created + duration, result))
    return [run for run in runs if run.seen <= END]


def _run(project: str, id: str, created: datetime, finished: datetime, result: Result) -> PipelineRun:
    length = finished - created
    outcome = Outcome(
        attempt=1, result=result, started_at=created, finished_at=finished, duration=length, queued=timedelta(seconds=9)
    )
    return PipelineRun(
        source="gitlab",
        project=project,
        id=id,
        number=id,
        workflow="",
        event=Event.PUSH,
        ref_type=RefType.DEFAULT,
        branch="main",
        sha="4f" * 20,
        title="",
        web_url=f"http://127.0.0.1/{project}/-/pipelines/{id}",
        state=RunState.FINISHED,
        created_at=created,
        started_at=created,
        seen=finished,
        outcomes=(outcome,),
    )


async def record(store: Store, projects: int, days: int, kind: str) -> int:
    """The whole history into a store; how many runs that were."""
    count = 0
    for number in range(projects):
        path = f"k2/p{number}"
        first = END - timedelta(days=days) - LOOK_BACK
        known = Project(source="gitlab", key=path, path=path, first_seen_at=first, covered_since=first)
        await store.save_project(replace(known, complete_at=END))
        runs = history(number, days, kind)
        count += len(runs)
        await store.save(runs)
    await store.close()
    return count


def main(projects: int = 100, days: int = 30, kind: str = "noisy") -> None:
    """Everything once, and what it took."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        listed = ", ".join(f"k2/p{number}" for number in range(projects))
        (folder / "k2alert.yml").write_text(MAIN.format(projects=listed, store=folder / "k.db"))
        (folder / "rules.yml").write_text(rules())
        config = load(folder / "k2alert.yml", environ={}, metrics=METRICS).config
        if config is None:
            raise RuntimeError("the configuration is wrong")
        began = time.perf_counter()
        runs = asyncio.run(record(open_store(config.store), projects, days, kind))
        recorded, cpu = time.perf_counter(), time.process_time()
        step = config.evaluation_interval
        grid = Grid(END - timedelta(days=days), step, timedelta(days=days) // step + 1)

        async def play() -> tuple[int, int]:
            store = look_into_store(config.store)
            try:
                found = (await rehearse(config, config.rules, store, grid)).rehearsed
            finally:
                await store.close()
            return len(found.incidents), len(found.messages)

        incidents, messages = asyncio.run(play())
        took, used = time.perf_counter() - recorded, time.process_time() - cpu
    print(f"{projects} projects, {days} d, {kind}, {runs} runs, {len(CONDITIONS)} rules, {grid.count} instants")
    print(f"recorded in {recorded - began:.1f} s; rehearsed in {took:.1f} s (CPU {used:.1f} s)")
    print(f"{incidents} incidents, {messages} messages")


if __name__ == "__main__":
    asked = dict(enumerate(sys.argv))
    main(int(asked.get(1, 100)), int(asked.get(2, 30)), asked.get(3, "noisy"))
