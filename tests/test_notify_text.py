"""Text of others, and what servers say about waiting."""

from datetime import timedelta

import pytest

from k2alert.model import Refused, Retry, Sent
from k2alert.notify import email, joint, slack
from k2alert.notify.text import clean, safe_url
from tests.support.notified import T0

HOSTILE = {
    "mention of all": "<!channel> <!here>",
    "mention of one": "<@U024BE7LH> <#C024BE7LR>",
    "link": "<https://evil.test|click here>",
    "bare link": "see https://evil.test/x and www.evil.test",
    "html": "<img src=x onerror=alert(1)><script>x</script>",
    "header": "main\r\nBcc: everyone@evil.test\r\n\r\nhello",
    "reading direction": "main\u202egnp.exe\u2066\u200b",
    "control marks": "a\x00b\x1b[31mc\x7f\x85\u2028d",
    "surrogate": "a\ud800b",
    "long": "x" * 10_000,
    "template": "{{ 7 * 7 }}{% raw %}",
    "ampersand": "a&b &lt; &amp;",
    "blank": " \t\n ",
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_cleaned_text_is_one_short_visible_line_without_links(text: str) -> None:
    shown = clean(text)
    assert len(shown) <= 310
    assert shown.encode("utf-8").decode("utf-8") == shown
    assert shown.replace("\u2060", "").isprintable()
    assert "://" not in shown
    assert "www.evil" not in shown


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_slack_sees_no_markup_in_it(text: str) -> None:
    shown = slack.escape(text)
    assert "<" not in shown
    assert ">" not in shown
    assert all(rest.startswith(("amp;", "lt;", "gt;")) for rest in shown.split("&")[1:])


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_html_sees_no_markup_in_it(text: str) -> None:
    assert not set(email.escape_html(text)) & set("<>\"'")


def test_ordinary_names_stay_as_they_are() -> None:
    for name in ("feature/ü-日本-é", "release/1.2", "Fix flaky test (#12)", "a_b*c~d"):
        assert clean(name) == name


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://gitlab.test/a/b/-/jobs/1?x=1&y=2#L3", "https://gitlab.test/a/b/-/jobs/1?x=1&y=2#L3"),
        ("https://gitlab.test/a|b>c<d e\"'", "https://gitlab.test/a%7Cb%3Ec%3Cd%20e%22%27"),
        ("https://gitlab.test/\r\nx", "https://gitlab.test/x"),
        ("javascript:alert(1)", ""),
        ("data:text/html,x", ""),
        ("https://", ""),
        ("http://[bad", ""),
        ("", ""),
        ("https://gitlab.test/" + "x" * 1000, ""),
    ],
)
def test_urls_end_where_we_say(url: str, shown: str) -> None:
    found = safe_url(url)
    assert found == shown or (found.startswith("https://gitlab.test/") and found.replace("%0D%0A", "") == shown)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("30", 30),
        ("1.5", 1.5),
        ("Mon, 05 Jan 2026 10:02:00 GMT", 120),
        ("Mon, 05 Jan 2026 09:00:00 GMT", 0),
        ("soon", None),
        (f"Mon, 05 Jan 2026 10:02:00 +{'9' * 30}", None),
        ("-1", None),
        ("inf", None),
        ("", None),
        (None, None),
    ],
)
def test_retry_after_is_seconds_or_a_date(value: str | None, seconds: float | None) -> None:
    expected = None if seconds is None else timedelta(seconds=seconds)
    assert joint.retry_after(value, now=T0) == expected


def test_deliveries_to_several_addresses_become_one() -> None:
    took, later, never = Sent({"a": "m"}), Retry("503", timedelta(seconds=9)), Refused("404")
    assert joint.join({"a": took, "b": took}) == Sent({"a": "m"})
    assert joint.join({"a": took, "b": later}) == Retry("503", timedelta(seconds=9), "other", {"a": "m"})
    assert joint.join({"a": took, "b": never}) == Sent({"a": "m"}, "404")
    assert joint.join({"a": never, "b": never}) == Refused("404; 404")
    assert joint.join({"a": never, "b": later}) == Retry("503", timedelta(seconds=9))
