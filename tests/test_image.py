"""The image, built for real: it runs as nobody with nothing to write to but its volume, collects, alerts and stops."""

import asyncio
import re
import signal
import socket
import time
from datetime import timedelta
from pathlib import Path

import aiohttp
import pytest

from tests.support.container import MISSING, ROOT, Container, build, container
from tests.support.daemon import PATIENCE, PROJECT, World, a_world, until
from tests.support.posts import Posts, taking_posts

DOCKERFILE = (ROOT / "Dockerfile").read_text()
BUILD_TIME = 900  # seconds: a base, its wheels and two stages, on a busy machine

CONFIG = """
sources:
  - {{type: gitlab, name: gitlab, url: "{forge}", token: secret-token-1, projects: [{project}],
     poll_interval: 100ms, backfill: 2d}}
evaluation_interval: 100ms
rule_files: [/etc/k2alert/rules/ci.yml]
receivers: [{{name: team, webhook: {{url: "{hook}/hook"}}}}]
route: {{receiver: team, group_wait: 0s}}
"""


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def alerts(posts: Posts) -> list[tuple[str, str]]:
    return [(one["labels"]["alertname"], one["status"]) for taken in posts.taken for one in taken.body["alerts"]]


async def until_healthy(running: Container, log: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while not await running.healthy():
        assert running.outer.returncode is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        await asyncio.sleep(0.2)


async def scrape(port: int) -> str:
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}/metrics") as answer:
        return await answer.text()


async def until_scraped(port: int, line: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while line not in (text := await scrape(port)).splitlines():
        assert time.monotonic() < deadline, text
        await asyncio.sleep(0.1)


def write_config(folder: Path, world: World, posts: Posts) -> Path:
    config = folder / "k2alert.yml"
    config.write_text(CONFIG.format(forge=world.url, project=PROJECT, hook=posts.url))
    return config


@pytest.mark.skipif(bool(MISSING), reason=f"not here, and needed to build the image: {', '.join(MISSING)}")
@pytest.mark.timeout(BUILD_TIME)
async def test_the_image_collects_alerts_and_stops_as_nobody_with_a_root_it_cannot_write_to(tmp_path: Path) -> None:
    image = await asyncio.to_thread(build, tmp_path / "image")
    assert image.config["User"] == "65534:65534"
    assert image.environ["K2ALERT_LISTEN"] == "0.0.0.0:9725"
    assert set(image.config["ExposedPorts"]) == {"9725/tcp"}
    assert set(image.config["Volumes"]) == {"/data"}
    assert image.config["Labels"]["org.opencontainers.image.version"] == "0.1.0"
    assert re.fullmatch(r"[0-9a-f]{40}|unknown", image.config["Labels"]["org.opencontainers.image.revision"])

    volume, log, port = tmp_path / "volume", tmp_path / "log", free_port()
    volume.mkdir()
    environ = {"K2ALERT_LISTEN": f"127.0.0.1:{port}"}
    async with a_world() as world, taking_posts() as posts:
        world.run(ago=timedelta(hours=5))
        config = write_config(tmp_path, world, posts)
        async with container(image, volume, config, environ=environ, log=log) as running:
            await until_healthy(running, log)
            assert (running.status("Uid"), running.status("Gid")) == ("\t".join(["65534"] * 4),) * 2
            assert (int(running.status("CapEff"), 16), running.status("NoNewPrivs")) == (0, "1")
            assert running.status("NSpid").split()[-1] == "1"
            assert "ro" in running.mount_options("/")
            assert "rw" in running.mount_options("/data")

            await until_scraped(port, 'k2alert_projects{source="gitlab",state="ok"} 1.0')
            for _ in range(3):
                world.run("failed")
            await until(lambda: ("main_is_red", "firing") in alerts(posts), f"an alert, and not {alerts(posts)}")

            assert await running.stop(signal.SIGTERM) == 0, log.read_text()
    assert (volume / "k2alert.db").stat().st_uid == 65534
    assert "Traceback" not in log.read_text()


def test_the_base_is_an_argument_with_a_version_and_every_stage_is_on_it() -> None:
    assert re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE) == ["${BASE}"] * 2
    assert re.search(r"^ARG BASE=\S+:\d+\.\d+\S*$", DOCKERFILE, re.MULTILINE)


def test_everything_installed_is_checked_against_the_locks_or_is_ours() -> None:
    installs = re.findall(r"(?<!mkdir )\binstall (--[^&]*)", DOCKERFILE)
    assert len(installs) == 3
    assert all("--require-hashes" in words or "--no-index /opt/build/wheels/" in words for words in installs)
