"""What the dearest condition that the grammar lets through costs to judge once, for one project.

A baseline asks for a year of daily values: as many of them as fit, each of another metric. Beside it a plain threshold,
and one of a hundred parts. History: 400 days of one project with 20 runs a day, made by a seeded generator and put
straight into the board.

    .venv/bin/python benchmarks/condition_cost.py
"""

import platform
import random
import time
from datetime import UTC, datetime, timedelta
from statistics import median

from k2alert.judge.condition import compile_condition
from k2alert.judge.judge import judge
from k2alert.labels import Labels
from k2alert.measure.board import Board
from k2alert.measure.catalogue import METRICS
from k2alert.model import RESULTS, Entry, Kind, Result, Rule, Selection, Severity, Stream, Window
from k2alert.times import to_ms

NOW = datetime(2026, 1, 8, tzinfo=UTC)
DAYS, RUNS_A_DAY, DAY_MS = 400, 20, 86_400_000
PERIOD = Window(length=timedelta(days=1))
SELECTION = Selection((), ("source", "project"))
LABELS = Labels({"source": "gitlab", "project": "k2/app"})
OF_RUNS = [name for name, metric in METRICS.items() if metric.kind is Kind.RUN and metric.needs != "state"]
CONDITIONS = {
    "a threshold": "success_rate < 0.95",
    "100 parts": f"max({','.join(['error_rate', '1', '2.5'] * 32)}) < 0.95",
    "baselines of a year": "",
}


def make_board() -> Board:
    """The board with the history of one project."""
    board = Board(lambda known: Labels({}))
    board.require(SELECTION, frozenset({Kind.RUN}))
    board.add_streams([Stream(0, Kind.RUN, Labels({**LABELS, "ref_type": "default", "branch": "main"}))])
    chance = random.Random(1)
    start = to_ms(NOW) - DAYS * DAY_MS
    rows = []
    for _ in range(DAYS * RUNS_A_DAY):
        created, took = start + chance.randrange(DAYS * DAY_MS), int(chance.lognormvariate(6.5, 0.6) * 1000)
        result = RESULTS.index(Result.FAILURE if chance.random() < 0.05 else Result.SUCCESS)
        rows.append(Entry(0, 0, created, created + took, None, result, took, 5000, False, False))
    rows.sort(key=lambda row: row.finished)
    board.load(Kind.RUN, [row._replace(ref=ref) for ref, row in enumerate(rows)])
    return board


def make_rule(text: str) -> Rule:
    """A rule of the condition."""
    condition = compile_condition(text, metrics=METRICS, window=PERIOD, retention=timedelta(days=DAYS))
    return Rule(
        name="r",
        condition=condition,
        window=PERIOD,
        period="24h",
        severity=Severity.WARNING,
        message=None,
        selection=SELECTION,
    )


def dearest() -> str:
    """As many baselines as may stand in one condition."""
    for count in range(len(OF_RUNS), 0, -1):
        text = "max(" + ",".join(f'baseline("{name}","366d")' for name in OF_RUNS[:count]) + ")<1"
        try:
            make_rule(text)
        except ValueError:
            continue
        return text
    raise AssertionError("no baseline at all")


def main() -> None:
    board = make_board()
    print(f"{platform.python_implementation()} {platform.python_version()}")
    for name, text in CONDITIONS.items():
        rule = make_rule(text or dearest())
        times = []
        for _ in range(20):
            began = time.process_time()
            judge(rule, identity=LABELS, labels=LABELS, measures=board, metrics=METRICS, at=to_ms(NOW))
            times.append(time.process_time() - began)
        print(f"{name:>20} {rule.condition.text[:40]!r:>44} {median(times) * 1000:>9.3f} ms")
    print(f"{'':>20} {dearest().count('baseline')} baselines")


if __name__ == "__main__":
    main()
