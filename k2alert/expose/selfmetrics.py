"""What k2alert says of itself on /metrics (contract §5), through prometheus-client, in a registry of its own."""

import hashlib
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import choose_encoder
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

from k2alert.formats import Reason
from k2alert.model import ProjectState

__all__ = ["REASONS", "WEBHOOK_OUTCOMES", "SelfMetrics"]

REASONS = (
    "clientError",
    "serverError",
    "authError",
    "rateLimited",
    "contextCanceled",
    "contextDeadlineExceeded",
    "other",
)
"""Why a notification failed, in Alertmanager's words."""

REFUSALS = tuple(reason.value for reason in Reason)
"""Why a report file is not read."""

WEBHOOK_OUTCOMES = ("accepted", "duplicate", "ignored", "refused", "bug")
"""What becomes of a webhook."""

_STATES = tuple(state.value for state in ProjectState)
_OPENMETRICS = "application/openmetrics-text"
_LATENCY_BUCKETS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)


class SelfMetrics:
    """The daemon's own metrics; every series exists at zero from when its rule, receiver or source is declared."""

    def __init__(self, version: str) -> None:
        self._registry = registry = CollectorRegistry(auto_describe=True)
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=registry)
        self._make_process(registry, version)
        self._make_sources(registry)
        self._make_rounds(registry)
        self._make_notifications(registry)
        self._declared: dict[str, set[tuple[str, ...]]] = {"rule": set(), "receiver": set(), "source": set()}
        self._leads = False

    def _make_process(self, registry: CollectorRegistry, version: str) -> None:
        info = Gauge("k2alert_build_info", "Version of this k2alert; always 1.", ["version"], registry=registry)
        info.labels(version).set(1)
        self._leader = Gauge("k2alert_leader", "Whether this replica judges and sends.", registry=registry)
        self._config_hash = Gauge(
            "k2alert_config_hash", "A number that changes when the configuration does.", registry=registry
        )
        self._reload_ok = Gauge(
            "k2alert_config_last_reload_successful",
            "Whether the files as they are now are the configuration in use.",
            registry=registry,
        )
        self._reload_at = Gauge(
            "k2alert_config_last_reload_success_timestamp_seconds",
            "When a configuration was last taken into use.",
            registry=registry,
        )

    def _make_sources(self, registry: CollectorRegistry) -> None:
        self._projects = Gauge(
            "k2alert_projects",
            "Projects of a source by how their reading goes.",
            ["source", "state"],
            registry=registry,
        )
        self._requests = Counter(
            "k2alert_source_requests",
            "Requests to a source's API by status code, or by what came instead of one.",
            ["source", "code"],
            registry=registry,
        )
        self._kinds = Counter(
            "k2alert_source_requests_by_kind",
            "The same requests by what was asked for, too.",
            ["source", "kind", "code"],
            registry=registry,
        )
        self._complete = Gauge(
            "k2alert_source_complete_timestamp_seconds",
            "When the last complete look at a project of the source ended, of the one that has waited longest.",
            ["source"],
            registry=registry,
        )
        self._remaining = Gauge(
            "k2alert_source_rate_limit_remaining",
            "Requests that the source still allows, as it last said.",
            ["source"],
            registry=registry,
        )
        self._source_success = Gauge(
            "k2alert_source_last_success_timestamp_seconds",
            "When a look at a project of the source last reached its end.",
            ["source"],
            registry=registry,
        )
        self._refused = Counter(
            "k2alert_reports_refused",
            "Report files in job artifacts that were not read, by reason.",
            ["source", "reason"],
            registry=registry,
        )
        self._webhook_at = Gauge(
            "k2alert_webhook_last_received_timestamp_seconds",
            "When the source last sent a webhook; 0: never.",
            ["source"],
            registry=registry,
        )

        self._webhooks = Counter(
            "k2alert_webhooks_received",
            "Webhooks that a source sent, by what became of them.",
            ["source", "outcome"],
            registry=registry,
        )

    def _make_rounds(self, registry: CollectorRegistry) -> None:
        self._evaluations = Counter(
            "k2alert_rule_evaluations", "Rounds in which the rule was judged.", ["rule"], registry=registry
        )
        self._evaluation_failures = Counter(
            "k2alert_rule_evaluation_failures",
            "Rounds in which judging the rule failed for a label set.",
            ["rule"],
            registry=registry,
        )
        self._evaluation_seconds = Histogram(
            "k2alert_evaluation_duration_seconds",
            "How long a round of evaluation took, without delivery.",
            registry=registry,
            buckets=(0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5),
        )
        self._judged_at = Gauge(
            "k2alert_last_evaluation_timestamp_seconds",
            "When what the alerts show was judged.",
            registry=registry,
        )
        self._drawn_at = Gauge(
            "k2alert_gauges_timestamp_seconds",
            "When what the values and gauges show was judged.",
            registry=registry,
        )
        self._dropped = Counter(
            "k2alert_ci_series_dropped",
            "CI samples that rounds left out of the exposition, for there were too many.",
            registry=registry,
        )

    def _make_notifications(self, registry: CollectorRegistry) -> None:
        self._notifications = Counter(
            "k2alert_notifications",
            "Notifications tried, told or not.",
            ["receiver", "integration"],
            registry=registry,
        )
        self._failed = Counter(
            "k2alert_notifications_failed",
            "Notifications that failed, by reason.",
            ["receiver", "integration", "reason"],
            registry=registry,
        )
        self._queued = Gauge(
            "k2alert_notifications_queued",
            "Notifications that are due and have not been told yet, the one in flight among them.",
            ["receiver", "integration"],
            registry=registry,
        )
        self._latency = Histogram(
            "k2alert_notification_latency_seconds",
            "How long the delivery of a notification took.",
            ["integration"],
            registry=registry,
            buckets=_LATENCY_BUCKETS,
        )

    def declare(self, *, rules: Iterable[str], receivers: Iterable[tuple[str, str]], sources: Iterable[str]) -> None:
        """Begins the series of what the configuration names, at zero, and ends those of what it names no more."""
        wanted: dict[str, set[tuple[str, ...]]] = {
            "rule": {(rule,) for rule in rules},
            "receiver": set(receivers),
            "source": {(source,) for source in sources},
        }
        for kind, names in wanted.items():
            for gone in self._declared[kind] - names:
                self._end(kind, gone)
            for name in names - self._declared[kind]:
                self._begin(kind, name)
        self._declared = wanted

    def _begin(self, kind: str, name: tuple[str, ...]) -> None:
        if kind == "rule":
            self._evaluations.labels(*name)
            self._evaluation_failures.labels(*name)
        elif kind == "receiver":
            self._notifications.labels(*name)
            self._queued.labels(*name)
            self._latency.labels(name[1])
            for reason in REASONS:
                self._failed.labels(*name, reason)
        else:
            self._source_success.labels(*name)
            self._webhook_at.labels(*name)
            for outcome in WEBHOOK_OUTCOMES:
                self._webhooks.labels(*name, outcome)
            self._requests.labels(*name, "200")
            for reason in REFUSALS:
                self._refused.labels(*name, reason)
            for state in _STATES:
                self._projects.labels(*name, state)

    def _end(self, kind: str, name: tuple[str, ...]) -> None:
        if kind == "rule":
            self._evaluations.remove(*name)
            self._evaluation_failures.remove(*name)
        elif kind == "receiver":
            self._notifications.remove(*name)
            self._queued.remove(*name)
            self._failed.remove_by_labels({"receiver": name[0], "integration": name[1]})
        else:
            self._source_success.remove(*name)
            self._complete.remove_by_labels({"source": name[0]})
            self._webhook_at.remove(*name)
            for metric in (self._requests, self._kinds, self._projects, self._remaining, self._webhooks, self._refused):
                metric.remove_by_labels({"source": name[0]})

    def config_loaded(self, text_hash: str, *, now: datetime) -> None:
        """A configuration was taken into use."""
        self._config_hash.set(int(hashlib.sha256(text_hash.encode()).hexdigest()[:12], 16))
        self._reload_ok.set(1)
        self._reload_at.set(now.timestamp())

    def set_leader(self, leads: bool) -> None:
        """Whether this process judges and sends. Once it does not, what only a leader knows goes, for it would stay as
        it was.
        """
        self._leader.set(leads)
        self._leads = leads
        if not leads:
            self.set_queued({})
            self._remaining.clear()

    def config_refused(self) -> None:
        """The files hold errors; the configuration in use stays."""
        self._reload_ok.set(0)

    def set_projects(self, counts: Mapping[tuple[str, str], int]) -> None:
        """How many projects each (source, state) has; states not named are zero."""
        for (source,) in self._declared["source"]:
            for state in _STATES:
                self._projects.labels(source, state).set(counts.get((source, state), 0))

    def count_requests(self, source: str, kind: str, code: str, number: int) -> None:
        """More requests of a kind were made of a source."""
        if (source,) in self._declared["source"]:
            self._requests.labels(source, code).inc(number)
            self._kinds.labels(source, kind, code).inc(number)

    def count_refused(self, source: str, reason: str, number: int) -> None:
        """More report files of a source were not read."""
        if (source,) in self._declared["source"]:
            self._refused.labels(source, reason).inc(number)

    def set_source(
        self, source: str, *, remaining: int | None, success_at: datetime | None, complete: datetime | None
    ) -> None:
        """What a source said of its limit (None: nothing; shown by who leads), when a look last ended, and until when
        all is recorded.
        """
        if (source,) not in self._declared["source"]:
            return
        if remaining is not None and self._leads:
            self._remaining.labels(source).set(remaining)
        if success_at is not None:
            self._source_success.labels(source).set(success_at.timestamp())
        if complete is not None:
            self._complete.labels(source).set(complete.timestamp())

    def webhook(self, source: str, outcome: str, *, now: datetime) -> None:
        """A source sent a webhook, and this became of it."""
        if (source,) in self._declared["source"]:
            self._webhooks.labels(source, outcome).inc()
            self._webhook_at.labels(source).set(now.timestamp())

    def shown(self, *, now: datetime) -> None:
        """The alerts of a round at this time are shown."""
        self._judged_at.set(now.timestamp())

    def drawn(self, *, now: datetime, dropped: int) -> None:
        """The gauges of a round at this time were drawn, but for so many samples."""
        self._drawn_at.set(now.timestamp())
        self._dropped.inc(dropped)

    def evaluated(self, failed: Mapping[str, bool], *, took: timedelta) -> None:
        """A round is over: for each rule, whether judging it failed. Rules that a reload ended meanwhile are gone."""
        self._evaluation_seconds.observe(took.total_seconds())
        for rule, bad in failed.items():
            if (rule,) not in self._declared["rule"]:
                continue
            self._evaluations.labels(rule).inc()
            if bad:
                self._evaluation_failures.labels(rule).inc()

    def notified(self, receiver: str, integration: str, *, took: timedelta, reason: str | None) -> None:
        """A notification was tried; `reason` says why it failed, None that it was told."""
        if (receiver, integration) not in self._declared["receiver"]:
            return  # a reload ended it while the message was in flight
        self._notifications.labels(receiver, integration).inc()
        self._latency.labels(integration).observe(took.total_seconds())
        if reason is not None:
            self._failed.labels(receiver, integration, reason if reason in REASONS else "other").inc()

    def set_queued(self, counts: Mapping[tuple[str, str], int]) -> None:
        """How many notifications wait for each (receiver, kind of integration); those not named: none."""
        for name in self._declared["receiver"]:
            self._queued.labels(*name).set(counts.get((name[0], name[1]), 0))

    def render(self, accept: str) -> tuple[bytes, str]:
        """The exposition in the format that the Accept header asks for, and its content type."""
        encode, content_type = choose_encoder(_format(accept))
        return encode(self._registry), content_type


def _format(accept: str) -> str:
    """OpenMetrics for whoever takes it, else the text format, each in the version that all of /metrics is written in.

    prometheus-client would go by any version and way of escaping names that are asked for, and fails on some.
    """
    taken = {part.partition(";")[0].strip().lower() for part in accept.split(",")}
    return f"{_OPENMETRICS}; version=1.0.0" if _OPENMETRICS in taken else "text/plain; version=0.0.4"
