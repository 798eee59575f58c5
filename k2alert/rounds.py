"""The round: everything a running daemon does each `evaluation_interval`, and what it remembers in between.

1. now = clock(); 2. plan; 3. store the alerts (decided before anyone is told); 4. show the alerts by HTTP; 5. let the
desks deliver what is due (desks.py), and wait for nobody. The first round of a process begins with what was in flight
when the last one died. The gauges are drawn beside the rounds (`draw`), for that takes long where projects are many;
those of a few are there once the round is over.

With the store down nothing is sent; the next round begins where this one could not go on.
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial

import aiohttp

from k2alert.alert.lifecycle import AlertId, described, forget
from k2alert.collect.http import Time
from k2alert.composing import composed_of
from k2alert.config.model import Config
from k2alert.cycle import Plan, Scene, concerning, due_to, planning, planning_whom
from k2alert.desks import Desks, PlanRow
from k2alert.expose.selfmetrics import SelfMetrics
from k2alert.expose.view import Snapshot
from k2alert.kept import Kept
from k2alert.loops import Work, unhurried
from k2alert.memory import Setting
from k2alert.model import (
    FAILING_ALERT,
    Alert,
    AlertState,
    Finding,
    Metric,
    Project,
    Rule,
    Transition,
)
from k2alert.notify.digest import awaited_by_digests, open_digests
from k2alert.notify.dues import Due
from k2alert.notify.hush import hushes
from k2alert.notify.message import Message
from k2alert.notify.outcome import finished, in_flight, settling
from k2alert.notify.outlook import Outlook
from k2alert.notify.pace import Pace, Wire
from k2alert.notify.push import PushState, pushes, remembered
from k2alert.notify.route import integrations_of
from k2alert.notify.unreached import Who, able, changed_settings, forsaken, last_words
from k2alert.pictures import Pictures
from k2alert.pushes import Pushes
from k2alert.recall import settle
from k2alert.record.store import NotLeader, Store, StoreError
from k2alert.showing import count
from k2alert.silences import Silences
from k2alert.stale import by_our_clock
from k2alert.universe import Universe, make_universe, making_universe

__all__ = ["Rounds", "Setting"]

_LOG = logging.getLogger(__name__)

_CLOCK_SET_BACK = timedelta(minutes=5)  # by more than this the clock was wrong before, and is right now

_RESUMING = timedelta(seconds=10)  # the first round waits so long for those who may not have heard

_KEEP_CLOSED = timedelta(hours=1)  # longer than a storm is counted over; the history stays in the store


@dataclass(slots=True)
class _Memory:
    """What rounds remember, as the store has it."""

    alerts: dict[AlertId, Alert] = field(default_factory=dict)
    ended: dict[str, Alert] = field(default_factory=dict)  # lately, for those who are pushed to
    broken: set[str] = field(default_factory=set)  # rules whose failure has been logged


@dataclass(frozen=True, slots=True, kw_only=True)
class _Picture:
    """What messages are made from: the last round, the present one included."""

    scene: Scene
    rules: Mapping[str, Rule]


class Rounds:
    """Evaluates and tells, round after round."""

    def __init__(
        self,
        setting: Setting,
        *,
        metrics: Mapping[str, Metric],
        store: Store,
        projects: Callable[[], Sequence[Project]],
        session: aiohttp.ClientSession,
        self_metrics: SelfMetrics,
        time: Time,
        started_at: datetime,
        new_id: Callable[[], str],
        leads: Callable[[], bool] = lambda: True,
    ) -> None:
        self._setting = setting
        self._metrics = metrics
        self._store = store
        self._projects = projects
        self._wire = Wire(session, Pace(time.monotonic, time.sleep), allowed=leads)
        self._self_metrics = self_metrics
        self._time = time
        self._desks, self._pushes = self._make_desks(), self._make_pushes()
        self._started_at = started_at
        self._memory = _Memory()
        self.silences = Silences(
            store, alerts=self._by_key, config=lambda: self._setting.config, now=time.now, new_id=new_id
        )
        self._anew: frozenset[Who] = frozenset()  # those whose settings a reload changed, until their desk knows
        self._universe: tuple[Setting, Universe] | None = None
        self._kept: tuple[Setting, Kept] | None = None
        self._picture: _Picture  # made by the first round, before anything is due
        self._store_told = False
        self._resumed = False
        self._telling = asyncio.Lock()  # of whoever plans what is due, or writes the log beside the desks
        self._leads = leads
        self._judged_at: datetime | None = None
        self.pictures = Pictures(store=store, self_metrics=self_metrics, time=time)

    @property
    def snapshot(self) -> Snapshot | None:
        """What HTTP shows; None before the first round has shown something."""
        return self.pictures.snapshot

    # --------------------------------------------------------------------------------------- life

    def _make_desks(self) -> Desks:
        return Desks(
            store=self._store,
            wire=self._wire,
            self_metrics=self._self_metrics,
            time=self._time,
            plan=self._rows,
            compose=self._compose,
        )

    def _make_pushes(self) -> Pushes:
        return Pushes(
            wire=self._wire,
            self_metrics=self._self_metrics,
            time=self._time,
            plan=self._pushed,
            compose=self._compose,
        )

    async def load(self) -> None:
        """Takes up alerts, notification log and silences where the store has them: whoever leads had them so far."""
        alerts = {(alert.rule, alert.identity): alert for alert in await self._store.alerts()}
        desks = self._make_desks()
        await desks.load()
        await self.silences.load()
        self._desks, self._pushes, self._resumed = desks, self._make_pushes(), False
        self._memory = _Memory(alerts=described(alerts, self._memory.alerts))

    def replace_setting(self, setting: Setting) -> None:
        """From the next round on, this configuration."""
        self._anew |= changed_settings(self._setting.config.receivers, setting.config.receivers)
        self._setting = setting
        self._universe = None
        self._pushes.plan_anew()

    async def round(self) -> None:
        """One round. A store that is down ends it early, is logged once, and costs nothing but the time."""
        with self.pictures.during_a_round():
            await self._with_store(self._round)

    async def hear(self) -> None:
        """Takes up silences that other replicas have stored."""
        await self.silences.load()

    async def look_on(self) -> None:
        """A round while another process leads: judged and shown, with the alerts as stored; nobody is told."""
        await self._with_store(self._look_on)

    async def deliver(self) -> None:
        """Has the desks look again, beside the rounds: one may be free, or a failed message be due again."""
        if self._resumed:
            await self._with_store(self._look)

    async def draw(self) -> None:
        """Draws gauges beside the rounds. See `Pictures`."""
        patience = self._setting.config.evaluation_interval
        await self._with_store(partial(self.pictures.draw_soon, self._setting.board, patience))

    async def close(self) -> None:
        """Tells nobody anything more; waits a little for what is in flight."""
        await self._pushes.close()
        await self._desks.close()

    async def break_off(self) -> None:
        """Tells nobody anything more, at once: another process leads, and says again what is in flight."""
        await self._pushes.close()
        await self._desks.break_off()

    async def _with_store(self, work: Work) -> None:
        try:
            await work()
            if self._store_told:
                await self._store.ping()  # what has worked may not have written anything
        except NotLeader:
            raise
        except StoreError as error:
            if not self._store_told:
                _LOG.error("the store is down, nothing is sent until it is back: %s", error)
            self._store_told = True
        else:
            if self._store_told:
                _LOG.info("the store is back")
            self._store_told = False

    async def _round(self) -> None:
        await self._desks.save()
        await settle(self._setting.board)
        setting, now, began = self._setting, self._time.now(), self._time.monotonic()
        if self._judged_at is not None and timedelta(0) < self._judged_at - now <= _CLOCK_SET_BACK:
            return  # to judge the past again would end what fires; it is only a moment until it is now again
        self._judged_at = now
        await self._meet_projects(setting)
        await self._resume(now)
        await self._forget(setting)  # before planning: whose end was heard is told of no more
        scene = self._scene(setting, now)
        await asyncio.sleep(0)  # ten thousand projects take a while, here and there; others may work in between
        made = await self._plan(scene, setting, now)
        took = timedelta(seconds=self._time.monotonic() - began)
        await asyncio.sleep(0)
        await self._keep(made)
        await asyncio.sleep(0)
        self._picture = _Picture(scene=scene, rules=_rules(made.findings) | _own_rules(setting.config))
        self._desks.begin_round()
        self._pushes.plan_anew()
        async with self._telling:
            await self.pictures.show(scene, made, self._memory.alerts, took)  # who follows a message finds what it says
            await self._set_anew(setting)
            await asyncio.sleep(0)
            await self._desks.begin()
            await asyncio.sleep(0)
            await self._tidy(setting)
        if self.pictures.is_quick(scene):
            await self.pictures.draw(self._setting.board)
        await count(self._self_metrics, scene, made.findings, now=now, took=took)
        self.pictures.undrawn.set()

    async def _look_on(self) -> None:
        await settle(self._setting.board)
        now, began = self.now(), self._time.monotonic()
        scene = self._scene(self._setting, now)
        made = await self._plan(scene, self._setting, now)
        if scene.alerts is self._memory.alerts:  # else they were read again meanwhile
            self._memory.alerts = described(scene.alerts, made.step.alerts)
        took = timedelta(seconds=self._time.monotonic() - began)
        await self.pictures.show(scene, made, self._memory.alerts, took)
        await self.pictures.draw(self._setting.board)
        await count(self._self_metrics, scene, made.findings, now=now, took=took)

    async def _look(self) -> None:
        self._pushes.look()
        if not self._telling.locked():  # else the round plans what is due
            async with self._telling:
                await self._desks.look()

    async def _set_anew(self, setting: Setting) -> None:
        """Has those who have other settings told anew; where these are not the newest, the next round does it."""
        if self._anew and setting is self._setting:
            done = await self._desks.set_anew(self._anew)
            if setting is self._setting:
                self._anew -= done

    async def _resume(self, now: datetime) -> None:
        """Once, before anything is judged: says again what was in flight when the last process died.

        Nobody knows who heard it. If it were judged first, an end could be told of what nobody heard begin, or a
        beginning that was heard could be forgotten with its end.
        """
        if self._resumed:
            return
        setting = self._setting
        scene = self._scene(setting, now)
        findings = (await self._plan(scene, setting, now)).findings
        self._picture = _Picture(scene=scene, rules=_rules(findings) | _own_rules(scene.config))
        await self._desks.begin(only=in_flight)
        await self._desks.settle(_RESUMING)
        self._resumed = True

    # --------------------------------------------------------------------------------------- 2. plan

    def scene(self) -> Scene:
        """What a round would look at now; its alerts stay as they are, whatever the next one does."""
        return replace(self._scene(self._setting, self.now()), alerts=dict(self._memory.alerts))

    def now(self) -> datetime:
        """The time by which is judged. Who only looks on goes by the leader's clock, where its last looks show that it
        is ahead of ours: by ours they would lie in the future, and windows would begin before what it has read.
        """
        now = self._time.now()
        if self._leads():
            return now
        return max([now, *(project.complete_at for project in self._projects() if project.complete_at is not None)])

    async def _plan(self, scene: Scene, setting: Setting, now: datetime) -> Plan:
        if self._kept is None or self._kept[0] is not setting:
            self._kept = setting, Kept(setting.config.rules, self._metrics, setting.board)
        return await unhurried(planning(scene, self._kept[1], now=now), monotonic=self._time.monotonic)

    async def _meet_projects(self, setting: Setting) -> None:
        """Works out what is judged where other projects are known than before; with many of them that takes a while."""
        projects = self._projects_of(setting)
        if self._known_universe(setting, projects) is None:
            made = making_universe(setting.config, projects)
            self._universe = setting, await unhurried(made, monotonic=self._time.monotonic)

    def _known_universe(self, setting: Setting, projects: Sequence[Project]) -> Universe | None:
        if self._universe is None or self._universe[0] is not setting:
            return None
        known = tuple((project.source, project.path) for project in projects)
        return self._universe[1] if self._universe[1].projects == known else None

    def _projects_of(self, setting: Setting) -> Sequence[Project]:
        """Those of its sources: whoever collects knows of a reload a moment later."""
        sources = {source.name for source in setting.config.sources}
        return [project for project in self._projects() if project.source in sources]

    def _scene(self, setting: Setting, now: datetime) -> Scene:
        projects = self._projects_of(setting)
        if self._leads():  # who only looks on goes by the leader's clock
            projects = [by_our_clock(project, now=now) for project in projects]
        universe = self._known_universe(setting, projects)
        if universe is None:
            universe = make_universe(setting.config, projects)
            self._universe = setting, universe
        return Scene(
            config=setting.config,
            metrics=self._metrics,
            measures=setting.board,
            universe=universe,
            projects=projects,
            alerts=self._memory.alerts,
            log=self._desks.log,
            started_at=self._started_at,
            silences=self.silences.all(),
            pushed=self._pushed_to(setting.config),
        )

    def _pushed_to(self, config: Config) -> dict[Who, PushState | None]:
        found = integrations_of(config.receivers)
        return {who: self._pushes.state(who) for who, integration in found.items() if integration.pushes}

    # --------------------------------------------------------------------------------------- 3. keep

    async def _keep(self, made: Plan) -> None:
        """Stores what changed, then remembers it: memory never knows more than the store."""
        step = made.step
        if step.changed or step.dropped or step.transitions:
            await self._store.save_alerts(
                step.changed, dropped=[alert.key for alert in step.dropped], transitions=step.transitions
            )
        self._memory.alerts = dict(step.alerts)
        self._memory.ended = remembered(self._memory.ended, step.alerts.values(), now=made.now)
        if step.transitions:
            self._pushes.changed()
        _log_edges(step.transitions)
        self._log_unheard(step.transitions)
        self._log_failures(made.findings)

    def _log_unheard(self, transitions: Iterable[Transition]) -> None:
        """The log is where it is said that nobody hears, for nobody else hears it."""
        begun = [edge for edge in transitions if edge.rule == FAILING_ALERT and edge.after is AlertState.FIRING]
        if begun and not any(able(self._desks.log, self._setting.config.receivers)):
            _LOG.error("no integration is left that takes messages: nobody can be told of alerts")

    def _log_failures(self, findings: Iterable[Finding]) -> None:
        failed = {finding.rule.name: finding.error for finding in findings if finding.error}
        for name in failed.keys() - self._memory.broken:
            _LOG.error("rule %s failed, its alerts are unknown:\n%s", name, failed[name], extra={"rule": name})
        self._memory.broken = set(failed)

    # --------------------------------------------------------------------------------------- 5. tell

    async def _rows(self) -> Mapping[Who, PlanRow]:
        """What plans the row of each integration, from the alerts and silences as they are now."""
        scene = replace(self._picture.scene, log=self._desks.log, silences=self.silences.all())
        made = planning_whom(scene, self._memory.alerts, now=self._time.now())
        outlook = await unhurried(made, monotonic=self._time.monotonic)
        return {who: partial(self._row, who, outlook) for who in outlook.fires_for}

    async def _row(self, who: Who, outlook: Outlook) -> Sequence[Due]:
        """What is due to an integration: planned when it can be told, for it and others were told meanwhile."""
        made = due_to(who, outlook, self._desks.log, now=self._time.now())
        return await unhurried(made, monotonic=self._time.monotonic)

    def _pushed(self) -> tuple[Due, ...]:
        config, alerts = self._setting.config, self._by_key()
        return pushes(
            alerts=alerts.values(),
            ended=self._memory.ended,
            route=config.route,
            receivers=config.receivers,
            now=self._time.now(),
            hushed=self._hushed(alerts),
        )

    def _hushed(self, alerts: Mapping[str, Alert]) -> Collection[str]:
        return hushes(alerts, self.silences.all(), self._setting.config.inhibitions, now=self._time.now()).keys()

    async def _compose(self, due: Due) -> Message:
        scene, rules, monotonic = self._picture.scene, self._picture.rules, self._time.monotonic
        return await composed_of(due, scene, rules, self._store, now=self._time.now(), monotonic=monotonic)

    # --------------------------------------------------------------------------------------- tidy

    async def _tidy(self, setting: Setting) -> None:
        """Closes what needs no word, and forgets ended alerts once everyone who heard of them heard the end."""
        now, alerts = self._time.now(), self._by_key()
        route, receivers = setting.config.route, setting.config.receivers
        await asyncio.sleep(0)
        log = self._desks.log
        moving = settling(alerts=alerts, log=log, route=route, receivers=receivers)
        await self._desks.move(await unhurried(moving, monotonic=self._time.monotonic), log)
        await asyncio.sleep(0)
        await self._desks.keep(forsaken(self._desks.log, now=now))
        await asyncio.sleep(0)
        log = self._desks.log
        await self._desks.keep(
            open_digests(alerts=alerts, log=log, route=route, receivers=receivers, now=now, hushed=self._hushed(alerts))
        )
        await asyncio.sleep(0)
        await self._forget(setting)
        await asyncio.sleep(0)
        await self._drop_closed()
        await self.silences.tidy(now=now)

    async def _forget(self, setting: Setting) -> None:
        route, receivers = setting.config.route, setting.config.receivers
        alerts, log = self._by_key(), self._desks.log
        heard = finished(alerts=alerts, log=log, receivers=receivers)
        heard -= awaited_by_digests(alerts=alerts, log=log, route=route, receivers=receivers)
        if not heard:
            return
        back, gone = forget(self._memory.alerts, lambda alert: alert.key in heard)
        await self._store.save_alerts(back, dropped=[alert.key for alert in gone])
        for alert in back:
            self._memory.alerts[alert.rule, alert.identity] = alert
        for alert in gone:
            del self._memory.alerts[alert.rule, alert.identity]

    async def _drop_closed(self) -> None:
        now = self._time.now()
        kept = last_words(self._desks.log, self._setting.config.receivers)
        open_keys = {alert.key for alert in self._memory.alerts.values() if alert.state is not AlertState.INACTIVE}
        await self._desks.drop(
            entry
            for entry in self._desks.log
            if entry.closed
            and entry.key not in kept
            and (entry.last_sent_at is None or now - entry.last_sent_at > _KEEP_CLOSED)
            and open_keys.isdisjoint(entry.told)
        )

    def _by_key(self) -> dict[str, Alert]:
        return concerning(self._memory.alerts, self._desks.log)


def _rules(findings: Iterable[Finding]) -> dict[str, Rule]:
    return {finding.rule.name: finding.rule for finding in findings}


def _own_rules(config: Config) -> dict[str, Rule]:
    return {rule.name: rule for rule in config.rules}


def _log_edges(transitions: Iterable[Transition]) -> None:
    for edge in transitions:
        if AlertState.FIRING in (edge.before, edge.after):
            _LOG.info(
                "alert %s is %s",
                edge.rule,
                edge.after.value,
                # By themselves: a label may have any name, that of a record's own field too.
                extra={
                    "labels": dict(edge.identity),
                    "reason": edge.reason.value if edge.reason else "",
                    "value": edge.value,
                },
            )
