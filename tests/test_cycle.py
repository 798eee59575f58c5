"""One evaluation as a pure function, and what it rests on: label sets, completeness, words."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from pydantic import SecretStr

from k2alert.collect.settings import SourceSettings
from k2alert.cycle import Plan
from k2alert.expose.exposition import Family, Sample
from k2alert.gauges import ci_families
from k2alert.measure.catalogue import METRICS
from k2alert.model import (
    FAILING_ALERT,
    STALE_ALERT,
    Alert,
    AlertState,
    EndReason,
    EvidenceRefs,
    Kind,
    Project,
    ProjectState,
    Result,
    RunEvidence,
    Truth,
)
from k2alert.notify.dues import Kind as Why
from k2alert.stale import by_our_clock, is_complete, is_stale, state_of
from k2alert.telling import Known, evidence_of, value_text
from k2alert.universe import make_universe
from tests.support.bench import DAY, MINUTE, PROJECTS, RED, SOURCE, T0, Bench, project


def states(made: Plan) -> dict[str, str]:
    return {
        ",".join(value for name, value in identity.items() if name != "source"): alert.state.value
        for (rule, identity), alert in made.step.alerts.items()
        if rule not in (STALE_ALERT, FAILING_ALERT)
    }


def test_every_known_project_is_judged_also_one_without_a_run(tmp_path: Path) -> None:
    made = Bench(tmp_path, RED, "pay/api main ++--", "pay/web main --++").plan()

    assert states(made) == {"pay/api": "firing", "pay/web": "inactive", "ops/infra": "inactive"}


def test_an_alert_carries_every_kind_of_label(tmp_path: Path) -> None:
    made = Bench(tmp_path, RED, "pay/api main --").plan()

    (due,) = made.due
    (alert,) = due.parts[0].alerts
    assert (due.kind, due.receiver) == (Why.FIRING, "team")
    assert dict(alert.labels) == {
        "alertname": "main_is_red",
        "cluster": "prod",
        "project": "pay/api",
        "severity": "critical",
        "source": "gitlab",
        "team": "payments",
    }


@pytest.mark.parametrize(
    ("by", "found"),
    [
        ("[project]", {"pay/api": "firing", "pay/web": "inactive", "ops/infra": "inactive"}),
        ("[team]", {"payments": "firing", "": "inactive"}),
        ("[source]", {"": "firing"}),
        ("[project, branch]", {"main,pay/api": "firing", "main,pay/web": "inactive"}),
        ("[workflow]", {"": "firing"}),
    ],
)
def test_label_sets(tmp_path: Path, by: str, found: dict[str, str]) -> None:
    rules = RED + f"    by: {by}\n"

    assert states(Bench(tmp_path, rules, "pay/api main --", "pay/web main ++").plan()) == found


def test_matchers_on_projects_decide_who_is_judged(tmp_path: Path) -> None:
    rules = RED + "    match: ['team=\"payments\"', 'branch=\"main\"']\n"

    made = Bench(tmp_path, rules, "pay/api main --", "pay/web dev --", "ops/infra main --").plan()

    assert states(made) == {"pay/api": "firing", "pay/web": "inactive"}


def test_a_project_that_is_not_read_is_unknown_and_keeps_its_alert(tmp_path: Path) -> None:
    bench = Bench(tmp_path, RED, "pay/api main --", "pay/web main --")
    fired = bench.plan().step.alerts
    unread = (project("pay/api", complete_at=T0 - DAY), project("pay/web"), project("ops/infra", covered_since=None))
    bench.scene = replace(bench.scene, projects=unread, alerts=fired)

    made = bench.plan()

    truths = {finding.identity.get("project"): finding.truth for finding in made.findings}
    assert truths["pay/api"] is truths["ops/infra"] is Truth.UNKNOWN
    assert truths["pay/web"] is Truth.TRUE
    assert states(made)["pay/api"] == "firing"
    (stale,) = (alert for (rule, _), alert in made.step.alerts.items() if rule == STALE_ALERT)
    assert (stale.state, stale.value) == (AlertState.PENDING, 1)


def test_a_project_that_left_closes_its_alert(tmp_path: Path) -> None:
    bench = Bench(tmp_path, RED, "pay/api main --")
    fired = bench.plan().step.alerts
    left = PROJECTS[1:]
    bench.scene = replace(bench.scene, projects=left, universe=make_universe(bench.config, left), alerts=fired)

    (gone,) = (alert for alert in bench.plan().step.alerts.values() if alert.state is AlertState.ENDED)

    assert (gone.identity["project"], gone.reason) == ("pay/api", EndReason.PROJECT_GONE)


def test_a_bug_in_one_rule_leaves_it_unknown_and_the_others_judged(tmp_path: Path) -> None:
    second = RED.replace("alert_rules:", "").replace("main_is_red", "also_red")
    bench = Bench(tmp_path, RED + second, "pay/api main --")
    broken = SimpleNamespace(metrics=frozenset({"consecutive_failures"}), first=None)  # cannot be evaluated
    rules = (replace(bench.config.rules[0], condition=broken), bench.config.rules[1])
    bench.scene = replace(bench.scene, config=replace(bench.config, rules=rules))

    made = bench.plan()

    found = {(finding.rule.name, finding.identity.get("project")): finding for finding in made.findings}
    assert found["main_is_red", "pay/api"].truth is Truth.UNKNOWN
    assert "AttributeError" in found["main_is_red", "pay/api"].error
    assert found["also_red", "pay/api"].truth is Truth.TRUE


def test_a_plan_changes_nothing_it_was_given(tmp_path: Path) -> None:
    bench = Bench(tmp_path, RED, "pay/api main --", "pay/web main +")

    assert bench.plan() == bench.plan()
    assert bench.scene.alerts == {}


# ------------------------------------------------------------------------------------------ completeness

MINUTES_15 = timedelta(minutes=15)
COMPLETE = {
    "read lately and deep enough": (project("a"), 7, True),
    "not read yet": (project("a", covered_since=None), 7, False),
    "read too long ago": (project("a", complete_at=T0 - MINUTES_15 - MINUTE), 7, False),
    "not deep enough for this rule": (project("a", covered_since=T0 - 7 * DAY), 14, False),
    "deep enough for that one": (project("a", covered_since=T0 - 7 * DAY), 7, True),
}


@pytest.mark.parametrize(("known", "days", "complete"), COMPLETE.values(), ids=COMPLETE)
def test_completeness(known: Project, days: int, complete: bool) -> None:
    assert is_complete(known, SOURCE, days * DAY, now=T0) is complete


@pytest.mark.parametrize(("ahead", "kept"), [(-60, True), (5, True), (6, False)])
def test_a_reading_dated_ahead_of_now_says_nothing(ahead: int, kept: bool) -> None:
    known = project("a", complete_at=T0 + ahead * MINUTE)

    assert (by_our_clock(known, now=T0).complete_at is not None) is kept


def test_the_past_is_judged_by_what_was_read_later() -> None:
    assert is_complete(project("a"), SOURCE, 7 * DAY, now=T0 - 10 * DAY)


def test_a_shorter_backfill_than_the_look_back_is_enough() -> None:
    source = SOURCE.model_copy(update={"backfill": 2 * DAY})

    assert is_complete(project("a", covered_since=T0 - 2 * DAY), source, 14 * DAY, now=T0)


STALE = {
    "read lately": (project("a"), -60, False),
    "not read for long": (project("a", complete_at=T0 - 60 * MINUTE), -60, True),
    "but this process has only begun": (project("a", complete_at=T0 - 60 * MINUTE), -5, False),
    "never read": (project("a", covered_since=None, complete_at=None, success_at=None), -60, True),
    "a backfill that goes on": (project("a", covered_since=None, complete_at=None), -60, False),
}


@pytest.mark.parametrize(("known", "started", "stale"), STALE.values(), ids=STALE)
def test_staleness(known: Project, started: int, stale: bool) -> None:
    assert is_stale(known, SOURCE, T0 + started * MINUTE, now=T0) is stale


def test_a_refused_project_is_counted_as_forbidden() -> None:
    assert state_of(project("a", forbidden=True), SOURCE, T0, now=T0) is ProjectState.FORBIDDEN


# ------------------------------------------------------------------------------------------ words, gauges


@pytest.mark.parametrize(
    ("metric", "value", "text"),
    [
        ("success_rate", 0.923, "92.3%"),
        ("success_rate", 1.0, "100%"),
        ("avg_duration_minutes", 31.4567, "31.5 min"),
        ("consecutive_failures", 3, "3 runs"),
        ("consecutive_failures", 1, "1 run"),
        ("coverage", 81.25, "81.25%"),
        ("health_score", 0.5, "0.5"),
        ("success_rate", None, ""),
        ("runner_minutes", 123456.7, "123,457 min"),
    ],
)
def test_values_are_shown_in_their_unit(metric: str, value: float | None, text: str) -> None:
    assert value_text(value, METRICS[metric]) == text


def run(number: int, sha: str) -> RunEvidence:
    return RunEvidence(
        project="pay/api",
        id=str(number),
        number="",
        workflow="",
        branch="main",
        sha=sha,
        title="",
        result=Result.FAILURE,
        finished_at=T0,
        duration=None,
        web_url="",
    )


@pytest.mark.parametrize(
    ("forge", "green", "url"),
    [
        ("gitlab", 1, "https://gitlab.example/pay/api/-/compare/aaa...bbb"),
        ("github", 1, "https://gitlab.example/pay/api/compare/aaa...bbb"),
        ("gitlab", None, ""),
    ],
)
def test_evidence_links_the_changes_from_green_to_red(forge: str, green: int | None, url: str) -> None:
    refs = EvidenceRefs(Kind.RUN, (3, 2, 99), 5, 8, 2, green)
    known = Known(runs={1: run(1, "aaa"), 2: run(2, "bbb"), 3: run(3, "ccc")}, jobs={})

    evidence = evidence_of(refs, known, project("pay/api"), forge)

    assert [found.id for found in evidence.runs] == ["3", "2"]
    assert (evidence.more, evidence.compare_url) == (3, url)


def together(parts: Iterable[Family]) -> dict[str, list[Sample]]:
    found: dict[str, list[Sample]] = {}
    for part in parts:
        found.setdefault(part.name, []).extend(part.samples)
    return found


def test_gauges_show_projects_that_are_read_and_no_others(tmp_path: Path) -> None:
    bench = Bench(tmp_path, RED, "pay/api main ++-", "pay/web main ++")

    families = together(ci_families(bench.config, METRICS, bench.scene.measures, PROJECTS[:1], now=T0))

    assert {sample.labels for sample in families["k2alert_ci_success_ratio"]} == {
        '{project="pay/api",source="gitlab",window="24h"}',
        '{project="pay/api",source="gitlab",window="7d"}',
    }
    assert [sample.value for sample in families["k2alert_ci_success_ratio"]] == [2 / 3, 2 / 3]
    assert [sample.labels for sample in families["k2alert_ci_runs_running"]] == ['{project="pay/api",source="gitlab"}']
    assert families["k2alert_ci_coverage_ratio"] == []  # nobody reports any


@pytest.mark.parametrize(
    ("secrets", "condition", "shown"),
    [((), "success_rate < 0.5", False), (("s3cret",), "success_rate < 0.5", True), ((), "pending_jobs > 5", True)],
    ids=["nobody looks", "webhooks tell", "a rule speaks of jobs"],
)
def test_there_is_no_zero_for_jobs_that_wait_where_nobody_looked(
    secrets: tuple[str, ...], condition: str, shown: bool, tmp_path: Path
) -> None:
    rules = RED.replace("consecutive_failures >= 2", condition).replace("consecutive_failures", "value")
    bench = Bench(tmp_path, rules, "pay/api main ++-")
    hub = SourceSettings(type="github", name="hub", webhook_secret=tuple(map(SecretStr, secrets)))
    config = replace(bench.config, sources=(*bench.config.sources, hub))
    read = (*PROJECTS[:1], replace(PROJECTS[0], source="hub"))

    families = {
        name: {sample.labels for sample in samples}
        for name, samples in together(ci_families(config, METRICS, bench.scene.measures, read, now=T0)).items()
    }

    gitlab, github = (f'{{project="pay/api",source="{source}"}}' for source in ("gitlab", "hub"))
    assert families["k2alert_ci_jobs_pending"] == ({gitlab, github} if shown else {gitlab})
    assert families["k2alert_ci_runs_pending"] == {gitlab, github}


def test_an_inactive_alert_is_not_shown_to_anyone(tmp_path: Path) -> None:
    made = Bench(tmp_path, RED, "pay/api main +").plan()

    assert made.due == ()
    assert all(isinstance(alert, Alert) for alert in made.step.alerts.values())


def test_families_of_many_projects_come_in_small_parts(tmp_path: Path) -> None:
    many = tuple(project(f"pay/{number}") for number in range(45))
    bench = Bench(tmp_path, RED, "pay/1 main +-", projects=many)

    parts = list(ci_families(bench.config, METRICS, bench.scene.measures, many, now=T0))

    assert max(len(part.samples) for part in parts) == 2 * 20
    assert (
        len(together(parts)["k2alert_ci_runs_finished"])
        == len({sample.labels for sample in together(parts)["k2alert_ci_runs_finished"]})
        == 2 * len(many)
    )
