"""Downloads: large files from a forge, or from the storage it sends us to, read from disk in a thread."""

import ssl
import threading
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path
from typing import BinaryIO

import pytest
import trustme

from k2alert.collect.flow import Failure, Forge, Request, Response
from k2alert.collect.http import Client, Limits
from k2alert.collect.settings import SourceSettings
from tests.support.fake_time import FakeTime
from tests.support.faults import FaultyServer, answer, broken_off, endless, html, redirect, text

TOKEN = "glpat-very-secret-0123456789"
LIMITS = Limits(time=timedelta(seconds=30), download_time=timedelta(seconds=30), download_size=100_000)
MakeClient = Callable[[str], Client]


def whole(file: BinaryIO) -> tuple[bytes, bool]:
    """What is in the file, and whether it was read beside the event loop."""
    return file.read(), threading.current_thread() is not threading.main_thread()


DOWNLOAD = Request("/jobs/1/artifacts", kind="artifacts", read=whole)


@pytest.fixture
async def server() -> AsyncIterator[FaultyServer]:
    async with FaultyServer(text("a file, no JSON")) as server:
        yield server


@pytest.fixture
async def storage() -> AsyncIterator[FaultyServer]:
    async with FaultyServer(text("from the storage")) as storage:
        yield storage


@pytest.fixture
async def make_client() -> AsyncIterator[MakeClient]:
    made: list[Client] = []
    forge = Forge(look=lambda ask: iter(()), default_url="", api_path="/api")  # type: ignore[arg-type,return-value]

    def make(url: str, **settings: object) -> Client:
        source = SourceSettings.model_validate({"type": "gitlab", "name": "s", "url": url, "token": TOKEN, **settings})
        made.append(Client(source, forge, time=FakeTime().time, version="1", limits=LIMITS))
        return made[-1]

    yield make
    for client in made:
        await client.close()


async def test_a_download_is_read_in_a_thread(server: FaultyServer, make_client: MakeClient) -> None:
    came = await make_client(server.url).ask(DOWNLOAD)
    assert isinstance(came, Response)
    assert came.data == (b"a file, no JSON", True)
    assert server.seen[0].headers["authorization"] == f"Bearer {TOKEN}"


async def test_a_download_is_followed_to_a_storage_that_hears_no_token(
    server: FaultyServer, storage: FaultyServer, make_client: MakeClient
) -> None:
    signed = "/zip?X-Amz-Credential=a%2Fb%2Bc&sig=d%3D"
    server.faults.append(redirect(storage.url + signed))
    came = await make_client(server.url).ask(DOWNLOAD)
    assert isinstance(came, Response)
    assert came.data[0] == b"from the storage"
    assert "authorization" not in storage.seen[0].headers
    assert TOKEN not in str(storage.seen)
    assert storage.seen[0].raw_path == signed, "a signature holds only for what was signed"


async def test_the_token_stays_away_from_whoever_the_storage_sends_us_to(
    server: FaultyServer, storage: FaultyServer, make_client: MakeClient
) -> None:
    server.faults.append(redirect(storage.url))
    storage.faults.append(redirect(server.url + "/elsewhere"))
    assert isinstance(await make_client(server.url).ask(DOWNLOAD), Response)
    assert "authorization" not in server.seen[1].headers


async def test_only_downloads_are_followed_to_another_host(
    server: FaultyServer, storage: FaultyServer, make_client: MakeClient
) -> None:
    server.faults.append(redirect(storage.url))
    came = await make_client(server.url).ask(Request("/jobs", kind="jobs"))
    assert isinstance(came, Failure)
    assert "to another host" in came.detail
    assert not storage.seen


async def test_a_download_is_not_followed_from_https_to_http(
    storage: FaultyServer, make_client: Callable[..., Client], tmp_path: Path
) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    async with FaultyServer(redirect(storage.url), ssl=_serve(authority)) as secure:
        client = make_client(secure.url, ca_file=str(tmp_path / "ca.pem"))
        came = await client.ask(DOWNLOAD)
    assert isinstance(came, Failure)
    assert came.reason == "client"
    assert not storage.seen


@pytest.mark.parametrize("status", [401, 403, 429])
async def test_what_a_storage_refuses_says_nothing_of_the_forge(
    status: int, server: FaultyServer, storage: FaultyServer, make_client: MakeClient
) -> None:
    for _ in range(3):
        server.faults.append(redirect(storage.url))
        storage.faults.append(text("AccessDenied", status=status))
    client = make_client(server.url)
    came = await client.ask(DOWNLOAD)
    assert isinstance(came, Failure)
    assert (came.reason, came.status) == ("server", status)
    assert isinstance(await client.ask(DOWNLOAD), Response), "nothing is held back"


async def test_a_download_that_never_ends_is_cut_and_not_tried_again(
    server: FaultyServer, make_client: MakeClient
) -> None:
    server.faults.append(endless)
    came = await make_client(server.url).ask(DOWNLOAD)
    assert isinstance(came, Failure)
    assert "too large" in came.detail
    assert len(server.seen) == 1


@pytest.mark.parametrize("fault", [broken_off, answer({}, status=500), html(502)])
async def test_a_download_that_breaks_off_is_made_again(
    fault: Callable[..., object], server: FaultyServer, make_client: MakeClient
) -> None:
    server.faults.append(fault)  # type: ignore[arg-type]
    came = await make_client(server.url).ask(DOWNLOAD)
    assert isinstance(came, Response)
    assert came.data[0] == b"a file, no JSON"


async def test_a_full_disk_is_no_trouble_of_the_forge(server: FaultyServer, make_client: MakeClient) -> None:
    def fails(file: BinaryIO) -> None:
        raise OSError(28, "No space left on device")

    came = await make_client(server.url).ask(Request("/jobs/1/artifacts", kind="artifacts", read=fails))
    assert isinstance(came, Failure)
    assert (came.reason, len(server.seen)) == ("server", 3)
    assert "No space left on device" in came.detail


async def test_artifacts_that_are_gone_are_not_found(server: FaultyServer, make_client: MakeClient) -> None:
    server.faults.append(answer({"message": "404 Not found"}, status=404))
    came = await make_client(server.url).ask(DOWNLOAD)
    assert isinstance(came, Failure)
    assert came.reason == "not_found"


def _serve(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context
