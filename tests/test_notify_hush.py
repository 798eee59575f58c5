"""Silences, inhibition and time intervals: who is not told, that life goes on, and what is told afterwards."""

from dataclasses import replace
from datetime import timedelta

import pytest

from k2alert.intervals import Interval, Range, Span
from k2alert.labels import Labels, parse_matcher
from k2alert.model import Alert, AlertState, Hush, Silence
from k2alert.notify.dues import TRIED_KEY
from k2alert.notify.hush import Inhibition, alert_groups, all_hushes, hushes
from k2alert.notify.outcome import record_try
from k2alert.notify.route import Route
from tests.support.notified import HOUR, MINUTE, T0, World, alert, ended

WAIT = timedelta(seconds=30)
DAY = timedelta(days=1)


def labelled(rule: str, fires: bool = True, **labels: str) -> Alert:
    made = alert(rule=rule, project=labels.pop("project", "k2/app"))
    state = AlertState.FIRING if fires else AlertState.PENDING
    return replace(made, labels=made.labels.merged(labels), state=state)


def keys(*alerts: Alert) -> dict[str, Alert]:
    return {one.key: one for one in alerts}


def inhibition(source: str, target: str, *equal: str) -> Inhibition:
    return Inhibition((parse_matcher(source),), (parse_matcher(target),), equal)


# ------------------------------------------------------------------------------------------- silences


def test_what_is_silenced_is_not_told_until_the_silence_ends_and_then_at_once() -> None:
    world = World()
    world.silence('project="k2/app"', HOUR)
    world.fire()
    assert world.tick(MINUTE) == []
    assert world.tick(58 * MINUTE) == []
    assert world.tick(MINUTE) == ["firing"]
    assert world.tick(MINUTE) == []


def test_what_comes_and_goes_in_a_silence_is_never_told() -> None:
    world = World()
    world.silence('project="k2/app"', HOUR)
    red = world.fire()
    assert world.tick(MINUTE) == []
    world.end(red)
    assert [world.tick(HOUR) for _ in range(3)] == [[], [], []]
    assert red.key in world.finished()


def test_who_heard_firing_hears_no_repeats_in_a_silence_but_hears_the_end() -> None:
    world = World()
    red = world.fire()
    assert world.tick(WAIT) == ["firing"]
    world.silence('project="k2/app"', 3 * DAY)
    assert [world.tick(4 * HOUR) for _ in range(6)] == [[]] * 6
    world.end(red)
    assert world.tick(MINUTE) == ["resolved"]
    assert world.tick(DAY) == []


def test_a_repeat_that_a_silence_held_back_is_told_when_it_ends() -> None:
    world = World()
    world.fire()
    assert world.tick(WAIT) == ["firing"]
    world.silence('project="k2/app"', 5 * HOUR)
    assert world.tick(4 * HOUR + MINUTE) == []
    assert world.tick(HOUR) == ["repeat"]


def test_what_is_not_silenced_of_an_incident_is_told_without_the_rest() -> None:
    world = World(route=Route(name="root", receiver="team", group_by=()))
    world.silence('project="k2/app"', HOUR)
    world.fire()
    other = world.fire("k2/web")
    assert world.tick(WAIT) == ["firing"]
    assert [one.key for one in world.said[-1].parts[0].alerts] == [other.key]
    assert world.tick(HOUR) == ["changed"]
    world.end(other)
    assert world.tick(6 * MINUTE) == ["changed"]


def test_a_silence_until_resolved_lasts_as_long_as_the_incident_and_the_next_is_heard() -> None:
    world = World()
    red = world.fire()
    assert world.tick(WAIT) == ["firing"]
    silence = world.silence('project="k2/app"', 365 * DAY, until=[red])
    assert world.tick(DAY) == []
    assert silence.outlives(world.alerts)
    world.end(red)
    assert not silence.outlives(world.alerts)
    assert world.tick(MINUTE) == ["resolved"]
    world.fire()
    assert not silence.outlives(world.alerts)
    assert world.tick(6 * MINUTE) == ["firing"]


@pytest.mark.parametrize(
    ("matchers", "silenced"),
    [
        (['project="k2/app"'], True),
        (['project=~"k2/.*"', 'alertname!="other"'], True),
        (['project=~"k2"'], False),
        (['project!~"k2/.*"'], False),
        (['team=""', 'severity="warning"'], True),
        (['team!=""'], False),
    ],
)
def test_a_silence_has_all_of_alertmanagers_matchers(matchers: list[str], silenced: bool) -> None:
    world = World()
    made = replace(world.silence("a=b"), matchers=tuple(map(parse_matcher, matchers)))
    red = world.fire()
    assert bool(hushes(world.alerts, [made], (), now=T0)) is silenced
    assert not hushes(world.alerts, [made], (), now=T0 - MINUTE)
    assert not hushes(world.alerts, [made], (), now=made.ends_at)
    assert not hushes(keys(ended(red, T0)), [made], (), now=T0)


# ------------------------------------------------------------------------------------------ inhibition


@pytest.mark.parametrize(
    ("rule", "alerts", "quiet"),
    [
        # The plain case, and the labels that must be equal: absent ones equal "".
        (
            inhibition("alertname=main", "alertname=job", "project"),
            [labelled("main"), labelled("job")],
            {"job": "main"},
        ),
        (
            inhibition("alertname=main", "alertname=job", "project"),
            [labelled("main", project="x"), labelled("job")],
            {},
        ),
        (inhibition("alertname=main", "alertname=job", "team"), [labelled("main"), labelled("job")], {"job": "main"}),
        (inhibition("alertname=main", "alertname=job", "team"), [labelled("main", team="a"), labelled("job")], {}),
        # The source must fire; the target may be pending.
        (inhibition("alertname=main", "alertname=job"), [labelled("main", fires=False), labelled("job")], {}),
        (
            inhibition("alertname=main", "alertname=job"),
            [labelled("main"), labelled("job", fires=False)],
            {"job": "main"},
        ),
        # What is on both sides is not inhibited by what is on both sides, itself least of all.
        (inhibition("severity=warning", "severity=warning"), [labelled("a"), labelled("b")], {}),
        (inhibition("severity=warning", "alertname=~'a|b'".replace("'", '"')), [labelled("a"), labelled("b")], {}),
        (
            inhibition("severity=warning", 'alertname=~"a|b"'),
            [labelled("a"), labelled("b"), labelled("c")],
            {"a": "c", "b": "c"},
        ),
    ],
)
def test_inhibition_is_alertmanagers(rule: Inhibition, alerts: list[Alert], quiet: dict[str, str]) -> None:
    names = {one.key: one.rule for one in alerts}
    found = hushes(keys(*alerts), (), [rule], now=T0)
    assert {names[key]: [names[by] for by in hush.inhibited_by] for key, hush in found.items()} == {
        target: [source] for target, source in quiet.items()
    }


def test_what_another_alert_inhibits_is_told_once_that_ended_and_its_own_end_to_who_heard_of_it() -> None:
    world = World(inhibitions=[inhibition("alertname=main_is_red", "alertname=job_fails", "project")])
    job = world.fire(rule="job_fails")
    assert world.tick(WAIT) == ["firing"]
    main = world.fire()
    late = world.fire("k2/web", rule="job_fails")
    assert world.tick(WAIT) == ["firing", "firing"]
    assert world.tick(4 * HOUR) == ["repeat", "repeat"]  # of main, and of the job elsewhere
    world.end(job)
    assert world.tick(MINUTE) == ["resolved"]
    again = world.fire(rule="job_fails")
    assert world.tick(6 * MINUTE) == []
    world.end(main)
    assert sorted(world.tick(MINUTE)) == ["firing", "resolved"]
    assert {again.key, late.key} <= {key for entry in world.log.values() for key in entry.told}


# --------------------------------------------------------------------------------------- time intervals

MORNING = Interval("morning", (Span(times=(Range(10 * 60, 12 * 60),)),))  # T0 is ten o'clock


def test_a_mute_route_says_nothing_and_tells_what_still_fires_when_the_interval_ends() -> None:
    world = World(route=Route(name="root", receiver="team", mute=(MORNING,)))
    red, gone = world.fire(), world.fire("k2/web")
    assert world.tick(HOUR) == []
    world.end(gone)
    assert world.tick(HOUR - MINUTE) == []
    assert world.tick(MINUTE) == ["firing"]
    world.now = T0 + DAY
    world.end(red)
    assert world.tick() == []
    assert red.key not in world.finished()
    assert world.tick(2 * HOUR) == ["resolved"]


def test_a_route_with_active_intervals_speaks_in_them_only() -> None:
    world = World(route=Route(name="root", receiver="team", active=(MORNING,)))
    world.now = T0 - HOUR
    world.fire()
    assert world.tick(59 * MINUTE) == []
    assert world.tick(MINUTE) == ["firing"]
    assert world.route is not None
    assert world.route.muted_by(T0 - MINUTE) == ("morning",)


def test_what_was_in_flight_at_a_crash_is_said_again_though_its_route_is_mute_now() -> None:
    world = World(route=Route(name="root", receiver="team", mute=(MORNING,)))
    world.now = T0 - MINUTE
    world.fire()
    world.now = T0 - WAIT
    world.write(record_try(world.due()[0], now=world.now))
    world.now = T0 + MINUTE
    assert any(TRIED_KEY in entry.handle for entry in world.log.values())
    assert world.tick() == ["firing"]
    assert world.tick(HOUR) == []


def test_why_an_alert_is_not_heard_names_every_reason() -> None:
    red, job = labelled("main"), labelled("job")
    silence = Silence(
        id="s1",
        matchers=(parse_matcher("alertname=job"),),
        starts_at=T0,
        ends_at=T0 + HOUR,
        updated_at=T0,
        author="",
        comment="",
    )
    rules = [inhibition("alertname=main", "alertname=job")]
    child = Route(name="jobs", receiver="team", matchers=(parse_matcher("alertname=job"),), mute=(MORNING,))
    root = Route(name="root", receiver="team", routes=(child,))
    assert all_hushes(keys(red, job), [silence], rules, root, now=T0) == {
        job.key: Hush(("s1",), (red.key,), ("morning",))
    }
    assert all_hushes(keys(red, job), [silence], rules, root, now=T0 + 2 * HOUR) == {job.key: Hush((), (red.key,), ())}


def test_alert_groups_are_what_each_route_would_tell_in_one_message() -> None:
    red, web, pending = labelled("main"), labelled("main", project="k2/web"), labelled("x", fires=False)
    child = Route(name="all", receiver="boss", matchers=(), group_by=("alertname",), mute=(MORNING,), continues=True)
    root = Route(name="root", receiver="team", routes=(child, Route(name="team", receiver="team")))
    found = alert_groups([red, web, pending], root, now=T0)
    assert [(one.route, one.receiver, one.labels, len(one.alerts), one.muted_by) for one in found] == [
        ("all", "boss", Labels({"alertname": "main"}), 2, ("morning",)),
        ("team", "team", red.labels.only(["alertname", "project", "source"]), 1, ()),
        ("team", "team", web.labels.only(["alertname", "project", "source"]), 1, ()),
    ]
    assert alert_groups([red], None, now=T0) == ()
