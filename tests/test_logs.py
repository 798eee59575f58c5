"""What is logged: one line a record, whatever names and texts are in it, and never a secret however it is spelled."""

import io
import json
import logging
from collections.abc import Callable, Iterator
from urllib.parse import quote

import pytest

from k2alert.logs import LogFormat, Secrets, set_up_logging

Logged = Callable[[LogFormat, Callable[[logging.Logger], None]], str]

SECRETS = {
    "a word": "glpat-abcdefgh",
    "marks and umlauts": 'pä"ss\\wörd/+ &',
    "several lines": "-----BEGIN KEY-----\nMIIEvgIBADANBg\n-----END KEY-----",
    "a tab": "secret\tvalue",
}
STYLES: tuple[LogFormat, ...] = ("text", "json")


@pytest.fixture
def logged() -> Iterator[Logged]:
    """What is written of what a function logs, while these are the secrets."""
    root = logging.getLogger()
    before, level = root.handlers[:], root.level

    def run(style: LogFormat, work: Callable[[logging.Logger], None]) -> str:
        secrets, out = Secrets(), io.StringIO()
        secrets.replace(SECRETS.values())
        set_up_logging(style, "debug", secrets, out)
        work(logging.getLogger("k2alert.tested"))
        return out.getvalue()

    yield run
    logging.captureWarnings(False)
    root.handlers[:] = before
    root.setLevel(level)


def _raise(logger: logging.Logger, text: str) -> None:
    try:
        raise ValueError(text)
    except ValueError:
        logger.exception("it failed")


WAYS: dict[str, Callable[[logging.Logger, str], None]] = {
    "in the message": lambda logger, secret: logger.info("it is %s", secret),
    "as Python shows it": lambda logger, secret: logger.info("it is %r", [secret]),
    "in a URL": lambda logger, secret: logger.info("GET https://x.test/?token=%s&y", quote(secret, safe="")),
    "in a field": lambda logger, secret: logger.info("here", extra={"field": f"a {secret}", "labels": {"a": secret}}),
    "in a list": lambda logger, secret: logger.info("here", extra={"field": [secret], "odd": ValueError(secret)}),
    "in a trace": _raise,
    "in a trace, as Python shows it": lambda logger, secret: _raise(logger, f"bad {secret!r}"),
}


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("secret", SECRETS.values(), ids=SECRETS)
@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_a_secret_is_blotted_out_however_it_is_spelled(
    logged: Logged, style: LogFormat, secret: str, way: Callable[[logging.Logger, str], None]
) -> None:
    written = logged(style, lambda logger: way(logger, secret))
    assert "***" in written
    assert not [part for part in ("glpat", "wörd", "w\\u00f6rd", "MIIEvg", "tvalue", "\tvalue") if part in written]


@pytest.mark.parametrize("style", STYLES)
def test_no_text_of_others_begins_a_line_of_the_log(logged: Logged, style: LogFormat) -> None:
    forged = "x\n2026-01-01T00:00:00.000Z ERROR k2alert: forged\r\x1b[2J"

    def work(logger: logging.Logger) -> None:
        logger.info("see %s", forged, extra={"of": forged})
        _raise(logger, forged)

    written = logged(style, work)
    lines = [line for line in written.split("\n") if line and not line.startswith("    ")]
    assert len(lines) == 2
    assert not any(line.startswith("2026-01-01T00:00:00.000Z ERROR k2alert: forged") for line in lines)
    assert "\x1b" not in written
    assert "\r" not in written


def test_labels_are_fields_of_their_own_and_hide_none(logged: Logged) -> None:
    def work(logger: logging.Logger) -> None:
        logger.info("alert", extra={"labels": {"module": "m", "level": "l", "msg": "x"}})

    (line,) = logged("json", work).splitlines()
    said = json.loads(line)
    assert (said["level"], said["msg"]) == ("info", "alert")
    assert said["labels"] == {"module": "m", "level": "l", "msg": "x"}
    assert logged("text", work).endswith("alert labels.module=m labels.level=l labels.msg=x\n")
