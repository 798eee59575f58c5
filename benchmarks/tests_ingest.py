"""What test executions cost: the rate at which reports are recorded, the bytes they take on disk and in memory, and how
long the flaky tests of a week take to find.

History: 10 projects; each job runs the same few thousand tests, one commit in twenty adds one, one run in ten has one
to three failures and goes again on the same commit, where most of them pass. The reports are made as a reader of JUnit
files would, and saved run by run. The number of flaky tests is compared with what the generator knows.

    .venv/bin/python benchmarks/tests_ingest.py [1000000] [--tests 2000]
"""

import argparse
import asyncio
import gc
import os
import random
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from k2alert.labels import Labels
from k2alert.measure.board import Board
from k2alert.model import (
    Event,
    Execution,
    Kind,
    NameOfTest,
    Outcome,
    PipelineRun,
    RefType,
    Result,
    RunState,
    Selection,
    TestCase,
    TestReport,
    Window,
)
from k2alert.recall import fill_board
from k2alert.record import Store, open_store
from k2alert.times import to_ms

PROJECTS = 10
NOW = datetime(2026, 1, 8, tzinfo=UTC)
WEEK = timedelta(days=7)
BY_PROJECT = Selection((), ("project",))


class Maker:
    """One project's history, report by report. `flaky` are the tests that did both on one commit."""

    def __init__(self, project: int, tests: int, reports: int) -> None:
        self._chance = random.Random(project)
        self._project = f"k2/app-{project}"
        self._names = [NameOfTest(f"tests.module_{n // 20}", f"test_that_it_works[{n}]") for n in range(tests)]
        self._step = WEEK / (reports + 1)
        self.flaky: set[NameOfTest] = set()

    def run(self, number: int) -> tuple[PipelineRun, list[TestReport]]:
        at = NOW - WEEK + (number + 1) * self._step
        if not number % 20:
            self._names.append(NameOfTest("tests.new", f"test_{number}"))
        failing = self._chance.sample(self._names, self._chance.randint(1, 3)) if self._chance.random() < 0.1 else []
        still = [name for name in failing if self._chance.random() < 0.3]
        self.flaky.update(set(failing) - set(still))
        reports = [self._report(number, 1, at, failing)]
        if failing:
            reports.append(self._report(number, 2, at + timedelta(seconds=1), still))
        return self._pipeline(number, at), reports

    def _report(self, number: int, attempt: int, at: datetime, failing: list[NameOfTest]) -> TestReport:
        bad = set(failing)
        return TestReport(
            by=Execution(
                source="gitlab",
                project=self._project,
                run=str(number),
                attempt=attempt,
                name="test",
                job="test",
                stage="test",
                finished_at=at,
            ),
            total=len(self._names),
            failed=len(bad),
            named=True,
            cases=tuple(TestCase(suite=name.suite, test=name.test, message="assert 1 == 2") for name in failing),
            passed=tuple(name for name in self._names if name not in bad),
        )

    def _pipeline(self, number: int, at: datetime) -> PipelineRun:
        outcome = Outcome(
            attempt=1, result=Result.SUCCESS, started_at=at, finished_at=at, duration=timedelta(0), queued=None
        )
        return PipelineRun(
            source="gitlab",
            project=self._project,
            id=str(number),
            number=str(number),
            workflow="",
            event=Event.PUSH,
            ref_type=RefType.DEFAULT,
            branch="main",
            sha=f"{number:040x}",
            title="",
            web_url=f"https://gitlab.example.com/{self._project}/-/pipelines/{number}",
            state=RunState.FINISHED,
            created_at=at - timedelta(minutes=10),
            started_at=at,
            seen=at,
            outcomes=(outcome,),
        )


def history(makers: list[Maker], executions: int) -> Iterator[tuple[PipelineRun, list[TestReport]]]:
    """Runs of the projects in turn, until there were so many executions."""
    done, number = 0, 0
    while done < executions:
        for maker in makers:
            run, reports = maker.run(number)
            done += sum(report.total for report in reports)
            yield run, reports
        number += 1


async def record(store: Store, makers: list[Maker], executions: int) -> tuple[int, int, float, float]:
    """Executions, reports, seconds and CPU seconds of saving them."""
    count, reports_saved, wall, cpu = 0, 0, 0.0, 0.0
    for run, reports in history(makers, executions):
        await store.save([run])
        began, began_cpu = time.perf_counter(), time.process_time()
        await store.save_facts(reports)
        wall += time.perf_counter() - began
        cpu += time.process_time() - began_cpu
        count += sum(report.total for report in reports)
        reports_saved += len(reports)
    return count, reports_saved, wall, cpu


def resident() -> int:
    """Bytes of memory that this process has in use now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def measure(executions: int, tests: int) -> None:
    """Prints one table row by row."""
    makers = [Maker(number, tests, executions // tests // PROJECTS) for number in range(PROJECTS)]
    with TemporaryDirectory() as folder:
        store = open_store(f"sqlite:///{folder}/k2alert.db")
        count, reports, wall, cpu = await record(store, makers, executions)
        print(f"{count:,} executions in {reports:,} reports of {PROJECTS} projects")
        print(f"recorded: {count / wall:,.0f} executions/s ({count / cpu:,.0f} per CPU second), {wall:.1f} s")
        await store.close()
        size = sum(file.stat().st_size for file in Path(folder).iterdir())
        print(f"on disk: {size / 1e6:.1f} MB with runs and names, {size / count:.2f} bytes an execution")
        store = open_store(f"sqlite:///{folder}/k2alert.db")
        gc.collect()
        before = resident()
        board = Board(lambda _: Labels())
        board.require(BY_PROJECT, frozenset({Kind.TEST}))
        began = time.perf_counter()
        await fill_board(board, store)
        gc.collect()
        took, memory = time.perf_counter() - began, resident() - before
        print(f"in memory: {memory / 1e6:.1f} MB, {memory / count:.3f} bytes an execution, loaded in {took:.2f} s")
        await store.close()
    evaluate(board, makers)


def evaluate(board: Board, makers: list[Maker]) -> None:
    """How long the metrics take anew, and whether they are right."""
    for metric in ("flaky_tests", "flaky_test_rate", "new_flaky_tests", "test_failure_rate"):
        began, found = time.perf_counter(), 0.0
        for number in range(PROJECTS):
            labels = Labels({"source": "gitlab", "project": f"k2/app-{number}"})
            found += board.measure(BY_PROJECT, metric, labels, Window(WEEK), to_ms(NOW)).value or 0
        print(f"{metric}: {(time.perf_counter() - began) / PROJECTS * 1000:.2f} ms a project, when facts changed")
        if metric == "flaky_tests":
            assert found == sum(len(maker.flaky) for maker in makers), "the generator knows better"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("executions", nargs="?", type=int, default=1_000_000)
    parser.add_argument("--tests", type=int, default=2000)
    arguments = parser.parse_args()
    asyncio.run(measure(arguments.executions, arguments.tests))
