"""Main files written to a folder and loaded, and what was said of them."""

from collections.abc import Mapping
from pathlib import Path

from k2alert.config.load import Loaded, load
from k2alert.measure.catalogue import METRICS

NOTIFIED = "notifications: {slack: {webhook_url: $HOOK}}\n"
TOKEN = "glpat-SECRETSECRET"
FULL = """\
sources:
  - type: gitlab
    name: gitlab
    url: https://gitlab.example.com/
    token: $TOKEN
    projects: [k2/market-data, 42]
    groups: [k2]
    exclude: ["k2/archive-*"]
    poll_interval: 60s
    backfill: 7d
    max_staleness: 15m
    max_requests_per_minute: 300
    ca_file: /etc/ssl/corp.pem
    webhook_secret: [$TOKEN, $TOKEN]
    reports: {jobs: ["test*"], junit: ["**/junit*.xml"]}
  - {type: github, name: github, token: $TOKEN, repositories: [k2/app], webhook_secret: $TOKEN}
store: sqlite:///k2alert.db
retention: 35d
evaluation_interval: 30s
rule_files: ["*rules.yml"]
web: {listen: 127.0.0.1:9725, external_url: https://k2alert.example.com, admin_token: $TOKEN}
labels: {cluster: prod}
project_labels:
  - {match: ['project=~"payments/.*"'], labels: {team: payments, min_success: "0.75"}}
export: {windows: [24h, 7d], by: [project], match: ['ref_type="default"'], labels: [team]}
notifications:
  slack: {channel: "#ci-cd-alerts"}
  email: {smtp_server: mail.example.com, from_address: ci@example.com}
receivers:
  - name: team
    slack: {bot_token: $TOKEN, channel: "#{{ labels.team }}-ci"}
    email: {to_addresses: ["{{ labels.team }}@example.com"]}
    webhook: {url: http://hooks.example.com/x}
    alertmanager: {url: [http://am-0:9093, http://am-1:9093]}
  - name: on-call
    slack: [{bot_token: $TOKEN}, {webhook_url: https://hooks.example.com/x}]
  - name: nobody
route:
  receiver: team
  group_by: [alertname, source, project]
  group_wait: 30s
  group_interval: 5m
  repeat_interval: 4h
  mute_time_intervals: [maintenance]
  routes:
    - name: pages
      matchers: ['severity="critical"']
      receiver: on-call
      group_by: ["..."]
      routes:
        - {matchers: ['team="payments"'], continue: true, group_wait: 0s}
    - {name: weekly, matchers: ['severity="info"'], digest: "Mon 09:00 Europe/Berlin"}
inhibit_rules: [{source_matchers: ['severity="critical"'], target_matchers: ['severity="warning"'], equal: [project]}]
time_intervals: [{name: maintenance, time_intervals: [{weekdays: ["saturday:sunday"], location: Europe/Berlin}]}]
"""

RULES = """\
defaults: {match: ['ref_type="default"'], min_samples: 10, labels: {area: ci}, annotations: {owner: "us"}}
alert_rules:
  - name: main_is_red
    condition: success_rate < label("min_success", 0.95)
    period: 20 runs
    severity: critical
    message: "{{ success_rate | percent }} over {{ period }}"
    by: [project, team]
    match: ['branch="main"', 'project=~"k2/.*"']
    for: 10m
    keep_firing_for: 15m
    clear: success_rate >= 0.97
    min_samples: 3
    no_data: resolve
    exclude_during: [maintenance]
    labels: {tier: one}
    annotations: {runbook_url: "https://runbooks.example.com/{{ labels.project }}"}
  - {name: slow, condition: p95_duration_minutes > 30, period: 24h, severity: info, message: slow}
"""


def load_text(folder: Path, text: str, environ: Mapping[str, str] | None = None, **rule_files: str) -> Loaded:
    """The main file of this text, beside rule files by name, loaded."""
    for name, content in rule_files.items():
        (folder / f"{name}.yml").write_text(content)
    main = folder / "k2alert.yml"
    main.write_text(text)
    return load(main, environ=environ or {}, metrics=METRICS)


def said(loaded: Loaded, code: str = "") -> list[str]:
    """The texts of the problems (of one code)."""
    return [problem.text for problem in loaded.problems if code in ("", problem.code)]
