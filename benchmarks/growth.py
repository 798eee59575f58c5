"""How the main costs grow: with projects, with the length of a window, with recorded runs. Draws a chart, too.

Everything is CPU time of this process, the least of several times, so a busy machine changes little. Histories come
from the seeded generators of `evaluate.py` and `backtest.py`; 10,000 projects have 20 runs a day each, the others 200.

    .venv/bin/python benchmarks/growth.py [--chart docs/pictures/growth.svg] [--small]
"""

import argparse
import asyncio
import gc
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from math import log10
from pathlib import Path
from tempfile import TemporaryDirectory

import backtest
import evaluate

from k2alert.config.load import load
from k2alert.config.model import Config
from k2alert.cycle import Scene, plan
from k2alert.expose.exposition import Sheet
from k2alert.gauges import ci_families
from k2alert.measure.catalogue import METRICS
from k2alert.recall import fill_board, make_board
from k2alert.record import look_into_store, open_store

ROUNDS = 5
WINDOWS = {"1h": 1, "24h": 24, "7d": 168, "30d": 720}  # hours
ONE_RULE = """
alert_rules:
  - {{name: low, condition: success_rate < 0.95, period: {window}, severity: warning, message: "low"}}
"""


@dataclass(frozen=True, kw_only=True)
class Curve:
    """What something costs at each size."""

    title: str
    across: str  # what grows
    unit: str
    points: Mapping[float, float]


def least(work: Callable[[], object]) -> float:
    """CPU milliseconds of the quickest of some rounds; the first one is not counted."""
    work()
    times = []
    for _ in range(ROUNDS):
        before = time.process_time()
        work()
        times.append(time.process_time() - before)
    return min(times) * 1000


def configured(main: str, rules: str, folder: Path) -> Config:
    """A configuration of these two files."""
    (folder / "k2alert.yml").write_text(main)
    (folder / "rules.yml").write_text(rules)
    loaded = load(folder / "k2alert.yml", environ={}, metrics=METRICS)
    if loaded.config is None:
        raise RuntimeError(str(loaded.problems))
    return loaded.config


def settle() -> None:
    """Nothing made so far is looked through for garbage again."""
    gc.collect()
    gc.freeze()


def by_projects(sizes: Iterable[int], folder: Path) -> tuple[Curve, Curve]:
    """A whole evaluation of the seed's four rules, and drawing the default gauges."""
    config = configured(evaluate.CONFIG, evaluate.RULES, folder)
    judged, drawn = {}, {}
    for projects in sizes:
        entries = evaluate.make_entries(projects, runs_a_day=20 if projects > 1000 else evaluate.RUNS_A_DAY)
        scene = evaluate.make_scene(config, projects, entries)
        del entries
        settle()
        judged[projects] = least(lambda scene=scene: plan(scene, now=evaluate.NOW))
        drawn[projects] = least(lambda scene=scene: draw(config, scene))
        print(
            f"{projects:>8,} projects: judged in {judged[projects]:,.1f} ms, drawn in {drawn[projects]:,.1f} ms",
            flush=True,
        )
    return (
        Curve(title="Judging four rules", across="projects", unit="ms", points=judged),
        Curve(title="Drawing /metrics", across="projects", unit="ms", points=drawn),
    )


def draw(config: Config, scene: Scene) -> None:
    """The exported gauges as text."""
    sheet = Sheet(most=10_000_000)
    for part in ci_families(config, METRICS, scene.measures, scene.projects, now=evaluate.NOW):
        sheet.add(part)
    sheet.render()


def by_window(projects: int, folder: Path) -> Curve:
    """One rule about a ratio, over longer and longer windows of the same history."""
    points = {}
    entries = evaluate.make_entries(projects, days=30)
    for window, hours in WINDOWS.items():
        config = configured(evaluate.CONFIG, ONE_RULE.format(window=window), folder)
        scene = evaluate.make_scene(config, projects, entries, days=30)
        settle()
        points[hours] = least(lambda scene=scene: plan(scene, now=evaluate.NOW))
        print(f"{window:>8} window, {projects} projects: {points[hours]:,.2f} ms", flush=True)
    return Curve(title=f"One rule, {projects} projects", across="hours of window", unit="ms", points=points)


def by_runs(sizes: Iterable[int], folder: Path) -> tuple[Curve, Curve]:
    """Recording runs into SQLite on disk, and reading them into memory at a start."""
    kept, read = {}, {}
    days = 93
    for number, projects in enumerate(sizes):
        names = ", ".join(f"k2/p{project}" for project in range(projects))
        main = backtest.MAIN.format(projects=names, store=folder / f"{number}.db")
        config = configured(main, backtest.rules(), folder)
        before = time.process_time()
        runs = asyncio.run(backtest.record(open_store(config.store), projects, days, "calm"))
        kept[runs] = (time.process_time() - before) * 1000
        before = time.process_time()
        asyncio.run(fill(config))
        read[runs] = (time.process_time() - before) * 1000
        print(f"{runs:>8,} runs: recorded in {kept[runs]:,.0f} ms, read in {read[runs]:,.0f} ms", flush=True)
    return (
        Curve(title="Recording runs", across="runs", unit="ms", points=kept),
        Curve(title="Reading them at a start", across="runs", unit="ms", points=read),
    )


async def fill(config: Config) -> None:
    """What a start reads into memory."""
    store = look_into_store(config.store)
    try:
        await fill_board(make_board(config, METRICS), store)
    finally:
        await store.close()


# ------------------------------------------------------------------------------------------------- the chart

WIDTH, HEIGHT, LEFT, TOP, ROOM = 300, 210, 52, 30, (230, 140)  # of one panel, and of what lies inside its axes


def chart(curves: Sequence[Curve]) -> str:
    """The curves side by side as SVG, both axes logarithmic: what costs the same for each lies on a line."""
    columns = 3
    rows = -(-len(curves) // columns)
    panels = "".join(
        f'<g transform="translate({place % columns * WIDTH},{place // columns * HEIGHT})">{panel(curve)}</g>'
        for place, curve in enumerate(curves)
    )
    style = "text{font:11px sans-serif;fill:#555}.t{font-weight:bold;fill:#222}line{stroke:#ccc}"
    size = f'width="{columns * WIDTH}" height="{rows * HEIGHT}"'
    background = '<rect width="100%" height="100%" fill="#fff"/>'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size}><style>{style}</style>{background}{panels}</svg>\n'


def panel(curve: Curve) -> str:
    """One curve with its axes."""
    across, up = axis(curve.points), axis(curve.points.values())
    places = [(LEFT + ROOM[0] * share(across, x), TOP + ROOM[1] * (1 - share(up, y))) for x, y in curve.points.items()]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    dots = "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="#1f6feb"/>' for x, y in places)
    marks = "".join(
        f'<line x1="{LEFT}" x2="{LEFT + ROOM[0]}" y1="{y:.1f}" y2="{y:.1f}"/>'
        f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{short(10**power)}</text>'
        for power in range(up[0], up[1] + 1)
        for y in [TOP + ROOM[1] * (1 - share(up, 10**power))]
    )
    ticks = "".join(
        f'<text x="{x:.1f}" y="{TOP + ROOM[1] + 16}" text-anchor="middle">{short(10**power)}</text>'
        for power in range(across[0], across[1] + 1)
        for x in [LEFT + ROOM[0] * share(across, 10**power)]
    )
    title = f'<text class="t" x="{LEFT}" y="18">{escape(curve.title)}, {escape(curve.unit)} CPU</text>'
    below = (
        f'<text x="{LEFT + ROOM[0] / 2}" y="{TOP + ROOM[1] + 32}" text-anchor="middle">{escape(curve.across)}</text>'
    )
    return (
        f'{title}{marks}{ticks}{below}<polyline points="{line}" fill="none" stroke="#1f6feb" stroke-width="2"/>{dots}'
    )


def axis(values: Iterable[float]) -> tuple[int, int]:
    """The powers of ten around all values."""
    found = list(values)
    low, high = int(log10(min(found)) // 1), -int(-log10(max(found)) // 1)
    return low, max(high, low + 1)


def share(axis: tuple[int, int], value: float) -> float:
    """Where on an axis a value lies, from 0 to 1."""
    return (log10(value) - axis[0]) / (axis[1] - axis[0])


def short(number: float) -> str:
    """A power of ten as people read it."""
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:g}{letter}"
    return f"{number:g}"


def main() -> None:
    """Measures everything and prints it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--chart", type=Path, help="draw it into this file")
    parser.add_argument("--small", action="store_true", help="a tenth of the sizes, to try it")
    options = parser.parse_args()
    sizes, recorded = ([10, 100], [1, 5]) if options.small else ([10, 100, 1_000, 10_000], [1, 5, 50, 500])
    with TemporaryDirectory(prefix="k2alert-bench-") as name:
        folder = Path(name)
        curves = [*by_projects(sizes, folder), by_window(100, folder), *by_runs(recorded, folder)]
    if options.chart:
        options.chart.write_text(chart(curves))
        print(f"drawn: {options.chart}")


if __name__ == "__main__":
    main()
