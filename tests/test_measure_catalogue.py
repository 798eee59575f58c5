"""The catalogue holds every name of the contract, and gauges that Prometheus has nothing against."""

import math
import re
import shutil
import subprocess

import pytest

from k2alert.measure.catalogue import METRICS
from k2alert.measure.evidence import find_evidence
from k2alert.measure.fact_board import FACT_FORMULAS
from k2alert.measure.formulas import FORMULAS
from k2alert.measure.series import Series
from k2alert.model import Kind, Metric, Needs, Window

# Contract §3, row by row, each "…" spelled out.
CONTRACT = re.findall(
    r"\w+",
    """
total_pipelines successful_pipelines failed_pipelines cancelled_pipelines
success_rate error_rate
avg_duration_minutes median_duration_minutes p95_duration_minutes p99_duration_minutes max_duration_minutes
avg_queue_minutes p95_queue_minutes
health_score consecutive_failures
minutes_since_success minutes_since_run
schedule_overdue_minutes
running_pipelines pending_pipelines oldest_pending_minutes
job_success_rate failed_jobs avg_job_duration_minutes p95_job_duration_minutes
avg_job_queue_minutes p95_job_queue_minutes job_retry_rate runner_minutes
pending_jobs oldest_pending_job_minutes
total_tests failed_tests test_failure_rate
flaky_tests flaky_test_rate new_flaky_tests
coverage coverage_drop
benchmark_regressions max_benchmark_regression_percent
deployments failed_deployments consecutive_failed_deployments deployment_frequency_per_day change_failure_rate
lead_time_hours time_to_restore_hours
""",
)
NOT_FOR_GAUGES = ("_total", "_count", "_sum", "_bucket", "_info", "_created")
ALL = pytest.mark.parametrize("metric", METRICS.values(), ids=lambda metric: metric.name)


def test_it_holds_the_names_of_the_contract_in_their_order() -> None:
    assert list(METRICS) == CONTRACT


def test_what_is_collected_has_a_formula_and_a_kind_and_nothing_else_has() -> None:
    assert {metric.name for metric in METRICS.values() if metric.collected} == {*FORMULAS, *FACT_FORMULAS}
    assert {metric.name for metric in METRICS.values() if metric.kind} == {*FORMULAS, *FACT_FORMULAS}
    assert {metric.name for metric in METRICS.values() if metric.kind and metric.kind.of_runs} == set(FORMULAS)


@ALL
def test_a_gauge_is_named_as_a_gauge_in_base_units(metric: Metric) -> None:
    assert re.fullmatch(r"k2alert_ci_[a-z0-9]+(_[a-z0-9]+)*", metric.gauge)
    assert not metric.gauge.endswith(NOT_FOR_GAUGES)
    assert metric.gauge.endswith("_per_second") == (metric.unit == "deployments per day")
    words = metric.gauge.split("_")
    assert ("seconds" in words) == (metric.unit in ("minutes", "hours"))
    assert ("ratio" in words) == (metric.unit in ("ratio", "percent", "points"))


def test_no_gauge_is_named_twice_or_like_a_counter_or_a_summary() -> None:
    gauges = [metric.gauge for metric in METRICS.values()]
    assert len(set(gauges)) == len(gauges)
    taken = ("k2alert_ci_runs", "k2alert_ci_run_duration_seconds")
    assert not {f"{name}{end}" for name in taken for end in ("", *NOT_FOR_GAUGES)} & set(gauges)


def test_promtool_finds_nothing() -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed")
    text = "".join(f"# HELP {m.gauge} {m.help}\n# TYPE {m.gauge} gauge\n{m.gauge} 1\n" for m in METRICS.values())
    checked = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, text=True)
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


@pytest.mark.parametrize(
    ("name", "scale", "low", "high"),
    [
        ("total_pipelines", 1, 0, math.inf),
        ("success_rate", 1, 0, 1),
        ("p95_duration_minutes", 60, 0, math.inf),
        ("health_score", 1, 0, 1),
        ("runner_minutes", 60, 0, math.inf),
        ("coverage", 0.01, 0, 100),
        ("coverage_drop", 0.01, -100, 100),
        ("max_benchmark_regression_percent", 0.01, 0, math.inf),
        ("lead_time_hours", 3600, 0, math.inf),
    ],
)
def test_a_unit_brings_its_scale_and_its_bounds(name: str, scale: float, low: float, high: float) -> None:
    metric = METRICS[name]
    assert (metric.scale, metric.low, metric.high) == (scale, low, high)


def test_min_samples_is_for_ratios_means_and_quantiles() -> None:
    short = {name for name in FORMULAS if METRICS[name].needs.samples}
    lengths = {name for name in FORMULAS if re.match("(avg|median|p95|p99|max)_", name)}
    assert short == lengths | {"success_rate", "error_rate", "health_score", "job_success_rate", "job_retry_rate"}


@ALL
def test_every_metric_goes_by_its_source_and_jobs_by_more(metric: Metric) -> None:
    assert {"source", "project"} <= metric.labels
    assert ({"stage", "job", "runner"} <= metric.labels) == (metric.kind is Kind.JOB)
    assert ("result" in metric.labels) == (metric.name in FORMULAS and metric.needs is not Needs.STATE)
    assert ({"suite", "test"} <= metric.labels) == (metric.kind is Kind.TEST)
    assert ({"environment", "environment_tier"} <= metric.labels) == (metric.kind is Kind.DEPLOYMENT)
    assert ("schedule" in metric.labels) == (metric.kind is Kind.SCHEDULE)


def test_the_catalogue_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        METRICS["mine"] = METRICS["success_rate"]  # type: ignore[index]


@pytest.mark.parametrize("name", [name for name in FORMULAS if METRICS[name].needs is Needs.STATE])
def test_what_is_open_now_has_no_rows_to_show(name: str) -> None:
    found = find_evidence(Series(Kind.RUN), name, Window(runs=1), 0, 10)
    assert (found.refs, found.faults, found.samples) == ((), 0, 0)
