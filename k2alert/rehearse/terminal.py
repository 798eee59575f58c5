"""Shows in a terminal what Slack and a mail reader would show: payloads and mails come in, lines of text go out.

With colours where the terminal has them; links are links there (OSC 8), and written out where there is no terminal.
Control characters of whatever is shown never reach the terminal.
"""

import re
import textwrap
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from email.message import EmailMessage
from html import unescape
from typing import Any, NamedTuple

import click

from k2alert.rehearse.slack_standin import SlackPost

__all__ = ["Terminal"]

_MARK = re.compile(r"<(?P<url>https?://[^|<>]+)(?:\|(?P<label>[^<>]*))?>|(?<!\w)\*(?P<bold>[^*\n]+)\*(?!\w)")
_GREY = "#8a8f98"
_BAR = "▌"


class _Piece(NamedTuple):
    """Text of one kind."""

    text: str
    bold: bool = False
    url: str = ""


@dataclass(frozen=True, slots=True)
class Terminal:
    """Writes lines; `width` is where they are folded, None for never (a pipe); `styled`: colours and links."""

    write: Callable[[str], None]
    styled: bool = False
    width: int | None = None

    def say(self, text: str = "", *, bold: bool = False, colour: str = "") -> None:
        """A line of our own."""
        self.write(self._paint(_visible(text), bold=bold, colour=colour))

    def show_post(self, post: SlackPost, when: str) -> None:
        """A message of Slack that is new, was edited, or answers in a thread."""
        done = "in the thread" if post.thread else "edited" if post.edits else "new message"
        self._head(f"Slack {post.channel}", done, when)
        colour = next((str(each.get("color", "")) for each in _attachments(post.body)), "")
        self._fold(_pieces(str(post.body.get("text", ""))), "    " if post.thread else "  ")
        bar = "  " + self._paint(_BAR, colour=colour) + " "
        for text in _sections(post.body):
            for line in text.split("\n"):
                self._fold(_pieces(line), bar)
        self.write("")

    def show_mail(self, mail: EmailMessage, when: str) -> None:
        """A mail: its headers that readers show, and its text."""
        self._head(f"Mail to {mail['To']}", "new mail", when)
        for name in ("From", "Subject"):
            self._fold([_Piece(f"{name}: ", bold=True), _Piece(str(mail[name]), bold=name == "Subject")], "  ")
        body = mail.get_body(("plain",))
        text = body.get_content() if body is not None else ""
        bar = "  " + self._paint("│", colour=_GREY) + " "
        for line in text.rstrip("\n").split("\n"):
            self._fold([_Piece(line)], bar)
        self.write("")

    def _head(self, what: str, done: str, when: str) -> None:
        title = f"── {_visible(what)} · {done} · {when} "
        line = title + "─" * max(2, (self.width or 100) - len(title))
        self.write(self._paint(line, colour=_GREY))

    def _fold(self, pieces: list[_Piece], indent: str) -> None:
        """Writes the pieces behind the indent, on as many lines as the width asks for."""
        room = (self.width - 4) if self.width else None
        line, used = "", 0
        for piece in pieces:
            for word in _words(piece.text, room):
                if room is not None and used and used + len(word.rstrip()) > room:
                    self.write(indent + line.rstrip())
                    line, used = "", 0
                line += self._styled(word, piece)
                used += len(word)
            if piece.url and not self.styled:
                line += f" <{piece.url}>"
        self.write((indent + line).rstrip())

    def _styled(self, text: str, piece: _Piece) -> str:
        if not self.styled:
            return text
        if piece.url:
            shown = click.style(text, underline=True)
            return f"\x1b]8;;{piece.url}\x1b\\{shown}\x1b]8;;\x1b\\"
        return self._paint(text, bold=piece.bold)

    def _paint(self, text: str, *, bold: bool = False, colour: str = "") -> str:
        if not self.styled or not text or not (bold or colour):
            return text
        found = re.fullmatch(r"#([0-9a-f]{2})([0-9a-f]{2})([0-9a-f]{2})", colour)
        rgb = (int(found[1], 16), int(found[2], 16), int(found[3], 16)) if found else None
        return click.style(text, bold=bold or None, fg=rgb)


def _attachments(body: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return list(body.get("attachments", ()))


def _sections(body: Mapping[str, Any]) -> Iterator[str]:
    for attachment in _attachments(body):
        for block in attachment.get("blocks", ()):
            if block.get("type") == "section" and "text" in block:  # the first line has the facts, buttons are no text
                yield str(block["text"]["text"])


def _pieces(markup: str) -> list[_Piece]:
    """A line of Slack's mrkdwn: links, bold text, and the rest."""
    pieces, end = [], 0
    for found in _MARK.finditer(markup):
        pieces.append(_Piece(_plain(markup[end : found.start()])))
        if found["bold"] is not None:
            pieces.append(_Piece(_plain(found["bold"]), bold=True))
        else:
            url = _visible(unescape(found["url"]))
            pieces.append(_Piece(_plain(found["label"] or found["url"]), url=url))
        end = found.end()
    return [*pieces, _Piece(_plain(markup[end:]))]


def _plain(markup: str) -> str:
    return _visible(unescape(markup))


def _visible(text: str) -> str:
    return "".join(char for char in text if char.isprintable())


def _words(text: str, room: int | None) -> list[str]:
    """Words with the space behind them; those longer than the room in parts."""
    visible = _visible(text)
    if room is None:
        return [visible]
    words = re.findall(r"\s*\S+\s*", visible) or ([visible] if visible else [])
    return [part for word in words for part in (_parts(word, room) if len(word) > room else [word])]


def _parts(word: str, room: int) -> list[str]:
    return textwrap.wrap(word, room, drop_whitespace=False)
