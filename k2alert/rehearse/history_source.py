"""A history as a store that can be read: from a file, or from a running daemon's `/api/v1/history`.

Lines come in, one by one; out goes a `Reader` that answers what a backtest asks. What a history does not hold (alerts,
notifications, what is open now) it has none of. Whatever is wrong is one `HistoryError` with its line.
"""

import os
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp

from k2alert.history import FACT_KINDS, End, FactLine, Head, HistoryError, RunLine, read_line
from k2alert.model import (
    Alert,
    DeploymentEvidence,
    Entry,
    EntryRow,
    FactEntry,
    Kind,
    KnownRun,
    LogEntry,
    NamedTest,
    OpenEntry,
    Project,
    RunEvidence,
    RunTotal,
    Silence,
    Stream,
    Telling,
    TellingQuery,
    TestEvidence,
    Transition,
    packed,
)
from k2alert.text import safe_url
from k2alert.times import iso

__all__ = ["History", "fetch_history", "is_url", "read_history"]

_PATH = "/api/v1/history"
_WITHIN = aiohttp.ClientTimeout(total=None, sock_connect=30, sock_read=60)
_LONGEST_LINE = 64 * 1024 * 1024  # a run's line has thousands of jobs at most; more is no history


class History:
    """What a history holds; see `record.store.Reader`."""

    def __init__(self) -> None:
        self.head: Head | None = None
        self.ended = False
        self._lines = 0
        self._streams: list[Stream] = []
        self._projects: list[Project] = []
        self._tests: list[NamedTest] = []
        self._entries: dict[Kind, list[Entry]] = {kind: [] for kind in Kind if kind.of_runs}
        self._facts: dict[Kind, list[FactEntry]] = {kind: [] for kind in FACT_KINDS}
        self._runs: dict[Kind, dict[int, RunEvidence]] = {kind: {} for kind in self._entries}

    def take(self, text: bytes) -> None:
        """One more line. Raises `HistoryError`."""
        try:
            self._take(text)
        except HistoryError as error:
            raise HistoryError(f"line {self._lines + 1}: {error}") from None
        self._lines += 1

    def _take(self, text: bytes) -> None:
        line = read_line(text)
        if (self.head is None) is not isinstance(line, Head):
            raise HistoryError("a history begins with one line of type history")
        match line:
            case Head():
                self.head = line
            case Project():
                self._projects.append(line)
            case Stream():
                self._streams.append(line)
            case NamedTest():
                self._tests.append(line)
            case RunLine(kind, entry, run):
                self._entries[kind].append(entry)
                if run is not None:
                    self._runs[kind][entry.ref] = run
            case FactLine(kind, fact):
                self._facts[kind].append(fact)
            case End(lines):
                self.ended = lines == self._lines

    def check(self) -> None:
        """Raises `HistoryError` where the end is missing: it has been cut off."""
        if self.head is None or not self.ended:
            raise HistoryError("the history is cut off: its last line is missing")

    async def streams(self) -> list[Stream]:
        """See `Reader`."""
        return self._streams

    async def entries(self, kind: Kind, since_ms: int = 0) -> AsyncIterator[list[Entry]]:
        """See `Reader`."""
        yield sorted((row for row in self._entries[kind] if row.finished >= since_ms), key=_by_end)

    async def rows(self, kind: Kind) -> AsyncIterator[list[EntryRow]]:
        """See `Reader`."""
        yield list(map(packed, sorted(self._entries[kind], key=_by_end)))

    async def facts(self, kind: Kind, since_ms: int = 0) -> AsyncIterator[list[FactEntry]]:
        """See `Reader`."""
        rows = self._facts.get(kind, [])
        yield sorted((row for row in rows if kind is Kind.SCHEDULE or row.finished >= since_ms), key=_by_end)

    async def tests(self) -> AsyncIterator[list[NamedTest]]:
        """See `Reader`."""
        yield self._tests

    async def opens(self) -> list[tuple[Kind, OpenEntry]]:
        """See `Reader`: a history is of what is over."""
        return []

    async def known_runs(self, source: str, project: str, since: datetime) -> dict[str, KnownRun]:
        """See `Reader`: nobody reads on from here."""
        return {}

    async def projects(self) -> list[Project]:
        """See `Reader`."""
        return self._projects

    async def run_evidence(self, refs: Sequence[int]) -> dict[int, RunEvidence]:
        """See `Reader`."""
        return {ref: self._runs[Kind.RUN][ref] for ref in refs if ref in self._runs[Kind.RUN]}

    async def job_evidence(self, refs: Sequence[int]) -> dict[int, RunEvidence]:
        """See `Reader`."""
        return {ref: self._runs[Kind.JOB][ref] for ref in refs if ref in self._runs[Kind.JOB]}

    async def test_evidence(self, cases: Sequence[tuple[int, int]]) -> dict[tuple[int, int], TestEvidence]:
        """See `Reader`: a history holds what counts of reports, not what they said."""
        return {}

    async def report_evidence(self, kind: Kind, refs: Sequence[int]) -> dict[int, RunEvidence]:
        """See `Reader`."""
        return {}

    async def deployment_evidence(self, refs: Sequence[int]) -> dict[int, DeploymentEvidence]:
        """See `Reader`."""
        return {}

    async def alerts(self) -> list[Alert]:
        """See `Reader`."""
        return []

    async def transitions(self, rule: str, limit: int) -> list[Transition]:
        """See `Reader`."""
        return []

    async def log(self) -> list[LogEntry]:
        """See `Reader`."""
        return []

    async def log_history(self, limit: int = 1000) -> list[LogEntry]:
        """See `Reader`."""
        return []

    async def tellings(self, query: TellingQuery) -> list[Telling]:
        """See `Reader`."""
        return []

    async def silences(self) -> list[Silence]:
        """See `Reader`."""
        return []

    async def totals(self) -> list[RunTotal]:
        """See `Reader`."""
        return []

    async def close(self) -> None:
        """See `Reader`."""


def _by_end(row: Entry | FactEntry) -> tuple[int, int]:
    return (row.finished, row.ref)


def is_url(where: str) -> bool:
    """Whether a history is to be asked for, and not a file."""
    return where.startswith(("http://", "https://"))


def read_history(path: Path) -> History:
    """The history in a file. Raises `HistoryError`."""
    history = History()
    try:
        with path.open("rb") as file:
            while line := file.readline(_LONGEST_LINE):
                history.take(line)
    except OSError as error:
        raise HistoryError(f"{path}: {error.strerror or error}") from None
    except HistoryError as error:
        raise HistoryError(f"{path}: {error}") from None
    history.check()
    return history


async def fetch_history(url: str, *, token: str = "", since: datetime | None = None) -> History:
    """The history of a running daemon, at its address or at that of its history. Raises `HistoryError`."""
    base = url.rstrip("/")
    if not safe_url(base):
        raise HistoryError("no history: not an http(s) address")
    address = base if urlsplit(base).path.endswith(_PATH) else f"{base}{_PATH}"
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    params = {"since": iso(since)} if since is not None else {}
    history = History()
    try:
        async with (
            aiohttp.ClientSession(timeout=_WITHIN, headers=headers, read_bufsize=_LONGEST_LINE) as session,
            session.get(address, params=params, allow_redirects=False) as answer,
        ):
            if answer.status != 200:
                raise HistoryError(f"{_shown(address)} answers {answer.status}{_ADVICE.get(answer.status, '')}")
            async for line in answer.content:
                history.take(line)
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        raise HistoryError(f"no history from {_shown(address)}: {_reason(error)}") from None
    history.check()
    return history


_ADVICE = {
    **dict.fromkeys((401, 403), ": it asks for its web.read_token, by --token-file or $K2ALERT_TOKEN"),
    404: ": is it the address of a k2alert?",
}


def _reason(error: Exception) -> str:
    """Why nobody answered, in words; never what was asked, which may hold a secret."""
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "no address for this host"
    if isinstance(error, aiohttp.ClientOSError):
        return os.strerror(error.errno).lower() if error.errno else "no connection"
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return "not an http(s) address" if isinstance(error, ValueError) else type(error).__name__


def _shown(url: str) -> str:
    """An address without what may be secret in it."""
    parts = urlsplit(url)
    _, _, host = parts.netloc.rpartition("@")
    return f"{parts.scheme}://{host}{parts.path}"
