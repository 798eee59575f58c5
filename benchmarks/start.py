"""How long a daemon takes to start from a full store: 6 million runs, a month of 1,000 projects with 200 runs a day.

`k2alert run` as a process of its own over a store that `benchmarks/full_store.py` makes (some minutes; a file that is
there is taken as it is, and the daemon's own changes to it are few). From the first moment on a webhook is posted each
half second, and `/-/healthy` is asked every 20 ms: its slowest answer says how long anything was held up. Printed: when
probes were answered, when the history was in memory (ready), when the rules were judged, the first round was over, and
the gauges of all benchmarks were there (some minutes later), in seconds of the wall
and in the process's CPU; how webhooks fared until it was ready; the memory.

    python benchmarks/start.py [FILE] [1000 projects] [30 days]
"""

import asyncio
import json
import os
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp

sys.path.insert(0, str(Path(__file__).parents[1]))

from full_store import make_store, path_of

from k2alert.rehearse.gitlab_standin import StandinGitLab
from k2alert.rehearse.gitlab_standin_json import StandinJob, StandinPipeline
from tests.support.hooks import gitlab_payload
from tests.support.mortal import Mortal

RULES = """
alert_rules:
  - {name: pipeline_success_rate_low, condition: success_rate < 0.95, period: 24h, severity: warning, message: "m"}
  - {name: pipeline_duration_high, condition: avg_duration_minutes > 30, period: 24h, severity: warning, message: "m"}
  - {name: test_flakiness_high, condition: flaky_test_rate > 0.05, period: 7d, severity: critical, message: "m"}
  - {name: coverage_drop_significant, condition: coverage_drop > 2, period: 1h, severity: warning, message: "m"}
"""
TICKS = os.sysconf("SC_CLK_TCK")


class Watched:
    """The daemon from outside."""

    def __init__(self, mortal: Mortal, session: aiohttp.ClientSession, port: int) -> None:
        self.mortal, self.session, self.url = mortal, session, f"http://127.0.0.1:{port}"
        assert mortal._process is not None
        self.pid = mortal._process.pid
        self.slowest = 0.0
        self.hooks: list[tuple[int, float]] = []

    def cpu(self) -> float:
        """Seconds of the process."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def memory(self) -> tuple[float, float]:
        """MiB now, and the most so far."""
        lines = dict(line.split(":", 1) for line in Path(f"/proc/{self.pid}/status").read_text().splitlines())
        return int(lines["VmRSS"].split()[0]) / 1024, int(lines["VmHWM"].split()[0]) / 1024

    async def probe(self) -> None:
        """Asks whether it is healthy, again and again."""
        while True:
            began = time.perf_counter()
            async with self.session.get(f"{self.url}/-/healthy") as answer:
                assert answer.status == 200
            self.slowest = max(self.slowest, time.perf_counter() - began)
            await asyncio.sleep(0.02)

    async def post(self, body: bytes) -> None:
        """Posts webhooks of one project, again and again."""
        url = f"{self.url}/webhooks/gitlab"
        headers = {"X-Gitlab-Event": "Pipeline Hook", "X-Gitlab-Token": "secret-1", "Content-Type": "application/json"}
        while True:
            began = time.perf_counter()
            delivery = {"Idempotency-Key": f"d-{len(self.hooks)}-{began}"}
            async with self.session.post(url, data=body, headers=headers | delivery) as answer:
                self.hooks.append((answer.status, time.perf_counter() - began))
            await asyncio.sleep(0.5)

    async def until(self, path: str, text: str, times: int) -> None:
        while True:
            async with self.session.get(self.url + path) as answer:
                if answer.status == 200 and (await answer.text()).count(text) >= times:
                    return
            await asyncio.sleep(0.1)


def hook() -> bytes:
    now = datetime.now(UTC)
    at = now - timedelta(minutes=5)
    job = StandinJob(id=1, name="test", created_at=at, started_at=at, finished_at=at)
    project = StandinGitLab(lambda: now).add_project(path_of(0))
    pipeline = StandinPipeline(id=1, created_at=at, started_at=at, finished_at=at, jobs=(job,))
    return json.dumps(gitlab_payload(project, pipeline, now, "https://gitlab.example.com")).encode()


async def measure(store: Path, projects: int, folder: Path) -> None:
    paths = ", ".join(path_of(number) for number in range(projects))
    (folder / "rules.yml").write_text(RULES)
    (folder / "k2alert.yml").write_text(
        "sources:\n"
        '  - {type: gitlab, name: gitlab, url: "http://127.0.0.1:9", token: t, webhook_secret: secret-1,\n'
        f"     max_staleness: 30d, poll_interval: 1h, projects: [{paths}]}}\n"
        f"store: sqlite:///{store.resolve()}\nrule_files: [rules.yml]\n"
    )
    mortal = Mortal(folder / "k2alert.yml")
    began = time.perf_counter()
    await mortal.start()
    while not any("listening on port" in line["msg"] for line in mortal.lines()):
        await asyncio.sleep(0.02)
    port = mortal._port()
    async with aiohttp.ClientSession() as session:
        seen = Watched(mortal, session, port)
        tasks = [asyncio.create_task(seen.probe()), asyncio.create_task(seen.post(hook()))]
        print("| | wall | CPU | memory (most) | slowest probe until then |\n|---|--:|--:|--:|--:|")
        for name, path, text, times in (
            ("answers probes", "/-/healthy", "healthy", 1),
            ("ready", "/-/ready", "ready", 1),
            ("judged", "/metrics", "k2alert_alerts{", 1),
            ("first round over", "/metrics", "k2alert_ci_runs_total{", 1),
            ("benchmarks worked out", "/metrics", "k2alert_ci_benchmark_regressions{", projects),
        ):
            await seen.until(path, text, times)
            now, most = seen.memory()
            wall = time.perf_counter() - began
            held = f"{seen.slowest * 1000:.0f} ms"
            print(f"| {name} | {wall:.1f} s | {seen.cpu():.1f} s | {now:,.0f} ({most:,.0f}) MiB | {held} |", flush=True)
            if name == "ready":
                early = list(seen.hooks)
            seen.slowest = 0.0
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    statuses = sorted({status for status, _ in early})
    slowest = max(took for _, took in early) * 1000
    print(f"{len(early)} webhooks until it was ready: answered {statuses}, the slowest after {slowest:.0f} ms")
    assert await mortal.stop() == 0


def main() -> None:
    texts = [text for text in sys.argv[1:] if not text.isdigit()]
    numbers = [int(text) for text in sys.argv[1:] if text.isdigit()]
    projects, days = numbers + [1000, 30][len(numbers) :]
    with tempfile.TemporaryDirectory() as inside:
        store = Path(texts[0] if texts else Path(inside, "full.db"))
        if not store.exists():
            began = time.monotonic()
            made = make_store(store, projects, days, datetime.now(UTC) - timedelta(minutes=1))
            size = store.stat().st_size
            took = time.monotonic() - began
            print(f"made {made:,} runs in {took:.0f} s: {size / 1e6:,.0f} MB, {size / made:.0f} bytes a run")
        asyncio.run(measure(store, projects, Path(inside)))


if __name__ == "__main__":
    main()
