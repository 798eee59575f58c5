"""Slack: incoming webhook or bot token."""

from pydantic import BaseModel, ConfigDict, SecretStr


class Settings(BaseModel):
    """`slack:` of a receiver (contract §1). Exactly one of `webhook_url` and `bot_token` is used; both: the token."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    webhook_url: SecretStr | None = None
    bot_token: SecretStr | None = None
    channel: str | tuple[str, ...] = ()
    api_url: str = ""
    send_resolved: bool = True
