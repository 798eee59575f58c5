"""A backtest equals life: the same incidents, the same minutes, the same messages as the daemon's own rounds.

Both judge at the same instants, and facts are known when they finished; what else a rehearsal takes for granted is in
docs/rehearse.md.
"""

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

import pytest

from k2alert.model import Event, Outcome, PipelineRun, RefType, Result, RunState
from k2alert.rehearse.agenda import Grid
from k2alert.rehearse.made_facts import Look, looks_of
from k2alert.rehearse.rule_test_given import DeploymentSpec, JobSpec, RerunSpec, RunsSpec, ScheduleSpec, TestsSpec
from k2alert.rehearse.rule_test_spec import TestSpec
from k2alert.times import from_ms, iso, parse_instant
from tests.support.brute_force import ended_of
from tests.support.history import Row, read_history
from tests.support.living import ROUTE, live, seen
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


REPORTED = """
alert_rules:
  - {name: failing, condition: test_failure_rate > 0.2, period: 12h, severity: warning, message: x}
  - {name: flaky, condition: flaky_tests >= 1, period: 8h, severity: info, message: x, keep_firing_for: 1h}
  - {name: newly_flaky, condition: new_flaky_tests >= 1, period: 6h, severity: info, message: x}
  - {name: low_cover, condition: coverage < 75, period: 24h, severity: info, message: x, by: [project, branch]}
  - {name: dropped, condition: coverage_drop > 3, period: 12h, severity: warning, message: x, for: 10m}
  - {name: deploys_fail, condition: change_failure_rate > 0.3, period: 24h, severity: critical, message: x}
  - {name: deploy_failed, condition: failed_deployments > 0, period: 3h, severity: critical, message: x,
     by: [project, environment], no_data: resolve}
  - {name: twice, condition: consecutive_failed_deployments >= 2, period: 24h, severity: info, message: x}
  - {name: slow_lead, condition: lead_time_hours > 8, period: 24h, severity: info, message: x}
  - {name: slow_mend, condition: time_to_restore_hours > 4, period: 48h, severity: info, message: x}
  - {name: overdue, condition: schedule_overdue_minutes > 30, period: 24h, severity: warning, message: x,
     by: [project, schedule]}
  - {name: bad_jobs, condition: job_success_rate < 0.7, period: 6h, severity: warning, message: x, by: [project, job]}
  - {name: retried, condition: job_retry_rate > 0.4, period: 12h, severity: info, message: x, by: [project, job]}
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


def reported() -> list[Look]:
    """A fortnight of runs with jobs, reports, deployments and schedules, as a rule test makes them up."""
    chance = Random(11)
    runs = []
    for _ in range(330):
        runs.append(_reported_run(chance, at=chance.randrange(15 * 1440)))
    runs += [
        RunsSpec(project=project, at=timedelta(minutes=day * 1440 + 181), result="success", event=Event.SCHEDULE)
        for day in range(15)
        for project in ("k2/app", "k2/lib")
        if chance.random() < 0.7
    ]
    deployments = [
        DeploymentSpec(
            project=chance.choice(["k2/app", "k2/lib"]),
            environment=chance.choice(["production", "staging"]),
            at=timedelta(minutes=chance.randrange(15 * 1440)),
            result=chance.choice(["success", "failure", "cancellation"]),
            committed=timedelta(minutes=chance.randrange(1200)),
        )
        for _ in range(120)
    ]
    schedules = [
        ScheduleSpec(project="k2/app", name="nightly", cron="0 3 * * *"),
        ScheduleSpec(
            project="k2/lib", name="nightly", cron="0 4 * * *", timezone="Europe/Berlin", at=timedelta(days=2)
        ),
    ]
    spec = TestSpec(
        name="x", start=iso(T0 - timedelta(days=12)), runs=runs, deployments=deployments, schedules=schedules, expect=()
    )
    return looks_of(spec)


def _reported_run(chance: Random, at: int) -> RunsSpec:
    """One run whose tests, coverage and jobs are drawn, in one case out of six with an attempt after it."""
    red = chance.random() < (0.7 if at % 1440 < 500 else 0.15)
    branch = chance.choice(["main", "main", "dev"])
    failed = tuple(chance.sample(["a", "b", "c", "d"], chance.choice([1, 2]))) if red else ()
    tests = TestsSpec(passed=tuple("efgh"), failed=failed, flaky=(f"z{at}",) if chance.random() < 0.05 else ())
    again = chance.random() < 0.3
    return RunsSpec(
        project=chance.choice(["k2/app", "k2/lib"]),
        branch=branch,
        at=timedelta(minutes=at),
        duration=timedelta(minutes=20),
        result="failure" if red else "success",
        jobs=(
            JobSpec(name="test", results="-+" if chance.random() < 0.2 else None),
            JobSpec(name="lint", result="success", at=timedelta(0), duration=timedelta(minutes=2)),
        ),
        tests=tests,
        coverage=chance.choice([70, 76, 80, 81]),
        reruns=(
            (RerunSpec(after=timedelta(minutes=30), result="success", tests=TestsSpec(passed=tuple("abcdefgh"))),)
            if red and again
            else ()
        ),
    )


async def test_reports_deployments_and_schedules(tmp_path: Path) -> None:
    grid = Grid(T0, timedelta(minutes=5), timedelta(hours=48) // timedelta(minutes=5))
    looks = [look for look in reported() if look.at <= grid.end]
    life, rehearsal = await live(tmp_path, looks, grid, {"facts": REPORTED}, forge="gitlab", covered=timedelta(days=50))
    assert {incident.rule for incident in life.incidents} == set(re.findall(r"name: (\w+)", REPORTED))
    assert rehearsal.incidents == life.incidents
    assert rehearsal.messages == life.messages


MUTED = """
time_intervals:
  - {name: early, time_intervals: [{times: [{start_time: "03:10", end_time: "06:00"}]}]}
  - {name: late, time_intervals: [{times: [{start_time: "08:05", end_time: "23:00"}]}]}
"""
ROUTES = {
    "inhibition": ROUTE
    + """
inhibit_rules:
  - {source_matchers: ['severity="critical"'], target_matchers: ['severity=~"warning|info"'], equal: [project]}
""",
    "mute times": MUTED + ROUTE.replace("repeat_interval: 12h", "repeat_interval: 2h\n  mute_time_intervals: [early]"),
    "active times": MUTED + ROUTE.replace("group_wait: 0s", "active_time_intervals: [late], group_wait: 10m"),
    "a digest": ROUTE.replace("repeat_interval: 12h", 'digest: "daily 06:30 Europe/Berlin"'),
    "one group of all": ROUTE.replace("repeat_interval: 12h", "repeat_interval: 3h\n  group_by: []"),
    "a group of each alert": ROUTE.replace("repeat_interval: 12h", "repeat_interval: 1h\n  group_by: [...]"),
}


@pytest.mark.parametrize("name", ROUTES)
async def test_routes_of_every_kind(name: str, tmp_path: Path) -> None:
    grid = Grid(T0, timedelta(minutes=5), timedelta(hours=16) // timedelta(minutes=5))
    rules = {"plain": PLAIN}
    life, rehearsal = await live(
        tmp_path, seen(made_up()), grid, rules, forge="gitlab", covered=timedelta(days=50), route=ROUTES[name]
    )
    assert life.messages
    assert rehearsal.incidents == life.incidents
    assert rehearsal.messages == life.messages


@pytest.mark.parametrize("step", [timedelta(minutes=5), timedelta(minutes=13)])
async def test_a_made_up_history(step: timedelta, tmp_path: Path) -> None:
    grid = Grid(T0, step, timedelta(hours=16) // step)
    life, rehearsal = await live(tmp_path, seen(made_up()), grid, shipped(), forge="gitlab", covered=timedelta(days=50))
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
    life, rehearsal = await live(tmp_path, seen(runs), grid, shipped(), forge="github", covered=timedelta(days=60))
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
