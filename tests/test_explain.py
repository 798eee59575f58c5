"""Explanations: one table of situations for each reason why an alert fires or not, and why it was heard or not."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path

import pytest

from k2alert.explain.asking import Question, answer
from k2alert.explain.explain import as_if_firing, explain, matching_targets
from k2alert.explain.explanation import Explanations
from k2alert.explain.shown import as_text
from k2alert.labels import Labels
from k2alert.model import (
    FAILING_ALERT,
    STALE_ALERT,
    Alert,
    AlertState,
    EndReason,
    Evidence,
    Project,
    Result,
    RunEvidence,
)
from k2alert.record import open_store
from tests.support.bench import DAY, MINUTE, PROJECTS, T0, Bench, project
from tests.support.explaining import FIRING, IDENTITY, PENDING, an_alert, explained, rule_text


@dataclass
class Situation:
    """A rule, runs and an alert; the reason to expect."""

    condition: str
    runs: str
    code: str
    says: str
    keys: Mapping[str, str] = field(default_factory=dict)
    alert: Alert | None = None
    projects: tuple[Project, ...] = PROJECTS


SITUATIONS = {
    "it does not hold": Situation(
        "success_rate < 0.5", "+++-", "threshold", "the condition does not hold (success_rate is 75%, not < 50%)"
    ),
    "two comparisons": Situation(
        "success_rate < 0.5 and total_pipelines > 3", "+++-", "threshold", "success_rate is 75%, not < 50%"
    ),
    "it holds": Situation("success_rate < 0.9", "+++-", "holds", "holds since 2026-01-09T23:50:00Z", alert=FIRING),
    "never judged": Situation("success_rate < 0.9", "+++-", "next_round", "the next round begins its alert"),
    "for": Situation(
        "success_rate < 0.9",
        "+++-",
        "for",
        "pending since 2026-01-09T23:50:00Z, it fires if that goes on for 20m more (for: 30m)",
        {"for_": "30m"},
        PENDING,
    ),
    "pending no more": Situation(
        "success_rate < 0.5",
        "+++-",
        "threshold",
        "any more (success_rate is 75%, not < 50%); the next round ends its pending",
        {"for_": "30m"},
        PENDING,
    ),
    "clear": Situation(
        "success_rate < 0.7",
        "+++-",
        "clear",
        "it fires until `clear` does: success_rate > 0.8",
        {"clear": "success_rate > 0.8"},
        FIRING,
    ),
    "clear without data": Situation(
        "success_rate < 0.7",
        "+++-",
        "clear",
        'until `clear` does: value("p95_queue_minutes", offset="10d") < 1, which has no data',
        {"clear": 'value("p95_queue_minutes", offset="10d") < 1'},
        FIRING,
    ),
    "keep_firing_for": Situation(
        "success_rate < 0.5",
        "+++-",
        "keep_firing_for",
        "goes on firing until 2026-01-10T00:57:00Z (keep_firing_for: 1h)",
        {"keep_firing_for": "1h"},
        an_alert(AlertState.FIRING, quiet_since=T0 - 3 * MINUTE),
    ),
    "about to end": Situation("success_rate < 0.5", "+++-", "next_round", "the next round ends its alert", {}, FIRING),
    "ended": Situation(
        "success_rate < 0.5",
        "+++-",
        "threshold",
        "it ended 2026-01-09T23:59:00Z (recovered)",
        alert=an_alert(AlertState.ENDED, ended_at=T0 - MINUTE, reason=EndReason.RECOVERED),
    ),
    "min_samples": Situation(
        "success_rate < 0.9",
        "+-",
        "min_samples",
        "2 of the 10 samples that min_samples asks for",
        {"min_samples": "10"},
    ),
    "an empty window": Situation("success_rate < 0.9", "", "empty_window", "success_rate: no run over 24h"),
    "an empty window long ago": Situation(
        'value("success_rate", window="1h", offset="7d") < 0.9', "+", "empty_window", "no run over 1h, 7d ago"
    ),
    "a baseline of few days": Situation(
        'avg_duration_minutes > baseline("avg_duration_minutes", "14d")', "+", "baseline", "fewer than 7 days with data"
    ),
    "no data while it fires": Situation(
        "success_rate < 0.9",
        "",
        "empty_window",
        "it stays firing, until 2026-01-16T23:00:00Z at most (no_data: keep)",
        alert=an_alert(AlertState.FIRING, no_data_since=T0 - timedelta(hours=1)),
    ),
    "no data is the alarm": Situation(
        "success_rate < 0.9",
        "",
        "empty_window",
        "that is the alarm (no_data: alert); pending since",
        {"no_data": "alert", "for_": "1h"},
        PENDING,
    ),
    "never read": Situation(
        "success_rate < 0.9",
        "+",
        "backfilling",
        "unknown: pay/api has not been read to the end yet: 503",
        projects=(project("pay/api", covered_since=None, failure="503"),),
    ),
    "a short history": Situation(
        "success_rate < 0.9",
        "+",
        "backfilling",
        "recorded from 2026-01-09T23:00:00Z on, and the rule looks back to 2026-01-09T00:00:00Z",
        projects=(project("pay/api", covered_since=T0 - timedelta(hours=1)),),
    ),
    "a stale source": Situation(
        "success_rate < 0.9",
        "+-",
        "stale",
        "last read to the end 2026-01-09T00:00:00Z: the token is refused; its alert stays firing",
        alert=FIRING,
        projects=(project("pay/api", complete_at=T0 - DAY, failure="the token is refused"),),
    ),
}


@pytest.mark.parametrize("case", SITUATIONS.values(), ids=SITUATIONS.keys())
def test_each_state_has_its_reason(tmp_path: Path, case: Situation) -> None:
    lines = [f"pay/api main {case.runs}"] if case.runs else []
    bench = Bench(tmp_path, rule_text(case.condition, **case.keys), *lines, projects=case.projects)
    alerts = {("red", IDENTITY): case.alert} if case.alert is not None else {}

    one = explained(replace(bench.scene, alerts=alerts))

    assert case.says in one.reason.text
    assert one.reason.code == case.code
    assert one.reason.text in as_text(Explanations((one,)), message=False)


TREES = {
    "two sides": (
        "success_rate < 0.5",
        ["false: success_rate < 0.5  (0.75 against 0.5)"],
    ),
    "and stops": (
        "success_rate < 0.5 and total_pipelines > 3",
        [
            "false: success_rate < 0.5 and total_pipelines > 3",
            "  false: success_rate < 0.5  (0.75 against 0.5)",
            "  true, not reached: total_pipelines > 3  (4 against 3)",
        ],
    ),
    "no data decides nothing": (
        "p95_queue_minutes > 99 or not coverage < 5",
        [
            "no data: p95_queue_minutes > 99 or not coverage < 5",
            "  false: p95_queue_minutes > 99  (0 against 99)",
            "  no data: not coverage < 5",
            "    no data: coverage < 5  (no data against 5)",
        ],
    ),
    "a chain": (
        "0.5 < success_rate < 0.7",
        [
            "false: 0.5 < success_rate < 0.7",
            "  true: 0.5 < success_rate  (0.5 against 0.75)",
            "  false: success_rate < 0.7  (0.75 against 0.7)",
        ],
    ),
    "a choice": (
        "success_rate < (0.9 if total_pipelines > 3 else 0.5)",
        [
            "true: success_rate < (0.9 if total_pipelines > 3 else 0.5)  (0.75 against 0.9)",
            "  0.9: 0.9 if total_pipelines > 3 else 0.5",
            "    true: total_pipelines > 3  (4 against 3)",
        ],
    ),
    "a list": ("failed_pipelines in [1, 2]", ["true: failed_pipelines in [1, 2]  (1 against [1, 2])"]),
    "functions": (
        'max(failed_pipelines, 0) == 1 and absent("coverage")',
        [
            "true: max(failed_pipelines, 0) == 1 and absent('coverage')",
            "  true: max(failed_pipelines, 0) == 1  (1 against 1)",
        ],
    ),
}


@pytest.mark.parametrize(("condition", "tree"), TREES.values(), ids=TREES.keys())
def test_a_condition_is_taken_apart(tmp_path: Path, condition: str, tree: list[str]) -> None:
    bench = Bench(tmp_path, rule_text(f"'{condition}'"), "pay/api main +++-")

    shown = as_text(Explanations((explained(bench.scene),)), message=False).splitlines()

    first = next(place for place, line in enumerate(shown) if line.startswith("  condition"))
    assert shown[first + 1 : first + 1 + len(tree)] == [f"    {line}" for line in tree]
    assert shown[first + 1 + len(tree)] == "  values"


def test_open_alerts_come_first_and_text_of_forges_is_made_safe(tmp_path: Path) -> None:
    hostile = project("pay/\u202eevil\n<b>")
    bench = Bench(tmp_path, rule_text("success_rate < 0.9"), projects=(*PROJECTS, hostile))
    web = Labels({"source": "gitlab", "project": "pay/web"})
    scene = replace(bench.scene, alerts={("red", web): replace(FIRING, identity=web)})
    rule = scene.config.rules[0]

    targets = matching_targets(scene, rule, [], now=T0)
    found = [explain(scene, rule, target, (), {}, now=T0) for target in targets]

    assert [one.target.identity["project"] for one in found] == ["pay/web", "ops/infra", "pay/api", hostile.path]
    text = as_text(Explanations(tuple(found), 7), message=True)
    assert "\u202e" not in text
    assert 'project="pay/evil <b>"' in text
    assert text.endswith("and 7 more label sets: narrow it down by LABEL=VALUE")


def test_what_would_be_said_is_of_a_firing_alert_with_the_values_of_now(tmp_path: Path) -> None:
    bench = Bench(tmp_path, rule_text("success_rate < 0.5"), "pay/api main +++-")
    old = an_alert(AlertState.FIRING, value=0.1)

    born = as_if_firing(explained(bench.scene))
    kept = as_if_firing(explained(replace(bench.scene, alerts={("red", IDENTITY): old})))

    assert (born.state, born.fired_at, born.value, born.threshold) == (AlertState.FIRING, T0, 0.75, 0.5)
    assert (kept.fired_at, kept.value) == (old.fired_at, 0.75)
    assert kept.labels["team"] == "payments"


def test_the_value_before_the_changes_and_the_owner_are_said(tmp_path: Path) -> None:
    bench = Bench(tmp_path, rule_text("success_rate < 0.5"), "pay/api main +++-")
    one = explained(bench.scene)
    evidence = Evidence(compare_url="https://forge.example/compare/a...b", owner="payments\u202e")
    figures = tuple(replace(figure, evidence=evidence, before="97.4%") for figure in one.figures)

    text = as_text(Explanations((replace(one, figures=figures),)), message=False)

    assert "      before: 97.4%, over the window before this one\n" in text
    assert "      changes between them: https://forge.example/compare/a...b\n" in text
    assert "      owner: payments\n" in text


def test_what_is_behind_several_values_is_listed_once(tmp_path: Path) -> None:
    bench = Bench(tmp_path, rule_text('success_rate < 0.5 and upper("success_rate") < 0.9'), "pay/api main +++-")
    one = explained(bench.scene)
    run = RunEvidence(
        **dict.fromkeys(("project", "number", "workflow", "title"), "x"),
        **{"id": "7", "branch": "main", "sha": "ab", "result": Result.FAILURE, "finished_at": T0, "duration": None},
        web_url="https://forge.example/7",
    )
    figures = tuple(replace(figure, evidence=Evidence(runs=(run,), faults=1)) for figure in one.figures)

    text = as_text(Explanations((replace(one, figures=figures),)), message=False)

    assert text.count("https://forge.example/7") == 1


UNANSWERABLE = {
    "nothing ran": (Question("red"), "rule 'red' has no label set: they come from what ran in the 24h before"),
    "no such label": (
        Question("red", (("project", "x"),)),
        "rule 'red' has no label set with project=x: they come from",
    ),
    "a typing error": (Question("rad"), "no rule 'rad'; did you mean \"red\"?"),
    "nothing like it": (Question("zzz"), "no rule 'zzz'; there are: red"),
    "built in": (Question(STALE_ALERT), "K2AlertSourceStale has no condition: it fires for a source while one of its"),
    "built in for deliveries": (
        Question(FAILING_ALERT),
        "K2AlertNotificationsFailing has no condition: it fires for an integration that does not take its messages",
    ),
}


@pytest.mark.parametrize(("question", "said"), UNANSWERABLE.values(), ids=UNANSWERABLE.keys())
async def test_what_cannot_be_explained_is_said_in_a_line(tmp_path: Path, question: Question, said: str) -> None:
    bench = Bench(tmp_path, rule_text("success_rate < 0.9", by="[project, branch]"))
    store = open_store(f"sqlite:///{tmp_path / 'k2alert.db'}")
    try:
        status, text = await answer(bench.scene, store, question, now=T0)
    finally:
        await store.close()

    assert status == 404
    assert str(text).startswith(said)
