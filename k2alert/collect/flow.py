"""What a forge's flow says and hears.

A flow is a generator that does no I/O: it yields a `Request` and is sent an `Answer`; it yields a `Batch` of
facts to be recorded and is sent None; it returns a `Look`, or a `Scan`. `http.drive` is the only thing that runs one.
"""

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Any, BinaryIO, Literal

from k2alert.collect.hooks import Hooks
from k2alert.collect.settings import ReportSettings
from k2alert.model import Fact, Kind, KnownRun, PipelineRun, Project

Reason = Literal["auth", "forbidden", "not_found", "rate_limited", "server", "body", "timeout", "network", "client"]


@dataclass(frozen=True, slots=True)
class Request:
    """One call of a forge's API.

    `path` is joined to the API's base URL and already percent-encoded; `kind` is a short word for counting
    (`pipelines`, `jobs`). A `body` makes it a POST of JSON. Every request here only reads. With an `etag`, which an
    earlier answer to the same question carried, the forge may answer that nothing has changed.

    `read` makes it a download: the body, which is no JSON and may be large, comes as a file that is open for reading,
    in a thread of its own; what `read` returns is the response's `data`. Such a request may be redirected elsewhere.
    """

    path: str
    params: tuple[tuple[str, str], ...] = ()
    body: Mapping[str, Any] | None = None
    kind: str = "other"
    etag: str = ""
    read: Callable[[BinaryIO], Any] | None = None


@dataclass(frozen=True, slots=True)
class Response:
    """A 200 with a JSON body, or a 304 without one to a request with an `etag`, or what a download was read as.

    Header names are in lower case.
    """

    status: int
    headers: Mapping[str, str]
    data: Any

    @property
    def unchanged(self) -> bool:
        """Whether it is still what the request's `etag` stands for; there is no `data` then."""
        return self.status == HTTPStatus.NOT_MODIFIED

    @property
    def etag(self) -> str:
        """What the forge calls this state of what was asked for; "" where it says nothing that could be sent back."""
        etag = self.headers.get("etag", "")
        return etag if etag.isascii() and etag.isprintable() else ""


@dataclass(frozen=True, slots=True)
class Failure:
    """What came instead of a usable response, after the driver's own retries.

    `auth` 401, `forbidden` 403 that is no limit, `not_found` 404 or 410, `rate_limited` 429 or a 403 that is a
    limit, `server` 5xx, `body` not the JSON it should be, `client` any other 4xx. `detail` is one line for people;
    it never holds a token or a URL's query.
    """

    reason: Reason
    detail: str
    status: int | None = None
    retry_after: timedelta | None = None


Answer = Response | Failure


@dataclass(frozen=True, slots=True)
class Refusal:
    """A report file that was not read, and why: `reason` is a word for counting, `line` one line for people."""

    reason: str
    run: str
    job: str
    file: str  # "" where it is all of the job's artifacts
    line: str


@dataclass(frozen=True, slots=True)
class Batch:
    """Facts to record now, so that what was read before a failure is kept."""

    runs: tuple[PipelineRun, ...]
    done: int = 0  # runs read so far in this look, for a progress bar
    total: int | None = None  # runs to read in this look, where the forge says
    facts: tuple[Fact, ...] = ()  # reports, deployments and schedules; the runs that they are of came before
    refusals: tuple[Refusal, ...] = ()


@dataclass(frozen=True, slots=True)
class Look:
    """How a look at one project ended.

    `project` carries what the forge says of the project now (path, forge_id, default_branch, web_url); the
    collector adds cursors and failures. `failure` None means that everything since `Ask.since` was read.
    """

    project: Project
    failure: Failure | None = None
    swept: bool = False  # GitHub: the sweep for re-runs of old runs was part of it
    memory: Mapping[str, Any] = field(default_factory=dict)  # sent back in the next Ask of the source
    bookmarks: Mapping[str, Any] = field(default_factory=dict)  # sent back in the next Ask of the project


@dataclass(frozen=True, slots=True)
class Ask:
    """What a look is for: everything of `project` that changed since `since`.

    `known` are the runs that the store already holds (those created or open since about `since`, and for
    GitHub those of the last 30 days), by run id. `first`: this is a backfill. `sweep`: look for re-runs of old
    runs too. `wants` are the kinds of facts that rules need, where reading them costs requests. `memory` is what the
    last look at the same source returned (such as: GraphQL is refused), `bookmarks` what the last look at the same
    project did (such as: the ETags of its lists); both are lost with the process. `reports` are the report files to
    read from job artifacts. `heard` are the kinds of facts that webhooks since the last whole look told of and did not
    hold.
    """

    project: Project
    since: datetime
    now: datetime
    known: Mapping[str, KnownRun] = field(default_factory=dict)
    first: bool = False
    sweep: bool = False
    wants: frozenset[Kind] = frozenset()
    memory: Mapping[str, Any] = field(default_factory=dict)
    bookmarks: Mapping[str, Any] = field(default_factory=dict)
    reports: ReportSettings = field(default_factory=ReportSettings)
    heard: frozenset[Kind] = frozenset()


@dataclass(frozen=True, slots=True)
class Scan:
    """How a scan of several projects of a source ended: the looks that it made, by `Project.key`.

    A project that is not among them is looked at by itself, next. What a scan learned of the source is its own
    `memory`; that of its looks is left out.
    """

    looks: Mapping[str, Look] = field(default_factory=dict)
    memory: Mapping[str, Any] = field(default_factory=dict)


Flow = Generator[Request | Batch, Answer | None, Look]
LookFlow = Callable[[Ask], Flow]
ScanFlow = Callable[[Sequence[Ask]], Generator[Request | Batch, Answer | None, Scan]]
"""Of asks that are no backfills. Their `memory` is the same."""


def _say_nothing(answer: Response) -> str:
    return ""


@dataclass(frozen=True, slots=True)
class Probe:
    """One small request that tells whether `what` may be read.

    Where it may not, a `needed` one costs the whole project, another only what `why` names. `read` makes a note of the
    answer, for people.
    """

    what: str
    request: Request
    needed: bool = False
    why: str = ""
    read: Callable[[Response], str] = _say_nothing


@dataclass(frozen=True, slots=True)
class Forge:
    """A kind of forge: one line of the table `SOURCES`."""

    look: LookFlow
    default_url: str
    api_path: str  # joined to the source's url: "/api/v4" for GitLab, "" for GitHub
    scan: ScanFlow | None = None  # reads several projects at once, where the forge can be asked so
    most_scanned: int = 1  # projects that one scan is of at most
    headers: Mapping[str, str] = field(default_factory=dict)  # sent with every request, besides Authorization
    hooks: Hooks | None = None  # how it sends webhooks, if it does
    list_projects: "Callable[[str], Generator[Request, Answer, Any]] | None" = None  # of a group: see `discovery`
    probes: Callable[[str], tuple[Probe, ...]] = lambda key: ()  # of a project, what comes first first
    token_probes: tuple[Probe, ...] = ()
