"""What HTTP shows of the rounds: alerts with each of them, and the gauges of all projects when there is time.

A round shows its alerts at once. Its gauges are drawn beside the rounds, by one at a time; they rest for a while where
they took long, and stop while a round is going on, for somebody may wait for a message.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from functools import partial
from math import inf

from k2alert.alert.lifecycle import AlertId
from k2alert.collect.http import Time
from k2alert.cycle import Plan, Scene
from k2alert.expose.selfmetrics import SelfMetrics
from k2alert.expose.view import Snapshot
from k2alert.loops import Breaks
from k2alert.measure.board import Board
from k2alert.model import Alert
from k2alert.recall import settle_more
from k2alert.record.store import Reader, StoreError
from k2alert.showing import draw_alerts, draw_gauges

__all__ = ["Pictures"]

_SHARE = 10  # gauges rest for so many times as long as they took, but no longer than from one round to the next

_FEW = 50  # projects whose gauges are drawn within a round, in some 15 ms
_QUICK = 0.25  # seconds: not where that took longer, as after a start with many benchmarks


class Pictures:
    """The newest picture, and what of it is still to be drawn.

    `snapshot` is None until a round has shown something. `undrawn` is set when gauges can be drawn; `drawings` counts
    how often they have been.
    """

    def __init__(self, *, store: Reader, self_metrics: SelfMetrics, time: Time) -> None:
        self._store = store
        self._self_metrics = self_metrics
        self._time = time
        self._breaks = Breaks(monotonic=time.monotonic, sleep=time.sleep)
        self._between_rounds = asyncio.Event()
        self._between_rounds.set()
        self._left: tuple[Snapshot, Scene] | None = None  # shown, and its gauges not drawn yet
        self._drawing = False
        self._drawn_in = 0.0  # seconds
        self._draw_from = -inf  # on the monotonic clock
        self.snapshot: Snapshot | None = None
        self.undrawn = asyncio.Event()
        self.drawings = 0

    @contextmanager
    def during_a_round(self) -> Iterator[None]:
        """Whoever draws gauges stops meanwhile."""
        self._between_rounds.clear()
        try:
            yield
        finally:
            self._between_rounds.set()

    async def show(self, scene: Scene, made: Plan, alerts: Mapping[AlertId, Alert], took: timedelta) -> None:
        """Shows a round's alerts, with the gauges that were drawn last; its own are left to be drawn."""
        picture = await draw_alerts(scene, made.findings, alerts, self._store, now=made.now, took=took)
        before = self.snapshot or picture  # its gauges may have been drawn while we drew the alerts
        self.snapshot = replace(picture, series=before.series, series_openmetrics=before.series_openmetrics)
        self._left = self.snapshot, scene
        self._self_metrics.shown(now=picture.now)

    def is_quick(self, scene: Scene) -> bool:
        """Whether gauges are drawn so soon that whoever waits for the round may wait for them, too."""
        return len(scene.projects) <= _FEW and self._drawn_in <= _QUICK

    async def draw_soon(self, board: Board, patience: timedelta) -> None:
        """Draws gauges beside the rounds, where some are left and drawing them did not take long just now.

        Rounds come first, for no longer than `patience`: they may leave each other no rest.
        """
        now = self._time.monotonic()
        if now >= self._draw_from:
            await self._draw(board, partial(self._let_rounds_pass, until=now + patience.total_seconds()))

    async def draw(self, board: Board) -> None:
        """Draws the gauges of what was shown last, within a round."""
        await self._draw(board, self._breaks.pause)

    async def _draw(self, board: Board, pause: Callable[[], Awaitable[None]]) -> None:
        if self._left is None or self._drawing:  # who is at it would take back what is drawn meanwhile
            return
        (shown, scene), self._left, self._drawing = self._left, None, True
        began = self._time.monotonic()
        try:
            await settle_more(board, pause)
            drawn = await draw_gauges(shown, scene, self._store, pause=pause)
        except StoreError:
            self._left = self._left or (shown, scene)  # the next round may be an hour away
            raise
        finally:
            self._drawing = False
        newest = self.snapshot or shown  # whose alerts may be those of a later round by now
        self.snapshot = replace(newest, series=drawn.text, series_openmetrics=drawn.openmetrics)
        self._self_metrics.drawn(now=shown.now, dropped=drawn.dropped)
        self.drawings += 1
        self._drawn_in = self._time.monotonic() - began
        rest = min(_SHARE * self._drawn_in, scene.config.evaluation_interval.total_seconds())
        self._draw_from = self._time.monotonic() + rest

    async def _let_rounds_pass(self, until: float) -> None:
        await self._breaks.pause()
        if self._time.monotonic() < until:
            await self._between_rounds.wait()
