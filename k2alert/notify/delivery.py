"""Messages out of the door: what is due comes in, how each delivery went goes out.

Messages of one integration go one after the other, integrations side by side, so that one that hangs holds up
nobody else. What may go wrong is a value (`Retry`, `Refused`), and no address or secret is in it.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, replace
from datetime import timedelta

import aiohttp

from k2alert.model import Alert, Delivery, Retry
from k2alert.notify import INTEGRATIONS
from k2alert.notify.address import render_address
from k2alert.notify.message import Message
from k2alert.notify.plan import Due

__all__ = ["Delivered", "deliver_all", "due_alerts"]

_LOG = logging.getLogger(__name__)

WITHIN = timedelta(seconds=10)
"""How long one call of a receiver may take: a round waits for it."""

_SHUTTING = frozenset({"rateLimited", "contextDeadlineExceeded"})


@dataclass(frozen=True, slots=True)
class Delivered:
    """One message that was tried."""

    due: Due
    message: Message
    delivery: Delivery
    took: timedelta


async def deliver_all(
    messages: Iterable[tuple[Due, Message]],
    *,
    session: aiohttp.ClientSession,
    monotonic: Callable[[], float],
    before: Callable[[Due], Awaitable[None]],
    log: Callable[[Delivered], Awaitable[None]],
    within: timedelta = WITHIN,
) -> None:
    """Delivers the messages; awaits `before` ahead of each, and `log` after it, ahead of the next to that integration.

    A receiver that does not answer, or asks to be left alone for a while, is asked nothing more this time. What either
    callable raises ends that integration's row; the others go on to their end, then the first is raised.
    """
    desks: dict[tuple[str, str], list[tuple[Due, Message]]] = {}
    for due, message in messages:
        desks.setdefault((due.receiver, due.integration.name), []).append((due, message))

    async def work(queue: list[tuple[Due, Message]]) -> None:
        shut: Retry | None = None
        for due, message in queue:
            began = monotonic()
            if shut is None:
                await before(due)
            delivery = await _deliver(due, message, session, within) if shut is None else shut
            await log(Delivered(due, message, delivery, timedelta(seconds=monotonic() - began)))
            shut = shut or _shut(delivery)

    rows = [
        asyncio.create_task(work(queue), name=f"tell {receiver} by {integration}")
        for (receiver, integration), queue in desks.items()
    ]
    # Not a TaskGroup: with one row it would break off the messages of all others.
    for end in await asyncio.gather(*rows, return_exceptions=True):
        if isinstance(end, BaseException):
            raise end


def _shut(delivery: Delivery) -> Retry | None:
    """What the rest of a row is put off with: one that nobody answered, or that asked to wait, is not asked again."""
    if isinstance(delivery, Retry) and not delivery.handle and delivery.reason in _SHUTTING:
        return replace(delivery, error=f"put off with the message before: {delivery.error}")
    return None


async def _deliver(due: Due, message: Message, session: aiohttp.ClientSession, within: timedelta) -> Delivery:
    kind = INTEGRATIONS[due.integration.kind]
    try:
        return await kind.send(
            due.integration.settings,
            message,
            session=session,
            render=render_address(due_alerts(due)),
            within=within,
        )
    except Exception as error:  # a bug met in telling one must not silence the others: it is logged, and tried again
        _LOG.exception("telling met a bug", extra={"receiver": due.receiver, "integration": due.integration.name})
        return Retry(f"bug: {type(error).__name__}")


def due_alerts(due: Due) -> tuple[Alert, ...]:
    """All alerts that a Due is about."""
    return tuple(alert for part in due.parts for alert in part.alerts)
