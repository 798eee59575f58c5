"""What a mail says: a `Message` comes in, its text and its HTML go out.

One column that a phone shows without zooming, styles inline for no reader keeps a style sheet, nothing fetched. Text
and background have no colours: the reader's light or dark theme chooses them; what is coloured reads well on both.
"""

import html
from collections.abc import Iterable, Iterator

from k2alert.model import Severity
from k2alert.notify.chart import Chart
from k2alert.notify.details import culprits, details, digest_line, links_of, turn, ways
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
    rule_counts,
    stem,
    subject,
    summary,
)
from k2alert.notify.plain import plain_line
from k2alert.notify.text import clean, safe_url, spaced

__all__ = ["escape_html", "html_of", "text_of"]

_COLOURS = {"firing": "#c92a2a", "resolved": "#2b8a3e", "closed": "#6c757d"}
_SEVERITIES = {Severity.CRITICAL: "#c92a2a", Severity.WARNING: "#a85400", Severity.INFO: "#1c6fb8"}
_PAGE = (
    '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
    '<meta name="viewport" content="width=device-width, initial-scale=1">'
    '<meta name="color-scheme" content="light dark"><meta name="supported-color-schemes" content="light dark">'
    "<title>{title}</title></head>\n"
    "<body style=\"margin:0;padding:16px;font:16px/1.45 -apple-system,BlinkMacSystemFont,'Segoe UI',Roboto,"
    'Helvetica,Arial,sans-serif;overflow-wrap:anywhere">\n<div style="max-width:600px;margin:0 auto">\n{body}\n</div>\n'
    "</body></html>\n"
)
_QUIET = "opacity:.72;font-size:14px"
_BUTTON = (
    "display:inline-block;margin:0 8px 8px 0;padding:8px 14px;border:1px solid currentColor;border-radius:6px;"
    "text-decoration:none;font-size:15px"
)


def escape_html(text: str) -> str:
    """Text of others in the HTML part."""
    return html.escape(clean(text))


# -------------------------------------------------------------------------------------------- text


def text_of(message: Message) -> str:
    """The text part."""
    counts = f"\n{clean(rule_counts(message))}" if message.unshown else ""
    blocks = [plain_line(summary(message)) + counts] if message.alone is None else []
    blocks += ["\n".join(_text_item(item, message)) for item in message.items]
    if message.more:
        blocks.append(f"and {message.more:,} more alerts")
    if message.is_list and len(blocks) > 1:
        blocks = [blocks[0], "\n".join(blocks[1:])]
    found = [f"{name}: {safe_url(url)}" for name, url in ways(message)]
    return "\n\n".join([*blocks, *(["\n".join(found)] if found else [])]) + "\n"


def _text_item(item: Item, message: Message) -> Iterator[str]:
    is_list = message.is_list
    yield f"{message.states[item.alert.key].upper()} {plain_line(_line(item, message))}"
    if is_list:
        return
    if item.text.strip():
        yield item.text.strip()
    if item.owner:
        yield f"- owner: {clean(item.owner)}"
    for one in details(item):
        yield f"- {plain_line(one)}"


def _line(item: Item, message: Message) -> Line:
    """One alert among others, in a line."""
    if message.kind is Kind.DIGEST:
        return digest_line(item, message)
    return list_line(item, message) if message.is_list else headline(item, message)


# -------------------------------------------------------------------------------------------- HTML


def html_of(message: Message, *, chart_url: str = "") -> str:
    """The HTML part. `chart_url` is where the first alert's chart is found, "" where there is none."""
    body = "\n".join(_body(message, chart_url))
    return _PAGE.format(title=html.escape(f"{heading(message)} {clean(stem(message))}"), body=body)


def _body(message: Message, chart_url: str) -> Iterator[str]:
    if message.alone is not None:
        yield from _alone(message.alone, message, chart_url)
    else:
        yield from _several(message)
    yield from _feet(message)


def _alone(item: Item, message: Message, chart_url: str) -> Iterator[str]:
    state = message.states[item.alert.key]
    severity = item.alert.severity
    colour = _SEVERITIES[severity] if state == "firing" else _COLOURS[state]
    yield f'<p style="margin:0 0 6px">{_badge(f"{state} · {severity.value}", colour)}</p>'
    yield f'<h1 style="margin:0;font-size:21px;line-height:1.25">{escape_html(item.alert.rule)}</h1>'
    yield f'<p style="margin:0 0 14px;{_QUIET}">{escape_html(subject(item.alert))}</p>'
    if item.html.strip():
        yield f'<p style="margin:0 0 16px;font-size:17px;white-space:pre-line">{item.html.strip()}</p>'
    yield from (_fact(name, text) for name, text in facts(item, message))
    if item.chart is not None and chart_url:
        yield from _chart(item.chart, chart_url)
    yield from _list("What did it", culprits(item.evidence))
    yield from _list("Where it turned", turn(item.evidence))


def _several(message: Message) -> Iterator[str]:
    state = "firing" if message.firing else "closed" if message.closed else "resolved"
    yield f'<p style="margin:0 0 6px">{_badge(heading(message), _COLOURS[state])}</p>'
    yield f'<h1 style="margin:0 0 12px;font-size:21px;line-height:1.25">{_html_line(summary(message))}</h1>'
    if message.unshown:
        yield f'<p style="margin:0 0 14px;{_QUIET}">{escape_html(rule_counts(message))}</p>'
    for item in message.items:
        yield "\n".join(_one_of(item, message))
    if message.more:
        yield f"<p>and {message.more:,} more alerts</p>"


def _one_of(item: Item, message: Message) -> Iterator[str]:
    """One alert among others, with a bar in the colour of its state."""
    is_list = message.is_list
    state = message.states[item.alert.key]
    size = "margin:0 0 8px;font-size:15px" if is_list else "margin:0 0 20px"
    yield f'<div style="border-left:4px solid {_COLOURS[state]};padding-left:12px;{size}">'
    yield f"<b>{state.upper()}</b> {_html_line(_line(item, message))}"
    if not is_list:
        if item.html.strip():
            yield f'<p style="margin:8px 0;white-space:pre-line">{item.html.strip()}</p>'
        yield from _bullets(details(item))
    yield "</div>"


def _badge(text: str, colour: str) -> str:
    return (
        f'<span style="display:inline-block;padding:3px 10px;border-radius:12px;background:{colour};'
        f'color:#fff;font-size:13px;font-weight:bold;letter-spacing:.04em">{html.escape(text.upper())}</span>'
    )


def _fact(name: str, text: str) -> str:
    """A name and what it is, beside each other; what needs a second line goes on below itself."""
    return (
        '<div style="margin:0 0 4px;padding-left:84px;text-indent:-84px">'
        f'<span style="display:inline-block;min-width:80px;text-indent:0;{_QUIET}">{html.escape(name)}'
        f"</span> <b>{escape_html(text)}</b></div>"
    )


def _chart(chart: Chart, url: str) -> Iterator[str]:
    about = f"{chart.title} over {chart.span}, from {chart.low_text} to {chart.high_text}"
    limit = f"; the dashed line is the threshold, {chart.threshold_text}" if chart.threshold_text else ""
    yield '<div style="margin:16px 0">'
    yield (
        f'<img src="{html.escape(url)}" alt="{escape_html(about + limit)}" width="600" '
        'style="display:block;width:100%;height:auto;border:0">'
    )
    yield f'<div style="{_QUIET}">{escape_html(about + limit)}</div>'
    yield "</div>"


def _list(title: str, lines: Iterable[Line]) -> Iterator[str]:
    shown = list(_bullets(lines))
    if shown:
        yield f'<h2 style="margin:18px 0 6px;font-size:15px">{html.escape(title)}</h2>'
        yield from shown


def _bullets(lines: Iterable[Line]) -> Iterator[str]:
    items = "\n".join(f'<li style="margin:0 0 6px">{_html_line(line)}</li>' for line in lines)
    if items:
        yield f'<ul style="margin:0;padding-left:1.2em">\n{items}\n</ul>'


def _feet(message: Message) -> Iterator[str]:
    """Where to go from here, and why this mail came."""
    alone = links_of(message.alone.annotations) if message.alone is not None else ()
    found = [*ways(message), *((line[0].text.capitalize(), line[0].url) for line in alone)]
    buttons = [
        f'<a href="{html.escape(safe_url(url))}" style="{_BUTTON}">{escape_html(name)}</a>'
        for name, url in found
        if safe_url(url)
    ]
    if buttons:
        yield f'<p style="margin:20px 0 8px">{" ".join(buttons)}</p>'
    source = message.group_labels.get("source", "")
    words = [f"receiver {message.receiver}", *([f"source {source}"] if source else [])]
    yield f'<p style="margin:12px 0 0;{_QUIET}">k2alert · {escape_html(" · ".join(words))}</p>'


def _html_line(line: Line) -> str:
    return "".join(map(_html_span, line))


def _html_span(span: Span) -> str:
    url = safe_url(span.url)
    text = spaced(span.text, escape_html)
    return f'<a href="{html.escape(url)}">{text or "link"}</a>' if url else text
