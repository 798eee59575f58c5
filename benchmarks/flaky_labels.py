"""How well flaky tests are found, on real histories with labels: k2alert beside the rule of "mixed outcomes".

The data is not part of the project: `python benchmarks/flaky_labels.py FOLDER`, where FOLDER holds
`tests/ratis_class_history.csv.gz` with `flaky/ratis_class_truth.csv` (the classes that maintainers ever labelled),
`tests/ozone_class_history_to_2021-06.csv.gz` (whose scheduled runs repeat commits), and
`flaky/veloren_gitlab_failed_jobs_labelled.csv` (failed jobs, labelled by hand).

"Mixed outcomes" is the rule that scripts use: a test that fails in more than a tenth of five runs in a row, and not in
all of them. It takes every regression for flaky; it is counted on whatever commits the five runs were.
"""

import csv
import gzip
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from k2alert.measure.flaky import FlakyTest, find_flaky, find_suspects
from k2alert.measure.ledger import Ledger, Place, StreamInfo
from k2alert.model import ReportEntry, Window
from k2alert.times import parse_instant, to_ms

_ALWAYS = Window(timedelta(days=36500))
_PLACE = Place("s", "p")
Find = Callable[[Ledger, Window, int, Callable[[ReportEntry], bool]], list[FlakyTest]]


def rows_of(file: Path) -> Iterator[dict[str, str]]:
    """The rows of a CSV file, packed or not."""
    with gzip.open(file, "rt") if file.suffix == ".gz" else file.open() as lines:
        yield from csv.DictReader(lines)


class History:
    """Verdicts of test classes as reports: one for each job of each run."""

    def __init__(self, file: Path) -> None:
        self.names: dict[str, int] = {}
        jobs: dict[str, int] = {}
        reports: defaultdict[tuple[str, str], list[dict[str, str]]] = defaultdict(list)
        for row in rows_of(file):
            reports[row["run_id"], row["job"]].append(row)
            self.names.setdefault(row["test_class"], len(self.names))
            jobs.setdefault(row["job"], len(jobs))
        infos = {number: StreamInfo(_PLACE, "", "main", "", job, "") for job, number in jobs.items()}
        self.ledger = Ledger(infos)
        self.ledger.extend(
            self._report(ref, jobs[job], rows) for ref, ((_, job), rows) in enumerate(reports.items(), 1)
        )

    def _report(self, ref: int, stream: int, rows: list[dict[str, str]]) -> ReportEntry:
        ran = failing = passed = 0
        for row in rows:
            bit = 1 << self.names[row["test_class"]]
            ran |= bit
            failing |= 0 if row["verdict"] == "passed" else bit
            passed |= bit if row["verdict"] == "passed" else 0
        at, sha = to_ms(parse_instant(rows[0]["created_at"])), bytes.fromhex(rows[0]["sha"])
        failed = failing.bit_count()
        return ReportEntry(stream, ref, at, len(rows), failed, sha, True, ran, failing, failing & passed, ())

    def found(self, find: Find) -> set[str]:
        """The classes that a rule of k2alert finds."""
        named = {number: name for name, number in self.names.items()}
        return {
            named[test.number] for test in find(self.ledger, _ALWAYS, self.ledger.entries[-1].finished, lambda _: True)
        }

    def mixed(self) -> set[str]:
        """The classes with mixed outcomes in any five runs of their job in a row."""
        by_job: defaultdict[int, list[ReportEntry]] = defaultdict(list)
        for report in self.ledger.entries:
            by_job[report.stream].append(report)
        return {name for name, number in self.names.items() if any(_mixed(of, number) for of in by_job.values())}


def _mixed(reports: Iterable[ReportEntry], number: int) -> bool:
    outcomes = [report.failing >> number & 1 for report in reports if report.ran >> number & 1]
    return any(0.1 < sum(outcomes[at : at + 5]) / 5 < 1 for at in range(len(outcomes) - 4))


def scored(found: set[str], labelled: set[str]) -> str:
    """Cells of the table."""
    right = len(found & labelled)
    precision = f"{right / len(found):.0%}" if found else "–"
    return f"{len(found)} | {precision} | {right / len(labelled):.0%}"


def main(folder: Path) -> None:
    """Prints the tables, as Markdown."""
    truth = {
        row["test_class"]
        for row in rows_of(folder / "flaky/ratis_class_truth.csv")
        if row["maintainer_labelled"] == "1"
    }
    ozone, ratis = (
        History(folder / "tests" / name)
        for name in ("ozone_class_history_to_2021-06.csv.gz", "ratis_class_history.csv.gz")
    )
    rules: dict[str, Callable[[History], set[str]]] = {
        "both outcomes on one commit (`flaky_tests`)": lambda history: history.found(find_flaky),
        "suspects (`k2alert flaky --suspects`)": lambda history: history.found(find_suspects),
        "mixed outcomes in five runs in a row": History.mixed,
    }
    print(f"ratis: {len(ratis.names)} classes, {len(truth)} of them ever labelled by the maintainers\n")
    print("| rule | found | precision | recall |\n|---|--:|--:|--:|")
    for name, rule in rules.items():
        print(f"| {name} | {scored(rule(ratis), truth)} |")
    proven = ozone.found(find_flaky)
    print(f"\nozone: {len(ozone.names)} classes, {len(proven)} of them with both outcomes on one commit\n")
    print("| rule | found | of these with both outcomes | of those found |\n|---|--:|--:|--:|")
    for name in list(rules)[2:]:
        print(f"| {name} | {scored(rules[name](ozone), proven)} |")
    jobs = list(rows_of(folder / "flaky/veloren_gitlab_failed_jobs_labelled.csv"))
    by_hand = {row["job_id"] for row in jobs if row["manual_label_flaky"] == "1"}
    again = {row["job_id"] for row in jobs if row["auto_label_brown"] == "1"}
    print(f"\nveloren: {len(jobs)} failed jobs, {len(by_hand)} labelled flaky by hand\n")
    print("| rule | found | precision | recall |\n|---|--:|--:|--:|")
    print(f"| the job also passed on that commit | {scored(again, by_hand)} |")
    print(f"| every failed job | {scored({row['job_id'] for row in jobs}, by_hand)} |")


if __name__ == "__main__":
    if len(sys.argv) == 2:
        main(Path(sys.argv[1]))
    else:
        print("needs labelled histories, which are not part of the project: python benchmarks/flaky_labels.py FOLDER")
