"""Templates: names and values come in, HTML goes out. Everything that is interpolated is escaped, and made visible.

What a forge says may hold marks that turn the reading direction round, so every text goes through `visible`.
"""

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

STYLE = (files("k2alert.expose") / "templates" / "style.css").read_bytes()


def style_name() -> str:
    """The name under which the stylesheet is served: another one for every other content."""
    return f"{sha256(STYLE).hexdigest()[:12]}.css"


def render(template: str, *, now: datetime, **values: Any) -> str:
    """A page at a time: ages are counted up to `now`."""
    ages: dict[str, Callable[[datetime], str]] = {"age": lambda at: human_duration(max(now - at, now - now))}
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
    environment.filters.update(url=safe_url, short=_short, minute=_minute, second=_second)
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
