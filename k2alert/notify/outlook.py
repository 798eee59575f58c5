"""What all integrations share while it is planned who hears of what: the alerts of one moment, and where they lead.

A storm is planned one integration after the other, with pauses. Each takes from here what may concern it, and beside it
the notification log as that is when its turn comes.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from k2alert.model import FAILING_ALERT, Alert, AlertState
from k2alert.notify.route import Receiver, Route, integrations_of
from k2alert.notify.standing import Routing, fired_at
from k2alert.notify.unreached import Who
from k2alert.pauses import Pausing

__all__ = ["Outlook", "looking_out"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """Alerts by `Alert.key`, as they are at one moment; those `hushed` are no news.

    `fires_for` has each integration that takes messages, and the keys of the alerts that fire and may be told to it, in
    order of firing. `digested` are the alerts that fire or ended, by the names of the digests' routes that they take.
    """

    alerts: Mapping[str, Alert]
    receivers: Mapping[str, Receiver]
    hushed: Collection[str]
    routing: Routing
    fires_for: Mapping[Who, Sequence[str]]
    digested: Mapping[str, Mapping[str, Alert]]


def looking_out(
    alerts: Mapping[str, Alert], route: Route | None, receivers: Mapping[str, Receiver], hushed: Collection[str]
) -> Pausing[Outlook]:
    """The outlook for these alerts, which nobody may change any more."""
    routing = Routing(route)
    told = (AlertState.FIRING, AlertState.ENDED)
    ordered = sorted((fired_at(alert), key) for key, alert in alerts.items() if alert.state in told)
    fires_for: dict[Who, list[str]] = {
        who: [] for who, integration in sorted(integrations_of(receivers).items()) if not integration.pushes
    }
    digested: dict[str, dict[str, Alert]] = {}
    for _, key in ordered:
        yield
        alert = alerts[key]
        taken = routing.of(alert)
        for one in taken:
            if one.digest is not None:
                digested.setdefault(one.name, {})[key] = alert
        if alert.state is AlertState.FIRING:
            # Of those who are not reached anyone may have to hear: whoever is, by then.
            for who in fires_for if alert.rule == FAILING_ALERT else dict.fromkeys(_listening(taken, receivers)):
                if who in fires_for:
                    fires_for[who].append(key)
    return Outlook(
        alerts=alerts,
        receivers=receivers,
        hushed=hushed,
        routing=routing,
        fires_for=fires_for,
        digested=digested,
    )


def _listening(routes: Iterable[Route], receivers: Mapping[str, Receiver]) -> Iterator[Who]:
    for route in routes:
        receiver = receivers.get(route.receiver)
        for integration in receiver.integrations if receiver is not None else ():
            yield route.receiver, integration.name
