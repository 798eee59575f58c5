"""docs/migration.md, executed: what it says of Prometheus and Alertmanager by their tools, what it says of us by us."""

import asyncio
import json
import re
import shutil
import subprocess
import time
from datetime import timedelta
from itertools import product
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml
from click.testing import CliRunner

from k2alert.cli import main
from k2alert.config.load import load
from k2alert.config.model import Config
from k2alert.measure.catalogue import METRICS
from k2alert.notify.route import routes_for
from tests.support.alertmanager import alerts_of, needs_alertmanager, real_alertmanager
from tests.support.daemon import PATIENCE, PROJECT, World, a_world, daemon, until_judged
from tests.support.pages import ROOT, code, fenced, files, rows
from tests.support.scraping import a_filled_daemon, prometheus

PAGE = (ROOT / "docs" / "migration.md").read_text()
SECRETS = {"GITLAB_TOKEN": "t", "SLACK_BOT_TOKEN": "xoxb-1", "PAGER_URL": "https://pager.example.com/hook"}
RULES = list(rows(PAGE, "PromQL", "condition"))
_MINUTE = timedelta(minutes=1)
PANELS = list(rows(PAGE, "panel", "asks the exporter", "asks k2alert"))


def needs(program: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(shutil.which(program) is None, reason=f"{program} is not installed here")


def tool(*words: object) -> str:
    """What a tool prints; it must be content."""
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def ours(*words: object) -> None:
    """One of our commands, which must be content, warnings too."""
    done = CliRunner(env=SECRETS).invoke(main, [str(word) for word in words])
    assert done.exit_code == 0, done.output


def written(folder: Path, *, until: str = "") -> Path:
    """The folder with the page's files as they are after the heading `until`, the last of a name winning."""
    for file in files(PAGE[: PAGE.index(f"\n{until}") if until else None]):
        path = folder / file.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(file.text)
    return folder


# ---------------------------------------------------------------------------------------------- the files


def test_every_block_of_yaml_is_a_whole_file_with_a_name() -> None:
    assert len(files(PAGE)) == len(fenced(PAGE, "yaml")) > 5


@pytest.mark.parametrize("place", range(len(files(PAGE))), ids=[file.name for file in files(PAGE)])
def test_each_file_is_as_it_should_be(place: int, tmp_path: Path) -> None:
    written(tmp_path)
    file = files(PAGE)[place]
    path = tmp_path / file.name
    path.write_text(file.text)
    if file.name == "ci.rules.yml":
        if shutil.which("promtool") is None:
            pytest.skip("promtool is not installed here")
        tool("promtool", "check", "rules", path)
    elif file.name == "alertmanager.yml":
        if shutil.which("amtool") is None:
            pytest.skip("amtool is not installed here")
        tool("amtool", "check-config", path)
    elif "tests" in path.parts:
        ours("test", path)
    else:
        ours("check", "--strict", path)


# ---------------------------------------------------------------------------------------- rules and panels


@needs("promtool")
def test_promtool_reads_every_query_of_the_page(tmp_path: Path) -> None:
    asked = [query for row in RULES for query in code(row["PromQL"])]
    asked += [
        query for row in PANELS for cell in (row["asks the exporter"], row["asks k2alert"]) for query in code(cell)
    ]
    assert len(asked) > 40
    recorded = [{"record": f"query:{number}", "expr": query} for number, query in enumerate(asked)]
    (tmp_path / "queries.yml").write_text(yaml.safe_dump({"groups": [{"name": "page", "rules": recorded}]}))
    tool("promtool", "check", "rules", tmp_path / "queries.yml")


def test_each_condition_of_the_page_makes_a_rule(tmp_path: Path) -> None:
    rules = []
    for number, row in enumerate(RULES):
        (condition, *more), said = code(row["condition"]), row["condition"]
        rule: dict[str, Any] = {
            "name": f"rule{number}",
            "condition": condition,
            "period": found[1] if (found := re.search(r"period (\w+)", said)) else "24h",
            "severity": "warning",
            "message": "{{ value }}",
            "match": [] if "match all" in said else ['ref_type="default"', *more * ("match `" in said)],
            "by": yaml.safe_load(more[0]) if "by `" in said else ["project"],
        }
        rules.append(rule)
    assert len(rules) > 12
    (tmp_path / "rules.yml").write_text(yaml.safe_dump({"alert_rules": rules}))
    ours("check", tmp_path / "rules.yml")


@needs("prometheus")
async def test_each_panel_is_answered_by_a_prometheus_that_scraped_us(tmp_path: Path) -> None:
    async with a_filled_daemon(tmp_path) as running, prometheus(tmp_path, running.port) as scraper:
        await scraper.until_scraped(time.time())
        unanswered = {query for row in PANELS for query in code(row["asks k2alert"])}
        assert len(unanswered) == len(PANELS)
        deadline = time.monotonic() + PATIENCE
        while unanswered and time.monotonic() < deadline:  # a rate needs two scrapes
            unanswered = {query for query in unanswered if not await scraper.query(query)}
            await asyncio.sleep(0.1)
        assert unanswered == set()


def test_gauges_that_stand_on_the_page_exist() -> None:
    gauges = {metric.gauge for metric in METRICS.values()}
    assert set(re.findall(r"k2alert_ci_\w+", PAGE)) - {"k2alert_ci_runs_total"} <= gauges


# ----------------------------------------------------------------------------------------------- routes


def both(folder: Path) -> tuple[Path, Config]:
    """Alertmanager's file and our configuration of the section about routes."""
    written(folder, until="## Silences")
    loaded = load(folder / "k2alert.yml", environ=SECRETS, metrics=METRICS)
    assert loaded.config is not None
    return folder / "alertmanager.yml", loaded.config


@needs("amtool")
@pytest.mark.parametrize(("severity", "project"), [*product(("critical", "warning"), ("web/shop", "k2/app"))])
def test_the_same_alerts_go_to_the_same_receivers(severity: str, project: str, tmp_path: Path) -> None:
    theirs, config = both(tmp_path)
    labels = {"alertname": "MainIsRed", "severity": severity, "project": project, "source": "gitlab"}
    words = [f"{name}={value}" for name, value in labels.items()]
    told = tool("amtool", "config", "routes", "test", f"--config.file={theirs}", *words).strip()
    assert [route.receiver for route in routes_for(config.route, labels)] == told.split(",")


def test_intervals_routes_and_times_are_the_same_text(tmp_path: Path) -> None:
    theirs, _ = both(tmp_path)
    other, own = yaml.safe_load(theirs.read_text()), yaml.safe_load((tmp_path / "k2alert.yml").read_text())
    assert other["time_intervals"] == own["time_intervals"]
    assert {**other["route"], "group_by": []} == {**own["route"], "group_by": []}
    assert [{**rule, "equal": []} for rule in other["inhibit_rules"]] == [
        {**rule, "equal": []} for rule in own["inhibit_rules"]
    ]


# ------------------------------------------------------------------------------------ beside an Alertmanager


def beside(folder: Path, world: World, alertmanager: str) -> Path:
    """The configuration of the first step, with this forge and this Alertmanager."""
    written(folder, until="**3. ")
    config = folder / "k2alert.yml"
    text = config.read_text().replace("https://gitlab.example.com", world.url)
    text = text.replace("http://alertmanager:9093", alertmanager).replace(
        "[k2/app]", f"[{PROJECT}], poll_interval: 100ms"
    )
    config.write_text(f"{text}store: sqlite:///{folder}/k2alert.db\nevaluation_interval: 100ms\n")
    return config


def trial(folder: Path) -> str:
    """Alertmanager's file of the second step, that reaches nobody from a test."""
    written(folder, until="**3. ")
    text = (folder / "alertmanager.yml").read_text().replace("https://hooks.slack.com", "http://127.0.0.1:9")
    return text.replace("  receiver: ci\n", "  receiver: ci\n  group_wait: 1h\n", 1)


@needs_alertmanager
async def test_a_real_alertmanager_takes_our_alerts_down_the_route_of_the_trial(tmp_path: Path) -> None:
    async with a_world() as world, real_alertmanager(tmp_path, trial(tmp_path)) as url, aiohttp.ClientSession() as http:
        world.run("failed", ago=2 * _MINUTE)
        world.run("failed", ago=_MINUTE)
        async with daemon(beside(tmp_path, world, url), world.clock, SECRETS) as running:
            await until_judged(running)
            deadline = time.monotonic() + PATIENCE
            while not (found := await alerts_of(http, url)):
                assert time.monotonic() < deadline, "nothing was pushed"
                await asyncio.sleep(0.1)
    (alert,) = found
    assert (alert["labels"]["alertname"], alert["labels"]["origin"]) == ("MainIsRed", "k2alert")
    assert [receiver["name"] for receiver in alert["receivers"]] == ["ci-trial"]
    assert {"message", "value", "evidence"} <= alert["annotations"].keys()


@needs("amtool")
@needs_alertmanager
async def test_amtool_moves_silences_from_a_real_alertmanager(tmp_path: Path) -> None:
    async with a_world() as world, real_alertmanager(tmp_path) as old:
        config = beside(tmp_path, world, old)
        async with daemon(config, world.clock, SECRETS) as running:
            places = {"http://alertmanager:9093": old, "http://k2alert:9725": f"http://127.0.0.1:{running.port}"}
            await shell(tmp_path, f"amtool --alertmanager.url={old} silence add project=k2/app -d 2h -c move")
            (script,) = [block for block in fenced(PAGE, "sh") if "silence import" in block]
            for place, here in places.items():
                script = script.replace(place, here)
            await shell(tmp_path, script)
            listed = json.loads(await running.text("/api/v2/silences"))
    assert [(one["comment"], one["matchers"][0]["value"], one["status"]["state"]) for one in listed] == [
        ("move", "k2/app", "active")
    ]


async def shell(folder: Path, script: str) -> None:
    """A script of the page, as it is typed; it must succeed."""
    process = await asyncio.create_subprocess_exec(
        *("sh", "-ec", script), cwd=folder, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    out, _ = await process.communicate()
    assert process.returncode == 0, out.decode()
