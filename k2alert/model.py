"""The nouns that cross a border between packages: facts, measures, rules, findings, alerts, log entries.

Everything here is frozen and holds no behaviour beyond what its fields already say. Instants are aware UTC
datetimes; in the compact `Entry` rows that feed `measure` they are whole milliseconds since the epoch.
`None` means "not known"; zero is a measurement.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from typing import Any, NamedTuple, Protocol

from k2alert.labels import Labels, Matcher

# --------------------------------------------------------------------------------------------- facts


class Result(StrEnum):
    """How a finished run or job ended, in OpenTelemetry's CI/CD words (`cicd.pipeline.result`)."""

    SUCCESS = "success"
    FAILURE = "failure"  # the code's fault
    ERROR = "error"  # the CI system's fault
    TIMEOUT = "timeout"
    CANCELLATION = "cancellation"
    SKIP = "skip"

    @property
    def decided(self) -> bool:
        """Whether it says something about the code or the CI system: not cancelled, not skipped."""
        return self not in (Result.CANCELLATION, Result.SKIP)


RESULTS: tuple[Result, ...] = tuple(Result)
"""Results by their code in the store and in `Entry.result`; append only."""


class RunState(StrEnum):
    """Where a run or job stands now."""

    PENDING = "pending"  # waits for the forge or a runner
    RUNNING = "running"
    BLOCKED = "blocked"  # waits for a person (manual, environment protection, schedule) or another run
    FINISHED = "finished"


class RefType(StrEnum):
    """What a run ran for."""

    DEFAULT = "default"  # the project's default branch
    BRANCH = "branch"
    TAG = "tag"
    CHANGE_REQUEST = "change_request"  # merge or pull request, forks too


class Event(StrEnum):
    """What started a run."""

    PUSH = "push"
    SCHEDULE = "schedule"
    CHANGE_REQUEST = "change_request"
    TAG = "tag"
    MANUAL = "manual"
    API = "api"
    OTHER = "other"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One finished attempt of a run.

    `attempt` tells the outcomes of one run apart and orders them: GitHub's `run_attempt`; GitLab has none,
    so its `finished_at` in whole seconds since the epoch (its GraphQL cuts the milliseconds that REST shows).
    `duration` and `queued` are None where the forge does not say.
    """

    attempt: int
    result: Result
    started_at: datetime | None
    finished_at: datetime
    duration: timedelta | None
    queued: timedelta | None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRun:
    """One execution of one job. `id` is the forge's; a retried job is another JobRun of the same `name`.

    `name` is the forge's full name (`test 3/20`); the label `job` is cut from it (`test`).
    `stage` is "" where the forge has none; `runner` joins the sorted tags or labels asked for with ",".
    `allowed` marks a job whose failure the project allows. `reason` is the forge's failure reason or "".
    """

    id: str
    name: str
    job: str
    stage: str
    runner: str
    state: RunState
    result: Result | None
    attempt: int
    allowed: bool
    created_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    duration: timedelta | None
    queued: timedelta | None
    reason: str
    web_url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineRun:
    """One run of a pipeline or workflow as one look at the forge saw it.

    `state` is the run's present state; `outcomes` are the finished attempts that this look learned of (usually
    the latest; earlier ones when they were fetched too). A run that goes again after finishing has state
    RUNNING and no new outcome: outcomes already recorded stay. `jobs` are the job executions learned of, of
    any attempt. `seen` orders two looks at one run: the forge's `updated_at`; an older look changes nothing.
    """

    source: str
    project: str
    id: str
    number: str
    workflow: str
    event: Event
    ref_type: RefType
    branch: str
    sha: str
    title: str
    web_url: str
    state: RunState
    created_at: datetime
    started_at: datetime | None
    seen: datetime
    outcomes: tuple[Outcome, ...] = ()
    jobs: tuple[JobRun, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """A project (repository) as the forge names it, and how far it has been read.

    `key` is what the configuration calls it (a path or a number), `path` what the forge calls it (the label
    `project`). `cursor`: every change before it has been read. `covered_since`: history is complete from here
    on; None until the first backfill ended. `complete_at`: the last time a look reached its end.
    `success_at`: the last time the forge gave a usable answer. `failure`: why the last look failed, "" if it
    did not; `forbidden`: that failure was a 401, 403 or 404. `failures` counts looks failed in a row.
    """

    source: str
    key: str
    path: str
    forge_id: str = ""
    default_branch: str = ""
    web_url: str = ""
    first_seen_at: datetime
    cursor: datetime | None = None
    covered_since: datetime | None = None
    complete_at: datetime | None = None
    success_at: datetime | None = None
    swept_at: datetime | None = None
    failure: str = ""
    forbidden: bool = False
    failures: int = 0


class ProjectState(StrEnum):
    """What `k2alert_projects{state}` counts."""

    OK = "ok"
    STALE = "stale"
    FORBIDDEN = "forbidden"
    BACKFILLING = "backfilling"


class KnownRun(NamedTuple):
    """What the store knows of a run, for a collector to tell what is new."""

    seen: datetime
    attempt: int  # the latest finished attempt recorded, 0 for none
    state: RunState


# ------------------------------------------------------------------------- recorded rows for `measure`


class Kind(StrEnum):
    """Which facts a stream or an entry is about."""

    RUN = "run"
    JOB = "job"


class Stream(NamedTuple):
    """All facts of one kind with the same labels (but `result`). The store numbers them.

    Labels of a run: source, project, ref_type, branch, event, workflow; of a job also stage, job, runner.
    """

    id: int
    kind: Kind
    labels: Labels


class Entry(NamedTuple):
    """One finished attempt of a run, or one finished job execution, as `measure` counts it.

    Times and lengths are whole milliseconds. It counts at t iff finished <= t and (superseded is None or
    t < superseded): `superseded` is when the next attempt of the same run (the next execution of the same
    job name of the same run) finished.
    """

    stream: int
    ref: int  # the store's number for this row: orders equals, and finds the evidence
    created: int  # of the run, for both kinds
    finished: int
    superseded: int | None
    result: int  # index in RESULTS
    duration: int | None
    queued: int | None
    allowed: bool  # a job whose failure is allowed
    retry: bool  # not the first attempt


class OpenEntry(NamedTuple):
    """A run or job that is not finished. Times in milliseconds."""

    stream: int
    key: str  # unique among the open ones of its kind
    state: RunState
    created: int
    started: int | None


class EntryChange(NamedTuple):
    """A recorded row that came, went or changed; `measure` removes `old` and inserts `new`."""

    kind: Kind
    old: Entry | None
    new: Entry | None


class OpenChange(NamedTuple):
    """An open run or job that came, changed or ended (`new` None)."""

    kind: Kind
    key: str
    new: OpenEntry | None


class Saved(NamedTuple):
    """What one `Store.save` really changed. Streams come before the entries that use them."""

    streams: Sequence[Stream] = ()
    entries: Sequence[EntryChange] = ()
    opens: Sequence[OpenChange] = ()


# ------------------------------------------------------------------------------------------- measures


class Needs(StrEnum):
    """What kind of number a metric is; ratios, means and quantiles obey `min_samples`."""

    COUNT = "count"
    RATIO = "ratio"
    MEAN = "mean"
    QUANTILE = "quantile"
    STREAK = "streak"
    AGE = "age"
    STATE = "state"  # of now: no window, no earlier time
    OTHER = "other"

    @property
    def samples(self) -> bool:
        """Whether too few samples make it no data."""
        return self in (Needs.RATIO, Needs.MEAN, Needs.QUANTILE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A line of the catalogue: a name that conditions can use.

    `unit` is the unit of the value in conditions (runs, ratio, minutes, percent, …); `low` and `high` bound what
    it can be. `gauge` is the exported series in base units, `scale` what the value is multiplied by for it.
    `labels` are the fact labels it can be grouped by. `collected`: false while nothing collects its facts.
    """

    name: str
    help: str
    unit: str
    needs: Needs
    kind: Kind | None
    gauge: str
    scale: float = 1.0
    labels: frozenset[str] = frozenset()
    low: float = 0.0
    high: float = float("inf")
    collected: bool = True


@dataclass(frozen=True, slots=True)
class Window:
    """A rule's period: a length of time, or the last N decided runs."""

    length: timedelta | None = None
    runs: int | None = None

    @property
    def look_back(self) -> timedelta:
        """How much history it needs; a period in runs counts as 7 d (contract §1)."""
        return self.length if self.length is not None else timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Selection:
    """Which facts count (`match`) and how they are put into series (`by`, always with `source`)."""

    match: tuple[Matcher, ...]
    by: tuple[str, ...]

    @property
    def shape(self) -> tuple[str, ...]:
        """The names of all labels it groups by, sorted: `source` is always among them."""
        return _shape(self.by)


@lru_cache(maxsize=10_000)  # asked for every alert in every round
def _shape(by: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(sorted({"source", *by}))


class Measured(NamedTuple):
    """A metric's value (None: no data) and the number of samples behind it."""

    value: float | int | None
    samples: int


class EvidenceRefs(NamedTuple):
    """Which recorded rows are behind a value: the newest ones at fault, and how many there are in all.

    `refs` number run outcomes (or job executions where `kind` is JOB), newest first, at most the number asked
    for. `faults` of `samples` are at fault. `first_failing` and `last_green` are run outcomes of the worst
    present streak (None where there is none).
    """

    kind: Kind
    refs: tuple[int, ...]
    faults: int
    samples: int
    first_failing: int | None
    last_green: int | None


class Measures(Protocol):
    """What `judge` and `cycle` ask of `measure`. All times are instants in milliseconds; all calls are pure."""

    def measure(self, selection: Selection, metric: str, labels: Labels, window: Window, at: int) -> Measured:
        """The metric over the series with these `by` labels in the window that ends at `at`."""
        ...

    def label_sets(self, selection: Selection, window: Window, at: int, kind: Kind) -> Iterable[Labels]:
        """The `by` label sets with a fact of the kind in the window that ends at `at`."""
        ...

    def evidence(
        self, selection: Selection, metric: str, labels: Labels, window: Window, at: int, limit: int
    ) -> EvidenceRefs:
        """The rows behind the value that `measure` gives for the same arguments."""
        ...


# ------------------------------------------------------------------------------------- rules, findings


class Severity(StrEnum):
    """How much an alert matters, the least first."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


class NoDataPolicy(StrEnum):
    """What a firing alert does when its condition has no data (contract §2)."""

    KEEP = "keep"
    RESOLVE = "resolve"
    ALERT = "alert"


class Place(NamedTuple):
    """Where something stands in a file; line and column from 1."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


NOWHERE = Place("", 0, 0)


@dataclass(frozen=True, slots=True)
class Problem:
    """An error or a warning about a file, with its place. `code` is short and stable; `warning` is not fatal."""

    place: Place
    text: str
    code: str = "config"
    warning: bool = False

    def __str__(self) -> str:
        return f"{self.place}: {'warning: ' if self.warning else ''}{self.text}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One alert rule, checked and compiled. See contract §2 for what each key means.

    `condition` and `clear` are `judge.Condition`s, `message` and the annotations `template.Template`s.
    """

    name: str
    condition: Any
    window: Window
    period: str  # as written, for templates
    severity: Severity
    message: Any
    selection: Selection
    hold: timedelta = timedelta(0)  # the key `for`
    keep_firing_for: timedelta = timedelta(0)
    clear: Any = None
    min_samples: int = 1
    no_data: NoDataPolicy = NoDataPolicy.KEEP
    exclude_during: tuple[str, ...] = ()
    labels: Labels = field(default_factory=Labels)
    annotations: Mapping[str, Any] = field(default_factory=dict)
    look_back: timedelta = timedelta(0)
    place: Place = NOWHERE


class Truth(StrEnum):
    """What judging one label set came to."""

    TRUE = "true"
    FALSE = "false"
    NO_DATA = "no_data"
    UNKNOWN = "unknown"  # not judged: its data is not complete, or the rule failed


class Finding(NamedTuple):
    """One rule judged for one label set at one time.

    `identity` is the alert's: `source` and the `by` labels. `value` and `threshold` are those of the condition's
    first metric and what it is compared with. `clears` is the truth of `clear` (None where the rule has none).
    `error` is the text of a bug met while judging, "" otherwise.
    """

    rule: Rule
    identity: Labels
    labels: Labels
    truth: Truth
    clears: Truth | None = None
    value: float | int | str | None = None
    threshold: float | int | None = None
    samples: int | None = None
    error: str = ""


# --------------------------------------------------------------------------------------------- alerts


class AlertState(StrEnum):
    """Where an alert is in its life. INACTIVE is kept too: it says that this label set has been judged."""

    INACTIVE = "inactive"
    PENDING = "pending"
    FIRING = "firing"
    ENDED = "ended"


class EndReason(StrEnum):
    """Why an alert ended; only RECOVERED is told as "resolved"."""

    RECOVERED = "recovered"
    NO_DATA = "no_data"
    RULE_CHANGED = "rule_changed"
    PROJECT_GONE = "project_gone"


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """One alert: a rule and a label set, through one life from pending to ended.

    Identity is `rule` and `identity`; everything else may change. `labels` are what routes and people see
    (alertname, severity, source, `by` labels, project_labels, rule's, global). `by` is its selection's shape: an
    identity alone cannot tell `by: [project]` from a further label that is empty. `initial`: it was already true
    when its label set was first judged. `quiet_since`: since when the condition of a firing alert is not true any
    more (`keep_firing_for` counts from it). `no_data_since`: since when a firing alert has had no data. `unknown`:
    held as it is, for its data is not complete.
    """

    rule: str
    identity: Labels
    labels: Labels
    severity: Severity
    state: AlertState
    by: tuple[str, ...] = ()
    active_at: datetime | None = None  # pending since
    fired_at: datetime | None = None
    ended_at: datetime | None = None
    reason: EndReason | None = None
    value: float | int | str | None = None
    threshold: float | int | None = None
    samples: int | None = None
    initial: bool = False
    quiet_since: datetime | None = None
    no_data_since: datetime | None = None
    unknown: bool = False

    @property
    def key(self) -> str:
        """The fingerprint of its identity: stable over restarts and edits of the rule."""
        return _alert_key(self.rule, self.identity)


@lru_cache(maxsize=100_000)  # asked for every alert in every round
def _alert_key(rule: str, identity: Labels) -> str:
    return identity.merged({"alertname": rule}).fingerprint


@dataclass(frozen=True, slots=True)
class Transition:
    """An edge in an alert's life, kept as history."""

    at: datetime
    rule: str
    identity: Labels
    before: AlertState
    after: AlertState
    reason: EndReason | None
    value: float | int | str | None


# ------------------------------------------------------------------------------- evidence and messages


@dataclass(frozen=True, slots=True, kw_only=True)
class JobEvidence:
    """A job that did it. All text is the forge's: escape it wherever it is shown."""

    name: str
    stage: str
    result: Result
    reason: str
    web_url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEvidence:
    """A run that did it, with its failed jobs. All text is the forge's: escape it wherever it is shown."""

    project: str
    id: str
    number: str
    workflow: str
    branch: str
    sha: str
    title: str
    result: Result
    finished_at: datetime
    duration: timedelta | None
    web_url: str
    jobs: tuple[JobEvidence, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What is behind an alert: at most ten runs, newest first, of `faults` at fault among `samples`."""

    runs: tuple[RunEvidence, ...] = ()
    faults: int = 0
    samples: int = 0
    first_failing: RunEvidence | None = None
    last_green: RunEvidence | None = None
    compare_url: str = ""

    @property
    def more(self) -> int:
        """How many are at fault beyond those listed."""
        return max(0, self.faults - len(self.runs))


@dataclass(frozen=True, slots=True, kw_only=True)
class LogEntry:
    """What one integration of one receiver has been told of one incident.

    An incident is one alert group from its first firing to the end of its last alert; `group` is the group's key
    (route and group labels), `incident` tells this time from the next. `told` maps alert keys to what was last
    said of them. `handle` is what the integration needs to find its message again (Slack channel and ts, mail
    Message-ID). `closed`: it has heard the end. After a failure `failures` counts, `error` says why and nothing
    is tried before `retry_at`; `gave_up`: the last message will not be tried again, only what comes after it.
    `last_sent_at` is when the last message was sent or given up.
    """

    incident: str
    group: str
    group_labels: Labels
    receiver: str
    integration: str  # "slack[0]": kind and position in the receiver
    told: Mapping[str, AlertState] = field(default_factory=dict)
    first_sent_at: datetime | None = None
    last_sent_at: datetime | None = None
    sent: int = 0
    handle: Mapping[str, str] = field(default_factory=dict)
    closed: bool = False
    failures: int = 0
    error: str = ""
    retry_at: datetime | None = None
    gave_up: bool = False

    @property
    def key(self) -> tuple[str, str, str]:
        """What tells log entries apart."""
        return (self.incident, self.receiver, self.integration)


# ------------------------------------------------------------------------- expected failures as values


@dataclass(frozen=True, slots=True)
class Sent:
    """The receiver took it. `handle` finds the message again. `error`: some of its addresses refused it for good."""

    handle: Mapping[str, str] = field(default_factory=dict)
    error: str = ""


@dataclass(frozen=True, slots=True)
class Retry:
    """It did not work this time; try again, not before `after` where the receiver said so.

    `handle` is not empty where some of the addresses did take it: they must not be told again.
    """

    error: str
    after: timedelta | None = None
    reason: str = "other"  # label of k2alert_notifications_failed_total, Alertmanager's words
    handle: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Refused:
    """It will not work by trying again."""

    error: str
    reason: str = "clientError"


Delivery = Sent | Retry | Refused
