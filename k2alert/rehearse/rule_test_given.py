"""What a rule test is given: runs with their jobs, deployments, schedules, as a person writes them (contract §4).

Pydantic models, of which JSON Schema is made too. What they come to is in `made_runs` and `made_facts`.
"""

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator
from pydantic.config import JsonDict

from k2alert.collect.settings import Settings
from k2alert.config.values import Duration, PositiveDuration
from k2alert.measure.schedules import next_due
from k2alert.model import Event, RefType, Result, RunState

__all__ = [
    "LONGEST_TEST",
    "RESULT_LETTERS",
    "DeploymentSpec",
    "JobSpec",
    "Moment",
    "Placed",
    "RerunSpec",
    "RunDefaults",
    "RunsSpec",
    "ScheduleSpec",
    "TestsSpec",
    "with_defaults",
]

RESULT_LETTERS: Mapping[str, Result | RunState | None] = {
    "+": Result.SUCCESS,
    "-": Result.FAILURE,
    "E": Result.ERROR,
    "T": Result.TIMEOUT,
    "c": Result.CANCELLATION,
    "s": Result.SKIP,
    "r": RunState.RUNNING,
    "q": RunState.PENDING,
    "_": None,
}
"""What a letter of `results` stands for: how it ended, or where it stands for good; `_` is no run at all."""
_OPEN_LETTERS = "rq"

_MOST_RUNS = 10_000
_MOST_EXECUTIONS = 20
_MOST_RERUNS = 20

_REPEATED = re.compile(r"(.)x([0-9]{1,5})")
_LETTERS = "+ success, - failure, E error, T timeout, c cancelled, s skipped"


def _letters(value: str, known: Mapping[str, object], words: str, most: int) -> str:
    """The letters, those written as `+x20` repeated, without spaces."""
    found = _REPEATED.sub(lambda found: found[1] * min(int(found[2]), most + 1), value.replace(" ", ""))
    wrong = next((letter for letter in found if letter not in known), None)
    if wrong is not None:
        raise ValueError(f"{wrong!r} is no result: write {words}")
    if len(found) > most:
        raise ValueError(f"must have at most {most} letters")
    return found


def _results(value: str) -> str:
    value = _letters(value, RESULT_LETTERS, f"{_LETTERS}, r running still, q queued still, _ none", _MOST_RUNS)
    if not value.strip("_"):
        raise ValueError("there is no run in it")
    return value


def _executions(value: str) -> str:
    known = {letter: result for letter, result in RESULT_LETTERS.items() if result is not None}
    value = _letters(value, known, f"{_LETTERS}, r running still, q queued still", _MOST_EXECUTIONS)
    if not value:
        raise ValueError("there is no execution in it")
    if set(value[:-1]) & set(_OPEN_LETTERS):
        raise ValueError("r and q can only be last: what comes after them never begins")
    return value


_ResultName = Literal["success", "failure", "error", "timeout", "cancellation", "skip"]
_StandName = Literal["success", "failure", "error", "timeout", "cancellation", "skip", "running", "pending"]
_LETTERS_PATTERN: JsonDict = {"pattern": "^[-+ETcsrq_x0-9 ]+$"}


LONGEST_TEST = timedelta(days=3650)


def _in_a_test(value: timedelta) -> timedelta:
    if value > LONGEST_TEST:
        raise ValueError("must be at most ten years: longer is no test")
    return value


Moment = Annotated[Duration, AfterValidator(_in_a_test)]
"""A time after the beginning of a test, or a length of time in it."""


Measurements = Mapping[Annotated[str, Field(min_length=1)], Annotated[float, Field(gt=0)]]
"""Benchmarks by name, in a unit of which less is better."""


class JobSpec(Settings):
    """A job of a run, with its retries."""

    name: str = Field(min_length=1, description='Its name; GitLab\'s " 3/20" is cut for the label `job`.')
    stage: str = Field(default="", description="The label `stage`.")
    runner: str = Field(default="", description="The label `runner`.")
    result: _StandName | None = Field(
        default=None, description="How it ended, or running or pending, for good; default: as its run did."
    )
    results: Annotated[str, AfterValidator(_executions)] | None = Field(
        default=None,
        description="A letter for each execution: + - E T c s, and r or q at last; all but the first are retries.",
        json_schema_extra=_LETTERS_PATTERN,
    )
    at: Moment | None = Field(
        default=None, description="When it is created, from its run's creation; default: so that it ends with its run."
    )
    duration: Moment | None = Field(default=None, description="How long it took; default: as long as its run.")
    queued: Moment = Field(default=timedelta(0), description="How long it waited for a runner, before that.")
    allowed: bool = Field(default=False, description="Its failure is allowed.")
    reason: str = Field(default="", description="The forge's failure reason.")

    @model_validator(mode="after")
    def _one_or_many(self) -> "JobSpec":
        if self.result is not None and self.results is not None:
            raise ValueError("write either `result` or `results`")
        return self


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


class Placed(Settings):
    """Where something happened. The project may stand in the file's `defaults` instead."""

    project: str = Field(default="", min_length=1, description="The label `project`; needed, here or in `defaults`.")
    source: str = Field(default="gitlab", min_length=1, description="The label `source`.")
    branch: str = Field(default="main", min_length=1, description="The label `branch`.")


class RunDefaults(Placed):
    """What series of runs say, unless they say otherwise; deployments and schedules take project, source and branch."""

    ref_type: RefType | None = Field(
        default=None,
        description="The label `ref_type`; default: default where the branch is default_branch, else branch.",
    )
    default_branch: str = Field(default="main", min_length=1, description="The project's default branch.")
    workflow: str = Field(default="", description="The label `workflow`.")
    event: Event = Field(default=Event.PUSH, description="The label `event`.")
    every: PositiveDuration | None = Field(default=None, description="The time from one run's creation to the next's.")
    duration: Moment = Field(default=timedelta(minutes=5), description="From a run's creation to its end.")
    queued: Moment = Field(default=timedelta(0), description="How much of that it waited for a runner.")
    jobs: tuple[JobSpec, ...] = Field(default=(), description="The jobs of each of these runs.")


class RerunSpec(Settings):
    """A run that goes again after it ended."""

    after: Moment = Field(description="How long after the end of the attempt before it.")
    result: _StandName = Field(description="How it ended, or running or pending, for good.")
    duration: Moment | None = Field(default=None, description="How long it took; default: as long as its run.")
    queued: Moment = Field(default=timedelta(0), description="How much of that it waited for a runner.")
    jobs: tuple[JobSpec, ...] | None = Field(
        default=None,
        description="The jobs that go again; default: those that were not successful, and they end as this does.",
    )
    tests: TestsSpec | None = Field(default=None, description="The test report of this attempt.")
    coverage: float | None = Field(default=None, ge=0, le=100, description="The coverage that this attempt reports.")
    benchmarks: Measurements = Field(default={}, description="The benchmarks that this attempt reports.")


class RunsSpec(RunDefaults):
    """Runs of one project: a series by letters, or a single one."""

    at: Moment = Field(default=timedelta(0), description="When the first run is created.")
    results: Annotated[str, AfterValidator(_results)] | None = Field(
        default=None,
        description="A letter for each run: + - E T c s, r running and q queued for good, _ for none; +x20 are twenty.",
        json_schema_extra=_LETTERS_PATTERN,
    )
    result: _StandName | None = Field(
        default=None, description="How a single run ended, or running or pending, for good."
    )
    reruns: tuple[RerunSpec, ...] = Field(
        default=(), max_length=_MOST_RERUNS, description="How each of these runs went again, in order."
    )
    title: str = Field(default="", description="The title of its commit.")
    sha: str = Field(default="", description="Its commit; default: another one for each run.")
    tests: TestsSpec | None = Field(default=None, description="The test report of each of these runs.")
    coverage: float | None = Field(default=None, ge=0, le=100, description="The coverage that each of them reports.")
    benchmarks: Measurements = Field(
        default={}, description="What each of them measures: names of benchmarks and their values; lower is better."
    )

    @model_validator(mode="after")
    def _one_or_many(self) -> "RunsSpec":
        _need_project(self)
        if (self.results is None) == (self.result is None):
            raise ValueError('needs either `results: "++-"` or `result: failure`')
        if self.results is not None and len(self.results) > 1 and self.every is None:
            raise ValueError("several results need `every`: the time from one run to the next")
        if self.queued > self.duration:
            raise ValueError("queued: longer than the duration, which it is a part of")
        return self


class DeploymentSpec(Placed):
    """One deployment."""

    environment: str = Field(min_length=1, description="The label `environment`.")
    tier: str = Field(default="production", description="The label `environment_tier`.")
    at: Moment = Field(description="When it began.")
    duration: Moment = Field(default=timedelta(minutes=5), description="How long it took.")
    result: _ResultName = Field(default="success", description="How it ended.")
    committed: Moment | None = Field(default=None, description="How long before it its commit was made.")

    @model_validator(mode="after")
    def _placed(self) -> "DeploymentSpec":
        _need_project(self)
        return self


def _cron(value: str) -> str:
    if len(value.split()) != 5 or next_due(value, "UTC", 0) is None:
        raise ValueError('must be a cron line of five fields that is ever due, such as "0 3 * * 1-5"')
    return value


def _timezone(value: str) -> str:
    if next_due("0 0 * * *", value, 0) is None:
        raise ValueError("must be the name of a time zone, such as Europe/Berlin")
    return value


class ScheduleSpec(Placed):
    """A schedule of pipelines. What it starts is written under `runs`, with `event: schedule`."""

    name: str = Field(min_length=1, description="The label `schedule`.")
    cron: Annotated[str, AfterValidator(_cron)] = Field(
        description="When it is due: five fields.", json_schema_extra={"examples": ["0 3 * * 1-5"]}
    )
    timezone: Annotated[str, AfterValidator(_timezone)] = Field(default="UTC", description="In which time zone.")
    workflow: str | None = Field(default=None, description="The workflow that it starts; default: any.")
    delay: Moment = Field(
        default=timedelta(minutes=15), description="How late it may start a run and still be on time."
    )
    at: Moment = Field(default=timedelta(0), description="When it is made.")
    until: Moment | None = Field(default=None, description="When it is taken away.")

    @model_validator(mode="after")
    def _placed(self) -> "ScheduleSpec":
        _need_project(self)
        if self.until is not None and self.until <= self.at:
            raise ValueError("until: must be after `at`")
        return self


def _need_project(spec: Placed) -> None:
    if not spec.project:
        raise ValueError("needs a `project`, here or in the file's `defaults`")


def with_defaults(test: Any, defaults: Mapping[str, Any]) -> Any:
    """A test as it is written, with the file's defaults wherever its runs, deployments and schedules say nothing."""
    if not isinstance(test, dict):
        return test
    shared = {key: value for key, value in defaults.items() if key in Placed.model_fields}
    return {
        key: _filled(value, defaults if key == "runs" else shared) if key in _FILLED else value
        for key, value in test.items()
    }


_FILLED = ("runs", "deployments", "schedules")


def _filled(part: Any, defaults: Mapping[str, Any]) -> Any:
    if isinstance(part, list):
        return [_filled(one, defaults) for one in part]
    return {**defaults, **part} if isinstance(part, dict) else part
