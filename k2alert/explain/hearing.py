"""Who hears of an alert, who has, and why somebody has not: routes, the notification log and the alerts come in.

Pure. What is due comes from `notify.plan`, so that what is promised here is what will be sent.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from k2alert.cycle import Scene
from k2alert.explain.explanation import Hearing, Reason
from k2alert.labels import Labels
from k2alert.model import Alert, AlertState, Hush, LogEntry, Silence, SilenceState
from k2alert.notify.dues import Kind
from k2alert.notify.plan import next_due
from k2alert.notify.route import Route, routes_for
from k2alert.notify.standing import Standing, standings
from k2alert.times import iso

__all__ = ["hearings_of", "quiet_reasons", "standings_of"]

_DUE = {
    Kind.FIRING: "the first message",
    Kind.CHANGED: "what changed",
    Kind.REPEAT: "a repeat",
    Kind.RESOLVED: "that it is resolved",
    Kind.CLOSED: "that it is closed",
}


def standings_of(scene: Scene, hushed: Collection[str]) -> tuple[Standing, ...]:
    """How every integration stands to every incident; the alerts with the `hushed` keys are not heard."""
    return standings(
        {alert.key: alert for alert in scene.alerts.values()},
        scene.log,
        scene.config.route,
        scene.config.receivers,
        hushed,
    )


def quiet_reasons(
    scene: Scene, labels: Labels, alert: Alert | None, hushed: Mapping[str, Hush], *, now: datetime
) -> tuple[Reason, ...]:
    """What keeps the alert itself quiet, on whatever route: silences that are active, and alerts that inhibit it.

    `hushed` is from `hushes_of`, which looks at all alerts, so once for all that are explained.
    """
    active = [silence for silence in scene.silences if silence.state(now) is SilenceState.ACTIVE]
    silences = [_silenced(silence) for silence in active if silence.matches(labels)]
    hush = hushed.get(alert.key) if alert is not None else None
    if hush is None or not hush.inhibited_by:
        return tuple(silences)
    by_key = {one.key: one for one in scene.alerts.values()}
    return (*silences, *(_inhibited(by_key[key]) for key in hush.inhibited_by))


def _silenced(silence: Silence) -> Reason:
    until = "its incident is over" if silence.until_resolved else iso(silence.ends_at)
    said = f" ({silence.author}: {silence.comment})" if silence.author or silence.comment else ""
    return Reason("silenced", f"silenced by {silence.id} until {until}{said}")


def _inhibited(by: Alert) -> Reason:
    labels = ", ".join(f'{name}="{value}"' for name, value in by.identity.items())
    return Reason("inhibited", f"inhibited by {by.rule} {{{labels}}}, which fires")


def hearings_of(
    scene: Scene,
    labels: Labels,
    alert: Alert | None,
    standing: Sequence[Standing],
    quiet: Sequence[Reason],
    *,
    now: datetime,
) -> tuple[Hearing, ...]:
    """Every integration that hears of an alert with these labels, or heard of this one; none: nobody does.

    `standing` is from `standings_of`: empty for the past, of which nobody knows what was due. `quiet` is from
    `quiet_reasons`.
    """
    mine = {_who(one.entry): one for one in standing if alert is not None and _is_in(alert, one.alerts)}
    told = _last_told(scene.log, alert)
    routed = list(_routed(scene, labels))
    gone = [(None, *who) for who in (told | mine.keys()) if who not in {one[1:] for one in routed}]
    return tuple(
        _hearing(_Ear(route, receiver, name, alert, mine.get((receiver, name)), told.get((receiver, name)), quiet), now)
        for route, receiver, name in [*routed, *gone]
    )


def _routed(scene: Scene, labels: Labels) -> Iterator[tuple[Route | None, str, str]]:
    """The routes an alert takes, with the receiver and each of its integrations by name ("" for none)."""
    root = scene.config.route
    for route in routes_for(root, labels) if root is not None else ():
        receiver = scene.config.receivers.get(route.receiver)
        names = [integration.name for integration in receiver.integrations] if receiver is not None else []
        yield from ((route, route.receiver, name) for name in names or [""])


def _who(entry: LogEntry) -> tuple[str, str]:
    return (entry.receiver, entry.integration)


def _is_in(alert: Alert, alerts: Iterable[Alert]) -> bool:
    return any(one.key == alert.key for one in alerts)


def _last_told(log: Iterable[LogEntry], alert: Alert | None) -> dict[tuple[str, str], LogEntry]:
    """The last entry that tells of the alert, for each integration."""
    found: dict[tuple[str, str], LogEntry] = {}
    for entry in log:
        before = found.get(_who(entry))
        newer = before is None or _sent_at(entry) > _sent_at(before)
        if alert is not None and alert.key in entry.told and newer:
            found[_who(entry)] = entry
    return found


def _sent_at(entry: LogEntry) -> str:
    return iso(entry.last_sent_at) if entry.last_sent_at is not None else ""


@dataclass(frozen=True, slots=True)
class _Ear:
    """An integration, and how it stands to the alert. `route` None: it only heard of it before."""

    route: Route | None
    receiver: str
    integration: str
    alert: Alert | None
    standing: Standing | None
    told: LogEntry | None
    quiet: Sequence[Reason]

    @property
    def entry(self) -> LogEntry | None:
        """What the log says of it."""
        return self.standing.entry if self.standing is not None else self.told

    @property
    def is_firing(self) -> bool:
        return self.alert is not None and self.alert.state is AlertState.FIRING


def _hearing(ear: _Ear, now: datetime) -> Hearing:
    entry = ear.entry
    due = next_due(ear.standing, now=now) if ear.standing is not None else None
    return Hearing(
        route=ear.route.name if ear.route is not None else "",
        receiver=ear.receiver,
        integration=ear.integration,
        reason=_reason(ear, due, now),
        messages=entry.sent if entry is not None else 0,
        last_at=entry.last_sent_at if entry is not None else None,
        error=entry.error if entry is not None else "",
        due_at=due[0] if due is not None else None,
        due=due[1].value if due is not None else "",
    )


def _reason(ear: _Ear, due: tuple[datetime, Kind] | None, now: datetime) -> Reason:
    """The first that applies: it cannot hear, a delivery failed, it has heard, it does not hear yet."""
    found = _deaf(ear) or _failed(ear.entry) or _heard(ear, due) or _kept_quiet(ear, now) or _not_yet(ear, due)
    return found or Reason("not_told", "has not heard of it")


def _deaf(ear: _Ear) -> Reason | None:
    return None if ear.integration else Reason("nobody", "it says nothing to anybody")


def _failed(entry: LogEntry | None) -> Reason | None:
    if entry is not None and entry.gave_up:
        return Reason("gave_up", f"the last message was given up: {entry.error}")
    if entry is not None and entry.error and entry.retry_at is not None:
        often = "once" if entry.failures == 1 else f"{entry.failures} times"
        return Reason("failing", f"failed {often}: {entry.error}; tried again {iso(entry.retry_at)}")
    return None


def _heard(ear: _Ear, due: tuple[datetime, Kind] | None) -> Reason | None:
    entry, alert = ear.entry, ear.alert
    if entry is None or alert is None or alert.key not in entry.told or entry.last_sent_at is None:
        return None
    last = iso(entry.last_sent_at)
    text = f"heard {entry.sent} message{'' if entry.sent == 1 else 's'} of this incident, the last {last}"
    if entry.closed:
        return Reason("told", f"{text}; it has heard the end")
    if ear.quiet and ear.is_firing:
        return Reason("told", f"{text}; hears no more of it now: {ear.quiet[0].text}")
    return Reason("told", f"{text}; next, {_words(due)}" if due is not None else text)


def _kept_quiet(ear: _Ear, now: datetime) -> Reason | None:
    if ear.quiet:
        return ear.quiet[0]
    muted = ear.route.muted_by(now) if ear.route is not None else ()
    if muted:
        return Reason("muted", f"the route is mute now ({', '.join(muted)}): hears of it afterwards, if it still fires")
    if ear.route is not None and ear.route.digest is not None:
        return Reason("digest", f"hears of it in the digest of {iso(ear.route.digest.next_after(now))}")
    return None


def _not_yet(ear: _Ear, due: tuple[datetime, Kind] | None) -> Reason | None:
    if ear.alert is None or not ear.is_firing:
        return Reason("not_firing", "hears of it once it fires")
    if ear.alert.unknown:
        return Reason("unknown", "hears nothing while it is not known how things are")
    return Reason("waiting", f"hears {_words(due)}") if due is not None else None


def _words(due: tuple[datetime, Kind] | None) -> str:
    return f"{_DUE.get(due[1], due[1].value)} {iso(due[0])}" if due is not None else "nothing"
