"""Templates: names and values come in, HTML goes out. Everything that is interpolated is escaped, and made visible.

What a forge says may hold marks that turn the reading direction round, so every text goes through `visible`.
"""

import re
from collections.abc import Callable
from datetime import datetime
from functools import cache
from hashlib import sha256
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from k2alert.text import cut, safe_url, visible
from k2alert.times import human_duration

__all__ = ["STYLE", "render", "style_name"]

LONGEST_TEXT = 2000
"""No text of a page needs more characters; a branch of 10 kB is cut."""

_STAMP = re.compile(r"\b(\d{4}-\d\d-\d\d)T(\d\d:\d\d)(?::\d\d(?:\.\d+)?)?Z")

STYLE = (files("k2alert.expose") / "templates" / "style.css").read_bytes()


def style_name() -> str:
    """The name under which the stylesheet is served: another one for every other content."""
    return f"{sha256(STYLE).hexdigest()[:12]}.css"


def render(template: str, *, now: datetime, **values: Any) -> str:
    """A page at a time: `age` counts up to `now`, `clock` leaves out the day where it is today."""
    ages: dict[str, Callable[[datetime], str]] = {
        "age": lambda at: human_duration(max(now - at, now - now)),
        "clock": lambda at: at.strftime("%H:%M UTC" if at.date() == now.date() else "%Y-%m-%d %H:%M UTC"),
    }
    text = _environment().get_template(template).render(now=now, style=style_name(), **ages, **values)
    return text.encode("utf-8", "replace").decode()


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("k2alert.expose"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_shown,
    )
    environment.filters.update(
        url=safe_url,
        short=_short,
        minute=_minute,
        second=_second,
        clocks=_clocks,
        duration=human_duration,
        thousands=_thousands,
        words=_words,
        breakable=_breakable,
    )
    return environment


def _shown(value: Any) -> Any:
    if isinstance(value, str) and not isinstance(value, Markup):
        return cut(visible(value, keep="\n"), LONGEST_TEXT)
    return value


def _short(sha: str) -> str:
    return sha[:8]


def _minute(at: datetime) -> str:
    return at.strftime("%Y-%m-%d %H:%M UTC")


def _second(at: datetime) -> str:
    return at.strftime("%H:%M:%S UTC")


def _clocks(text: str) -> str:
    """A sentence of an explanation, its times written as elsewhere on the page."""
    return _STAMP.sub(lambda found: f"{found[1]} {found[2]} UTC", text)


def _thousands(number: int) -> str:
    return f"{number:,}"


def _words(code: str) -> str:
    """A code of ours or the forge's as words: `script_failure`, `given_up`."""
    return code.replace("_", " ")


def _breakable(name: str) -> Markup:
    """A name that may go on in the next line after each `_`."""
    return Markup("_<wbr>").join(_shown(name).split("_"))
