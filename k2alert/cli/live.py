"""`k2alert check --live`: what each source answered, as text, as JSON and as problems with places."""

import asyncio
from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from k2alert import __version__
from k2alert.app import system_time
from k2alert.collect import SOURCES
from k2alert.collect.answers import one_line
from k2alert.collect.probes import Tried, try_sources
from k2alert.config.load import Loaded, LoadedRules
from k2alert.document import parse_document
from k2alert.model import Place, Problem

__all__ = ["as_json", "as_problems", "as_text", "ask"]


def ask(
    loaded: Sequence[Loaded | LoadedRules],
) -> tuple[tuple[Tried, ...], tuple[Problem, ...]]:
    """What the sources of every main file that could run answered."""
    tried: list[Tried] = []
    problems: list[Problem] = []
    mains = [(one.files[0], one) for one in loaded if isinstance(one, Loaded) and one.files]
    for file, one in mains:
        if one.config is None or not one.runnable:
            text = "no source was asked: what is wrong or not set must be mended first"
            problems.append(Problem(Place(file, 1, 1), text, "live", warning=True))
            continue
        work = try_sources(one.config.sources, forges=SOURCES, time=system_time(), version=__version__)
        answers = asyncio.run(work)
        tried += answers
        problems += as_problems(answers, _source_places(Path(file)))
    return tuple(tried), tuple(problems)


def _source_places(file: Path) -> dict[str, Place]:
    """Where each source stands in a file that was read without an error."""
    document, _ = parse_document(file.read_bytes(), str(file))
    written = document.data["sources"] if document is not None and document.data.get("sources") else []
    return {item["name"]: document.place(("sources", index)) for index, item in enumerate(written) if document}


def as_text(tried: Sequence[Tried]) -> list[str]:
    """A line for each source, and below it one for its token and for each of its groups and projects."""
    lines = []
    for source, of_source in groupby(tried, key=lambda one: one.source):
        lines.append(f"source {source}:")
        for of, parts in groupby(of_source, key=lambda one: one.of):
            lines.append(f"  {one_line(of) or 'token'}: {'; '.join(_says(list(parts)))}")
    return lines


def _says(parts: Sequence[Tried]) -> list[str]:
    """What may be read first, then what may not and why."""
    readable = [one for one in parts if one.failure is None]
    said = [one.note for one in readable if one.note]
    kinds = [one.what for one in readable if not one.note and one.of]
    said += [f"may read {', '.join(kinds)}"] if kinds else []
    return said + [f"not {one.what} ({one_line(one.failure.detail)})" for one in parts if one.failure] or ["accepted"]


def as_json(tried: Iterable[Tried]) -> list[dict[str, Any]]:
    """One object for each question asked."""
    return [
        {
            "source": one.source,
            "of": one.of,
            "what": one.what,
            "readable": one.failure is None,
            "note": one.note,
            "reason": one.failure.reason if one.failure else "",
            "detail": one_line(one.failure.detail) if one.failure else "",
        }
        for one in tried
    ]


def as_problems(tried: Iterable[Tried], places: dict[str, Place]) -> tuple[Problem, ...]:
    """What is not readable, at the place of its source: an error where it costs a project, else a warning.

    What a token says of itself is not needed for anything, so that not being told is no problem.
    """
    return tuple(
        Problem(places[one.source], _text(one), "live", warning=not one.fatal)
        for one in tried
        if one.failure is not None and (one.of or one.fatal or one.failure.reason == "auth")
    )


def _text(one: Tried) -> str:
    detail = one_line(one.failure.detail) if one.failure else ""
    subject = f"{one.what} of {one_line(one.of)}" if one.of else "the token"
    costs = f": no {one.why}" if one.why else ""
    return f"{one.source}: {subject} cannot be read ({detail}){costs}"
