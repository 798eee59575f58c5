"""Random lives with receivers that refuse for good: once mended everyone knows how things are, and hears no more."""

from dataclasses import dataclass, field, replace
from datetime import timedelta

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from k2alert.model import FAILING_ALERT, AlertState, Delivery, Refused, Retry, Sent
from k2alert.notify.dues import Due
from k2alert.notify.route import Route
from k2alert.notify.unreached import set_anew, unreached
from tests.support.notified import MINUTE, Told, World, receivers
from tests.test_notify_lives import GROUPINGS, PROJECTS, change

CHANGES = st.sampled_from(["fire", "initial", "recover", "close", "unknown", "known", "reload"])
NAMES = ("told[0]", "told[1]")
STEPS = st.lists(
    st.tuples(
        st.lists(st.tuples(CHANGES, st.sampled_from(PROJECTS)), max_size=4),
        st.sampled_from([1, 20, 60, 150, 600]),  # seconds: all of it is less than a day
        st.tuples(*[st.sampled_from(["up", "up", "down", "refuses", "partly"])] * 2),
        st.booleans(),  # the settings are changed
    ),
    max_size=25,
)


@dataclass
class Listeners:
    """What each integration knows of each alert from the messages that it took."""

    modes: dict[str, str] = field(default_factory=dict)
    known: dict[tuple[str, str], AlertState] = field(default_factory=dict)

    def deliver(self, due: Due) -> Delivery:
        mode = self.modes.get(due.integration.name, "up")
        if mode == "down":
            return Retry("down")
        if mode == "refuses":
            return Refused("channel_not_found")
        for part in due.parts:
            assert part.alerts, "a message about nothing"
            self.known |= {(due.integration.name, one.key): part.told[one.key] for one in part.alerts}
        return Sent({"a": due.mark}, error="b: 550" if mode == "partly" else "")


def tick(world: World, listeners: Listeners, after: timedelta) -> None:
    world.now += after
    world.judge_deliveries()
    world.tick(answer=listeners.deliver)


def mend(world: World) -> None:
    for name in NAMES:
        world.write(set_anew(world.log.values(), ("team", name), now=world.now))


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(steps=STEPS, edits=st.booleans(), grouping=st.sampled_from(GROUPINGS))
def test_once_mended_everyone_knows_how_things_are(steps: list, edits: bool, grouping: tuple) -> None:
    world = World(
        receivers=receivers(Told(edits=edits), Told(edits=not edits)),
        route=Route(name="root", receiver="team", group_by=grouping, repeat_interval=timedelta(days=400)),
    )
    listeners = Listeners()
    for changes, seconds, modes, anew in steps:
        for what, project in changes:
            change(world, what, project)
        listeners.modes = dict(zip(NAMES, modes, strict=True))
        if anew:
            mend(world)
        tick(world, listeners, timedelta(seconds=seconds))
    listeners.modes = {}
    world.put(*(replace(one, unknown=False) for one in world.alerts.values()))
    mend(world)
    for _ in range(12):
        tick(world, listeners, 20 * MINUTE)
    for one in world.alerts.values():
        for name in NAMES:
            fires = one.state is AlertState.FIRING
            if one.rule == FAILING_ALERT:
                assert not fires
            else:
                assert (listeners.known.get((name, one.key)) is AlertState.FIRING) == fires, name
    assert unreached(world.log.values(), world.receivers) == {}
    said = len(world.said)
    tick(world, listeners, MINUTE)
    assert len(world.said) == said
