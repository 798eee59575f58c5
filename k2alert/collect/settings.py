"""What a `sources:` entry of the configuration says (contract §1)."""

from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, WithJsonSchema

from k2alert.times import parse_duration


def _duration(value: Any) -> Any:
    return parse_duration(value) if isinstance(value, str) else value


DURATION_PATTERN = r"^(0|(\d+y)?(\d+w)?(\d+d)?(\d+h)?(\d+m)?(\d+s)?(\d+ms)?)$"
Duration = Annotated[
    timedelta,
    BeforeValidator(_duration),
    WithJsonSchema({"type": "string", "pattern": DURATION_PATTERN, "examples": ["30s", "24h", "7d"]}),
]


class Settings(BaseModel):
    """Base of every settings class: frozen, unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class AppSettings(Settings):
    """A GitHub App that k2alert authenticates as."""

    id: int | str = Field(description="The App's number, or its client ID.")
    private_key: SecretStr = Field(description="Its key, in PEM.")
    installation_id: int = Field(description="The number of its installation for the owner of the repositories.")


class ReportSettings(Settings):
    """Which report files to read from job artifacts (globs)."""

    jobs: tuple[str, ...] = Field(default=(), description="Names of jobs (GitHub: of artifacts); default: all.")
    junit: tuple[str, ...] = Field(default=(), description="Paths in the archive: reports of tests.")
    coverage: tuple[str, ...] = Field(default=(), description="Paths in the archive: reports of coverage.")
    benchmarks: tuple[str, ...] = Field(default=(), description="Paths in the archive: results of benchmarks.")


class SourceSettings(Settings):
    """One forge to read."""

    type: Literal["gitlab", "github"]
    name: str = Field(min_length=1, max_length=100)
    url: str = ""  # "" is the forge's default: gitlab.com, api.github.com
    token: SecretStr | None = None
    app: AppSettings | None = None
    projects: tuple[str | int, ...] = ()
    groups: tuple[str | int, ...] = ()
    exclude: tuple[str, ...] = ()
    poll_interval: Duration = timedelta(seconds=60)
    backfill: Duration | None = None
    max_staleness: Duration = timedelta(minutes=15)
    max_requests_per_minute: int | None = Field(default=None, ge=1)
    ca_file: str | None = None
    webhook_secret: tuple[SecretStr, ...] = ()
    reports: ReportSettings = ReportSettings()
