"""The whole daemon with report files out of job artifacts: from an archive in a storage to an alert."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from k2alert.rehearse.gitlab_standin import StandinJob, StandinPipeline
from tests.support.archives import archive, cobertura, junit, storage
from tests.support.daemon import PROJECT, World, a_world, daemon, until_seen
from tests.support.faults import FaultyServer

MINUTE = timedelta(minutes=1)
CONFIG = """
sources:
  - type: gitlab
    name: gitlab
    url: {url}
    projects: [k2/app]
    poll_interval: 100ms
    reports: {{junit: ["**/junit*.xml"], coverage: ["coverage.xml"]}}
store: sqlite:///{folder}/k2alert.db
evaluation_interval: 100ms
alert_rules:
  - {{name: low, condition: coverage < 80, period: 7d, severity: warning, message: "{{{{ coverage }}}} percent"}}
  - {{name: fell, condition: coverage_drop > 2, period: 7d, severity: warning, message: "fell"}}
  - {{name: flaky, condition: flaky_tests > 0, period: 7d, severity: warning, message: "{{{{ flaky_tests }}}} flaky"}}
"""


def put(world: World, number: int, minutes_ago: float, files: dict[str, str]) -> StandinJob:
    """A pipeline on one commit, with one job and what that uploaded."""
    ended = world.clock.now() - minutes_ago * MINUTE
    begun = ended - MINUTE
    job = StandinJob(
        id=number * 10, name="unit", created_at=begun, started_at=begun, finished_at=ended, artifacts=archive(files)
    )
    pipeline = StandinPipeline(id=number, created_at=begun, started_at=begun, finished_at=ended, jobs=(job,))
    world.forge.put(PROJECT, replace(pipeline, sha="a" * 40))
    return job


async def test_reports_in_a_storage_become_alerts(tmp_path: Path) -> None:
    async with a_world() as world:
        good = {"a/junit.xml": junit("++++++++++"), "coverage.xml": cobertura(90, 100)}
        bad = {"a/junit.xml": junit("+++++++++-"), "coverage.xml": cobertura(70, 100), "junit-x.xml": "<html/>"}
        jobs = [put(world, 1, 30, good), put(world, 2, 20, bad)]
        async with FaultyServer(storage({str(job.id): job.artifacts for job in jobs})) as stored:
            world.forge.storage = stored.url
            config = tmp_path / "k2alert.yml"
            config.write_text(CONFIG.format(url=world.url, folder=tmp_path))
            async with daemon(config, world.clock) as running:
                for rule in ("low", "fell", "flaky"):
                    await until_seen(running, f'k2alert_alerts{{rule="{rule}",severity="warning",state="firing"}} 1.0')
                await until_seen(running, 'k2alert_reports_refused_total{reason="malformed",source="gitlab"} 1.0')
                found = {alert["labels"]["alertname"]: alert["annotations"] for alert in await running.alerts()}  # type: ignore[index]
                assert found["low"]["message"] == "70 percent"
                assert found["flaky"]["message"] == "1 flaky"
                assert 'k2alert_reports_refused_total{reason="archive",source="gitlab"} 0.0' in await running.text(
                    "/metrics"
                )
                assert len(stored.seen) == 2, "each archive is downloaded once, however often the project is looked at"
