"""Every oddity of a forge's answer, one line each."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from k2alert.collect.answers import one_line, read_answer, retry_after, worth_retrying
from k2alert.collect.flow import Failure, Response

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)
IN_30_S = str(int(NOW.timestamp()) + 30)
GITHUB_LIMIT = {"x-ratelimit-remaining": "0", "x-ratelimit-reset": IN_30_S}


def seconds(count: float | None) -> timedelta | None:
    return None if count is None else timedelta(seconds=count)


@pytest.mark.parametrize(
    ("status", "headers", "body", "reason", "wait"),
    [
        pytest.param(401, {}, b'{"message": "401 Unauthorized"}', "auth", None, id="a bad token"),
        pytest.param(403, {}, b'{"error": "insufficient_scope"}', "forbidden", None, id="a token that may not"),
        pytest.param(403, {"x-ratelimit-remaining": "12"}, b"{}", "forbidden", None, id="403 with requests left"),
        pytest.param(403, GITHUB_LIMIT, b"{}", "rate_limited", 31, id="GitHub's primary limit"),
        pytest.param(403, {"retry-after": "7"}, b"{}", "rate_limited", 7, id="GitHub's secondary limit"),
        pytest.param(
            403,
            {"x-ratelimit-remaining": "4000", "x-ratelimit-reset": IN_30_S},
            b'{"message": "You have exceeded a secondary rate limit"}',
            "rate_limited",
            60,
            id="a secondary limit without a time: the primary limit's reset is not asked",
        ),
        pytest.param(404, {}, b'{"message": "404 Project Not Found"}', "not_found", None, id="gone or hidden"),
        pytest.param(410, {}, b"", "not_found", None, id="gone for good"),
        pytest.param(422, {}, b'{"message": {"since": ["is bad"]}}', "client", None, id="our mistake"),
        pytest.param(429, {}, b"Retry later", "rate_limited", 60, id="GitLab's application limits"),
        pytest.param(429, {"retry-after": "9"}, b"Retry later", "rate_limited", 9, id="GitLab's throttle"),
        pytest.param(429, {"retry-after": "soon"}, b"", "rate_limited", 60, id="no time at all"),
        pytest.param(429, {"retry-after": "²"}, b"", "rate_limited", 60, id="no digit of ours"),
        pytest.param(429, {"retry-after": "9" * 400}, b"", "rate_limited", 60, id="no number to wait for"),
        pytest.param(429, {"retry-after": "-5"}, b"", "rate_limited", 60, id="a time before now"),
        pytest.param(500, {}, b"<html>", "server", None, id="a crash"),
        pytest.param(503, {"retry-after": "20"}, b"", "server", 20, id="maintenance"),
        pytest.param(599, {}, b"\xff", "server", None, id="a status nobody knows"),
        pytest.param(304, {}, b"", "client", None, id="what we did not ask"),
        pytest.param(200, {}, b"", "body", None, id="nothing"),
        pytest.param(200, {"content-type": "text/html"}, b"hello", "body", None, id="HTML by its type"),
        pytest.param(200, {}, b'{"a": [1, 2', "body", None, id="cut JSON"),
        pytest.param(200, {}, b"[" * 100_000, "body", None, id="a hundred thousand brackets"),
        pytest.param(200, {}, b'{"n": ' + b"9" * 5000 + b"}", "body", None, id="a number too long to be one"),
        pytest.param(200, {}, b"\xff\xfe\x00", "body", None, id="bytes that are no text"),
    ],
)
def test_what_is_no_answer_becomes_a_failure_with_its_reason(
    status: int, headers: dict[str, str], body: bytes, reason: str, wait: float | None
) -> None:
    failure = read_answer(status, headers, body, now=NOW)
    assert isinstance(failure, Failure)
    assert (failure.reason, failure.status, failure.retry_after) == (reason, status, seconds(wait))


def test_json_is_an_answer() -> None:
    assert read_answer(200, {"x": "y"}, b'[{"id": 1}]', now=NOW) == Response(200, {"x": "y"}, [{"id": 1}])


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"<html>", "404 Not Found"),
        (b"plain words", "404 Not Found: plain words"),
        (json.dumps({"message": {"ref": ["bad"]}}).encode(), '404 Not Found: {"ref": ["bad"]}'),
        (json.dumps({"error": "e", "error_description": "why"}).encode(), "404 Not Found: why"),
        (b"[1]", "404 Not Found"),
        (json.dumps({"message": "404 Project Not Found"}).encode(), "404 Project Not Found"),
    ],
)
def test_a_failure_says_what_the_server_said(body: bytes, words: str) -> None:
    failure = read_answer(404, {}, body, now=NOW)
    assert isinstance(failure, Failure)
    assert failure.detail == words


def test_html_is_named_as_such() -> None:
    failure = read_answer(200, {}, b"\n <!DOCTYPE html>", now=NOW)
    assert isinstance(failure, Failure)
    assert failure.detail == "200 with HTML (a login page or a proxy?) instead of JSON"


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({}, None),
        ({"retry-after": "0"}, 0),
        ({"retry-after": "Mon, 05 Jan 2026 12:00:42 GMT"}, 42),
        ({"retry-after": "Mon, 05 Jan 2026 12:00:42 -0000"}, 42),
        ({"retry-after": "Mon, 05 Jan 2026 11:00:00 GMT"}, 0),
        ({"retry-after": f"Mon, 05 Jan 2026 12:00:42 +{'9' * 30}"}, None),
        ({"ratelimit-remaining": "0", "ratelimit-reset": IN_30_S}, 31),
        ({"ratelimit-remaining": "5", "ratelimit-reset": IN_30_S}, None),
        ({"ratelimit-remaining": "0", "ratelimit-reset": "soon"}, None),
        ({"ratelimit-remaining": "0", "ratelimit-reset": "1"}, 0),
    ],
)
def test_the_forge_says_how_long_to_wait_in_several_ways(headers: dict[str, str], wait: float | None) -> None:
    assert retry_after(headers, now=NOW) == seconds(wait)


@pytest.mark.parametrize(
    ("failure", "again"),
    [
        (Failure("server", "", 500), True),
        (Failure("timeout", ""), True),
        (Failure("network", ""), True),
        (Failure("body", "cut", 200), True),
        (Failure("body", "the answer is too large"), False),
        (Failure("rate_limited", "", 429, timedelta(seconds=60)), True),
        (Failure("rate_limited", "", 429, timedelta(seconds=61)), False),
        (Failure("server", "", 503, timedelta(hours=1)), False),
        (Failure("auth", "", 401), False),
        (Failure("forbidden", "", 403), False),
        (Failure("not_found", "", 404), False),
        (Failure("client", "", 422), False),
    ],
)
def test_only_what_may_pass_within_a_minute_is_tried_again(failure: Failure, again: bool) -> None:
    assert worth_retrying(failure) is again


def test_foreign_text_becomes_one_short_line_without_queries() -> None:
    assert one_line("a\n\x1b[31mb\u202ec\t /x?token=1 d") == "a [31mb c /x d"
    assert len(one_line("x" * 10_000)) == 200
