"""Runs a forge's flow against a real server on loopback, as plainly as can be: no retries, limits or backoff."""

from collections.abc import Callable, Generator
from dataclasses import dataclass, field

import aiohttp
from yarl import URL

from k2alert.collect.flow import Answer, Batch, Failure, Flow, Forge, Look, Reason, Request, Response, Scan
from k2alert.model import PipelineRun

Scanning = Generator[Request | Batch, Answer | None, Scan]

_REASONS: dict[int, Reason] = {401: "auth", 403: "forbidden", 404: "not_found", 410: "not_found", 429: "rate_limited"}


@dataclass
class Drive:
    """How a flow went: what it returned, the batches it handed over and the requests it made."""

    look: Look | None = None
    scan: Scan | None = None
    batches: list[Batch] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)

    @property
    def runs(self) -> dict[str, PipelineRun]:
        """Everything handed over, by run id."""
        return {run.id: run for batch in self.batches for run in batch.runs}

    def ask(self, flow: Flow | Scanning, answer: Answer | None) -> Request | None:
        """Sends an answer and gives the flow's next request; None once it has returned."""
        try:
            while isinstance(step := flow.send(answer), Batch):
                self.batches.append(step)
                answer = None
        except StopIteration as stop:
            if isinstance(stop.value, Scan):
                self.scan = stop.value
            else:
                self.look = stop.value
            return None
        self.requests.append(step)
        return step


async def drive(flow: Flow | Scanning, forge: Forge, url: str, *, token: str = "t") -> Drive:
    """Executes the flow's requests over HTTP until it ends."""
    seen, answer = Drive(), None
    headers = {"Authorization": f"Bearer {token}", **forge.headers}
    async with aiohttp.ClientSession(headers=headers) as session:
        while request := seen.ask(flow, answer):
            answer = await _fetch(session, url.rstrip("/") + forge.api_path, request)
    return seen


def replay(flow: Flow | Scanning, answers: Callable[[Request], Answer]) -> Drive:
    """Runs the flow with answers made by a function of the request."""
    seen, answer = Drive(), None
    while request := seen.ask(flow, answer):
        answer = answers(request)
    return seen


async def _fetch(session: aiohttp.ClientSession, base: str, request: Request) -> Answer:
    method = "GET" if request.body is None else "POST"
    url = URL(base + request.path, encoded=True).extend_query(list(request.params))
    try:
        tagged = {"If-None-Match": request.etag} if request.etag else {}
        async with session.request(method, url, json=request.body, headers=tagged) as response:
            headers = {name.lower(): value for name, value in response.headers.items()}
            if response.status == 304 and request.etag:
                return Response(304, headers, None)
            if response.status != 200:
                reason = _REASONS.get(response.status, "server" if response.status >= 500 else "client")
                return Failure(reason, f"{response.status}", response.status)
            return Response(response.status, headers, await response.json())
    except aiohttp.ContentTypeError:
        return Failure("body", "not JSON")
    except (TimeoutError, aiohttp.ClientError) as error:
        return Failure("network", type(error).__name__)
