"""Pages of the docs, taken apart: their fenced blocks, the files that stand there whole, their tables."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class File:
    """A fenced block that is a whole file: its first line is a comment with the name."""

    name: str
    text: str


def fenced(page: str, language: str) -> list[str]:
    """The fenced blocks of a language, in order, without their fences."""
    return re.findall(rf"^```{language}\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)


def files(page: str) -> list[File]:
    """The whole files of a page, in YAML, in order."""
    named = ((re.match(r"# (\S+\.yml)\n", block), block) for block in fenced(page, "yaml"))
    return [File(name[1], block) for name, block in named if name is not None]


def rows(page: str, *headers: str) -> Iterator[dict[str, str]]:
    """The rows of the tables that have exactly these headers, their cells by header."""
    columns = None
    for line in page.splitlines():
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] if line.startswith("|") else []
        if not cells:
            columns = None
        elif columns is None:
            columns = cells
        elif columns == list(headers) and set("".join(cells)) != {"-"}:
            yield dict(zip(columns, cells, strict=True))


def code(cell: str) -> list[str]:
    """What stands between backticks in a cell."""
    return [found.replace("\\|", "|") for found in re.findall(r"`([^`]+)`", cell)]
