"""A digest of a whole daemon: what fires and what ended, each with what failed."""

import re
from datetime import timedelta
from pathlib import Path

from tests.support.daemon import PROJECT, Clock, a_world, daemon, until, until_judged, until_seen
from tests.support.slack import TOKEN, stand_in_slack, texts

RULES = """
alert_rules:
  - {name: broken, condition: failed_pipelines >= 1, period: 30d, severity: info, message: m}
  - {name: red, condition: consecutive_failures >= 1, period: 30d, severity: info, message: m}
"""


async def test_each_entry_says_what_failed_also_of_what_is_over(tmp_path: Path) -> None:
    clock = Clock()
    async with a_world(clock) as world, stand_in_slack() as slack:
        world.run(ago=timedelta(hours=5))
        (tmp_path / "rules.yml").write_text(RULES)
        config = tmp_path / "k2alert.yml"
        config.write_text(
            f"""
sources:
  - {{type: gitlab, name: gitlab, url: "{world.url}", token: secret-token-1, projects: [{PROJECT}],
     poll_interval: 100ms, backfill: 2d, max_staleness: 30d}}
store: sqlite:///{tmp_path}/k2alert.db
evaluation_interval: 100ms
rule_files: [rules.yml]
project_labels: [{{match: ['project="{PROJECT}"'], labels: {{owner: platform}}}}]
receivers:
  - name: team
    slack: {{bot_token: {TOKEN}, api_url: "{slack.api_url}", channel: "#ci"}}
route: {{receiver: team, routes: [{{name: daily, digest: "daily {clock.now():%H:%M} UTC"}}]}}
"""
        )
        async with daemon(config, clock) as running:
            await until_judged(running)
            world.run("failed")
            await until_seen(running, 'k2alert_alerts{rule="red",severity="info",state="firing"} 1.0')
            clock.move(minutes=10)
            world.run()
            await until_seen(running, 'k2alert_alerts{rule="red",severity="info",state="firing"} 0.0')
            clock.move(hours=24)
            await until(lambda: slack.posts, "the digest")
        (post,) = slack.posts
        said = [line for line in texts(post.body).splitlines() if line.startswith("•")]
        failed = rf"– <{re.escape(world.url)}/{PROJECT}/-/pipelines/1002\|#1002> .*· owner platform$"
        assert re.match(rf"• \*firing\* broken · {PROJECT}: .*1 of 3 runs.*{failed}", said[0])
        assert re.match(rf"• \*resolved\* red · {PROJECT}: .*{failed}", said[1])
        assert " of " not in said[1].partition("–")[0]
