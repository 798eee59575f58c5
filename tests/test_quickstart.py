"""The quickstart, typed: its files and commands against stand-in forges, in processes as a shell starts them."""

import asyncio
import os
import re
import shutil
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from k2alert.rehearse.gitlab_standin import StandinGitLab, StandinPipeline
from tests.support.daemon import PATIENCE
from tests.support.github_standin import StandinAttempt, StandinGitHub, StandinRepository, StandinRun
from tests.support.pages import ROOT, fenced

PAGE = (ROOT / "docs" / "quickstart.md").read_text()
PROJECT = "k2/app"
MINUTE = timedelta(minutes=1)


def blocks(language: str) -> list[str]:
    """The fenced blocks of the page."""
    return fenced(PAGE, language)


def now() -> datetime:
    """The machine's time, as the daemon's process sees it."""
    return datetime.now(UTC)


def gitlab() -> web.Application:
    """A GitLab whose main branch has failed five times in a row."""
    forge = StandinGitLab(now)
    forge.add_project(PROJECT)
    for number in range(1, 21):
        begun = now() - (21 - number) * timedelta(hours=1)
        status = "failed" if number > 15 else "success"
        times = {"created_at": begun, "started_at": begun + MINUTE, "finished_at": begun + 9 * MINUTE}
        forge.put(PROJECT, StandinPipeline(id=number, status=status, **times))
    return forge.app()


def github() -> web.Application:
    """A GitHub with the same."""
    repository = StandinRepository(PROJECT)
    for number in range(1, 21):
        begun = now() - (21 - number) * timedelta(hours=1)
        conclusion = "failure" if number > 15 else "success"
        attempt = StandinAttempt(1, begun, begun + 9 * MINUTE, conclusion)
        repository.runs.append(StandinRun(id=number, number=number, created_at=begun, attempts=[attempt]))
    return StandinGitHub(now, [repository]).make_app()


@dataclass
class Shell:
    """A folder in which somebody types."""

    folder: Path
    url: str  # of the daemon

    async def type(self, line: str) -> tuple[int, str]:
        """What a line of the page says and how it ends."""
        process = await self.start(line)
        said, _ = await asyncio.wait_for(process.communicate(), PATIENCE)
        assert process.returncode is not None
        return process.returncode, said.decode()

    async def start(self, line: str) -> asyncio.subprocess.Process:
        """Types a line; `.venv/bin/k2alert` is the one that is tested."""
        arguments = line.split()
        assert arguments[0] == ".venv/bin/k2alert", line
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "k2alert", *arguments[1:]),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            cwd=self.folder,
            env={
                "PATH": os.environ["PATH"],
                "PYTHONPATH": str(ROOT),
                "CI_TOKEN": "glpat-0123456789",
                "K2ALERT_URL": self.url,
                "K2ALERT_LISTEN": self.url.removeprefix("http://"),
            },
        )


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@asynccontextmanager
async def serving(app: web.Application) -> AsyncIterator[str]:
    """A stand-in's address."""
    server = TestServer(app)
    await server.start_server()
    try:
        yield str(server.make_url("")).rstrip("/")
    finally:
        await server.close()


async def until_it_fires(url: str) -> None:
    """Until the daemon says that an alert fires."""
    deadline = asyncio.get_running_loop().time() + PATIENCE
    async with aiohttp.ClientSession() as session:
        while asyncio.get_running_loop().time() < deadline:
            try:
                async with session.get(f"{url}/api/v1/alerts") as answer:
                    if '"state": "firing"' in await answer.text() or '"state":"firing"' in await answer.text():
                        return
            except aiohttp.ClientConnectionError:
                pass  # it is only starting
            await asyncio.sleep(0.1)
    raise AssertionError("no alert fires")


@pytest.mark.parametrize("forge", ["gitlab", "github"])
async def test_every_command_of_the_page_works(tmp_path: Path, forge: str) -> None:
    shutil.copytree(ROOT / "rules", tmp_path / "rules")
    config = blocks("yaml")[0 if forge == "gitlab" else 1]
    live, run, explain_and_alerts, message = (block.strip() for block in blocks("sh")[2:])
    explain, alerts = explain_and_alerts.splitlines()
    async with serving(gitlab() if forge == "gitlab" else github()) as url:
        config = config.replace("https://gitlab.example.com", url)
        config = config.replace("name: github\n", f"name: github\n    url: {url}\n")
        (tmp_path / "k2alert.yml").write_text(config)
        shell = Shell(tmp_path, f"http://127.0.0.1:{free_port()}")

        status, said = await shell.type(live)
        assert status == 0, said
        assert "nobody is told" in said

        daemon = await shell.start(run)
        try:
            await until_it_fires(shell.url)
            status, said = await shell.type(explain)
            assert status == 0, said
            assert "success_rate" in said
            status, said = await shell.type(alerts)
            assert status == 0, said
            assert "main_is_red" in said
        finally:
            daemon.send_signal(signal.SIGTERM)
            said_last, _ = await asyncio.wait_for(daemon.communicate(), PATIENCE)
        assert daemon.returncode == 0, said_last.decode()

        (tmp_path / "k2alert.yml").write_text(config + blocks("yaml")[2].replace("$SLACK_WEBHOOK_URL", url))
        status, said = await shell.type(message)
        assert status == 0, said
        assert list((tmp_path / "messages").iterdir())


def test_the_first_block_is_a_target_of_make() -> None:
    assert blocks("sh")[0] == "make install\n"
    assert re.search(r"^install:", (ROOT / "Makefile").read_text(), re.MULTILINE)
