"""Random lives of alerts, failures and lists: everything is told once, in order, and nothing is lost."""

from collections import defaultdict
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from k2alert.model import AlertState, Delivery, EndReason, Refused, Retry, Sent
from k2alert.notify.dues import LIST_KEY, Due
from k2alert.notify.route import Route
from tests.support.notified import MINUTE, Told, World, alert, receivers

PROJECTS = [f"p/{number}" for number in range(6)]
CHANGES = st.sampled_from(["fire", "initial", "recover", "close", "unknown", "known", "reload", "nothing"])
STEPS = st.lists(
    st.tuples(
        st.lists(st.tuples(CHANGES, st.sampled_from(PROJECTS)), max_size=6),
        st.sampled_from([1, 20, 60, 150, 600, 20_000]),  # seconds until the next round
        st.sampled_from(["up", "up", "up", "down", "partly"]),
    ),
    max_size=25,
)
GROUPINGS = (("alertname", "project"), ("alertname",), ("...",))


class Listener:
    """What each integration has heard of each alert, and the promise that it never hears a thing twice."""

    def __init__(self) -> None:
        self.heard: dict[tuple[str, str], AlertState] = {}
        self.told: dict[tuple[str, str], list[AlertState]] = defaultdict(list)
        self.mode = "up"

    def deliver(self, due: Due) -> Delivery:
        if self.mode == "down":
            return Retry("down")
        self._hear(due)
        if self.mode == "partly":
            return Retry("b is down", handle={"a": due.mark})
        return Sent({"a": due.mark, "b": due.mark})

    def _hear(self, due: Due) -> None:
        if due.handle.get("a") == due.mark:
            return  # the same message again, for those who did not take it
        for part in due.parts:
            for one in part.news:
                who = (due.integration.name, one.key)
                state = part.told[one.key]
                assert self.heard.get(who, AlertState.ENDED) is not state, "said twice"
                self.heard[who] = state
                self.told[who].append(state)


def change(world: World, what: str, project: str) -> None:
    key = alert(project=project).key
    old = world.alerts.get(key)
    fires = old is not None and old.state is AlertState.FIRING
    if what in ("fire", "initial") and not fires:
        world.fire(project, initial=what == "initial")
    elif what in ("recover", "close") and old is not None and fires:
        world.end(old, EndReason.RECOVERED if what == "recover" else EndReason.RULE_CHANGED)
        world.put(replace(world.alerts[key], unknown=False))
    elif what in ("unknown", "known") and old is not None and fires:
        world.put(replace(old, unknown=what == "unknown"))
    elif what == "reload" and world.route is not None:
        position = GROUPINGS.index(world.route.group_by)
        world.route = replace(world.route, name=f"{world.route.name}+", group_by=GROUPINGS[(position + 1) % 3])


def calm_down(world: World, listener: Listener) -> None:
    """Everything is known and reachable, and time enough goes by."""
    listener.mode = "up"
    world.put(*(replace(one, unknown=False) for one in world.alerts.values()))
    for _ in range(12):
        world.tick(20 * MINUTE, listener.deliver)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(steps=STEPS, edits=st.booleans(), grouping=st.sampled_from(GROUPINGS))
def test_everyone_hears_of_every_firing_and_of_every_end_once(steps: list, edits: bool, grouping: tuple) -> None:
    world = World(
        receivers=receivers(Told(edits=edits), Told(edits=not edits)),
        route=Route(name="root", receiver="team", group_by=grouping, repeat_interval=timedelta(days=400)),
    )
    listener = Listener()
    for changes, seconds, mode in steps:
        for what, project in changes:
            change(world, what, project)
        listener.mode = mode
        world.tick(timedelta(seconds=seconds), listener.deliver)
        for key in world.finished():
            assert all(listener.heard.get((name, key)) is not AlertState.FIRING for name in ("told[0]", "told[1]"))
    calm_down(world, listener)
    for one in world.alerts.values():
        for name in ("told[0]", "told[1]"):
            fires = one.state is AlertState.FIRING
            assert (listener.heard.get((name, one.key)) is AlertState.FIRING) == fires
    for told in listener.told.values():
        expected = [AlertState.FIRING, AlertState.ENDED] * len(told)
        assert told == expected[: len(told)]
    open_entries = [entry for entry in world.log.values() if not entry.closed]
    firing = any(one.state is AlertState.FIRING for one in world.alerts.values())
    assert firing or not open_entries
    assert world.tick(MINUTE, listener.deliver) == []


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    bursts=st.lists(st.tuples(st.integers(0, 15), st.sampled_from([1, 30, 60, 200])), max_size=12), edits=st.booleans()
)
def test_no_five_minutes_bring_more_than_ten_messages_and_lists(bursts: list, edits: bool) -> None:
    world = World(receivers=receivers(Told(edits=edits)))
    sent = []

    def deliver(due: Due) -> Delivery:
        sent.append((world.now, due))
        return Sent({"a": due.mark})

    number = 0
    for size, seconds in bursts:
        for _ in range(size):
            number += 1
            world.fire(f"p/{number}")
        world.tick(timedelta(seconds=seconds), deliver)
    for at, _ in sent:
        recent = {due.thread: due for when, due in sent if timedelta(0) <= when - at < timedelta(minutes=5)}
        assert len([due for due in recent.values() if not due.list_id]) <= 10
        if not edits:
            lists = [when for when, due in sent if due.list_id and timedelta(0) <= when - at < timedelta(minutes=5)]
            assert len(lists) <= 1
    for _ in range(4):
        world.tick(6 * MINUTE, deliver)
    told = {one.key for _, due in sent for part in due.parts for one in part.news}
    assert told == set(world.alerts)


def test_a_refusal_is_never_followed_by_a_storm_of_tries() -> None:
    world, tries = World(), []
    for project in PROJECTS:
        world.fire(project)

    def refuse(due: Due) -> Delivery:
        tries.append(due)
        return Refused("invalid_auth")

    for _ in range(60):
        world.tick(MINUTE, refuse)
    assert len(tries) == len(PROJECTS)


@pytest.mark.parametrize("edits", [True, False])
def test_a_list_is_remembered_by_all_its_incidents(edits: bool) -> None:
    world = World(receivers=receivers(Told(edits=edits)))
    for project in PROJECTS:
        world.fire(project, initial=True)
    world.tick(MINUTE)
    assert len({entry.handle[LIST_KEY] for entry in world.log.values()}) == 1
