"""The route tree (contract §1): from what is written to `Route`s that have everything they inherit."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from k2alert.config.lint import shadowed_by
from k2alert.config.receivers import DEFAULT_RECEIVER
from k2alert.config.report import did_you_mean, shown
from k2alert.config.settings import RouteSettings
from k2alert.config.sheet import Sheet
from k2alert.document import DocumentPath
from k2alert.intervals import Interval
from k2alert.model import Place
from k2alert.notify.route import Route

__all__ = ["read_route"]

_ROOT: DocumentPath = ("route",)
_INHERITED = ("group_by", "group_wait", "group_interval", "repeat_interval", "digest")
_INTERVALS = {"mute_time_intervals": "mute", "active_time_intervals": "active"}


def read_route(
    sheet: Sheet, receivers: Collection[str], names: Collection[str], intervals: Mapping[str, Interval]
) -> Route | None:
    """The root of the tree, None where nobody is told anything or the tree is wrong.

    `names` are those of all time intervals, `intervals` the ones that are well written.

    Without `route:` the short form's receiver `default` hears every alert.
    """
    short = receivers == {DEFAULT_RECEIVER} and sheet.data.get("receivers") is None
    written = sheet.data.get("route")
    if written is not None:
        top = Route(name="root", receiver=DEFAULT_RECEIVER if short else "")
        return _Reading(sheet, receivers, names, intervals).node(_ROOT, written, top, "root")
    if sheet.data.get("receivers") is not None:
        sheet.report.add(
            sheet.document.key_place(("receivers",)), "receivers: without a `route` nobody is told anything"
        )
    return Route(name="root", receiver=DEFAULT_RECEIVER) if short else None


@dataclass(frozen=True, slots=True)
class _Reading:
    sheet: Sheet
    receivers: Collection[str]
    interval_names: Collection[str]
    intervals: Mapping[str, Interval]
    names: dict[str, Place] = field(default_factory=dict)

    def node(self, path: DocumentPath, written: Any, parent: Route, place_name: str) -> Route | None:
        """One node with those below it; None where any of them is wrong, each told of."""
        if not isinstance(written, dict):
            self.sheet.error(path, "a route must be a mapping")
            return None
        own = {key: value for key, value in written.items() if key != "routes"}
        settings = self.sheet.read(RouteSettings, path, own)
        name = written["name"] if isinstance(written.get("name"), str) else place_name
        fits = self._check(path, own, parent, name)
        node = self._inheriting(settings or RouteSettings(), parent, name, written.get("receiver"))
        items = self.sheet.items((*path, "routes"))
        children = [self.node(at, child, node, f"{place_name}/{at[-1]}") for at, child in items]
        routes = tuple(child for child in children if child is not None)
        self._warn_of_shadows(path, children)
        if settings is None or not fits or len(routes) < len(children):
            return None
        return replace(node, routes=routes)

    def _warn_of_shadows(self, path: DocumentPath, children: Sequence[Route | None]) -> None:
        before: list[Route] = []
        for index, child in enumerate(children):
            if child is not None:
                shadow = shadowed_by(before, child)
                if shadow is not None:
                    text = f"routes: nothing comes here: {shown(shadow.name)} before it takes all and does not continue"
                    self.sheet.warn((*path, "routes", index), text, "unreachable")
                before.append(child)

    def _inheriting(self, settings: RouteSettings, parent: Route, name: str, receiver: Any) -> Route:
        inherited = {key: getattr(parent, key) for key in _INHERITED}
        own = {key: getattr(settings, key) for key in _INHERITED if getattr(settings, key) is not None}
        times = {
            field: getattr(parent, field) if getattr(settings, key) is None else self._known(getattr(settings, key))
            for key, field in _INTERVALS.items()
        }
        return Route(
            name=name,
            receiver=receiver if isinstance(receiver, str) else parent.receiver,
            matchers=settings.matchers,
            continues=settings.continue_,
            **{**inherited, **own, **times},
        )

    def _known(self, names: Iterable[str]) -> tuple[Interval, ...]:
        return tuple(self.intervals[name] for name in names if name in self.intervals)

    def _check(self, path: DocumentPath, own: Mapping[str, Any], parent: Route, name: str) -> bool:
        """What a node says of the rest of the file."""
        found = [*self._wrong_receiver(path, own, parent), *self._wrong_intervals(own), *self._wrong_root(path, own)]
        for key, text in found:
            self.sheet.error((*path, *key), text)
        return self._is_new(path, name) and not found

    def _wrong_receiver(
        self, path: DocumentPath, own: Mapping[str, Any], parent: Route
    ) -> list[tuple[DocumentPath, str]]:
        receiver = own.get("receiver")
        if isinstance(receiver, str) and receiver not in self.receivers:
            near = did_you_mean(receiver, sorted(self.receivers))
            return [(("receiver",), f"receiver: there is no receiver {shown(receiver)}{near}")]
        if receiver is None and not parent.receiver and path == _ROOT:
            return [((), 'route lacks the key "receiver"')]
        return []

    def _wrong_intervals(self, own: Mapping[str, Any]) -> list[tuple[DocumentPath, str]]:
        known = sorted(self.interval_names)
        return [
            ((key, index), f"{key}: unknown time interval {shown(name)}{did_you_mean(name, known)}")
            for key in _INTERVALS
            for index, name in enumerate(own[key] if isinstance(own.get(key), list) else [])
            if isinstance(name, str) and name not in self.interval_names
        ]

    def _wrong_root(self, path: DocumentPath, own: Mapping[str, Any]) -> list[tuple[DocumentPath, str]]:
        keys = [key for key in ("matchers", "continue") if own.get(key)] if path == _ROOT else []
        return [((key,), f"{key}: not on the root, which hears every alert") for key in keys]

    def _is_new(self, path: DocumentPath, name: str) -> bool:
        place = self.sheet.place((*path, "name"))
        first = self.names.setdefault(name, place)
        if first != place:
            self.sheet.error((*path, "name"), f"name: two routes are called {shown(name)}; the other is at {first}")
        return first == place
