"""Webhooks at a rate, against `k2alert run` as a process, which may be killed in the middle.

In: how many a second, for how long. Out: what was answered, how fast, and which accepted ones the store holds in the
end. The senders go by the clock, not by the answers: a slow answer holds up nobody.
"""

import asyncio
import json
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
from aiohttp.test_utils import TestServer

from k2alert.record import look_into_store
from k2alert.rehearse.gitlab_standin import StandinGitLab
from k2alert.rehearse.gitlab_standin_json import StandinJob, StandinPipeline
from tests.support.hooks import gitlab_payload
from tests.support.mortal import Mortal

__all__ = ["Report", "send_at_a_rate"]

PROJECT = "k2/app"
_HEADERS = {"X-Gitlab-Event": "Pipeline Hook", "X-Gitlab-Token": "secret-1", "Content-Type": "application/json"}
_PATIENCE = 60.0


@dataclass
class Report:
    """What came of it. `took` are the answer times of accepted ones in seconds, `lost` accepted runs not stored."""

    sent: int = 0
    accepted: set[int] = field(default_factory=set)
    refused: dict[str, int] = field(default_factory=dict)
    took: list[float] = field(default_factory=list)
    lost: set[int] = field(default_factory=set)

    def quantile(self, share: float) -> float:
        """An answer time in milliseconds."""
        return sorted(self.took)[min(int(share * len(self.took)), len(self.took) - 1)] * 1000


async def send_at_a_rate(folder: Path, *, rate: int, seconds: float, kill: bool = False) -> Report:
    """Sends that many a second; with `kill` the daemon is killed halfway and started again."""
    forge = StandinGitLab(lambda: datetime.now(UTC))
    project = forge.add_project(PROJECT)
    server = TestServer(forge.app())
    await server.start_server()
    url = str(server.make_url("")).rstrip("/")
    (folder / "k2alert.yml").write_text(
        f"""
sources:
  - {{type: gitlab, name: gitlab, url: "{url}", token: t, projects: [{PROJECT}], poll_interval: 1h,
     webhook_secret: secret-1}}
store: sqlite:///{folder}/k2alert.db
"""
    )
    mortal, report = Mortal(folder / "k2alert.yml"), Report()
    bodies = [
        json.dumps(gitlab_payload(project, _pipeline(n), datetime.now(UTC), url)) for n in range(int(rate * seconds))
    ]
    await mortal.start()
    port = await mortal.ready()
    connector = aiohttp.TCPConnector(limit=200)
    try:
        async with aiohttp.ClientSession(
            connector=connector, timeout=aiohttp.ClientTimeout(total=_PATIENCE)
        ) as session:
            senders: list[asyncio.Task[None]] = []
            began = time.perf_counter()
            for number, body in enumerate(bodies):
                await _until(began + number / rate)
                if kill and number == len(bodies) // 2:
                    await mortal.kill()
                    await mortal.start()
                    port = await mortal.ready()
                    began = time.perf_counter() - number / rate
                senders.append(asyncio.create_task(_send(session, port, number, body, report)))
            await asyncio.wait(senders)
        await _settle(folder, report)
    finally:
        assert await mortal.stop() == 0
        await server.close()
    return report


def _pipeline(number: int) -> StandinPipeline:
    at = datetime.now(UTC) - timedelta(minutes=5)
    jobs = tuple(
        StandinJob(id=number * 5 + place + 1, name=f"job {place}", created_at=at, started_at=at, finished_at=at)
        for place in range(5)
    )
    return StandinPipeline(id=number + 1, created_at=at, started_at=at, finished_at=at, jobs=jobs)


async def _until(at: float) -> None:
    left = at - time.perf_counter()
    if left > 0:
        await asyncio.sleep(left)


async def _send(session: aiohttp.ClientSession, port: int, number: int, body: str, report: Report) -> None:
    report.sent += 1
    began = time.perf_counter()
    headers = {**_HEADERS, "Idempotency-Key": f"d-{number}"}
    try:
        async with session.post(f"http://127.0.0.1:{port}/webhooks/gitlab", data=body, headers=headers) as answer:
            status = str(answer.status)
    except (aiohttp.ClientError, TimeoutError) as error:
        status = type(error).__name__
    if status == "200":
        report.accepted.add(number + 1)
        report.took.append(time.perf_counter() - began)
    else:
        report.refused[status] = report.refused.get(status, 0) + 1


async def _settle(folder: Path, report: Report) -> None:
    """Until facts were made of all that waits."""
    store = look_into_store(f"sqlite:///{folder}/k2alert.db")
    deadline = time.monotonic() + _PATIENCE
    try:
        while True:
            known = await store.known_runs("gitlab", PROJECT, datetime(2020, 1, 1, tzinfo=UTC))
            report.lost = report.accepted - {int(key) for key in known}
            if not report.lost or time.monotonic() > deadline:
                return
            await asyncio.sleep(0.2)
    finally:
        await store.close()
