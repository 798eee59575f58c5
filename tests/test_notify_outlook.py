"""To plan one integration after the other, with pauses, comes to what planning all at once comes to."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import event, given, settings
from hypothesis import strategies as st

from k2alert.model import FAILING_ALERT, Alert, AlertState
from k2alert.notify.digest import digests_due, digests_of
from k2alert.notify.dues import Due
from k2alert.notify.outlook import looking_out
from k2alert.notify.plan import due, due_of
from k2alert.notify.route import Integration
from k2alert.notify.unreached import Who, identity_of
from k2alert.pauses import at_once
from tests.support.loading import load_text
from tests.support.looks import T0
from tests.support.notified import Told, World, receivers
from tests.test_concerning import MAIN, NAMES, WHO, an_alert, an_entry


def where(_: Integration, alerts: tuple[Alert, ...]) -> str:
    return alerts[0].labels.get("project", "") if alerts else ""


@st.composite
def the_alerts(draw: st.DrawFn) -> Mapping[str, Alert]:
    """Some that are told in lists, and those that say who is not reached."""
    made = [replace(draw(an_alert(name)), initial=draw(st.booleans())) for name in NAMES]
    for who in draw(st.sets(st.sampled_from(WHO))):
        labels = identity_of(who)
        failing = replace(
            made[0], rule=FAILING_ALERT, identity=labels, labels=labels.merged({"alertname": FAILING_ALERT})
        )
        made.append(replace(failing, state=draw(st.sampled_from([AlertState.FIRING, AlertState.ENDED])), fired_at=T0))
    return {alert.key: alert for alert in made}


def who_of(one: Due) -> Who:
    return one.receiver, one.integration.name


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_one_after_the_other_comes_to_the_same_as_all_at_once(data: st.DataObject) -> None:
    with TemporaryDirectory() as folder:
        config = load_text(Path(folder), MAIN).config
    assert config is not None
    alerts = data.draw(the_alerts())
    log = data.draw(st.lists(an_entry(list(alerts)), max_size=5, unique_by=lambda entry: entry.key))
    hushed = data.draw(st.frozensets(st.sampled_from(list(alerts)), max_size=2))
    of: dict[str, Any] = {"alerts": alerts, "log": log, "receivers": config.receivers, "hushed": hushed}

    all_at_once = (
        *due(**of, route=config.route, now=T0, address=where),
        *digests_due(**of, route=config.route, now=T0),
    )
    outlook = at_once(looking_out(alerts, config.route, config.receivers, hushed))
    rows = {
        who: [
            *at_once(due_of(who, outlook, log=log, now=T0, address=where)),
            *digests_of(who, outlook, log=log, now=T0),
        ]
        for who in outlook.fires_for
    }
    event(f"{len(all_at_once)} messages")

    assert rows == {who: [one for one in all_at_once if who_of(one) == who] for who in WHO}


def test_a_storm_is_planned_with_many_pauses() -> None:
    world = World(receivers=receivers(Told(), Told()))
    for number in range(200):
        world.fire(f"k2/{number}")
    outlook = at_once(looking_out(world.alerts, world.route, world.receivers, ()))
    steps = due_of(("team", "told[0]"), outlook, log=(), now=world.now, address=where)

    assert sum(1 for _ in steps) > 3 * 200
