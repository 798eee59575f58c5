"""Reports and deployments as gauges, and as alerts, of a running daemon: no series carries the name of a test."""

import json
from datetime import timedelta
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from k2alert.record import open_store
from k2alert.rehearse.gitlab_standin import StandinSchedule
from tests.support.daemon import World, a_world, daemon, until_judged
from tests.support.reported import every_kind

RULES = """
alert_rules:
  - {name: flaky, condition: flaky_test_rate > 0.2, period: 24h, severity: warning,
     message: "{% for one in evidence.tests %}{{ one.test }}: {{ one.message }}{% endfor %}"}
  - {name: fails, condition: failed_tests >= 1, by: [project, suite, test], period: 24h, severity: warning,
     message: "{{ labels.test }} failed {{ failed_tests }} of {{ total_tests }}"}
  - {name: drop, condition: coverage_drop >= 1, period: 1h, severity: warning, message: "to {{ coverage }}"}
  - {name: ships, condition: change_failure_rate >= 0.5, by: [project, environment], period: 24h, severity: warning,
     message: "{{ change_failure_rate | percent }} in {{ labels.environment }}"}
  - {name: late, condition: schedule_overdue_minutes > 30, by: [project, schedule], period: 1h, severity: warning,
     message: "{{ labels.schedule }} is late"}
"""


def write_config(folder: Path, world: World, by: str) -> Path:
    (folder / "rules.yml").write_text(RULES)
    config = folder / "k2alert.yml"
    config.write_text(
        f"""
sources:
  - {{type: gitlab, name: gitlab, url: "{world.url}", projects: [k2/app], poll_interval: 100ms, backfill: 7d}}
store: sqlite:///{folder}/k2alert.db
evaluation_interval: 100ms
rule_files: [rules.yml]
export: {{windows: [24h], by: {by}}}
notifications: {{slack: {{webhook_url: "http://127.0.0.1:9/nobody-listens"}}}}
"""
    )
    return config


async def shown_by(folder: Path, by: str) -> tuple[list[Sample], dict[str, str]]:
    """The series of a daemon that exports `by` these labels, and what its alerts say, by rule."""
    async with a_world() as world:
        config = write_config(folder, world, by)
        store = open_store(f"sqlite:///{folder}/k2alert.db")
        await every_kind(store, world.clock.now())
        await store.close()
        begun = world.clock.now() - timedelta(hours=30)
        due = begun + timedelta(hours=3)  # long ago: nothing ran
        late = StandinSchedule(
            id=1, updated_at=begun, next_run_at=due, cron=f"{due:%M %H} * * *", description="schedule 1"
        )
        world.forge.schedule("k2/app", late)  # at GitLab too: what is not there is forgotten
        async with daemon(config, world.clock) as running:
            await until_judged(running)
            text = await running.text("/metrics")
            alerts = json.loads(await running.text("/api/v1/alerts"))["data"]["alerts"]
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    return samples, {alert["labels"]["alertname"]: alert["annotations"]["message"] for alert in alerts}


async def test_rules_on_reports_fire_and_say_what_is_behind_them(tmp_path: Path) -> None:
    samples, messages = await shown_by(tmp_path, "[project]")
    assert messages == {
        "flaky": "d: d broke",
        "fails": "d failed 1 of 2",
        "drop": "to 79",
        "ships": "50% in production",
        "late": "schedule 1 is late",
    }
    values = {s.labels["rule"]: s.value for s in samples if s.name == "k2alert_rule_value"}
    built_in = {"K2AlertSourceStale", "K2AlertNotificationsFailing"}
    assert values.keys() - built_in == {"flaky", "drop", "ships", "late"}  # a test's name is no label
    gauges = {s.name: s.value for s in samples if s.labels.get("window", "24h") == "24h"}
    assert gauges["k2alert_ci_coverage_ratio"] == 0.79
    assert gauges["k2alert_ci_test_flaky_ratio"] == 0.25
    assert gauges["k2alert_ci_lead_time_seconds"] == 3600


async def test_gauges_go_by_job_and_by_environment_under_names_of_their_own(tmp_path: Path) -> None:
    samples, _ = await shown_by(tmp_path, "[project, environment]")
    assert {tuple(s.labels.items()) for s in samples if s.name == "k2alert_ci_deployments_finished"} == {
        (("deployment_environment", "production"), ("project", "k2/app"), ("source", "gitlab"), ("window", "24h"))
    }
    samples, _ = await shown_by(tmp_path, "[project, job, stage]")
    (one,) = [s for s in samples if s.name == "k2alert_ci_tests_executed"]
    assert (one.labels["ci_job"], one.labels["ci_stage"]) == ("test", "check")


async def test_no_gauge_goes_by_test(tmp_path: Path) -> None:
    samples, _ = await shown_by(tmp_path, "[project, test]")
    assert [s for s in samples if s.name.startswith("k2alert_ci_tests")] == []
    assert [s for s in samples if "test" in s.labels or "suite" in s.labels] == []
