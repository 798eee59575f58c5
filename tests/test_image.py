"""The image, built for real: it runs as nobody with nothing to write to but its volume, collects, alerts and stops; and
two of it over one PostgreSQL take turns."""

import asyncio
import re
import signal
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import aiohttp
import pytest
import yaml

from tests.support.container import ROOT, Container, Image, Mount, build, container, missing
from tests.support.daemon import PATIENCE, PROJECT, World, a_world, until
from tests.support.kubelet import Volume
from tests.support.kubernetes import Pod, rendered
from tests.support.postgres import PostgresServer
from tests.support.posts import Posts, taking_posts

MISSING = missing()
DOCKERFILE = (ROOT / "Dockerfile").read_text()
BUILD_TIME = 900  # seconds: a base, its wheels and two stages, on a busy machine

CONFIG = """
sources:
  - {{type: gitlab, name: gitlab, url: "{forge}", token: secret-token-1, projects: [{project}],
     poll_interval: 100ms, backfill: 2d}}
store: $STORE
evaluation_interval: 100ms
rule_files: [/etc/k2alert/rules/ci.yml]
receivers: [{{name: team, webhook: {{url: "{hook}/hook"}}}}]
route: {{receiver: team, group_wait: 0s, group_interval: 1s}}
"""


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def told(posts: Posts) -> list[str]:
    """What was said of the main branch, in order."""
    said = (one for taken in posts.taken for one in taken.body["alerts"])
    return [one["status"] for one in said if one["labels"]["alertname"] == "main_is_red"]


async def until_healthy(running: Container, log: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while not await running.healthy():
        assert running.outer.returncode is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        await asyncio.sleep(0.2)


async def scrape(port: int) -> str:
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}/metrics") as answer:
        return await answer.text()


async def until_answered(port: int, path: str) -> None:
    """Until it is answered with 200, as a probe asks."""
    deadline = time.monotonic() + PATIENCE
    async with aiohttp.ClientSession() as session:
        while True:
            async with session.get(f"http://127.0.0.1:{port}{path}") as answer:
                if answer.status == 200:
                    return
            assert time.monotonic() < deadline, path
            await asyncio.sleep(0.1)


async def until_scraped(port: int, line: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while line not in (text := await scrape(port)).splitlines():
        assert time.monotonic() < deadline, text
        await asyncio.sleep(0.1)


@pytest.mark.skipif(bool(MISSING), reason=f"not here, and needed to build the image: {', '.join(MISSING)}")
@pytest.mark.timeout(BUILD_TIME)
async def test_the_image_runs_as_nobody_with_a_root_it_cannot_write_to(
    tmp_path: Path, postgres: PostgresServer
) -> None:
    """One test, for the image is built anew for it."""
    image = await asyncio.to_thread(build, tmp_path / "image")
    assert image.config["User"] == "65534:65534"
    assert image.environ["K2ALERT_LISTEN"] == "0.0.0.0:9725"
    assert set(image.config["ExposedPorts"]) == {"9725/tcp"}
    assert set(image.config["Volumes"]) == {"/data"}
    assert image.config["Labels"]["org.opencontainers.image.version"] == "0.1.0"
    assert re.fullmatch(r"[0-9a-f]{40}|unknown", image.config["Labels"]["org.opencontainers.image.revision"])

    for story in (alone, two_replicas, as_a_pod):
        async with a_world() as world, taking_posts() as posts:
            world.run(ago=timedelta(hours=5))
            await story(Scene(image, tmp_path, world, posts, postgres.make_database()))


@dataclass(frozen=True)
class Scene:
    """What a story has: the image, a folder, a forge, a receiver, the URL of an empty database."""

    image: Image
    folder: Path
    world: World
    posts: Posts
    database: str

    def log(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    @asynccontextmanager
    async def running(self, name: str, port: int, store: str) -> AsyncIterator[Container]:
        """A container of a name of its own, once it is healthy."""
        config, data = self.folder / f"{name}.yml", self.folder / f"{name}-data"
        config.write_text(CONFIG.format(forge=self.world.url, project=PROJECT, hook=self.posts.url))
        data.mkdir()
        mounts = (Mount(config, "/etc/k2alert/k2alert.yml"), Mount(data, "/data", read_only=False))
        environ = {"K2ALERT_LISTEN": f"127.0.0.1:{port}", "STORE": store}
        async with container(self.image, mounts, environ=environ, log=self.log(name)) as running:
            await until_healthy(running, self.log(name))
            yield running

    def break_main(self) -> None:
        for _ in range(3):
            self.world.run("failed")

    async def until_told(self, *wanted: str) -> None:
        """Until the receiver heard this of the main branch, in this order."""
        await until(lambda: told(self.posts) == list(wanted), f"{wanted}, and not {told(self.posts)}")


async def alone(scene: Scene) -> None:
    """It has no rights, collects, alerts, keeps its history on the volume, and ends with 0."""
    port = free_port()
    async with scene.running("alone", port, "sqlite:///k2alert.db") as running:
        assert (running.status("Uid"), running.status("Gid")) == ("\t".join(["65534"] * 4),) * 2
        assert (int(running.status("CapEff"), 16), running.status("NoNewPrivs")) == (0, "1")
        assert running.status("NSpid").split()[-1] == "1"
        assert "ro" in running.mount_options("/")
        assert "rw" in running.mount_options("/data")

        await until_scraped(port, 'k2alert_projects{source="gitlab",state="ok"} 1.0')
        scene.break_main()
        await scene.until_told("firing")
        assert await running.stop(signal.SIGTERM) == 0, scene.log("alone").read_text()
    assert (scene.folder / "alone-data/k2alert.db").stat().st_uid == 65534
    assert "Traceback" not in scene.log("alone").read_text()


async def two_replicas(scene: Scene) -> None:
    """Over one PostgreSQL one leads; when it is stopped the other goes on, and nothing is told twice."""
    first, second = free_port(), free_port()
    async with scene.running("first", first, scene.database) as leader:
        await until_scraped(first, "k2alert_leader 1.0")
        async with scene.running("second", second, scene.database) as standby:
            await until_scraped(second, 'k2alert_projects{source="gitlab",state="ok"} 1.0')
            assert "k2alert_leader 0.0" in await scrape(second)
            scene.break_main()
            await scene.until_told("firing")

            assert await leader.stop(signal.SIGTERM) == 0, scene.log("first").read_text()
            await until_scraped(second, "k2alert_leader 1.0")
            scene.world.run("success")
            await scene.until_told("firing", "resolved")
            assert await standby.stop(signal.SIGTERM) == 0, scene.log("second").read_text()
    assert "Traceback" not in scene.log("first").read_text() + scene.log("second").read_text()


async def as_a_pod(scene: Scene) -> None:
    """As the manifests say: what they mount is where the image looks, and rules follow their ConfigMap."""
    pod = Pod(rendered(ROOT / "deploy/kustomize/overlays/single"))
    main = yaml.safe_load(pod.config_map("k2alert")["k2alert.yml"])
    main["sources"][0].update(url=scene.world.url, poll_interval="100ms")
    main.update(receivers=[{"name": "team", "webhook": {"url": scene.posts.url}}], evaluation_interval="100ms")
    sources = {name: scene.folder / f"pod-{name}" for name in pod.volumes}
    Volume(sources["config"], {"k2alert.yml": yaml.safe_dump(main)})
    rules = Volume(sources["rules"], pod.config_map("k2alert-rules"))
    Volume(sources["secrets"], {"gitlab-token": "t-1", "admin-token": "t-2"})
    for name in ("data", "tmp"):
        sources[name].mkdir()

    port, log = free_port(), scene.log("pod")
    mounts = [Mount(sources[name], place, read_only=read_only) for name, place, read_only in pod.mounts]
    environ = {**pod.environ, "K2ALERT_LISTEN": f"127.0.0.1:{port}"}
    async with container(scene.image, mounts, environ=environ, args=pod.args, log=log) as running:
        await until_healthy(running, log)
        await until_answered(port, pod.probe("livenessProbe"))
        await until_answered(port, pod.probe("readinessProbe"))
        await until_scraped(port, 'k2alert_projects{source="gitlab",state="ok"} 1.0')
        (name,) = re.findall(r"- name: (\w+)", pod.config_map("k2alert-rules")["own.yml"])
        await until_scraped(port, f'k2alert_rule_evaluation_failures_total{{rule="{name}"}} 0.0')

        rules.update({"own.yml": pod.config_map("k2alert-rules")["own.yml"].replace(name, "another_name")})
        await until_scraped(port, 'k2alert_rule_evaluation_failures_total{rule="another_name"} 0.0')
        scene.break_main()
        await scene.until_told("firing")
        assert await running.stop(signal.SIGTERM) == 0, log.read_text()


def test_the_base_is_an_argument_with_a_version_and_every_stage_is_on_it() -> None:
    assert re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE) == ["${BASE}"] * 2
    assert re.search(r"^ARG BASE=\S+:\d+\.\d+\S*$", DOCKERFILE, re.MULTILINE)


def test_everything_installed_is_checked_against_the_locks_or_is_ours() -> None:
    installs = re.findall(r"(?<!mkdir )\binstall (--[^&]*)", DOCKERFILE)
    assert len(installs) == 3
    assert all("--require-hashes" in words or "--no-index /opt/build/wheels/" in words for words in installs)
