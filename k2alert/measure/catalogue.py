"""Every metric that a condition can name: its meaning, unit, labels and gauge, as the contract fixes them.

Nothing comes in; `METRICS` goes out, and with it what `check`, `metrics`, the exporter and the judge know of a name.
A metric whose facts nothing collects yet is listed too, so that a rule on it is told apart from a typing error.
Gauges are in base units (seconds, ratios); none may end as a counter or a histogram does, and `k2alert_ci_runs`
and `k2alert_ci_run_duration_seconds` are taken: they are the families of a counter and of a summary.
"""

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import NamedTuple

from k2alert.model import Kind, Metric, Needs

__all__ = ["METRICS"]


class _Unit(NamedTuple):
    """A unit of values, what makes it a base unit, and what it can be."""

    name: str
    scale: float = 1.0
    low: float = 0.0
    high: float = float("inf")


_RUNS, _JOBS, _TESTS = _Unit("runs"), _Unit("jobs"), _Unit("tests")
_BENCHMARKS, _DEPLOYMENTS = _Unit("benchmarks"), _Unit("deployments")
_RATIO, _SCORE = _Unit("ratio", high=1), _Unit("score", high=1)
_MINUTES, _HOURS, _PER_DAY = _Unit("minutes", 60), _Unit("hours", 3600), _Unit("deployments per day", 1 / 86_400)
_PERCENT, _POINTS = _Unit("percent", 0.01, high=100), _Unit("points", 0.01, low=-100, high=100)
_GROWTH = _Unit("percent", 0.01)  # something can take more than twice as long

_COUNT, _RATE, _MEAN, _QUANTILE = Needs.COUNT, Needs.RATIO, Needs.MEAN, Needs.QUANTILE
_STREAK, _AGE, _STATE, _OTHER = Needs.STREAK, Needs.AGE, Needs.STATE, Needs.OTHER

_Line = tuple[str, str, _Unit, Needs, str]
"""Name, gauge (without its prefix), unit, what kind of number, meaning."""

_FINISHED_RUNS: tuple[_Line, ...] = (
    ("total_pipelines", "runs_finished", _RUNS, _COUNT, "Runs that finished, whatever their result."),
    ("successful_pipelines", "runs_successful", _RUNS, _COUNT, "Runs that ended in success."),
    ("failed_pipelines", "runs_failed", _RUNS, _COUNT, "Runs that ended in failure, error or timeout."),
    ("cancelled_pipelines", "runs_cancelled", _RUNS, _COUNT, "Runs that were cancelled."),
    ("success_rate", "success_ratio", _RATIO, _RATE, "Successful runs / decided runs (not cancelled, not skipped)."),
    ("error_rate", "error_ratio", _RATIO, _RATE, "Runs that the CI system broke / decided runs."),
    ("avg_duration_minutes", "duration_seconds_avg", _MINUTES, _MEAN, "Mean duration of decided runs."),
    ("median_duration_minutes", "duration_seconds_median", _MINUTES, _QUANTILE, "Median duration of decided runs."),
    ("p95_duration_minutes", "duration_seconds_p95", _MINUTES, _QUANTILE, "95 % quantile of decided runs' duration."),
    ("p99_duration_minutes", "duration_seconds_p99", _MINUTES, _QUANTILE, "99 % quantile of decided runs' duration."),
    ("max_duration_minutes", "duration_seconds_max", _MINUTES, _QUANTILE, "Longest duration of decided runs."),
    ("avg_queue_minutes", "queue_seconds_avg", _MINUTES, _MEAN, "Mean time that decided runs waited to start."),
    ("p95_queue_minutes", "queue_seconds_p95", _MINUTES, _QUANTILE, "95 % quantile of decided runs' wait to start."),
    # It is a mean for `min_samples`, not a ratio: no bounds of a share can be given for it.
    (
        "health_score",
        "health_score",
        _SCORE,
        _MEAN,
        "0.7 × success_rate + 0.3 × clamp(1 − (avg_duration_minutes − 10) / 50, 0, 1).",
    ),
    (
        "consecutive_failures",
        "consecutive_failures",
        _RUNS,
        _STREAK,
        "Present streak of decided runs without success, in the worst workflow and branch.",
    ),
    ("minutes_since_success", "since_success_seconds", _MINUTES, _AGE, "Age of the newest successful run."),
    ("minutes_since_run", "since_run_seconds", _MINUTES, _AGE, "Age of the newest finished run."),
)

_SCHEDULES: tuple[_Line, ...] = (
    (
        "schedule_overdue_minutes",
        "schedule_overdue_seconds",
        _MINUTES,
        _AGE,
        "Time since a scheduled run should have started and did not; 0 when on time.",
    ),
)

_OPEN_RUNS: tuple[_Line, ...] = (
    ("running_pipelines", "runs_running", _RUNS, _STATE, "Runs that are running now."),
    ("pending_pipelines", "runs_pending", _RUNS, _STATE, "Runs that wait for the forge or a runner now."),
    (
        "oldest_pending_minutes",
        "oldest_pending_seconds",
        _MINUTES,
        _STATE,
        "Age of the oldest pending run; 0 when none waits.",
    ),
)

_FINISHED_JOBS: tuple[_Line, ...] = (
    (
        "job_success_rate",
        "job_success_ratio",
        _RATIO,
        _RATE,
        "Successful jobs / decided jobs; allowed failures don't count.",
    ),
    ("failed_jobs", "jobs_failed", _JOBS, _COUNT, "Jobs that ended in failure, error or timeout and may not."),
    ("avg_job_duration_minutes", "job_duration_seconds_avg", _MINUTES, _MEAN, "Mean duration of decided jobs."),
    (
        "p95_job_duration_minutes",
        "job_duration_seconds_p95",
        _MINUTES,
        _QUANTILE,
        "95 % quantile of decided jobs' duration.",
    ),
    ("avg_job_queue_minutes", "job_queue_seconds_avg", _MINUTES, _MEAN, "Mean time that decided jobs waited."),
    ("p95_job_queue_minutes", "job_queue_seconds_p95", _MINUTES, _QUANTILE, "95 % quantile of decided jobs' wait."),
    (
        "job_retry_rate",
        "job_retry_ratio",
        _RATIO,
        _RATE,
        "Jobs that needed more than one execution / finished jobs, each once per run.",
    ),
    (
        "runner_minutes",
        "runner_seconds",
        _MINUTES,
        _OTHER,
        "Duration of all job executions together: retried, cancelled and allowed ones too.",
    ),
)

_OPEN_JOBS: tuple[_Line, ...] = (
    ("pending_jobs", "jobs_pending", _JOBS, _STATE, "Jobs of open runs that wait for a runner now."),
    (
        "oldest_pending_job_minutes",
        "oldest_pending_job_seconds",
        _MINUTES,
        _STATE,
        "Age of the oldest pending job; 0 when none waits.",
    ),
)

_TEST_EXECUTIONS: tuple[_Line, ...] = (
    ("total_tests", "tests_executed", _TESTS, _COUNT, "Test executions; skipped tests are none."),
    ("failed_tests", "tests_failed", _TESTS, _COUNT, "Test executions that failed."),
    ("test_failure_rate", "test_failure_ratio", _RATIO, _RATE, "Failed test executions / test executions."),
    ("flaky_tests", "tests_flaky", _TESTS, _COUNT, "Tests with both outcomes on the same commit and job."),
    ("flaky_test_rate", "test_flaky_ratio", _RATIO, _RATE, "Flaky tests / distinct tests run."),
    ("new_flaky_tests", "tests_newly_flaky", _TESTS, _COUNT, "Flaky tests that were not flaky before."),
)

_COVERAGE: tuple[_Line, ...] = (
    ("coverage", "coverage_ratio", _PERCENT, _OTHER, "Coverage in the newest complete report."),
    ("coverage_drop", "coverage_drop_ratio", _POINTS, _OTHER, "The highest coverage before, minus the newest."),
)

_BENCHMARK_RUNS: tuple[_Line, ...] = (
    (
        "benchmark_regressions",
        "benchmark_regressions",
        _BENCHMARKS,
        _COUNT,
        "Benchmarks with a confirmed change for the worse.",
    ),
    (
        "max_benchmark_regression_percent",
        "benchmark_regression_ratio_max",
        _GROWTH,
        _OTHER,
        "The largest confirmed change for the worse.",
    ),
)

_DORA: tuple[_Line, ...] = (
    ("deployments", "deployments_finished", _DEPLOYMENTS, _COUNT, "Deployments that worked or failed."),
    ("failed_deployments", "deployments_failed", _DEPLOYMENTS, _COUNT, "Deployments that failed."),
    (
        "consecutive_failed_deployments",
        "consecutive_failed_deployments",
        _DEPLOYMENTS,
        _STREAK,
        "Present streak of failed deployments, in the worst environment.",
    ),
    ("deployment_frequency_per_day", "deployments_per_second", _PER_DAY, _OTHER, "Successful deployments per day."),
    (
        "change_failure_rate",
        "change_failure_ratio",
        _RATIO,
        _RATE,
        "Failed deployments / all that worked or failed.",
    ),
    (
        "lead_time_hours",
        "lead_time_seconds",
        _HOURS,
        _QUANTILE,
        "Median time from a commit to its deployment's end.",
    ),
    (
        "time_to_restore_hours",
        "time_to_restore_seconds",
        _HOURS,
        _QUANTILE,
        "Median time from the first failed deployment to the next that works.",
    ),
)

_OPEN_RUN = frozenset({"source", "project", "ref_type", "branch", "event", "workflow"})  # no result yet
_OPEN_JOB = _OPEN_RUN | {"stage", "job", "runner"}
_REPORT = _OPEN_RUN | {"stage", "job"}


def _read(lines: tuple[_Line, ...], kind: Kind | None, labels: frozenset[str]) -> Iterator[Metric]:
    """The metrics of some lines; without a kind of facts to compute them from they are not collected."""
    for name, gauge, unit, needs, text in lines:
        yield Metric(
            name=name,
            help=text,
            unit=unit.name,
            needs=needs,
            kind=kind,
            gauge=f"k2alert_ci_{gauge}",
            scale=unit.scale,
            labels=labels,
            low=unit.low,
            high=unit.high,
            collected=kind is not None,
        )


def _catalogue() -> Iterator[Metric]:
    yield from _read(_FINISHED_RUNS, Kind.RUN, _OPEN_RUN | {"result"})
    yield from _read(_SCHEDULES, Kind.SCHEDULE, _OPEN_RUN | {"schedule"})
    yield from _read(_OPEN_RUNS, Kind.RUN, _OPEN_RUN)
    yield from _read(_FINISHED_JOBS, Kind.JOB, _OPEN_JOB | {"result"})
    yield from _read(_OPEN_JOBS, Kind.JOB, _OPEN_JOB)
    yield from _read(_TEST_EXECUTIONS, Kind.TEST, _REPORT | {"suite", "test"})
    yield from _read(_COVERAGE, Kind.COVERAGE, _REPORT)
    yield from _read(_BENCHMARK_RUNS, Kind.BENCHMARK, _REPORT | {"benchmark"})
    yield from _read(_DORA, Kind.DEPLOYMENT, _OPEN_RUN | {"environment", "environment_tier"})


METRICS: Mapping[str, Metric] = MappingProxyType({metric.name: metric for metric in _catalogue()})
"""The catalogue by name, in the contract's order."""
