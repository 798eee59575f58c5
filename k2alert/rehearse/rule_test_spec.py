"""What the keys of a file of rule tests may hold (contract §4), as pydantic models; JSON Schema is made from them."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, PlainValidator, WithJsonSchema, model_validator

from k2alert.collect.settings import Settings
from k2alert.config.intervals import TimeInterval
from k2alert.config.schema import DIALECT
from k2alert.config.settings import ProjectLabelsSettings, RouteSettings
from k2alert.config.values import Duration, LabelName, PositiveDuration, as_list
from k2alert.model import Event, RefType, Result
from k2alert.notify.plan import Kind
from k2alert.times import parse_instant

__all__ = [
    "RESULT_LETTERS",
    "DeploymentSpec",
    "Expectation",
    "JobSpec",
    "RunsSpec",
    "TestFile",
    "TestSpec",
    "TestsSpec",
    "test_schema",
]

RESULT_LETTERS: Mapping[str, Result | None] = {
    "+": Result.SUCCESS,
    "-": Result.FAILURE,
    "E": Result.ERROR,
    "T": Result.TIMEOUT,
    "c": Result.CANCELLATION,
    "s": Result.SKIP,
    "_": None,
}
"""What a letter of `results` stands for; `_` is no run at all."""

BEGINNING = datetime(2026, 1, 5, tzinfo=UTC)
"""When a test begins unless it says otherwise: a Monday, at midnight."""

_MOST_RUNS = 10_000


_REPEATED = re.compile(r"(.)x([0-9]{1,5})")


def _results(value: str) -> str:
    """The letters, those written as `+x20` repeated, without spaces."""
    value = _REPEATED.sub(lambda found: found[1] * int(found[2]), value.replace(" ", ""))
    wrong = next((letter for letter in value if letter not in RESULT_LETTERS), None)
    if wrong is not None:
        raise ValueError(
            f"{wrong!r} is no result: write + success, - failure, E error, T timeout, c cancelled, s skipped, _ none"
        )
    if not value.strip("_"):
        raise ValueError("there is no run in it")
    if len(value) > _MOST_RUNS:
        raise ValueError(f"must have at most {_MOST_RUNS} letters")
    return value


def _instant(value: Any) -> datetime:
    if not isinstance(value, str):
        raise ValueError('must be a time in quotes, such as "2026-01-31T08:00:00Z"')
    try:
        return parse_instant(value)
    except ValueError:
        raise ValueError("must be a time such as 2026-01-31T08:00:00Z") from None


Instant = Annotated[
    datetime, PlainValidator(_instant), WithJsonSchema({"type": "string", "examples": ["2026-01-31T08:00:00Z"]})
]
_ResultName = Literal["success", "failure", "error", "timeout", "cancellation", "skip"]


class JobSpec(Settings):
    """A job of a run."""

    name: str = Field(min_length=1, description='Its name; GitLab\'s " 3/20" is cut for the label `job`.')
    stage: str = Field(default="", description="The label `stage`.")
    runner: str = Field(default="", description="The label `runner`.")
    result: _ResultName | None = Field(default=None, description="How it ended; default: as its run did.")
    duration: Duration | None = Field(default=None, description="How long it took; default: as long as its run.")
    queued: Duration = Field(default=timedelta(0), description="How long it waited for a runner.")
    allowed: bool = Field(default=False, description="Its failure is allowed.")
    reason: str = Field(default="", description="The forge's failure reason.")


class TestsSpec(Settings):
    """The tests that a run's first job reports."""

    __test__ = False

    passed: tuple[str, ...] = Field(default=(), description="Names of tests that passed.")
    failed: tuple[str, ...] = Field(default=(), description="Names of tests that failed.")
    flaky: tuple[str, ...] = Field(default=(), description="Names of tests that failed and then passed.")
    total: int | None = Field(default=None, ge=0, description="How many there were, where they are not named.")
    failures: int = Field(default=0, ge=0, description="How many of them failed, where they are not named.")

    @model_validator(mode="after")
    def _named_or_counted(self) -> "TestsSpec":
        if self.total is not None and (self.passed or self.failed or self.flaky):
            raise ValueError("name the tests, or give their total")
        if self.failures > (self.total or 0):
            raise ValueError("failures: more than the total")
        return self


def _one_or_a_list(schema: dict[str, Any]) -> None:
    schema["anyOf"] = [schema["items"], {"type": "array", "items": schema.pop("items")}]
    del schema["type"]


class RunsSpec(Settings):
    """Runs of one project: a series by letters, or a single one."""

    project: str = Field(min_length=1, description="The label `project`.")
    source: str = Field(default="gitlab", min_length=1, description="The label `source`.")
    branch: str = Field(default="main", min_length=1, description="The label `branch`.")
    ref_type: RefType | None = Field(
        default=None,
        description="The label `ref_type`; default: default where the branch is default_branch, else branch.",
    )
    default_branch: str = Field(default="main", min_length=1, description="The project's default branch.")
    workflow: str = Field(default="", description="The label `workflow`.")
    event: Event = Field(default=Event.PUSH, description="The label `event`.")
    at: Duration = Field(default=timedelta(0), description="When the first run is created.")
    every: PositiveDuration | None = Field(default=None, description="The time from one run's creation to the next's.")
    results: Annotated[str, AfterValidator(_results)] | None = Field(
        default=None, description="A letter for each run: + - E T c s, and _ for none; +x20 are twenty."
    )
    result: _ResultName | None = Field(default=None, description="How a single run ended.")
    duration: Duration = Field(default=timedelta(minutes=5), description="From a run's creation to its end.")
    queued: Duration = Field(default=timedelta(0), description="How much of that it waited for a runner.")
    title: str = Field(default="", description="The title of its commit.")
    sha: str = Field(default="", description="Its commit; default: another one for each run.")
    jobs: tuple[JobSpec, ...] = Field(default=(), description="The jobs of each of these runs.")
    tests: TestsSpec | None = Field(default=None, description="The test report of each of these runs.")
    coverage: float | None = Field(default=None, ge=0, le=100, description="The coverage that each of them reports.")

    @model_validator(mode="after")
    def _one_or_many(self) -> "RunsSpec":
        if (self.results is None) == (self.result is None):
            raise ValueError('needs either `results: "++-"` or `result: failure`')
        if self.results is not None and len(self.results) > 1 and self.every is None:
            raise ValueError("several results need `every`: the time from one run to the next")
        if self.queued > self.duration:
            raise ValueError("queued: longer than the duration, which it is a part of")
        return self


class DeploymentSpec(Settings):
    """One deployment."""

    project: str = Field(min_length=1, description="The label `project`.")
    source: str = Field(default="gitlab", min_length=1, description="The label `source`.")
    environment: str = Field(min_length=1, description="The label `environment`.")
    tier: str = Field(default="production", description="The label `environment_tier`.")
    branch: str = Field(default="main", description="The label `branch`.")
    at: Duration = Field(description="When it began.")
    duration: Duration = Field(default=timedelta(minutes=5), description="How long it took.")
    result: _ResultName = Field(default="success", description="How it ended.")
    committed: Duration | None = Field(default=None, description="How long before it its commit was made.")


class Unread(Settings):
    """A stretch of time in which the forge cannot be read."""

    from_: Duration = Field(alias="from", description="From then on.")
    to: Duration = Field(description="Until then.")


class Expectation(Settings):
    """What is expected at a time: of an alert, or of what a receiver is told."""

    at: Duration = Field(description="When, from the beginning of the test.")
    alert: str | None = Field(default=None, description="The rule's name.")
    state: Literal["inactive", "pending", "firing", "ended", "no_data", "unknown"] | None = Field(
        default=None, description="The state of the alerts that `labels` choose."
    )
    labels: dict[LabelName, str] = Field(default={}, description="Labels that the alerts have, among others.")
    message: str | None = Field(default=None, description="Text that the rule's message contains.")
    value: float | None = Field(default=None, description="The value that the alert shows.")
    receiver: str | None = Field(default=None, description="Who is told something in this minute.")
    kind: Kind | None = Field(default=None, description="Why: firing, changed, repeat, resolved, closed or list.")
    contains: str | None = Field(default=None, description="Text that the message contains.")
    count: int | None = Field(default=None, ge=0, description="How many messages; default: at least one.")

    @model_validator(mode="after")
    def _one_kind(self) -> "Expectation":
        if (self.alert is None) == (self.receiver is None):
            raise ValueError("expects either of an `alert` (with `state`) or of a `receiver`")
        if self.alert is not None and self.state is None:
            raise ValueError("needs the `state` that the alert is expected in")
        own = ("state", "message", "value") if self.receiver is not None else ("kind", "contains", "count")
        other = next((key for key in own if key in self.model_fields_set), None)
        if other is not None:
            raise ValueError(f"{other}: does not go with {'receiver' if self.receiver is not None else 'alert'}")
        return self


class TestSpec(Settings):
    """One test."""

    __test__ = False

    name: str = Field(min_length=1, max_length=200, description="What it shows.")
    start: Instant = Field(
        default=BEGINNING, description="When it begins; default: Monday 2026-01-05, midnight in UTC."
    )
    runs: Annotated[tuple[RunsSpec, ...], BeforeValidator(as_list)] = Field(
        default=(), description="What ran: one series or a list of them.", json_schema_extra=_one_or_a_list
    )
    deployments: tuple[DeploymentSpec, ...] = Field(default=(), description="What was deployed.")
    unread: tuple[Unread, ...] = Field(default=(), description="When the forge could not be read.")
    expect: tuple[Expectation, ...] = Field(description="What is expected.")


class TestFile(Settings):
    """A file of rule tests."""

    __test__ = False

    config: str | None = Field(default=None, description="A main file: its rules, routes, receivers and labels.")
    rule_files: tuple[str, ...] = Field(default=(), description="Files of rules, relative to this one; globs.")
    evaluation_interval: PositiveDuration | None = Field(
        default=None, description="The time between two evaluations; default: the main file's, or 30s."
    )
    project_labels: tuple[ProjectLabelsSettings, ...] = Field(default=(), description="As in the main file.")
    route: RouteSettings | None = Field(default=None, description="As in the main file; any receiver's name will do.")
    time_intervals: tuple[TimeInterval, ...] = Field(default=(), description="As in the main file.")
    tests: tuple[TestSpec, ...] = Field(default=(), description="The tests.")


def test_schema() -> dict[str, Any]:
    """JSON Schema of a file of rule tests, for editors."""
    schema = TestFile.model_json_schema(ref_template="#/$defs/{model}")
    return {"$schema": DIALECT, **schema, "title": "a file of rule tests of k2alert"}
