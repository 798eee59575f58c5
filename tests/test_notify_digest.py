"""Digests: one summary of what fired and ended since the last, at the moments that the calendar says."""

from dataclasses import replace
from datetime import timedelta

from k2alert.intervals import Interval, Range, Span, parse_moments
from k2alert.model import Retry, Sent
from k2alert.notify.dues import Due
from k2alert.notify.outcome import record_try
from k2alert.notify.route import Route
from tests.support.notified import HOUR, MINUTE, Told, World, receivers

DAY = timedelta(days=1)  # T0 is ten o'clock on a Monday


def weekly(**changes: object) -> World:
    route = Route(name="weekly", receiver="team", digest=parse_moments("Mon 09:00 UTC"))
    world = World(route=replace(route, **changes))  # type: ignore[arg-type]
    world.tick()
    return world


def told(due: Due) -> list[tuple[str, str]]:
    return [(one.labels["project"], due.parts[0].told[one.key].value) for one in due.parts[0].alerts]


def test_a_digest_tells_once_a_week_what_fired_and_ended_and_nothing_singly() -> None:
    world = weekly()
    first = world.fire("k2/a")
    world.tick(HOUR)
    world.end(first)
    world.fire("k2/b")
    assert [world.tick(DAY) for _ in range(6)] == [[]] * 6
    assert world.tick(20 * HOUR) == []
    assert first.key not in world.finished()
    assert world.tick(2 * HOUR) == ["digest"]  # at nine
    assert told(world.said[-1]) == [("k2/b", "firing"), ("k2/a", "ended")]
    assert [world.tick(HOUR) for _ in range(10)] == [[]] * 10
    assert first.key in world.finished()


def test_the_next_digest_tells_what_fires_on_and_what_ended_since() -> None:
    world = weekly()
    a, b = world.fire("k2/a"), world.fire("k2/b")
    assert world.tick(7 * DAY) == ["digest"]
    world.tick(MINUTE)
    world.end(a)
    world.tick(HOUR)
    assert world.tick(7 * DAY) == ["digest"]
    assert told(world.said[-1]) == [("k2/b", "firing"), ("k2/a", "ended")]
    assert [one.labels["project"] for one in world.said[-1].parts[0].news] == ["k2/a"]
    world.tick(MINUTE)
    world.end(b)
    assert world.tick(7 * DAY) == ["digest"]
    assert told(world.said[-1]) == [("k2/b", "ended")]
    assert [world.tick(DAY) for _ in range(14)] == [[]] * 14


def test_a_week_without_anything_says_nothing_and_what_fires_after_it_waits_for_the_next() -> None:
    world = weekly()
    assert world.tick(7 * DAY) == []
    world.fire()
    assert world.tick(DAY) == []
    assert world.tick(6 * DAY) == ["digest"]


def test_a_digest_that_was_missed_is_sent_once_when_somebody_runs_again() -> None:
    world = weekly()
    world.fire()
    assert world.tick(24 * DAY) == ["digest"]
    assert world.tick(HOUR) == []
    assert world.tick(4 * DAY) == ["digest"]  # it fires on


def test_a_digest_that_fails_is_tried_again_and_one_in_flight_at_a_crash_is_said_again_whole() -> None:
    world = weekly()
    gone = world.fire()
    world.tick(HOUR)
    world.end(gone)
    assert world.tick(7 * DAY, answer=lambda _: Retry("no route to host")) == []
    assert world.tick(MINUTE) == ["digest"]
    assert told(world.said[-1]) == [("k2/app", "ended")]
    world = weekly()
    gone = world.fire()
    world.tick(HOUR)
    world.end(gone)
    world.now += 7 * DAY
    due = world.due()[0]
    world.write(record_try(due, now=world.now))
    assert gone.key not in world.finished()
    assert world.tick(MINUTE) == ["digest"]
    assert told(world.said[-1]) == told(due)
    assert world.said[-1].mark == due.mark
    assert world.tick(HOUR) == []


def test_each_integration_has_its_own_digest() -> None:
    world = weekly()
    world.receivers = receivers(Told(), Told(edits=True))
    world.tick()
    world.fire()
    assert world.tick(7 * DAY, answer=lambda due: Sent() if due.integration.name == "told[0]" else Retry("x")) == [
        "digest"
    ]
    assert [world.tick(MINUTE), world.tick(HOUR)] == [["digest"], []]
    assert [one.integration.name for one in world.said] == ["told[0]", "told[1]"]


def test_a_mute_digest_waits_and_silenced_alerts_are_left_out() -> None:
    nine = Interval("nine", (Span(times=(Range(9 * 60, 11 * 60),)),))
    world = weekly(mute=(nine,))
    world.silence('project="k2/a"', 30 * DAY)
    world.fire("k2/a")
    world.fire("k2/b")
    assert world.tick(7 * DAY) == []
    assert world.tick(HOUR) == ["digest"]
    assert told(world.said[-1]) == [("k2/b", "firing")]


def test_a_digest_whose_route_goes_leaves_nothing_open() -> None:
    world = weekly()
    world.fire()
    world.route = Route(name="root", receiver="team")
    assert world.tick(MINUTE) == ["firing"]
    assert [entry.closed for entry in world.log.values() if entry.group.endswith(":digest")] == [True]
