"""The terminal shows messages as people would see them, and nothing of a message can act on the terminal."""

import re
from email.message import EmailMessage
from typing import Any

import pytest

from k2alert.rehearse.slack_standin import SlackPost
from k2alert.rehearse.terminal import Terminal


def post(text: str, *sections: str, **more: Any) -> SlackPost:
    blocks = [{"type": "section", "text": {"type": "mrkdwn", "text": section}} for section in sections]
    body = {"text": text, "attachments": [{"color": "#2e9e5b", "blocks": blocks}] if blocks else []}
    return SlackPost(channel="#ci", ts="1.0", body=body, **more)


def shown(message: SlackPost, **how: Any) -> list[str]:
    lines: list[str] = []
    Terminal(lines.append, **how).show_post(message, "+3 s")
    return lines


def plain(line: str) -> str:
    return re.sub(r"\x1b\]8;;[^\x1b]*\x1b\\|\x1b\[[0-9;]*m", "", line)


def test_a_pipe_gets_whole_lines_with_links_written_out() -> None:
    assert shown(post("*[FIRING:1]* red", "see <https://ci.example/1|#1> &amp; more\nsecond"))[1:] == [
        "  [FIRING:1] red",
        "  ▌ see #1 <https://ci.example/1> & more",
        "  ▌ second",
        "",
    ]


def test_a_terminal_gets_colours_and_links() -> None:
    lines = shown(post("*bold* plain", "<https://ci.example/1|#1>"), styled=True, width=80)
    assert "\x1b[1mbold" in lines[1]
    assert "\x1b[38;2;46;158;91m▌" in lines[2]
    assert "\x1b]8;;https://ci.example/1\x1b\\" in lines[2]
    assert [plain(line) for line in lines[1:]] == ["  bold plain", "  ▌ #1", ""]


@pytest.mark.parametrize(
    ("more", "said"),
    [({}, "new message"), ({"edits": 1}, "edited"), ({"thread": "1.0"}, "in the thread")],
    ids=["new", "edited", "thread"],
)
def test_the_first_line_says_what_became_of_the_message(more: dict[str, Any], said: str) -> None:
    assert shown(post("x", **more))[0].startswith(f"── Slack #ci · {said} · +3 s ──")


def test_lines_are_folded_behind_the_bar_and_nothing_is_lost() -> None:
    text = "Some words and a very long one: " + "x" * 100
    lines = [plain(line) for line in shown(post("x", text), styled=True, width=40)[2:-1]]
    assert all(len(line) <= 40 and line.startswith("  ▌ ") for line in lines)
    assert "".join(line.removeprefix("  ▌ ") for line in lines).replace(" ", "") == text.replace(" ", "")


@pytest.mark.parametrize("styled", [True, False])
def test_control_characters_of_a_message_never_reach_the_terminal(styled: bool) -> None:
    evil = "a\x1b]0;owned\x07b\x1b[2Jc\r\u202ed\u009b"
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = "ci@example.com", "a@example.com", "s"
    mail.set_content(evil)
    lines = shown(post(evil, f"{evil} <https://ci.example/\x1b\\|{evil}>"), styled=styled, width=60)
    Terminal(lines.append, styled=styled, width=60).show_mail(mail, "+1 s")
    assert not [line for line in lines if re.search(r"[\x00-\x1f\x7f-\x9f\u202e]", plain(line))]


def test_a_mail_shows_its_headers_and_its_text() -> None:
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = "k2alert <ci@example.com>", "shop@example.com", "[FIRING:1] red"
    mail.set_content("one\n\ntwo\n")
    mail.add_alternative("<p>not shown</p>", subtype="html")
    lines: list[str] = []
    Terminal(lines.append).show_mail(mail, "+9 s")
    assert lines[0].startswith("── Mail to shop@example.com · new mail · +9 s ──")
    assert lines[1:] == [
        "  From: k2alert <ci@example.com>",
        "  Subject: [FIRING:1] red",
        "  │ one",
        "  │",
        "  │ two",
        "",
    ]
