"""What memory a run takes in a daemon that has judged its rules and drawn its gauges, all in all.

P projects with 200 runs a day each, the seed's four rules and the gauges that are exported by default, which are two
selections of facts: each holds the rows that it counts. The history is read as from the store, batch by batch; then a
round judges it, and the series are rendered, so that all running sums, orders, streaks and benchmarks are there. What
the process grew by meanwhile is divided by the runs. Three houses:

- *main*: every run on its project's default branch, which both selections count: the most that a run can take;
- *branches*: a third of the runs there, the others on change requests of five runs each, which have their own labels;
- *jobs*: as main, and each run with five jobs; of these the bytes are counted by job, over what main takes.

Run as `python benchmarks/memory.py [1000 projects] [7 days]`; each house in a process of its own.
"""

import asyncio
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from evaluate import CONFIG, NOW, RULES, RUNS_A_DAY, rss

from k2alert.config.load import load
from k2alert.cycle import Scene, plan
from k2alert.expose.exposition import Sheet
from k2alert.garbage import give_back, leave_out
from k2alert.gauges import ci_families
from k2alert.labels import Labels
from k2alert.measure.catalogue import METRICS
from k2alert.model import RESULTS, EntryRow, Kind, Project, Result, Stream
from k2alert.recall import make_board
from k2alert.times import to_ms
from k2alert.universe import make_universe

HOUSES = ("main", "branches", "jobs")
DAY_MS, BATCH, RUNS_OF_A_REQUEST, JOBS_OF_A_RUN = 86_400_000, 10_000, 5, 5
PER_RUN = 1 << 16  # the store's numbers of rows are those of runs with so many places each


class House:
    """A made-up house: its streams, and its runs in the order in which they finished."""

    def __init__(self, kind: str, projects: int, days: int) -> None:
        self.kind, self.projects, self.days = kind, projects, days
        self.runs = projects * days * RUNS_A_DAY
        self.streams: dict[tuple[int, int], Stream] = {}
        self.known: dict[tuple[int, int], int] = {}
        self.paths = [f"k2/group-{number % 100}/p{number}" for number in range(projects)]

    def rows(self, kind: Kind) -> Iterator[tuple[list[Stream], list[EntryRow]]]:
        chance = random.Random(1)
        failing = [chance.uniform(0.01, 0.12) for _ in range(self.projects)]
        counted = [0] * self.projects
        start, step = to_ms(NOW) - self.days * DAY_MS, self.days * DAY_MS / self.runs
        new: list[Stream] = []
        rows: list[EntryRow] = []
        for run in range(1, self.runs + 1):
            project = chance.randrange(self.projects)
            counted[project] += 1
            finished = start + int(run * step)
            lasted = int(chance.lognormvariate(6.5, 0.6)) * 1000  # forges say whole seconds
            result = RESULTS.index(Result.FAILURE if chance.random() < failing[project] else Result.SUCCESS)
            created = finished - lasted - 5000
            places = range(1, JOBS_OF_A_RUN + 1) if kind is Kind.JOB else (0,)
            for place in places:
                stream = self.stream(kind, project, counted[project], place, new)
                ref = run * PER_RUN + place
                rows.append((stream, None, ref, finished, finished - created, lasted, 5000, result))
            if len(rows) >= BATCH:
                yield new, rows
                new, rows = [], []
        yield new, rows

    def stream(self, kind: Kind, project: int, count: int, place: int, new: list[Stream]) -> int:
        request = count // (RUNS_OF_A_REQUEST * 3 // 2) if self.kind == "branches" and count % 3 else 0
        key = (project, request * 100 + place)
        if key in self.known:
            return self.known[key]
        if key not in self.streams:
            labels = {"source": "gitlab", "project": self.paths[project], "event": "push"}
            labels |= (
                {"ref_type": "change_request", "branch": f"!{request}"}
                if request
                else {"ref_type": "default", "branch": "main"}
            )
            labels |= {"job": f"job-{place}", "stage": "test", "runner": "linux"} if kind is Kind.JOB else {}
            self.streams[key] = Stream(len(self.streams) + (1 << 20) * (kind is Kind.JOB), kind, Labels(labels))
            new.append(self.streams[key])
        return self.streams[key].id


def make_scene(house: House) -> Scene:
    with TemporaryDirectory() as folder:
        main = Path(folder, "k2alert.yml")
        main.write_text(CONFIG)
        Path(folder, "rules.yml").write_text(RULES)
        config = load(main, environ={}, metrics=METRICS).config
    assert config is not None
    board = make_board(config, METRICS)
    kinds = (Kind.RUN, Kind.JOB) if house.kind == "jobs" else (Kind.RUN,)
    for kind in kinds:
        board.add_streams([stream for streams, _ in house.rows(kind) for stream in streams])
        house.known = {key: stream.id for key, stream in house.streams.items()}
        house.streams.clear()
        for _, rows in house.rows(kind):
            board.load_rows(kind, rows, more=True)
    for kind in Kind:
        if kind.of_runs:
            board.load(kind, ())
        else:
            board.load_facts(kind, ())
    known = [
        Project(source="gitlab", key=path, path=path, first_seen_at=NOW, covered_since=NOW, complete_at=NOW)
        for path in house.paths
    ]
    universe = make_universe(config, known)
    return Scene(
        config=config,
        metrics=METRICS,
        measures=board,
        universe=universe,
        projects=known,
        alerts={},
        log=(),
        started_at=NOW,
    )


async def measure(kind: str, projects: int, days: int) -> None:
    """Prints the runs, and the bytes that the process grew by: once loaded, and once judged and drawn."""
    house = House(kind, projects, days)
    house_before = rss()
    began = time.process_time()
    scene = make_scene(house)
    leave_out()
    give_back()
    loaded, took = rss() - house_before, time.process_time() - began
    for _ in scene.measures.settle(later=True):  # type: ignore[attr-defined]
        pass
    plan(scene, now=NOW)
    sheet = Sheet(0)
    for part in ci_families(scene.config, METRICS, scene.measures, scene.projects, now=NOW):
        sheet.add(part)
    del sheet
    leave_out()
    give_back()
    print(house.runs, int(loaded * 2**20), int((rss() - house_before) * 2**20), round(took, 1))


def main() -> None:
    numbers = [int(text) for text in sys.argv[1:] if text.isdigit()]
    projects, days = numbers + [1000, 7][len(numbers) :]
    if sys.argv[-1] in HOUSES:
        asyncio.run(measure(sys.argv[-1], projects, days))
        return
    print(
        f"| {projects:,} projects, {days} d | runs | MiB | bytes a run, loaded | judged and drawn |\n"
        "|---|--:|--:|--:|--:|"
    )
    of_main = 0
    for kind in HOUSES:
        out = subprocess.run(
            [sys.executable, __file__, str(projects), str(days), kind], capture_output=True, check=True, text=True
        ).stdout.split()
        runs, loaded, whole = (int(text) for text in out[:3])
        of_main = of_main or whole
        beside = f" (a job: {(whole - of_main) / (runs * JOBS_OF_A_RUN):.0f})" if kind == "jobs" else ""
        print(
            f"| {kind} | {runs:,} | {whole / 2**20:,.0f} | {loaded / runs:.0f} | {whole / runs:.0f}{beside} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
