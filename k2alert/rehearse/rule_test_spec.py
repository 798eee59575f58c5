"""What the keys of a file of rule tests may hold (contract §4), as pydantic models; JSON Schema is made from them."""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PlainValidator, WithJsonSchema, model_validator

from k2alert.collect.settings import Settings
from k2alert.config.intervals import TimeInterval
from k2alert.config.schema import DIALECT
from k2alert.config.settings import ProjectLabelsSettings, RouteSettings
from k2alert.config.values import LabelName, PositiveDuration, as_list
from k2alert.notify.dues import Kind
from k2alert.rehearse.rule_test_given import DeploymentSpec, Moment, RunDefaults, RunsSpec, ScheduleSpec
from k2alert.times import parse_instant

__all__ = ["Expectation", "TestFile", "TestSpec", "test_schema"]

BEGINNING = datetime(2026, 1, 5, tzinfo=UTC)
"""When a test begins unless it says otherwise: a Monday, at midnight."""


def _instant(value: Any) -> datetime:
    if not isinstance(value, str):
        raise ValueError('must be a time in quotes, such as "2026-01-31T08:00:00Z"')
    try:
        start = parse_instant(value)
    except ValueError:
        raise ValueError("must be a time such as 2026-01-31T08:00:00Z") from None
    if not _YEARS[0] <= start.year < _YEARS[1]:
        raise ValueError(f"must lie between {_YEARS[0]} and {_YEARS[1]}")
    return start


_YEARS = (1990, 2200)
Instant = Annotated[
    datetime, PlainValidator(_instant), WithJsonSchema({"type": "string", "examples": ["2026-01-31T08:00:00Z"]})
]


def _one_or_a_list(schema: dict[str, Any]) -> None:
    schema["anyOf"] = [schema["items"], {"type": "array", "items": schema.pop("items")}]
    del schema["type"]


class Unread(Settings):
    """A stretch of time in which the forge cannot be read."""

    from_: Moment = Field(alias="from", description="From then on.")
    to: Moment = Field(description="Until then.")

    @model_validator(mode="after")
    def _in_order(self) -> "Unread":
        if self.to <= self.from_:
            raise ValueError("to: must be after `from`")
        return self


class Expectation(Settings):
    """What is expected at a time: of an alert, or of what a receiver is told."""

    at: Moment = Field(description="When, from the beginning of the test.")
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
    schedules: tuple[ScheduleSpec, ...] = Field(default=(), description="When runs should start by themselves.")
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
    defaults: RunDefaults | None = Field(
        default=None, description="What the runs of this file say, unless they say otherwise."
    )
    tests: tuple[TestSpec, ...] = Field(default=(), description="The tests.")


def test_schema() -> dict[str, Any]:
    """JSON Schema of a file of rule tests, for editors."""
    schema = TestFile.model_json_schema(ref_template="#/$defs/{model}")
    return {"$schema": DIALECT, **schema, "title": "a file of rule tests of k2alert"}
