"""A scene over runs written as text, for what judges, explains and tells without a store or a forge."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from k2alert.collect.settings import SourceSettings
from k2alert.config.load import load
from k2alert.config.model import Config
from k2alert.cycle import Plan, Scene, plan
from k2alert.labels import Labels
from k2alert.measure.catalogue import METRICS
from k2alert.model import RESULTS, Entry, Kind, Project, Result, Stream
from k2alert.recall import make_board
from k2alert.times import to_ms
from k2alert.universe import make_universe

T0 = datetime(2026, 1, 10, tzinfo=UTC)
DAY, MINUTE = timedelta(days=1), timedelta(minutes=1)
SOURCE = SourceSettings(type="gitlab", name="gitlab", projects=("pay/api", "pay/web", "ops/infra"))

MAIN = """
sources:
  - {type: gitlab, name: gitlab, url: "http://127.0.0.1", token: abcdefgh, projects: [pay/api, pay/web, ops/infra]}
rule_files: [rules.yml]
labels: {cluster: prod}
project_labels:
  - {match: ['project=~"pay/.*"'], labels: {team: payments}}
receivers: [{name: team, slack: {webhook_url: "https://hooks.example/x/y", channel: "#ci"}}]
route: {receiver: team, group_wait: 0s}
"""
RED = """
alert_rules:
  - name: main_is_red
    condition: consecutive_failures >= 2
    period: 24h
    severity: critical
    message: "{{ consecutive_failures }} in a row"
"""


def project(path: str, **changed: object) -> Project:
    read = Project(
        source="gitlab",
        key=path,
        path=path,
        web_url=f"https://gitlab.example/{path}",
        first_seen_at=T0 - 30 * DAY,
        covered_since=T0 - 30 * DAY,
        complete_at=T0,
        success_at=T0,
    )
    return replace(read, **changed)


PROJECTS = (project("pay/api"), project("pay/web"), project("ops/infra"))


class Bench:
    """A scene over runs written as text: `pay/api main ++--` ends a run a minute, the last one a minute ago."""

    def __init__(self, folder: Path, rules: str, *lines: str, projects: tuple[Project, ...] = PROJECTS) -> None:
        (folder / "k2alert.yml").write_text(MAIN)
        (folder / "rules.yml").write_text(rules)
        loaded = load(folder / "k2alert.yml", environ={}, metrics=METRICS)
        assert loaded.config is not None, loaded.problems
        self.config: Config = loaded.config
        board = make_board(self.config, METRICS)
        entries = []
        for number, line in enumerate(lines):
            path, branch, results = line.split()
            labels = {"source": "gitlab", "project": path, "ref_type": "default", "branch": branch, "event": "push"}
            board.add_streams([Stream(number, Kind.RUN, Labels(labels))])
            for place, result in enumerate(results):
                ended = to_ms(T0 - (len(results) - place) * MINUTE)
                code = RESULTS.index(Result.SUCCESS if result == "+" else Result.FAILURE)
                entries.append(Entry(number, len(entries), ended - 1, ended, None, code, 60_000, 0, False, False))
        board.load(Kind.RUN, sorted(entries, key=lambda entry: (entry.finished, entry.ref)))
        board.load(Kind.JOB, ())
        for kind in Kind:
            if not kind.of_runs:
                board.load_facts(kind, ())
        self.scene = Scene(
            config=self.config,
            metrics=METRICS,
            measures=board,
            universe=make_universe(self.config, projects),
            projects=projects,
            alerts={},
            log=(),
            started_at=T0 - DAY,
        )

    def plan(self) -> Plan:
        return plan(self.scene, now=T0)
