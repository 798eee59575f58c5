"""Mail over SMTP."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, SecretStr


class Settings(BaseModel):
    """`email:` of a receiver (contract §1)."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    smtp_server: str  # host or host:port
    smtp_user: str | None = None
    smtp_password: SecretStr | None = None
    tls: Literal["starttls", "implicit", "none"] = "starttls"
    ca_file: str | None = None
    from_address: str
    to_addresses: tuple[str, ...]
    send_resolved: bool = True
