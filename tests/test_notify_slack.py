"""Slack, against a stand-in that keeps its limits and answers with its errors."""

import logging
import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import timedelta

import aiohttp
import pytest
from pydantic import SecretStr, ValidationError

from k2alert.labels import Labels
from k2alert.model import Delivery, EndReason, Evidence, LogEntry, Refused, Retry, Sent
from k2alert.notify import slack as integration
from k2alert.notify.dues import Due, Kind, Part
from k2alert.notify.message import Item, compose, shown
from tests.support.notified import HOUR, MINUTE, T0, Told, World, alert, item, receivers, run
from tests.support.slack import HOOK, TOKEN, Scripted, Slack, all_blocks, stand_in_slack, texts, texts_of, wrong_payload
from tests.support.wires import Waits, a_wire
from tests.test_notify_text import HOSTILE

SECRET = HOOK.rsplit("/", 1)[-1]


@pytest.fixture
async def slack() -> AsyncIterator[Slack]:
    async with stand_in_slack() as running:
        yield running


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as running:
        yield running


def bot(slack: Slack, *channels: str, token: str = TOKEN) -> integration.Settings:
    return integration.Settings(
        bot_token=SecretStr(token), channel=channels or ("#ci",), api_url=slack.api_url.rstrip("/")
    )


def hook(slack: Slack, **changes: object) -> integration.Settings:
    return integration.Settings(webhook_url=SecretStr(slack.hook_url)).model_copy(update=changes)


class Channel:
    """A world whose only receiver is told through Slack."""

    def __init__(self, settings: integration.Settings, session: aiohttp.ClientSession) -> None:
        self.settings, self.waits = settings, Waits()
        self.wire = a_wire(session, waits=self.waits)
        self.world = World(receivers=receivers(Told(edits=settings.edits)))
        self.deliveries: list[Delivery] = []

    async def send(self, due: Due, items: Sequence[Item] | None = None) -> Delivery:
        message = compose(
            due,
            items if items is not None else [item(of) for of in shown(due)],
            now=self.world.now,
            external_url="https://k2alert.test",
        )
        return await integration.send(
            self.settings,
            message,
            wire=self.wire,
            render=lambda text: text.replace("{{ labels.team }}", "pay"),
        )

    async def tick(self, after: timedelta = MINUTE, items: Sequence[Item] | None = None) -> list[Delivery]:
        self.world.now += after
        self.waits.now += after.total_seconds()
        found = []
        for due in self.world.due():
            found.append(await self.send(due, items))
            outcome = found[-1]
            self.world.now -= after
            self.world.tick(after, lambda _, outcome=outcome: outcome)  # type: ignore[misc]
        return found


# ----------------------------------------------------------------------------------------- bot token


async def test_an_incident_is_one_message_edited_with_its_story_in_the_thread(
    slack: Slack, session: aiohttp.ClientSession
) -> None:
    channel = Channel(bot(slack), session)
    red = channel.world.fire()
    assert isinstance((await channel.tick())[0], Sent)
    assert slack.top()[0].body["text"].startswith("*[FIRING:1]* main_is_red · k2/app: 3 &gt;= 3, 12 of 40 runs, since")
    await channel.tick(4 * HOUR)
    assert slack.thread()[0].startswith("*Still firing:* main_is_red · k2/app")
    channel.world.end(red)
    await channel.tick(5 * MINUTE)
    assert len(slack.top()) == 1
    assert slack.top()[0].body["text"].startswith("*[RESOLVED]* main_is_red")
    assert slack.top()[0].body["attachments"][0]["color"] == "#2e9e5b"
    assert [text.split(" ")[0] for text in slack.thread()] == ["*Still", "*Resolved:*"]
    assert [method for method, _ in slack.calls] == ["chat.postMessage"] + ["chat.update", "chat.postMessage"] * 2


async def test_an_end_that_is_no_recovery_only_edits(slack: Slack, session: aiohttp.ClientSession) -> None:
    channel = Channel(bot(slack), session)
    red = channel.world.fire()
    await channel.tick()
    channel.world.end(red, EndReason.RULE_CHANGED)
    await channel.tick(5 * MINUTE)
    assert slack.top()[0].body["text"].startswith("*[CLOSED]*")
    assert "the rule has changed" in slack.top()[0].body["text"]
    assert "Main is red" not in texts(slack.top()[0].body)  # the rule's text may mention people
    assert slack.thread() == []


async def test_each_channel_gets_it_once_although_one_of_them_fails(
    slack: Slack, session: aiohttp.ClientSession
) -> None:
    channel = Channel(bot(slack, "#ci", "#qa"), session)
    channel.world.fire()
    slack.script = [Scripted(body='{"ok":true,"channel":"C0001","ts":"1.1"}'), Scripted(status=503)]
    (first,) = await channel.tick()
    assert isinstance(first, Retry)
    assert list(first.handle) == ["#ci"]
    (second,) = await channel.tick()
    assert isinstance(second, Sent)
    assert set(second.handle) == {"#ci", "#qa"}
    assert [name for _, name in slack.calls] == ["#ci", "#qa", "#qa"]
    assert await channel.tick() == []


async def test_a_channel_that_does_not_exist_stops_only_itself(slack: Slack, session: aiohttp.ClientSession) -> None:
    channel = Channel(bot(slack, "#ci", "#nowhere"), session)
    channel.world.fire()
    (delivery,) = await channel.tick()
    assert isinstance(delivery, Sent)
    assert delivery.error == "#nowhere: Slack answered 200 channel_not_found"
    assert len(slack.top()) == 1


async def test_only_channels_that_heard_of_it_hear_the_end(slack: Slack, session: aiohttp.ClientSession) -> None:
    channel = Channel(bot(slack, "#ci"), session)
    red = channel.world.fire()
    await channel.tick()
    channel.settings = bot(slack, "#qa")
    channel.world.end(red)
    await channel.tick(5 * MINUTE)
    assert slack.top()[0].body["text"].startswith("*[RESOLVED]*")
    assert slack.top("C0002") == []


async def test_a_channel_may_be_a_template(slack: Slack, session: aiohttp.ClientSession) -> None:
    channel = Channel(bot(slack, "#{{ labels.team }}-ci"), session)
    channel.world.fire()
    await channel.tick()
    assert len(slack.top("C0003")) == 1


async def test_a_deleted_message_is_posted_anew(slack: Slack, session: aiohttp.ClientSession) -> None:
    channel = Channel(bot(slack), session)
    channel.world.fire()
    await channel.tick()
    slack.posts.clear()
    (delivery,) = await channel.tick(4 * HOUR)
    assert isinstance(delivery, Sent)
    assert len(slack.top()) == 1


async def test_a_reply_that_fails_is_tried_again_with_its_edit(slack: Slack, session: aiohttp.ClientSession) -> None:
    channel = Channel(bot(slack), session)
    red = channel.world.fire()
    await channel.tick()
    channel.world.end(red)
    slack.script = [Scripted(body='{"ok":true,"channel":"C0001","ts":"1.1"}'), Scripted(status=500)]
    assert isinstance((await channel.tick(5 * MINUTE))[0], Retry)
    assert slack.thread() == []
    assert isinstance((await channel.tick())[0], Sent)
    assert len(slack.thread()) == 1


async def test_a_list_is_edited_as_its_incidents_come_and_go(slack: Slack, session: aiohttp.ClientSession) -> None:
    channel = Channel(bot(slack), session)
    reds = [channel.world.fire(f"k2/{number}") for number in range(40)]
    await channel.tick()
    assert len(slack.top()) == 1
    body = texts(slack.top()[0].body)
    assert "alerts for team: 40 firing" in body
    assert body.count("• *firing*") == 30
    assert "and 10 more alerts" in body
    channel.world.end(reds[0])
    await channel.tick(5 * MINUTE)
    assert "39 firing, 1 resolved" in texts(slack.top()[0].body)
    assert len(slack.top()) == 1


# ------------------------------------------------------------------------------------------- webhook


async def test_a_webhook_gets_a_message_for_each_change(slack: Slack, session: aiohttp.ClientSession) -> None:
    channel = Channel(hook(slack, channel="#ci"), session)
    red = channel.world.fire()
    await channel.tick()
    channel.world.end(red)
    await channel.tick(5 * MINUTE)
    assert [body["text"].split(" ")[0] for body in slack.hooked] == ["*[FIRING:1]*", "*[RESOLVED]*"]
    assert slack.hooked[0]["channel"] == "#ci"


async def test_the_message_says_what_a_person_needs(slack: Slack, session: aiohttp.ClientSession) -> None:
    channel = Channel(hook(slack), session)
    red = channel.world.fire()
    shown_item = item(red, before_text="1", before_span="24h", owner="platform")
    await channel.tick(items=[shown_item])
    key = red.key
    assert texts(slack.hooked[0]).splitlines() == [
        "*[FIRING:1]* main_is_red · k2/app: 3 &gt;= 3 (was 1 the 24h before), 12 of 40 runs, "
        "since 2026-01-05 10:00 UTC (1m)",
        "🟠 FIRING · main_is_red · k2/app",
        "*Value*",
        "3 &gt;= 3",
        "*Runs*",
        "12 of 40",
        "*Before*",
        "1 (the 24h before)",
        "*Since*",
        "2026-01-05 10:00 UTC (1m)",
        "*Owner*",
        "platform",
        "Main is red",
        "• <https://gitlab.test/k2/app/-/pipelines/1007|#7> failure · main · Commit 7 – test 3/20 (script_failure)",
        "• <https://gitlab.test/k2/app/-/pipelines/1006|#6> failure · main · Commit 6 – test 3/20 (script_failure)",
        "• and 10 more",
        "• first failing: <https://gitlab.test/k2/app/-/pipelines/1005|01234567> Commit 5",
        "• last green: <https://gitlab.test/k2/app/-/pipelines/1004|01234567> Commit 4",
        "• <https://gitlab.test/k2/app/-/compare/a...b|changes between them>",
        "• <https://wiki.test/red?a=1&amp;b=2|runbook>",
        "severity warning · receiver team · source gitlab",
        f"<https://k2alert.test/alerts/{key}|Open>",
        f"<https://k2alert.test/silences/new?alert={key}|Silence>",
        "<https://k2alert.test/rules/main_is_red?project=k2%2Fapp&source=gitlab|Explain>",
    ]


ENDLESS_ZONE = f"Mon, 05 Jan 2026 12:00:42 +{'9' * 30}"

ANSWERS = {
    "asked to wait": (Scripted(status=429, headers={"Retry-After": "7"}), Retry),
    "broken": (Scripted(status=500), Retry),
    "a gateway's page": (Scripted(status=502, body="<html>", content_type="text/html"), Retry),
    "a login page instead of Slack": (Scripted(body="<!DOCTYPE html>", content_type="text/html"), Retry),
    "a charset that is none": (Scripted(body="6f6b", content_type="text/plain; charset=hex"), Retry),
    "a wait that is no time": (Scripted(status=503, headers={"Retry-After": ENDLESS_ZONE}), Retry),
    "no service": (Scripted(status=404, body="no_service", content_type="text/plain"), Refused),
    "archived": (Scripted(status=410, body="channel_is_archived", content_type="text/plain"), Refused),
    "prohibited": (Scripted(status=403, body="action_prohibited", content_type="text/plain"), Refused),
    "a proxy that repeats the URL": (Scripted(status=404, body=f"no {HOOK}", content_type="text/plain"), Refused),
}


@pytest.mark.parametrize(("answer", "kind"), ANSWERS.values(), ids=ANSWERS)
async def test_a_webhooks_answers_mean_again_or_never(
    slack: Slack, session: aiohttp.ClientSession, answer: Scripted, kind: type
) -> None:
    channel = Channel(hook(slack), session)
    channel.world.fire()
    slack.script = [answer]
    (delivery,) = await channel.tick()
    assert isinstance(delivery, kind)
    assert SECRET not in repr(delivery)


API_ANSWERS = {
    "asked to wait": (Scripted(status=429, body='{"ok":false,"error":"ratelimited"}', headers={"Retry-After": "7"}), 7),
    "an inner error": (Scripted(body='{"ok":false,"error":"internal_error"}'), None),
    "broken": (Scripted(status=500, body="oops", content_type="text/plain"), None),
    "a page": (Scripted(body="<html>", content_type="text/html"), None),
    "plain text": (Scripted(body="hello", content_type="text/plain"), None),
    "half of an answer": (Scripted(body='{"ok":'), None),
    "a list": (Scripted(body="[1]"), None),
    "brackets without end": (Scripted(body="[" * 100_000), None),
    "a charset that is none": (Scripted(body="{}", content_type="application/json; charset=hex"), None),
    "a wait that is no time": (Scripted(status=503, body="{}", headers={"Retry-After": ENDLESS_ZONE}), None),
    "a broken one that is no JSON": (Scripted(status=503, body="{"), None),
}


@pytest.mark.parametrize(("answer", "seconds"), API_ANSWERS.values(), ids=API_ANSWERS)
async def test_passing_answers_of_the_api_are_tried_again(
    slack: Slack, session: aiohttp.ClientSession, answer: Scripted, seconds: int | None
) -> None:
    channel = Channel(bot(slack), session)
    channel.world.fire()
    slack.script = [answer]
    (delivery,) = await channel.tick()
    assert isinstance(delivery, Retry)
    assert delivery.after == (None if seconds is None else timedelta(seconds=seconds))
    assert isinstance((await channel.tick())[0], Sent)


async def test_a_wrong_token_is_refused_and_never_shown(slack: Slack, session: aiohttp.ClientSession) -> None:
    channel = Channel(bot(slack, token="xoxb-wrong-secret"), session)
    channel.world.fire()
    (delivery,) = await channel.tick()
    assert delivery == Refused("#ci: Slack answered 200 invalid_auth", "authError")
    assert "wrong-secret" not in repr(channel.settings)


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "http://nowhere.invalid", "not a url", ""])
async def test_a_server_that_is_not_there_is_a_value_and_no_exception(
    slack: Slack, session: aiohttp.ClientSession, url: str
) -> None:
    for settings in (
        integration.Settings(webhook_url=SecretStr(f"{url}/{SECRET}" if url else "")),
        bot(slack).model_copy(update={"api_url": url or "::"}),
    ):
        channel = Channel(settings, session)
        channel.world.fire()
        (delivery,) = await channel.tick()
        assert isinstance(delivery, Retry if url.startswith("http") else Refused)
        assert SECRET not in repr(delivery)


async def test_slack_that_hangs_is_tried_again(slack: Slack, session: aiohttp.ClientSession) -> None:
    channel = Channel(hook(slack), session)
    channel.world.fire()
    channel.world.now += MINUTE
    (due,) = channel.world.due()
    message = compose(due, [], now=channel.world.now)
    delivery = await integration.send(
        channel.settings, message, wire=a_wire(session, timedelta(microseconds=1)), render=str
    )
    assert delivery == Retry("Slack did not answer in time", reason="contextDeadlineExceeded", maybe=True)


async def test_no_secret_is_logged_even_at_debug(
    slack: Slack, session: aiohttp.ClientSession, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        for settings in (hook(slack), bot(slack)):
            channel = Channel(settings, session)
            channel.world.fire()
            await channel.tick()
    ours = [record for record in caplog.records if not record.name.startswith("aiohttp.access")]  # the stand-in's own
    assert not [record for record in ours if SECRET in record.getMessage() or TOKEN in record.getMessage()]


async def test_a_long_digest_leaves_out_evidence_before_it_leaves_out_alerts() -> None:
    failed = tuple(run(number, jobs=(), web_url=f"https://gitlab.test/{'x' * 80}/{number}") for number in range(3))
    alerts = tuple(alert(project=f"k2/app-{number:02}") for number in range(30))
    entry = LogEntry(incident="d", group="d:digest", group_labels=Labels(), receiver="team", integration="slack[0]")
    told = {one.key: one.state for one in alerts}
    part = Part(kind=Kind.DIGEST, entry=entry, alerts=alerts, news=alerts, told=told)
    due = Due(kind=Kind.DIGEST, receiver="team", integration=receivers()["team"].integrations[0], parts=(part,))
    items = [item(one, evidence=Evidence(runs=failed, faults=3, samples=9), owner="ann") for one in alerts]
    payload = integration.build(compose(due, items, now=T0))
    said = texts(payload)
    assert wrong_payload(payload) == ""
    assert all(one.labels["project"] in said for one in alerts)
    assert 5 < said.count("owner ann") < 30


# ---------------------------------------------------------------------------------------------- pace


async def test_a_channel_hears_one_message_a_second_threads_too(slack: Slack, session: aiohttp.ClientSession) -> None:
    channel = Channel(bot(slack), session)
    reds = [channel.world.fire(f"k2/{number}") for number in range(3)]
    await channel.tick()
    assert channel.waits.slept == [1, 1]
    for red in reds:
        channel.world.end(red)
    await channel.tick(5 * MINUTE)
    assert [method for method, _ in slack.calls][3:] == ["chat.update", "chat.postMessage"] * 3
    assert channel.waits.slept == [1, 1, 1, 1]


async def test_channels_and_tokens_do_not_wait_for_each_other(slack: Slack, session: aiohttp.ClientSession) -> None:
    channel = Channel(bot(slack, "#ci", "#qa"), session)
    other = Channel(hook(slack), session)
    other.wire = channel.wire
    for one in (channel, other):
        one.world.fire()
        assert isinstance((await one.tick())[0], Sent)
    assert (len(slack.posts), len(slack.hooked), channel.waits.slept) == (2, 1, [])


async def test_two_receivers_that_speak_to_one_channel_take_turns(slack: Slack, session: aiohttp.ClientSession) -> None:
    channel, other = Channel(bot(slack), session), Channel(bot(slack), session)
    other.wire = channel.wire
    for one in (channel, other):
        one.world.fire()
        one.world.now += MINUTE
        await one.send(one.world.due()[0])
    assert channel.waits.slept == [1]


async def test_all_edits_together_stay_within_what_slack_allows(slack: Slack, session: aiohttp.ClientSession) -> None:
    channel = Channel(bot(slack), session)
    red = channel.world.fire()
    await channel.tick()
    channel.world.end(red, EndReason.RULE_CHANGED)  # nothing is said in the thread
    channel.world.now += 5 * MINUTE
    channel.waits.now += 300
    (due,) = channel.world.due()
    outcomes = [await channel.send(due) for _ in range(51)]
    assert all(isinstance(one, Sent) for one in outcomes[:50])
    assert outcomes[50] == Retry(
        "Slack takes no more messages there for now", timedelta(minutes=1), "rateLimited", local=True
    )
    channel.waits.now += 60
    assert isinstance(await channel.send(due), Sent)


async def test_a_channel_that_asked_to_wait_is_left_alone_and_the_others_are_not(
    slack: Slack, session: aiohttp.ClientSession
) -> None:
    channel, other = Channel(bot(slack), session), Channel(bot(slack, "#qa"), session)
    other.wire = channel.wire
    slack.script = [Scripted(status=429, body='{"ok":false,"error":"ratelimited"}', headers={"Retry-After": "30"})]
    for number in range(2):
        channel.world.fire(f"k2/{number}")
    first, second = await channel.tick()
    assert first == Retry("Slack answered 429 ratelimited", timedelta(seconds=30), "rateLimited", local=True)
    assert second == replace(first, error="Slack takes no more messages there for now")
    assert len(slack.calls) == 1
    other.world.fire()
    assert isinstance((await other.tick(MINUTE))[0], Sent)
    channel.waits.now += 30
    assert [type(one) for one in await channel.tick(MINUTE)] == [Sent, Sent]


# ----------------------------------------------------------------------------------- limits, escapes


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
async def test_a_forges_text_pings_nobody_and_links_nowhere(
    slack: Slack, session: aiohttp.ClientSession, text: str
) -> None:
    channel = Channel(hook(slack), session)
    red = alert(project=text or "x", at=T0)
    red = replace(red, identity=red.identity.merged(Labels({"branch": text})), labels=red.labels.merged({"team": text}))
    channel.world.put(red)
    jobs = tuple(replace(job, name=text, reason=text) for job in run(1).jobs * 9)
    bad = replace(run(1), title=text, branch=text, workflow=text, sha=text, number=text, web_url=text, jobs=jobs)
    evidence = Evidence(runs=(bad,) * 10, faults=99, samples=100, first_failing=bad, last_green=bad, compare_url=text)
    shown_item = item(red, text=integration.escape(text), evidence=evidence, annotations={"runbook_url": text})
    (delivery,) = await channel.tick(items=[shown_item])
    assert isinstance(delivery, Sent)
    said = texts(slack.hooked[0])
    links = re.findall(r"<[^<>]*>", said)
    assert [link.rpartition("|")[2] for link in links] == ["Open>", "Silence>", "Explain>"]
    assert not re.search(r"<(?!https://k2alert.test/)", said)
    for one in (text for block in all_blocks(slack.hooked[0]) for text in texts_of(block)):
        assert one["type"] == "plain_text" or one["verbatim"]


MARKS = {
    "*bold*": "∗bold∗",
    "_slanted_ snake_case_name": "ˍslantedˍ snake_case_name",
    "~struck~ `code`": "∼struck∼ ˋcodeˋ",
    "> quoted": "&gt; quoted",
    ":tada: at 10:30": ":\u2060tada: at 10:30",
}


@pytest.mark.parametrize(("text", "shown_as"), MARKS.items())
def test_a_forges_text_is_neither_bold_nor_slanted_nor_code(text: str, shown_as: str) -> None:
    assert integration.escape(text) == shown_as


async def test_the_longest_message_stays_within_slacks_limits(slack: Slack, session: aiohttp.ClientSession) -> None:
    channel = Channel(hook(slack), session)
    channel.world.route = replace(channel.world.route, group_by=())  # type: ignore[type-var]
    reds = [channel.world.fire(f"k2/{number}") for number in range(25)]
    long = run(1, title="&" * 5000, branch="<" * 5000, web_url="https://gitlab.test/" + "x" * 900)
    evidence = Evidence(runs=(long,) * 10, faults=99, samples=100)
    markup = "<https://gitlab.test/" + "y" * 80 + "|a link> &amp; "
    items = [item(red, text=markup * 100, evidence=evidence) for red in reds[:10]]
    (delivery,) = await channel.tick(items=items)
    assert isinstance(delivery, Sent)
    said = texts(slack.hooked[0])
    assert "and more than fits here" in said
    assert not re.search(r"<[^<>]*$|&[a-z]*…", said)


def test_settings_that_can_send_nothing_are_refused() -> None:
    for wrong in ({}, {"bot_token": "x"}):
        with pytest.raises(ValidationError):
            integration.Settings.model_validate(wrong)
