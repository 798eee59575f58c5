"""Receivers and the short form `notifications:` (contract §1): who hears, and through what.

Each integration's own module says what its settings are.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from jinja2 import Environment, nodes
from pydantic import BaseModel, ValidationError

from k2alert.config.report import did_you_mean, shown
from k2alert.config.settings import NotificationSettings, ReceiverSettings
from k2alert.config.sheet import Sheet
from k2alert.config.values import check_mail_address, check_url
from k2alert.document import DocumentPath
from k2alert.notify import INTEGRATIONS as KINDS
from k2alert.notify.route import Integration, Receiver
from k2alert.template import TemplateError, compile_template

__all__ = ["DEFAULT_RECEIVER", "INTEGRATIONS", "read_receivers"]

INTEGRATIONS: Mapping[str, type[BaseModel]] = {name: kind.settings for name, kind in KINDS.items()}
"""Every kind of integration a receiver may have, and its settings."""

DEFAULT_RECEIVER = "default"
_NOTIFICATIONS: DocumentPath = ("notifications",)
# Only to take templates apart; nothing is ever rendered with it.
_SYNTAX = Environment(autoescape=True)


def read_receivers(sheet: Sheet, labels: frozenset[str]) -> dict[str, Receiver]:
    """The receivers by name. `labels` are those that people configured: addresses may be made of them."""
    reading = _Reading(sheet, labels)
    notifications = reading.mapping(_NOTIFICATIONS, NotificationSettings)
    if sheet.data.get("receivers") is None:
        if notifications is None:
            return {}
        return {DEFAULT_RECEIVER: Receiver(DEFAULT_RECEIVER, reading.integrations(_NOTIFICATIONS, notifications, {}))}
    defaults = reading.defaults(notifications or {})
    receivers: dict[str, Receiver] = {}
    for path, _ in sheet.items(("receivers",)):
        receiver = reading.receiver(path, defaults)
        if receiver is not None and receiver.name in receivers:
            sheet.error((*path, "name"), f"name: two receivers are called {shown(receiver.name)}")
        elif receiver is not None:
            receivers[receiver.name] = receiver
    return receivers


@dataclass(frozen=True, slots=True)
class _Reading:
    sheet: Sheet
    labels: frozenset[str]

    def mapping(self, path: DocumentPath, model: type[BaseModel]) -> dict[str, Any] | None:
        """What is written at the path where it is a mapping; its keys and their form checked."""
        found = self.sheet.at(path)
        if found is not None:
            self.sheet.read(model, path)
        return found if isinstance(found, dict) else None

    def receiver(self, path: DocumentPath, defaults: Mapping[str, Mapping[str, Any]]) -> Receiver | None:
        """One of `receivers`, with the integrations that are right; None where it has no name."""
        written = self.mapping(path, ReceiverSettings)
        if written is None or not isinstance(written.get("name"), str):
            return None
        return Receiver(written["name"], self.integrations(path, written, defaults))

    def defaults(self, notifications: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
        """The settings that receivers' integrations start from, checked as far as they go."""
        found: dict[str, Mapping[str, Any]] = {}
        for kind, model in INTEGRATIONS.items():
            settings = notifications.get(kind)
            if isinstance(settings, dict):
                found[kind] = settings
                self._check_partial((*_NOTIFICATIONS, kind), settings, model)
            elif settings is not None:
                text = "beside `receivers` it gives their defaults: one mapping"
                self.sheet.error((*_NOTIFICATIONS, kind), f"{kind}: {text}")
        return found

    def integrations(
        self, path: DocumentPath, written: Mapping[str, Any], defaults: Mapping[str, Mapping[str, Any]]
    ) -> tuple[Integration, ...]:
        """What a receiver is told through; the good ones of it."""
        found = []
        for kind in INTEGRATIONS:
            if kind in written:
                settings = list(self._settings(kind, (*path, kind), written[kind], defaults.get(kind, {})))
                numbered = ((f"{kind}[{index}]", one) for index, one in enumerate(settings))
                found += [Integration(kind, name, one, KINDS[kind].pushes) for name, one in numbered if one is not None]
        return tuple(found)

    def _settings(
        self, kind: str, path: DocumentPath, written: Any, defaults: Mapping[str, Any]
    ) -> Iterator[BaseModel | None]:
        """The settings of one kind, one or a list of them; None for each that is wrong."""
        several = isinstance(written, list)
        for index, item in enumerate(written if several else [written]):
            place = (*path, index) if several else path
            if not isinstance(item, dict | None):
                self.sheet.error(place, f"{kind}: must be a mapping or a list of them")
                yield None
                continue
            merged = {**defaults, **(item or {})}
            settings = self.sheet.read(INTEGRATIONS[kind], place, merged, (place, (*_NOTIFICATIONS, kind)))
            self._check_addresses(kind, place, merged)
            yield settings

    def _check_partial(self, path: DocumentPath, settings: Mapping[str, Any], model: type[BaseModel]) -> None:
        """Keys and values of defaults; what they lack, the receivers may have."""
        try:
            model.model_validate(settings)
        except ValidationError as error:
            self.sheet.complain(path, error, model, settings)

    def _check_addresses(self, kind: str, place: DocumentPath, settings: Mapping[str, Any]) -> None:
        """Where messages go: no text but what people configured, and nothing that could start another header."""
        for key, check in _ADDRESSES.get(kind, {}).items():
            value = settings.get(key)
            base = place if self.sheet.document.has((*place, key)) else (*_NOTIFICATIONS, kind)
            several = isinstance(value, list)
            for index, text in enumerate(value if isinstance(value, list) else [value]):
                path = (*base, key, index) if several else (*base, key)
                wrong = check(text, self.labels) if isinstance(text, str) else ""
                if wrong:
                    self.sheet.error(path, f"{key}: {wrong}")


# ------------------------------------------------------------------------------------------ addresses


def _wrong_channel(text: str, labels: frozenset[str]) -> str:
    if not text.strip() or not text.isprintable():
        return "must be a channel, such as #ci-alerts"
    return _wrong_template(text, labels)


def _wrong_recipient(text: str, labels: frozenset[str]) -> str:
    return _wrong_template(text, labels) or _refusal(check_mail_address, _TEMPLATED.sub("x", text))


def _wrong_url(text: str, _: frozenset[str]) -> str:
    return _refusal(check_url, text)


def _refusal(check: Callable[[str], object], text: str) -> str:
    try:
        check(text)
    except ValueError as error:
        return str(error)
    return ""


def _wrong_template(text: str, labels: frozenset[str]) -> str:
    """Why a template would not do as an address; "" where it would."""
    try:
        compile_template(text, names=("labels",), functions=())
    except TemplateError as error:
        return error.text
    tree = _SYNTAX.parse(text)
    uses = [_label_of(node) for node in tree.find_all((nodes.Getattr, nodes.Getitem))]
    if len(uses) != sum(name.name == "labels" for name in tree.find_all(nodes.Name)):
        return "labels are used one by one, as in {{ labels.team }}"
    unknown = next((name for name in uses if name not in labels), None)
    if unknown is None:
        return ""
    advice = did_you_mean(unknown, sorted(labels)) or "; it must not be text from a forge"
    return f"{shown(unknown)} is no label that somebody configured{advice}"


def _label_of(node: nodes.Node) -> str:
    if isinstance(node, nodes.Getattr):
        return node.attr
    inner = node.arg if isinstance(node, nodes.Getitem) else None
    return str(inner.value) if isinstance(inner, nodes.Const) else ""


_TEMPLATED = re.compile(r"\{\{.*?\}\}|\{%.*?%\}")
_ADDRESSES: Mapping[str, Mapping[str, Callable[[str, frozenset[str]], str]]] = {
    "slack": {"channel": _wrong_channel, "webhook_url": _wrong_url, "api_url": _wrong_url},
    "email": {"to_addresses": _wrong_recipient},
    "webhook": {"url": _wrong_url},
    "alertmanager": {"url": _wrong_url},
}
