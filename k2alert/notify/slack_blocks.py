"""What Slack shows: a `Message` comes in, the payload of a post goes out.

A header, and below it one attachment, for only attachments have a colour: a table of facts, the rule's own words, the
evidence, and links as buttons. `text` is for notifications and for readers without blocks. Limits:
https://docs.slack.dev/reference/block-kit/blocks/section-block (3000 characters, 10 fields of 2000),
https://docs.slack.dev/reference/block-kit/blocks/header-block (150), 50 blocks, and about 13,000 characters in all,
which is observed, not documented (slackapi/bolt-js#2509).
"""

import re
from collections.abc import Iterable, Iterator
from typing import Any

from k2alert.model import Severity
from k2alert.notify.details import details, digest_line, ways
from k2alert.notify.dues import Kind
from k2alert.notify.message import (
    Item,
    Line,
    Message,
    Span,
    facts,
    heading,
    headline,
    list_line,
    news_lines,
    rule_counts,
    stem,
    subject,
    summary,
)
from k2alert.notify.text import clean, cut, safe_url, spaced

__all__ = ["build", "build_reply", "escape"]

_SECTION = 3000
_FIELD = 400
_HEADER = 150
_BLOCKS = 45  # of Slack's 50: the header and the last two are ours
_TOTAL = 11_000
_LISTED = 10_000  # of them, what the lines of a list may take
_REPLY_LINES = 10
_COLOURS = {Severity.CRITICAL: "#d00000", Severity.WARNING: "#e8a317", Severity.INFO: "#3a86c8"}
_SIGNS = {Severity.CRITICAL: "🔴", Severity.WARNING: "🟠", Severity.INFO: "🔵"}
_RESOLVED, _CLOSED = "#2e9e5b", "#8a8f98"
_CUT_MARKUP = re.compile(r"(&[a-z]*|<[^<>]*)$")
# https://docs.slack.dev/messaging/formatting-message-text: what makes text bold, struck or code. Slack knows no escape
# for these, so they become letters that look alike. An underscore inside of a word does nothing and stays.
_MARKS = str.maketrans({"*": "∗", "~": "∼", "`": "ˋ"})
_BRACKETS = str.maketrans({"<": "‹", ">": "›"})
_UNDERSCORE = re.compile(r"(?<![^\W_])_+|_+(?![^\W_])")
_EMOJI = re.compile(r":(?=[\w+'-]+:)")


def escape(text: str) -> str:
    """Text of others as Slack's mrkdwn: one line in which nothing is a mention, a link, an emoji or a mark.

    https://docs.slack.dev/messaging/formatting-message-text#escaping
    """
    return _escape(clean(text))


def build(message: Message) -> dict[str, Any]:
    """The payload of the message as it is now."""
    text = f"*[{heading(message)}]* {_markup(summary(message))}"
    blocks = [*_within_limits(_body(message)), *_feet(message)]
    return {
        "text": text,
        "blocks": [{"type": "header", "text": _plain(_title(message), _HEADER)}],
        "attachments": [{"color": _colour(message), "fallback": text, "blocks": blocks}] if blocks else [],
        "unfurl_links": False,
        "unfurl_media": False,
    }


def build_reply(message: Message) -> dict[str, Any] | None:
    """What is said in the thread when the message is edited: what changed. None where the edit says enough."""
    lines = [
        f"*{_reply_word(message, state)}* {_markup(line)}"
        for state, line in news_lines(message)
        if _is_said_in_thread(message, state)
    ]
    if not lines:
        return None
    more = [f"and {len(lines) - _REPLY_LINES} more"] if len(lines) > _REPLY_LINES else []
    text = "\n".join(_packed([*lines[:_REPLY_LINES], *more])[:1])
    return {"text": text, "blocks": [_section(text)], "unfurl_links": False, "unfurl_media": False}


def _is_said_in_thread(message: Message, state: str) -> bool:
    """Ends that are no recovery are only edited (contract §6), and an edited list shows its new alerts itself."""
    if message.kind in (Kind.FIRING, Kind.CLOSED):
        return False
    return not (message.kind is Kind.LIST and state == "firing") and state != "closed"


def _reply_word(message: Message, state: str) -> str:
    return "Still firing:" if message.kind is Kind.REPEAT else f"{state.capitalize()}:"


# ------------------------------------------------------------------------------------------- the parts


def _title(message: Message) -> str:
    """`🔴 FIRING · main_is_red · k2/app`; how many, where it is not one."""
    state = heading(message).removesuffix(":1").replace(":", " ")
    sign = _SIGNS[message.severity] if message.firing else "⚪" if message.closed else "🟢"
    alone = message.alone
    about = stem(message) if alone is None else f"{alone.alert.rule} · {subject(alone.alert)}"
    return f"{sign} {state} · {clean(about)}"


def _body(message: Message) -> Iterator[dict[str, Any]]:
    if message.is_list:
        lines = _list_lines(message)
        counts = [escape(rule_counts(message))] if message.unshown else []
        yield from map(_section, _packed([f"*{_markup(summary(message))}*", *counts, *lines]))
    else:
        for item in message.items:
            yield from _item(item, message)
    if message.more:
        yield _section(f"and {message.more:,} more alerts")


def _list_lines(message: Message) -> list[str]:
    """A line for each alert; in a digest with what failed, as far as that fits."""

    def line(item: Item, shown: Line) -> str:
        return f"• *{message.states[item.alert.key]}* {_markup(shown)}"

    lines = [line(item, list_line(item, message)) for item in message.items]
    if message.kind is not Kind.DIGEST:
        return lines
    left = _LISTED - sum(map(len, lines))
    for place, item in enumerate(message.items):
        whole = line(item, digest_line(item, message))
        if len(whole) - len(lines[place]) <= left:
            left -= len(whole) - len(lines[place])
            lines[place] = whole
    return lines


def _item(item: Item, message: Message) -> Iterator[dict[str, Any]]:
    if message.alone is None:
        yield _section(f"*{message.states[item.alert.key]}* {_markup(headline(item, message))}")
    else:
        yield _table(item, message)
    # The rule's text may mention people: an end that is no recovery pings nobody (contract §6).
    if item.text.strip() and message.kind is not Kind.CLOSED:
        yield _section(_cut(item.text.strip()))
    yield from map(_section, _packed(f"• {_markup(line)}" for line in details(item)))


def _table(item: Item, message: Message) -> dict[str, Any]:
    """The facts, two in a row."""
    shown = [f"*{name}*\n{_markup((Span(cut(text, _FIELD)),))}" for name, text in facts(item, message)]
    return {"type": "section", "fields": [_mrkdwn(field) for field in shown[:10]]}


def _feet(message: Message) -> Iterator[dict[str, Any]]:
    """Who is told and since when, and where to go from here."""
    words = [f"severity {message.severity.value}", f"receiver {clean(message.receiver)}"]
    source = message.group_labels.get("source")
    words += [f"source {clean(source)}"] if source else []
    yield {"type": "context", "elements": [_plain(" · ".join(words), _SECTION)]}
    buttons = [_button(text, url) for text, url in ways(message)]
    if buttons:
        yield {"type": "actions", "elements": buttons}


def _button(text: str, url: str) -> dict[str, Any]:
    """A button that is nothing but a link: nobody has to answer a click."""
    return {"type": "button", "text": _plain(text, 75), "url": safe_url(url), "action_id": f"open-{text.lower()}"}


# ------------------------------------------------------------------------------------ blocks and limits


def _packed(lines: Iterable[str]) -> list[str]:
    """Lines joined into as few sections as hold them."""
    packed: list[str] = []
    for line in lines:
        if packed and len(packed[-1]) + 1 + len(line) <= _SECTION:
            packed[-1] += f"\n{line}"
        else:
            packed.append(line)
    return packed


def _within_limits(blocks: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    left = _TOTAL
    for position, block in enumerate(blocks):
        size = _size(block)
        if position == _BLOCKS - 1 or size > left:
            yield _section("… and more than fits here")
            return
        left -= size
        yield block


def _size(block: dict[str, Any]) -> int:
    texts = block.get("fields") or [block["text"]]
    return sum(len(text["text"]) for text in texts)


def _section(text: str) -> dict[str, Any]:
    return {"type": "section", "text": _mrkdwn(text)}


def _mrkdwn(text: str) -> dict[str, Any]:
    # verbatim: plain text stays plain, only explicit markup is a link or a mention.
    return {"type": "mrkdwn", "text": text, "verbatim": True}


def _plain(text: str, longest: int) -> dict[str, Any]:
    """Text that Slack shows as it is; without angle brackets all the same, for the sake of other readers of it."""
    return {"type": "plain_text", "text": cut(text.translate(_BRACKETS), longest), "emoji": False}


# ------------------------------------------------------------------------------------------- the markup


def _markup(line: Line) -> str:
    """The line as mrkdwn; without its links where it would not fit a section."""
    text = "".join(_span(span) for span in line)
    return text if len(text) < _SECTION - 2 else _cut(escape("".join(span.text for span in line)))


def _span(span: Span) -> str:
    url = safe_url(span.url)
    text = _escape(spaced(span.text))
    return f"<{_quoted(url)}|{text.strip() or 'link'}>" if url else text


def _escape(text: str) -> str:
    return _EMOJI.sub(":\u2060", _UNDERSCORE.sub(_low_line, _quoted(text).translate(_MARKS)))


def _low_line(found: re.Match[str]) -> str:
    return "ˍ" * len(found[0])


def _quoted(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _cut(text: str) -> str:
    """An author's markup, cut where it is too long, but never inside of an entity or a link."""
    if len(text) <= _SECTION:
        return text
    return _CUT_MARKUP.sub("", text[: _SECTION - 1]) + "…"


def _colour(message: Message) -> str:
    if message.firing:
        return _COLOURS[message.severity]
    return _CLOSED if message.closed else _RESOLVED
