"""One message out of the door: what is due and its words come in, how the delivery went goes out.

What may go wrong is a value (`Retry`, `Refused`), and no address or secret is in it.
"""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta

from k2alert.loops import beside
from k2alert.model import Alert, Delivery, Retry
from k2alert.notify import INTEGRATIONS
from k2alert.notify.address import render_address
from k2alert.notify.dues import Due
from k2alert.notify.message import Message
from k2alert.notify.pace import Wire

__all__ = ["Delivered", "composed", "deliver", "due_alerts", "shuts"]

_LOG = logging.getLogger(__name__)

_SHUTTING = frozenset({"rateLimited", "contextDeadlineExceeded"})


@dataclass(frozen=True, slots=True)
class Delivered:
    """One message that was tried; None where a bug was met in composing it."""

    due: Due
    message: Message | None
    delivery: Delivery
    took: timedelta


async def composed(due: Due, compose: Callable[[Due], Awaitable[Message]], *, down: type[Exception]) -> Message | Retry:
    """A message, or when a bug was met, that it is to be tried again. Raises `down` where `compose` does."""
    try:
        return await compose(due)
    except down:
        raise
    except Exception as error:
        return _bug_met(due, error)


async def deliver(
    due: Due,
    message: Message | Retry,
    *,
    wire: Wire,
    monotonic: Callable[[], float],
) -> Delivered:
    """Delivers a message, where it could be composed."""
    if isinstance(message, Retry):
        return Delivered(due, None, message, timedelta(0))
    kind = INTEGRATIONS[due.integration.kind]
    began = monotonic()
    delivery: Delivery
    try:
        render = await beside(message.total, lambda: render_address(due_alerts(due)))
        delivery = wire.refusal() or await kind.send(due.integration.settings, message, wire=wire, render=render)
    except Exception as error:
        delivery = _bug_met(due, error)
    return Delivered(due, message, delivery, timedelta(seconds=monotonic() - began))


def _bug_met(due: Due, error: Exception) -> Retry:
    """It is logged, and the message tried again: it must not silence the others."""
    about = {"receiver": due.receiver, "integration": due.integration.name}
    _LOG.error("telling met a bug", exc_info=error, extra=about)
    return Retry(f"bug: {type(error).__name__}")


def shuts(delivery: Delivery) -> bool:
    """Whether the whole integration is left alone for a while: nobody answered, or it asked to wait, all of it."""
    if not isinstance(delivery, Retry) or delivery.handle or delivery.local:
        return False
    return delivery.reason in _SHUTTING


def due_alerts(due: Due) -> tuple[Alert, ...]:
    """All alerts that a Due is about."""
    return tuple(alert for part in due.parts for alert in part.alerts)
