"""The status page: what it shows, who may see it, and who may change anything by its forms."""

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from k2alert.expose.access import COOKIE
from k2alert.expose.cards import PER_PAGE, alerts_of, grounds_of, index_of, page_of, wants
from k2alert.expose.drawing import draw
from k2alert.labels import Labels
from k2alert.model import Curve, CurvePoint, Severity, TellingQuery
from tests.test_expose_server import A_FLAKY_TEST, FINDING, FIRING, HOSTILE, RULE, TOLD, Text, serving, snapshot

T0 = datetime(2026, 1, 1, tzinfo=UTC)
HTML = {"Accept": "text/html"}
PAGES = (
    "/",
    f"/alerts/{FIRING.key}",
    "/rules",
    "/rules/rate_low",
    "/sources",
    "/flaky",
    "/silences",
    f"/silences/new?alert={FIRING.key}",
    "/notifications",
    "/sign-in",
)


@pytest.mark.parametrize("path", PAGES)
async def test_a_page_holds_no_markup_and_no_direction_marks_of_others_and_allows_no_script(path: str) -> None:
    async with serving() as (_, session):
        answer = await session.get(path, headers=HTML)
        text = await answer.text()

    assert (answer.status, answer.content_type, answer.headers["Cache-Control"]) == (200, "text/html", "no-store")
    assert "<script" not in text
    assert "\u202e" not in text
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "script-src" not in policy


@pytest.mark.parametrize(
    ("path", "status"), [("/nope", 404), ("/rules/nope", 404), ("/alerts/%3Cb%3E", 404), ("/style/old.css", 404)]
)
async def test_a_page_that_is_not_there_says_so_to_people_as_a_page(path: str, status: int) -> None:
    async with serving() as (_, session):
        answer = await session.get(path, headers=HTML)
        for_programs = await session.get(path)

    assert (answer.status, answer.content_type) == (status, "text/html")
    assert (for_programs.status, for_programs.content_type) == (status, "application/json")


@pytest.mark.parametrize(
    "query", ["page=0", "page=99999999", "page=x", "state=nope", "filter=a%3D%7B", "filter=%3D~(", "span=1y"]
)
async def test_a_strange_query_is_no_error(query: str) -> None:
    async with serving() as (_, session):
        assert (await session.get(f"/?{query}", headers=HTML)).status == 200
        assert (await session.get(f"/rules/rate_low?{query}", headers=HTML)).status == 200


async def test_who_may_not_read_signs_in_and_comes_back() -> None:
    async with serving() as (server, session):
        server.read, server.admin = "reader", "admin"
        asked = await session.get("/rules/rate_low?span=7d", headers=HTML, allow_redirects=False)
        wrong = await session.post("/sign-in", data={"token": "nope", "next": ""}, headers=HTML)
        right = await session.post(
            "/sign-in", data={"token": "reader", "next": "rules/rate_low"}, allow_redirects=False
        )
        cookie = right.headers["Set-Cookie"]
        session.cookie_jar.clear()
        signed = {"Cookie": f"{COOKIE}={right.cookies[COOKIE].value}", **HTML}
        seen = await session.get("/", headers=signed)
        forged = await session.get("/", headers={"Cookie": f"{COOKIE}=9999999999.x.00", **HTML}, allow_redirects=False)
        writes = await session.get("/silences/new", headers=signed, allow_redirects=False)
        server.read = "another"
        after = await session.get("/", headers=signed, allow_redirects=False)

    assert (asked.status, asked.headers["Location"]) == (303, "../sign-in?next=rules%2Frate_low%3Fspan%3D7d")
    assert (wrong.status, right.status, right.headers["Location"]) == (401, 303, "./rules/rate_low")
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert "reader" not in cookie
    assert [one.status for one in (seen, forged, writes, after)] == [200, 303, 303, 303]


@pytest.mark.parametrize("back", ["//evil.example", "https://evil.example", "/\\evil.example", "..//evil.example"])
async def test_nobody_is_sent_elsewhere_after_signing_in(back: str) -> None:
    async with serving() as (server, session):
        server.admin = "admin"
        answer = await session.post("/sign-in", data={"token": "admin", "next": back}, allow_redirects=False)

    assert answer.headers["Location"] == "./"


POSTS: dict[str, tuple[bool, dict[str, str], bool, int]] = {
    "a form of ours is taken, as far as the store is there": (True, {}, True, 503),
    "one without its word is not": (True, {}, False, 403),
    "nor one from another site": (True, {"Origin": "https://evil.example"}, True, 403),
    "nor from a page that hides where it is": (True, {"Origin": "null"}, True, 403),
    "nor one that the browser says is from another site": (True, {"Sec-Fetch-Site": "cross-site"}, True, 403),
    "nor by a name of its own for loopback": (True, {"Host": "evil.example"}, True, 403),
    "nor from elsewhere than this machine": (False, {}, True, 403),
}


@pytest.mark.parametrize(("loopback", "headers", "word", "status"), POSTS.values(), ids=POSTS)
async def test_only_our_own_forms_change_anything(
    loopback: bool, headers: dict[str, str], word: bool, status: int
) -> None:
    async with serving(loopback=loopback) as (_, session):
        page = await (await session.get("/sign-in", headers=HTML)).text()
        shown = await (await session.get("/silences/new", headers=HTML)).text()
        found = re.search(r'name="word" value="([0-9a-f]+)"', shown)
        assert page
        given = found[1] if found is not None and word else ""
        answer = await session.post("/silences/expire", data={"id": "nope", "word": given}, headers={**HTML, **headers})

    assert answer.status == status


@pytest.mark.parametrize(
    ("texts", "matches"),
    [
        ([], True),
        (['project="k2/app"'], True),
        (['project="k2/app", team!="x"'], True),
        (['project=~"k2/(app|b,c)"'], True),
        (["K2/"], True),
        (['team="x"'], False),
        (["nobody"], False),
    ],
)
def test_the_search_field_takes_matchers_and_words(texts: list[str], matches: bool) -> None:
    assert wants(texts)({"project": "k2/app"}) is matches


async def test_what_was_sent_is_shown_with_its_alerts_and_how_it_went_and_read_on_by_number() -> None:
    async with serving() as (server, session):
        server.tellings = [replace(TOLD, id=1000 - number) for number in range(PER_PAGE)]
        first = await (await session.get("/notifications?receiver=team", headers=HTML)).text()
        assert server.query == TellingQuery(limit=PER_PAGE, receiver="team")
        await session.get("/notifications?before=951&alert=a&incident=i", headers=HTML)
        assert server.query == TellingQuery(limit=PER_PAGE, before=951, alert="a", incident="i")
        strange = [(await session.get(f"/notifications?before={text}", headers=HTML)).status for text in STRANGE]

    assert "Slack answered 503" in first
    assert "failed, tried again" in first
    assert 'href="?receiver=team&amp;before=951"' in first
    assert f'href="./alerts/{FIRING.key}"' in first
    assert "<script>alert" not in first
    assert set(strange) == {200}


STRANGE = ("-1", "x", "9" * 40, "%00", "1%0d%0a")


NOTHING: dict[str, Any] = {
    **{"tests": [], "deployments": [], "runs": [], "firstFailing": None, "lastGreen": None, "compareUrl": ""},
    **{"faults": 12, "samples": 1840, "before": None, "owner": ""},
}
ROW = {
    **dict.fromkeys(("id", "branch", "workflow", "sha", "title", "suite", "test", "job", "message"), HOSTILE),
    **dict.fromkeys(("environment", "name", "stage", "reason"), HOSTILE),
    **{"finishedAt": "2026-01-01T00:00:00.123Z", "result": "failure", "url": "javascript:alert(1)"},
}
GROUNDS: dict[str, tuple[dict[str, Any], int]] = {
    "runs with their jobs": ({"runs": [{**ROW, "jobs": [ROW] * 12}], "firstFailing": ROW, "lastGreen": ROW}, 11),
    "tests": ({"tests": [ROW] * 10, "runs": [{**ROW, "jobs": []}]}, 2),
    "deployments": ({"deployments": [ROW] * 10}, 2),
}


@pytest.mark.parametrize(("of", "more"), GROUNDS.values(), ids=GROUNDS)
async def test_what_did_it_is_shown_escaped_whatever_it_is_and_how_much_more_there_is(
    of: dict[str, Any], more: int
) -> None:
    figure = {"name": "x", "shown": "12 runs", "window": "24h", "samples": 1840, "missing": None}
    one = {
        "labels": dict(FIRING.labels),
        "why": {"text": "the condition holds since 2026-01-01T00:00:00.123Z"},
        "values": [{**figure, "evidence": {**NOTHING, **of}}],
    }
    async with serving() as (server, session):
        server.explanations = [one]
        page = await (await session.get(f"/alerts/{FIRING.key}", headers=HTML)).text()

    shown = page.partition("What did it")[2]
    assert f"and {more} more" in shown
    assert shown.count("&lt;script&gt;") >= 10
    assert "12 of 1,840" in page
    assert "holds since 2026-01-01 00:00 UTC" in page
    assert not re.search(r"<script|javascript:|\u202e", page)


def test_who_is_not_heard_comes_after_who_is() -> None:
    loud = replace(FIRING, identity=Labels({"source": "b"}), severity=Severity.INFO)
    quiet = replace(FIRING, severity=Severity.CRITICAL)
    found = alerts_of(index_of(replace(snapshot(), alerts=[quiet, loud])), wants(()), {quiet.key})

    assert found == [loud, quiet]


@pytest.mark.parametrize(
    ("operator", "values", "worst"),
    [("<", [0.9, 0.5, None], 0.5), (">=", [1, 7, 3], 7), ("", [1, 2], None), ("==", [1, 2], None)],
)
def test_the_worst_value_of_a_rule_is_that_furthest_beyond_its_limit(
    operator: str, values: list[float | None], worst: float | None
) -> None:
    text = Text()
    text.operator = operator
    findings = [FINDING._replace(rule=replace(RULE, condition=text), value=value, threshold=2) for value in values]
    found = index_of(replace(snapshot(), findings=findings)).worst

    assert [finding.value for finding in found.values()] == ([worst] if worst is not None else [])


def test_evidence_that_several_values_share_is_shown_once() -> None:
    nothing = {"tests": [], "deployments": [], "runs": [], "firstFailing": None}
    one, other = ({**nothing, "runs": [{"id": number}]} for number in ("1", "2"))
    values = [{"name": name, "evidence": of} for name, of in zip("abcd", (one, nothing, one, other), strict=True)]

    assert [figure["name"] for figure in grounds_of({"values": values})] == ["a", "d"]
    assert grounds_of({}) == []


def test_a_page_of_a_list_is_the_nearest_there_is() -> None:
    found = [(page_of(range(120), number).number, len(page_of(range(120), number).items)) for number in (0, 1, 3, 9)]

    assert found == [(1, 50), (1, 50), (3, 20), (3, 20)]


def test_a_curve_is_parted_where_there_is_no_data_and_shaded_where_it_fired() -> None:
    values = [1.0, 2.0, None, 4.0, None, 1.0, 1.0]
    points = tuple(CurvePoint(T0 + timedelta(hours=n), value, 3.0) for n, value in enumerate(values))
    drawn = draw(Curve(metric="x", points=points, incidents=((T0 + timedelta(hours=3), T0 + timedelta(hours=6)),)))

    assert drawn is not None
    assert (len(drawn.lines), len(drawn.dots), len(drawn.limits)) == (2, 1, 1)
    assert (drawn.bands, drawn.low, drawn.high) == (((360.0, 360.0),), 1.0, 4.0)
    assert draw(Curve(metric="x", points=())) is None


# ---------------------------------------------------------------------------------------------- flaky tests


async def test_flaky_tests_are_listed_with_how_often_they_fail_and_no_markup_of_theirs() -> None:
    async with serving() as (server, session):
        server.flaky_tests = [{**A_FLAKY_TEST}, {**A_FLAKY_TEST, "state": "recovered", "url": "https://ci.test/1"}]
        text = await (await session.get("/flaky", headers=HTML)).text()

    assert "3 of 42 (7.1 %)" in text
    assert "<script" not in text
    assert "\u202e" not in text
    assert "javascript:" not in text
    assert text.count('href="https://ci.test/1"') == 1
    assert text.count("badge is-pending") == text.count("badge is-ok") == 1


@pytest.mark.parametrize(
    ("query", "why_not", "status", "said"),
    [
        ("", None, 200, "No test is flaky"),
        ("?limit=x", None, 200, "not a number"),
        ("?project=a%3Cb", None, 200, "<code>a&lt;b</code>"),
        ("", "the store is down", 503, "the store is down"),
    ],
)
async def test_the_flaky_page_says_why_it_lists_nothing(
    query: str, why_not: str | None, status: int, said: str
) -> None:
    async with serving() as (server, session):
        server.why_not = why_not
        answer = await session.get(f"/flaky{query}", headers=HTML)
        text = await answer.text()

    assert answer.status == status
    assert said in text
