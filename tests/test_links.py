"""The addresses of the status page."""

import pytest

from k2alert import links

KEY = "0123456789abcdef"


@pytest.mark.parametrize(
    ("url", "wanted"),
    [
        (links.alert_url("https://k2.example.com/ci/", KEY), f"https://k2.example.com/ci/alerts/{KEY}"),
        (links.alert_url("", KEY), f"/alerts/{KEY}"),
        (links.alert_url("..", KEY), f"../alerts/{KEY}"),
        (links.alert_url("", "../x?y"), "/alerts/..%2Fx%3Fy"),
        (links.rule_url("", "main is/red"), "/rules/main%20is%2Fred"),
        (links.rule_url("", "red", [("project", "a/b&c")]), "/rules/red?project=a%2Fb%26c"),
        (links.alerts_url(""), "/"),
        (links.alerts_url(".", ['team="x y"']), "./?filter=team%3D%22x+y%22"),
        (links.new_silence_url("https://k2", KEY), f"https://k2/silences/new?alert={KEY}"),
        (links.silences_url(""), "/silences"),
        (links.sources_url(""), "/sources"),
        (links.flaky_url(""), "/flaky"),
        (links.notifications_url("https://k2"), "https://k2/notifications"),
    ],
)
def test_an_address_is_whole_and_holds_no_more_than_it_was_given(url: str, wanted: str) -> None:
    assert url == wanted
