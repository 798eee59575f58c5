"""Signing in as a GitHub App: a server that checks what it is sent, and a clock to move."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import jwt
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from k2alert.collect import github
from k2alert.collect.flow import Failure, Request, Response
from k2alert.collect.http import Client
from k2alert.collect.settings import AppSettings, SourceSettings
from k2alert.collect.signing import AppSignIn, app_problem
from k2alert.times import iso
from tests.support.fake_time import T0, FakeTime

KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
PEM = KEY.private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
).decode()


class GitHub:
    """Gives tokens to whoever signs with the key, and answers whoever has the latest."""

    def __init__(self, fake: FakeTime) -> None:
        self.fake = fake
        self.given: list[str] = []
        self.refuses = 0
        self.odd: Any = None

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_post("/app/installations/678/access_tokens", self.give)
        app.router.add_get("/repos/k2/app", self.show)
        return app

    async def give(self, request: web.Request) -> web.Response:
        sent = request.headers["Authorization"].removeprefix("Bearer ")
        # The library would read the machine's clock; ours is the one that counts.
        claims = jwt.decode(
            sent, KEY.public_key(), algorithms=["RS256"], options={"verify_exp": False, "verify_iat": False}
        )
        now = self.fake.now.timestamp()
        assert claims["iss"] == "12345"
        assert now - 120 <= claims["iat"] <= now
        assert now < claims["exp"] <= now + 600
        if self.odd is not None:
            return web.json_response(self.odd, status=201)
        self.given.append(f"ghs_12345_{len(self.given)}_{'x' * 400}")  # not the 40 characters that tokens once had
        body = {"token": self.given[-1], "expires_at": iso(self.fake.now + timedelta(hours=1)), "permissions": {}}
        return web.json_response(body, status=201)

    async def show(self, request: web.Request) -> web.Response:
        if request.headers.get("Authorization") != f"Bearer {self.given[-1]}":
            return web.json_response({"message": f"Bad credentials {self.given[-1]}"}, status=401)
        if self.refuses:
            self.refuses -= 1
            return web.json_response({"message": f"Bad credentials {self.given[-1]}"}, status=401)
        return web.json_response({"full_name": "k2/app"})


@asynccontextmanager
async def signed_in(key: str = PEM) -> AsyncIterator[tuple[GitHub, Client, FakeTime]]:
    fake = FakeTime()
    hub = GitHub(fake)
    server = TestServer(hub.app())
    await server.start_server()
    app = {"id": 12345, "private_key": key, "installation_id": 678}
    url = str(server.make_url("")).rstrip("/")
    source = SourceSettings.model_validate({"type": "github", "name": "hub", "url": url, "app": app})
    client = Client(source, github.FORGE, time=fake.time, version="1")
    try:
        yield hub, client, fake
    finally:
        await client.close()
        await server.close()


ASK = Request("/repos/k2/app", kind="project")


async def test_one_token_serves_for_an_hour_and_is_replaced_in_time() -> None:
    async with signed_in() as (hub, client, fake):
        for minutes in (0, 30, 24):
            fake.advance(timedelta(minutes=minutes))
            assert isinstance(await client.ask(ASK), Response)
        assert len(hub.given) == 1
        fake.advance(timedelta(minutes=2))  # four are left of the hour
        assert isinstance(await client.ask(ASK), Response)

    assert len(hub.given) == 2
    assert client.stats().requests == {("sign_in", "201"): 2, ("project", "200"): 4}


async def test_a_token_that_was_revoked_is_replaced_once() -> None:
    async with signed_in() as (hub, client, _):
        assert isinstance(await client.ask(ASK), Response)
        hub.refuses = 1
        assert isinstance(await client.ask(ASK), Response)
        assert len(hub.given) == 2
        hub.refuses = 9
        refused = await client.ask(ASK)

    assert isinstance(refused, Failure)
    assert refused.reason == "auth"
    assert len(hub.given) == 3
    assert "ghs_" not in refused.detail or hub.given[-1] not in refused.detail


@pytest.mark.parametrize(
    "odd", [{}, [], {"token": ""}, {"token": "t", "expires_at": 5}, {"token": "t", "expires_at": "soon"}]
)
async def test_an_answer_that_is_no_token_is_a_failure(odd: Any) -> None:
    async with signed_in() as (hub, client, _):
        hub.odd = odd
        failed = await client.ask(ASK)
    assert isinstance(failed, Failure)
    assert failed.reason == "body"


async def test_a_key_that_is_none_is_one_clear_line_without_it() -> None:
    async with signed_in(key="-----BEGIN RSA PRIVATE KEY-----\nsecret-of-a-key\n") as (_, client, _fake):
        failed = await client.ask(ASK)
    assert isinstance(failed, Failure)
    assert failed.detail == "project: private_key: not an RSA private key in PEM"


def test_check_says_what_keeps_an_app_from_signing_in() -> None:
    good, bad = (AppSettings.model_validate({"id": 1, "private_key": key, "installation_id": 2}) for key in (PEM, "x"))
    assert app_problem(good) == ""
    assert app_problem(bad) == "private_key: not an RSA private key in PEM"
    assert "BEGIN" not in repr(AppSignIn(good)) + repr(good)
    assert T0.tzinfo is not None
