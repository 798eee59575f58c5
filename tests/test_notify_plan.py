"""What is due, when, and why: stories with times."""

from dataclasses import replace
from datetime import timedelta

import pytest

from k2alert.labels import Labels, parse_matcher
from k2alert.model import AlertState, EndReason, LogEntry, Refused, Retry, Sent
from k2alert.notify.dues import Due
from k2alert.notify.retrying import backoff, is_put_off
from k2alert.notify.route import Receiver, Route
from tests.support.notified import HOUR, MINUTE, SECOND, T0, Told, World, alert, ended, receivers


def down(_: Due) -> Retry:
    return Retry("503")


def test_an_alert_is_told_after_group_wait_repeated_and_resolved_once() -> None:
    world = World()
    red = world.fire()
    story = [
        (29 * SECOND, []),
        (1 * SECOND, ["firing"]),
        (30 * SECOND, []),
        (4 * HOUR - 31 * SECOND, []),
        (1 * SECOND, ["repeat"]),
        (1 * SECOND, []),
    ]
    for after, expected in story:
        assert world.tick(after) == expected
    world.end(red)
    assert world.tick(4 * MINUTE) == []
    assert world.finished() == frozenset()
    assert world.tick(MINUTE) == ["resolved"]
    assert world.finished() == {red.key}
    assert world.tick(24 * HOUR) == []


@pytest.mark.parametrize(
    ("back", "story"),
    [
        (2 * MINUTE, [(timedelta(), []), (2 * MINUTE + 4 * HOUR - SECOND, []), (SECOND, ["repeat"]), (SECOND, [])]),
        (400 * 24 * HOUR, [(timedelta(), ["repeat"]), (4 * HOUR - SECOND, []), (SECOND, ["repeat"])]),
    ],
    ids=["a little", "far"],
)
def test_a_clock_set_back_repeats_nothing_unless_nobody_would_hear_for_long(
    back: timedelta, story: list[tuple[timedelta, list[str]]]
) -> None:
    world = World()
    world.fire()
    assert world.tick(30 * SECOND) == ["firing"]
    world.now -= back
    for after, expected in story:
        assert world.tick(after) == expected


def test_alerts_of_one_alert_group_are_one_incident_that_changes() -> None:
    world = World(route=Route(name="root", receiver="team", group_by=("alertname",)))
    first = world.fire("a/1")
    assert world.tick(30 * SECOND) == ["firing"]
    world.fire("a/2")
    assert world.tick(MINUTE) == []
    assert world.tick(4 * MINUTE) == ["changed"]
    assert {one.labels["project"] for one in world.said[-1].parts[0].news} == {"a/2"}
    world.end(first)
    assert world.tick(5 * MINUTE) == ["changed"]
    assert len(world.log) == 1


def test_every_integration_has_its_own_story() -> None:
    world = World(receivers=receivers(Told(), Told()))
    world.fire()
    broken = {"told[0]"}
    answer = lambda one: Retry("down") if one.integration.name in broken else Sent()  # noqa: E731
    assert world.tick(MINUTE, answer) == ["firing"]
    assert [one.integration.name for one in world.said] == ["told[1]"]
    broken.clear()
    assert world.tick(9 * SECOND, answer) == []
    assert world.tick(SECOND, answer) == ["firing"]
    assert [one.integration.name for one in world.said] == ["told[1]", "told[0]"]


def test_what_ends_before_anyone_heard_of_it_is_never_told() -> None:
    world = World()
    blip = world.fire()
    world.tick(10 * SECOND)
    world.end(blip)
    assert world.tick(HOUR) == []
    assert world.finished() == {blip.key}


def test_what_ends_while_the_first_message_fails_is_never_told() -> None:
    world = World()
    blip = world.fire()
    world.tick(MINUTE, down)
    world.end(blip)
    assert world.tick(HOUR) == []
    assert [entry.closed for entry in world.log.values()] == [True]


def test_an_alert_that_fires_again_before_its_end_was_told_goes_on() -> None:
    world = World()
    red = world.fire()
    world.tick(MINUTE)
    world.end(red)
    world.tick(MINUTE)
    world.fire()
    assert world.tick(10 * MINUTE) == []


def test_an_alert_that_fires_again_while_its_end_fails_goes_on_and_hears_its_next_end() -> None:
    world = World()
    red = world.fire()
    world.tick(MINUTE)
    world.end(red)
    world.tick(5 * MINUTE, down)
    world.fire()
    assert [world.tick(MINUTE) for _ in range(20)] == [[]] * 20
    world.end(red)
    assert world.tick(10 * MINUTE) == ["resolved"]


def test_what_joins_and_ends_while_that_fails_is_never_told() -> None:
    world = World(route=Route(name="root", receiver="team", group_by=()))
    world.fire("a/1")
    world.tick(MINUTE)
    two = world.fire("a/2")
    world.tick(5 * MINUTE, down)
    world.end(two)
    assert world.tick(10 * MINUTE) == []


def test_a_repeat_that_fails_is_tried_again() -> None:
    world = World()
    world.fire()
    world.tick(MINUTE)
    world.tick(4 * HOUR, down)
    assert world.tick(SECOND) == []
    assert world.tick(MINUTE) == ["repeat"]


def test_an_incident_after_the_end_is_another_one() -> None:
    world = World()
    red = world.fire()
    world.tick(MINUTE)
    world.end(red)
    assert world.tick(10 * MINUTE) == ["resolved"]
    world.fire()
    assert world.tick(MINUTE) == ["firing"]
    assert len({entry.incident for entry in world.log.values()}) == 2


@pytest.mark.parametrize("reason", [EndReason.NO_DATA, EndReason.RULE_CHANGED, EndReason.PROJECT_GONE])
def test_an_end_that_is_no_recovery_is_told_as_closed(reason: EndReason) -> None:
    world = World()
    red = world.fire()
    world.tick(MINUTE)
    world.end(red, reason)
    assert world.tick(5 * MINUTE) == ["closed"]


def test_one_that_did_not_recover_is_enough_to_say_closed() -> None:
    world = World(route=Route(name="root", receiver="team", group_by=()))
    one, two = world.fire("a/1"), world.fire("a/2")
    world.tick(MINUTE)
    world.end(one)
    world.end(two, EndReason.PROJECT_GONE)
    assert world.tick(5 * MINUTE) == ["closed"]


def test_an_alert_that_vanished_is_closed_and_never_resolved() -> None:
    world = World()
    red = world.fire()
    world.tick(MINUTE)
    del world.alerts[red.key]
    assert world.tick(5 * MINUTE) == ["closed"]


def test_an_ended_alert_that_is_pending_again_is_resolved_first() -> None:
    world = World()
    red = world.fire()
    world.tick(MINUTE)
    world.put(replace(red, state=AlertState.PENDING, fired_at=None, reason=None))
    assert world.tick(5 * MINUTE) == ["resolved"]
    world.fire()
    assert world.tick(MINUTE) == ["firing"]


def test_who_does_not_want_ends_hears_none_but_hears_the_next_firing() -> None:
    world = World(receivers=receivers(Told(send_resolved=False)))
    red = world.fire()
    world.tick(MINUTE)
    world.end(red)
    assert world.tick(SECOND) == []
    assert world.finished() == {red.key}
    world.fire()
    assert world.tick(MINUTE) == ["firing"]


def test_who_does_not_want_ends_hears_that_one_of_many_fires_again() -> None:
    world = World(receivers=receivers(Told(send_resolved=False)), route=Route(name="r", receiver="team", group_by=()))
    one, _ = world.fire("a/1"), world.fire("a/2")
    world.tick(MINUTE)
    world.end(one)
    assert world.tick(10 * MINUTE) == []
    world.fire("a/1")
    assert world.tick(MINUTE) == ["changed"]


def test_unknown_alerts_hold_still() -> None:
    world = World()
    red = world.fire()
    world.put(replace(red, unknown=True))
    assert world.tick(HOUR) == []
    world.put(red)
    assert world.tick() == ["firing"]
    world.put(replace(red, unknown=True))
    assert world.tick(9 * HOUR) == []
    world.put(replace(ended(red, world.now), unknown=True))
    assert world.tick(HOUR) == []
    assert world.finished() == frozenset()
    world.put(ended(red, world.now))
    assert world.tick() == ["resolved"]


def test_pending_and_inactive_alerts_are_not_shown() -> None:
    world = World()
    world.put(alert(state=AlertState.PENDING), alert(project="b", state=AlertState.INACTIVE))
    assert world.tick(HOUR) == []


def test_nobody_is_told_without_a_route_or_without_integrations() -> None:
    for world in (World(route=None), World(receivers={"team": Receiver("team")}), World(receivers={})):
        red = world.fire()
        assert world.tick(HOUR) == []
        world.end(red)
        assert world.finished() == {red.key}


# ------------------------------------------------------------------------------------------ failures


def test_waits_double_from_ten_seconds_to_a_quarter_of_an_hour() -> None:
    assert [backoff(failures).total_seconds() for failures in (1, 2, 3, 7, 8, 1000)] == [10, 20, 40, 640, 900, 900]


def test_a_server_that_asks_for_more_time_gets_it() -> None:
    world = World()
    world.fire()
    world.tick(MINUTE, lambda _: Retry("429", after=2 * MINUTE))
    assert world.tick(119 * SECOND) == []
    assert world.tick(SECOND) == ["firing"]


def test_a_message_is_not_given_up_for_how_often_it_came_too_soon() -> None:
    world = World()
    world.fire()
    for _ in range(500):
        world.tick(MINUTE, lambda _: Retry("429", after=SECOND, reason="rateLimited"))
    assert world.tick(MINUTE) == ["firing"]


def test_a_server_that_asks_for_less_is_asked_again_sooner() -> None:
    world = World()
    world.fire()
    world.tick(MINUTE, lambda _: Retry("429", after=3 * SECOND))
    assert world.tick(2 * SECOND) == []
    assert world.tick(SECOND) == ["firing"]


def test_a_late_message_says_what_is_true_by_then() -> None:
    world = World(route=Route(name="root", receiver="team", group_by=()))
    one = world.fire("a/1")
    world.tick(MINUTE, down)
    world.fire("a/2")
    world.end(one)
    assert world.tick(MINUTE) == ["firing"]
    assert [shown.labels["project"] for shown in world.said[-1].parts[0].alerts] == ["a/2"]


def test_a_message_that_failed_for_a_day_is_given_up() -> None:
    world = World()
    world.fire()
    tries = 0
    while not any(entry.gave_up for entry in world.log.values()):
        world.tick(15 * MINUTE, down)
        tries += 1
    assert 24 * HOUR <= world.now - T0 <= 27 * HOUR
    assert world.tick(2 * HOUR) == []
    assert world.tick(2 * HOUR) == ["firing"]  # nobody has heard of it: the repeat is their first


def test_a_refused_message_is_final_but_not_the_incident() -> None:
    world = World(route=Route(name="root", receiver="team", group_by=()))
    world.fire("a/1")
    world.tick(MINUTE, lambda _: Refused("invalid_blocks"))
    (entry,) = world.log.values()
    assert (entry.gave_up, entry.error, entry.sent) == (True, "invalid_blocks", 0)
    assert world.tick(4 * MINUTE) == []
    world.fire("a/2")
    assert world.tick(MINUTE) == ["firing"]
    (entry,) = world.log.values()
    assert (entry.gave_up, entry.error) == (False, "")


def test_nobody_hears_the_end_of_what_was_refused() -> None:
    world = World()
    red = world.fire()
    world.tick(MINUTE, lambda _: Refused("404"))
    world.end(red)
    assert world.tick(HOUR) == []
    assert world.finished() == {red.key}


def test_a_refused_end_is_not_said_again_and_over_after_a_day() -> None:
    world = World()
    red = world.fire()
    world.tick(MINUTE)
    world.end(red)
    world.tick(HOUR, lambda _: Refused("404"))
    assert world.tick(9 * HOUR) == []
    assert world.finished() == frozenset()
    assert world.tick(15 * HOUR) == []
    assert world.finished() == {red.key}


def test_addresses_that_took_it_hear_the_end_although_others_never_did() -> None:
    world = World()
    red = world.fire()
    world.tick(MINUTE, lambda _: Retry("451 for b", handle={"a": "mark"}))
    world.end(red)
    assert world.tick(MINUTE) == ["resolved"]


def test_the_rest_of_the_addresses_is_tried_again_with_the_same_mark() -> None:
    world = World()
    world.fire()
    marks = []

    def partly(one: Due) -> Retry:
        marks.append(one.mark)
        return Retry("451 for b", handle={"a": one.mark})

    for _ in range(3):
        world.tick(MINUTE, partly)
    assert world.tick(5 * MINUTE) == ["firing"]
    assert {*marks, world.said[-1].mark} == {marks[0]}
    assert world.tick(MINUTE) == []


def test_an_end_that_only_some_addresses_took_is_kept_for_the_others() -> None:
    world = World()
    red = world.fire()
    world.tick(MINUTE)
    world.end(red, EndReason.NO_DATA)
    world.tick(5 * MINUTE, lambda _: Retry("451 for b", handle={"a": "mark"}))
    assert world.finished() == frozenset()
    assert world.tick(MINUTE) == ["closed"]
    assert world.finished() == {red.key}


# ------------------------------------------------------------------------------------------ reloads


def test_a_renamed_route_neither_repeats_nor_loses_anything() -> None:
    world = World()
    red = world.fire()
    world.tick(MINUTE)
    world.route = Route(name="other", receiver="team", group_by=("severity",))
    assert world.tick(HOUR) == []
    assert world.tick(3 * HOUR) == ["repeat"]
    world.end(red)
    assert world.tick(5 * MINUTE) == ["resolved"]


def test_the_receiver_of_before_hears_the_end_and_the_new_one_everything() -> None:
    world = World(receivers=receivers() | receivers(name="other"))
    red = world.fire()
    world.tick(MINUTE)
    world.route = Route(name="root", receiver="other")
    assert world.tick(MINUTE) == ["firing"]
    assert world.tick(4 * HOUR) == ["repeat"]
    world.end(red)
    assert world.tick() == ["resolved"]
    assert world.tick(5 * MINUTE) == ["resolved"]
    assert [one.receiver for one in world.said] == ["team", "other", "other", "team", "other"]


def test_a_receiver_that_is_gone_holds_nothing_up() -> None:
    world = World()
    red = world.fire()
    world.tick(MINUTE)
    world.receivers = {}
    world.end(red)
    assert world.finished() == {red.key}
    world.tick(MINUTE)
    assert all(entry.closed for entry in world.log.values())


def test_two_routes_to_one_receiver_tell_it_once() -> None:
    child = Route(name="child", receiver="team", matchers=(parse_matcher("severity=warning"),), continues=True)
    root = Route(name="root", receiver="team", routes=(child, Route(name="all", receiver="team")))
    world = World(route=root)
    world.fire()
    assert world.tick(MINUTE) == ["firing"]
    assert world.tick(MINUTE) == []


def test_three_dots_group_by_all_labels() -> None:
    world = World(route=Route(name="root", receiver="team", group_by=("...",)))
    world.fire("a/1")
    world.fire("a/2")
    assert world.tick(MINUTE) == ["firing", "firing"]
    assert set(world.said[0].parts[0].entry.group_labels) == {"alertname", "severity", "source", "project"}


# -------------------------------------------------------------------------------------------- lists


def test_what_was_already_true_is_told_as_one_list() -> None:
    world = World()
    reds = [world.fire(f"a/{number}", initial=True) for number in range(7)]
    world.fire("b")
    assert sorted(world.tick(MINUTE)) == ["firing", "list of 7"]
    assert len(world.log) == 8
    for red in reds[:3]:
        world.end(red)
    assert world.tick(5 * MINUTE) == ["resolved"] * 3  # the list is said; its ends are news of their own
    assert world.finished() == {red.key for red in reds[:3]}


def test_a_lone_alert_that_was_already_true_is_no_list() -> None:
    world = World()
    world.fire(initial=True)
    assert world.tick(MINUTE) == ["firing"]


def test_more_than_ten_new_messages_in_five_minutes_become_one_list() -> None:
    world = World()
    for number in range(9):
        world.fire(f"a/{number}")
    assert world.tick(MINUTE) == ["firing"] * 9
    for number in range(3):
        world.fire(f"b/{number}")
    assert world.tick(MINUTE) == ["list of 3"]
    world.fire("c/1")
    assert world.tick(3 * MINUTE) == []
    assert world.tick(MINUTE) == ["firing"]  # the storm is over: one list and this are few


def test_where_nothing_can_be_edited_there_is_one_list_in_five_minutes() -> None:
    world = World()
    for number in range(12):
        world.fire(f"a/{number}")
    assert world.tick(MINUTE) == ["list of 12"]
    for number in range(12):
        world.fire(f"b/{number}")
    assert world.tick(MINUTE) == []
    assert world.tick(4 * MINUTE) == ["list of 12"]


def test_where_messages_can_be_edited_a_young_list_takes_in_what_comes() -> None:
    world = World(receivers=receivers(Told(edits=True)))
    for number in range(12):
        world.fire(f"a/{number}")
    assert world.tick(MINUTE) == ["list of 12"]
    for number in range(11):
        world.fire(f"b/{number}")
    assert world.tick(MINUTE) == ["list of 11"]
    first, second = world.said
    assert first.list_id == second.list_id
    assert len(second.rest) == 12
    assert second.handle["there"] == "mark"


def test_ends_in_a_storm_are_listed_too() -> None:
    world = World()
    reds = []
    for number in range(12):
        reds.append(world.fire(f"a/{number}"))
        assert world.tick(MINUTE) == ["firing"]
    for red in reds:
        world.end(red)
    assert world.tick(HOUR) == ["list of 12"]
    assert world.finished() == {red.key for red in reds}


def test_edits_are_not_new_messages() -> None:
    world = World(receivers=receivers(Told(edits=True)))
    reds = []
    for number in range(12):
        reds.append(world.fire(f"a/{number}"))
        world.tick(MINUTE)
    for red in reds:
        world.end(red)
    assert world.tick(HOUR) == ["resolved"] * 12


def test_repeats_of_a_list_are_one_list() -> None:
    world = World()
    for number in range(12):
        world.fire(f"a/{number}")
    world.tick(MINUTE)
    assert world.tick(4 * HOUR) == ["list of 12"]


def test_a_list_never_mixes_addresses() -> None:
    world = World()
    for number in range(12):
        red = alert(project=f"a/{number}")
        world.put(replace(red, labels=red.labels.merged(Labels({"team": f"t{number % 2}"}))))
    assert world.tick(MINUTE) == ["list of 6", "list of 6"]


def test_a_list_that_failed_is_made_anew() -> None:
    world = World()
    for number in range(12):
        world.fire(f"a/{number}")
    world.tick(MINUTE, down)
    world.fire("b")
    assert world.tick(MINUTE) == ["list of 13"]


def test_the_rest_of_a_list_is_not_held_back_by_the_list() -> None:
    world = World()
    for number in range(12):
        world.fire(f"a/{number}")
    marks: list[str] = []

    def partly(one: Due) -> Retry:
        marks.append(one.mark)
        return Retry("451", handle={"a": one.mark})

    world.tick(MINUTE, partly)
    assert world.tick(timedelta(seconds=10)) == ["list of 12"]
    assert world.said[-1].mark == marks[0]


def test_a_storm_over_many_channels_is_a_list_in_each_and_each_is_edited() -> None:
    """With so many that nothing may be looked up in all of the log for each list."""
    world = World(receivers=receivers(Told(edits=True)))
    for number in range(3000):
        red = alert(project=f"k2/app-{number}", at=world.now)
        world.put(replace(red, labels=red.labels.merged(Labels({"team": f"team-{number % 1000}"}))))
    assert world.tick(MINUTE) == ["list of 3"] * 1000
    first = next(iter(world.alerts.values()))
    world.end(first)
    assert world.tick(10 * MINUTE) == ["list of 1"]
    (edited,) = world.said[1000:]
    teams = {one.labels["team"] for one in (*edited.parts[0].alerts, *edited.rest)}
    assert (len(edited.rest), teams) == (2, {first.labels["team"]})
    for one in list(world.alerts.values()):
        world.end(one)
    assert sorted(world.tick(10 * MINUTE)) == ["list of 2", *["list of 3"] * 999]


@pytest.mark.parametrize(
    ("retry_in", "sent_ago", "waits"),
    [
        (10 * SECOND, MINUTE, True),
        (-10 * SECOND, MINUTE, False),
        (48 * HOUR, MINUTE, False),
        (7 * MINUTE, -7 * MINUTE, False),
    ],
    ids=["to come", "over", "further away than any", "tried by a clock that was ahead"],
)
def test_nobody_waits_for_a_time_that_a_wrong_clock_has_set(
    retry_in: timedelta, sent_ago: timedelta, waits: bool
) -> None:
    entry = LogEntry(incident="i", group="g", group_labels=Labels({}), receiver="team", integration="told[0]")
    entry = replace(entry, retry_at=T0 + retry_in, last_sent_at=T0 - sent_ago)
    assert is_put_off(entry, T0) is waits
