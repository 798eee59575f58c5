"""Messages as files that a person can open, for those who want to see them before anybody is sent one.

An alert comes in; for everyone who would hear of it out come the files of its beginning and of its end: `.json` as it
would be posted, `.eml` as a mail program opens it, `.html` as it would look, `.txt`.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from k2alert.cycle import Scene
from k2alert.labels import Labels
from k2alert.model import Alert, AlertState, EndReason, Evidence, LogEntry, Rule
from k2alert.notify import INTEGRATIONS
from k2alert.notify.address import render_address
from k2alert.notify.dues import Due, Kind, Part
from k2alert.notify.message import Message
from k2alert.notify.route import Integration, Route, routes_for
from k2alert.telling import message_of

__all__ = ["Preview", "files_of", "previews", "write_files"]


@dataclass(frozen=True, slots=True)
class Preview:
    """A file: its name, in which only letters, digits, `-`, `_` and `.` stand, and its bytes."""

    name: str
    content: bytes


def previews(
    scene: Scene, alert: Alert, rules: Mapping[str, Rule], evidence: Mapping[str, Evidence], *, now: datetime
) -> tuple[Preview, ...]:
    """The files of every message that the alert would be told with: as it fires, and as it is resolved.

    `alert` is one that fires, or would; `evidence` is by `Alert.key`, as for `message_of`.
    """
    ended = replace(alert, state=AlertState.ENDED, ended_at=now, reason=EndReason.RECOVERED)
    found: list[Preview] = []
    for route, integration in _hearers(scene, alert):
        due = _due(route, integration, alert, Kind.FIRING)
        found += files_of(due, message_of(scene, due, [alert], rules, evidence, now=now))
        if integration.settings.send_resolved:
            due = _due(route, integration, ended, Kind.RESOLVED)
            found += files_of(due, message_of(scene, due, [ended], rules, evidence, now=now))
    return tuple(found)


def _hearers(scene: Scene, alert: Alert) -> Iterator[tuple[Route, Integration]]:
    route = scene.config.route
    for taken in routes_for(route, alert.labels) if route is not None else ():
        receiver = scene.config.receivers.get(taken.receiver)
        for integration in receiver.integrations if receiver is not None else ():
            yield taken, integration


def _due(route: Route, integration: Integration, alert: Alert, kind: Kind) -> Due:
    labels = alert.labels if "..." in route.group_by else alert.labels.only(route.group_by)
    entry = LogEntry(
        incident=Labels({"alert": alert.key}).fingerprint,
        group=f"{route.name}:{labels!r}",
        group_labels=labels,
        receiver=route.receiver,
        integration=integration.name,
    )
    part = Part(kind=kind, entry=entry, alerts=(alert,), news=(alert,), told={alert.key: alert.state})
    return Due(kind=kind, receiver=route.receiver, integration=integration, parts=(part,))


def files_of(due: Due, message: Message) -> tuple[Preview, ...]:
    """The files of one message."""
    alerts = tuple(alert for part in due.parts for alert in part.alerts)
    kind = INTEGRATIONS[due.integration.kind]
    stem = _file_name(f"{due.receiver}-{due.integration.name}-{due.kind.value}")
    made = kind.files(due.integration.settings, message, render_address(alerts))
    return tuple(Preview(f"{stem}{ending}", content) for ending, content in made.items())


def _file_name(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]+", "-", text).strip("-")[:150]


def write_files(found: tuple[Preview, ...], folder: Path) -> tuple[Path, ...]:
    """Writes the files into the folder, which is made where it is not there; their paths. `OSError` where it can't."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for preview in found:
        path = folder / preview.name
        path.write_bytes(preview.content)
        paths.append(path)
    return tuple(paths)
