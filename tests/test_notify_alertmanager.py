"""Alertmanagers: a real one receives and resolves, and stand-ins answer as no real one would."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import pytest
from pydantic import SecretStr, ValidationError

from k2alert.labels import Labels
from k2alert.model import Alert, Delivery, Refused, Retry, Sent
from k2alert.notify import alertmanager
from k2alert.notify.message import compose, shown
from k2alert.notify.push import pushes, remembered
from k2alert.notify.route import Integration, Receiver, Route
from tests.support.alertmanager import alerts_of, needs_alertmanager, real_alertmanager
from tests.support.notified import HOUR, MINUTE, T0, alert, ended, item
from tests.support.posts import PASSWORD, Posts, taking_posts
from tests.support.wires import a_wire
from tests.test_notify_text import HOSTILE


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as running:
        yield running


@pytest.fixture
async def posts() -> AsyncIterator[Posts]:
    async with taking_posts() as running:
        yield running


def settings(*urls: str) -> alertmanager.Settings:
    return alertmanager.Settings(url=tuple(map(SecretStr, urls)))


async def push(
    to: alertmanager.Settings, session: aiohttp.ClientSession, *alerts: Alert, now: datetime = T0
) -> Delivery:
    """One push of these alerts, as the daemon plans it."""
    receiver = Receiver("team", (Integration("alertmanager", "alertmanager[0]", to, True),))
    (due,) = pushes(
        alerts=alerts,
        ended=remembered({}, alerts, now=now),
        route=Route(name="root", receiver="team"),
        receivers={"team": receiver},
        now=now,
    )
    items = [item(of) for of in shown(due, alertmanager.SHOWS)]
    message = compose(due, items, now=now, external_url="https://k2alert.test")
    return await alertmanager.send(to, message, wire=a_wire(session), render=str)


async def test_firing_alerts_end_by_themselves_unless_they_are_pushed_again(
    posts: Posts, session: aiohttp.ClientSession
) -> None:
    red, green = alert(), ended(alert(project="k2/green"), T0 + MINUTE)

    assert await push(settings(posts.url + "/am/"), session, red, green, now=T0 + 2 * MINUTE) == Sent()

    (taken,) = posts.taken
    assert taken.path == "/am/api/v2/alerts"
    first, second = taken.body
    assert set(first) == {"labels", "annotations", "startsAt", "endsAt", "generatorURL"}
    assert first["labels"] == dict(red.labels)
    assert (first["startsAt"], first["endsAt"]) == ("2026-01-05T10:00:00.000Z", "2026-01-05T10:06:00.000Z")
    assert first["annotations"]["message"] == "Main is red"
    assert first["generatorURL"] == f"https://k2alert.test/alerts/{red.key}"
    assert (second["labels"]["project"], second["endsAt"]) == ("k2/green", "2026-01-05T10:01:00.000Z")


async def test_no_alert_of_many_is_left_out(posts: Posts, session: aiohttp.ClientSession) -> None:
    await push(settings(posts.url), session, *(alert(project=f"k2/{number}") for number in range(700)))

    assert len({one["labels"]["project"] for one in posts.taken[0].body}) == 700
    assert sum(bool(one["annotations"]) for one in posts.taken[0].body) == alertmanager.SHOWS


@pytest.mark.parametrize(
    ("answers", "means"),
    [
        ((200, 200), Sent()),
        ((200, 503), Retry("Alertmanager 2 answered 503", None, "serverError")),
        ((400, 200), Refused("Alertmanager 1 answered 400", "clientError")),
    ],
)
async def test_every_alertmanager_is_to_have_it(
    answers: tuple[int, ...], means: Delivery, session: aiohttp.ClientSession
) -> None:
    async with taking_posts() as one, taking_posts() as other:
        for server, status in zip((one, other), answers, strict=True):
            server.script += [(status, {})] if status != 200 else []
        assert await push(settings(one.url, other.url), session, alert()) == means


async def test_no_password_is_shown(posts: Posts, session: aiohttp.ClientSession) -> None:
    to = settings(posts.secret_url, f"http://k2:{PASSWORD}@127.0.0.1:1")
    delivery = await push(to, session, alert())
    assert isinstance(delivery, Retry)
    assert PASSWORD not in f"{delivery!r} {to!r} {to}"


def test_an_alertmanager_without_a_url_is_refused() -> None:
    for wrong in ({}, {"url": []}):
        with pytest.raises(ValidationError):
            alertmanager.Settings.model_validate(wrong)


# ------------------------------------------------------------------------------------------ a real one


@needs_alertmanager
async def test_a_real_alertmanager_receives_and_resolves(tmp_path: Path, session: aiohttp.ClientSession) -> None:
    now = datetime.now(UTC)
    red = alert(at=now - HOUR)
    hostile = [
        replace(red, rule=f"hostile{number}", labels=red.labels.merged(Labels({"alertname": name, "branch": text})))
        for number, (name, text) in enumerate(HOSTILE.items())
    ]
    async with real_alertmanager(tmp_path) as url:
        assert await push(settings(url), session, red, *hostile, now=now) == Sent()
        found = await alerts_of(session, url)
        assert len(found) == 1 + len(hostile)
        (seen,) = [one for one in found if one["labels"]["alertname"] == "main_is_red"]
        assert seen["labels"] == dict(red.labels)
        assert seen["annotations"]["evidence"].startswith("#7 <https://gitlab.test/k2/app/-/pipelines/1007>")
        assert seen["status"]["state"] in ("active", "unprocessed")

        over = [ended(one, now) for one in (red, *hostile)]
        assert await push(settings(url), session, *over, now=now + timedelta(seconds=1)) == Sent()
        assert await alerts_of(session, url) == []
