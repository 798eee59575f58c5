"""ConfigMaps and Secrets as the kubelet mounts them: files are links through `..data`, which is replaced as one."""

import asyncio
import time
from pathlib import Path

from tests.support.daemon import PATIENCE, Clock, Running, daemon, until_seen
from tests.support.kubelet import Volume

MAIN = """
sources: []
store: sqlite:///{folder}/k2alert.db
evaluation_interval: 100ms
rule_files: ["{folder}/own/*.yml"]
"""
RULE = """alert_rules:
  - {{name: {name}, condition: success_rate < {limit}, period: 24h, severity: info, message: m}}
"""


async def rules(running: Running) -> dict[str, str]:
    """The rules that are judged, with their conditions."""
    async with running.session.get(f"http://127.0.0.1:{running.port}/api/v1/rules") as answer:
        groups = (await answer.json())["data"]["groups"]
    return {rule["name"]: rule["query"] for group in groups for rule in group["rules"]}


async def until_rules(running: Running, wanted: dict[str, str]) -> None:
    deadline = time.monotonic() + PATIENCE
    while (found := await rules(running)) != wanted:
        assert time.monotonic() < deadline, found
        await asyncio.sleep(0.05)


async def test_rules_follow_a_config_map_and_a_bad_one_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "k2alert.yml").write_text(MAIN.format(folder=tmp_path))
    own = Volume(tmp_path / "own", {"one.yml": RULE.format(name="one", limit=0.9)})
    async with daemon(tmp_path / "k2alert.yml", Clock()) as running:
        await until_rules(running, {"one": "success_rate < 0.9"})

        own.update({"one.yml": RULE.format(name="one", limit=0.8)})
        await until_rules(running, {"one": "success_rate < 0.8"})

        own.update({"one.yml": RULE.format(name="one", limit="0.8 0.9")})
        await until_seen(running, "k2alert_config_last_reload_successful 0.0")
        assert await rules(running) == {"one": "success_rate < 0.8"}

        own.update({"two.yml": RULE.format(name="two", limit=0.7)})
        await until_rules(running, {"two": "success_rate < 0.7"})
        await until_seen(running, "k2alert_config_last_reload_successful 1.0")


async def test_the_main_file_and_a_token_follow_theirs(tmp_path: Path) -> None:
    main = MAIN.format(folder=tmp_path) + f"web: {{admin_token: '${{file:{tmp_path}/secrets/token}}'}}\n"
    config = Volume(tmp_path / "config", {"k2alert.yml": main})
    secrets = Volume(tmp_path / "secrets", {"token": "first-token"})
    async with daemon(tmp_path / "config" / "k2alert.yml", Clock()) as running:
        secrets.update({"token": "second-token"})
        await until_token(running, "second-token")
        assert await reload(running, "first-token") == 401

        config.update({"k2alert.yml": main + RULE.format(name="three", limit=0.6)})
        await until_rules(running, {"three": "success_rate < 0.6"})


async def reload(running: Running, token: str) -> int:
    """Asks for a reload; how that is answered."""
    headers = {"Authorization": f"Bearer {token}"}
    async with running.session.post(f"http://127.0.0.1:{running.port}/-/reload", headers=headers) as answer:
        return answer.status


async def until_token(running: Running, token: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while (status := await reload(running, token)) != 200:
        assert time.monotonic() < deadline, status
        await asyncio.sleep(0.05)
