"""k2alert beside Prometheus, measured in the same run: one history, the seed's four rules, both answers checked.

Prometheus (Debian's package `prometheus`) gets what an exporter that never restarts would have shown it once a
minute: 11 series a project, each over the window that its rule reads and nothing before it, in the blocks of 18 h
that it would have compacted them to. That favours it: no scrapes, no older samples, no alerts to move, no
notifications to plan. A real `prometheus` serves the blocks on loopback, and the rules are instant queries to it at
the history's end.

    .venv/bin/python benchmarks/evaluate_peer.py [10 100 1000]
"""

import argparse
import json
import shutil
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from urllib.parse import urlencode

from evaluate import DAY_MS, DAYS, NOW, SUCCESS, make_entries
from evaluate import measure as measure_k2alert
from peer import Peer, free_port, running

from k2alert.model import RESULTS, Entry
from k2alert.times import to_ms

RATE = (
    'sum by (project) (increase(k2_pipelines_total{status="success"}[24h]))'
    " / sum by (project) (increase(k2_pipelines_total[24h]))"
)
MINUTES = (
    "sum by (project) (increase(k2_pipeline_duration_seconds_sum[24h]))"
    " / sum by (project) (increase(k2_pipeline_duration_seconds_count[24h])) / 60"
)
FLAKY = "sum by (project) (increase(k2_tests_flaky_total[7d])) / sum by (project) (increase(k2_tests_total[7d])) > 0.05"
DROP = "max_over_time(k2_coverage_percent[1h]) - last_over_time(k2_coverage_percent[1h]) > 2"
RULES = (f"{RATE} < 0.95", f"{MINUTES} > 30", FLAKY, DROP)
OF_RUNS = 2  # the first of them, whose facts k2alert has too

START_MS, END_MS = to_ms(NOW) - DAYS * DAY_MS, to_ms(NOW)
PHASE_MS = 30_000  # a target is scraped at a moment of its own, not on the stroke of the minute
HOUR, DAY, HISTORY, BLOCK = 60, 24 * 60, DAYS * 24 * 60, 18 * 60  # in samples, one a minute
TESTS = 200  # in a run
TYPES = (
    "# TYPE k2_pipelines counter\n# TYPE k2_pipeline_duration_seconds summary\n"
    "# TYPE k2_tests_flaky counter\n# TYPE k2_tests counter\n# TYPE k2_coverage_percent gauge\n"
)

History = Mapping[int, Sequence[Entry]]
"""The runs of each project that finished by the history's end."""


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What Prometheus took for a round of the four rules: milliseconds, and MiB resident at the most."""

    walls: tuple[float, ...]  # each rule's median
    cpu: float
    memory: float


@dataclass(frozen=True, kw_only=True)
class Errors:
    """How far Prometheus's answers are from the truth, of each project."""

    rates: tuple[float, ...]  # points
    minutes: tuple[float, ...]  # per cent of the true mean
    low: int  # projects really below 0.95
    missed: int
    false: int


# ----------------------------------------------------------------------------- what an exporter would have shown


def make_history(projects: int) -> History:
    history: dict[int, list[Entry]] = {number: [] for number in range(projects)}
    for entry in make_entries(projects):
        if entry.finished <= END_MS:
            history[entry.stream].append(entry)
    return history


def make_series(project: int, entries: Sequence[Entry]) -> Iterator[tuple[str, Sequence[float]]]:
    """A project's 11 series with their last samples. Counters were there, at 0, before the first run."""
    label = f'project="k2/p{project}"'
    for code, result in enumerate(RESULTS):
        steps = ((entry, 1.0 if entry.result == code else 0.0) for entry in entries)
        yield f'k2_pipelines_total{{{label},status="{result}"}}', count_up(steps, DAY)
    seconds = ((entry, (entry.duration or 0) / 1000) for entry in entries)
    yield f"k2_pipeline_duration_seconds_sum{{{label}}}", count_up(seconds, DAY)
    yield f"k2_pipeline_duration_seconds_count{{{label}}}", count_up(((entry, 1.0) for entry in entries), DAY)
    flaky = ((entry, float(entry.ref % (1 + project % 30))) for entry in entries)
    yield f"k2_tests_flaky_total{{{label}}}", count_up(flaky, HISTORY)
    yield f"k2_tests_total{{{label}}}", count_up(((entry, float(TESTS)) for entry in entries), HISTORY)
    half = HOUR // 2
    yield f"k2_coverage_percent{{{label}}}", [80.0] * half + [80.0 - project % 6] * half


def count_up(steps: Iterable[tuple[Entry, float]], length: int) -> Sequence[float]:
    """A counter's last samples, `length` of them: a run is in the first one taken when it had finished."""
    shown = [0.0] * (HISTORY + 1)  # the last one comes after the history's end
    for entry, step in steps:
        shown[-((START_MS + PHASE_MS - entry.finished) // 60_000)] += step
    first = HISTORY - length
    return list(accumulate(shown[first + 1 : HISTORY], initial=sum(shown[: first + 1])))


def write_samples(history: History, folder: Path) -> tuple[list[Path], int]:
    """OpenMetrics text, a file for each block; and how many samples there are."""
    paths = [folder / f"{number}.om" for number in range(HISTORY // BLOCK + 1)]
    times = [(START_MS + PHASE_MS) // 1000 + 60 * sample for sample in range(HISTORY)]
    samples = 0
    with ExitStack() as stack:
        files = [stack.enter_context(path.open("w")) for path in paths]
        for file in files:
            file.write(TYPES)
        for project, entries in history.items():
            for name, values in make_series(project, entries):
                first = len(times) - len(values)
                samples += len(values)
                lines = [f"{name} {value} {at}\n" for value, at in zip(values, times[first:], strict=True)]
                for number in range(first // BLOCK, len(files)):
                    files[number].writelines(lines[max(0, number * BLOCK - first) : (number + 1) * BLOCK - first])
        for file in files:
            file.write("# EOF\n")
    return paths, samples


def make_blocks(history: History, folder: Path) -> int:
    """Fills a data directory of Prometheus; returns how many samples it holds."""
    with TemporaryDirectory(dir=folder) as texts:
        paths, samples = write_samples(history, Path(texts))
        for path in paths:
            command = ["promtool", "tsdb", "create-blocks-from", "--quiet", f"--max-block-duration={BLOCK}m"]
            subprocess.run([*command, "openmetrics", path, folder / "data"], check=True, stdout=subprocess.DEVNULL)
    return samples


# ----------------------------------------------------------------------------------------- a running Prometheus


def query(peer: Peer, expression: str) -> dict[str, float]:
    """An instant query at the history's end: each project's value."""
    status, body = peer.request("GET", "/api/v1/query?" + urlencode({"query": expression, "time": END_MS // 1000}))
    if status != 200:
        raise SystemExit(f"Prometheus answered {status}: {body[:300]!r}")
    return {line["metric"]["project"]: float(line["value"][1]) for line in json.loads(body)["data"]["result"]}


@contextmanager
def serve(folder: Path) -> Iterator[Peer]:
    """Runs a Prometheus that scrapes nothing over the folder's `data` until the block ends."""
    config, port = folder / "prometheus.yml", free_port()
    config.write_text("{}\n")
    command = ["prometheus", f"--config.file={config}", f"--storage.tsdb.path={folder / 'data'}", "--log.level=error"]
    limits = ["--storage.tsdb.retention.time=15d", "--query.max-samples=500000000"]
    with running([*command, *limits, f"--web.listen-address=127.0.0.1:{port}"], port, "/-/ready") as peer:
        yield peer


# ------------------------------------------------------------------------------------------------- what it comes to


def measure_prometheus(peer: Peer, rounds: int) -> Cost:
    for expression in RULES:
        query(peer, expression)  # once cold, as k2alert's first round is not counted either
    before = peer.cpu()
    walls = [[time_query(peer, expression) for expression in RULES] for _ in range(rounds)]
    cpu = (peer.cpu() - before) / rounds
    return Cost(walls=tuple(median(of_rule) for of_rule in zip(*walls, strict=True)), cpu=cpu, memory=peer.memory())


def time_query(peer: Peer, expression: str) -> float:
    began = time.perf_counter()
    query(peer, expression)
    return (time.perf_counter() - began) * 1000


def compare(peer: Peer, history: History) -> Errors:
    """Prometheus's success rates and mean durations beside the true ones."""
    rates, minutes = query(peer, RATE), query(peer, MINUTES)
    off_rates, off_minutes, low, missed, false = [], [], 0, 0, 0
    for number, entries in history.items():
        project, rows = f"k2/p{number}", [entry for entry in entries if entry.finished > END_MS - DAY_MS]
        rate = sum(row.result == SUCCESS for row in rows) / len(rows)
        mean = sum(row.duration or 0 for row in rows) / len(rows) / 60_000
        off_rates.append(100 * abs(rates[project] - rate))
        off_minutes.append(100 * abs(minutes[project] / mean - 1))
        low += rate < 0.95
        missed += rate < 0.95 <= rates[project]
        false += rates[project] < 0.95 <= rate
    return Errors(rates=tuple(off_rates), minutes=tuple(off_minutes), low=low, missed=missed, false=false)


def spread(errors: Sequence[float]) -> str:
    """Median, 95 % quantile and maximum."""
    ordered = sorted(errors)
    return f"{median(ordered):.2f} / {ordered[int(0.95 * (len(ordered) - 1))]:.2f} / {ordered[-1]:.2f}"


def report(projects: int, rounds: int) -> None:
    with TemporaryDirectory(prefix="k2alert-bench-") as name:
        folder, history = Path(name), make_history(projects)
        samples = make_blocks(history, folder)
        with serve(folder) as peer:
            cost, errors = measure_prometheus(peer, rounds), compare(peer, history)
    own = measure_k2alert(projects, 20)
    (cpu, wall), compared = own.later, own.compared
    every, of_runs = sum(cost.walls), sum(cost.walls[:OF_RUNS])
    print(f"\n{projects:,} projects, {samples:,} samples")
    print(f"  k2alert      {wall:>9,.1f} ms wall  {cpu:>9,.1f} ms CPU   {compared:,} values compared, all exact")
    print(f"  … all judged {own.whole[1]:>9,.1f} ms wall  {own.whole[0]:>9,.1f} ms CPU")
    print(f"  Prometheus   {every:>9,.1f} ms wall  {cost.cpu:>9,.1f} ms CPU   {cost.memory:,.0f} MiB")
    whole = cost.cpu / own.whole[0]
    print(f"  ratio        {every / wall:>9,.0f} ×        {cost.cpu / cpu:>9,.0f} × (all judged: {whole:,.0f} ×)")
    print(
        f"  its rules    {' + '.join(f'{each:,.1f}' for each in cost.walls)} ms; those of runs only: "
        f"{of_runs:,.1f} ms, {of_runs / wall:,.0f} × k2alert's four"
    )
    print(
        f"  its errors   success rate {spread(errors.rates)} points, mean duration {spread(errors.minutes)} %"
        f" (median / p95 / max); < 0.95: of {errors.low}, {errors.missed} missed, {errors.false} false"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("projects", nargs="*", type=int, default=[10, 100, 1000])
    parser.add_argument("--rounds", type=int, default=5, help="of Prometheus; k2alert has 20")
    options = parser.parse_args()
    if not shutil.which("prometheus") or not shutil.which("promtool"):
        print("skipped: no prometheus here (Debian's package prometheus has it, and promtool)")
        return
    version = subprocess.run(["prometheus", "--version"], check=True, capture_output=True, text=True)
    print((version.stdout or version.stderr).partition(" (")[0])
    for projects in options.projects:
        report(projects, options.rounds)


if __name__ == "__main__":
    main()
