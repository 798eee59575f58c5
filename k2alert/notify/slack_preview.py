"""A page that looks roughly like Slack: a payload comes in, HTML goes out, to judge a message by before it is sent."""

import html
import re
from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["preview_of"]

_PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title><style>
:root {{ color-scheme: light dark; font: 15px/1.46 Lato, "Helvetica Neue", Arial, sans-serif }}
body {{ margin: 0; padding: 20px; max-width: 640px; overflow-wrap: anywhere }}
h1 {{ font-size: 18px; margin: 0 0 8px }}
.attachment {{ border-left: 4px solid; border-radius: 4px; padding: 2px 0 2px 12px }}
.attachment > * {{ margin: 0 0 10px; white-space: pre-line }}
.fields {{ display: grid; grid-template-columns: 1fr 1fr; gap: 8px 16px }}
.context {{ font-size: 13px; opacity: .7 }}
.actions a {{ display: inline-block; border: 1px solid; border-radius: 4px; padding: 4px 12px; margin-right: 8px;
  color: inherit; text-decoration: none; font-weight: bold; font-size: 13px }}
</style></head><body>
{body}
</body></html>
"""
# Links, and bold text; what else mrkdwn knows is shown as it is written.
_MARK = re.compile(r"<(?P<url>https?://[^|<>]+)(?:\|(?P<label>[^<>]*))?>|(?<!\w)\*(?P<bold>[^*\n]+)\*(?!\w)")


def preview_of(payload: Mapping[str, Any]) -> str:
    """The payload of a post as a page."""
    body = "\n".join(_body(payload))
    return _PAGE.format(title=html.escape(re.sub(r"[*<>]", "", str(payload.get("text", "")))), body=body)


def _body(payload: Mapping[str, Any]) -> Iterator[str]:
    yield from map(_block, payload.get("blocks", ()))
    for attachment in payload.get("attachments", ()):
        yield f'<div class="attachment" style="border-color:{html.escape(str(attachment["color"]))}">'
        yield from map(_block, attachment["blocks"])
        yield "</div>"


def _block(block: Mapping[str, Any]) -> str:
    if block["type"] == "header":
        return f"<h1>{_text(block['text'])}</h1>"
    if block["type"] == "context":
        return f'<div class="context">{" ".join(map(_text, block["elements"]))}</div>'
    if block["type"] == "actions":
        return f'<div class="actions">{"".join(map(_button, block["elements"]))}</div>'
    if "fields" in block:
        return f'<div class="fields">{"".join(f"<div>{_text(field)}</div>" for field in block["fields"])}</div>'
    return f"<div>{_text(block['text'])}</div>"


def _button(button: Mapping[str, Any]) -> str:
    return f'<a href="{html.escape(str(button["url"]))}">{_text(button["text"])}</a>'


def _text(text: Mapping[str, Any]) -> str:
    written = str(text["text"])
    if text["type"] == "plain_text":
        return html.escape(written)
    shown, end = [], 0
    for found in _MARK.finditer(written):
        shown += [_literal(written[end : found.start()]), _marked(found)]
        end = found.end()
    return "".join([*shown, _literal(written[end:])])


def _marked(found: re.Match[str]) -> str:
    if found["bold"] is not None:
        return f"<b>{_literal(found['bold'])}</b>"
    return f'<a href="{html.escape(html.unescape(found["url"]))}">{_literal(found["label"] or found["url"])}</a>'


def _literal(written: str) -> str:
    return html.escape(html.unescape(written))
