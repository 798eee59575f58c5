"""The list of flaky tests: a question and a store come in, every flaky test with its name, its figures and a link out.

Read from the store for each question, so that it is the same beside a daemon, inside one and of a store alone, and
whatever the rules select.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from k2alert.labels import Labels
from k2alert.measure.flaky import FlakyTest, find_flaky, find_suspects
from k2alert.measure.ledger import Ledger, StreamInfo
from k2alert.model import FactEntry, Kind, ReportEntry, TestEvidence, Window
from k2alert.record.store import Reader
from k2alert.times import from_ms, iso, parse_duration, to_ms

__all__ = ["FLAKY_LABELS", "Flaky", "FlakyAnswer", "FlakyQuestion", "flaky_json", "list_flaky", "read_question"]

FLAKY_LABELS = ("source", "project", "branch", "ref_type", "workflow", "job", "suite", "test")
"""By these the list can be narrowed down."""

MOST_LISTED = 1000
_NAMED = frozenset({"suite", "test"})
_PERIOD, _CLEAN = timedelta(days=30), timedelta(days=7)


@dataclass(frozen=True, slots=True)
class FlakyQuestion:
    """Which tests, by the labels of their reports and by their names; over which time.

    A test that has not been flaky for `clean`, and passed since, has recovered. With `suspects` those are listed too
    that fail now and then without having been seen with both outcomes on one commit.
    """

    labels: tuple[tuple[str, str], ...] = ()
    period: timedelta = _PERIOD
    clean: timedelta = _CLEAN
    limit: int = 100
    suspects: bool = False


@dataclass(frozen=True, slots=True)
class Flaky:
    """A flaky test with its name. `shown` is how it failed last, as far as that is kept."""

    test: FlakyTest
    shown: TestEvidence
    recovered: bool

    @property
    def state(self) -> str:
        """`flaky`, `recovered` or `suspect`."""
        return "recovered" if self.recovered else "suspect" if self.test.suspect else "flaky"


@dataclass(frozen=True, slots=True)
class FlakyAnswer:
    """The tests, those that are flaky still first, the most often flaky first; and how many there are in all."""

    tests: tuple[Flaky, ...]
    total: int


def read_question(labels: Sequence[tuple[str, str]], options: Mapping[str, str]) -> FlakyQuestion:
    """A question as it is typed: labels, and `period`, `clean` and `limit`. Raises `ValueError` with what is wrong."""
    for name, _ in labels:
        if name not in FLAKY_LABELS:
            raise ValueError(f"not a label of tests: {name!r}; there are {', '.join(FLAKY_LABELS)}")
    limit = options.get("limit", "100")
    if not (limit.isascii() and limit.isdigit() and 1 <= int(limit[:9]) <= MOST_LISTED):
        raise ValueError(f"not a number from 1 to {MOST_LISTED}: limit {limit[:40]!r}")
    period, clean = (
        parse_duration(options[name]) if name in options else default
        for name, default in (("period", _PERIOD), ("clean", _CLEAN))
    )
    suspects = options.get("suspects", "false")
    if suspects not in ("true", "false"):
        raise ValueError(f"neither true nor false: suspects {suspects[:40]!r}")
    return FlakyQuestion(tuple(labels), period, clean, int(limit), suspects == "true")


async def list_flaky(store: Reader, question: FlakyQuestion, *, now: datetime) -> FlakyAnswer:
    """The answer. Raises `StoreError` where the store is down."""
    streams = {stream.id: stream.labels for stream in await store.streams() if stream.kind is Kind.TEST}
    entries: list[FactEntry] = []
    async for batch in store.facts(Kind.TEST):
        entries += batch
    found = await asyncio.to_thread(_find, streams, entries, question, now)
    shown = await store.test_evidence([(test.report, test.number) for test in found])
    named = [
        Flaky(test, shown[key], _is_over(test, question, now))
        for test in found
        if (key := (test.report, test.number)) in shown and _is_asked(shown[key], question)
    ]
    named.sort(key=lambda one: (one.test.suspect, one.recovered))
    return FlakyAnswer(tuple(named[: question.limit]), len(named))


def _find(
    streams: Mapping[int, Labels], entries: Sequence[FactEntry], question: FlakyQuestion, now: datetime
) -> list[FlakyTest]:
    ledger = Ledger({number: StreamInfo.of(labels) for number, labels in streams.items()})
    ledger.extend(entries)
    wanted = {(name, value) for name, value in question.labels if name not in _NAMED}
    picked = {number for number, labels in streams.items() if wanted <= set(labels.items())}

    def counts(report: ReportEntry) -> bool:
        return report.stream in picked

    asked = ledger, Window(question.period), to_ms(now), counts
    return find_flaky(*asked) + (find_suspects(*asked) if question.suspects else [])


def _is_asked(shown: TestEvidence, question: FlakyQuestion) -> bool:
    return all(getattr(shown, name) == value for name, value in question.labels if name in _NAMED)


def _is_over(test: FlakyTest, question: FlakyQuestion, now: datetime) -> bool:
    return test.clean > 0 and from_ms(test.last) <= now - question.clean


def flaky_json(answer: FlakyAnswer) -> dict[str, Any]:
    """The answer for programs."""
    return {"tests": [_one(flaky) for flaky in answer.tests], "total": answer.total}


def _one(flaky: Flaky) -> dict[str, Any]:
    test, shown = flaky.test, flaky.shown
    return {
        "source": test.place.source,
        "project": test.place.project,
        "workflow": test.workflow,
        "job": test.job,
        "suite": shown.suite,
        "test": shown.test,
        "file": shown.file,
        "state": flaky.state,
        "rate": test.rate,
        "executed": test.executed,
        "failed": test.failed,
        "commits": test.commits,
        "firstSeen": iso(from_ms(test.first)),
        "lastSeen": iso(from_ms(test.last)),
        "cleanReports": test.clean,
        "branch": shown.branch,
        "sha": shown.sha,
        "message": shown.message,
        "url": shown.web_url,
    }
