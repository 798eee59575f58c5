"""The one place that talks to forges: `Request`s go out over HTTP, `Answer`s come back.

The flows say what to ask; here is how: the token, certificates, redirects that must not carry the token away,
limits on time and size, the pace, and the short retries. Whatever a server does comes back as a value; only a
bug raises. Longer waits are the collector's.
"""

import asyncio
import ssl
import tempfile
from collections import Counter
from collections.abc import Awaitable, Callable, Generator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any, BinaryIO, TypeVar
from urllib.parse import quote, urlencode

import aiohttp
from yarl import URL

from k2alert.collect.answers import (
    LONGEST_WAIT,
    TOO_LARGE,
    one_line,
    rate_limit_remaining,
    read_answer,
    worth_retrying,
)
from k2alert.collect.budget import Budget, Pace, read_allowance
from k2alert.collect.flow import Answer, Batch, Failure, Forge, Request, Response
from k2alert.collect.settings import SourceSettings
from k2alert.collect.signing import AppSignIn, SignIn, TokenSignIn

__all__ = ["Client", "Limits", "Stats", "Time", "drive"]

_TRIES = 3
_MOST_REDIRECTS = 5
_MOST_AHEAD = timedelta(hours=1)  # a clock that is wrong by more is noticed by people
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_CHUNK = 64 * 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """What one answer may cost: `time` for the whole exchange, `size` in bytes of its unpacked body.

    Downloads go to a file and may take longer: reports of a large project, with logs and pages among them.
    """

    time: timedelta = timedelta(seconds=60)  # GitLab gives up on a GraphQL query after 30 s, proxies after 60 s
    size: int = 64 * 1024 * 1024
    download_time: timedelta = timedelta(minutes=10)
    download_size: int = 256 * 1024 * 1024

    def time_of(self, request: Request) -> timedelta:
        """How long this request's exchange may take."""
        return self.time if request.read is None else self.download_time


@dataclass(frozen=True, slots=True)
class Time:
    """Where time and chance come from. `monotonic` is in seconds, `random` from [0, 1)."""

    now: Callable[[], datetime]
    monotonic: Callable[[], float]
    sleep: Callable[[float], Awaitable[None]]
    random: Callable[[], float]


@dataclass(frozen=True, slots=True)
class Stats:
    """What has been asked so far: requests by kind and code, and what the forge last said we may still ask.

    A code is an HTTP status, or `timeout`, `network` (no whole answer came) or `body` (a 200 that is no JSON).
    """

    requests: Mapping[tuple[str, str], int] = field(default_factory=dict)
    rate_limit_remaining: int | None = None


class Client:
    """One source's connection. Its session opens with the first request; `close` ends it."""

    def __init__(
        self,
        settings: SourceSettings,
        forge: Forge,
        *,
        time: Time,
        version: str,
        limits: Limits | None = None,
        budget: Budget | None = None,
    ) -> None:
        self._base = (settings.url or forge.default_url).rstrip("/") + forge.api_path
        token = settings.token.get_secret_value().strip() if settings.token else ""
        self._sign_in: SignIn = AppSignIn(settings.app) if settings.app is not None else TokenSignIn(token)
        self._signing = asyncio.Lock()
        self._headers = {"Accept": "application/json", **forge.headers, "User-Agent": f"k2alert/{version}"}
        self._ca_file = settings.ca_file
        self._time = time
        self._limits = limits or Limits()
        self._pace = Pace(settings.max_requests_per_minute)
        self._budget = budget or Budget()
        self._counts: Counter[tuple[str, str]] = Counter()
        self._remaining: int | None = None
        self.ahead = timedelta(0)
        """By how much our clock is ahead of the forge's, as its last answer was dated; at most an hour."""
        self._session: aiohttp.ClientSession | None = None

    def stats(self) -> Stats:
        """What this client has asked so far."""
        return Stats(dict(self._counts), self._remaining)

    def paused(self) -> float:
        """For how many seconds from now on nothing may be asked, because of the forge's limits."""
        return self._budget.paused(self._time.monotonic())

    def is_scarce(self) -> bool:
        """Whether less than half of some limit of the forge is left."""
        return self._budget.is_scarce(self._time.monotonic())

    async def close(self) -> None:
        """Closes the connections; a client that is asked again opens new ones."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def ask(self, request: Request) -> Answer:
        """The forge's answer, after up to three tries.

        What passes by itself (a server's error, a timeout, a broken connection or body) is tried again after a
        second or two; a limit that ends within a minute is waited for. Every request only reads, POSTs too, so
        each may be repeated.
        """
        answer = await self._try(request)
        if isinstance(answer, Failure) and answer.reason == "auth" and self._sign_in.refused():
            answer = await self._try(request)
        for attempt in range(_TRIES - 1):
            if isinstance(answer, Response) or not worth_retrying(answer):
                break
            if answer.reason != "rate_limited":  # that wait is the pace's, for all requests of the source
                await self._time.sleep(_backoff(answer, attempt, self._time.random()))
            answer = await self._try(request)
        return answer if isinstance(answer, Response) else self._tell(request, answer)

    async def _try(self, request: Request) -> Answer:
        """One try, in its turn; a pause of more than a minute is told instead of waited for."""
        while paused := self.paused():
            if paused > LONGEST_WAIT.total_seconds():
                return self._hold_back(paused)
            await self._time.sleep(paused)
        at = self._time.monotonic()
        if wait := max(self._pace.reserve(at), self._budget.reserve(at)):
            await self._time.sleep(wait)
        answer = await self._renew() or await self._follow(request, self._sign_in.token)
        if isinstance(answer, Failure) and answer.reason == "rate_limited" and answer.retry_after is not None:
            self._budget.pause(self._time.monotonic(), answer.retry_after.total_seconds())
        return answer

    def _hold_back(self, seconds: float) -> Failure:
        """Why nothing is asked: the forge said so, or its limit is so near that the rest is left to others."""
        left = "" if not self._remaining else f" ({self._remaining} requests are left to others)"
        return Failure(
            "rate_limited",
            f"the forge's limit is reached{left}; on in {seconds:.0f} s",
            None,
            timedelta(seconds=seconds),
        )

    async def _renew(self) -> Failure | None:
        """Sees to a token that is good, where the source gets its own; why there is none."""
        async with self._signing:  # one for all who wait
            renewal = self._sign_in.renewal(now=self._time.now())
            if renewal is None:
                return None
            try:
                bearer = self._sign_in.bearer(now=self._time.now())
            except ValueError as error:
                return Failure("auth", str(error))
            answer = await self._follow(renewal, bearer)
            return self._sign_in.renewed(answer) if isinstance(answer, Response) else answer

    async def _follow(self, request: Request, token: str) -> Answer:
        """One exchange, and those that its redirects lead to; the token stays with the forge."""
        url, away = self._url(request), False
        for _ in range(_MOST_REDIRECTS + 1):
            came = await self._exchange(request, url, "" if away else token)
            self._counts[request.kind, _code(came)] += 1
            if not isinstance(came, _Moved):
                return _of_elsewhere(came) if away else came
            url, away = came.to, away or came.away
        return Failure("client", "redirected too often")

    async def _exchange(self, request: Request, url: URL, token: str) -> "Answer | _Moved":
        """One HTTP exchange, with whatever can go wrong on the way as a value."""
        try:
            return await self._send(request, url, token)
        except TimeoutError:
            seconds = self._limits.time_of(request).total_seconds()
            return Failure("timeout", f"no whole answer within {seconds:g} s")
        except (aiohttp.ClientError, OSError) as error:
            return Failure("network", str(error) or type(error).__name__)

    async def _send(self, request: Request, url: URL, token: str) -> "Answer | _Moved":
        method = "GET" if request.body is None else "POST"
        own = {"Authorization": f"Bearer {token}"} if token else {}
        own |= {"If-None-Match": request.etag} if request.etag else {}
        timeout = aiohttp.ClientTimeout(total=self._limits.time_of(request).total_seconds())
        async with self._open().request(
            method, url, json=request.body, headers=own, allow_redirects=False, timeout=timeout
        ) as response:
            headers = {name.lower(): value for name, value in response.headers.items()}
            self._note_limits(headers)
            self._note_clock(headers)
            if response.status in _REDIRECTS and "location" in headers:
                return _redirect(request, url, response.status, headers["location"])
            if response.status == HTTPStatus.NOT_MODIFIED and request.etag:
                return Response(response.status, headers, None)
            if request.read is not None and response.status == HTTPStatus.OK:
                return await self._download(response, headers, request.read)
            body = await self._read(response)
        if body is None:
            return TOO_LARGE
        # On the event loop: json holds the interpreter's lock to its end, so a thread would not help (measured).
        return read_answer(response.status, headers, body, now=self._time.now())

    def _note_limits(self, headers: Mapping[str, str]) -> None:
        remaining = rate_limit_remaining(headers)
        self._remaining = self._remaining if remaining is None else remaining
        allowance = read_allowance(headers, now=self._time.now())
        if allowance is not None:
            self._budget.learn(allowance, self._time.monotonic())

    def _note_clock(self, headers: Mapping[str, str]) -> None:
        made = _instant(headers.get("date", ""))
        if made is not None:
            self.ahead = min(max(self._time.now() - made, timedelta(0)), _MOST_AHEAD)

    async def _read(self, response: aiohttp.ClientResponse) -> bytes | None:
        """The unpacked body; None where it is larger than it may be, which also cuts the connection."""
        body = bytearray()
        async for chunk in response.content.iter_chunked(_CHUNK):
            body += chunk
            if len(body) > self._limits.size:
                response.close()
                return None
        return bytes(body)

    async def _download(
        self, response: aiohttp.ClientResponse, headers: Mapping[str, str], read: Callable[[BinaryIO], Any]
    ) -> Answer:
        """What `read` makes of the body, which waits for it on disk and never is in memory as a whole."""
        try:
            with tempfile.TemporaryFile() as file:
                async for chunk in response.content.iter_chunked(_CHUNK):
                    file.write(chunk)
                    if file.tell() > self._limits.download_size:
                        response.close()
                        return TOO_LARGE
                file.seek(0)
                return Response(response.status, headers, await asyncio.to_thread(read, file))
        except (aiohttp.ClientError, TimeoutError):  # these are OSErrors too, of the network
            raise
        except OSError as error:
            return Failure("server", f"it cannot be kept in {tempfile.gettempdir()}: {error.strerror or error}")

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=self._trust()),
                headers=self._headers,
                cookie_jar=aiohttp.DummyCookieJar(),  # a token, no login: GitLab's session cookie is of no use
            )
        return self._session

    def _trust(self) -> ssl.SSLContext:
        """The system's certificates, and those of `ca_file` too."""
        context = ssl.create_default_context()
        if self._ca_file is not None:
            try:
                context.load_verify_locations(cafile=self._ca_file)
            except OSError as error:
                raise OSError(f"ca_file {self._ca_file}: {error}") from error
        return context

    def _url(self, request: Request) -> URL:
        # By hand: a `+` in a time must become %2B, and the %2F in a project's path must stay.
        query = "?" + urlencode(request.params, quote_via=quote) if request.params else ""
        return URL(self._base + request.path + query, encoded=True)

    def _tell(self, request: Request, failure: Failure) -> Failure:
        """The failure as people may read it: what was asked, on one line, and never the token."""
        token = self._sign_in.token
        detail = failure.detail.replace(token, "***") if token else failure.detail
        return replace(failure, detail=one_line(f"{request.kind}: {detail}"))


@dataclass(frozen=True, slots=True)
class _Moved:
    """The forge says that what was asked for is elsewhere; `away`: on another host, which hears no token."""

    status: int
    to: URL
    away: bool = False


def _redirect(request: Request, url: URL, status: int, location: str) -> _Moved | Failure:
    """Where to go on: only GETs, and only on the same origin, so that neither token nor question leaves it.

    Downloads alone are followed elsewhere, for both forges keep artifacts in a storage with an address of its own,
    signed for some minutes; not from https to http.
    """
    try:
        # As it was written: what is signed must not be quoted anew.
        to = url.join(URL(location, encoded=request.read is not None)).with_user(None)
        same = to.origin() == url.origin()
    except ValueError:
        return Failure("client", f"{status} to nowhere", status)
    away = not same and request.read is not None and to.scheme in ("https", url.scheme)
    if not same and not away:
        return Failure(
            "client", f"{status} to another host, {to.scheme}://{to.host}: is the source's url right?", status
        )
    if request.body is not None:
        return Failure("client", f"{status} in answer to a POST", status)
    return _Moved(status, to, away)


def _of_elsewhere(answer: Answer) -> Answer:
    """The answer of a storage: what goes wrong there says nothing of the forge, the token or the forge's limits."""
    if isinstance(answer, Failure) and answer.reason not in ("not_found", "body"):
        return Failure("server", f"the storage of downloads says {answer.detail}", answer.status)
    return answer


def _instant(date: str) -> datetime | None:
    """An HTTP date; None where it is none."""
    try:
        at = parsedate_to_datetime(date)
    except (ValueError, OverflowError):
        return None
    return at if at.tzinfo is not None else None


def _code(came: Answer | _Moved) -> str:
    if isinstance(came, Failure) and (came.reason == "body" or came.status is None):
        return came.reason
    return str(came.status)


def _backoff(failure: Failure, attempt: int, chance: float) -> float:
    """Seconds before the next try: what the forge asked for, or one, then two, and up to as much again by chance."""
    if failure.retry_after is not None:
        return failure.retry_after.total_seconds()
    return float(2**attempt) * (1 + chance)


Ended = TypeVar("Ended")


async def drive(
    flow: Generator[Request | Batch, Answer | None, Ended],
    ask: Callable[[Request], Awaitable[Answer]],
    record: Callable[[Batch], Awaitable[None]],
) -> Ended:
    """Runs a flow to its end: requests are asked, batches recorded before the flow goes on.

    A cancellation closes the flow; an exception out of the flow, or out of `record`, is the caller's.
    """
    answer: Answer | None = None
    try:
        while True:
            said = flow.send(answer)
            if isinstance(said, Batch):
                await record(said)
                answer = None
            else:
                answer = await ask(said)
    except StopIteration as end:
        ended: Ended = end.value
        return ended
    finally:
        flow.close()
