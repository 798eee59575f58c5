"""Telling: the evidence behind an alert, what has been said of it to whom, and how a delivery went."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from k2alert.labels import Labels
from k2alert.model.facts import Kind, Result
from k2alert.model.rules import AlertState

__all__ = [
    "Delivery",
    "DeploymentEvidence",
    "Evidence",
    "JobEvidence",
    "Known",
    "LogEntry",
    "Refused",
    "Retry",
    "RunEvidence",
    "Sent",
    "TestEvidence",
]

# ------------------------------------------------------------------------------ evidence and messages


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
class TestEvidence:
    """A test that did it, as it was in one report. All text is the report's: escape it wherever it is shown.

    `web_url` leads to the job that ran it, or else to the run; "" where both are forgotten.
    """

    __test__ = False  # for pytest, which takes the name for one of its own

    suite: str
    test: str
    job: str
    message: str
    file: str
    branch: str
    sha: str
    finished_at: datetime
    web_url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentEvidence:
    """A deployment that did it. All text is the forge's: escape it wherever it is shown."""

    project: str
    id: str
    environment: str
    tier: str
    branch: str
    sha: str
    result: Result
    finished_at: datetime
    run_id: str
    web_url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What is behind an alert: at most ten runs, newest first, of `faults` at fault among `samples`.

    Where tests or deployments are behind it, those are counted, and listed in `tests` or `deployments`; `runs` are
    then the runs of the tests' reports. `before` is the value in the window before, None where there was none, and
    `owner` who is to look after it, as the configuration says.
    """

    runs: tuple[RunEvidence, ...] = ()
    tests: tuple[TestEvidence, ...] = ()
    deployments: tuple[DeploymentEvidence, ...] = ()
    faults: int = 0
    samples: int = 0
    first_failing: RunEvidence | None = None
    last_green: RunEvidence | None = None
    compare_url: str = ""
    before: float | int | None = None
    owner: str = ""

    @property
    def more(self) -> int:
        """How many are at fault beyond those listed."""
        return max(0, self.faults - len(self.tests or self.deployments or self.runs))


@dataclass(frozen=True, slots=True)
class Known:
    """What the store knows of the rows behind some values: by run entry, job entry, report, deployment, and by test."""

    runs: Mapping[int, RunEvidence]
    jobs: Mapping[int, RunEvidence]
    test_reports: Mapping[int, RunEvidence] = field(default_factory=dict)
    coverage_reports: Mapping[int, RunEvidence] = field(default_factory=dict)
    benchmark_reports: Mapping[int, RunEvidence] = field(default_factory=dict)
    deployments: Mapping[int, DeploymentEvidence] = field(default_factory=dict)
    tests: Mapping[tuple[int, int], TestEvidence] = field(default_factory=dict)

    def runs_of(self, kind: Kind) -> Mapping[int, RunEvidence]:
        """The runs behind rows of a kind."""
        by_kind = {
            Kind.RUN: self.runs,
            Kind.JOB: self.jobs,
            Kind.TEST: self.test_reports,
            Kind.COVERAGE: self.coverage_reports,
            Kind.BENCHMARK: self.benchmark_reports,
        }
        return by_kind.get(kind, {})


@dataclass(frozen=True, slots=True, kw_only=True)
class LogEntry:
    """What one integration of one receiver has been told of one incident.

    An incident is one alert group from its first firing to the end of its last alert; `group` is the alert group's
    key (route and group labels), `incident` tells this time from the next. `told` maps alert keys to what was last
    said of them. `handle` is, by address, what the integration needs to find its message again (Slack's channel and
    ts), or to know it again (the message's mark). `closed`: it has heard the end. After a failure `failures` counts,
    `error` says why and nothing is tried before `retry_at`; `gave_up`: the last message will not be tried again, only
    what comes after it. `last_sent_at` is when the last message was sent or given up.

    Before a message goes, its entry is stored as if it had been sent and were to be tried again at once: so what a
    crash interrupts is said again.
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


# ------------------------------------------------------------------------ expected failures as values


@dataclass(frozen=True, slots=True)
class Sent:
    """The receiver took it. `handle` finds the message again. `error`: some of its addresses refused it for good."""

    handle: Mapping[str, str] = field(default_factory=dict)
    error: str = ""


@dataclass(frozen=True, slots=True)
class Retry:
    """It did not work this time; try again, not before `after` where the receiver said so.

    `handle` is not empty where some of the addresses did take it: they must not be told again. `maybe`: no answer
    came, so nobody knows whether it was taken. `local`: it concerns this address alone, others may be told.
    """

    error: str
    after: timedelta | None = None
    reason: str = "other"  # label of k2alert_notifications_failed_total, Alertmanager's words
    handle: Mapping[str, str] = field(default_factory=dict)
    maybe: bool = False
    local: bool = False


@dataclass(frozen=True, slots=True)
class Refused:
    """It will not work by trying again."""

    error: str
    reason: str = "clientError"


Delivery = Sent | Retry | Refused
