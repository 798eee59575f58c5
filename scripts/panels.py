"""What the Grafana dashboard shows: its panels, with what each asks of Prometheus. `dashboard` draws them.

Where several replicas are scraped, what they all serve is taken once (`max`), and what each did itself is summed.
"""

from dataclasses import dataclass

__all__ = ["PANELS", "Panel", "Query"]

_PROJECTS = 'source=~"$source",project=~"$project"'
_WINDOWED = f'{_PROJECTS},window="$window"'
_SOURCES = 'source=~"$source"'


@dataclass(frozen=True, slots=True)
class Query:
    """What is asked, and how its lines are called."""

    expression: str
    legend: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One picture: lines over time, or one number (`now`)."""

    row: str
    title: str
    unit: str
    says: str
    queries: tuple[Query, ...]
    now: bool = False


def _gauge(name: str, by: str = "source, project", where: str = _WINDOWED) -> str:
    return f"max by ({by}) ({name}{{{where}}})"


def _each(name: str, legend: str = "{{project}}", where: str = _WINDOWED) -> tuple[Query, ...]:
    return (Query(_gauge(name, where=where), legend),)


PANELS = (
    Panel(
        row="CI",
        title="Success rate",
        unit="percentunit",
        says="Successful of all decided runs of default branches, over the window.",
        queries=_each("k2alert_ci_success_ratio"),
    ),
    Panel(
        row="CI",
        title="Mean duration",
        unit="s",
        says="Of decided runs, over the window.",
        queries=_each("k2alert_ci_duration_seconds_avg"),
    ),
    Panel(
        row="CI",
        title="95 % of runs take less",
        unit="s",
        says="The 95 % quantile of durations, over the window.",
        queries=_each("k2alert_ci_duration_seconds_p95"),
    ),
    Panel(
        row="CI",
        title="Mean time in the queue",
        unit="s",
        says="From created to started, over the window.",
        queries=_each("k2alert_ci_queue_seconds_avg"),
    ),
    Panel(
        row="CI",
        title="Runs in the window",
        unit="short",
        says="Finished, and of those failed.",
        queries=(
            Query("sum(" + _gauge("k2alert_ci_runs_finished") + ")", "finished"),
            Query("sum(" + _gauge("k2alert_ci_runs_failed") + ")", "failed"),
            Query("sum(" + _gauge("k2alert_ci_runs_cancelled") + ")", "cancelled"),
        ),
    ),
    Panel(
        row="CI",
        title="Runs in the window, by project",
        unit="short",
        says="Finished, whatever their result.",
        queries=_each("k2alert_ci_runs_finished"),
    ),
    Panel(
        row="CI",
        title="Failed runs in the window, by project",
        unit="short",
        says="Failure, error or timeout.",
        queries=_each("k2alert_ci_runs_failed"),
    ),
    Panel(
        row="CI",
        title="Runs finished an hour, by result",
        unit="short",
        says="Each finished attempt once, of all branches.",
        queries=(
            Query(
                "sum by (result) (max by (source, project, ref_type, result)"
                f" (increase(k2alert_ci_runs_total{{{_PROJECTS}}}[1h])))",
                "{{result}}",
            ),
        ),
    ),
    Panel(
        row="CI",
        title="Failures in a row",
        unit="short",
        says="The longest present streak of a project's default branch.",
        queries=_each("k2alert_ci_consecutive_failures"),
    ),
    Panel(
        row="CI",
        title="Running and waiting now",
        unit="short",
        says="Runs that are not finished.",
        queries=(
            Query("sum(" + _gauge("k2alert_ci_runs_running", where=_PROJECTS) + ")", "running"),
            Query("sum(" + _gauge("k2alert_ci_runs_pending", where=_PROJECTS) + ")", "waiting"),
        ),
    ),
    Panel(
        row="Tests and deployments",
        title="Coverage",
        unit="percentunit",
        says="The newest complete report of the default branch.",
        queries=_each("k2alert_ci_coverage_ratio"),
    ),
    Panel(
        row="Tests and deployments",
        title="Flaky tests",
        unit="short",
        says="Tests that failed and passed on one commit, over the window.",
        queries=_each("k2alert_ci_tests_flaky"),
    ),
    Panel(
        row="Tests and deployments",
        title="Deployments in the window",
        unit="short",
        says="Finished, and of those failed.",
        queries=(
            Query("sum(" + _gauge("k2alert_ci_deployments_finished") + ")", "finished"),
            Query("sum(" + _gauge("k2alert_ci_deployments_failed") + ")", "failed"),
        ),
    ),
    Panel(
        row="Tests and deployments",
        title="Lead time",
        unit="s",
        says="From commit to deployment, over the window.",
        queries=_each("k2alert_ci_lead_time_seconds"),
    ),
    Panel(
        row="Alerts",
        title="Firing",
        unit="short",
        says="Label sets that fire, of all rules.",
        queries=(Query('sum(max by (rule, severity) (k2alert_alerts{state="firing"}))', "firing"),),
        now=True,
    ),
    Panel(
        row="Alerts",
        title="Pending",
        unit="short",
        says="Label sets whose condition holds, and `for` has not passed.",
        queries=(Query('sum(max by (rule, severity) (k2alert_alerts{state="pending"}))', "pending"),),
        now=True,
    ),
    Panel(
        row="Alerts",
        title="Not judged",
        unit="short",
        says="Label sets of projects that are stale or still being read.",
        queries=(Query('sum(max by (rule, severity) (k2alert_alerts{state="unknown"}))', "unknown"),),
        now=True,
    ),
    Panel(
        row="Alerts",
        title="Without data",
        unit="short",
        says="Label sets that have too few samples, or none.",
        queries=(Query('sum(max by (rule, severity) (k2alert_alerts{state="no_data"}))', "no data"),),
        now=True,
    ),
    Panel(
        row="Alerts",
        title="Firing, by rule",
        unit="short",
        says="Label sets that fire.",
        queries=(Query('max by (rule, severity) (k2alert_alerts{state="firing"})', "{{rule}} ({{severity}})"),),
    ),
    Panel(
        row="Alerts",
        title="Label sets, by state",
        unit="short",
        says="Of all rules together.",
        queries=(Query("sum by (state) (max by (rule, severity, state) (k2alert_alerts))", "{{state}}"),),
    ),
    Panel(
        row="Alerts",
        title="Values of rules",
        unit="short",
        says="Each rule's value for each project; its limit is on k2alert's own page.",
        queries=(Query(f"max by (rule, source, project) (k2alert_rule_value{{{_PROJECTS}}})", "{{rule}} {{project}}"),),
    ),
    Panel(
        row="Sources",
        title="Behind",
        unit="s",
        says="How long ago the last complete look ended, of the project that has waited longest.",
        queries=(
            Query(f"time() - max by (source) (k2alert_source_complete_timestamp_seconds{{{_SOURCES}}})", "{{source}}"),
        ),
    ),
    Panel(
        row="Sources",
        title="Projects, by state",
        unit="short",
        says="How their reading goes.",
        queries=(Query(f"max by (source, state) (k2alert_projects{{{_SOURCES}}})", "{{source}} {{state}}"),),
    ),
    Panel(
        row="Sources",
        title="Requests a minute, by answer",
        unit="reqpm",
        says="HTTP status, or `timeout`, `network`, `body`.",
        queries=(
            Query(
                f"60 * sum by (source, code) (rate(k2alert_source_requests_total{{{_SOURCES}}}[5m]))",
                "{{source}} {{code}}",
            ),
        ),
    ),
    Panel(
        row="Sources",
        title="Requests left",
        unit="short",
        says="As the forge last said.",
        queries=(Query(f"min by (source) (k2alert_source_rate_limit_remaining{{{_SOURCES}}})", "{{source}}"),),
    ),
    Panel(
        row="Sources",
        title="Webhooks a minute, by outcome",
        unit="short",
        says="What became of what the forge sent.",
        queries=(
            Query(
                f"60 * sum by (source, outcome) (rate(k2alert_webhooks_received_total{{{_SOURCES}}}[5m]))",
                "{{source}} {{outcome}}",
            ),
        ),
    ),
    Panel(
        row="Sources",
        title="Report files not read, an hour",
        unit="short",
        says="By reason.",
        queries=(
            Query(
                f"sum by (source, reason) (increase(k2alert_reports_refused_total{{{_SOURCES}}}[1h]))",
                "{{source}} {{reason}}",
            ),
        ),
    ),
    Panel(
        row="Rounds",
        title="A round takes",
        unit="s",
        says="Mean and 95 % quantile, without delivery.",
        queries=(
            Query(
                "sum by (instance) (rate(k2alert_evaluation_duration_seconds_sum[5m]))"
                " / sum by (instance) (rate(k2alert_evaluation_duration_seconds_count[5m]))",
                "mean {{instance}}",
            ),
            Query(
                "histogram_quantile(0.95, sum by (instance, le)"
                " (rate(k2alert_evaluation_duration_seconds_bucket[5m])))",
                "95 % {{instance}}",
            ),
        ),
    ),
    Panel(
        row="Rounds",
        title="Rules that failed, a minute",
        unit="short",
        says="Each is a bug; the log has its trace.",
        queries=(Query("60 * sum by (rule) (rate(k2alert_rule_evaluation_failures_total[5m]))", "{{rule}}"),),
    ),
    Panel(
        row="Messages",
        title="Sent a minute",
        unit="short",
        says="Tried, told or not.",
        queries=(
            Query(
                "60 * sum by (receiver, integration) (rate(k2alert_notifications_total[5m]))",
                "{{receiver}} {{integration}}",
            ),
        ),
    ),
    Panel(
        row="Messages",
        title="Failed an hour, by reason",
        unit="short",
        says="Tried again for a day, or given up.",
        queries=(
            Query(
                "sum by (receiver, integration, reason) (increase(k2alert_notifications_failed_total[1h]))",
                "{{receiver}} {{integration}} {{reason}}",
            ),
        ),
    ),
    Panel(
        row="Messages",
        title="Waiting",
        unit="short",
        says="Due and not told yet.",
        queries=(
            Query("max by (receiver, integration) (k2alert_notifications_queued)", "{{receiver}} {{integration}}"),
        ),
    ),
    Panel(
        row="Messages",
        title="95 % are delivered within",
        unit="s",
        says="How long a receiver takes to answer. No messages, no line.",
        queries=(
            Query(
                "histogram_quantile(0.95, sum by (integration, le)"
                " (increase(k2alert_notification_latency_seconds_bucket[1h])))",
                "{{integration}}",
            ),
        ),
    ),
    Panel(
        row="Process",
        title="Leads",
        unit="short",
        says="1 for the replica that judges and sends.",
        queries=(Query("max by (instance) (k2alert_leader)", "{{instance}}"),),
    ),
    Panel(
        row="Process",
        title="Configuration in use",
        unit="short",
        says="1 where the files as they are now are in use.",
        queries=(Query("min by (instance) (k2alert_config_last_reload_successful)", "{{instance}}"),),
    ),
    Panel(
        row="Process",
        title="Memory",
        unit="bytes",
        says="Resident.",
        queries=(
            Query(
                "max by (instance) (process_resident_memory_bytes and on (instance, job) k2alert_build_info)",
                "{{instance}}",
            ),
        ),
    ),
    Panel(
        row="Process",
        title="CPU",
        unit="percentunit",
        says="Of one core.",
        queries=(
            Query(
                "max by (instance) (rate(process_cpu_seconds_total[5m]) and on (instance, job) k2alert_build_info)",
                "{{instance}}",
            ),
        ),
    ),
)
