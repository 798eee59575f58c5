"""Pushes: the present alerts, again and again, to a receiver that keeps nothing of ours."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from k2alert.collect.http import Time
from k2alert.expose.selfmetrics import SelfMetrics
from k2alert.intervals import Interval, Range, Span
from k2alert.model import Alert
from k2alert.notify.dues import Due
from k2alert.notify.message import Message, compose
from k2alert.notify.push import RESOLVED_FOR, PushState, pushes, remembered
from k2alert.notify.route import Integration, Receiver, Route
from k2alert.notify.webhook import Settings
from k2alert.pushes import Pushes
from tests.support.notified import MINUTE, SECOND, T0, Told, World, item
from tests.support.wires import a_wire


def am(settings: object = Told()) -> dict[str, Receiver]:
    return {"team": Receiver("team", (Integration("webhook", "webhook[0]", settings, pushes=True),))}


def pushed(world: World, ended: Mapping[str, Alert] | None = None, **more: frozenset[str]) -> list[list[str]]:
    dues = pushes(
        alerts=world.alerts.values(),
        ended=ended or {},
        route=world.route,
        receivers=world.receivers,
        now=world.now,
        **more,
    )
    return [[str(one.labels["project"]) for part in due.parts for one in part.alerts] for due in dues]


def test_what_is_pushed_is_told_by_no_message() -> None:
    world = World(receivers=am())
    world.fire()
    assert world.tick(MINUTE) == []
    assert pushed(world) == [["k2/app"]]


def test_all_that_fires_is_pushed_and_what_is_hushed_is_not() -> None:
    world = World(receivers=am())
    quiet = world.fire("k2/quiet")
    world.fire("k2/loud")
    assert pushed(world, hushed=frozenset({quiet.key})) == [["k2/loud"]]


NIGHT = Interval("night", (Span(times=(Range(22 * 60, 24 * 60), Range(0, 6 * 60))),))
OFFICE = Interval("office", (Span(times=(Range(9 * 60, 17 * 60),)),))


@pytest.mark.parametrize(
    ("mute", "active", "silent"),
    [
        pytest.param((NIGHT,), (), {23}, id="mute at night"),
        pytest.param((), (OFFICE,), {20, 23}, id="active in office hours"),
    ],
)
def test_a_route_that_is_mute_pushes_nothing(
    mute: tuple[Interval, ...], active: tuple[Interval, ...], silent: set[int]
) -> None:
    world = World(route=Route(name="root", receiver="team", mute=mute, active=active), receivers=am())
    world.fire()
    for hour in (10, 20, 23):
        world.now = T0.replace(hour=hour)
        assert pushed(world) == ([] if hour in silent else [["k2/app"]])


def test_an_end_is_not_pushed_by_a_mute_route_either() -> None:
    world = World(route=Route(name="root", receiver="team", mute=(NIGHT,)), receivers=am(), now=T0.replace(hour=21))
    red = world.fire()
    world.now = T0.replace(hour=22)
    world.end(red)
    assert pushed(world, remembered({}, world.alerts.values(), now=world.now)) == []


def test_one_route_that_is_not_mute_is_enough() -> None:
    routes = (
        Route(name="quiet", receiver="team", mute=(NIGHT,), continues=True),
        Route(name="loud", receiver="team"),
    )
    world = World(route=Route(name="root", receiver="team", routes=routes), receivers=am(), now=T0.replace(hour=23))
    world.fire()
    assert pushed(world) == [["k2/app"]]


def test_an_ended_alert_is_pushed_for_a_while_after_it_has_been_forgotten() -> None:
    world = World(receivers=am())
    red = world.fire()
    world.end(red)
    known = remembered({}, world.alerts.values(), now=world.now)
    world.alerts.clear()
    last = world.now + RESOLVED_FOR
    assert pushed(world, remembered(known, (), now=last - SECOND)) == [["k2/app"]]
    assert remembered(known, (), now=last) == {}


def test_one_that_fires_again_is_pushed_as_firing_only() -> None:
    world = World(receivers=am())
    world.end(world.fire())
    known = remembered({}, world.alerts.values(), now=world.now)
    world.fire()
    assert pushed(world, known) == [["k2/app"]]


def test_who_wants_no_ends_gets_none() -> None:
    world = World(receivers=am(Told(send_resolved=False)))
    world.end(world.fire())
    assert pushed(world, remembered({}, world.alerts.values(), now=world.now)) == []


@dataclass
class Push:
    """Pushes to a real server, which answers with these codes once it may; time passes when told to.

    `planned` says when it was planned what is to be pushed, `taken` when a push arrived. `broken` is what words meet.
    """

    answers: list[int]
    world: World = field(default_factory=World)
    now: float = 0.0
    planned: list[float] = field(default_factory=list)
    taken: list[float] = field(default_factory=list)
    broken: Exception | None = None
    may_answer: asyncio.Event = field(default_factory=asyncio.Event)
    self_metrics: SelfMetrics = field(default_factory=lambda: SelfMetrics("test"))

    async def take(self, request: web.Request) -> web.Response:
        await request.read()
        self.taken.append(self.now)
        await self.may_answer.wait()
        return web.Response(status=self.answers.pop(0))

    def plan(self) -> tuple[Due, ...]:
        self.planned.append(self.now)
        return self.due()

    def due(self) -> tuple[Due, ...]:
        world = self.world
        return pushes(
            alerts=world.alerts.values(), ended={}, route=world.route, receivers=world.receivers, now=world.now
        )

    async def words(self, due: object) -> Message:
        if self.broken is not None:
            raise self.broken
        (one,) = self.due()
        return compose(one, [item(alert) for alert in one.parts[0].alerts], now=self.world.now)


@asynccontextmanager
async def pushing(*answers: int) -> AsyncIterator[tuple[Push, Pushes]]:
    push = Push(list(answers))
    push.may_answer.set()
    app = web.Application()
    app.router.add_post("/", push.take)
    async with TestServer(app, host="127.0.0.1") as server, aiohttp.ClientSession() as session:
        push.world = World(receivers=am(Settings.model_validate({"url": str(server.make_url("/"))})))
        push.self_metrics.declare(rules=(), sources=(), receivers=[("team", "webhook")])
        loop = Pushes(
            wire=a_wire(session, timedelta(seconds=10)),
            self_metrics=push.self_metrics,
            time=Time(lambda: push.world.now, lambda: push.now, asyncio.sleep, lambda: 1.0),
            plan=push.plan,
            compose=push.words,
        )
        yield push, loop
        await loop.close()


async def test_it_is_pushed_at_once_then_every_minute_and_soon_after_a_failure(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with pushing(503, 200, 200, 200) as (push, loop):
        push.world.fire()
        who = ("team", "webhook[0]")
        assert loop.state(who) is None  # nobody knows yet
        for at, told in ((0, 1), (9, 1), (10, 2), (69, 2), (70, 3), (71, 3)):
            push.now = at
            await _look(loop)
            assert len(push.taken) == told, at
            failed = PushState(push.world.now, "the webhook answered 503")
            assert loop.state(who) == (failed if at < 10 else PushState())
        loop.changed()
        await _look(loop)
        assert len(push.taken) == 4
        assert push.planned == [0, 10, 70, 71]  # and not with each look: that costs nothing
    assert caplog.text.count("a push failed") == 1
    assert b'k2alert_notifications_total{integration="webhook",receiver="team"} 4.0' in push.self_metrics.render("")[0]


async def test_who_is_pushed_to_for_the_first_time_is_found_by_the_next_round() -> None:
    async with pushing(200) as (push, loop):
        await _look(loop)
        push.world.fire()  # a silence ended, say: nothing else has changed
        push.now = 29
        await _look(loop)
        assert push.taken == []
        loop.plan_anew()
        await _look(loop)
        loop.plan_anew()
        await _look(loop)
        assert push.taken == [29]


async def test_what_changes_while_a_push_is_under_way_is_pushed_after_it() -> None:
    async with pushing(200, 200) as (push, loop):
        push.world.fire("k2/a")
        push.may_answer.clear()
        loop.look()
        while not push.taken:
            await asyncio.sleep(0.01)
        loop.changed()
        for _ in range(3):
            loop.look()
        push.may_answer.set()
        await _finished()
        push.now = 1
        await _look(loop)
        assert push.taken == [0, 1]


async def test_a_push_whose_words_meet_a_bug_is_tried_again() -> None:
    async with pushing(200) as (push, loop):
        push.world.fire()
        push.broken = ZeroDivisionError("oh")
        await _look(loop)
        who = ("team", "webhook[0]")
        assert loop.state(who) == PushState(push.world.now, "bug: ZeroDivisionError")
        push.broken = None
        push.now = 10
        await _look(loop)
        assert (push.taken, loop.state(who)) == ([10], PushState())


async def _look(loop: Pushes) -> None:
    loop.look()
    await _finished()


async def _finished() -> None:
    tasks = [task for task in asyncio.all_tasks() if task.get_name().startswith("push to")]
    await asyncio.gather(*tasks)
