"""Messages that do not arrive, in whole daemons: a Slack that refuses, and a real SMTP server that says so."""

from datetime import timedelta
from pathlib import Path

from tests.support.daemon import PROJECT, World, a_world, daemon, until, until_judged, until_seen
from tests.support.slack import TOKEN, Slack, stand_in_slack
from tests.support.smtp import PASSWORD, USER, MailServer, mail_server
from tests.test_daemon_mail import read_strictly
from tests.test_daemon_stories import RULES

FIRES = 'k2alert_alerts{rule="K2AlertNotificationsFailing",severity="warning",state="firing"} '


def write_config(folder: Path, world: World, slack: Slack, mail: MailServer, *, channel: str) -> Path:
    (folder / "rules.yml").write_text(RULES)
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
    slack: {{bot_token: {TOKEN}, api_url: "{slack.api_url}", channel: "{channel}"}}
  - name: ops
    email:
      smtp_server: localhost:{mail.port}
      smtp_user: {USER}
      smtp_password: {PASSWORD}
      ca_file: {mail.ca_file}
      from_address: ci-cd@k2-platform.com
      to_addresses: [ops@k2-platform.com]
route: {{receiver: team, group_wait: 0s, group_interval: 1s}}
"""
    )
    return config


async def red(world: World) -> None:
    for _ in range(3):
        world.clock.move(minutes=10)
        world.run("failed")


async def test_a_channel_that_is_gone_is_told_by_mail_and_once_mended_hears_what_it_missed(tmp_path: Path) -> None:
    async with a_world() as world, stand_in_slack() as slack, mail_server(tmp_path) as mail:
        world.run(ago=timedelta(hours=5))
        config = write_config(tmp_path, world, slack, mail, channel="#gone")
        async with daemon(config, world.clock) as running:
            await until_judged(running)
            await red(world)
            await until_seen(running, FIRES + "1.0")
            await until(lambda: mail.raw, "the mail")
            (one,) = [one for one in await running.alerts() if "receiver" in str(one["labels"])]
            page = await running.text(f"/alerts/{one['k2alert']['fingerprint']}")  # type: ignore[index]
            assert "The last message of 1 incident was given up: #gone" in page

        async with daemon(config, world.clock) as running:  # a restart changes nothing
            await until_judged(running)
            await until_seen(running, FIRES + "1.0")
            write_config(tmp_path, world, slack, mail, channel="#ci")
            await until(lambda: slack.posts, "what it missed")
            world.clock.move(minutes=1)
            await until(lambda: len(mail.raw) == 2, "the end")
            await until_seen(running, FIRES.replace("firing", "inactive") + "2.0")

    assert one["labels"] == {
        "alertname": "K2AlertNotificationsFailing",
        "integration": "slack[0]",
        "receiver": "team",
        "severity": "warning",
    }
    first, last = map(read_strictly, mail.raw)
    said = "The last message of 1 incident was given up: #gone: Slack answered 200 channel_not_found."
    assert said in first.get_body(("plain",)).get_content().replace("\n", " ")
    assert first["Subject"] == "[FIRING:1] K2AlertNotificationsFailing"
    assert last["Subject"] == "[RESOLVED] K2AlertNotificationsFailing"
    assert [post.channel for post in slack.posts] == ["C0001"]
    assert f"main_is_red · {PROJECT}" in slack.posts[0].body["text"]
    assert [TOKEN in raw.decode() for raw in mail.raw] == [False, False]


async def test_what_was_given_up_stands_when_its_incident_is_over_and_forgotten(tmp_path: Path) -> None:
    async with a_world() as world, stand_in_slack() as slack, mail_server(tmp_path) as mail:
        world.run(ago=timedelta(hours=5))
        config = write_config(tmp_path, world, slack, mail, channel="#gone")
        async with daemon(config, world.clock) as running:
            await until_judged(running)
            await red(world)
            await until(lambda: mail.raw, "the mail")
            world.clock.move(minutes=1)
            world.run()
            await until_seen(running, 'k2alert_alerts{rule="main_is_red",severity="critical",state="firing"} 0.0')
            world.clock.move(hours=2)  # a closed log entry is forgotten after one
            await until_seen(running, FIRES + "1.0")
        for _ in range(2):
            async with daemon(config, world.clock) as running:
                await until_judged(running)
                await until_seen(running, FIRES + "1.0")
                slack.channels["#gone"] = "C0009"
        async with daemon(config, world.clock) as running:
            await until_judged(running)
            await red(world)
            await until(lambda: slack.posts, "the next incident")
            world.clock.move(minutes=1)
            await until(lambda: len(mail.raw) == 2, "the end")
    assert [read_strictly(raw)["Subject"].partition(" ")[0] for raw in mail.raw] == ["[FIRING:1]", "[RESOLVED]"]
    assert [post.body["text"].split()[1] for post in slack.posts] == ["main_is_red"]  # and nothing of itself
