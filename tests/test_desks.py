"""The desks: one for each integration, beside the rounds. Real receivers, a real store; time passes when told to."""

import asyncio
import sqlite3
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from aiohttp import web

from k2alert.labels import Labels
from k2alert.model import TellingQuery
from k2alert.notify.route import Integration, Receiver
from k2alert.notify.slack import Settings
from k2alert.record import StoreError
from tests.support.daemon import PATIENCE
from tests.support.notified import HOUR, SECOND, Told
from tests.support.office import Pause, an_office
from tests.support.slack import TOKEN, Scripted, Slack, stand_in_slack


def hook(slack: Slack, number: int = 0) -> Integration:
    return Integration("slack", f"slack[{number}]", Settings.model_validate({"webhook_url": slack.hook_url}))


def team(*integrations: Integration) -> dict[str, Receiver]:
    return {"team": Receiver("team", integrations)}


class Hanging(Slack):
    """A Slack that answers when it is let go; `took` says that it has heard."""

    def __init__(self) -> None:
        super().__init__()
        self.took, self.go = asyncio.Event(), asyncio.Event()

    async def hook(self, request: web.Request) -> web.Response:
        answer = await super().hook(request)
        self.took.set()
        await self.go.wait()
        return answer


def texts(slack: Slack) -> list[str]:
    return [body["text"] for body in slack.hooked]


async def test_one_that_hangs_holds_up_neither_a_round_nor_another_nor_itself_for_ever(tmp_path: Path) -> None:
    async with stand_in_slack() as quick, stand_in_slack(Hanging()) as slow:
        assert isinstance(slow, Hanging)
        async with an_office(tmp_path, team(hook(slow), hook(quick, 1))) as office:
            office.world.fire("k2/a")
            await office.round()
            await slow.took.wait()
            office.world.fire("k2/b")
            await office.round()
            async with asyncio.timeout(PATIENCE):
                while len(quick.hooked) < 2 or office.desks.queue() != {("team", "slack[0]"): 2}:
                    await asyncio.sleep(0.01)
                    await office.desks.look()
            metrics = office.self_metrics.render("")[0]
            assert b'k2alert_notifications_queued{integration="slack",receiver="team"} 2.0' in metrics
            assert len(slow.hooked) == 1
            slow.go.set()
            await office.quiet()
            await office.desks.look()
            await office.quiet()
            assert len(slow.hooked) == len(quick.hooked) == 2
            assert office.desks.queue() == {}


async def test_one_is_told_while_it_is_planned_what_another_hears(tmp_path: Path) -> None:
    async with (
        stand_in_slack() as slack,
        stand_in_slack() as other,
        an_office(tmp_path, team(hook(slack), hook(other, 1))) as office,
    ):
        pause = office.pauses["team", "slack[1]"] = Pause()
        office.world.fire()
        round = asyncio.create_task(office.told())
        await pause.reached.wait()
        while not slack.hooked:
            await asyncio.sleep(0.01)
        assert other.hooked == []
        pause.go.set()
        await round
        assert len(slack.hooked) == len(other.hooked) == 1


async def test_what_was_planned_before_a_new_round_is_not_said(tmp_path: Path) -> None:
    async with stand_in_slack() as slack, an_office(tmp_path, team(hook(slack))) as office:
        pause = office.pauses["team", "slack[0]"] = Pause()
        red = office.world.fire()
        round = asyncio.create_task(office.told())
        await pause.reached.wait()
        office.world.end(red)
        office.desks.begin_round()
        pause.go.set()
        await round
        await office.desks.look()
        await office.quiet()
        assert slack.hooked == []


async def test_what_arrives_while_it_is_planned_to_be_said_again_is_not(tmp_path: Path) -> None:
    async with stand_in_slack(Hanging()) as slow:
        assert isinstance(slow, Hanging)
        async with an_office(tmp_path, team(hook(slow))) as office:
            office.world.fire("k2/a")
            await office.round()
            await slow.took.wait()
            office.world.fire("k2/b")
            pause = office.pauses["team", "slack[0]"] = Pause()
            planning = asyncio.create_task(office.round())
            await pause.reached.wait()
            slow.go.set()
            await office.quiet()
            pause.go.set()
            await planning
            await office.quiet()
            assert len(slow.hooked) == 1
            await office.desks.look()
            await office.quiet()
            assert ["k2/a" in text for text in texts(slow)] == [True, False]


async def test_what_ends_before_its_turn_is_not_said(tmp_path: Path) -> None:
    async with stand_in_slack(Hanging()) as slow:
        assert isinstance(slow, Hanging)
        async with an_office(tmp_path, team(hook(slow))) as office:
            office.world.fire("k2/a")
            over = office.world.fire("k2/b")
            await office.round()
            await slow.took.wait()
            office.world.end(over)
            await office.round()
            slow.go.set()
            await office.quiet()
            await office.desks.look()
            await office.quiet()
        assert len(slow.hooked) == 1


async def test_what_ends_while_its_message_is_composed_is_remembered_until_its_end_was_told(tmp_path: Path) -> None:
    async with stand_in_slack() as slack, an_office(tmp_path, team(hook(slack))) as office:
        office.composing = pause = Pause()
        red = office.world.fire()
        await office.round()
        await pause.reached.wait()
        office.world.end(red)
        office.due()
        assert office.world.finished() == frozenset()
        pause.go.set()
        await office.quiet()
        await office.told(HOUR)
        assert ["FIRING" in text for text in texts(slack)] == [True, False]
        assert "RESOLVED" in texts(slack)[-1]
        office.due()
        assert office.world.finished() == {red.key}


async def test_what_could_not_be_composed_is_as_if_nobody_had_tried(tmp_path: Path) -> None:
    async with stand_in_slack() as slack, an_office(tmp_path, team(hook(slack))) as office:
        office.composing = pause = Pause(fails=StoreError("no space left"))
        office.world.fire()
        await office.round()
        await pause.reached.wait()
        pause.go.set()
        with pytest.raises(StoreError):
            await office.quiet()
        assert (office.desks.log, slack.hooked) == ((), [])
        office.composing = None
        await office.desks.look()
        await office.quiet()
        assert (len(slack.hooked), office.entry().sent) == (1, 1)


async def test_who_took_it_and_answers_too_late_is_told_again_and_hears_the_end(tmp_path: Path) -> None:
    async with stand_in_slack(Hanging()) as slow:
        assert isinstance(slow, Hanging)
        async with an_office(tmp_path, team(hook(slow)), within=SECOND) as office:
            red = office.world.fire()
            await office.told()
            assert office.entry().failures == 1
            office.world.end(red)
            slow.go.set()
            assert office.due() == ()
            assert office.world.finished() == frozenset()
            await office.told(11 * SECOND)
        assert ["FIRING" in text for text in texts(slow)] == [True, False]
        assert "RESOLVED" in texts(slow)[-1]


class Lying(Slack):
    """A Slack behind a gateway that loses its answers."""

    async def hook(self, request: web.Request) -> web.Response:
        await super().hook(request)
        return web.Response(status=502)


async def test_who_took_it_behind_a_gateway_that_says_otherwise_hears_the_end(tmp_path: Path) -> None:
    async with stand_in_slack(Lying()) as slack, an_office(tmp_path, team(hook(slack))) as office:
        red = office.world.fire()
        await office.told()
        office.world.end(red)
        await office.told(HOUR)
    assert ["FIRING" in text for text in texts(slack)] == [True, False]


async def test_who_surely_did_not_take_the_beginning_does_not_hear_the_end(tmp_path: Path) -> None:
    async with stand_in_slack() as slack:
        slack.script = [Scripted(status=503)]
        async with an_office(tmp_path, team(hook(slack))) as office:
            red = office.world.fire()
            await office.told()
            office.world.end(red)
            await office.told(HOUR)
        assert slack.hooked == []


async def test_the_history_says_how_each_try_went(tmp_path: Path) -> None:
    async with stand_in_slack() as slack:
        slack.script = [Scripted(status=503), Scripted(status=200, body="ok"), Scripted(status=404, body="no_service")]
        async with an_office(tmp_path, team(hook(slack))) as office:
            red = office.world.fire("k2/" + 5000 * "a")
            await office.told()
            await office.told()
            office.world.end(red)
            await office.told(HOUR)
            history = await office.store.tellings(TellingQuery())
        told = [(one.kind, one.outcome.value, one.reason, one.error) for one in reversed(history)]
        assert told == [
            ("firing", "retry", "serverError", "Slack answered 503"),
            ("firing", "sent", "", ""),
            ("resolved", "given_up", "clientError", "Slack answered 404 no_service"),
        ]
        assert len({one.incident for one in history}) == 1
        assert {(one.total, one.alerts[0].key, len(one.alerts[0].identity["project"])) for one in history} == {
            (1, red.key, 200)
        }


async def test_a_failed_message_is_tried_again_between_rounds(tmp_path: Path) -> None:
    async with stand_in_slack() as slack:
        slack.script = [Scripted(status=503)]
        async with an_office(tmp_path, team(hook(slack))) as office:
            office.world.fire()
            await office.told()
            for seconds, told in ((9, 0), (1, 1), (60, 1)):
                office.world.now += seconds * SECOND
                await office.desks.look()
                await office.quiet()
                assert len(slack.hooked) == told


async def test_what_is_due_while_its_desk_is_busy_is_told_once_that_is_free(tmp_path: Path) -> None:
    async with stand_in_slack(Hanging()) as slow:
        assert isinstance(slow, Hanging)
        slow.script = [Scripted(status=503)]
        async with an_office(tmp_path, team(hook(slow))) as office:
            for project in ("k2/a", "k2/b"):
                office.world.fire(project)
                office.world.now += SECOND
            await office.round()
            for _ in range(2):
                await slow.took.wait()
                slow.took.clear()
                office.world.now += 11 * SECOND
                await office.desks.look()
                slow.go.set()
                slow.go.clear()
            await office.quiet()
            assert ["k2/a" in text for text in texts(slow)] == [False]
            slow.go.set()
            await office.desks.look()
            await office.quiet()
            assert ["k2/a" in text for text in texts(slow)] == [False, True]


async def test_a_receiver_that_asks_to_wait_is_asked_nothing_until_then(tmp_path: Path) -> None:
    async with stand_in_slack() as slack:
        slack.script = [Scripted(status=429, headers={"Retry-After": "30"})]
        async with an_office(tmp_path, team(hook(slack))) as office:
            for number in range(3):
                office.world.fire(f"a/{number}")
            await office.told()
            office.world.fire("a/3")
            await office.told(29 * SECOND)
            assert slack.hooked == []  # a second call would have been taken
            office.world.now += SECOND
            office.waits.now += 30
            await office.desks.look()
            await office.quiet()
            assert len(slack.hooked) == 4


async def test_a_desk_that_cannot_store_sends_nothing_and_the_others_go_on(tmp_path: Path) -> None:
    async with (
        stand_in_slack() as first,
        stand_in_slack() as second,
        an_office(tmp_path, team(hook(first), hook(second, 1))) as office,
    ):
        with closing(sqlite3.connect(tmp_path / "k2alert.db", isolation_level=None)) as con:
            con.execute(
                "CREATE TRIGGER full BEFORE INSERT ON notifications WHEN NEW.integration = 'slack[0]' "
                "BEGIN SELECT RAISE(FAIL, 'no space left'); END"
            )
        office.world.fire()
        with pytest.raises(sqlite3.IntegrityError, match="no space left"):
            await office.told()
        assert (len(first.hooked), len(second.hooked)) == (0, 1)


async def test_a_store_that_is_down_costs_nothing_but_the_time(tmp_path: Path) -> None:
    database = tmp_path / "k2alert.db"

    def alter(statement: str) -> None:
        with closing(sqlite3.connect(database)) as con:
            con.execute(statement)

    async with stand_in_slack() as slack, an_office(tmp_path, team(hook(slack))) as office:
        office.world.fire()
        alter("ALTER TABLE notifications RENAME TO away")
        with pytest.raises(StoreError):
            await office.told()
        assert (slack.hooked, office.desks.log) == ([], ())
        alter("ALTER TABLE away RENAME TO notifications")
        await office.desks.look()
        await office.quiet()
        assert len(slack.hooked) == 1


async def test_a_bug_met_in_telling_one_silences_nobody_else_and_is_tried_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    broken = Integration("slack", "slack[0]", Told())
    async with stand_in_slack() as slack, an_office(tmp_path, team(broken, hook(slack, 1))) as office:
        office.world.fire()
        await office.told()
        assert office.entry("slack[0]").error == "bug: AttributeError"
        assert office.entry("slack[1]").sent == 1
        await office.told(11 * SECOND)
        assert (office.entry("slack[0]").failures, len(slack.hooked)) == (2, 1)
    assert "telling met a bug" in caplog.text


async def test_a_bug_met_in_composing_is_one_met_in_telling(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with stand_in_slack() as slack, an_office(tmp_path, team(hook(slack))) as office:
        office.composing = Pause(fails=ZeroDivisionError("oh"))
        office.composing.go.set()
        office.world.fire()
        await office.told()
        assert (office.entry().error, office.entry().sent, slack.hooked) == ("bug: ZeroDivisionError", 0, [])
        assert await office.store.log() == [office.entry()]
        office.composing = None
        await office.told(11 * SECOND)
        assert (office.entry().error, office.entry().sent, len(slack.hooked)) == ("", 1, 1)
    assert "telling met a bug" in caplog.text


async def test_a_stop_waits_for_what_is_in_flight_and_leaves_the_rest(tmp_path: Path) -> None:
    async with stand_in_slack(Hanging()) as slow:
        assert isinstance(slow, Hanging)
        async with an_office(tmp_path, team(hook(slow))) as office:
            office.world.fire("k2/a")
            office.world.fire("k2/b")
            await office.round()
            await slow.took.wait()
            closing_it = asyncio.create_task(office.desks.close(), name="close")
            await asyncio.sleep(0)
            slow.go.set()
            await closing_it
            assert len(slow.hooked) == 1
            assert [entry.sent for entry in await office.store.log()] == [1]


async def test_after_a_stop_that_would_not_wait_it_is_said_again_by_the_next_process(tmp_path: Path) -> None:
    async with stand_in_slack(Hanging()) as slow:
        assert isinstance(slow, Hanging)
        async with an_office(tmp_path, team(hook(slow))) as office:
            office.world.fire()
            await office.round()
            await slow.took.wait()
            (stored,) = await office.store.log()
        assert stored.retry_at == office.world.now
        slow.go.set()
        async with an_office(tmp_path, team(hook(slow))) as again:
            again.world.alerts = office.world.alerts
            again.world.now = office.world.now
            await again.desks.load()
            await again.told(SECOND)
            assert again.entry().sent == 1
        assert len(slow.hooked) == 2


@pytest.mark.parametrize("ahead", [timedelta(days=400), timedelta(days=30)])
async def test_a_clock_that_ran_ahead_keeps_nobody_waiting(tmp_path: Path, ahead: timedelta) -> None:
    async with stand_in_slack() as slack:
        slack.script = [Scripted(status=503)]
        async with an_office(tmp_path, team(hook(slack))) as office:
            office.world.now += ahead
            office.world.fire("k2/failed")
            await office.told()
            office.world.now -= ahead
            office.world.fire("k2/after")
            await office.told()
            assert len(slack.hooked) == 2


async def test_what_was_refused_is_said_as_soon_as_something_is_taken(tmp_path: Path) -> None:
    async with stand_in_slack() as slack, an_office(tmp_path, team(hook(slack))) as office:
        slack.script.append(Scripted(404, "channel_not_found"))
        office.world.fire("k2/a")
        await office.told()
        office.world.fire("k2/b")
        await office.told()
        await office.desks.look()
        await office.quiet()
        assert [text.partition("·")[2].split()[0] for text in texts(slack)] == ["k2/b:", "k2/a:"]
        await office.told()
        assert len(slack.hooked) == 2


async def test_a_channel_that_asked_to_wait_does_not_hold_up_another_of_the_same_desk(tmp_path: Path) -> None:
    settings = {"bot_token": TOKEN, "channel": "#{{ labels.team }}"}
    async with stand_in_slack() as slack:
        bot = Integration("slack", "slack[0]", Settings.model_validate({**settings, "api_url": slack.api_url}))
        slack.script = [Scripted(status=429, body='{"ok":false}', headers={"Retry-After": "30"})]
        async with an_office(tmp_path, team(bot)) as office:
            for place, channel in enumerate(("ci", "qa")):
                labels = Labels({"alertname": "red", "source": "gitlab", "project": f"k2/{place}", "team": channel})
                office.world.fire(f"k2/{place}", labels=labels)
                office.world.now += SECOND
            await office.told()
            assert [post.channel for post in slack.posts] == ["C0002"]
            office.waits.now += 30
            await office.told()
            assert [post.channel for post in slack.posts] == ["C0002", "C0001"]


async def test_new_settings_are_for_a_desk_that_is_free(tmp_path: Path) -> None:
    async with stand_in_slack(Hanging()) as slow, an_office(tmp_path, team(hook(slow))) as office:
        assert isinstance(slow, Hanging)
        office.world.fire("k2/a")
        await office.round()
        await slow.took.wait()
        who = ("team", "slack[0]")
        assert await office.desks.set_anew({who}) == frozenset()
        slow.go.set()
        await office.quiet()
        assert await office.desks.set_anew({who}) == {who}


async def test_who_does_not_lead_says_nothing_not_even_what_is_due(tmp_path: Path) -> None:
    leads = False
    async with stand_in_slack() as slack, an_office(tmp_path, team(hook(slack)), allowed=lambda: leads) as office:
        office.world.fire("k2/a")
        await office.told()
        assert slack.hooked == []
        leads = True
        await office.told(HOUR)
        assert len(slack.hooked) == 1


async def test_who_led_until_its_turn_came_says_nothing_any_more(tmp_path: Path) -> None:
    asked: list[int] = []

    def leads() -> bool:
        """When it is about to begin, and not when it has waited for its turn."""
        asked.append(1)
        return len(asked) < 2

    async with stand_in_slack() as slack, an_office(tmp_path, team(hook(slack)), allowed=leads) as office:
        office.world.fire("k2/a")
        await office.told()
        assert (len(asked), slack.hooked) == (2, [])


async def test_what_is_broken_off_stays_as_tried_for_whoever_leads_next(tmp_path: Path) -> None:
    async with stand_in_slack(Hanging()) as slow:
        assert isinstance(slow, Hanging)
        async with an_office(tmp_path, team(hook(slow))) as office:
            office.world.fire("k2/a")
            await office.round()
            await slow.took.wait()
            await office.desks.break_off()
            (stored,) = await office.store.log()
            assert "*tried" in stored.handle
            slow.go.set()
