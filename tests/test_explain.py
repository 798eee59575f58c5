"""Explanations: one table of situations for each reason why an alert fires or not, and why it was heard or not."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from k2alert.config.load import load
from k2alert.cycle import Scene, plan
from k2alert.explain.explain import as_if_firing, explain, matching_targets
from k2alert.explain.explanation import Explanation, Explanations
from k2alert.explain.hearing import standings_of
from k2alert.explain.shown import as_text
from k2alert.labels import Labels, parse_matcher
from k2alert.measure.catalogue import METRICS
from k2alert.model import Alert, AlertState, EndReason, LogEntry, Project, Severity, Silence
from k2alert.notify.hush import Inhibition
from k2alert.notify.route import Receiver, Route
from tests.support.bench import DAY, MINUTE, PROJECTS, T0, Bench, project

HOUR = timedelta(hours=1)
IDENTITY = Labels({"source": "gitlab", "project": "pay/api"})


def rule_text(condition: str, **keys: str) -> str:
    lines = [f"    {key.rstrip('_')}: {value}" for key, value in keys.items()]
    head = [
        "alert_rules:",
        "  - name: red",
        f"    condition: {condition}",
        "    severity: critical",
        '    message: "m"',
    ]
    return "\n".join([*head, *([] if "period" in keys else ["    period: 24h"]), *lines, ""])


def an_alert(state: AlertState, **fields: Any) -> Alert:
    times = {"active_at": T0 - 10 * MINUTE, "fired_at": T0 - 5 * MINUTE if state is AlertState.FIRING else None}
    return Alert(
        rule="red",
        identity=IDENTITY,
        labels=IDENTITY.merged({"alertname": "red", "severity": "critical"}),
        severity=Severity.CRITICAL,
        state=state,
        by=("project", "source"),
        **({} if state is AlertState.INACTIVE else times) | fields,
    )


def explained(scene: Scene) -> Explanation:
    rule = scene.config.rules[0]
    (target,) = matching_targets(scene, rule, [("project", "pay/api")], now=T0)
    return explain(scene, rule, target, standings_of(scene, now=T0), now=T0)


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


FIRING, PENDING = an_alert(AlertState.FIRING), an_alert(AlertState.PENDING)
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
    "no collector": Situation(
        "benchmark_regressions > 0", "+", "no_collector", "nothing collects benchmark_regressions yet"
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


# ----------------------------------------------------------------------------------------------- who hears


def told(**fields: Any) -> LogEntry:
    entry = LogEntry(
        incident="one",
        group="root:{}",
        group_labels=Labels(),
        receiver="team",
        integration="slack[0]",
        told={FIRING.key: AlertState.FIRING},
        first_sent_at=T0 - 4 * MINUTE,
        last_sent_at=T0 - 4 * MINUTE,
        sent=1,
    )
    return replace(entry, **fields)


@dataclass
class Listening:
    """An alert, the log, and what is to be said of who hears."""

    alert: Alert | None
    log: tuple[LogEntry, ...]
    code: str
    says: str
    route: Mapping[str, Any] = field(default_factory=dict)


FAILED = {"failures": 3, "error": "HTTP 500", "retry_at": T0 + MINUTE, "sent": 0}
LISTENING = {
    "inactive": Listening(None, (), "not_firing", "by slack[0]: hears of it once it fires"),
    "pending": Listening(PENDING, (), "not_firing", "hears of it once it fires"),
    "group_wait": Listening(
        FIRING,
        (),
        "waiting",
        "hears the first message 2026-01-10T00:05:00Z",
        {"group_wait": 10 * MINUTE},
    ),
    "told": Listening(
        FIRING,
        (told(),),
        "told",
        "heard 1 message of this incident, the last 2026-01-09T23:56:00Z; next, a repeat 2026-01-10T03:56:00Z",
    ),
    "failing": Listening(
        FIRING, (told(**FAILED),), "failing", "failed 3 times: HTTP 500; tried again 2026-01-10T00:01:00Z"
    ),
    "given up": Listening(
        FIRING,
        (told(gave_up=True, error="channel_not_found"),),
        "gave_up",
        "the last message was given up: channel_not_found",
    ),
    "unknown": Listening(
        replace(FIRING, unknown=True), (), "unknown", "hears nothing while it is not known how things are"
    ),
    "over": Listening(
        an_alert(AlertState.ENDED, ended_at=T0 - MINUTE, reason=EndReason.RECOVERED),
        (told(told={FIRING.key: AlertState.ENDED}, sent=2, closed=True),),
        "told",
        "heard 2 messages of this incident, the last 2026-01-09T23:56:00Z; it has heard the end",
    ),
}


@pytest.mark.parametrize("case", LISTENING.values(), ids=LISTENING.keys())
def test_each_receiver_has_its_reason(tmp_path: Path, case: Listening) -> None:
    bench = Bench(tmp_path, rule_text("success_rate < 0.9"), "pay/api main +++-")
    config = replace(bench.config, route=replace(bench.config.route or Route(name="", receiver=""), **case.route))
    alerts = {("red", IDENTITY): case.alert} if case.alert is not None else {}

    one = explained(replace(bench.scene, config=config, alerts=alerts, log=case.log))

    (hearing,) = one.hearings
    assert (hearing.reason.code, hearing.route, hearing.receiver) == (case.code, "root", "team")
    assert case.says in as_text(Explanations((one,)), message=False)


SILENCE = Silence(
    id="5f1c",
    matchers=(parse_matcher('project="pay/api"'),),
    starts_at=T0 - HOUR,
    ends_at=T0 + HOUR,
    updated_at=T0 - HOUR,
    author="ann",
    comment="known\x1b[31m",
)
BY_ANN = "silenced by 5f1c until 2026-01-10T01:00:00Z (ann: known[31m)"


@pytest.mark.parametrize("alert", [None, PENDING, FIRING], ids=["inactive", "pending", "firing"])
def test_a_silence_is_named_with_its_end_and_who_made_it(tmp_path: Path, alert: Alert | None) -> None:
    bench = Bench(tmp_path, rule_text("success_rate < 0.9"), "pay/api main +++-")
    over = replace(SILENCE, id="old", ends_at=T0)
    other = replace(SILENCE, id="other", matchers=(parse_matcher('project="pay/web"'),))
    alerts = {("red", IDENTITY): alert} if alert is not None else {}

    one = explained(replace(bench.scene, alerts=alerts, silences=(over, other, SILENCE)))

    assert [reason.code for reason in one.quiet] == ["silenced"]
    assert [hearing.reason.code for hearing in one.hearings] == ["silenced"]
    text = as_text(Explanations((one,)), message=False)
    assert f"quiet      {BY_ANN}" in text
    assert f"by slack[0]: {BY_ANN}" in text
    assert "\x1b" not in text


def test_who_heard_before_the_silence_is_said_to_hear_no_more(tmp_path: Path) -> None:
    bench = Bench(tmp_path, rule_text("success_rate < 0.9"), "pay/api main +++-")
    waits = replace(SILENCE, until_resolved={FIRING.key: FIRING.fired_at or T0})

    one = explained(replace(bench.scene, alerts={("red", IDENTITY): FIRING}, log=(told(),), silences=(waits,)))

    (hearing,) = one.hearings
    assert hearing.reason.code == "told"
    assert "hears no more of it now: silenced by 5f1c until its incident is over" in hearing.reason.text


def test_the_alert_that_inhibits_is_named(tmp_path: Path) -> None:
    bench = Bench(tmp_path, rule_text("success_rate < 0.9"), "pay/api main +++-")
    rule = Inhibition((parse_matcher('alertname="down"'),), (parse_matcher('alertname="red"'),), ("source",))
    down = replace(FIRING, rule="down", labels=FIRING.labels.merged({"alertname": "down"}))
    alerts = {("red", IDENTITY): FIRING, ("down", IDENTITY): down}

    one = explained(replace(bench.scene, config=replace(bench.config, inhibitions=(rule,)), alerts=alerts))

    assert [(reason.code, reason.text) for reason in one.quiet] == [
        ("inhibited", 'inhibited by down {project="pay/api", source="gitlab"}, which fires')
    ]


QUIET_ROUTES = {
    "muted": ("mute_time_intervals: [nights]", "muted", "the route is mute now (nights): hears of it afterwards"),
    "a digest": ('digest: "Mon 09:00 Europe/Berlin"', "digest", "in the digest of 2026-01-12T08:00:00Z"),
}


@pytest.mark.parametrize(("key", "code", "says"), QUIET_ROUTES.values(), ids=QUIET_ROUTES.keys())
def test_a_route_that_does_not_speak_now_says_why(tmp_path: Path, key: str, code: str, says: str) -> None:
    bench = Bench(tmp_path, rule_text("success_rate < 0.9"), "pay/api main +++-")
    main = (tmp_path / "k2alert.yml").read_text().replace("route: {", f"route: {{{key}, ")
    nights = 'time_intervals: [{name: nights, time_intervals: [{times: [{start_time: "00:00", end_time: "06:00"}]}]}]'
    (tmp_path / "k2alert.yml").write_text(f"{main}\n{nights if code == 'muted' else ''}\n")
    config = load(tmp_path / "k2alert.yml", environ={}, metrics=METRICS).config
    assert config is not None

    one = explained(replace(bench.scene, config=config, alerts={("red", IDENTITY): FIRING}))

    (hearing,) = one.hearings
    assert hearing.reason.code == code
    assert says in hearing.reason.text


def test_what_is_promised_next_is_what_is_due_then(tmp_path: Path) -> None:
    bench = Bench(tmp_path, rule_text("success_rate < 0.9"), "pay/api main +++-")
    config = replace(bench.config, route=replace(bench.config.route or Route(name="", receiver=""), group_wait=MINUTE))
    scene = replace(bench.scene, config=config)
    scene = replace(scene, alerts=plan(scene, now=T0).step.alerts)

    (hearing,) = explained(scene).hearings

    assert hearing.due_at == T0 + MINUTE
    assert not plan(scene, now=hearing.due_at - timedelta(milliseconds=1)).due
    assert [due.kind.value for due in plan(scene, now=hearing.due_at).due] == [hearing.due]


def test_a_receiver_that_says_nothing_and_no_receiver_at_all(tmp_path: Path) -> None:
    bench = Bench(tmp_path, rule_text("success_rate < 0.9"), "pay/api main +++-")
    silent = replace(bench.config, receivers={"team": Receiver("team")})
    nobody = replace(bench.config, route=None)

    (hearing,) = explained(replace(bench.scene, config=silent)).hearings
    alone = explained(replace(bench.scene, config=nobody))

    assert (hearing.reason.code, hearing.integration) == ("nobody", "")
    assert alone.hearings == ()
    assert "route      none: nobody is told" in as_text(Explanations((alone,)), message=False)


def test_who_heard_before_the_routes_changed_is_named(tmp_path: Path) -> None:
    bench = Bench(tmp_path, rule_text("success_rate < 0.9"), "pay/api main +++-")
    other = Route(name="root", receiver="nobody")
    config = replace(bench.config, route=other, receivers={**bench.config.receivers, "nobody": Receiver("nobody")})

    one = explained(replace(bench.scene, config=config, alerts={("red", IDENTITY): FIRING}, log=(told(),)))

    assert [(hearing.route, hearing.receiver) for hearing in one.hearings] == [("root", "nobody"), ("", "team")]


# -------------------------------------------------------------------------------------------------- others


def test_open_alerts_come_first_and_text_of_forges_is_made_safe(tmp_path: Path) -> None:
    hostile = project("pay/\u202eevil\n<b>")
    bench = Bench(tmp_path, rule_text("success_rate < 0.9"), projects=(*PROJECTS, hostile))
    web = Labels({"source": "gitlab", "project": "pay/web"})
    scene = replace(bench.scene, alerts={("red", web): replace(FIRING, identity=web)})
    rule = scene.config.rules[0]

    targets = matching_targets(scene, rule, [], now=T0)
    found = [explain(scene, rule, target, (), now=T0) for target in targets]

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
