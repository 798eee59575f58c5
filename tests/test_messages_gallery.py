"""Every kind of message through every integration: whole, within limits, and deaf to what names would like to do."""

import json
import re
from email import message_from_bytes, policy
from pathlib import Path

import pytest

from k2alert.notify import INTEGRATIONS
from k2alert.previews import Preview, write_files
from tests.support.gallery import BASE, gallery
from tests.support.slack import all_blocks, texts_of, wrong_payload

TAGS = frozenset(
    {
        *("!DOCTYPE", "html", "head", "meta", "title", "style", "body", "div", "span"),
        *("b", "h1", "h2", "p", "ul", "li", "a", "img"),
    }
)


STORM = 1_200
STORIES = (
    "firing",
    "changed",
    "repeat",
    "resolved",
    "closed",
    "no-data",
    "stale-source",
    "notifications-failing",
    "hostile",
    "digest",
    "storm",
)


@pytest.fixture(scope="module")
def files() -> tuple[Preview, ...]:
    return gallery(STORM)


def of(files: tuple[Preview, ...], part: str, ending: str) -> list[Preview]:
    found = [one for one in files if part in one.name and one.name.endswith(ending)]
    assert found
    return found


def test_every_integration_makes_files_of_every_kind_of_message(files: tuple[Preview, ...]) -> None:
    names = {one.name for one in files}
    assert len(names) == len(files)
    for story in (
        "firing",
        "changed",
        "repeat",
        "resolved",
        "closed",
        "no-data",
        "stale-source",
        "notifications-failing",
        "hostile",
        "digest",
        "storm",
    ):
        for kind in INTEGRATIONS:
            assert any(name.startswith(f"{story}-team-{kind}") for name in names), (story, kind)
    assert all(re.fullmatch(r"[A-Za-z0-9_.-]+", name) for name in names)


def test_no_payload_breaks_slacks_limits_and_none_speaks_to_anybody(files: tuple[Preview, ...]) -> None:
    for one in of(files, "slack", ".json"):
        payload = json.loads(one.content)
        assert wrong_payload(payload) == "", one.name
        written = "\n".join(text["text"] for block in all_blocks(payload) for text in texts_of(block))
        for markup in re.findall(r"<[^<>]*>", f"{payload['text']}\n{written}"):
            assert re.fullmatch(r"<https://(gitlab|wiki|k2alert)\.test[^|]*\|[^|]+>", markup), one.name


def test_pages_hold_no_markup_but_ours_and_fetch_nothing(files: tuple[Preview, ...]) -> None:
    for one in of(files, "-", ".html"):
        page = one.content.decode()
        assert {tag.split()[0].strip("</>") for tag in re.findall(r"<[^>]*>", page)} <= TAGS, one.name
        assert not re.search(r"\son\w+=", re.sub(r">[^<]*<", "><", page)), one.name
        for url in re.findall(r'(?:href|src)="([^"]*)"', page):
            assert re.match(r"https://(gitlab|wiki|k2alert)\.test|data:image/png;base64,", url), one.name


def test_mails_are_without_defects_and_have_no_header_of_others(files: tuple[Preview, ...]) -> None:
    for one in of(files, "email", ".eml"):
        mail = message_from_bytes(one.content, policy=policy.strict)
        assert "Bcc" not in mail
        assert set(mail) <= {
            *("Subject", "From", "To", "Date", "Message-ID", "In-Reply-To", "References", "Auto-Submitted", "List-Id"),
            *("X-K2Alert-State", "X-K2Alert-Severity", "X-K2Alert-Rule", "X-K2Alert-Fingerprint"),
            *("MIME-Version", "Content-Type"),
        }
        assert all(part.defects == [] for part in mail.walk())


def test_machines_get_every_alert_of_a_storm(files: tuple[Preview, ...]) -> None:
    (hook,) = of(files, "storm-team-webhook", ".json")
    (pushed,) = of(files, "storm-team-alertmanager", ".json")
    assert len(json.loads(hook.content)["alerts"]) == len(json.loads(pushed.content)) == STORM


def test_people_get_a_storm_in_a_bounded_list(files: tuple[Preview, ...]) -> None:
    for part in ("slack", "email"):
        for one in of(files, f"storm-team-{part}", ".html"):
            page = one.content.decode()
            assert "main_is_red 1,200" in page
            assert "and 1,170 more alerts" in page
            assert len(page) < 40_000


def test_a_digest_says_what_fires_and_what_ended(files: tuple[Preview, ...]) -> None:
    (page,) = of(files, "digest-team-email", ".txt")
    lines = page.content.decode().splitlines()
    assert lines[0] == "alerts for team: 3 firing, 2 resolved, 1 closed"
    assert [line.split()[0] for line in lines[2:8]] == ["FIRING"] * 3 + ["RESOLVED", "RESOLVED", "CLOSED"]
    (payload,) = of(files, "digest-team-slack", ".json")
    said = json.loads(payload.content)
    assert said["text"].startswith("*[DIGEST]* alerts for team: 3 firing")
    failed = "#7 <https://gitlab.test/k2/app/-/pipelines/1007> (test 3/20), #6"
    assert all(failed in line and line.endswith("and 10 more") for line in lines[2:8])
    link = "<https://gitlab.test/k2/app/-/pipelines/1007|#7> (test 3/20), <"
    assert sum(link in line for block in all_blocks(said) for text in texts_of(block) for line in [text["text"]])


def test_links_lead_to_the_pages_of_k2alert(files: tuple[Preview, ...]) -> None:
    (page,) = of(files, "firing-team-email", ".html")
    for path in ("/alerts/", "/silences/new?alert=", "/rules/pipeline_success_rate_low"):
        assert f'href="{BASE}{path}' in page.content.decode()


def test_files_are_written_into_a_folder_that_is_made(tmp_path: Path) -> None:
    paths = write_files((Preview("a.txt", b"1"), Preview("b.eml", b"2")), tmp_path / "new" / "folder")
    assert [path.read_bytes() for path in paths] == [b"1", b"2"]
