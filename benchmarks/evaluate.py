"""How long one whole evaluation of the seed's four rules takes, and what memory the history takes.

History: P projects, 200 runs a day each for 7 days (the shape of the peers' measurement that docs/benchmarks.md
quotes), made by a seeded generator and put straight into the board. An evaluation is `cycle.plan`: all rules over
all projects, alerts moved, notifications planned. Every value is compared with a brute-force computation once.

    .venv/bin/python benchmarks/evaluate.py [10 100 1000]
"""

import argparse
import gc
import itertools
import os
import platform
import random
import resource
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from k2alert.config.load import load
from k2alert.config.model import Config
from k2alert.cycle import Plan, Scene, plan, planning
from k2alert.garbage import give_back, leave_out
from k2alert.kept import Kept
from k2alert.labels import Labels
from k2alert.measure.board import Board
from k2alert.measure.catalogue import METRICS
from k2alert.model import RESULTS, Entry, EntryChange, Kind, Project, Result, Saved, Stream
from k2alert.pauses import at_once
from k2alert.recall import make_board
from k2alert.times import to_ms
from k2alert.universe import make_universe

NOW = datetime(2026, 1, 8, tzinfo=UTC)
DAYS, RUNS_A_DAY = 7, 200
DAY_MS = 86_400_000
ROUND = timedelta(seconds=30)
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


@dataclass(frozen=True, kw_only=True)
class Costs:
    """What rounds of each kind took: median CPU and wall milliseconds. `memory`: MiB that the history took.

    `first`: the first round of a process, which works out every running sum. `whole`: every label set judged and every
    alert looked at, as `plan` does. `later`: what a daemon does 30 s after the round before, in which `came` runs
    finished and about as many left each window. `idle`: the same when nothing came or left. `compared` values were held
    against brute force, and each later round against a whole one.
    """

    first: tuple[float, float]
    whole: tuple[float, float]
    later: tuple[float, float]
    idle: tuple[float, float]
    came: float
    memory: float
    compared: int


def measure(projects: int, rounds: int) -> Costs:
    """The rounds of each kind over a history of this many projects."""
    with TemporaryDirectory() as folder:
        main = Path(folder, "k2alert.yml")
        main.write_text(CONFIG)
        Path(folder, "rules.yml").write_text(RULES)
        loaded = load(main, environ={}, metrics=METRICS)
    assert loaded.config is not None, loaded.problems
    entries = [entry for entry in make_entries(projects) if entry.finished <= to_ms(NOW)]
    before = rss()
    scene = make_scene(loaded.config, projects, entries)
    leave_out()  # as the daemon does, which gives back what was only needed on the way
    give_back()
    memory = rss() - before
    board = scene.measures
    assert isinstance(board, Board)
    kept = Kept(loaded.config.rules, METRICS, board)
    first, made = timed(partial(later_plan, scene, kept, NOW))
    compared = check(made, entries)
    arrivals = Arrivals(projects, first_ref=len(entries))
    del entries
    gc.collect()
    gc.freeze()
    scene = replace(scene, alerts=made.step.alerts)
    whole = [timed(partial(plan, scene, now=NOW))[0] for _ in range(rounds)]
    idle = [timed(partial(later_plan, scene, kept, NOW))[0] for _ in range(rounds)]
    later = []
    for number in range(1, rounds + 1):
        now = NOW + number * ROUND
        board.apply(Saved(entries=[EntryChange(Kind.RUN, None, entry) for entry in arrivals.until(now)]))
        took, made = timed(partial(later_plan, scene, kept, now))
        whole_plan = plan(scene, now=now)
        assert (made.findings, made.step) == (whole_plan.findings, whole_plan.step)
        scene = replace(scene, alerts=made.step.alerts)
        later.append(took)
    return Costs(
        first=first,
        whole=middle(whole),
        later=middle(later),
        idle=middle(idle),
        came=arrivals.count / rounds,
        memory=memory,
        compared=compared,
    )


class Arrivals:
    """Runs that finish after the history's end, as often as in it."""

    def __init__(self, projects: int, first_ref: int) -> None:
        self._chance = random.Random(2)
        self._projects = projects
        self._until = NOW
        self._refs = itertools.count(first_ref)
        self.count = 0

    def until(self, now: datetime) -> list[Entry]:
        """Those that finished since the last call."""
        share = RUNS_A_DAY * ((now - self._until) / timedelta(days=1))
        found = []
        for project in range(self._projects):
            if self._chance.random() < share:
                finished = self._chance.randrange(to_ms(self._until) + 1, to_ms(now) + 1)
                duration = int(self._chance.lognormvariate(6.5, 0.6) * 1000)
                result = RESULTS.index(Result.FAILURE if self._chance.random() < 0.06 else Result.SUCCESS)
                created = finished - duration
                found.append(
                    Entry(project, next(self._refs), created, finished, None, result, duration, 5000, False, False)
                )
        self._until = now
        self.count += len(found)
        return found


def later_plan(scene: Scene, kept: Kept, now: datetime) -> Plan:
    """What a daemon's round does."""
    return at_once(planning(scene, kept, now=now))


def timed(work: Callable[[], Plan]) -> tuple[tuple[float, float], Plan]:
    """CPU and wall milliseconds, and what it came to."""
    cpu, wall = time.process_time(), time.perf_counter()
    made = work()
    return ((time.process_time() - cpu) * 1000, (time.perf_counter() - wall) * 1000), made


def middle(times: Sequence[tuple[float, float]]) -> tuple[float, float]:
    return median(cpu for cpu, _ in times), median(wall for _, wall in times)


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
    print("CPU ms (wall), medians but for the first")
    print(f"{'projects':>9} {'runs':>10} {'30 s later':>13} {'nothing came':>13} {'whole':>13} {'first':>15}", end="")
    print(f" {'came':>6} {'MiB':>7} {'B/run':>6} {'values compared':>16}")
    for projects in options.projects:
        cost = measure(projects, options.rounds)
        runs = projects * DAYS * RUNS_A_DAY
        each = cost.memory * 2**20 / runs
        kinds = (cost.later, cost.idle, cost.whole, cost.first)
        columns = " ".join(f"{f'{cpu:,.1f} ({wall:,.1f})':>13}" for cpu, wall in kinds)
        print(f"{projects:>9,} {runs:>10,} {columns}   {cost.came:>6.0f} ", end="")
        print(f"{cost.memory:>7.1f} {each:>6.0f} {cost.compared:>16,}")


if __name__ == "__main__":
    main()
