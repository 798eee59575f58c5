"""Values that configuration files write as text: durations, periods, matchers, addresses.

In: what YAML gave. Out: the value the program uses, or a `ValueError` with a sentence for the person who wrote it; the
sentence follows the key's name ("poll_interval" must be …). Each type also says what it looks like in JSON Schema.
"""

import re
from datetime import timedelta
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, PlainSerializer, PlainValidator, SecretStr, WithJsonSchema

from k2alert.collect.settings import DURATION_PATTERN
from k2alert.judge.window import parse_window
from k2alert.labels import Matcher, parse_matcher
from k2alert.model import Window
from k2alert.times import format_duration, parse_duration

LABEL_NAME = r"^[a-zA-Z_][a-zA-Z0-9_]*$"
_PERIOD_PATTERN = DURATION_PATTERN[:-1] + r"$|^[1-9][0-9]{0,5} runs?$"
_STORE = re.compile(r"sqlite:///.+|postgres(ql)?://.+")
_MAIL_ADDRESS = re.compile(r"[^\s@<>,;:\"]+@[^\s@<>,;:\"]+")


def _duration(value: Any) -> timedelta:
    if isinstance(value, timedelta):
        return value
    if not isinstance(value, str):
        raise ValueError(f"must be a duration with its unit, such as {'30s' if value is None else f'{value}s'}")
    return parse_duration(value)


def _positive(value: Any) -> timedelta:
    length = _duration(value)
    if not length:
        raise ValueError("must be longer than 0s")
    return length


def _period(value: Any) -> Window:
    if not isinstance(value, str):
        raise ValueError('must be a length of time with its unit, such as 24h, or a number of runs: "20 runs"')
    return parse_window(value)


def _matcher(value: Any) -> Matcher:
    if not isinstance(value, str):
        raise ValueError("""must be a matcher in quotes, such as 'team="payments"'""")
    return parse_matcher(value)


def _label_name(value: str) -> str:
    if not re.fullmatch(LABEL_NAME, value) or value.startswith("__"):
        raise ValueError("not a label name: letters, digits and _, no digit first, not starting with __")
    return value


def as_list(value: Any) -> Any:
    """What may be written alone or as a list, as a list."""
    return value if isinstance(value, (list, tuple)) else [value]


def check_url(value: str) -> str:
    """An http(s) URL; the message does not show it, for it may hold a password."""
    try:
        parts = urlsplit(value)
        fits = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        fits = False
    if not fits or re.search(r"[\s\x00-\x1f]", value):
        raise ValueError("must be a URL that starts with http:// or https://")
    return value


def _base_url(value: str) -> str:
    parts = urlsplit(check_url(value))
    if parts.username or parts.password:
        raise ValueError("must not hold a user or a password: use `token`")
    if parts.query or parts.fragment:
        raise ValueError("must have nothing after its path")
    return value.rstrip("/")


def _secret_url(value: SecretStr) -> SecretStr:
    check_url(value.get_secret_value())
    return value


def parse_listen(text: str) -> tuple[str, int]:
    """Host ("" is every address) and port of `127.0.0.1:9725`, `[::1]:9725` or `:9725`. Raises `ValueError`."""
    host, colon, port = text.rpartition(":")
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if not colon or not re.fullmatch(r"[0-9]{1,5}", port) or int(port) > 65535 or (":" in bare and bare == host):
        raise ValueError("must be host:port, such as 127.0.0.1:9725 or [::1]:9725")
    if re.search(r"[\s/\[\]@]", bare):
        raise ValueError("must be host:port, without a scheme or a path")
    return bare, int(port)


def check_listen(value: str) -> str:
    """The text itself when `parse_listen` reads it."""
    parse_listen(value)
    return value


def check_store(value: str) -> str:
    """A store's URL; the message does not show it, for it may hold a password."""
    if not _STORE.fullmatch(value) or re.search(r"[\s\x00]", value):
        raise ValueError("must be sqlite:///FILE (sqlite:////FILE from the root) or postgresql://user:password@host/db")
    return value


def check_mail_address(text: str) -> None:
    """Raises `ValueError` unless the text is one mail address and nothing else."""
    if not _MAIL_ADDRESS.fullmatch(text) or not text.isprintable():
        raise ValueError("must be one mail address, such as team@example.com")


_DURATION_SCHEMA = WithJsonSchema({"type": "string", "pattern": DURATION_PATTERN, "examples": ["30s", "24h", "7d"]})
_PERIOD_SCHEMA = WithJsonSchema({"type": "string", "pattern": _PERIOD_PATTERN, "examples": ["24h", "20 runs"]})
_MATCHER_SCHEMA = WithJsonSchema({"type": "string", "examples": ['branch="main"', 'project=~"k2/.*"']})
# The schema shows defaults, as they would be written.
_WRITTEN_DURATION = PlainSerializer(format_duration, return_type=str)

Duration = Annotated[timedelta, PlainValidator(_duration), _WRITTEN_DURATION, _DURATION_SCHEMA]
PositiveDuration = Annotated[timedelta, PlainValidator(_positive), _WRITTEN_DURATION, _DURATION_SCHEMA]
Period = Annotated[Window, PlainValidator(_period), _PERIOD_SCHEMA]
MatcherText = Annotated[Matcher, PlainValidator(_matcher), PlainSerializer(str, return_type=str), _MATCHER_SCHEMA]
LabelName = Annotated[str, AfterValidator(_label_name), WithJsonSchema({"type": "string", "pattern": LABEL_NAME})]
BaseUrl = Annotated[str, AfterValidator(_base_url)]
SecretUrl = Annotated[SecretStr, AfterValidator(_secret_url)]
Count = Annotated[int, Field(ge=1, strict=True)]
