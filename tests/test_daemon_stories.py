"""Whole-daemon stories: real collection over HTTP, a real store, real messages; only the clock is moved."""

import asyncio
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from k2alert.cli import main
from k2alert.times import iso
from tests.support.daemon import PROJECT, Running, World, a_world, daemon, until, until_judged, until_seen, until_unseen
from tests.support.slack import TOKEN, Slack, stand_in_slack

RULES = """
alert_rules:
  - name: main_is_red
    condition: consecutive_failures >= 3
    period: 24h
    severity: critical
    match: ['ref_type="default"']
    message: "{{ consecutive_failures }} in a row on {{ labels.project }}"
"""


def write_config(folder: Path, world: World, slack: Slack, *, rules: str = RULES, more: str = "") -> Path:
    (folder / "rules.yml").write_text(rules)
    config = folder / "k2alert.yml"
    config.write_text(
        f"""
sources:
  - {{type: gitlab, name: gitlab, url: "{world.url}", token: secret-token-1, projects: [{PROJECT}],
     poll_interval: 100ms, backfill: 2d, max_staleness: 30d}}
store: sqlite:///{folder}/k2alert.db
evaluation_interval: 100ms
rule_files: [rules.yml]
receivers:
  - name: team
    slack: {{bot_token: {TOKEN}, api_url: "{slack.api_url}", channel: "#ci"}}
route: {{receiver: team, group_wait: 0s, group_interval: 1s}}
{more}
"""
    )
    return config


def texts(slack: Slack) -> list[str]:
    return [post.body["text"] for post in slack.top()]


async def test_a_broken_main_is_told_once_and_resolved_once(tmp_path: Path) -> None:
    async with a_world() as world, stand_in_slack() as slack:
        for day in range(12):
            world.run(ago=timedelta(hours=40 - 3 * day))
        async with daemon(write_config(tmp_path, world, slack), world.clock) as running:
            await until_judged(running)
            for _ in range(3):
                world.clock.move(minutes=10)
                world.run("failed")
            await until(lambda: texts(slack), "the first message")
            (alert,) = await running.alerts()
            assert alert["annotations"] == {"message": f"3 in a row on {PROJECT}"}

            world.clock.move(minutes=10)
            world.run()
            await until(lambda: slack.thread(), "the resolve")

        (post,) = slack.top()
        assert "RESOLVED" in post.body["text"]
        assert len(slack.thread()) == 1
        assert any(f"/{PROJECT}/-/pipelines/1015" in str(edit) for edit in post.edits)


async def test_a_restart_in_the_middle_says_nothing_twice_and_forgets_nothing(tmp_path: Path) -> None:
    async with a_world() as world, stand_in_slack() as slack:
        world.run(ago=timedelta(hours=5))
        config = write_config(tmp_path, world, slack)
        async with daemon(config, world.clock) as running:
            await until_judged(running)
            for _ in range(3):
                world.run("failed")
                world.clock.move(minutes=1)
            await until(lambda: texts(slack), "the first message")

        async with daemon(config, world.clock) as running:
            await until_judged(running)
            assert [alert["state"] for alert in await running.alerts()] == ["firing"]
            world.clock.move(minutes=1)
            world.run()
            await until(lambda: slack.thread(), "the resolve")

        assert len(texts(slack)) == 1
        assert len(slack.thread()) == 1


async def test_a_bad_rule_file_keeps_the_good_one_and_a_mended_one_is_taken(tmp_path: Path) -> None:
    async with a_world() as world, stand_in_slack() as slack:
        world.run(ago=timedelta(hours=5))
        config = write_config(tmp_path, world, slack)
        async with daemon(config, world.clock) as running:
            await until_judged(running)
            url = f"http://127.0.0.1:{running.port}/-/reload"
            (tmp_path / "rules.yml").write_text(RULES.replace("period: 24h", "perriod: 24h"))
            async with running.session.post(url) as answer:
                assert answer.status == 500
                assert 'unknown key "perriod"' in await answer.text()
            assert "k2alert_config_last_reload_successful 0.0" in await running.text("/metrics")

            (tmp_path / "rules.yml").write_text(RULES.replace("main_is_red", "still_red"))
            async with running.session.post(url) as answer:
                assert answer.status == 200
            metrics = await running.text("/metrics")

    assert "k2alert_config_last_reload_successful 1.0" in metrics
    assert 'k2alert_rule_evaluations_total{rule="still_red"}' in metrics
    assert 'k2alert_rule_evaluations_total{rule="main_is_red"}' not in metrics


async def explained(config: Path, *arguments: str) -> tuple[int, str]:
    """What `k2alert explain` prints, beside the daemon that has the store."""
    command = ["explain", *arguments, "--config", str(config)]
    result = await asyncio.to_thread(CliRunner().invoke, main, command, catch_exceptions=False)
    return result.exit_code, result.output


def undated(answer: dict[str, Any]) -> list[dict[str, Any]]:
    """Explanations but for when they were given."""
    return [{name: part for name, part in one.items() if name != "at"} for one in answer["explanations"]]


async def test_explain_says_why_and_who_was_told_while_the_daemon_runs(tmp_path: Path) -> None:
    async with a_world() as world, stand_in_slack() as slack:
        world.run(ago=timedelta(hours=5))
        config = write_config(tmp_path, world, slack)
        async with daemon(config, world.clock) as running:
            await until_judged(running)
            quiet = await explained(config, "main_is_red")
            early = world.clock.now()
            world.clock.move(minutes=1)
            for _ in range(3):
                world.run("failed")
                world.clock.move(seconds=1)
            await until_seen(running, 'k2alert_notifications_total{integration="slack",receiver="team"} 1.0')
            at = iso(world.clock.now())
            seen = str(tmp_path / "seen")
            status, firing = await explained(config, "main_is_red", "--message", seen, f"project={PROJECT}", "--at", at)
            before = await explained(config, "main_is_red", "--at", iso(early))
            long_ago = await explained(config, "main_is_red", "--at", iso(early - timedelta(days=3)))
            unknown = await explained(config, "main_is_rad")
            nowhere = await explained(config, "main_is_red", "project=other")

    assert quiet[0] == 0
    assert "the condition does not hold" in quiet[1]
    assert status == 0
    assert "consecutive_failures = 3 runs  (4 samples, 24h)" in firing
    assert "the condition holds since" in firing
    assert "route      root to receiver team" in firing
    assert "root to receiver team by slack[0]: heard 1 message of this incident, the last " in firing
    assert f"message    3 in a row on {PROJECT}" in firing
    files = firing.partition("messages as files:\n")[2].splitlines()
    assert {Path(file).suffix for file in files} >= {".json", ".html"}
    assert all(Path(file).parent == tmp_path / "seen" and Path(file).stat().st_size for file in files)
    assert firing.count("      failure main") == 3
    assert "consecutive_failures = 0 runs" in before[1]
    assert f"unknown: the history of {PROJECT} is recorded from " in long_ago[1]
    assert unknown == (1, "k2alert: no rule 'main_is_rad'; did you mean \"main_is_red\"?\n")
    assert nowhere == (1, "k2alert: rule 'main_is_red' has no label set with project=other\n")


async def test_a_running_daemon_explains_the_same_as_the_command_beside_it(tmp_path: Path) -> None:
    async with a_world() as world, stand_in_slack() as slack:
        for ago in (5, 4, 3, 2):
            world.run("failed" if ago < 5 else "success", ago=timedelta(minutes=ago))
        config = write_config(tmp_path, world, slack)
        async with daemon(config, world.clock) as running:
            await until(lambda: texts(slack), "the first message")
            await until_seen(running, 'k2alert_notifications_total{integration="slack",receiver="team"} 1.0')
            at = iso(world.clock.now())
            api = {query: await asked(running, query) for query in ("", f"&project={PROJECT}", f"&at={at}")}
            arguments = {"": [], f"&project={PROJECT}": [f"project={PROJECT}"], f"&at={at}": ["--at", at]}
            beside = {
                query: json.loads((await explained(config, "main_is_red", "--output", "json", *more))[1])
                for query, more in arguments.items()
            }
            unknown = await asked(running, "&project=other")

    for query, answer in api.items():
        assert undated(answer["data"]) == undated(beside[query]), query
    (now,) = api[""]["data"]["explanations"]
    assert (now["state"], now["why"]["code"], now["heard"][0]["why"]["code"]) == ("firing", "holds", "told")
    assert [run["result"] for run in now["values"][0]["evidence"]["runs"]] == ["failure"] * 3
    assert now["message"] == f"3 in a row on {PROJECT}"
    assert unknown["error"] == "rule 'main_is_red' has no label set with project=other"


async def asked(running: Running, query: str) -> dict[str, Any]:
    """What the daemon answers, question after question."""
    answer: dict[str, Any] = json.loads(await running.text(f"/api/v1/explain?rule=main_is_red{query}"))
    return answer


async def test_a_clock_set_back_a_little_ends_nothing_and_stops_no_look(tmp_path: Path) -> None:
    async with a_world() as world, stand_in_slack() as slack:
        world.run(ago=timedelta(hours=5))
        async with daemon(write_config(tmp_path, world, slack), world.clock) as running:
            await until_judged(running)
            for _ in range(3):
                world.clock.move(minutes=1)
                world.run("failed")
            await until(lambda: texts(slack), "the first message")
            asked = world.forge.requests["graphql"]

            world.clock.move(minutes=-2)  # of the three only one has finished now
            await until(lambda: world.forge.requests["graphql"] > asked + 3, "some looks")
            states = [alert["state"] for alert in await running.alerts()]

        assert (states, slack.thread(), len(texts(slack))) == (["firing"], [], 1)


async def test_what_ran_while_the_clock_was_hours_ahead_is_read_once_it_is_right(tmp_path: Path) -> None:
    async with a_world() as world, stand_in_slack() as slack:
        world.run(ago=timedelta(hours=5))
        async with daemon(write_config(tmp_path, world, slack), world.clock) as running:
            await until_judged(running)
            forge_time = world.clock.now
            world.forge.clock = lambda: forge_time() - timedelta(hours=3)
            world.clock.move(hours=3)
            asked = world.forge.requests["graphql"]
            await until(lambda: world.forge.requests["graphql"] > asked + 2, "looks by the wrong clock")
            for minutes in (30, 20, 10):
                world.run("failed", ago=timedelta(hours=3, minutes=minutes))
            world.clock.move(hours=-3)
            world.forge.clock = world.clock.now

            await until(lambda: texts(slack), "the message about what was missed")

        assert "main_is_red" in texts(slack)[0]


@pytest.mark.parametrize("broken", [False, True], ids=["a rule file goes", "and the main file breaks"])
async def test_files_that_change_are_read_again_once(
    tmp_path: Path, broken: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    async with a_world() as world, stand_in_slack() as slack:
        world.run(ago=timedelta(hours=5))
        config = write_config(tmp_path, world, slack)
        config.write_text(config.read_text().replace("[rules.yml]", '["rule*.yml"]'))
        (tmp_path / "rules2.yml").write_text(RULES.replace("main_is_red", "gone_soon"))
        async with daemon(config, world.clock) as running:
            await until_judged(running)
            if broken:
                config.write_text("sources: [")
            (tmp_path / "rules2.yml").unlink()
            said = "not reloaded" if broken else "reloaded"
            await until(lambda: said in caplog.text, "a look at the files")
            if not broken:
                await until_unseen(running, 'rule="gone_soon"')  # the next round draws it no more
            assert ('rule="gone_soon"' in await running.text("/metrics")) is broken

    assert sum(record.message == "the files have changed" for record in caplog.records) == 1
