"""The life of an alert, told as stories: one letter a minute in, the states out.

T true, F false, . no data, ? unknown, C false and `clear` true, - not judged at all (rule or project gone).
States: i inactive, p pending, f firing, e ended, ' ' no alert.
"""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k2alert.alert.lifecycle import AlertId, Step, described, forget, step
from k2alert.labels import Labels
from k2alert.model import (
    Alert,
    AlertState,
    EndReason,
    Finding,
    NoDataPolicy,
    Rule,
    Selection,
    Severity,
    Truth,
    Window,
)

T0 = datetime(2026, 1, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
IDENTITY = Labels({"source": "gitlab", "project": "k2/app"})
TRUTHS = {"T": Truth.TRUE, "F": Truth.FALSE, "C": Truth.FALSE, ".": Truth.NO_DATA, "?": Truth.UNKNOWN}
LETTERS = {AlertState.INACTIVE: "i", AlertState.PENDING: "p", AlertState.FIRING: "f", AlertState.ENDED: "e"}


def make_rule(**changed: object) -> Rule:
    rule = Rule(
        name="main_is_red",
        condition=None,
        window=Window(timedelta(hours=24)),
        period="24h",
        severity=Severity.WARNING,
        message=None,
        selection=Selection((), ("project",)),
    )
    return replace(rule, **changed)


def finding(rule: Rule, letter: str, identity: Labels = IDENTITY) -> Finding:
    clears = None if rule.clear is None else Truth.TRUE if letter == "C" else Truth.FALSE
    return Finding(rule=rule, identity=identity, labels=identity, truth=TRUTHS[letter], clears=clears, value=0.5)


def live(rule: Rule, letters: str, *, every: timedelta = MINUTE) -> list[Step]:
    steps: list[Step] = []
    alerts: dict[AlertId, Alert] = {}
    for minute, letter in enumerate(letters):
        findings = [] if letter == "-" else [finding(rule, letter)]
        steps.append(step(alerts, findings, rules={rule.name: rule}, now=T0 + minute * every))
        alerts = dict(steps[-1].alerts)
    return steps


def shape(steps: list[Step]) -> str:
    found = [next(iter(made.alerts.values()), None) for made in steps]
    return "".join(" " if alert is None else LETTERS[alert.state] for alert in found)


STORIES = {
    "without for it fires at once": ({}, "FTF", "ife"),
    "for holds it pending": ({"hold": 2 * MINUTE}, "FTTTF", "ippfe"),
    "a false while pending starts over": ({"hold": 2 * MINUTE}, "TTFTTT", "ppippf"),
    "no data while pending starts over": ({"hold": 2 * MINUTE}, "TT.TTT", "ppippf"),
    "unknown holds a pending alert": ({"hold": 2 * MINUTE}, "T?TT", "ppff"),
    "unknown holds a firing alert": ({}, "T????F", "fffffe"),
    "nothing is known before the first judgement": ({}, "??F", "  i"),
    "keep_firing_for bridges a gap": ({"keep_firing_for": 3 * MINUTE}, "TFFTFFFF", "fffffffe"),
    "no data does not count against keep_firing_for": ({"keep_firing_for": 2 * MINUTE}, "T....FF", "fffffff"),
    "and what is left of it still runs out": ({"keep_firing_for": 2 * MINUTE}, "T....FFF", "fffffffe"),
    "also when it comes in the middle of it": ({"keep_firing_for": 2 * MINUTE}, "TF..FF", "fffffe"),
    "clear alone ends it": ({"clear": object()}, "TFFC", "fffe"),
    "no data never satisfies clear": ({"clear": object()}, "T...C", "ffffe"),
    "keep: no data keeps it firing": ({}, "T...T", "fffff"),
    "resolve: no data ends it": ({"no_data": NoDataPolicy.RESOLVE}, "T.F", "fee"),
    "alert: no data is pending, then firing": (
        {"no_data": NoDataPolicy.ALERT, "hold": 2 * MINUTE},
        "F...F",
        "ippfe",
    ),
    "an ended one can begin again": ({}, "TFT", "fef"),
    "a lost finding ends it": ({}, "T-", "fe"),
    "a lost finding drops an inactive one": ({}, "F-", "i "),
}


@pytest.mark.parametrize(("changed", "letters", "states"), STORIES.values(), ids=STORIES)
def test_story(changed: dict[str, object], letters: str, states: str) -> None:
    assert shape(live(make_rule(**changed), letters)) == states


def test_no_data_is_kept_for_seven_days_and_then_ends() -> None:
    steps = live(make_rule(), "T" + "." * 9, every=timedelta(days=1))

    assert shape(steps) == "ffffffffee"
    assert next(iter(steps[-1].alerts.values())).reason is EndReason.NO_DATA


@pytest.mark.parametrize(
    ("letters", "rule", "reason"),
    [
        ("TF", make_rule(), EndReason.RECOVERED),
        ("T.", make_rule(no_data=NoDataPolicy.RESOLVE), EndReason.NO_DATA),
        ("T-", make_rule(), EndReason.PROJECT_GONE),
    ],
)
def test_every_end_has_its_reason(letters: str, rule: Rule, reason: EndReason) -> None:
    (ended,) = live(rule, letters)[-1].alerts.values()

    assert (ended.reason, ended.ended_at) == (reason, T0 + MINUTE)


@pytest.mark.parametrize(
    ("rules", "reason"),
    [
        ([], EndReason.RULE_CHANGED),
        ([make_rule(selection=Selection((), ("project", "branch")))], EndReason.RULE_CHANGED),
        ([make_rule(selection=Selection((), ()))], EndReason.RULE_CHANGED),
        ([make_rule(selection=Selection((), ("project", "source")))], EndReason.PROJECT_GONE),
        ([make_rule()], EndReason.PROJECT_GONE),
    ],
    ids=["rule removed", "by grew", "by shrank", "by says the same", "project left"],
)
def test_a_departed_alert_says_whether_rule_or_project_left(rules: list[Rule], reason: EndReason) -> None:
    before = dict(live(make_rule(), "T")[0].alerts)

    after = step(before, [], rules={rule.name: rule for rule in rules}, now=T0 + MINUTE)

    assert [alert.reason for alert in after.alerts.values()] == [reason]


def test_a_further_label_that_is_empty_still_closes_the_old_alert_and_then_begins_anew() -> None:
    """GitLab's workflow is often "": the label set stays the same, though the rule groups by more."""
    rule = make_rule(selection=Selection((), ("project", "workflow")))
    rules = {rule.name: rule}
    fired = dict(live(make_rule(), "T")[0].alerts)

    closed = dict(step(fired, [finding(rule, "T")], rules=rules, now=T0 + MINUTE).alerts)
    waiting = dict(step(closed, [finding(rule, "T")], rules=rules, now=T0 + 2 * MINUTE).alerts)
    _, gone = forget(waiting, lambda _: True)
    anew = step({}, [finding(rule, "T")], rules=rules, now=T0 + 3 * MINUTE).alerts

    assert [alert.reason for alert in closed.values()] == [EndReason.RULE_CHANGED]
    assert waiting == closed
    assert len(gone) == 1
    assert [alert.state for alert in anew.values()] == [AlertState.FIRING]


def test_already_true_when_first_judged_is_initial_and_later_ones_are_not() -> None:
    first, again = live(make_rule(), "T")[0], live(make_rule(), "FT")[1]

    assert [next(iter(made.alerts.values())).initial for made in (first, again)] == [True, False]


def test_an_edit_keeps_the_state_and_shows_the_new_severity() -> None:
    before = dict(live(make_rule(), "T")[0].alerts)
    edited = make_rule(severity=Severity.CRITICAL)

    after = step(before, [finding(edited, "T")], rules={edited.name: edited}, now=T0 + MINUTE)

    (alert,) = after.alerts.values()
    assert (alert.state, alert.fired_at, alert.severity) == (AlertState.FIRING, T0, Severity.CRITICAL)
    assert after.transitions == ()


def test_a_round_that_changes_nothing_writes_nothing() -> None:
    steps = live(make_rule(), "FFTT")

    assert [len(made.changed) for made in steps] == [1, 0, 1, 0]


def test_who_only_looks_on_sees_the_values_of_now_and_the_alerts_as_they_are_stored() -> None:
    rule = make_rule()
    stored = dict(live(rule, "T")[-1].alerts)
    now = {"value": 0.25, "samples": 7}
    still = step(stored, [finding(rule, "T")._replace(**now)], rules={rule.name: rule}, now=T0 + MINUTE)
    over = step(stored, [finding(rule, "F")._replace(**now)], rules={rule.name: rule}, now=T0 + MINUTE)

    (shown,) = described(stored, still.alerts).values()
    assert (shown.state, shown.fired_at, shown.value, shown.samples) == (AlertState.FIRING, T0, 0.25, 7)
    assert described(stored, over.alerts) == stored
    assert described(stored, {}) == stored


def test_the_value_is_the_last_one_that_was_data() -> None:
    (alert,) = live(make_rule(), "T.")[-1].alerts.values()

    assert (alert.value, alert.no_data_since) == (0.5, T0 + MINUTE)


def test_an_ended_alert_is_forgotten_only_when_everyone_heard_of_it() -> None:
    alerts = live(make_rule(), "TF")[-1].alerts

    assert forget(alerts, lambda _: False) == ([], [])
    back, gone = forget(alerts, lambda _: True)
    assert ([alert.state for alert in back], gone) == ([AlertState.INACTIVE], [])


def test_one_of_a_removed_rule_is_dropped_when_everyone_heard_of_it() -> None:
    alerts = live(make_rule(), "T-")[-1].alerts

    back, gone = forget(alerts, lambda _: True)

    assert (back, [alert.identity for alert in gone]) == ([], [IDENTITY])


@given(st.text("TFC.?-", max_size=40), st.integers(0, 3), st.integers(0, 3), st.sampled_from(NoDataPolicy))
def test_a_life_is_the_same_whatever_is_reloaded_from_the_store(
    letters: str, hold: int, keep: int, policy: NoDataPolicy
) -> None:
    """What is stored (`changed`, less what only describes) is enough to go on from after any round."""
    rule = make_rule(hold=hold * MINUTE, keep_firing_for=keep * MINUTE, no_data=policy)
    stored: dict[AlertId, Alert] = {}
    states = ""
    for minute, letter in enumerate(letters):
        findings = [] if letter == "-" else [finding(rule, letter)]
        made = step(stored, findings, rules={rule.name: rule}, now=T0 + minute * MINUTE)
        states += shape([made])
        stored |= {(alert.rule, alert.identity): alert for alert in made.changed}
        for alert in made.dropped:
            del stored[(alert.rule, alert.identity)]

    assert states == shape(live(rule, letters))


@given(st.text("TF.?-", max_size=40))
def test_edges_tell_the_whole_story(letters: str) -> None:
    state = AlertState.INACTIVE
    for made in live(make_rule(hold=MINUTE), letters):
        for edge in made.transitions:
            assert edge.before is state or (edge.before is AlertState.INACTIVE and state is AlertState.INACTIVE)
            state = edge.after
        for alert in made.alerts.values():
            assert alert.state is state
        if not made.alerts:
            state = AlertState.INACTIVE


@pytest.mark.parametrize("letter", ["T", "F", ".", "?"])
@pytest.mark.parametrize("begun", ["F", "T", "FT", "TF"])
@pytest.mark.parametrize("changed", [{}, {"hold": 9 * MINUTE}, {"keep_firing_for": 9 * MINUTE}])
def test_a_round_that_finds_the_same_again_makes_and_writes_nothing(
    letter: str, begun: str, changed: dict[str, object]
) -> None:
    *_, before, again = live(make_rule(**changed), begun + letter * 3)
    assert [made is kept for made, kept in zip(again.alerts.values(), before.alerts.values(), strict=True)] == [True]
    assert (again.changed, again.dropped, again.transitions) == ((), (), ())
