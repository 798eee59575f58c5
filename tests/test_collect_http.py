"""The driver against a real server that misbehaves."""

import asyncio
import gzip
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Generator
from datetime import timedelta
from pathlib import Path

import pytest
import trustme
from aiohttp import web
from pydantic import SecretStr

from k2alert.collect.budget import Budget
from k2alert.collect.flow import Answer, Batch, Failure, Flow, Forge, Look, Request, Response
from k2alert.collect.http import Client, Limits, drive
from k2alert.collect.settings import SourceSettings
from k2alert.model import Project
from tests.support.fake_time import T0, FakeTime
from tests.support.faults import (
    Fault,
    FaultyServer,
    answer,
    broken_off,
    echo_token,
    endless,
    hang,
    html,
    redirect,
    reset,
    text,
    truncated,
)

TOKEN = "glpat-very-secret-0123456789"
PROJECT = Project(source="s", key="a/b", path="a/b", first_seen_at=T0)
PATIENT = Limits(time=timedelta(seconds=30), size=100_000)
HASTY = Limits(time=timedelta(seconds=1), size=100_000)  # others must answer within that, on a busy machine too
FINE = {"fine": True}


def idle(ask: object) -> Generator[Request | Batch, Answer | None, Look]:
    yield from ()
    return Look(PROJECT)


FORGE = Forge(look=idle, default_url="https://forge.invalid", api_path="/api", headers={"X-Version": "1"})
MakeClient = Callable[..., Client]


@pytest.fixture
def fake() -> FakeTime:
    return FakeTime()


@pytest.fixture
async def server() -> AsyncIterator[FaultyServer]:
    async with FaultyServer() as server:
        yield server


@pytest.fixture
async def make_client(fake: FakeTime) -> AsyncIterator[MakeClient]:
    made: list[Client] = []

    def make(url: str, limits: Limits = PATIENT, budget: Budget | None = None, **settings: object) -> Client:
        source = SourceSettings.model_validate(
            {"type": "gitlab", "name": "s", "url": url, "token": SecretStr(f"{TOKEN}\n"), **settings}
        )
        made.append(Client(source, FORGE, time=fake.time, version="1.2", limits=limits, budget=budget))
        return made[-1]

    yield make
    for client in made:
        await client.close()


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        pytest.param(answer({}, status=500), "500", id="a crash"),
        pytest.param(html(502), "502", id="a bad gateway"),
        pytest.param(html(), "body", id="HTML with 200"),
        pytest.param(truncated(), "body", id="cut JSON"),
        pytest.param(broken_off, "network", id="a body that breaks off"),
        pytest.param(hang, "timeout", id="silence"),
    ],
)
async def test_a_passing_fault_costs_one_more_try(
    fault: Fault, code: str, server: FaultyServer, make_client: MakeClient, fake: FakeTime
) -> None:
    server.faults.append(fault)
    client = make_client(server.url, limits=HASTY if fault is hang else PATIENT)
    came = await client.ask(Request("/runs", kind="runs"))
    assert isinstance(came, Response)
    assert came.data == FINE
    assert fake.slept == [1.5]
    assert client.stats().requests == {("runs", code): 1, ("runs", "200"): 1}


async def test_a_hang_up_costs_nothing_at_first_and_then_one_more_try(
    server: FaultyServer, make_client: MakeClient, fake: FakeTime
) -> None:
    # aiohttp itself repeats a GET once, for a connection kept alive may have been closed meanwhile.
    client = make_client(server.url)
    server.faults.append(reset)
    assert isinstance(await client.ask(Request("/runs")), Response)
    assert fake.slept == []
    server.faults.extend([reset, reset])
    assert isinstance(await client.ask(Request("/runs")), Response)
    assert fake.slept == [1.5]


@pytest.mark.parametrize(
    ("fault", "reason", "status", "tries"),
    [
        pytest.param(answer({}, status=500), "server", 500, 3, id="a crash"),
        pytest.param(html(), "body", 200, 3, id="HTML with 200"),
        pytest.param(broken_off, "network", None, 3, id="a body that breaks off"),
        pytest.param(reset, "network", None, 6, id="a hang-up, which aiohttp repeats itself"),
        pytest.param(hang, "timeout", None, 3, id="silence"),
        pytest.param(endless, "body", None, 1, id="a body without end"),
        pytest.param(answer({}, status=401), "auth", 401, 1, id="a bad token"),
        pytest.param(answer({}, status=403), "forbidden", 403, 1, id="a token that may not"),
        pytest.param(answer({}, status=404), "not_found", 404, 1, id="nothing there"),
        pytest.param(answer({}, status=400), "client", 400, 1, id="our mistake"),
    ],
)
async def test_a_lasting_fault_is_told_after_its_tries(
    fault: Fault, reason: str, status: int | None, tries: int, server: FaultyServer, make_client: MakeClient
) -> None:
    server.faults.extend([fault] * tries)
    client = make_client(server.url, limits=HASTY if fault is hang else PATIENT)
    came = await client.ask(Request("/runs", kind="runs"))
    assert isinstance(came, Failure)
    assert (came.reason, came.status, len(server.seen)) == (reason, status, tries)
    assert came.detail.startswith("runs: ")


async def test_the_waits_between_tries_grow(server: FaultyServer, make_client: MakeClient, fake: FakeTime) -> None:
    server.faults.extend([html(500), html(500)])
    assert isinstance(await make_client(server.url).ask(Request("/runs")), Response)
    assert fake.slept == [1.5, 3.0]


async def test_a_body_that_unpacks_to_too_much_is_cut(make_client: MakeClient) -> None:
    packed = gzip.compress(b"[" + b"0," * 5_000_000 + b"0]")

    async def bomb(request: web.Request) -> web.StreamResponse:
        return web.Response(body=packed, headers={"Content-Encoding": "gzip"})

    async with FaultyServer(bomb) as server:
        came = await make_client(server.url).ask(Request("/runs", kind="runs"))
    assert came == Failure("body", "runs: the answer is too large")


async def test_a_server_that_is_not_there_is_a_network_failure(make_client: MakeClient) -> None:
    with socket.socket() as taken:  # bound but not listening: nobody else can be there
        taken.bind(("127.0.0.1", 0))
        came = await make_client(f"http://127.0.0.1:{taken.getsockname()[1]}").ask(Request("/runs"))
    assert isinstance(came, Failure)
    assert came.reason == "network"


_A_DAY_AHEAD = "Tue, 06 Jan 2026 12:00"


@pytest.mark.parametrize(
    ("fault", "waited"),
    [
        pytest.param(text("Retry later", status=429, headers={"Retry-After": "7"}), 7, id="in seconds"),
        pytest.param(
            text("", status=429, headers={"Retry-After": f"{_A_DAY_AHEAD}:42 GMT", "Date": f"{_A_DAY_AHEAD}:00 GMT"}),
            42,
            id="as a date, of a clock that is wrong",
        ),
        pytest.param(text("Retry later", status=429), 60, id="without a time"),
        pytest.param(answer({"message": "secondary rate limit"}, status=403), 60, id="in words only"),
        pytest.param(text("", status=503, headers={"Retry-After": "20"}), 20, id="during maintenance"),
    ],
)
async def test_a_short_limit_is_waited_for(
    fault: Fault, waited: float, server: FaultyServer, make_client: MakeClient, fake: FakeTime
) -> None:
    server.faults.append(fault)
    assert isinstance(await make_client(server.url).ask(Request("/runs")), Response)
    assert fake.slept == [waited]


async def test_a_long_limit_is_told_and_keeps_every_request_back(
    server: FaultyServer, make_client: MakeClient, fake: FakeTime
) -> None:
    server.faults.append(text("", status=429, headers={"Retry-After": "600"}))
    client = make_client(server.url)
    first = await client.ask(Request("/a"))
    fake.advance(timedelta(seconds=100))
    second = await client.ask(Request("/b"))
    assert isinstance(first, Failure)
    assert isinstance(second, Failure)
    assert (first.reason, first.retry_after) == ("rate_limited", timedelta(seconds=600))
    assert (second.reason, second.retry_after) == ("rate_limited", timedelta(seconds=500))
    assert len(server.seen) == 1
    fake.advance(timedelta(seconds=500))
    assert isinstance(await client.ask(Request("/c")), Response)


async def test_a_pause_for_one_request_holds_for_all_of_the_source(
    server: FaultyServer, make_client: MakeClient, fake: FakeTime
) -> None:
    server.faults.extend([text("", status=429, headers={"Retry-After": "50"})] * 3)
    client = make_client(server.url)
    assert isinstance(await client.ask(Request("/a")), Failure)
    assert isinstance(await client.ask(Request("/b")), Response)
    assert fake.slept == [50, 50, 50]


async def test_what_the_forge_still_allows_is_remembered(make_client: MakeClient) -> None:
    headers = {"x-ratelimit-remaining": "41"}
    async with FaultyServer(answer({}, headers=headers)) as server:
        server.faults.append(answer({}))
        client = make_client(server.url)
        assert client.stats().rate_limit_remaining is None
        await client.ask(Request("/a"))
        assert client.stats().rate_limit_remaining is None
        await client.ask(Request("/b"))
        assert client.stats().rate_limit_remaining == 41


async def test_a_limit_that_is_nearly_reached_is_kept_for_all_who_share_it(
    make_client: MakeClient, fake: FakeTime
) -> None:
    reset = str(int((T0 + timedelta(minutes=30)).timestamp()))
    headers = {"x-ratelimit-limit": "5000", "x-ratelimit-remaining": "100", "x-ratelimit-reset": reset}
    async with FaultyServer(answer({}, headers={**headers, "Date": "Mon, 05 Jan 2026 12:00:00 GMT"})) as server:
        budget = Budget()
        assert isinstance(await make_client(server.url, budget=budget).ask(Request("/a")), Response)
        kept = await make_client(server.url, budget=budget).ask(Request("/b"))
        assert isinstance(kept, Failure)
        assert (kept.reason, kept.retry_after) == ("rate_limited", timedelta(seconds=1801))
        assert len(server.seen) == 1
        fake.advance(timedelta(seconds=1801))
        assert isinstance(await make_client(server.url, budget=budget).ask(Request("/b")), Response)


async def test_no_minute_sees_more_requests_than_the_settings_allow(
    server: FaultyServer, make_client: MakeClient, fake: FakeTime
) -> None:
    client = make_client(server.url, max_requests_per_minute=3)
    at = []
    for _ in range(7):
        assert isinstance(await client.ask(Request("/runs")), Response)
        at.append((fake.now - T0).total_seconds())
        fake.advance(timedelta(seconds=10))
    assert at == [0, 10, 20, 60, 70, 80, 120]


async def test_a_request_says_who_asks_and_exactly_what(server: FaultyServer, make_client: MakeClient) -> None:
    params = (("since", "2026-01-05T12:00:00+00:00"), ("scope[]", "a b"), ("scope[]", "c&d"))
    await make_client(f"{server.url}/").ask(Request("/projects/k2%2Fapp/runs", params))
    seen = server.seen[0]
    assert seen.raw_path == (
        "/api/projects/k2%2Fapp/runs?since=2026-01-05T12%3A00%3A00%2B00%3A00&scope%5B%5D=a%20b&scope%5B%5D=c%26d"
    )
    assert seen.headers["authorization"] == f"Bearer {TOKEN}"
    assert seen.headers["user-agent"] == "k2alert/1.2"
    assert seen.headers["x-version"] == "1"


async def test_a_source_without_a_token_sends_none(server: FaultyServer, make_client: MakeClient) -> None:
    await make_client(server.url, token=None).ask(Request("/runs"))
    assert "authorization" not in server.seen[0].headers


async def test_what_has_not_changed_is_not_sent_again(make_client: MakeClient) -> None:
    async def tagged(request: web.Request) -> web.StreamResponse:
        fresh = request.headers.get("If-None-Match") == 'W/"7"'
        return web.Response(status=304) if fresh else web.json_response(FINE, headers={"ETag": 'W/"7"'})

    async with FaultyServer(tagged) as server:
        client = make_client(server.url)
        first = await client.ask(Request("/runs", kind="runs"))
        assert isinstance(first, Response)
        again = await client.ask(Request("/runs", kind="runs", etag=first.etag))
    assert isinstance(again, Response)
    assert (first.unchanged, first.data, again.unchanged, again.data) == (False, FINE, True, None)
    assert "if-none-match" not in server.seen[0].headers
    assert client.stats().requests == {("runs", "200"): 1, ("runs", "304"): 1}


async def test_an_answer_that_nothing_changed_to_someone_who_knows_nothing_is_a_failure(
    server: FaultyServer, make_client: MakeClient
) -> None:
    server.faults.append(answer(None, status=304))
    came = await make_client(server.url).ask(Request("/runs"))
    assert isinstance(came, Failure)
    assert came.reason == "client"


@pytest.mark.parametrize(("etag", "kept"), [('"7"', '"7"'), ('W/"7"', 'W/"7"'), ('"\x07"', ""), ('"ö"', ""), ("", "")])
def test_only_an_etag_that_can_be_sent_back_is_one(etag: str, kept: str) -> None:
    assert Response(200, {"etag": etag}, None).etag == kept


async def test_a_query_is_posted_as_json_and_repeated_like_any_question(
    server: FaultyServer, make_client: MakeClient
) -> None:
    server.faults.append(reset)
    came = await make_client(server.url).ask(Request("/graphql", body={"query": "{ a }"}))
    assert isinstance(came, Response)
    assert [(seen.method, seen.body) for seen in server.seen] == [("POST", '{"query": "{ a }"}')] * 2


async def test_a_redirect_on_the_same_origin_is_followed_with_the_token(
    server: FaultyServer, make_client: MakeClient
) -> None:
    server.faults.extend([redirect("/api/new%2Fname?page=2", 301), redirect(f"{server.url}/api/there")])
    came = await make_client(server.url).ask(Request("/old"))
    assert isinstance(came, Response)
    assert [seen.raw_path for seen in server.seen] == ["/api/old", "/api/new%2Fname?page=2", "/api/there"]
    assert all(seen.headers["authorization"] == f"Bearer {TOKEN}" for seen in server.seen)


async def test_a_redirect_to_another_host_takes_nothing_there(server: FaultyServer, make_client: MakeClient) -> None:
    async with FaultyServer() as other:
        server.faults.append(redirect(f"{other.url.replace('127.0.0.1', 'localhost')}/x?secret=question"))
        came = await make_client(server.url).ask(Request("/runs", kind="runs"))
        assert other.seen == []
    assert came == Failure(
        "client", "runs: 302 to another host, http://localhost: is the source's url right?", status=302
    )


@pytest.mark.parametrize("location", ["http://[", "https://127.0.0.1/", "ftp://127.0.0.1/x", "javascript:1"])
async def test_a_redirect_to_anywhere_else_is_a_failure(
    location: str, server: FaultyServer, make_client: MakeClient
) -> None:
    server.faults.append(redirect(location))
    came = await make_client(server.url).ask(Request("/runs"))
    assert isinstance(came, Failure)
    assert (came.reason, len(server.seen)) == ("client", 1)


async def test_redirects_in_a_ring_end(server: FaultyServer, make_client: MakeClient) -> None:
    server.faults.extend([redirect("/api/runs")] * 20)
    came = await make_client(server.url).ask(Request("/runs", kind="runs"))
    assert came == Failure("client", "runs: redirected too often")
    assert len(server.seen) == 6


async def test_a_redirected_post_is_not_repeated_elsewhere(server: FaultyServer, make_client: MakeClient) -> None:
    server.faults.append(redirect("/api/other"))
    came = await make_client(server.url).ask(Request("/graphql", body={}))
    assert isinstance(came, Failure)
    assert (came.reason, len(server.seen)) == ("client", 1)


@pytest.mark.parametrize("padding", range(120, 210, 9))
async def test_a_failure_never_holds_the_token_or_a_query(
    padding: int, server: FaultyServer, make_client: MakeClient
) -> None:
    server.faults.append(text("x" * padding + f" {TOKEN} /a?q=query-secret", status=400))
    came = await make_client(server.url).ask(Request("/runs", (("q", "query-secret"),)))
    assert isinstance(came, Failure)
    assert "glpat" not in came.detail
    assert "query-secret" not in came.detail
    assert "\n" not in came.detail


async def test_a_server_that_repeats_the_token_does_not_get_it_shown(
    server: FaultyServer, make_client: MakeClient
) -> None:
    server.faults.append(echo_token())
    came = await make_client(server.url).ask(Request("/runs", kind="runs"))
    assert came == Failure("client", "runs: 400 Bad Request: bad: Bearer *** at https://h/a", 400)
    assert TOKEN not in repr(came)


async def test_certificates_of_a_company_are_trusted_when_named(make_client: MakeClient, tmp_path: Path) -> None:
    authority = trustme.CA()
    ca_file = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(ca_file))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    async with FaultyServer(ssl=context) as server:
        trusting = await make_client(server.url, ca_file=str(ca_file)).ask(Request("/runs"))
        doubting = await make_client(server.url).ask(Request("/runs"))
    assert isinstance(trusting, Response)
    assert isinstance(doubting, Failure)
    assert doubting.reason == "network"
    assert "certificate" in doubting.detail.lower()


async def test_a_missing_ca_file_is_named(make_client: MakeClient, tmp_path: Path) -> None:
    path = str(tmp_path / "missing.pem")
    came = await make_client("https://127.0.0.1:1", ca_file=path).ask(Request("/runs"))
    assert isinstance(came, Failure)
    assert came.reason == "network"
    assert "ca_file" in came.detail


# ---------------------------------------------------------------------------------------------------- drive


class Told:
    """What a flow said and heard, in order."""

    def __init__(self, came: Answer | None = None) -> None:
        self.order: list[str] = []
        self._came = came or Response(200, {}, [])

    async def ask(self, request: Request) -> Answer:
        self.order.append(f"ask {request.path}")
        return self._came

    async def record(self, batch: Batch) -> None:
        self.order.append(f"record {batch.done}")


async def test_a_flow_hears_its_answers_and_its_batches_are_recorded_in_order() -> None:
    heard: list[object] = []

    def flow() -> Flow:
        heard.append((yield Request("/a")))
        heard.append((yield Batch((), done=1)))
        heard.append((yield Request("/b")))
        return Look(PROJECT)

    told = Told()
    assert await drive(flow(), told.ask, told.record) == Look(PROJECT)
    assert told.order == ["ask /a", "record 1", "ask /b"]
    assert heard == [Response(200, {}, []), None, Response(200, {}, [])]


async def test_a_bug_in_a_flow_travels() -> None:
    def flow() -> Flow:
        yield Request("/a")
        raise KeyError("a bug")

    told = Told()
    with pytest.raises(KeyError):
        await drive(flow(), told.ask, told.record)


async def test_a_cancelled_flow_is_closed() -> None:
    closed = asyncio.Event()
    asked = asyncio.Event()

    def flow() -> Flow:
        try:
            yield Request("/a")
        finally:
            closed.set()
        return Look(PROJECT)

    async def ask(request: Request) -> Answer:
        asked.set()
        await asyncio.Event().wait()
        raise AssertionError

    task = asyncio.create_task(drive(flow(), ask, Told().record))
    await asked.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert closed.is_set()


@pytest.mark.parametrize(
    ("dated", "ahead"),
    [
        ("Mon, 05 Jan 2026 11:53:00 GMT", timedelta(minutes=7)),
        ("Mon, 05 Jan 2026 12:03:00 GMT", timedelta(0)),
        ("Sun, 04 Jan 2026 12:00:00 GMT", timedelta(hours=1)),
        ("yesterday", timedelta(minutes=2)),
    ],
    ids=["ahead", "behind", "far too far", "no date"],
)
async def test_how_far_our_clock_is_ahead_of_the_forges_is_known_from_its_last_answer(
    make_client: MakeClient, dated: str, ahead: timedelta
) -> None:
    before = answer({}, headers={"Date": "Mon, 05 Jan 2026 11:58:00 GMT"})
    async with FaultyServer(answer({}, headers={"Date": dated})) as server:
        server.faults.append(before)
        client = make_client(server.url)
        await client.ask(Request("/a"))
        assert client.ahead == timedelta(minutes=2)
        await client.ask(Request("/b"))
        assert client.ahead == ahead
