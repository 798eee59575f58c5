"""The test files of one suite, or of one part of it: what comes in is a suite and a part, what goes out are names.

    python -m scripts.split unit 2/4            the second of four parts, about equally long
    python -m scripts.split --record REPORT…    how long each file takes, from pytest's JUnit reports

The parts follow from the files' names and tests/durations.json alone, so jobs on several machines agree without
speaking with each other. A file that was never timed counts as the usual one.
"""

import json
import sys
import xml.etree.ElementTree as ElementTree
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path
from statistics import median

__all__ = ["DURATIONS", "SUITES", "parts_of", "seconds_by_file", "suite_of"]

TESTS = Path(__file__).parents[1] / "tests"
DURATIONS = TESTS / "durations.json"

SUITES = {
    # The product as somebody gets it, beside real Prometheus, browsers and the like; the slowest.
    "e2e": [
        *("test_demo_*", "test_deploy_*", "test_dist*", "test_image*", "test_migration*", "test_page_browser*"),
        *("test_prometheus_*", "test_quickstart*", "test_soak_*"),
    ],
    # Parts that speak HTTP, SMTP or SQL with a stand-in or a server.
    "integration": [
        "test_api_*",
        "test_*_live*",
        "test_collect_*",
        "test_contract_*",
        "test_daemon_*",
        "test_record_*",
    ],
    # Everything else.
    "unit": ["test_*"],
}
"""Globs of test files; each file belongs to the first suite that it fits."""


def suite_of(name: str) -> str:
    """The suite of a test file."""
    return next(suite for suite, globs in SUITES.items() if any(fnmatch(name, f"{glob}.py") for glob in globs))


def parts_of(files: Iterable[str], seconds: Mapping[str, float], number: int) -> list[list[str]]:
    """The files in so many parts: the longest first, each to the part that has least to do by then."""
    usual = median(seconds.values()) if seconds else 1.0
    parts: list[tuple[float, list[str]]] = [(0.0, []) for _ in range(number)]
    for file in sorted(files, key=lambda file: (-seconds.get(file, usual), file)):
        least = min(range(number), key=lambda part: (parts[part][0], part))
        taken, held = parts[least]
        parts[least] = (taken + seconds.get(file, usual), [*held, file])
    return [sorted(held) for _, held in parts]


def seconds_by_file(reports: Iterable[Path]) -> dict[str, float]:
    """What the tests of each file took together, in seconds, from reports of ours; of several runs the last."""
    found: dict[str, float] = {}
    for report in reports:
        here: defaultdict[str, float] = defaultdict(float)
        for case in ElementTree.parse(report).iter("testcase"):  # noqa: S314 - pytest wrote it, just now
            _, _, rest = case.get("classname", "").partition("tests.")
            if rest:
                here[f"{rest.partition('.')[0]}.py"] += float(case.get("time", 0))
        found |= here
    return {file: round(seconds, 1) for file, seconds in sorted(found.items())}


def main(words: Sequence[str]) -> None:
    """Prints the files of a part, or records how long files take."""
    known: dict[str, float] = json.loads(DURATIONS.read_text())
    if words[0] == "--record":
        there = {path.name for path in TESTS.glob("test_*.py")}
        merged = known | seconds_by_file(map(Path, words[1:]))
        DURATIONS.write_text(
            json.dumps({file: merged[file] for file in sorted(merged) if file in there}, indent=1) + "\n"
        )
        return
    suite, part = words
    number, _, of = part.partition("/")
    if suite not in SUITES or not 1 <= int(number) <= int(of):
        sys.exit(f"there is no part {part} of {suite}: suites are {', '.join(SUITES)}, parts 1/1, 1/2, 2/2 and so on")
    files = [path.name for path in TESTS.glob("test_*.py") if suite_of(path.name) == suite]
    print(*(f"tests/{file}" for file in parts_of(files, known, int(of))[int(number) - 1]))


if __name__ == "__main__":
    main(sys.argv[1:])
