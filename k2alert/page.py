"""What the status page asks beyond the round's picture, answered from the scene and the store."""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta

from k2alert.collect.collector import SourceStats
from k2alert.curves import curve_of, usual_span
from k2alert.cycle import Scene
from k2alert.expose.view import PageView, Unavailable
from k2alert.labels import Labels
from k2alert.measure.catalogue import METRICS
from k2alert.model import Curve, Finding, Project, SourceStatus, Telling, TellingQuery, Transition
from k2alert.record.store import Reader, StoreError
from k2alert.stale import state_of
from k2alert.telling import value_text

__all__ = ["Answers", "requests_by_code"]

_MOST_EDGES = 10_000
_MOST_CURVES = 1000


class Answers:
    """The page's questions answered. Curves are kept until something new has been judged."""

    def __init__(
        self,
        *,
        scene: Callable[[], Scene],
        judged_at: Callable[[], datetime | None],
        store: Reader,
        stats: Callable[[], Mapping[str, SourceStats]],
        now: Callable[[], datetime],
    ) -> None:
        self._scene = scene
        self._judged_at = judged_at
        self._store = store
        self._stats = stats
        self._now = now
        self._curves: dict[object, Curve | None] = {}
        self._curves_of: datetime | None = None
        self._edges: dict[str, Mapping[Labels, Sequence[Transition]]] = {}

    def view(self) -> PageView:
        """The answers as the page asks for them."""
        return PageView(
            value_text=lambda metric, value: value_text(value, METRICS.get(metric)),
            sources=self._sources,
            curve=self._curve,
            sent=self._sent,
        )

    def _sources(self) -> Sequence[SourceStatus]:
        scene, now, stats = self._scene(), self._now(), self._stats()
        projects: dict[str, list[Project]] = {}
        for project in scene.projects:
            projects.setdefault(project.source, []).append(project)
        found = []
        for source in scene.config.sources:
            known = stats.get(source.name)
            found.append(
                SourceStatus(
                    name=source.name,
                    type=source.type,
                    url=source.url,
                    projects=tuple(
                        (project, state_of(project, source, scene.started_at, now=now))
                        for project in projects.get(source.name, ())
                    ),
                    requests=requests_by_code(known) if known is not None else {},
                    remaining=known.asked.rate_limit_remaining if known is not None else None,
                    success_at=known.last_success if known is not None else None,
                )
            )
        return found

    async def _curve(self, finding: Finding, span: timedelta | None) -> Curve | None:
        at = self._judged_at()
        if at != self._curves_of or len(self._curves) >= _MOST_CURVES:
            self._curves, self._curves_of, self._edges = {}, at, {}
        asked = (finding.rule.name, finding.identity, span)
        if asked not in self._curves:
            self._curves[asked] = await self._measured(finding, span or usual_span(finding.rule))
        return self._curves[asked]

    async def _measured(self, finding: Finding, span: timedelta) -> Curve | None:
        await asyncio.sleep(0)  # a page may ask for a dozen: others go on in between
        edges = await self._edges_of(finding.rule.name)
        return curve_of(
            self._scene(), finding, edges.get(finding.identity, ()), span=span, now=self._judged_at() or self._now()
        )

    async def _edges_of(self, rule: str) -> Mapping[Labels, Sequence[Transition]]:
        """The last edges of a rule's alerts, by label set."""
        if rule not in self._edges:
            try:
                edges = await self._store.transitions(rule, _MOST_EDGES)
            except StoreError as error:
                raise Unavailable(f"the store is down: {error}") from error
            of: dict[Labels, list[Transition]] = {}
            for edge in edges:
                of.setdefault(edge.identity, []).append(edge)
            self._edges[rule] = of
        return self._edges[rule]

    async def _sent(self, query: TellingQuery) -> Sequence[Telling]:
        try:
            return await self._store.tellings(query)
        except StoreError as error:
            raise Unavailable(f"the store is down: {error}") from error


def requests_by_code(stats: SourceStats) -> Mapping[str, int]:
    """Requests by code alone, whatever was asked for."""
    found: Counter[str] = Counter()
    for (_, code), number in stats.asked.requests.items():
        found[code] += number
    return found
