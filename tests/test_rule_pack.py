"""The shipped rules, each on a history that it is made for and on one that it must bear in silence.

A history is recorded in a real store and judged round by round, as a daemon does it.
"""

import re
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import pytest
from click.testing import CliRunner

from benchmarks.rule_pack import try_history
from k2alert.alert.lifecycle import AlertId
from k2alert.cli import main
from k2alert.config.load import load, load_rules
from k2alert.cycle import Scene, plan
from k2alert.measure.catalogue import METRICS
from k2alert.model import (
    Alert,
    AlertState,
    BenchmarkPoint,
    BenchmarkReport,
    Fact,
    JobRun,
    PipelineRun,
    Project,
    RefType,
    Result,
    RunState,
)
from k2alert.recall import fill_board, make_board
from k2alert.record import open_store
from k2alert.universe import make_universe
from tests.support.looks import T0, at, job, outcome, run
from tests.support.reported import coverage, deployment, execution, report, schedule, schedules

ROOT = Path(__file__).parents[1]
FILES = sorted((ROOT / "rules").glob("*.yml"))

HOUR, DAY = 60, 1440  # minutes
END = 30 * DAY  # after four weeks of history, at midnight
RESULTS = {"+": Result.SUCCESS, "-": Result.FAILURE, "E": Result.ERROR}

MAIN = """
sources: [{{type: gitlab, name: gitlab, url: "http://127.0.0.1", token: abcdefgh, projects: [k2/app]}}]
rule_files: ["{rules}"]
project_labels: [{{labels: {{slo: "0.9"}}}}]
"""

Facts = Sequence[PipelineRun | Fact]


def runs(
    results: str,
    *,
    ends: float = END,
    every: float = 60,
    took: float = 20,
    jobs: Callable[[str, float], tuple[JobRun, ...]] = lambda name, finished: (),
    ref_type: RefType = RefType.DEFAULT,
) -> list[PipelineRun]:
    """Runs that finish one after the other, the last of them at `ends`."""
    made = []
    for place, result in enumerate(results):
        finished = ends - (len(results) - 1 - place) * every
        name = f"{int(ends)}-{place}"
        one = run(
            name,
            seen=finished,
            created=finished - took - 1,
            outcomes=(outcome(finished, RESULTS[result], took=took),),
            jobs=jobs(name, finished),
            ref_type=ref_type,
            sha=f"{place:040x}",
        )
        made.append(one)
    return made


def month(each_day: str, *, days: int = 27, took: float = 20, ends: float = END - DAY) -> list[PipelineRun]:
    """The same every day, in the hours before midnight."""
    return [one for day in range(days) for one in runs(each_day, ends=ends - day * DAY, took=took)]


def one_job(
    named: str, minutes: float, *, queued: float = 0, state: RunState = RunState.FINISHED, again: int = 1
) -> Callable[[str, float], tuple[JobRun, ...]]:
    """A job of that name in each run, which took and waited so long, and ran so many times."""

    def make(name: str, finished: float) -> tuple[JobRun, ...]:
        length, wait = timedelta(minutes=minutes), timedelta(minutes=queued)
        if state is RunState.PENDING:
            return (replace(job(named, id=f"{name}-p"), created_at=at(finished)),)
        return tuple(
            replace(
                job(named, finished - 1 + number / again, id=f"{name}-{number}", attempt=number + 1),
                result=Result.SUCCESS if number == again - 1 else Result.FAILURE,
                duration=length,
                queued=wait,
            )
            for number in range(again)
        )

    return make


def waiting(since: float) -> list[PipelineRun]:
    """A run whose one job waits."""
    made = run(
        "open",
        seen=since,
        created=since,
        state=RunState.RUNNING,
        jobs=one_job("test", 0, state=RunState.PENDING)("o", since),
    )
    return [made]


def deployed(results: str, environment: str = "production", every: float = HOUR) -> list[Fact]:
    """Deployments to one environment, the last an hour ago."""
    return [
        deployment(
            f"{environment}{place}",
            END - HOUR - (len(results) - 1 - place) * every,
            RESULTS[result],
            environment=environment,
        )
        for place, result in enumerate(results)
    ]


def reported(flaky: int, steady: int, *, ago: float = DAY) -> Facts:
    """One run of so many tests, of which some failed and passed on one commit."""
    (made,) = runs("+", ends=END - ago)
    names = " ".join(f"t{number}" for number in range(steady))
    both = " ".join(f"f{number}" for number in range(flaky))
    return [made, report(execution(made.id, END - ago), names, flaky=both)]


def covered(*percents: float, every: float = 20) -> Facts:
    """Runs with a coverage each."""
    made = runs("+" * len(percents), ends=END - 5, every=every)
    reports = [
        coverage(execution(one.id, one.outcomes[0].finished_at), percent)
        for one, percent in zip(made, percents, strict=True)
    ]
    return [*made, *reports]


def measured(*levels: float) -> Facts:
    """Runs of which each measures one benchmark; ten runs at each level."""
    values = [level for level in levels for _ in range(10)]
    made = runs("+" * len(values), ends=END - 5)
    return [
        *made,
        *(
            BenchmarkReport(
                by=execution(one.id, one.outcomes[0].finished_at), points=(BenchmarkPoint(name="parse", value=value),)
            )
            for one, value in zip(made, values, strict=True)
        ),
    ]


class Case(NamedTuple):
    """What a rule must fire on, and what not."""

    fires: Facts
    silent: Facts


USUAL = month("++++++++++++")  # twelve a day
SHAKY = month("+-+-++-++-++")  # two of three
CASES: dict[str, Case] = {
    "main_is_red": Case([*USUAL, *runs("---")], [*SHAKY, *runs("----")]),
    "ci_stopped": Case(month("++", ends=END - 8 * DAY, days=19), month("++", ends=END - 5 * DAY, days=19)),
    "pipeline_success_rate_low": Case([*USUAL, *runs("++++-+-+-+-+")], [*SHAKY, *runs("++-++-+-+-+-")]),
    "pipeline_success_rate_worse": Case(
        [*month("++++", ends=END - 7 * DAY, days=20), *month("+-+-", days=7, ends=END)],
        [*month("+-+-", ends=END - 7 * DAY, days=20), *month("-+-+", days=7, ends=END)],
    ),
    "pipeline_duration_high": Case(
        [*USUAL, *runs("+" * 12, took=40)], [*month("+" * 12, took=45), *runs("+" * 12, took=45)]
    ),
    "pipeline_slower_than_usual": Case(
        [*USUAL, *runs("+" * 12, took=35)], [*USUAL, *runs("+" * 11, took=20), *runs("+", took=300)]
    ),
    "jobs_wait_for_runners": Case([*USUAL, *waiting(END - 40)], [*USUAL, *waiting(END - 10)]),
    "queue_longer_than_usual": Case(
        [
            *runs("+" * 400, every=80, ends=END - 400, jobs=one_job("test", 5, queued=2)),
            *runs("+" * 60, every=5, jobs=one_job("test", 5, queued=30)),
        ],
        [
            *runs("+" * 400, every=80, ends=END - 400, jobs=one_job("test", 5, queued=20)),
            *runs("+" * 60, every=5, jobs=one_job("test", 5, queued=30)),
        ],
    ),
    "ci_system_errors": Case([*USUAL, *runs("+E+E+E+E+E++", every=20)], [*USUAL, *runs("++++E+++++++", every=20)]),
    "jobs_need_retries": Case(
        runs("+" * 120, every=30, jobs=one_job("test", 5, again=2)), runs("+" * 120, every=30, jobs=one_job("test", 5))
    ),
    "schedule_missed": Case(
        [*USUAL, schedules(schedule("nightly", "0 20 * * *"))],
        [*USUAL, schedules(schedule("nightly", "30 23 * * *", since=END - HOUR))],
    ),
    "production_deployment_failed": Case(
        [*USUAL, *deployed("++-")], [*USUAL, *deployed("+-+"), *deployed("-", "staging")]
    ),
    "deployments_fail_in_a_row": Case(
        [*USUAL, *deployed("+---", "staging")], [*USUAL, *deployed("+--", "staging"), *deployed("---")]
    ),
    "change_failure_rate_high": Case([*USUAL, *deployed("+-" * 10)], [*USUAL, *deployed("++++++++++-")]),
    "test_flakiness_high": Case(reported(10, 100), reported(4, 100)),
    "new_flaky_tests": Case([*reported(0, 10, ago=20 * DAY), *reported(1, 10)], reported(0, 10)),
    "coverage_drop_significant": Case(covered(81, 78), covered(81, 79.5)),
    "coverage_below_minimum": Case(covered(74, 74), covered(76, 76)),
    "benchmark_got_slower": Case(measured(30, 30, 40), measured(30, 30, 32)),
    "slo_burns_fast": Case([*USUAL, *runs("+-" + "-" * 10)], [*USUAL, *runs("+-+-+-+-+-+-")]),
    "slo_burns_slowly": Case(month("+-+", ends=END), month("+++++++++-", ends=END)),
    **{
        name: Case(
            runs("+" * 30, jobs=one_job(named, budget * 1.2), ref_type=RefType.CHANGE_REQUEST),
            runs("+" * 30, jobs=one_job(named, budget * 0.95), ref_type=RefType.CHANGE_REQUEST),
        )
        for name, named, budget in (
            ("validate_over_budget", "validate: [lint]", 2),
            ("unit_tests_over_budget", "test_unit", 5),
            ("integration_tests_over_budget", "test_integration", 15),
            ("performance_tests_over_budget", "test_performance", 20),
            ("end_to_end_tests_over_budget", "test_e2e", 10),
        )
    },
}


def file_of(rule: str) -> Path:
    return next(file for file in FILES if f"- name: {rule}\n" in file.read_text())


async def states(folder: Path, rule: str, facts: Facts) -> set[AlertState]:
    """The states that the rule's alerts come to after the last hours, a round every twenty minutes."""
    (folder / "k2alert.yml").write_text(MAIN.format(rules=file_of(rule)))
    config = load(folder / "k2alert.yml", environ={}, metrics=METRICS).config
    assert config is not None
    store = open_store(f"sqlite:///{folder / 'k2alert.db'}")
    try:
        await store.save([fact for fact in facts if isinstance(fact, PipelineRun)])
        await store.save_facts([fact for fact in facts if not isinstance(fact, PipelineRun)])
        board = make_board(config, METRICS)
        await fill_board(board, store)
    finally:
        await store.close()
    alerts: Mapping[AlertId, Alert] = {}
    for minutes in range(END - 14 * HOUR, END + 21, 20):
        now = at(minutes)
        known = [a_project(now)]
        scene = Scene(
            config=config,
            metrics=METRICS,
            measures=board,
            universe=make_universe(config, known),
            projects=known,
            alerts=alerts,
            log=(),
            started_at=T0,
        )
        made = plan(scene, now=now)
        assert not [finding.error for finding in made.findings if finding.error]
        alerts = made.step.alerts
    return {alert.state for alert in alerts.values() if alert.rule == rule}


def a_project(now: datetime) -> Project:
    return Project(
        source="gitlab",
        key="k2/app",
        path="k2/app",
        first_seen_at=T0,
        covered_since=T0 - timedelta(days=60),
        complete_at=now,
        success_at=now,
    )


@pytest.mark.parametrize("name", CASES)
async def test_a_rule_fires_on_what_it_is_made_for_and_bears_the_rest(tmp_path: Path, name: str) -> None:
    (tmp_path / "bad").mkdir()
    (tmp_path / "good").mkdir()

    bad, good = (
        await states(tmp_path / "bad", name, CASES[name].fires),
        await states(tmp_path / "good", name, CASES[name].silent),
    )

    assert AlertState.FIRING in bad
    assert not {AlertState.FIRING, AlertState.PENDING} & good


def names_of(files: Iterable[Path]) -> list[str]:
    return [name for file in files for name in re.findall(r"^  - name: (\w+)$", file.read_text(), re.MULTILINE)]


def test_every_shipped_rule_is_tried() -> None:
    assert sorted(CASES) == sorted(names_of(FILES))


@pytest.mark.parametrize("file", FILES, ids=[file.name for file in FILES])
def test_a_shipped_file_has_nothing_wrong(file: Path) -> None:
    checked = CliRunner().invoke(main, ["check", "--strict", str(file)])
    assert checked.exit_code == 0, checked.output


# ------------------------------------------------------------------------------------------- what is said of them

PAGE = (ROOT / "docs" / "rule-pack.md").read_text()


def test_the_page_lists_each_rule_with_its_severity() -> None:
    rules = load_rules(FILES, metrics=METRICS).rules
    listed = dict(re.findall(r"^\| `(\w+)` \| (\w+) \|", PAGE, re.MULTILINE))
    assert listed == {rule.name: rule.severity.value for rule in rules}


def test_the_configuration_of_the_page_has_nothing_wrong(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "rules", tmp_path / "rules")
    (found,) = re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    source = (
        'sources: [{type: gitlab, name: gitlab, url: "https://gitlab.example.com", token: $TOKEN, projects: [a/b]}]\n'
    )
    (tmp_path / "k2alert.yml").write_text(source + found)

    loaded = load(tmp_path / "k2alert.yml", environ={"TOKEN": "abcdefgh", "SLACK_BOT_TOKEN": "xoxb-1"}, metrics=METRICS)

    assert [str(problem) for problem in loaded.problems] == []


def test_naive_rules_are_a_benchmark_that_loads() -> None:
    assert load_rules([ROOT / "benchmarks" / "naive_rules.yml"], metrics=METRICS).rules


async def test_the_pack_is_calmer_than_naive_thresholds_on_real_history(shared_data: Path) -> None:
    lives = await try_history(shared_data, "bitcoin")
    shipped, naive = lives["shipped"], lives["naive"]
    assert len(shipped.incidents) < len(naive.incidents)
    assert shipped.messages * 10 < naive.messages
