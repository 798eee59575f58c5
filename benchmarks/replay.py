"""Real CI histories through the whole of k2alert, every value held against brute force.

Four histories (Bitcoin Core, Apache Ratis and Ozone on GitHub; the Datadog Agent on GitLab, over GraphQL and over
REST) are served by stand-in forges on loopback, collected over HTTP into a SQLite file, and measured: success_rate,
avg_duration_minutes and total_pipelines over 24 h and 7 d, at every instant at which a value may change, the
millisecond before, and every midnight; from memory as collected, from memory filled again after a restart, through
rules, and as the history unfolds. Then figures that others published of the same runs. Any difference is printed
and makes the exit code 1.

    .venv/bin/python benchmarks/replay.py [--data ../shared/data] [bitcoin ratis ozone datadog]
"""

import argparse
import asyncio
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from k2alert.model import Kind
from k2alert.times import to_ms
from tests.support.history import HISTORIES, History, read_history
from tests.support.published import reproduce_bitcoin, reproduce_datadog
from tests.support.replay import Comparison, Replay, compare, compare_findings, ended_runs, replaying, unfold

DATA = Path(__file__).parents[2] / "shared" / "data"
LOOKS = 200  # of an unfolding history
INSTANTS = 25  # at which whole cycles run
PUBLISHED = {"bitcoin": reproduce_bitcoin, "datadog": reproduce_datadog}


@dataclass
class Report:
    """What one history came to, one way."""

    title: str
    runs: int
    ended: int = 0
    jobs: int = 0
    requests: int = 0
    collected_in: float = 0.0
    compared_in: float = 0.0
    at_rest: Comparison = field(default_factory=Comparison)
    by_rules: Comparison = field(default_factory=Comparison)
    unfolding: Comparison = field(default_factory=Comparison)
    published: Comparison = field(default_factory=Comparison)

    @property
    def differences(self) -> list[str]:
        """Every difference found."""
        parts = (self.at_rest, self.by_rules, self.unfolding, self.published)
        return [f"{self.title}: {each}" for part in parts for each in part.differences]


async def replay_history(data: Path, name: str, *, graphql: bool = True, looks: int = LOOKS, every: int = 1) -> Report:
    """One history, all its comparisons; of the windows at rest only one in `every`.

    `graphql` off reads a GitLab that has only REST; `looks` is how often the unfolding history is looked at (0: not).
    """
    history = read_history(data, name)
    way = "REST" if history.forge == "github" or not graphql else "GraphQL"
    whole_seconds = way == "GraphQL"
    report = Report(f"{name}, {way}", len(history.rows))
    with TemporaryDirectory() as folder:
        async with replaying(history, Path(folder), graphql=graphql) as replay:
            await _replay_at_rest(report, replay, whole_seconds, every)
            if name in PUBLISHED:
                report.published = await PUBLISHED[name](data, replay)
    if not looks:
        return report
    with TemporaryDirectory() as folder:
        async with replaying(history, Path(folder), graphql=graphql) as replay:
            report.unfolding = await unfold(replay, looks, whole_seconds=whole_seconds)
    return report


async def _replay_at_rest(report: Report, replay: Replay, whole_seconds: bool, every: int) -> None:
    """The whole history read at once, then a restart; both memories must say the same."""
    history, began = replay.history, time.perf_counter()
    await replay.look(history.ends)
    report.collected_in = time.perf_counter() - began
    collected = replay.board
    await replay.stop()
    report.requests = replay.requests.total()
    await replay.start()
    if changed := await replay.look(history.ends):
        report.at_rest.differences.append(f"a second look after a restart changed {changed} rows")
    report.ended = len(await replay.entries(Kind.RUN))
    report.jobs = len(await replay.entries(Kind.JOB))
    began = time.perf_counter()
    report.at_rest += compare([collected, replay.board], replay, whole_seconds=whole_seconds, every=every)
    report.compared_in = time.perf_counter() - began
    report.by_rules = await compare_findings(replay, _instants(history), whole_seconds=whole_seconds)


def _instants(history: History) -> list[int]:
    """Some moments of the history, spread over it: the finishes of runs, and an hour and a bit later."""
    finishes = sorted(run.finished for project in history.projects for run in ended_runs(history, project))
    end = to_ms(history.ends)
    some = finishes[:: max(1, 2 * len(finishes) // INSTANTS)]
    return [*(min(at + shift, end) for at in some for shift in (0, 3_723_001)), end]


def show(reports: Sequence[Report]) -> None:
    """The table."""
    print(
        f"{'history':18} {'runs':>6} {'ended':>6} {'jobs':>7} {'requests':>9} {'read in':>8} {'windows':>9}"
        f" {'values':>9} {'in':>7} {'by rules':>9} {'unfolding':>10} {'published':>10} {'differ':>7}"
    )
    for report in reports:
        rest = report.at_rest
        print(
            f"{report.title:18} {report.runs:>6,} {report.ended:>6,} {report.jobs:>7,} {report.requests:>9,}"
            f" {report.collected_in:>6.1f} s {rest.windows:>9,} {rest.values:>9,} {report.compared_in:>5.1f} s"
            f" {report.by_rules.values:>9,} {report.unfolding.values:>10,} {report.published.values:>10,}"
            f" {len(report.differences):>7,}"
        )


def main() -> int:
    """Replays what was asked for; 1 where anything differs, 2 where what was asked for is not there."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("histories", nargs="*", metavar="HISTORY", help=f"some of {', '.join(HISTORIES)}; default: all")
    parser.add_argument("--data", type=Path, help=f"the folder of real CI data (default: {DATA}, if it is there)")
    parser.add_argument("--looks", type=int, default=LOOKS, help="looks at an unfolding history (default: %(default)s)")
    options = parser.parse_args()
    data = options.data or DATA
    unknown = [name for name in options.histories if name not in HISTORIES]
    if unknown or not (data / "pipelines").is_dir():
        print(
            f"no history called {unknown[0]}" if unknown else f"nothing to replay: no data in {data}", file=sys.stderr
        )
        return 2 if unknown or options.data else 0
    reports = []
    for name in options.histories or HISTORIES:
        for graphql in (True, False) if name == "datadog" else (True,):
            report = asyncio.run(replay_history(data, name, graphql=graphql, looks=options.looks))
            reports.append(report)
    show(reports)
    differences = [each for report in reports for each in report.differences]
    for each in differences[:100]:
        print(each)
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main())
