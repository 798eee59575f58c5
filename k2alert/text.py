"""Text that others wrote, made safe to show on one medium or another.

Names and titles come in from a forge, where anyone may push a branch with marks that turn the reading direction round,
or a link that is none. Out go visible characters, and URLs that end where they seem to.
"""

import unicodedata
from urllib.parse import quote, urlsplit

__all__ = ["cut", "safe_url", "visible"]

LONGEST_URL = 1000
# Categories of Unicode: control, format (bidi, zero width), surrogate, private, unassigned.
_DROPPED = frozenset({"Cc", "Cf", "Cs", "Co", "Cn"})
_SPACES = frozenset({"Zs", "Zl", "Zp"})


def visible(text: str, keep: str = "") -> str:
    """The text without characters that nobody sees, every kind of space as a plain one, those of `keep` as they are."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(char if char in keep else _visible(char) for char in text)


def cut(text: str, longest: int) -> str:
    """The text, or its beginning with "…" so that it has `longest` characters."""
    return text if len(text) <= longest else text[: max(0, longest - 1)].rstrip() + "…"


def safe_url(url: str) -> str:
    """The URL with everything percent-encoded that could end it early; "" if it is no http(s) URL to show."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    if parts.scheme not in ("http", "https") or not parts.netloc or len(url) > LONGEST_URL:
        return ""
    return quote(url, safe="%/:?#[]@!$&()*+,;=~")


def _visible(char: str) -> str:
    if char.isspace():
        return " "
    category = unicodedata.category(char)
    if category in _DROPPED:
        return ""
    return " " if category in _SPACES else char
