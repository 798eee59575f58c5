"""Lines as plain text: for mail's text part, and for the annotations that machines are sent."""

from k2alert.notify.details import details
from k2alert.notify.message import Item, Line, Span
from k2alert.notify.text import clean, safe_url, spaced

__all__ = ["plain_details", "plain_line"]


def plain_line(line: Line) -> str:
    """The line with each URL in angle brackets behind its text (RFC 3986, appendix C)."""
    return "".join(map(_span, line))


def plain_details(item: Item) -> str:
    """What is behind the alert, a line for each thing."""
    return "\n".join(map(plain_line, details(item)))


def _span(span: Span) -> str:
    url = safe_url(span.url)
    text = spaced(span.text, clean)
    return f"{text} <{url}>" if url else text
