"""Projects that nobody owns, while others' alerts go to owners."""

from pathlib import Path

import pytest

from tests.support.loading import load_text

BASE = """
sources: [{type: gitlab, name: gitlab, url: "https://gitlab.test", token: t, projects: [k2/app, k2/web, 42]}]
alert_rules:
  - {name: red, condition: success_rate < 0.9, period: 24h, severity: critical, message: m, labels: {area: ci}}
"""
LABELS = "project_labels: [{match: ['project=\"k2/app\"'], labels: {team: apps}}]\n"
PLAIN = """
receivers:
  - {name: all, slack: {bot_token: t, channel: "#ci"}}
  - {name: apps, slack: {bot_token: t, channel: "#a"}}
"""
TEMPLATED = "receivers: [{name: all, slack: {bot_token: t, channel: '#{{ labels.team }}-ci'}}]\n"


@pytest.mark.parametrize(
    ("config", "unowned"),
    [
        # Nothing goes by owners: one receiver hears all, or routes go by severity.
        (PLAIN + "route: {receiver: all, routes: [{matchers: [severity=critical], receiver: apps}]}", ""),
        (LABELS + PLAIN + "route: {receiver: all, routes: [{receiver: apps}]}", ""),
        # By routes: k2/web goes to the root's receiver only, or beside it through a route for everybody's.
        (LABELS + PLAIN + "route: {receiver: all, routes: [{matchers: [team=apps], receiver: apps}]}", "k2/web"),
        (PLAIN + "route: {receiver: all, routes: [{matchers: ['project=~\"k2/a.*\"'], receiver: apps}]}", "k2/web"),
        (PLAIN + "route: {receiver: all, routes: [{matchers: ['project=~\"k2/.*\"'], receiver: apps}]}", ""),
        (
            LABELS
            + PLAIN
            + "route: {receiver: all, routes: [{matchers: [severity=critical], receiver: all, continue: true},"
            " {matchers: [team=apps], routes: [{matchers: [severity=critical], receiver: apps}]}]}",
            "k2/web",
        ),
        # By addresses.
        (LABELS + TEMPLATED + "route: {receiver: all}", "k2/web"),
        (LABELS.replace('="k2/app"', '=~".*"') + TEMPLATED + "route: {receiver: all}", ""),
    ],
)
def test_check_lists_the_projects_whose_alerts_reach_no_owner(tmp_path: Path, config: str, unowned: str) -> None:
    loaded = load_text(tmp_path, BASE + config, {})
    said = [problem.text for problem in loaded.problems if problem.code == "unowned"]
    assert loaded.config is not None, loaded.problems
    wanted = f"nobody owns {unowned}: no route and no address is for their alerts alone"
    assert said == ([wanted] if unowned else [])
