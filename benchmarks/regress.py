"""Whether anything has become slower: the daemon's main chores, beside a committed baseline.

Each chore's CPU time is held against that of a fixed piece of plain Python which runs just before and after it, so a
faster or busier machine changes nothing; the figures are how many of those pieces a chore takes. What takes more than
`--tolerance` (1.3) times the baseline is slower, and the exit status is 1. After a change that is meant, `--write`
makes today's figures the baseline. `--report FILE` writes them for `k2alert gate performance`, which then judges.

    .venv/bin/python benchmarks/regress.py [--write | --report FILE] [--tolerance 1.3] [--rounds 7]
"""

import argparse
import asyncio
import gc
import json
import random
import sys
import time
from bisect import bisect_left
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import backtest
import evaluate

from k2alert.config.load import load
from k2alert.cycle import plan
from k2alert.expose.exposition import Sheet
from k2alert.gauges import ci_families
from k2alert.measure.catalogue import METRICS
from k2alert.recall import fill_board, make_board
from k2alert.record import look_into_store, open_store
from k2alert.rehearse.agenda import Grid
from k2alert.rehearse.backtest_source import rehearse

BASELINE = Path(__file__).with_name("baseline.json")
PROJECTS, DAYS = 10, 30  # of what is recorded: 7,400 runs

Chore = Callable[[], object]


def piece() -> int:
    """Plain work of the kind that chores do: objects, dictionaries, sorting, looking up.

    In small portions, so that it depends neither on the cache that is left nor on what the heap looks like.
    """
    total = 0
    for portion in range(40):
        chance = random.Random(portion)
        rows = sorted((chance.random(), {"number": number}) for number in range(500))
        keys = [key for key, _ in rows]
        total += sum(bisect_left(keys, key) + row["number"] for key, row in rows)
    return total


def cpu_of(work: Chore) -> float:
    """CPU seconds of the process, every thread's."""
    before = time.process_time()
    work()
    return time.process_time() - before


def measure(work: Chore, rounds: int) -> tuple[float, float]:
    """The CPU milliseconds of a chore, and how many pieces that is: medians of so many rounds.

    In each round as much plain work is done before and after as the chore takes, so that a core which is shared with
    somebody for a while is shared for all alike.
    """
    work()
    gc.collect()
    gc.freeze()  # what was made before must not be looked through again while the pieces run
    alike = max(1, round(cpu_of(work) / cpu_of(piece) / 2))
    times, pieces, before = [], [], pieces_of(alike)
    for _ in range(rounds):
        times.append(cpu_of(work))
        after = pieces_of(alike)
        pieces.append(times[-1] / ((before + after) / 2))
        before = after
    return median(times) * 1000, median(pieces)


def pieces_of(number: int) -> float:
    """CPU seconds of one piece, of so many."""
    return cpu_of(lambda: [piece() for _ in range(number)]) / number


@contextmanager
def chores() -> Iterator[dict[str, Chore]]:
    """Everything that is measured, by name, on material made once."""
    with TemporaryDirectory(prefix="k2alert-bench-") as name:
        folder = Path(name)
        (folder / "seed.yml").write_text(evaluate.CONFIG)
        (folder / "rules.yml").write_text(evaluate.RULES)
        seed = load(folder / "seed.yml", environ={}, metrics=METRICS).config
        listed = ", ".join(f"k2/p{number}" for number in range(PROJECTS))
        (folder / "k2alert.yml").write_text(backtest.MAIN.format(projects=listed, store=folder / "k.db"))
        (folder / "rules.yml").write_text(backtest.rules())
        config = load(folder / "k2alert.yml", environ={}, metrics=METRICS).config
        if seed is None or config is None:
            raise RuntimeError("the configuration is wrong")
        asyncio.run(backtest.record(open_store(config.store), PROJECTS, DAYS, "noisy"))
        scene = evaluate.make_scene(seed, 100, evaluate.make_entries(100))
        numbers = iter(range(1_000_000))

        async def fill() -> None:
            store = look_into_store(config.store)
            try:
                await fill_board(make_board(config, METRICS), store)
            finally:
                await store.close()

        async def rehearse_ten_days() -> None:
            store = look_into_store(config.store)
            step = config.evaluation_interval
            grid = Grid(backtest.END - timedelta(days=3), step, timedelta(days=3) // step + 1)
            try:
                await rehearse(config, config.rules, store, grid)
            finally:
                await store.close()

        def show() -> None:
            sheet = Sheet(most=200_000)
            for part in ci_families(seed, METRICS, scene.measures, scene.projects, now=evaluate.NOW):
                sheet.add(part)
            sheet.render()

        def keep() -> None:
            url = f"sqlite:///{folder}/{next(numbers)}.db"
            asyncio.run(backtest.record(open_store(url), PROJECTS, DAYS, "calm"))

        def check() -> None:
            load(folder / "k2alert.yml", environ={}, metrics=METRICS)

        yield {
            "judge four rules for 100 projects": lambda: plan(scene, now=evaluate.NOW),
            "render the gauges of 100 projects": show,
            "record 7,400 runs on disk": keep,
            "read 7,400 runs into memory": lambda: asyncio.run(fill()),
            "rehearse 3 days, 10 projects, 20 rules": lambda: asyncio.run(rehearse_ten_days()),
            "load a configuration with 20 rules": check,
        }


def main() -> int:
    """Measures everything, prints it beside the baseline; 1 where something is slower."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="make today's figures the baseline")
    parser.add_argument("--tolerance", type=float, default=1.3, help="how many times slower is still noise")
    parser.add_argument("--report", type=Path, help="write the figures to this file, and leave judging to a gate")
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    told = json.loads(BASELINE.read_text()) if BASELINE.exists() else []
    before: dict[str, float] = {item["name"]: item["value"] for item in told}
    after: dict[str, float] = {}
    print(f"{'chore':<40} {'CPU ms':>9} {'pieces':>8} {'baseline':>9} {'ratio':>6}")
    slower = []
    with chores() as work:
        for name, chore in work.items():
            milliseconds, pieces = measure(chore, options.rounds)
            after[name] = round(pieces, 3)
            known = before.get(name)
            ratio = pieces / known if known else float("nan")
            print(
                f"{name:<40} {milliseconds:>9.1f} {pieces:>8.3f} {known or float('nan'):>9.3f} {ratio:>6.2f}",
                flush=True,
            )
            if ratio > options.tolerance:
                slower.append(name)
    if file := BASELINE if options.write else options.report:
        items = [{"name": name, "unit": "pieces", "value": value} for name, value in after.items()]
        file.write_text(json.dumps(items, indent=1) + "\n")
        print(f"written to {file.name}")
        return 0
    for name in slower:
        print(f"slower: {name}")
    return 1 if slower else 0


if __name__ == "__main__":
    sys.exit(main())
