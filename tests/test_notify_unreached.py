"""Whom messages do not reach, by what the log says, and who is told of it."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from k2alert.config.model import Config
from k2alert.labels import Labels
from k2alert.model import FAILING_ALERT, Delivery, Refused, Retry, Sent, Truth
from k2alert.notify.dues import Due
from k2alert.notify.outcome import record_try
from k2alert.notify.push import PushState
from k2alert.notify.route import Integration, Receiver, Route
from k2alert.notify.unreached import Fate, Unreached, Who, last_words, set_anew, unreached
from k2alert.undelivered import undelivered_findings, undelivered_words
from tests.support.notified import HOUR, MINUTE, SECOND, T0, Told, World, always

DOWN = "Slack answered 200 channel_not_found"
TEAM, BOSS = ("team", "told[0]"), ("boss", "told[0]")


def refuses(*who: Who, error: str = DOWN) -> Callable[[Due], Delivery]:
    def answer(due: Due) -> Delivery:
        return Refused(error) if (due.receiver, due.integration.name) in who else always(due)

    return answer


def two(settings: Told | None = None) -> dict[str, Receiver]:
    """Two receivers; only the first is routed to."""
    return {
        name: Receiver(name, (Integration("told", "told[0]", settings or Told(edits=True)),))
        for name in ("team", "boss")
    }


def world(settings: Told | None = None) -> World:
    return World(receivers=two(settings))


def failing(here: World) -> dict[Who, Unreached]:
    return unreached(here.log.values(), here.receivers)


def words(here: World, who: Who = TEAM) -> str:
    return undelivered_words(Config(receivers=here.receivers), tuple(here.log.values()), {}, who)


def round_of(here: World, after: timedelta, answer: Callable[[Due], Delivery] = always) -> list[str]:
    """A round with the alerts about those who are not reached: who heard what."""
    here.now += after
    here.judge_deliveries()
    before = len(here.said)
    here.tick(answer=answer)
    return [f"{due.receiver} {due.kind.value} {due.parts[0].alerts[0].rule}" for due in here.said[before:]]


def test_one_that_refuses_is_told_of_by_another_until_it_takes_something() -> None:
    here = world()
    here.fire("k2/a")
    assert round_of(here, MINUTE, refuses(TEAM)) == []
    assert failing(here) == {TEAM: Unreached(incidents=1, fate=Fate.GIVEN_UP, error=DOWN)}
    assert round_of(here, MINUTE, refuses(TEAM)) == []  # its group waits
    assert round_of(here, MINUTE, refuses(TEAM)) == [f"boss firing {FAILING_ALERT}"]
    here.fire("k2/b")
    assert round_of(here, MINUTE) == ["team firing main_is_red"]
    assert round_of(here, SECOND) == ["team firing main_is_red"]  # k2/a, which it had refused
    assert round_of(here, 5 * MINUTE) == [f"boss resolved {FAILING_ALERT}"]
    assert failing(here) == {}


def told(here: World, after: timedelta) -> list[str]:
    """Who hears what where no round has judged since: a desk looks again as soon as it is free."""
    here.now += after
    before = len(here.said)
    here.tick()
    return [f"{due.receiver} {due.kind.value} {due.parts[0].alerts[0].rule}" for due in here.said[before:]]


@pytest.mark.parametrize("over", [False, True], ids=["fires on", "is over"])
def test_who_takes_messages_again_is_not_told_that_it_takes_none(over: bool) -> None:
    here = world()
    red = here.fire("k2/a")
    for _ in range(3):
        round_of(here, MINUTE, refuses(TEAM))
    if over:
        here.end(red)
        round_of(here, MINUTE, refuses(TEAM))
    here.fire("k2/b")
    assert told(here, MINUTE) == ["team firing main_is_red"]
    assert told(here, SECOND) == ([] if over else ["team firing main_is_red"])
    assert failing(here) == {}
    assert told(here, MINUTE) == []
    assert round_of(here, 5 * MINUTE) == [f"boss resolved {FAILING_ALERT}"]


def test_what_is_given_up_after_a_day_counts_as_refused() -> None:
    here = world()
    here.fire("k2/a")
    here.tick(MINUTE)
    for _ in range(200):
        here.tick(HOUR, lambda due: Retry("503") if due.receiver == "team" else always(due))
        if failing(here) and failing(here)[TEAM].fate is Fate.GIVEN_UP:
            break
    assert failing(here) == {TEAM: Unreached(incidents=1, fate=Fate.GIVEN_UP, error="503")}


def test_what_is_tried_again_is_not_given_up() -> None:
    here = world()
    here.fire("k2/a")
    here.tick(MINUTE, lambda _: Retry("503"))
    assert failing(here) == {}


def test_an_address_that_refuses_is_told_of_by_those_that_do_not() -> None:
    here = world()
    here.receivers = {"team": here.receivers["team"]}
    here.fire("k2/a")
    assert round_of(here, MINUTE, lambda _: Sent({"a@x": "m"}, error="b@x: 550")) == ["team firing main_is_red"]
    assert failing(here) == {TEAM: Unreached(incidents=1, fate=Fate.PARTLY, error="b@x: 550")}
    assert words(here) == "Some addresses refused the last message of 1 incident: b@x: 550."
    assert round_of(here, MINUTE) == []
    assert round_of(here, MINUTE) == [f"team firing {FAILING_ALERT}"]
    assert failing(here) == {}


def test_an_incident_that_ends_untold_says_nothing_of_addresses() -> None:
    here = world()
    red = here.fire("k2/a")
    here.tick(MINUTE, lambda _: Retry("503"))
    here.end(red)
    here.tick(MINUTE)
    assert failing(here) == {}


def test_where_nobody_else_takes_messages_nobody_is_asked_again_and_again() -> None:
    here = world()
    here.fire("k2/a")
    asked: list[str] = []

    def answer(due: Due) -> Delivery:
        asked.append(f"{due.receiver} {due.parts[0].alerts[0].rule}")
        return Refused(DOWN)

    for _ in range(20):
        round_of(here, MINUTE, answer)
    assert asked == ["team main_is_red", f"boss {FAILING_ALERT}"]
    assert failing(here).keys() == {TEAM}  # nothing but this is known of boss


def test_what_is_refused_for_its_words_is_tried_once_more_only() -> None:
    here = world()
    here.fire("k2/poison")
    asked = 0

    def answer(due: Due) -> Delivery:
        nonlocal asked
        poison = any("poison" in str(one.identity) for one in due.parts[0].alerts)
        asked += poison
        return Refused("Slack answered 200 invalid_blocks") if poison else always(due)

    here.tick(MINUTE, answer)
    for number in range(6):
        here.fire(f"k2/app-{number}")
        here.tick(MINUTE, answer)
        here.tick(SECOND, answer)
    assert asked == 2
    assert failing(here)[TEAM].incidents == 1
    here.write(set_anew(here.log.values(), TEAM, now=here.now))
    here.tick(SECOND, answer)
    assert asked == 3


def test_a_message_in_flight_changes_nothing_of_it() -> None:
    here = world()
    red = here.fire("k2/a")
    here.tick(MINUTE, refuses(TEAM))
    here.end(red)
    here.tick(MINUTE)
    assert [entry.closed for entry in here.log.values()] == [True]
    here.fire("k2/b")
    here.now += MINUTE
    (due,) = (one for one in here.due() if one.receiver == "team")
    here.write(record_try(due, now=here.now))
    assert failing(here).keys() == {TEAM}


def test_the_newest_closed_entry_is_kept_as_long_as_it_counts() -> None:
    here = world()
    reds = [here.fire("k2/a"), here.fire("k2/b")]
    here.tick(MINUTE, refuses(TEAM))
    for red in reds:
        here.now += MINUTE
        here.end(red)
    here.tick(MINUTE, refuses(TEAM))
    (kept,) = last_words(here.log.values(), here.receivers)
    assert here.log[kept].gave_up
    assert last_words(here.log.values(), {"boss": here.receivers["boss"]}) == frozenset()
    here.fire("k2/c")
    here.tick(MINUTE)
    assert (failing(here), last_words(here.log.values(), here.receivers)) == ({}, frozenset())


@pytest.mark.parametrize("edits", [True, False], ids=["edits", "says anew"])
def test_new_settings_have_a_change_that_was_refused_told_at_once(edits: bool) -> None:
    here = world(Told(edits=edits))
    here.route = Route(name="root", receiver="team", group_by=())
    here.fire("k2/a")
    here.tick(MINUTE)
    here.fire("k2/b")
    assert here.tick(5 * MINUTE, refuses(TEAM)) == []
    here.write(set_anew(here.log.values(), TEAM, now=here.now))
    assert here.tick(SECOND) == ["changed"]
    assert [one.labels["project"] for one in here.said[-1].parts[0].alerts] == ["k2/a", "k2/b"]
    assert here.tick(10 * MINUTE) == []


@pytest.mark.parametrize("edits", [True, False], ids=["edits", "says anew"])
def test_a_storm_that_was_refused_comes_as_one_list(edits: bool) -> None:
    here = world(Told(edits=edits))
    for number in range(30):
        here.fire(f"k2/app-{number}")
    here.tick(MINUTE, refuses(TEAM))
    here.write(set_anew(here.log.values(), TEAM, now=here.now))
    assert here.tick(HOUR) == ["list of 30"]


def test_new_settings_end_the_wait_of_what_failed() -> None:
    here = world()
    here.fire("k2/a")
    here.tick(MINUTE, lambda _: Retry("connection refused", after=HOUR))
    here.write(set_anew(here.log.values(), TEAM, now=here.now))
    assert here.tick(SECOND) == ["firing"]


def test_what_has_failed_for_ten_minutes_is_told_by_another_and_still_tried() -> None:
    here = world()
    here.fire("k2/a")

    def down(due: Due) -> Delivery:
        return Retry("no answer from the mail server") if due.receiver == "team" else always(due)

    began = here.now + MINUTE
    while not failing(here):
        assert round_of(here, 10 * SECOND, down) == []
    assert timedelta(minutes=9) < here.now - began < timedelta(minutes=13)
    assert words(here) == (
        "The last message of 1 incident has failed for a while, and is tried again: no answer from the mail server."
    )
    assert round_of(here, SECOND, down) == []
    assert round_of(here, MINUTE, down) == [f"boss firing {FAILING_ALERT}"]
    assert round_of(here, 15 * MINUTE) == ["team firing main_is_red"]
    assert round_of(here, SECOND) == [f"boss resolved {FAILING_ALERT}"]


def test_a_message_after_one_that_was_given_up_is_tried_as_long() -> None:
    here = world()
    here.fire("k2/a")
    while not any(entry.gave_up for entry in here.log.values()):
        here.tick(15 * MINUTE, lambda _: Retry("503"))
    here.fire("k2/b")
    here.route = Route(name="root", receiver="team", repeat_interval=HOUR)
    here.tick(HOUR, lambda _: Retry("503"))
    assert [entry.retry_at is not None for entry in here.log.values()] == [True, True]


@pytest.mark.parametrize("edits", [True, False], ids=["edits", "says anew"])
def test_an_end_that_was_refused_is_told_once_when_the_integration_works_again(edits: bool) -> None:
    here = world(Told(edits=edits))
    red = here.fire("k2/a")
    here.tick(MINUTE)
    here.end(red)
    assert here.tick(5 * MINUTE, refuses(TEAM)) == []
    assert [here.tick(HOUR, refuses(TEAM)) for _ in range(3)] == [[]] * 3
    assert here.finished() == frozenset()  # it is still to be told
    here.fire("k2/b")
    assert here.tick(MINUTE) == ["firing"]
    assert here.tick(SECOND) == ["resolved"]
    assert red.key in here.finished()
    assert here.tick(10 * MINUTE) == []


def test_an_end_that_was_refused_is_told_once_after_a_reload() -> None:
    here = world()
    red = here.fire("k2/a")
    here.tick(MINUTE)
    here.end(red)
    here.tick(5 * MINUTE, refuses(TEAM))
    here.write(set_anew(here.log.values(), TEAM, now=here.now))
    assert here.tick(SECOND) == ["resolved"]
    assert here.tick(10 * MINUTE) == []
    assert red.key in here.finished()


def test_an_end_that_nobody_could_be_told_for_a_day_is_forgotten() -> None:
    here = world()
    red = here.fire("k2/a")
    here.tick(MINUTE)
    here.end(red)
    here.tick(5 * MINUTE, refuses(TEAM))
    here.tick(23 * HOUR)
    assert here.finished() == frozenset()
    here.tick(HOUR)
    assert here.finished() == {red.key}
    assert failing(here).keys() == {TEAM}  # until it takes something


def test_what_fires_again_before_its_end_was_told_is_the_same_incident() -> None:
    here = world()
    red = here.fire("k2/a")
    here.tick(MINUTE)
    here.end(red)
    here.tick(5 * MINUTE, refuses(TEAM))
    here.fire("k2/a")
    assert here.tick(5 * MINUTE) == ["changed"]
    here.end(red)
    assert here.tick(5 * MINUTE) == ["resolved"]
    assert here.tick(HOUR) == []


def test_the_end_of_what_was_told_of_another_is_told_when_it_can_be() -> None:
    here = world()
    here.fire("k2/a")
    for _ in range(3):
        round_of(here, MINUTE, refuses(TEAM))
    assert here.said[-1].receiver == "boss"
    here.fire("k2/b")
    round_of(here, MINUTE, refuses(BOSS))
    assert round_of(here, 6 * MINUTE, refuses(BOSS)) == ["team firing main_is_red"]  # k2/a
    assert round_of(here, SECOND, refuses(BOSS)) == []  # the end
    here.route = Route(name="root", receiver="boss")
    here.fire("k2/c")
    assert set(round_of(here, MINUTE)) == {"boss firing main_is_red"}
    assert f"boss resolved {FAILING_ALERT}" in round_of(here, SECOND)


ONE_OF_EACH = {
    name: Receiver(name, (Integration(name, f"{name}[0]", Told(), pushes=name == "alertmanager"),))
    for name in ("told", "alertmanager")
}
AM = ("alertmanager", "alertmanager[0]")


@pytest.mark.parametrize(
    ("state", "truth"),
    [
        pytest.param(None, Truth.UNKNOWN, id="not known yet"),
        pytest.param(PushState(), Truth.FALSE, id="works"),
        pytest.param(PushState(T0 - 9 * MINUTE, "503"), Truth.FALSE, id="fails, not for long"),
        pytest.param(PushState(T0 - 10 * MINUTE, "503"), Truth.TRUE, id="fails for long"),
    ],
)
def test_pushes_that_fail_are_told_of_too(state: PushState | None, truth: Truth) -> None:
    config = Config(receivers=ONE_OF_EACH, labels=Labels({"cluster": "prod"}))
    first, second = undelivered_findings(config, (), {AM: state}, now=T0)
    assert (first.truth, second.truth) == (Truth.FALSE, truth)
    assert second.labels == Labels(
        {
            "alertname": FAILING_ALERT,
            "cluster": "prod",
            "integration": "alertmanager[0]",
            "receiver": "alertmanager",
            "severity": "warning",
        }
    )
    said = undelivered_words(config, (), {AM: state}, AM)
    assert said.endswith("Z: 503.") is (state is not None and bool(state.error))


def test_there_is_nothing_to_say_of_one_that_takes_all() -> None:
    here = world()
    here.fire("k2/a")
    here.tick(MINUTE, refuses(TEAM))
    assert words(here) == f"The last message of 1 incident was given up: {DOWN}."
    assert words(here, BOSS) == ""
