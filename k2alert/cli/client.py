"""How commands talk to a running daemon: options in, answers out, and one clear line where there is none."""

import asyncio
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import aiohttp
import click

from k2alert.notify.text import clean

__all__ = ["Client", "ago", "fail", "table", "to_daemon"]

_WITHIN = aiohttp.ClientTimeout(total=30)
_LARGEST_ERROR = 500

F = TypeVar("F", bound=Callable[..., Any])


def to_daemon(command: F) -> F:
    """The options of every command that talks to a daemon."""
    for option in (
        click.option("--output", type=click.Choice(["table", "json"]), default="table", show_default=True),
        click.option(
            "--token-file",
            type=click.Path(path_type=Path, dir_okay=False),
            help="A file with the daemon's web.admin_token (or read_token, to read).",
        ),
        click.option(
            "--url",
            envvar="K2ALERT_URL",
            default="http://127.0.0.1:9725",
            show_default=True,
            help="Where the daemon is. [env: K2ALERT_URL]",
        ),
    ):
        command = option(command)
    return command


class Client:
    """A running daemon's HTTP API. What goes wrong ends the program with one line."""

    def __init__(self, url: str, token_file: Path | None) -> None:
        self._url = url.rstrip("/")
        if not self._url.startswith(("http://", "https://")):
            raise click.UsageError(f"--url takes http://host:port, not {url!r}")
        self._token = _read_token(token_file) if token_file is not None else ""

    def get(self, path: str) -> Any:
        """What it answers at a path."""
        return asyncio.run(self._ask("GET", path, None))

    def post(self, path: str, body: Any) -> Any:
        """What it answers to a body."""
        return asyncio.run(self._ask("POST", path, body))

    def delete(self, path: str) -> None:
        """Has it end something."""
        asyncio.run(self._ask("DELETE", path, None))

    async def _ask(self, method: str, path: str, body: Any) -> Any:
        headers = {"Authorization": f"Bearer {self._token}"} if self._token else {}
        try:
            async with (
                aiohttp.ClientSession(timeout=_WITHIN, headers=headers) as session,
                session.request(method, f"{self._url}{path}", json=body, allow_redirects=False) as answer,
            ):
                return _read(answer.status, await answer.text())
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            fail(f"no answer from {clean(self._url)}: {clean(str(error)) or type(error).__name__}")


def _read(status: int, text: str) -> Any:
    try:
        data = json.loads(text) if text else None
    except ValueError:
        fail(f"{status}: this is no k2alert: {clean(text[:_LARGEST_ERROR])!r}")
    if status != 200:
        said = data.get("error", "") if isinstance(data, dict) else data
        fail(f"refused ({status}): {clean(str(said))[:_LARGEST_ERROR]}")
    return data


def _read_token(path: Path) -> str:
    try:
        token = path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        fail(f"{path}: {getattr(error, 'strerror', None) or 'not text'}")
    if not token.isascii() or not token.isprintable():
        fail(f"{path}: holds no token")
    return token


def fail(text: str) -> NoReturn:
    """Ends the program with 1 and a line."""
    click.echo(f"k2alert: {text}", err=True)
    sys.exit(1)


def table(heads: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """Columns under their heads; what others wrote is cleaned here."""
    cells = [heads, *(tuple(clean(cell) for cell in row) for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(heads))]
    padded = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in cells)
    return "\n".join(line.rstrip() for line in padded)


def ago(text: str | None) -> str:
    """An instant of the API as people read it: without what is after the seconds."""
    return text[:16].replace("T", " ") + " UTC" if text else ""
