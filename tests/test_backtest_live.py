"""A backtest equals life: the same incidents, the same minutes, the same messages as the daemon's own rounds.

Both judge at the same instants, and facts are known when they finished; what else a rehearsal takes for granted is in
docs/rehearse.md.
"""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

import pytest

from k2alert.model import Event, Outcome, PipelineRun, RefType, Result, RunState
from k2alert.rehearse.agenda import Grid
from k2alert.times import from_ms, parse_instant
from tests.support.brute_force import ended_of
from tests.support.history import Row, read_history
from tests.support.living import live
from tests.support.looks import T0, at, finished_run, outcome

SHIPPED = Path(__file__).parents[1] / "rules"

PLAIN = """
alert_rules:
  - {name: low, condition: success_rate < 0.7, period: 6h, severity: warning, message: "{{ success_rate }}"}
  - {name: low_held, condition: success_rate < 0.8, period: 24h, severity: warning, for: 47m, keep_firing_for: 70m,
     message: x, clear: success_rate > 0.9}
  - {name: reds, condition: consecutive_failures >= 2, period: 3d, severity: critical, by: [project, branch],
     message: x}
  - {name: failed, condition: failed_pipelines >= 2, period: 2h, severity: info, by: [project, branch], message: x}
  - {name: lost, condition: success_rate < 0.5, period: 5h, severity: critical, no_data: alert, for: 30m, message: x}
  - {name: last_four, condition: success_rate < 0.6, period: 4 runs, severity: info, by: [branch, project],
     no_data: resolve, message: x}
  - {name: quiet, condition: minutes_since_success > 300, period: 24h, severity: warning, for: 5m, message: x}
"""


def shipped() -> dict[str, str]:
    """The rules that are shipped for runs alone, and some plain ones."""
    files = {name: (SHIPPED / f"{name}.yml").read_text() for name in ("ci", "activity")}
    return {**files, "plain": PLAIN}


def made_up() -> Iterator[PipelineRun]:
    """A fortnight of two projects; one run in four fails, more on bad mornings, and one in six is run again."""
    chance = Random(4)
    for number in range(420):
        end = -12 * 1440 + chance.uniform(0, 15 * 1440)
        project, branch = chance.choice([("k2/app", "main"), ("k2/app", "dev"), ("k2/lib", "main")])
        bad = 0.8 if end % 1440 < 500 else 0.15
        result = (
            Result.FAILURE if chance.random() < bad else chance.choice([Result.SUCCESS] * 5 + [Result.CANCELLATION])
        )
        ref_type = RefType.DEFAULT if branch == "main" else RefType.BRANCH
        first = finished_run(str(number), end, result, project=project, branch=branch, ref_type=ref_type)
        yield first
        if chance.random() < 0.17:
            again = end + chance.uniform(3, 300)
            yield replace(first, seen=at(again), outcomes=(*first.outcomes, outcome(again, attempt=2)))


@pytest.mark.parametrize("step", [timedelta(minutes=5), timedelta(minutes=13)])
async def test_a_made_up_history(step: timedelta, tmp_path: Path) -> None:
    grid = Grid(T0, step, timedelta(hours=16) // step)
    life, rehearsal = await live(tmp_path, list(made_up()), grid, shipped(), forge="gitlab", covered=timedelta(days=50))
    assert len(life.incidents) > 10
    assert len({message.kind for message in life.messages}) >= 4
    assert rehearsal.incidents == life.incidents
    assert rehearsal.messages == life.messages


@pytest.mark.parametrize(
    ("name", "begins", "days", "least"),
    [
        ("bitcoin", datetime(2025, 9, 26, tzinfo=UTC), 4, 10),
        ("ratis", datetime(2022, 7, 11, tzinfo=UTC), 8, 3),
        ("ozone", datetime(2020, 7, 6, tzinfo=UTC), 5, 5),
    ],
)
async def test_real_histories(
    name: str, begins: datetime, days: int, least: int, tmp_path: Path, shared_data: Path
) -> None:
    history = read_history(shared_data, name)
    grid = Grid(begins, timedelta(minutes=15), days * 96)
    runs = [run for row in history.rows if (run := read_run(row, history.default_branch)) and run.seen <= grid.end]
    runs = [run for run in runs if run.seen > grid.start - timedelta(days=60)]
    life, rehearsal = await live(tmp_path, runs, grid, shipped(), forge="github", covered=timedelta(days=60))
    assert len(life.incidents) >= least
    assert rehearsal.incidents == life.incidents
    assert rehearsal.messages == life.messages


RESULTS = {True: Result.SUCCESS, False: Result.FAILURE, None: Result.CANCELLATION}


def read_run(row: Row, default_branch: str) -> PipelineRun | None:
    """The line's run as its forge told of it once it had finished; None where it never did."""
    ended = ended_of(row)
    if ended is None:
        return None
    finished, started = from_ms(ended.finished), parse_instant(row["started_at"])
    done = Outcome(
        attempt=row["run_attempt"] or 1,
        result=RESULTS[ended.verdict],
        started_at=started,
        finished_at=finished,
        duration=timedelta(milliseconds=ended.duration),
        queued=timedelta(seconds=row["queued_s"] or 0),
    )
    return PipelineRun(
        source="github",
        project=row["project"],
        id=str(row["id"]),
        number=str(row["run_number"] or ""),
        workflow=row["workflow"] or "",
        event=Event.PUSH,
        ref_type=RefType.DEFAULT if row["ref"] == default_branch else RefType.BRANCH,
        branch=row["ref"],
        sha=row["sha"] or "",
        title="",
        web_url="",
        state=RunState.FINISHED,
        created_at=parse_instant(row["created_at"]),
        started_at=started,
        seen=finished,
        outcomes=(done,),
    )
