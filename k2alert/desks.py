"""The desks: how messages leave, beside the rounds. One desk for each integration, its messages one after the other.

What is due comes in, decided by `notify.plan` from the alerts and the notification log, both stored; messages go
out, and the log after them. So alerts and log are the outbox: nothing else need survive a restart.

1. What is due is planned for one integration after the other, with pauses in which the messages of others go. A desk
   that is free takes what is due for it; one that is busy is passed over, and looked at again.
2. Message by message: it is composed, its log entries are stored as tried, it is delivered, its outcome is stored.
3. After a new round what is left is not said any more: what is due is planned anew, from the present state.

A receiver that hangs or fails holds up neither a round nor another receiver.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta

from k2alert.collect.http import Time
from k2alert.expose.selfmetrics import SelfMetrics
from k2alert.loops import beside
from k2alert.model import LogEntry, Refused, Retry, Sent, Telling
from k2alert.notify.delivery import Delivered, composed, deliver, shuts
from k2alert.notify.dues import Due
from k2alert.notify.history import telling_of
from k2alert.notify.message import Message
from k2alert.notify.outcome import record_outcome, record_try
from k2alert.notify.pace import Wire
from k2alert.notify.unreached import Who, mended, set_anew
from k2alert.record.store import Store, StoreError

__all__ = ["Desks", "PlanRow"]

_LOG = logging.getLogger(__name__)

Key = tuple[str, str, str]  # of a log entry

PlanRow = Callable[[], Awaitable[Sequence[Due]]]
"""Plans what is due to one integration. Nothing else may write its part of the log meanwhile."""

STOPPING = timedelta(seconds=10)
"""How long a stop waits for what is in flight; what takes longer is said again at the next start."""


MOST_UNTOLD = 10_000
"""So many rows of the history wait for a store that is down; what is older is left out."""


class Desks:
    """Delivers what is due, and keeps the notification log: in memory as the store has it.

    `plan` looks at the alerts, and gives for each integration what plans its row: what is due, by the log as it is when
    that is called. `compose` makes a message of it, from the present state.
    """

    def __init__(
        self,
        *,
        store: Store,
        wire: Wire,
        self_metrics: SelfMetrics,
        time: Time,
        plan: Callable[[], Awaitable[Mapping[Who, PlanRow]]],
        compose: Callable[[Due], Awaitable[Message]],
    ) -> None:
        self._store = store
        self._wire = wire
        self._self_metrics = self_metrics
        self._time = time
        self._plan = plan
        self._compose = compose
        self._log: dict[Key, LogEntry] = {}
        self._unsaved: dict[Key, LogEntry] = {}  # told, but the store was down
        self._untold: list[Telling] = []
        self._busy: dict[Who, asyncio.Task[None]] = {}
        self._passed_over: set[Who] = set()  # busy when it was planned what they hear
        self._queued: Counter[Who] = Counter()
        self._shut: dict[Who, float] = {}  # left alone until then, on the monotonic clock
        self._round = 0
        self._look_again = False
        self._planned_at: datetime | None = None
        self._failure: StoreError | None = None
        self._closing = False

    # --------------------------------------------------------------------------------------- the log

    async def load(self) -> None:
        """Takes up the notification log where the store has it."""
        self._log = {entry.key: entry for entry in await self._store.log()}

    @property
    def log(self) -> tuple[LogEntry, ...]:
        """The notification log; of a message in flight, as tried."""
        return tuple(self._log.values())

    async def keep(self, entries: Sequence[LogEntry], tellings: Sequence[Telling] = ()) -> None:
        """Writes entries, and what was tried.

        What was told is remembered even where it can't be written, so that it is not said again.
        """
        changed = {entry.key: entry for entry in entries}
        self._log |= changed
        self._unsaved |= changed
        self._untold += tellings
        await self.save()

    async def move(self, entries: Iterable[LogEntry], seen: Iterable[LogEntry]) -> None:
        """Writes entries that follow from what was `seen` in the log, where that has not changed since."""
        before = {entry.key: entry for entry in seen}
        await self.keep([entry for entry in entries if self._log.get(entry.key) is before.get(entry.key)])

    async def save(self) -> None:
        """Writes what could not be written before."""
        waiting, tellings = dict(self._unsaved), self._untold
        if waiting or tellings:
            self._untold = []
            try:
                await self._store.save_log(tuple(waiting.values()), tellings=tellings)
            except StoreError:
                self._untold = [*tellings, *self._untold][-MOST_UNTOLD:]
                raise
        for key, entry in waiting.items():
            if self._unsaved.get(key) is entry:
                del self._unsaved[key]

    async def drop(self, entries: Iterable[LogEntry]) -> None:
        """Forgets entries that decide nothing any more; the store keeps them as history."""
        keys = [entry.key for entry in entries]
        if keys:
            await self._store.drop_log(keys)
        for key in keys:
            self._log.pop(key, None)

    # --------------------------------------------------------------------------------------- when

    def begin_round(self) -> None:
        """The alerts or the configuration have changed: what was planned before is not said any more."""
        self._round += 1

    async def look(self) -> None:
        """Plans and begins anew where a desk has become free, or a failed message may be tried again.

        Raises the `StoreError` that a desk met since the last look, and what it died of.
        """
        self._raise_failures()
        await self.save()
        self._reopen()
        now = self._time.now()
        if self._look_again or any(self._is_waiting(entry, now) for entry in self._log.values()):
            await self.begin()

    def _reopen(self) -> None:
        """Ends the waits that are over."""
        for who, until in list(self._shut.items()):
            if until <= self._time.monotonic():
                del self._shut[who]
                self._look_again = True

    def _is_waiting(self, entry: LogEntry, now: datetime) -> bool:
        """Whether its time to be tried again has come since it was last planned for."""
        at = entry.retry_at
        return not entry.closed and at is not None and (self._planned_at is None or self._planned_at < at) and at <= now

    async def begin(self, only: Callable[[Due], bool] = lambda due: True) -> None:
        """Plans, and begins to deliver as it goes, where nobody is busy; gives up where a new round begins meanwhile.

        One at a time: whoever calls this, or keeps and drops entries that a desk did not ask for, waits for the others.
        """
        in_round = self._round
        self._reopen()
        self._planned_at, self._look_again = self._time.now(), False
        rows = await self._plan()
        for who, plan_row in rows.items():
            was_busy = who in self._busy
            row = [due for due in await plan_row() if only(due)]
            if self._round != in_round:
                self._look_again = True
                return
            self._begin_row(who, row, was_busy)
        for who in self._queued.keys() - rows.keys() - self._busy.keys():
            del self._queued[who]
        self._show_queue()

    def _begin_row(self, who: Who, row: Sequence[Due], was_busy: bool) -> None:
        self._queued[who] = len(row)
        self._show_queue()
        if who in self._busy:
            self._passed_over.add(who)
        elif was_busy:  # what it had in flight was planned again, and has arrived since
            self._look_again = True
        elif row and not self._closing and who not in self._shut:
            name = f"tell {who[0]} by {who[1]}"
            self._busy[who] = asyncio.create_task(self._work(who, row, self._round), name=name)

    def _raise_failures(self) -> None:
        for who, task in list(self._busy.items()):
            if task.done():
                del self._busy[who]
                task.result()
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    async def settle(self, patience: timedelta) -> None:
        """Waits until nothing is in flight, or no longer than that; raises as `look` does."""
        tasks = list(self._busy.values())
        if tasks:
            await asyncio.wait(tasks, timeout=patience.total_seconds())
        self._raise_failures()

    async def close(self, patience: timedelta = STOPPING) -> None:
        """Begins nothing more, waits a little for what is in flight, and breaks the rest off: it stays as tried."""
        self._closing = True
        with suppress(StoreError):
            await self.settle(patience)
        await self.break_off()
        with suppress(StoreError):
            await self.save()

    async def break_off(self) -> None:
        """Begins nothing more, and breaks off what is in flight at once: it stays as tried."""
        self._closing = True
        tasks = list(self._busy.values())
        self._busy.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def queue(self) -> dict[Who, int]:
        """How many messages wait at each desk, the one in flight among them."""
        return {who: number for who, number in self._queued.items() if number > 0}

    def _show_queue(self) -> None:
        counts: Counter[tuple[str, str]] = Counter()
        for (receiver, integration), number in self.queue().items():
            counts[receiver, integration.partition("[")[0]] += number
        self._self_metrics.set_queued(counts)

    # --------------------------------------------------------------------------------------- one desk

    async def _work(self, who: Who, row: Sequence[Due], in_round: int) -> None:
        """Delivers a row of messages; lets it be where a new round has begun, or the integration wants to be left."""
        try:
            for due in row:
                if self._closing or self._round != in_round or who in self._shut:
                    break
                await self._tell(who, due)
                self._queued[who] -= 1
                self._show_queue()
        except StoreError as error:
            self._failure = error
        left = who in self._passed_over or self._round != in_round or self._failure is not None
        self._look_again = self._look_again or left
        self._passed_over.discard(who)
        self._busy.pop(who, None)

    async def _tell(self, who: Who, due: Due) -> None:
        message = await self._prepare(due)
        tried = await deliver(due, message, wire=self._wire, monotonic=self._time.monotonic)
        now, delivery = self._time.now(), tried.delivery
        chance = self._time.random()
        after = await beside(len(due.parts), lambda: record_outcome(due, delivery, now=now, chance=chance))
        if shuts(delivery):
            wait = max(((entry.retry_at or now) - now for entry in after), default=timedelta(0))
            self._shut[who] = self._time.monotonic() + wait.total_seconds()
        gave_up = any(entry.gave_up for entry in after)
        if isinstance(delivery, Sent) and not delivery.error:
            after = (*after, *self._mended(who, after, now))
        told = telling_of(due, delivery, gave_up=gave_up, took=tried.took, now=now)
        try:
            await self.keep(after, [told])
        finally:
            self._note(tried)  # who sees it counted finds it in the log

    async def set_anew(self, whom: Collection[Who]) -> frozenset[Who]:
        """Has those who have other settings told at once what they did not take before; returns those who were free.

        What the others have in flight goes to where they were before.
        """
        free = frozenset(whom) - self._busy.keys()
        for who in free:
            self._shut.pop(who, None)
            await self.keep(set_anew(self.log, who, now=self._time.now()))
        return free

    def _mended(self, who: Who, told: Sequence[LogEntry], now: datetime) -> tuple[LogEntry, ...]:
        """What it refused before it took this: to be said again."""
        keys = {entry.key for entry in told}
        found = mended([entry for entry in self._log.values() if entry.key not in keys], who, now=now)
        self._look_again = self._look_again or bool(found)
        return found

    async def _prepare(self, due: Due) -> Message | Retry:
        """Its words, once it is stored that it is tried; where that can't be stored it doesn't go. See `composed`.

        In memory it is tried from the start: an alert that ends while the words are looked for must not be forgotten as
        one of which nobody has heard, or its end would be told of what nobody knows any more.
        """
        now = self._time.now()
        entries = await beside(len(due.parts), lambda: record_try(due, now=now))
        tried = {entry.key: entry for entry in entries}
        before = {key: self._log.get(key) for key in tried}
        self._log |= tried
        try:
            message = await composed(due, self._compose, down=StoreError)
            if isinstance(message, Message):
                await self._store.save_log(entries)
        except StoreError:
            self._restore(before, tried)
            raise
        if isinstance(message, Retry):
            self._restore(before, tried)
        return message

    def _restore(self, before: Mapping[Key, LogEntry | None], tried: Mapping[Key, LogEntry]) -> None:
        """Has the log say what it said before, but for what has moved on since."""
        for key, entry in before.items():
            if self._log.get(key) is not tried[key]:
                continue
            if entry is not None:
                self._log[key] = entry
            else:
                del self._log[key]

    def _note(self, tried: Delivered) -> None:
        due, delivery = tried.due, tried.delivery
        reason = delivery.reason if isinstance(delivery, Retry | Refused) else None
        self._self_metrics.notified(due.receiver, due.integration.kind, took=tried.took, reason=reason)
        _log_delivery(tried)


def _log_delivery(tried: Delivered) -> None:
    due, message, delivery = tried.due, tried.message, tried.delivery
    about = {"receiver": due.receiver, "integration": due.integration.name, "kind": due.kind.value}
    if isinstance(delivery, Retry | Refused):
        again = "will be tried again" if isinstance(delivery, Retry) else "given up"
        _LOG.warning("a notification failed and %s: %s", again, delivery.error, extra=about)
    elif message is not None:
        _LOG.info("told of %d alerts", message.total, extra=about)
