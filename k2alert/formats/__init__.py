"""Report files in, what they say out: tests, coverage and benchmarks, in the dialects that tools write.

Each reader takes the file as chunks of bytes and gives a frozen value, or `Unreadable` with one line for people. The
files are of anybody who may open a merge request, so what one may cost is bounded (`Caps`), whatever it holds.
"""

from k2alert.formats.benchmarks import Benchmarks, all_benchmarks, read_benchmarks
from k2alert.formats.caps import Caps, Reason, Unreadable
from k2alert.formats.coverage import Coverage, all_coverage, read_coverage
from k2alert.formats.harvest import Harvest, Refused, Wanted, harvest
from k2alert.formats.junit import read_tests
from k2alert.formats.tests import Tests, all_tests

__all__ = [
    "Benchmarks",
    "Caps",
    "Coverage",
    "Harvest",
    "Reason",
    "Refused",
    "Tests",
    "Unreadable",
    "Wanted",
    "all_benchmarks",
    "all_coverage",
    "all_tests",
    "harvest",
    "read_benchmarks",
    "read_coverage",
    "read_tests",
]
