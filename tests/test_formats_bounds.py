"""What the worst report files cost, each read in a process of its own: memory is bounded, whatever they hold."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]


def cost(name: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "tests.support.huge_reports", name]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=100)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize(
    ("name", "refused", "count", "most"),
    [
        ("a gigabyte of output", "too_large", 0, 20),
        ("200 MiB of output", "", 1, 20),
        ("200 MiB in one failure", "", 1, 20),
        ("200 MiB of CDATA", "", 1, 20),
        ("200 MiB in one attribute", "too_large", 0, 30),
        ("200 MiB in one comment", "too_large", 0, 30),
        ("200,000 tests", "", 200_000, 60),
        ("100,000 failures", "", 100_000, 60),
        ("a million tests", "too_large", 0, 60),
        ("no end of depth", "too_large", 0, 10),
        ("a billion laughs", "entities", 0, 10),
        ("200 MiB of timings", "", 1, 20),
    ],
)
def test_the_worst_files_are_read_or_refused_in_bounded_memory(
    name: str, refused: str, count: int, most: float
) -> None:
    found = cost(name)
    assert (found["refused"], found["count"]) == (refused, count)
    assert found["MiB"] < most
