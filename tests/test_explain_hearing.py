"""Who hears of an alert and why not, in explanations: one table of situations for each reason."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from k2alert.config.load import load
from k2alert.cycle import plan
from k2alert.explain.explanation import Explanations
from k2alert.explain.shown import as_text
from k2alert.labels import Labels, parse_matcher
from k2alert.measure.catalogue import METRICS
from k2alert.model import (
    Alert,
    AlertState,
    EndReason,
    LogEntry,
    Silence,
)
from k2alert.notify.hush import Inhibition
from k2alert.notify.route import Receiver, Route
from tests.support.bench import MINUTE, T0, Bench
from tests.support.explaining import FIRING, HOUR, IDENTITY, PENDING, an_alert, explained, rule_text


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
    "failing since now": Listening(
        FIRING,
        (told(**{**FAILED, "failures": 1}),),
        "failing",
        "failed once: HTTP 500; tried again 2026-01-10T00:01:00Z",
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
