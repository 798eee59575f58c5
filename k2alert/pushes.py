"""Pushes: the present alerts to every integration that holds them only for as long as it is told again.

Each integration is pushed to by itself, when alerts change and once a minute; one that fails is asked again soon.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta

from k2alert.collect.http import Time
from k2alert.expose.selfmetrics import SelfMetrics
from k2alert.model import Refused, Retry
from k2alert.notify.delivery import composed, deliver
from k2alert.notify.dues import Due
from k2alert.notify.message import Message
from k2alert.notify.pace import Wire
from k2alert.notify.push import PUSH_EVERY, PushState
from k2alert.record.store import StoreError

__all__ = ["Pushes"]

_LOG = logging.getLogger(__name__)

AGAIN = timedelta(seconds=10)
"""How soon an integration that failed is pushed to again."""

Who = tuple[str, str]  # receiver, integration


class Pushes:
    """Pushes what `plan` says, made into messages by `compose`."""

    def __init__(
        self,
        *,
        wire: Wire,
        self_metrics: SelfMetrics,
        time: Time,
        plan: Callable[[], Sequence[Due]],
        compose: Callable[[Due], Awaitable[Message]],
    ) -> None:
        self._wire = wire
        self._self_metrics = self_metrics
        self._time = time
        self._plan = plan
        self._compose = compose
        self._busy: dict[Who, asyncio.Task[None]] = {}
        self._next: dict[Who, float] = {}  # when to push again at the latest, on the monotonic clock
        self._states: dict[Who, PushState] = {}
        self._looked = False
        self._unplanned = True  # what is to be pushed may be something else than when it was last planned

    def state(self, who: Who) -> PushState | None:
        """How pushes to an integration go; None where none has been answered yet."""
        if who not in self._states and (who in self._busy or not self._looked):
            return None
        return self._states.get(who, PushState())

    def changed(self) -> None:
        """Alerts began or ended: everyone who does not just fail is pushed to at once."""
        self._unplanned = True
        self._next = {who: at for who, at in self._next.items() if self._is_failing(who)}

    def plan_anew(self) -> None:
        """Somebody else may be pushed to now: alerts were judged, or the configuration is another."""
        self._unplanned = True

    def look(self) -> None:
        """Pushes where it is time, without waiting for it. Raises what a push died of.

        Costs nothing where it is nobody's time, however many alerts there are.
        """
        for who, task in list(self._busy.items()):
            if task.done():
                del self._busy[who]
                task.result()
        now = self._time.monotonic()
        if self._unplanned or any(at <= now and who not in self._busy for who, at in self._next.items()):
            self._begin(self._plan(), now)

    def _begin(self, planned: Sequence[Due], now: float) -> None:
        self._looked, self._unplanned = True, False
        here = {(due.receiver, due.integration.name) for due in planned}
        # Where there is nothing to push, nothing fails, and it is nobody's time.
        self._states = {who: state for who, state in self._states.items() if who in here}
        self._next = {who: at for who, at in self._next.items() if who in here}
        for due in planned:
            who = (due.receiver, due.integration.name)
            if self._next.get(who, now) > now:
                continue
            if who in self._busy:
                self._unplanned |= who not in self._next  # alerts have changed since that push began
                continue
            self._next[who] = now + PUSH_EVERY.total_seconds()
            self._busy[who] = asyncio.create_task(self._push(who, due), name=f"push to {who[0]} by {who[1]}")

    async def close(self) -> None:
        """Breaks off what is under way: the next process pushes it all anew."""
        tasks = list(self._busy.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _push(self, who: Who, due: Due) -> None:
        message = await composed(due, self._compose, down=StoreError)
        tried = await deliver(due, message, wire=self._wire, monotonic=self._time.monotonic)
        failed = tried.delivery if isinstance(tried.delivery, Retry | Refused) else None
        reason = failed.reason if failed is not None else None
        self._self_metrics.notified(due.receiver, due.integration.kind, took=tried.took, reason=reason)
        self._note(who, failed.error if failed is not None else "")
        if failed is not None:
            self._next[who] = self._time.monotonic() + AGAIN.total_seconds()

    def _note(self, who: Who, error: str) -> None:
        """Logs only what is new: pushes go on for ever."""
        about = {"receiver": who[0], "integration": who[1]}
        before = self._states.get(who, PushState())
        if error and before.error != error:
            _LOG.warning("a push failed and will be tried again: %s", error, extra=about)
        elif not error and before.error:
            _LOG.info("pushes work again", extra=about)
        since = before.failing_since or self._time.now()
        self._states[who] = PushState(since, error) if error else PushState()

    def _is_failing(self, who: Who) -> bool:
        return self._states.get(who, PushState()).failing_since is not None
