"""How long one whole evaluation of the seed's four rules takes, and what memory the history takes.

History: P projects, 200 runs a day each for 7 days (the shape of the peers' measurement that docs/benchmarks.md
quotes), made by a seeded generator and put straight into the board. An evaluation is `cycle.plan`: all rules over
all projects, alerts moved, notifications planned. Every value is compared with a brute-force computation once.

    .venv/bin/python benchmarks/evaluate.py [10 100 1000]
"""

import argparse
import gc
import os
import platform
import random
import resource
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from k2alert.config.load import load
from k2alert.config.model import Config
from k2alert.cycle import Plan, Scene, plan
from k2alert.labels import Labels
from k2alert.measure.catalogue import METRICS
from k2alert.model import RESULTS, Entry, Kind, Project, Result, Stream
from k2alert.recall import make_board
from k2alert.times import to_ms
from k2alert.universe import make_universe

NOW = datetime(2026, 1, 8, tzinfo=UTC)
DAYS, RUNS_A_DAY = 7, 200
DAY_MS = 86_400_000
SUCCESS = RESULTS.index(Result.SUCCESS)

CONFIG = """
sources: [{type: gitlab, name: gitlab, url: "http://127.0.0.1", projects: []}]
rule_files: [rules.yml]
"""
RULES = """
alert_rules:
  - {name: pipeline_success_rate_low, condition: success_rate < 0.95, period: 24h, severity: warning,
     message: "{{ success_rate | percent }}"}
  - {name: pipeline_duration_high, condition: avg_duration_minutes > 30, period: 24h, severity: warning,
     message: "{{ avg_duration_minutes | round(1) }} min"}
  - {name: test_flakiness_high, condition: flaky_test_rate > 0.05, period: 7d, severity: critical,
     message: "{{ flaky_test_rate | percent }}"}
  - {name: coverage_drop_significant, condition: coverage_drop > 2, period: 1h, severity: warning,
     message: "{{ coverage_drop | round(1) }} points"}
"""


def make_entries(projects: int, *, days: int = DAYS, runs_a_day: int = RUNS_A_DAY) -> list[Entry]:
    """The history, in finishing order; results and durations as in the peers' measurement."""
    chance = random.Random(1)
    start = to_ms(NOW) - days * DAY_MS
    entries = []
    for project in range(projects):
        failing = chance.uniform(0.01, 0.12)
        for _ in range(days * runs_a_day):
            created = start + chance.randrange(days * DAY_MS)
            duration = int(chance.lognormvariate(6.5, 0.6) * 1000)
            result = Result.FAILURE if chance.random() < failing else Result.SUCCESS
            row = (project, 0, created, created + duration, None, RESULTS.index(result), duration, 5000, False, False)
            entries.append(Entry(*row))
    entries.sort(key=lambda entry: entry.finished)
    return [entry._replace(ref=ref) for ref, entry in enumerate(entries)]


def make_scene(config: Config, projects: int, entries: list[Entry], *, days: int = DAYS) -> Scene:
    """The scene of a round, as the daemon would have it after a restart."""
    board = make_board(config, METRICS)
    board.add_streams(
        Stream(
            number,
            Kind.RUN,
            Labels(
                {
                    "source": "gitlab",
                    "project": f"k2/p{number}",
                    "ref_type": "default",
                    "branch": "main",
                    "event": "push",
                }
            ),
        )
        for number in range(projects)
    )
    board.load(Kind.RUN, entries)
    board.load(Kind.JOB, ())
    for kind in Kind:
        if not kind.of_runs:
            board.load_facts(kind, ())
    known = [
        Project(
            source="gitlab",
            key=f"k2/p{number}",
            path=f"k2/p{number}",
            first_seen_at=NOW,
            covered_since=NOW - timedelta(days=days + 1),
            complete_at=NOW,
        )
        for number in range(projects)
    ]
    return Scene(
        config=config,
        metrics=METRICS,
        measures=board,
        universe=make_universe(config, known),
        projects=known,
        alerts={},
        log=(),
        started_at=NOW,
    )


def check(made: Plan, entries: list[Entry]) -> int:
    """Compares every value with brute force; returns how many were compared."""
    low, high = to_ms(NOW) - DAY_MS, to_ms(NOW)
    of: dict[str, list[Entry]] = {}
    for entry in entries:
        if low < entry.finished <= high:
            of.setdefault(f"k2/p{entry.stream}", []).append(entry)
    compared = 0
    for finding in made.findings:
        rows = of.get(finding.identity.get("project", ""), [])
        wanted: Mapping[str, Fraction] = {
            "pipeline_success_rate_low": Fraction(sum(row.result == SUCCESS for row in rows), len(rows) or 1),
            "pipeline_duration_high": Fraction(sum(row.duration or 0 for row in rows), (len(rows) or 1) * 60_000),
        }
        if finding.rule.name in wanted:
            assert finding.value == float(wanted[finding.rule.name]), finding
            compared += 1
    return compared


def measure(projects: int, rounds: int) -> tuple[float, float, float, int]:
    """Median CPU and wall milliseconds of a round in the steady state, MiB the history took, values compared."""
    with TemporaryDirectory() as folder:
        main = Path(folder, "k2alert.yml")
        main.write_text(CONFIG)
        Path(folder, "rules.yml").write_text(RULES)
        loaded = load(main, environ={}, metrics=METRICS)
    assert loaded.config is not None, loaded.problems
    entries = make_entries(projects)
    before = rss()
    scene = make_scene(loaded.config, projects, entries)
    memory = rss() - before
    made = plan(scene, now=NOW)
    compared = check(made, entries)
    del entries
    gc.collect()
    gc.freeze()
    scene = Scene(**{name: getattr(scene, name) for name in scene.__dataclass_fields__} | {"alerts": made.step.alerts})
    times = [one_round(scene) for _ in range(rounds)]
    return median(cpu for cpu, _ in times), median(wall for _, wall in times), memory, compared


def one_round(scene: Scene) -> tuple[float, float]:
    cpu, wall = time.process_time(), time.perf_counter()
    plan(scene, now=NOW)
    return (time.process_time() - cpu) * 1000, (time.perf_counter() - wall) * 1000


def rss() -> float:
    """This process's resident memory in MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("projects", nargs="*", type=int, default=[10, 100, 1000])
    parser.add_argument("--rounds", type=int, default=20)
    options = parser.parse_args()
    print(f"{platform.python_implementation()} {platform.python_version()}, {os.cpu_count()} cores, {sys.platform}")
    print(f"{'projects':>9} {'runs':>10} {'CPU ms':>8} {'wall ms':>8} {'MiB':>7} {'B/run':>6} {'values compared':>16}")
    for projects in options.projects:
        cpu, wall, memory, compared = measure(projects, options.rounds)
        runs = projects * DAYS * RUNS_A_DAY
        each = memory * 2**20 / runs
        print(f"{projects:>9,} {runs:>10,} {cpu:>8.1f} {wall:>8.1f} {memory:>7.1f} {each:>6.0f} {compared:>16,}")


if __name__ == "__main__":
    main()
