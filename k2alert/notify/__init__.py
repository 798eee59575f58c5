"""Tells people: routes, what is due, what is said, and one module for each integration.

A new integration is a module with the parts of `IntegrationKind` in the order Settings, build, read, send, its
test, and a line in `INTEGRATIONS`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from pydantic import BaseModel

from k2alert.model import Delivery
from k2alert.notify import alertmanager, email, slack, webhook
from k2alert.notify.message import Message
from k2alert.notify.pace import Wire
from k2alert.notify.posting import no_addresses
from k2alert.notify.text import clean

__all__ = ["INTEGRATIONS", "IntegrationKind", "Send"]


class Send(Protocol):
    """Delivers one message to the addresses of one integration, and never raises for what may go wrong there."""

    async def __call__(
        self,
        settings: Any,
        message: Message,
        *,
        wire: Wire,
        render: Callable[[str], str],
    ) -> Delivery:
        """`render` fills in addresses that are templates."""
        ...


Files = Callable[[Any, Message, Callable[[str], str]], Mapping[str, bytes]]
"""Settings, a message and what fills in addresses come in; contents by file name's ending go out."""


@dataclass(frozen=True, slots=True)
class IntegrationKind:
    """A kind of integration: one line of the table `INTEGRATIONS`.

    Settings have `send_resolved` and `edits` (`plan.Told`). `escape` makes text of others safe in the rule's
    message; `escape_html` does so in its HTML form, for integrations that show one. `addresses` says where a
    message would go, with its templates rendered. `files` makes files of a message, for people to open, by the
    ending of their names. `shows` bounds the alerts that a message shows whole; None: what
    people can read (`message.shown`). `pushes`: it is no teller of incidents, but sent all present alerts again and
    again; `send` gets them as the items of one message. `charts`: it shows a chart of the values that led here.
    """

    settings: type[BaseModel]
    escape: Callable[[str], str]
    addresses: Callable[[Any, Callable[[str], str]], tuple[str, ...]]
    send: Send
    files: Files
    escape_html: Callable[[str], str] | None = None
    shows: int | None = None
    pushes: bool = False
    charts: bool = False


INTEGRATIONS: Mapping[str, IntegrationKind] = {
    "slack": IntegrationKind(slack.Settings, slack.escape, slack.addresses, slack.send, slack.files),
    "email": IntegrationKind(
        email.Settings, email.escape, email.addresses, email.send, email.files, email.escape_html, charts=True
    ),
    "webhook": IntegrationKind(webhook.Settings, clean, no_addresses, webhook.send, webhook.files, shows=webhook.SHOWS),
    "alertmanager": IntegrationKind(
        alertmanager.Settings,
        clean,
        no_addresses,
        alertmanager.send,
        alertmanager.files,
        shows=alertmanager.SHOWS,
        pushes=True,
    ),
}
