"""The HTTP face, through a real server on a free port."""

import asyncio
import contextlib
import gzip
import io
import json
import shutil
import subprocess
import zlib
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from k2alert.expose.access import is_loopback
from k2alert.expose.exposition import (
    Family,
    Sample,
    Sheet,
    alerts_family,
    run_families,
    states_of,
    value_families,
    window_text,
)
from k2alert.expose.packing import gzipped, pack
from k2alert.expose.selfmetrics import SelfMetrics
from k2alert.expose.server import ListenError, make_app, parse_listen, start
from k2alert.expose.view import PageView, Snapshot, Unavailable, View
from k2alert.labels import Labels
from k2alert.model import (
    Alert,
    AlertState,
    Finding,
    Place,
    RefType,
    Result,
    Rule,
    RunTotal,
    Selection,
    Severity,
    Telling,
    TellingOutcome,
    TellingQuery,
    ToldAlert,
    Truth,
    Window,
)
from k2alert.times import iso
from tests.support.quiet import no_quiet

T0 = datetime(2026, 1, 1, tzinfo=UTC)
HOSTILE = 'k2/"a\\b"\n<script>alert(1)</script>\u202e'
IDENTITY = Labels({"source": "gitlab", "project": HOSTILE})


A_FLAKY_TEST: Mapping[str, Any] = {
    "source": "gitlab",
    "project": HOSTILE,
    "workflow": "",
    "job": HOSTILE,
    "suite": HOSTILE,
    "test": HOSTILE,
    "file": "",
    "state": "flaky",
    "rate": 0.0714,
    "executed": 42,
    "failed": 3,
    "commits": 2,
    "firstSeen": "2026-01-02T09:40:00Z",
    "lastSeen": "2026-01-09T14:02:00Z",
    "cleanReports": 0,
    "branch": "main",
    "sha": "",
    "message": "",
    "url": "javascript:alert(1)",
}


class Text:
    """A condition and a template, as far as the API looks at them."""

    text = "success_rate < 0.95"
    operator = "<"
    first = None
    source = "rate low"


RULE = Rule(
    name="rate_low",
    condition=Text(),
    window=Window(timedelta(hours=24)),
    period="24h",
    severity=Severity.WARNING,
    message=Text(),
    selection=Selection((), ("project",)),
    place=Place("rules/ci.yml", 2, 5),
)
FIRING = Alert(
    rule="rate_low",
    identity=IDENTITY,
    labels=IDENTITY.merged({"alertname": "rate_low", "severity": "warning"}),
    severity=Severity.WARNING,
    state=AlertState.FIRING,
    active_at=T0,
    fired_at=T0,
    value=0.91,
    threshold=0.95,
)
FINDING = Finding(rule=RULE, identity=IDENTITY, labels=FIRING.labels, truth=Truth.TRUE, value=0.91, threshold=0.95)


def snapshot() -> Snapshot:
    families = [
        *run_families([RunTotal("gitlab", HOSTILE, RefType.DEFAULT, Result.SUCCESS, 12, 90_500, 11)]),
        Family("k2alert_ci_success_ratio", "Share of decided runs.", "gauge", [Sample("", '{project="x"}', 0.5)]),
        *value_families([FINDING]),
    ]
    alerts = Sheet(most=10)
    alerts.add(alerts_family([RULE], states_of([FINDING], {(FIRING.rule, FIRING.identity): FIRING})))
    sheet = Sheet(most=1000)
    for family in families:
        sheet.add(family)
    rendered = sheet.render()
    return Snapshot(
        now=T0,
        interval=timedelta(seconds=30),
        took=timedelta(milliseconds=3),
        rules=[RULE],
        findings=[FINDING],
        alerts=[FIRING, replace(FIRING, identity=Labels({"source": "x"}), state=AlertState.ENDED)],
        messages={FIRING.key: "rate low"},
        alert_series=alerts.render().text,
        series=rendered.text,
        series_openmetrics=rendered.openmetrics,
    )


def own_metrics() -> SelfMetrics:
    own = SelfMetrics("1.2.3")
    own.declare(rules=["rate_low"], receivers=[("team", "slack")], sources=["gitlab"])
    return own


class Server:
    """A running server and what a test may set on it."""

    def __init__(self) -> None:
        self.admin: str | None = None
        self.read: str | None = None
        self.why_not: str | None = None
        self.errors: list[str] = []
        self.reloads = 0
        self.known: Snapshot | None = snapshot()
        self.own = own_metrics()
        self.query: TellingQuery | None = None
        self.tellings: list[Telling] | str = []
        self.explanations: list[dict[str, Any]] = []
        self.flaky_tests: list[dict[str, Any]] = []
        self.port = 0
        self.posted: list[tuple[str, str, str, bytes]] = []

    async def ready(self) -> str | None:
        return self.why_not

    async def reload(self) -> list[str]:
        self.reloads += 1
        return self.errors

    async def explain(
        self, rule: str, labels: Sequence[tuple[str, str]], at: datetime | None
    ) -> tuple[int, dict[str, Any] | str]:
        if rule != "rate_low":
            return 404, f"no rule {rule!r}"
        return 200, {"asked": [rule, *labels, iso(at) if at else None], "explanations": self.explanations}

    async def flaky(self, labels: Sequence[tuple[str, str]], options: Mapping[str, str]) -> dict[str, Any] | str:
        if options.get("limit") == "x":
            raise ValueError("not a number")
        return self.why_not or {"asked": [*labels, dict(options)], "tests": self.flaky_tests}

    async def history(self, since: datetime | None, project: str) -> AsyncIterator[bytes]:
        if self.why_not is not None:
            raise Unavailable(self.why_not)
        yield f"first of {project or 'all'} since {since}\n".encode()
        if self.errors:
            raise Unavailable("it went down")
        yield b"last\n"

    async def webhook(self, kind: str, name: str, headers: Mapping[str, str], body: bytes) -> tuple[int, str]:
        self.posted.append((kind, name, headers.get("x-some", ""), body))
        return (200, "") if kind == "gitlab" else (401, "not signed")

    async def notifications(self, query: TellingQuery) -> Sequence[Telling] | str:
        self.query = query
        return self.tellings

    def view(self) -> View:
        return View(
            history=self.history,
            webhook=self.webhook,
            snapshot=lambda: self.known,
            self_metrics=self.own.render,
            ready=self.ready,
            reload=self.reload,
            explain=self.explain,
            flaky=self.flaky,
            quiet=no_quiet(),
            notifications=self.notifications,
            admin_token=lambda: self.admin,
            read_token=lambda: self.read,
            page=self.page(),
        )

    def page(self) -> PageView:
        async def curve(finding: Finding, span: timedelta | None) -> None:
            return None

        async def sent(query: TellingQuery) -> Sequence[Telling]:
            self.query = query
            return self.tellings if not isinstance(self.tellings, str) else []

        return PageView(
            value_text=lambda metric, value: str(value),
            sources=lambda: [],
            curve=curve,
            sent=sent,
        )


@asynccontextmanager
async def serving(*, loopback: bool = True) -> AsyncIterator[tuple[Server, aiohttp.ClientSession]]:
    server = Server()
    runner, server.port = await start(make_app(server.view(), loopback=loopback), "127.0.0.1:0")
    try:
        async with aiohttp.ClientSession(f"http://127.0.0.1:{server.port}") as session:
            yield server, session
    finally:
        await runner.cleanup()


async def test_metrics_are_read_back_by_prometheus_own_parser_in_both_formats() -> None:
    async with serving() as (_, session):
        plain = await (await session.get("/metrics")).text()
        accept = {"Accept": "application/openmetrics-text; version=1.0.0"}
        openmetrics = await (await session.get("/metrics", headers=accept)).text()

    for text, parse in ((plain, parse_text), (openmetrics, parse_openmetrics)):
        samples = {
            (sample.name, sample.labels.get("project")): sample.value
            for family in parse(text)
            for sample in family.samples
        }
        assert samples[("k2alert_ci_runs_total", HOSTILE)] == 12
        assert samples[("k2alert_ci_run_duration_seconds_sum", HOSTILE)] == 90.5
        assert samples[("k2alert_rule_value", HOSTILE)] == 0.91
    assert openmetrics.endswith("# EOF\n")


def test_every_rule_has_all_its_states_from_the_start() -> None:
    alerts = alerts_family([RULE], {})

    assert [(sample.labels, sample.value) for sample in alerts.samples] == [
        (f'{{rule="rate_low",severity="warning",state="{state}"}}', 0)
        for state in ("inactive", "pending", "firing", "no_data", "unknown")
    ]


def test_samples_beyond_the_bound_are_dropped_and_counted() -> None:
    samples = [Sample("", f'{{n="{n}"}}', n) for n in range(10)]
    sheet = Sheet(most=12)
    for name in ("k2alert_ci_x", "k2alert_ci_y", "k2alert_ci_z"):
        sheet.add(Family(name, "X.", "gauge", samples))

    rendered = sheet.render()

    text = rendered.text.plain.decode()
    assert rendered.dropped == 18
    assert [line for line in text.splitlines() if not line.startswith("#")] == [
        *(f'k2alert_ci_x{{n="{n}"}} {n}.0' for n in range(10)),
        *(f'k2alert_ci_y{{n="{n}"}} {n}.0' for n in range(2)),
    ]
    assert text.endswith("# HELP k2alert_ci_z X.\n# TYPE k2alert_ci_z gauge\n")


def test_a_family_that_comes_in_parts_is_one() -> None:
    sheet = Sheet(most=1000)
    for number in range(3):
        for name in ("k2alert_ci_x", "k2alert_ci_y"):
            sheet.add(Family(name, "X.", "gauge", [Sample("", f'{{n="{number}"}}', number)]))

    lines = sheet.render().openmetrics.plain.decode().splitlines()

    assert [line for line in lines if not line.startswith("#")] == [
        f'k2alert_ci_{name}{{n="{number}"}} {number}.0' for name in "xy" for number in range(3)
    ]
    assert len(lines) == 6 + 4


@given(st.binary(max_size=300), st.binary(max_size=3000), st.binary(max_size=10))
def test_what_is_packed_in_pieces_is_one_stream(head: bytes, body: bytes, tail: bytes) -> None:
    packed = gzipped(head, [pack(body * 25), pack(body * 25)], tail)

    assert gzip.decompress(packed) == head + body * 50 + tail
    one = zlib.decompressobj(zlib.MAX_WBITS | 16)  # many clients read one member, and leave what follows
    assert (one.decompress(packed) + one.flush(), one.unused_data) == (head + body * 50 + tail, b"")


@pytest.mark.parametrize("accept", ["text/plain", "application/openmetrics-text; version=1.0.0"])
async def test_a_scrape_is_the_same_packed_or_not(accept: str) -> None:
    """A client takes gzip apart by itself, so `identity` is asked for to see the other."""
    async with serving() as (_, session):
        asked = [
            await session.get("/metrics", headers={"Accept": accept, "Accept-Encoding": encoding})
            for encoding in ("gzip", "identity")
        ]
        packed, plain = [(await answer.text()).splitlines() for answer in asked]

    assert [answer.headers.get("Content-Encoding") for answer in asked] == ["gzip", None]
    changing = ("process_", "python_gc_")
    assert [line for line in packed if not line.startswith(changing)] == [
        line for line in plain if not line.startswith(changing)
    ]
    assert len(packed) == len(plain)


@pytest.mark.parametrize(
    ("hours", "text"), [(1, "1h"), (24, "24h"), (48, "2d"), (168, "7d"), (0.5, "30m"), (36, "1d12h")]
)
def test_windows_are_written_as_people_do(hours: float, text: str) -> None:
    assert window_text(timedelta(hours=hours)) == text


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
async def test_promtool_finds_nothing() -> None:
    async with serving() as (_, session):
        exposition = await (await session.get("/metrics")).read()

    checked = subprocess.run(["promtool", "check", "metrics"], input=exposition, capture_output=True)

    assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")


async def test_what_is_no_longer_declared_leaves_the_exposition() -> None:
    own = own_metrics()
    own.count_requests("gitlab", "jobs", "429", 3)
    own.notified("team", "slack", took=timedelta(seconds=1), reason="rateLimited")

    own.declare(rules=[], receivers=[], sources=[])
    # A round, a message and a look that were under way are over.
    own.evaluated({"rate_low": True}, took=timedelta(seconds=1))
    own.notified("team", "slack", took=timedelta(seconds=1), reason="rateLimited")
    own.count_requests("gitlab", "jobs", "429", 3)
    own.webhook("gitlab", "accepted", now=T0)

    text = own.render("")[0].decode()
    assert not [
        line for line in text.splitlines() if "gitlab" in line or "rate_low" in line or 'receiver="team"' in line
    ]


async def test_probes() -> None:
    async with serving() as (server, session):
        healthy, ready = await session.get("/-/healthy"), await session.get("/-/ready")
        server.why_not = "the store does not answer"
        unready = await session.get("/-/ready")

        assert (healthy.status, ready.status, unready.status) == (200, 200, 503)
        assert await unready.text() == "k2alert is not ready: the store does not answer\n"


QUERIES = {
    "a rule": ("rule=rate_low", 200, ["rate_low", None]),
    "labels": (
        "rule=rate_low&project=k2/app&label=rule=x%3Dy&at=2026-01-01T08:00:00Z",
        200,
        ["rate_low", ["project", "k2/app"], ["rule", "x=y"], "2026-01-01T08:00:00Z"],
    ),
    "no rule": ("project=k2/app", 400, "which rule? Write /api/v1/explain?rule=NAME"),
    "no such rule": ("rule=%3Cb%3E", 404, "no rule '<b>'"),
    "no label": ("rule=rate_low&label=x", 400, "not NAME=VALUE: label 'x'"),
    "no year": (
        "rule=rate_low&at=0001-01-01T00:00:00Z",
        400,
        "not a time like 2026-01-31T08:00:00Z: at '0001-01-01T00:00:00Z'",
    ),
    "no time": ("rule=rate_low&at=noon", 400, "not a time like 2026-01-31T08:00:00Z: at 'noon'"),
}


@pytest.mark.parametrize(("query", "status", "said"), QUERIES.values(), ids=QUERIES.keys())
async def test_explain_reads_its_query(query: str, status: int, said: object) -> None:
    async with serving() as (_, session):
        answer = await session.get(f"/api/v1/explain?{query}")
        body = await answer.json()

    assert (answer.status, body["data"]["asked"] if status == 200 else body["error"]) == (status, said)
    assert answer.content_type == "application/json"


async def test_api_has_prometheus_shape() -> None:
    async with serving() as (_, session):
        alerts = await (await session.get("/api/v1/alerts")).json()
        rules = await (await session.get("/api/v1/rules")).json()

    (alert,) = alerts["data"]["alerts"]
    assert alerts["status"] == "success"
    assert alert["labels"] == {"alertname": "rate_low", "project": HOSTILE, "severity": "warning", "source": "gitlab"}
    assert (alert["state"], alert["activeAt"], alert["value"]) == ("firing", "2026-01-01T00:00:00Z", "0.91")
    assert alert["annotations"] == {"message": "rate low"}
    (listed,) = rules["data"]["groups"]
    (rule,) = listed["rules"]
    assert (listed["file"], listed["interval"]) == ("rules/ci.yml", 30)
    assert (rule["name"], rule["query"], rule["state"], rule["health"], rule["type"]) == (
        "rate_low",
        "success_rate < 0.95",
        "firing",
        "ok",
        "alerting",
    )
    assert rule["alerts"] == [alert]


@pytest.mark.parametrize(
    ("query", "rules"),
    [("type=alert", 1), ("type=record", 0), ("rule_name[]=rate_low", 1), ("rule_name[]=other", 0), ("file[]=x", 0)],
)
async def test_rules_can_be_filtered(query: str, rules: int) -> None:
    async with serving() as (_, session):
        answer = await (await session.get(f"/api/v1/rules?{query}")).json()

    assert sum(len(listed["rules"]) for listed in answer["data"]["groups"]) == rules


async def test_before_the_first_round_the_api_is_empty_and_metrics_are_our_own() -> None:
    async with serving() as (server, session):
        server.known = None
        alerts = await (await session.get("/api/v1/alerts")).json()
        metrics = await (await session.get("/metrics")).text()

    assert alerts["data"] == {"alerts": []}
    assert 'k2alert_build_info{version="1.2.3"} 1.0' in metrics


@pytest.mark.parametrize(
    ("path", "method", "status"),
    [
        ("/nope", "GET", 404),
        ("/-/reload", "GET", 405),
        ("/api/v1/rules", "DELETE", 405),
        ("/api/v1/rules?type=x", "GET", 400),
    ],
)
async def test_errors_are_json_in_prometheus_shape(path: str, method: str, status: int) -> None:
    async with serving() as (_, session):
        answer = await session.request(method, path)
        body = json.loads(await answer.text())

    assert (answer.status, body["status"]) == (status, "error")


RELOADS: dict[str, tuple[str | None, bool, dict[str, str], int]] = {
    "on loopback nobody needs a token": (None, True, {}, 200),
    "elsewhere it is refused without one": (None, False, {}, 403),
    "a page from elsewhere is refused": (None, True, {"Origin": "https://evil.example"}, 403),
    "a name of its own for loopback is refused": (None, True, {"Host": "evil.example"}, 403),
    "a token that is set must be given": ("s3cret", True, {}, 401),
    "the wrong one is refused": ("s3cret", True, {"Authorization": "Bearer nope"}, 401),
    "bytes that are no text are the wrong one": ("s3cret", True, {"Authorization": "Bearer s3cr\udcff\udce9t"}, 401),
    "the right one does": ("s3cret", False, {"Authorization": "Bearer s3cret"}, 200),
}


@pytest.mark.parametrize(("token", "loopback", "headers", "status"), RELOADS.values(), ids=RELOADS)
async def test_reload(token: str | None, loopback: bool, headers: dict[str, str], status: int) -> None:
    async with serving(loopback=loopback) as (server, session):
        server.admin = token
        answer = await session.post("/-/reload", headers=headers)

        assert (answer.status, server.reloads) == (status, int(status == 200))


async def test_history_is_streamed_to_who_may_read() -> None:
    async with serving() as (server, session):
        whole = await session.get("/api/v1/history", params={"since": "2026-01-01T00:00:00Z", "project": "k2/app"})
        assert await whole.text() == "first of k2/app since 2026-01-01 00:00:00+00:00\nlast\n"
        assert whole.content_type == "application/x-ndjson"
        wrong = await session.get("/api/v1/history", params={"since": "soon"})
        server.why_not = "the store is down"
        down = await session.get("/api/v1/history")
        server.read = "r3ad"
        refused = await session.get("/api/v1/history")
        assert (wrong.status, down.status, refused.status) == (400, 503, 401)


async def test_history_that_breaks_off_has_no_end() -> None:
    async with serving() as (server, session):
        server.errors = ["x"]
        with pytest.raises(aiohttp.ClientError):
            await (await session.get("/api/v1/history")).read()


async def test_a_webhook_goes_on_as_it_came_and_its_answer_is_empty() -> None:
    async with serving(loopback=False) as (server, session):
        server.admin = server.read = "s3cret"  # neither token is a forge's to give
        for path in ("/webhooks/gitlab", "/webhooks/gitlab/one"):
            answer = await session.post(path, data=b"{ }\xff", headers={"X-Some": "Header"})
            assert (answer.status, await answer.read()) == (200, b"")
        refused = await session.post("/webhooks/github", data=b"")
        got = await session.get("/webhooks/gitlab")

        assert server.posted[:2] == [("gitlab", "", "Header", b"{ }\xff"), ("gitlab", "one", "Header", b"{ }\xff")]
        assert (refused.status, (await refused.json())["error"]) == (401, "not signed")
        assert got.status == 405


@pytest.mark.parametrize("chunked", [True, False])
async def test_a_webhook_larger_than_any_forge_sends_is_refused(chunked: bool) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(26):
            yield bytes(1024 * 1024)

    async with serving() as (server, session):
        with contextlib.suppress(aiohttp.ClientConnectionError):  # it may hang up before all is sent
            answer = await session.post(
                "/webhooks/gitlab", data=pieces() if chunked else io.BytesIO(bytes(26 * 1024 * 1024))
            )
            assert answer.status == 413
        assert server.posted == []


async def test_a_reload_that_fails_says_why() -> None:
    async with serving() as (server, session):
        server.errors = ["rules/ci.yml:3:9: unknown key 'perriod'"]
        answer = await session.post("/-/reload")

        assert (answer.status, await answer.text()) == (500, "rules/ci.yml:3:9: unknown key 'perriod'\n")


@pytest.mark.parametrize(
    ("header", "status"), [(None, 401), ("Bearer reader", 200), ("Bearer admin", 200), ("Basic reader", 401)]
)
async def test_a_read_token_guards_the_api_but_not_the_metrics(header: str | None, status: int) -> None:
    async with serving() as (server, session):
        server.read, server.admin = "reader", "admin"
        headers = {"Authorization": header} if header else {}

        assert (await session.get("/api/v1/alerts", headers=headers)).status == status
        assert (await session.get("/api/v1/explain?rule=rate_low", headers=headers)).status == status
        assert (await session.get("/", headers=headers)).status == status
        assert (await session.get("/metrics")).status == 200


ACCEPTS = {
    "nothing": ("", "text/plain"),
    "no version": ("application/openmetrics-text; version=x", "application/openmetrics-text"),
    "a version to come": ("application/openmetrics-text; version=9.9.9", "application/openmetrics-text"),
    "names escaped": ("application/openmetrics-text; version=1.0.0; escaping=values", "application/openmetrics-text"),
    "names escaped as text": ("text/plain; version=1.0.0; escaping=values", "text/plain"),
    "no header at all": (";;;q=,,/;version=;=", "text/plain"),
    "Prometheus 2": (
        "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
        "text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
        "application/openmetrics-text",
    ),
}


@pytest.mark.parametrize(("accept", "content_type"), ACCEPTS.values(), ids=ACCEPTS)
async def test_whatever_format_is_asked_for_it_is_one_of_two(accept: str, content_type: str) -> None:
    async with serving() as (_, session):
        answer = await session.get("/metrics", headers={"Accept": accept})
        text = await answer.text()

    parse = parse_text if content_type == "text/plain" else parse_openmetrics
    assert (answer.status, answer.content_type) == (200, content_type)
    assert {"process_open_fds", "k2alert_ci_success_ratio"} <= {family.name for family in parse(text)}


_HOST = b"Host: localhost\r\n"
MALFORMED = {
    "a header without end": b"GET / HTTP/1.1\r\n" + _HOST + b"X: " + b"a" * 100_000 + b"\r\n\r\n",
    "headers without end": b"GET / HTTP/1.1\r\n" + _HOST + b"X: a\r\n" * 50_000 + b"\r\n",
    "a path without end": b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n" + _HOST + b"\r\n",
    "no host": b"POST /-/reload HTTP/1.1\r\n\r\n",
    "two hosts": b"POST /-/reload HTTP/1.1\r\n" + _HOST + b"Host: evil.example\r\n\r\n",
    "no method": b"EVIL / HTTP/1.1\r\n" + _HOST + b"\r\n",
    "no HTTP": b"\x16\x03\x01\x02\x00\xff\xfe\r\n\r\n",
    "two lengths": b"POST / HTTP/1.1\r\n" + _HOST + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "no length": b"POST / HTTP/1.1\r\n" + _HOST + b"Content-Length: -3\r\n\r\n",
    "chunks that are none": b"POST / HTTP/1.1\r\n" + _HOST + b"Transfer-Encoding: chunked\r\n\r\nZZZ\r\n",
    "a NUL": b"GET /\x00 HTTP/1.1\r\n" + _HOST + b"\r\n",
}


@pytest.mark.parametrize("sent", MALFORMED.values(), ids=MALFORMED)
async def test_what_is_no_request_is_refused_without_a_word_in_the_log(
    sent: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving() as (server, session):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(sent)
        said = await reader.read(4096)
        writer.close()
        assert (await session.get("/-/healthy")).status == 200

    assert said.split(b"\r\n")[0].split()[1] == b"400"
    assert b"Traceback" not in said
    assert (caplog.records, server.reloads) == ([], 0)


async def test_a_body_that_nobody_reads_costs_nothing(caplog: pytest.LogCaptureFixture) -> None:
    packed = gzip.compress(b"a" * 20_000_000)
    async with serving() as (_, session):
        answers = [
            await session.post("/-/reload", data=data, headers={"Content-Encoding": "gzip"}) for data in (packed, b"no")
        ]
        assert [answer.status for answer in answers] == [200, 200]
        assert (await session.get("/-/healthy")).status == 200

    assert caplog.records == []


async def test_every_answer_carries_the_security_headers() -> None:
    async with serving() as (_, session):
        for path in ("/", "/metrics", "/nope"):
            answer = await session.get(path)
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert "default-src 'none'" in answer.headers["Content-Security-Policy"]


@pytest.mark.parametrize(
    ("listen", "parsed"),
    [("127.0.0.1:9725", ("127.0.0.1", 9725)), (":80", ("0.0.0.0", 80)), ("[::1]:1", ("::1", 1))],
)
def test_listen_addresses(listen: str, parsed: tuple[str, int]) -> None:
    assert parse_listen(listen) == parsed


@pytest.mark.parametrize("listen", ["9725", "localhost", "x:", "x:99999", ""])
def test_bad_listen_addresses_are_refused(listen: str) -> None:
    with pytest.raises(ListenError):
        parse_listen(listen)


@pytest.mark.parametrize(
    ("host", "answer"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("[::1]", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("a.b", False),
    ],
)
def test_loopback(host: str, answer: bool) -> None:
    assert is_loopback(host) is answer


async def test_a_port_that_is_taken_is_one_clear_line() -> None:
    server = Server()
    runner, port = await start(make_app(server.view(), loopback=True), "127.0.0.1:0")
    try:
        with pytest.raises(ListenError, match=f"cannot listen on 127.0.0.1:{port}"):
            await start(make_app(server.view(), loopback=True), f"127.0.0.1:{port}")
    finally:
        await runner.cleanup()


# ------------------------------------------------------------------------------- what was sent to whom

TOLD = Telling(
    id=7,
    at=T0,
    receiver="team",
    integration="slack[0]",
    kind="firing",
    incident="i1",
    alerts=(ToldAlert(key=FIRING.key, rule="rate_low", identity=Labels({"source": "gitlab", "project": HOSTILE})),),
    total=3,
    outcome=TellingOutcome.RETRY,
    reason="serverError",
    error="Slack answered 503",
    took=timedelta(milliseconds=120),
)


async def test_notifications_say_what_was_sent_to_whom_and_how_to_read_on() -> None:
    async with serving() as (server, session):
        server.tellings = [TOLD]
        async with session.get("/api/v1/notifications?limit=1&receiver=team&before=9&alert=a&incident=i") as answer:
            assert answer.status == 200
            assert (await answer.json())["data"] == {
                "notifications": [
                    {
                        "id": 7,
                        "at": iso(T0),
                        "receiver": "team",
                        "integration": "slack[0]",
                        "kind": "firing",
                        "incident": "i1",
                        "alerts": [
                            {
                                "fingerprint": FIRING.key,
                                "labels": {"alertname": "rate_low", "source": "gitlab", "project": HOSTILE},
                            }
                        ],
                        "total": 3,
                        "outcome": "retry",
                        "reason": "serverError",
                        "error": "Slack answered 503",
                        "seconds": 0.12,
                    }
                ],
                "next": 7,
            }
        assert server.query == TellingQuery(limit=1, before=9, receiver="team", incident="i", alert="a")


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("limit=0", "not a number from 1 to 1000: limit '0'"),
        ("limit=1001", "not a number from 1 to 1000"),
        ("limit=-1", "not a number"),
        ("limit=\u0663", "not a number"),
        ("before=" + 60 * "9", "not a number from 1 to"),
        ("reciever=x", "not a parameter: 'reciever'"),
    ],
)
async def test_a_question_for_notifications_that_is_wrong_is_answered_with_what_is_wrong(query: str, says: str) -> None:
    async with serving() as (_, session), session.get(f"/api/v1/notifications?{query}") as answer:
        assert answer.status == 400
        assert says in (await answer.json())["error"]


async def test_notifications_need_the_read_token_and_the_store() -> None:
    async with serving() as (server, session):
        server.tellings = "the store is down: no space left"
        async with session.get("/api/v1/notifications") as answer:
            assert answer.status == 503
        server.read = "s3cret"
        async with session.get("/api/v1/notifications") as answer:
            assert answer.status == 401


@pytest.mark.parametrize(
    ("why_not", "query", "status", "said"),
    [
        (None, "?project=k2/app&period=7d", 200, {"asked": [["project", "k2/app"], {"period": "7d"}], "tests": []}),
        (None, "?limit=x", 400, "not a number"),
        ("the store is down", "", 503, "the store is down"),
    ],
)
async def test_flaky_tests_are_asked_for_by_labels_and_options(
    why_not: str | None, query: str, status: int, said: object
) -> None:
    async with serving() as (daemon, session):
        daemon.why_not = why_not
        response = await session.get(f"/api/v1/flaky{query}")
        answer = await response.json()
    assert (response.status, answer.get("data", answer.get("error"))) == (status, said)


def test_who_leads_no_more_does_not_go_on_saying_what_only_a_leader_knows() -> None:
    def said() -> set[str]:
        lines = own.render("")[0].decode().splitlines()
        return {line for line in lines if line.startswith(("k2alert_source_rate", "k2alert_notifications_queued"))}

    own = own_metrics()
    own.set_leader(True)
    own.set_queued({("team", "slack"): 3})
    own.set_source("gitlab", remaining=7, success_at=None, complete=None)
    queued = 'k2alert_notifications_queued{integration="slack",receiver="team"}'
    assert said() == {f"{queued} 3.0", 'k2alert_source_rate_limit_remaining{source="gitlab"} 7.0'}

    own.set_leader(False)
    own.set_source("gitlab", remaining=7, success_at=None, complete=None)
    assert said() == {f"{queued} 0.0"}
