"""The webhook: Alertmanager's format, version 4, posted to a real server."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta

import aiohttp
import pytest
import trustme
from aiohttp import web
from aiohttp.test_utils import TestServer
from pydantic import SecretStr

from k2alert.labels import Labels
from k2alert.model import Delivery, EndReason, Refused, Retry, Sent
from k2alert.notify import webhook
from k2alert.notify.dues import Due
from k2alert.notify.message import compose, shown
from tests.support.notified import HOUR, MINUTE, T0, Told, World, alert, item, receivers
from tests.support.posts import PASSWORD, Posts, taking_posts
from tests.support.wires import a_wire
from tests.test_notify_text import HOSTILE

NEVER = "0001-01-01T00:00:00Z"


@pytest.fixture
async def posts() -> AsyncIterator[Posts]:
    async with taking_posts() as running:
        yield running


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as running:
        yield running


def settings(url: str, **changes: object) -> webhook.Settings:
    return webhook.Settings(url=SecretStr(url)).model_copy(update=changes)


class Hook:
    """A world whose only receiver is a webhook."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self.settings, self.session = settings(url), session
        self.world = World(receivers=receivers(Told()))

    async def send(self, due: Due) -> Delivery:
        items = [item(of) for of in shown(due, webhook.SHOWS)]
        message = compose(due, items, now=self.world.now, external_url="https://k2alert.test/")
        return await webhook.send(self.settings, message, wire=a_wire(self.session), render=str)

    async def tick(self, after: timedelta = MINUTE) -> list[Delivery]:
        self.world.now += after
        found = []
        for due in self.world.due():
            found.append(await self.send(due))
            outcome = found[-1]
            self.world.now -= after
            self.world.tick(after, lambda _, outcome=outcome: outcome)  # type: ignore[misc]
        return found


@pytest.fixture
def hook(posts: Posts, session: aiohttp.ClientSession) -> Hook:
    return Hook(posts.secret_url, session)


async def test_an_incident_is_posted_as_it_begins_and_as_it_ends(hook: Hook, posts: Posts) -> None:
    one = hook.world.fire()
    assert await hook.tick() == [Sent({"webhook": hook.world.said[0].mark})]
    hook.world.end(one)
    await hook.tick(HOUR)

    first, last = [post.body for post in posts.taken]
    assert set(first) == {
        *("version", "groupKey", "truncatedAlerts", "status", "receiver", "groupLabels", "commonLabels"),
        *("commonAnnotations", "externalURL", "alerts"),
    }
    assert (first["version"], first["truncatedAlerts"], first["receiver"]) == ("4", 0, "team")
    assert first["groupLabels"] == {"alertname": "main_is_red", "source": "gitlab", "project": "k2/app"}
    assert first["commonLabels"] == dict(one.labels) == first["alerts"][0]["labels"]
    assert (first["status"], last["status"]) == ("firing", "resolved")
    assert first["groupKey"] == last["groupKey"] == hook.world.said[0].parts[0].entry.group
    (fires,), (ended,) = first["alerts"], last["alerts"]
    assert set(fires) == {"status", "labels", "annotations", "startsAt", "endsAt", "generatorURL", "fingerprint"}
    assert (fires["status"], fires["startsAt"], fires["endsAt"]) == ("firing", "2026-01-05T10:00:00.000Z", NEVER)
    assert (ended["status"], ended["startsAt"]) == ("resolved", fires["startsAt"])
    assert ended["endsAt"] == "2026-01-05T10:01:00.000Z"
    assert fires["fingerprint"] == ended["fingerprint"] == one.key
    assert fires["generatorURL"] == f"https://k2alert.test/alerts/{one.key}"


async def test_annotations_say_what_a_person_would_be_told(hook: Hook, posts: Posts) -> None:
    hook.world.fire()
    await hook.tick()

    annotations = posts.taken[0].body["alerts"][0]["annotations"]
    assert annotations["message"] == "Main is red"
    assert annotations["value"] == "3 >= 3"
    assert annotations["runbook_url"] == "https://wiki.test/red?a=1&b=2"
    assert (
        annotations["evidence"]
        .splitlines()[0]
        .startswith("#7 <https://gitlab.test/k2/app/-/pipelines/1007> failure · main · Commit 7")
    )
    assert "and 10 more" in annotations["evidence"].splitlines()
    assert posts.taken[0].body["commonAnnotations"] == annotations


@pytest.mark.parametrize("reason", EndReason)
async def test_an_end_says_its_reason_and_is_resolved_to_machines(reason: EndReason, hook: Hook, posts: Posts) -> None:
    one = hook.world.fire()
    await hook.tick()
    hook.world.end(one, reason)
    await hook.tick(HOUR)

    last = posts.taken[-1].body
    assert (last["status"], last["alerts"][0]["status"]) == ("resolved", "resolved")
    assert last["alerts"][0]["annotations"]["reason"] == reason.value


async def test_only_what_all_alerts_share_is_common(hook: Hook, posts: Posts) -> None:
    hook.world.route = replace(hook.world.route, group_by=("alertname",))  # type: ignore[type-var]
    hook.world.put(alert(project="k2/a"), alert(project="k2/b"))
    await hook.tick()

    body = posts.taken[0].body
    assert body["groupLabels"] == {"alertname": "main_is_red"}
    assert "project" not in body["commonLabels"]
    assert body["commonLabels"]["severity"] == "warning"
    assert {one["labels"]["project"] for one in body["alerts"]} == {"k2/a", "k2/b"}


async def test_no_alert_of_a_storm_is_left_out(hook: Hook, posts: Posts) -> None:
    for number in range(1200):
        hook.world.fire(f"k2/app-{number:04}")
    await hook.tick()

    (post,) = posts.taken
    assert len({one["fingerprint"] for one in post.body["alerts"]}) == 1200
    assert sum(bool(one["annotations"]) for one in post.body["alerts"]) == webhook.SHOWS
    assert post.body["truncatedAlerts"] == 0


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
async def test_text_of_a_forge_stays_where_it_is_put(text: str, hook: Hook, posts: Posts) -> None:
    labels = Labels({"alertname": "main_is_red", "source": "gitlab", "project": "k2/app", "branch": text})
    hook.world.put(alert(labels=labels))
    await hook.tick()

    (one,) = posts.taken[0].body["alerts"]
    assert set(one["labels"]) <= {"alertname", "source", "project", "branch"}
    assert one["labels"].get("branch", "") == text
    assert not any(name.lower() == "bcc" for name in posts.taken[0].headers)


@pytest.mark.parametrize(
    ("status", "headers", "means"),
    [
        (204, {}, Sent({"webhook": "MARK"})),
        (302, {"Location": "http://127.0.0.1:1/"}, Refused("the webhook answered 302", "clientError")),
        (400, {}, Refused("the webhook answered 400", "clientError")),
        (401, {}, Refused("the webhook answered 401", "authError")),
        (404, {}, Refused("the webhook answered 404", "clientError")),
        (408, {}, Retry("the webhook answered 408", None, "serverError")),
        (429, {"Retry-After": "17"}, Retry("the webhook answered 429", timedelta(seconds=17), "rateLimited")),
        (500, {}, Retry("the webhook answered 500", None, "serverError", maybe=True)),
        (502, {}, Retry("the webhook answered 502", None, "serverError", maybe=True)),
        (503, {}, Retry("the webhook answered 503", None, "serverError")),
        (504, {}, Retry("the webhook answered 504", None, "serverError", maybe=True)),
        (503, {"Retry-After": "soon"}, Retry("the webhook answered 503", None, "serverError")),
    ],
)
async def test_what_an_answer_means(
    status: int, headers: dict[str, str], means: Delivery, hook: Hook, posts: Posts
) -> None:
    hook.world.fire()
    posts.script.append((status, headers))
    hook.world.now += MINUTE
    (due,) = hook.world.due()

    delivery = await hook.send(due)

    assert delivery == (Sent({"webhook": due.mark}) if isinstance(means, Sent) else means)


@pytest.mark.parametrize(
    ("url", "means"),
    [
        ("http://127.0.0.1:1/", Retry("no answer from the webhook (ClientConnectorError)")),
        ("http://[::1/", Refused("url is not a URL")),
    ],
)
async def test_a_server_that_is_not_there_is_a_value(url: str, means: Delivery, session: aiohttp.ClientSession) -> None:
    hook = Hook(url, session)
    hook.world.fire()
    assert await hook.tick() == [means]


async def test_a_server_that_says_nothing_is_left_in_time(session: aiohttp.ClientSession, hook: Hook) -> None:
    over = asyncio.Event()

    async def hang(request: web.Request) -> web.Response:
        await request.read()
        await over.wait()
        return web.Response()

    app = web.Application()
    app.router.add_post("/", hang)
    async with TestServer(app, host="127.0.0.1") as server:
        hook.world.fire()
        hook.world.now += MINUTE
        (due,) = hook.world.due()
        message = compose(due, [], now=T0)
        delivery = await webhook.send(
            settings(str(server.make_url("/"))),
            message,
            wire=a_wire(session, timedelta(milliseconds=50)),
            render=str,
        )
        over.set()
    assert delivery == Retry("the webhook did not answer in time", reason="contextDeadlineExceeded", maybe=True)


async def test_a_certificate_is_trusted_by_its_ca_file_only(session: aiohttp.ClientSession) -> None:
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(context)
    posts = Posts()
    app = web.Application()
    app.router.add_post("/{rest:.*}", posts.take)
    server = TestServer(app, host="localhost", scheme="https")
    await server.start_server(ssl=context)
    try:
        with authority.cert_pem.tempfile() as ca_file:
            hook = Hook(str(server.make_url("/hook")), session)
            hook.world.fire()
            hook.world.now += MINUTE
            (due,) = hook.world.due()
            assert isinstance(await hook.send(due), Refused)
            hook.settings = settings(str(server.make_url("/hook")), ca_file=ca_file)
            assert isinstance(await hook.send(due), Sent)
    finally:
        await server.close()


async def test_the_password_of_the_url_logs_in_and_is_shown_nowhere(
    hook: Hook, posts: Posts, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(1)
    hook.world.fire()
    posts.script.append((400, {}))
    (refused,) = await hook.tick()
    hook.world.fire("k2/other")
    (sent,) = await hook.tick(HOUR)

    assert posts.taken[0].headers["Authorization"].startswith("Basic ")
    assert isinstance(sent, Sent)
    logged = [record.getMessage() for record in caplog.records if record.name != "aiohttp.access"]  # the server's own
    assert PASSWORD not in f"{refused} {sent} {hook.settings!r} {hook.settings} {logged}"
