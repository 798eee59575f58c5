"""`/api/v1/rules` and `/api/v1/alerts` beside a real Prometheus's: the same fields, of the same types and forms."""

import asyncio
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from k2alert.times import parse_instant
from tests.support.daemon import PATIENCE
from tests.support.scraping import Prometheus, prometheus
from tests.test_expose_server import serving

RULES = """
groups:
  - name: ours
    interval: 200ms
    rules:
      - alert: rate_low
        expr: vector(0.91) < 0.95
        labels: {severity: warning}
        annotations: {message: "rate low"}
      - {alert: later, expr: vector(1) > 0, for: 1h, keep_firing_for: 5m}
      - {alert: calm, expr: vector(1) > 2}
"""
PATHS = ("/api/v1/alerts", "/api/v1/rules")  # in this order: an alert seen in the first is in the second

pytestmark = pytest.mark.skipif(shutil.which("prometheus") is None, reason="prometheus is not installed here")


def fields(value: object, path: str = "") -> Iterator[tuple[str, str]]:
    """Every field of a JSON value with its type; those of a list's items together, of labels and the like none."""
    if isinstance(value, list):
        for item in value:
            yield from fields(item, f"{path}[]")
    elif isinstance(value, dict) and not path.endswith(("labels", "annotations")):
        for name, inner in value.items():
            yield from fields(inner, f"{path}.{name}")
    else:
        yield path, type(value).__name__.replace("int", "float")  # JSON knows numbers only


async def answers_of(server: Prometheus) -> dict[str, Any]:
    """What a real Prometheus says as soon as one of its alerts fires and another is pending."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            found = {path: await ask(server, path) for path in PATHS}
            if {alert["state"] for alert in found[PATHS[0]]["data"]["alerts"]} == {"firing", "pending"}:
                return found
        except aiohttp.ClientError:
            pass  # it is only starting
        assert time.monotonic() < deadline, "no alert of Prometheus ever fired"
        await asyncio.sleep(0.1)


async def ask(server: Prometheus, path: str) -> Any:
    async with server.session.get(server.url + path) as answer:
        return await answer.json()


async def test_what_clients_of_prometheus_read_is_there_in_the_same_form(tmp_path: Path) -> None:
    (tmp_path / "rules.yml").write_text(RULES)
    async with prometheus(tmp_path, 9, rule_files="rules.yml") as real, serving() as (_, session):
        theirs = await answers_of(real)
        ours = {path: await (await session.get(path)).json() for path in PATHS}
        missing = await ask(real, "/api/v1/rules?type=nope")
        refused = await (await session.get("/api/v1/rules?type=nope")).json()

    for path in PATHS:
        wanted, found = dict(fields(theirs[path])), dict(fields(ours[path]))
        assert {name: found.get(name) for name in wanted} == wanted
        # Newer ones have more, and leave out errors that are none; what no Prometheus has stands under a name of ours.
        others = {name.rpartition(".")[2] for name in found if name not in wanted and ".k2alert" not in name}
        assert others <= {"keepFiringFor", "limit", "lastError"}
    assert (refused["status"], refused["errorType"]) == (missing["status"], missing["errorType"])


async def test_times_and_values_are_written_as_prometheus_writes_them(tmp_path: Path) -> None:
    (tmp_path / "rules.yml").write_text(RULES)
    async with prometheus(tmp_path, 9, rule_files="rules.yml") as real, serving() as (_, session):
        theirs = await answers_of(real)
        ours = {path: await (await session.get(path)).json() for path in PATHS}

    for answer in (theirs, ours):
        alerts = answer["/api/v1/alerts"]["data"]["alerts"]
        (listed,) = answer["/api/v1/rules"]["data"]["groups"]
        rule = next(one for one in listed["rules"] if one["name"] == "rate_low")
        (alert,) = [one for one in alerts if one["labels"]["alertname"] == "rate_low"]
        assert float(alert["value"]) == 0.91
        for text in (alert["activeAt"], rule["lastEvaluation"], listed["lastEvaluation"]):
            assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", text)
            parse_instant(text[:23].rstrip("Z") + "Z")
        assert (rule["type"], rule["health"], rule["state"], rule["duration"]) == ("alerting", "ok", "firing", 0)
        assert rule["labels"] == {"severity": "warning"}
        assert rule["annotations"]["message"]
        assert rule["alerts"] == [alert]
