"""Text that others wrote, made safe to say in a message.

Names and titles come in from a forge, where anyone may push a branch called `<!channel>` or a title full of
marks that turn the reading direction round. Out goes one line of plain, visible characters of bounded length.
Each integration adds the escapes of its own markup on top.
"""

from collections.abc import Callable

from k2alert.text import cut, safe_url, visible

__all__ = ["clean", "cut", "safe_url", "spaced"]

LONGEST_NAME = 300  # no branch or title needs more to be recognised; git's own limit for a ref is 255 bytes a part
# A word joiner is invisible and keeps readers, which link whatever looks like an address, from doing so.
_JOINER = "\u2060"


def clean(text: str, longest: int = LONGEST_NAME) -> str:
    """One line of visible characters, at most `longest` and "…", in which no reader sees a link."""
    shown = cut(" ".join(visible(text[: longest * 4]).split()), longest)
    return shown.replace("://", f":{_JOINER}//").replace("www.", f"www{_JOINER}.")


def spaced(text: str, escaped: Callable[[str], str] = clean) -> str:
    """The text cleaned or escaped, with the space kept at each end that joins it to its neighbours in a line."""
    inner = escaped(text)
    return f"{' ' if text[:1] == ' ' else ''}{inner}{' ' if inner and text[-1:] == ' ' else ''}"
