"""What the keys of the main file and of rule files may hold (contract §1, §2), as pydantic models.

The models check form only; what one part says of another (a route's receiver, a rule's labels) is checked where the
parts meet. The JSON Schema for editors is made from the same models.
"""

import re
from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, WithJsonSchema, field_validator

from k2alert.collect.settings import AppSettings, ReportSettings, Settings, SourceSettings
from k2alert.config.intervals import DigestMoments, TimeInterval
from k2alert.config.model import Web
from k2alert.config.values import (
    LABEL_NAME,
    BaseUrl,
    Count,
    Duration,
    LabelName,
    MatcherText,
    Period,
    PositiveDuration,
    as_list,
    check_listen,
    check_store,
)
from k2alert.labels import parse_matcher
from k2alert.model import NoDataPolicy, Severity

# -------------------------------------------------------------------------------------------- sources


class _Source(SourceSettings):
    """The parts of a source that are the same for every forge, checked more closely."""

    name: str = Field(min_length=1, max_length=100, description="Unique; the label `source`.")
    token: SecretStr | None = Field(default=None, description="What it signs in with; it only reads.")
    exclude: tuple[str, ...] = Field(default=(), description='Globs on the project path: "k2/archive-*"')
    max_requests_per_minute: int | None = Field(default=None, ge=1, description="Default: none but the forge's own.")
    ca_file: str | None = Field(default=None, description="Certificates to trust, in a PEM file.")
    reports: ReportSettings = Field(
        default=ReportSettings(), description="Report files to read from job artifacts (globs)."
    )
    url: BaseUrl = Field(default="", description="Where the forge is; default: the public one.")
    poll_interval: PositiveDuration = Field(
        default=timedelta(seconds=60), description="The longest time between two looks at a project."
    )
    backfill: PositiveDuration | None = Field(
        default=None,
        description="History read when a project is first seen; default: the longest look-back of any rule.",
    )
    max_staleness: PositiveDuration = Field(
        default=timedelta(minutes=15), description="Older than this, the project's alerts hold still."
    )
    webhook_secret: Annotated[
        tuple[SecretStr, ...],
        BeforeValidator(as_list),
        WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}),
    ] = Field(default=(), description="One or a list; turns the webhook on.")

    @field_validator("exclude")
    @classmethod
    def _exclude(cls, globs: tuple[str, ...]) -> tuple[str, ...]:
        for glob in globs:
            if not glob or glob.startswith("/") or re.search(r"\s", glob):
                raise ValueError('must be globs on the project path, such as "k2/archive-*"')
        return globs


def _check_path(value: str | int, pattern: str, example: str) -> str | int:
    if isinstance(value, str) and not (re.fullmatch(pattern, value) or value.isdecimal()):
        raise ValueError(f"must be {example}, without globs")
    return value


_PART = r"[^\s/*?:]+"


def _gitlab_project(value: str | int) -> str | int:
    return _check_path(value, rf"{_PART}(/{_PART})+", "group/project or the project's number")


def _gitlab_group(value: str | int) -> str | int:
    return _check_path(value, rf"{_PART}(/{_PART})*", "group/subgroup or the group's number")


def _github_repository(value: str) -> str:
    if not re.fullmatch(rf"{_PART}/{_PART}", value):
        raise ValueError("must be owner/name, without globs")
    return value


class GitlabSource(_Source):
    """A GitLab to read."""

    type: Literal["gitlab"] = Field(description="The kind of forge.")
    projects: tuple[Annotated[str | int, AfterValidator(_gitlab_project)], ...] = Field(
        default=(), description="Paths or numbers of projects."
    )
    groups: tuple[Annotated[str | int, AfterValidator(_gitlab_group)], ...] = Field(
        default=(), description="Groups, expanded to their projects."
    )

    app: None = Field(default=None, description="For GitHub only.")


class GithubSource(_Source):
    """A GitHub to read."""

    type: Literal["github"] = Field(description="The kind of forge.")
    app: AppSettings | None = Field(default=None, description="A GitHub App to sign in as, instead of a token.")
    projects: tuple[Annotated[str, AfterValidator(_github_repository)], ...] = Field(
        default=(), alias="repositories", description="Repositories as owner/name."
    )
    groups: tuple[str, ...] = Field(
        default=(), alias="organizations", description="Organizations, expanded to their repositories."
    )


Source = Annotated[GitlabSource | GithubSource, Field(discriminator="type")]


# --------------------------------------------------------------------------- receivers and their routes


class RouteSettings(Settings):
    """A node of the route tree; what it lacks it takes from its parent."""

    name: str | None = Field(default=None, min_length=1, max_length=100, description="Unique in the tree.")
    receiver: str | None = Field(default=None, description="Who hears.")
    matchers: tuple[MatcherText, ...] = Field(default=(), description="Which alerts come here; default: all.")
    group_by: tuple[Annotated[str, Field(pattern=rf"{LABEL_NAME}|^\.\.\.$")], ...] | None = Field(
        default=None,
        description='Labels that put alerts into one message; "..." for all. On the root: alertname, source, project.',
    )
    group_wait: Duration | None = Field(
        default=None, description="Wait this long for more before the first message. On the root: 30s."
    )
    group_interval: PositiveDuration | None = Field(
        default=None, description="The time between two changes told. On the root: 5m."
    )
    repeat_interval: PositiveDuration | None = Field(
        default=None, description="Say it again after this long. On the root: 4h."
    )
    mute_time_intervals: tuple[str, ...] | None = Field(
        default=None, description="Say nothing in these time intervals."
    )
    active_time_intervals: tuple[str, ...] | None = Field(
        default=None, description="Say nothing outside of these time intervals."
    )
    digest: DigestMoments | None = Field(
        default=None, description='One summary at this time: "Mon 09:00 Europe/Berlin", "daily 09:00 UTC".'
    )
    continue_: bool = Field(default=False, alias="continue", description="Look at the routes after this one too.")
    routes: tuple["RouteSettings", ...] = Field(default=(), description="The first that matches wins.")


class InhibitRule(Settings):
    """While the source fires, alerts of the target with equal labels say nothing."""

    source_matchers: tuple[MatcherText, ...] = Field(description="Alerts that keep others quiet while they fire.")
    target_matchers: tuple[MatcherText, ...] = Field(description="Alerts that are kept quiet.")
    equal: tuple[LabelName, ...] = Field(default=(), description="Labels that must be the same on both.")


# ---------------------------------------------------------------------------------------------- rules


class RuleDefaults(Settings):
    """What the rules of one file have where they don't say: any key of a rule but its name."""

    condition: str | None = Field(default=None, description="What must hold: success_rate < 0.95")
    period: Period | None = Field(default=None, description='The window: a duration, or "20 runs".')
    severity: Severity | None = Field(default=None, description="How much it matters.")
    message: str | None = Field(default=None, description="A template: what to say.")
    by: tuple[LabelName, ...] = Field(default=("project",), description="One alert for each set of these labels.")
    match: tuple[MatcherText, ...] = Field(default=(), description="Which facts count; default: all.")
    hold: Duration = Field(
        default=timedelta(0), alias="for", description="The condition must hold this long before anyone is told."
    )
    keep_firing_for: Duration = Field(default=timedelta(0), description="Fire this long after the condition last held.")
    clear: str | None = Field(default=None, description="While firing, only this becoming true ends the alert.")
    min_samples: Count = Field(default=1, description="Fewer samples than this are no data.")
    no_data: NoDataPolicy = Field(default=NoDataPolicy.KEEP, description="What a firing alert does without data.")
    exclude_during: tuple[str, ...] = Field(default=(), description="Time intervals whose facts don't count.")
    labels: dict[LabelName, str] = Field(default={}, description="Constant labels of the alerts.")
    annotations: dict[LabelName, str] = Field(default={}, description="Templates shown with the alerts.")


class RuleSettings(RuleDefaults):
    """One alert rule."""

    name: str = Field(min_length=1, max_length=200, description="Unique among all rules; the label alertname.")
    condition: str = Field(description="What must hold: success_rate < 0.95")
    period: Period = Field(description='The window: a duration, or "20 runs".')
    severity: Severity = Field(description="How much it matters.")
    message: str = Field(description="A template: what to say.")


# -------------------------------------------------------------------------------------------- the files


class WebSettings(Settings):
    """Where the HTTP server listens and who may write."""

    listen: Annotated[str, AfterValidator(check_listen)] = Field(default=Web().listen, description="host:port")
    external_url: BaseUrl = Field(default="", description="Where people reach it; for links in messages.")
    admin_token: SecretStr | None = Field(default=None, description="Needed to write.")
    read_token: SecretStr | None = Field(default=None, description="When set, needed to read the API and the page.")


class ProjectLabelsSettings(Settings):
    """Labels for the projects that match."""

    match: tuple[MatcherText, ...] = Field(default=(), description="Matchers on `source` and `project`.")
    labels: dict[LabelName, str] = Field(description="The labels they get.")


class ExportSettings(Settings):
    """Which CI gauges exist on /metrics."""

    windows: tuple[PositiveDuration, ...] = Field(
        default=(timedelta(hours=24), timedelta(days=7)), description="One gauge for each."
    )
    by: tuple[LabelName, ...] = Field(default=("project",), description="One gauge for each set of these labels.")
    match: tuple[MatcherText, ...] = Field(
        default=(parse_matcher('ref_type="default"'),), description="Which facts count."
    )
    labels: tuple[LabelName, ...] = Field(default=(), description="Names of project_labels to put on the gauges.")


class BasicSettings(Settings):
    """The keys of the main file that stand for themselves."""

    store: Annotated[str, AfterValidator(check_store)] = Field(
        default="sqlite:///k2alert.db", description="The database: sqlite:///FILE or postgresql://user:password@host/db"
    )
    retention: PositiveDuration = Field(default=timedelta(days=35), description="How long history is kept.")
    evaluation_interval: PositiveDuration = Field(
        default=timedelta(seconds=30), description="The time between two evaluations of the rules."
    )
    rule_files: tuple[str, ...] = Field(default=(), description="Files of rules, relative to this one; globs.")
    web: WebSettings = Field(default=WebSettings(), description="The HTTP server.")
    labels: dict[LabelName, str] = Field(default={}, description="Added to every alert.")
    export: ExportSettings = Field(default=ExportSettings(), description="Which CI gauges exist.")


class RuleFile(Settings):
    """A file of rules."""

    defaults: RuleDefaults = Field(default=RuleDefaults(), description="For the rules of this file.")
    alert_rules: tuple[RuleSettings, ...] = Field(default=(), description="The rules.")


class ReceiverSettings(Settings):
    """Someone who hears, through any number of integrations; each is a mapping or a list of them."""

    name: str = Field(min_length=1, max_length=100, description="Unique; what routes call it.")
    slack: Any = Field(default=None, description="Channels of Slack.")
    email: Any = Field(default=None, description="Mail.")
    webhook: Any = Field(default=None, description="JSON, posted as Alertmanager posts it.")
    alertmanager: Any = Field(default=None, description="Pushed to Alertmanagers.")


class NotificationSettings(Settings):
    """The short form of a receiver; beside `receivers`, the defaults of their integrations."""

    slack: Any = Field(default=None, description="Channels of Slack.")
    email: Any = Field(default=None, description="Mail.")
    webhook: Any = Field(default=None, description="JSON, posted as Alertmanager posts it.")
    alertmanager: Any = Field(default=None, description="Pushed to Alertmanagers.")


class MainFile(BasicSettings, RuleFile):
    """k2alert.yml"""

    sources: tuple[Source, ...] = Field(default=(), description="The forges to read.")
    project_labels: tuple[ProjectLabelsSettings, ...] = Field(
        default=(), description="Labels of projects; later entries win."
    )
    notifications: NotificationSettings | None = Field(
        default=None, description="Alone: a receiver `default` that hears every alert; with receivers: their defaults."
    )
    receivers: tuple[ReceiverSettings, ...] = Field(default=(), description="Who hears.")
    route: RouteSettings | None = Field(default=None, description="Which alerts go to whom.")
    inhibit_rules: tuple[InhibitRule, ...] = Field(default=(), description="Alerts that keep others quiet.")
    time_intervals: tuple[TimeInterval, ...] = Field(default=(), description="Named times, as in Alertmanager.")
