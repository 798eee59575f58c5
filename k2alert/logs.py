"""Structured logs on standard error: one line a record, as text or JSON, without secrets.

`extra={...}` of a record becomes its fields. Every secret of the configuration in use is blotted out of
whatever is logged, ours or a library's, wherever it turns up and however it is spelled there.
"""

import json
import logging
import sys
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Literal, TextIO
from urllib.parse import quote, quote_plus

__all__ = ["LogFormat", "Secrets", "set_up_logging"]

LogFormat = Literal["text", "json"]

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "color_message"}
# Below this length a "secret" is a word that logs may hold for other reasons, and no protection to anybody.
_SHORTEST_SECRET = 6
# Lines of a trace are set in, so that none of a forge's text in it looks like a line of the log.
_MARGIN = "\n    "
# C0 and C1 controls, marks that turn text around, and what nobody sees: a forge's text must not forge lines of the log.
_UNSEEN = (0x061C, *range(0x200B, 0x2010), *range(0x2028, 0x202F), *range(0x2060, 0x2070), 0xFEFF)
_CONTROLS = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160))} | {
    code: f"\\u{code:04x}" for code in _UNSEEN
}


class Secrets:
    """The values that must not be seen; replaced as a whole when the configuration changes."""

    def __init__(self) -> None:
        self._values: tuple[str, ...] = ()

    def replace(self, values: Iterable[str]) -> None:
        """These are the secrets now. Longer ones first, so that one inside another leaves nothing behind."""
        kept = {text for value in values for text in _spellings(value) if len(text) >= _SHORTEST_SECRET}
        self._values = tuple(sorted(kept, key=len, reverse=True))

    def blot(self, text: str) -> str:
        """The text without any secret."""
        for value in self._values:
            text = text.replace(value, "***")
        return text


def _spellings(value: str) -> Iterator[str]:
    """How a secret may stand in a log: as it is, each of its lines, in Python's or JSON's quotes, in a URL."""
    for text in {value, *value.splitlines()}:
        yield from (text, repr(text)[1:-1], json.dumps(text)[1:-1])
        yield from (quote(text), quote(text, safe=""), quote_plus(text))


def set_up_logging(style: LogFormat, level: str, secrets: Secrets, stream: TextIO | None = None) -> None:
    """Sends all records of `level` and above to the stream (standard error), in one format."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(_Json(secrets) if style == "json" else _Text(secrets))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.captureWarnings(True)
    for chatty in ("slack_sdk", "aiosmtplib", "asyncio"):
        logging.getLogger(chatty).setLevel(max(logging.WARNING, logging.getLogger().level))


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    return {name: value for name, value in vars(record).items() if name not in _STANDARD and not name.startswith("_")}


class _Text(logging.Formatter):
    """`2026-01-01T00:00:00.000Z WARNING k2alert.collect: message key=value`."""

    def __init__(self, secrets: Secrets) -> None:
        super().__init__()
        self._secrets = secrets

    def format(self, record: logging.LogRecord) -> str:
        blot = self._secrets.blot  # before anything is put between quotes, which would spell it otherwise
        fields = "".join(f" {name}={_quoted(blot(str(value)))}" for name, value in _flat(_fields(record)))
        line = f"{_instant(record)} {record.levelname} {record.name}: {_one_line(blot(record.getMessage()))}{fields}"
        if record.exc_info:
            trace = blot(self.formatException(record.exc_info)).split("\n")
            line += "".join(_MARGIN + _one_line(text) for text in trace)
        return line


class _Json(logging.Formatter):
    """One JSON object a line: ts, level, logger, msg, the record's fields, and `trace` for an exception."""

    def __init__(self, secrets: Secrets) -> None:
        super().__init__()
        self._secrets = secrets

    def format(self, record: logging.LogRecord) -> str:
        known = {"ts": _instant(record), "level": record.levelname.lower(), "logger": record.name}
        line = {**known, "msg": record.getMessage(), **_fields(record)}
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        return json.dumps(self._blotted(line), ensure_ascii=True)

    def _blotted(self, value: Any) -> Any:
        """The value with every text in it blotted before JSON's own quotes are around it."""
        if value is None or isinstance(value, int | float):
            return value
        if isinstance(value, Mapping):
            return {str(name): self._blotted(each) for name, each in value.items()}
        if isinstance(value, list | tuple):
            return [self._blotted(each) for each in value]
        return self._secrets.blot(str(value))


def _flat(fields: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """A field that is a mapping, such as `labels`, as one field each: `labels.project`."""
    for name, value in fields.items():
        if isinstance(value, Mapping):
            yield from ((f"{name}.{inner}", each) for inner, each in value.items())
        else:
            yield name, value


def _quoted(value: str) -> str:
    text = _one_line(value)
    return json.dumps(text, ensure_ascii=False) if not text or set(text) & set(' "=') else text


def _one_line(text: str) -> str:
    return text.translate(_CONTROLS)


def _instant(record: logging.LogRecord) -> str:
    at = datetime.fromtimestamp(record.created, UTC)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
