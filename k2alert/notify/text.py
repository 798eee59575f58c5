"""Text that others wrote, made safe to show anywhere.

Names and titles come in from a forge, where anyone may push a branch called `<!channel>` or a title full of
marks that turn the reading direction round. Out goes one line of plain, visible characters of bounded length.
Each integration adds the escapes of its own markup on top.
"""

import unicodedata
from collections.abc import Callable
from urllib.parse import quote, urlsplit

__all__ = ["clean", "cut", "safe_url", "spaced"]

LONGEST_NAME = 300  # no branch or title needs more to be recognised; git's own limit for a ref is 255 bytes a part
LONGEST_URL = 1000
# Categories of Unicode: control, format (bidi, zero width), surrogate, private, unassigned.
_DROPPED = frozenset({"Cc", "Cf", "Cs", "Co", "Cn"})
_SPACES = frozenset({"Zs", "Zl", "Zp"})
# A word joiner is invisible and keeps readers, which link whatever looks like an address, from doing so.
_JOINER = "\u2060"


def clean(text: str, longest: int = LONGEST_NAME) -> str:
    """One line of visible characters, at most `longest` and "…", in which no reader sees a link."""
    visible = "".join(_visible(char) for char in text[: longest * 4])
    shown = cut(" ".join(visible.split()), longest)
    return shown.replace("://", f":{_JOINER}//").replace("www.", f"www{_JOINER}.")


def spaced(text: str, escaped: Callable[[str], str] = clean) -> str:
    """The text cleaned or escaped, with the space kept at each end that joins it to its neighbours in a line."""
    inner = escaped(text)
    return f"{' ' if text[:1] == ' ' else ''}{inner}{' ' if inner and text[-1:] == ' ' else ''}"


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
