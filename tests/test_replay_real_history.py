"""Real histories, collected over HTTP into SQLite and measured, equal brute force over their lines to the last digit.

The same code as `benchmarks/replay.py`, with a fifth of the windows; the larger histories unfold only there.
"""

from collections import Counter
from pathlib import Path

import pytest

from benchmarks.replay import Report, replay_history
from tests.support.brute_force import DAY, Ended, ended_of, expect, window_ends
from tests.support.history import HISTORIES, read_history
from tests.support.replay import Comparison, compare, replaying

LOOKS, EVERY = 15, 5


async def replayed(shared_data: Path, name: str, *, graphql: bool = True, looks: int = LOOKS) -> Report:
    report = await replay_history(shared_data, name, graphql=graphql, looks=looks, every=EVERY)
    assert report.differences == []
    return report


async def test_bitcoins_history_and_its_published_figures_come_out(shared_data: Path) -> None:
    report = await replayed(shared_data, "bitcoin")
    assert (report.runs, report.ended, report.jobs) == (923, 923, 17_002)
    assert (report.published.windows, report.published.values) == (48, 576)


async def test_ratis_comes_out_with_its_reruns(shared_data: Path) -> None:
    report = await replayed(shared_data, "ratis", looks=0)
    # 28 jobs do not count: 26 of attempts before the one that the file has, and 2 without an end.
    assert (report.runs, report.ended, report.jobs) == (793, 793, 9_708 - 28)


async def test_ozone_comes_out_without_the_runs_that_have_no_conclusion(shared_data: Path) -> None:
    report = await replayed(shared_data, "ozone", looks=0)
    assert (report.runs, report.ended, report.jobs) == (1_845, 1_845 - 66, 28_527 - 12)


@pytest.mark.parametrize("graphql", [True, False])
async def test_datadogs_history_and_its_published_figures_come_out(shared_data: Path, graphql: bool) -> None:
    report = await replayed(shared_data, "datadog", graphql=graphql)
    assert (report.runs, report.ended, report.jobs) == (200, 199, 0)
    assert (report.published.windows, report.published.values) == (3, 11)


@pytest.mark.parametrize("name", HISTORIES)
def test_the_files_own_durations_are_those_of_the_contract(shared_data: Path, name: str) -> None:
    rows = [(row, ended_of(row)) for row in read_history(shared_data, name).rows]
    differ = Counter(run.duration != row["duration_s"] * 1000 for row, run in rows if run is not None)
    assert not differ[True]


# ------------------------------------------------------------------------------- brute force is judged itself


def test_brute_force_counts_by_the_contracts_words() -> None:
    runs = [Ended(DAY, 60_000, True), Ended(2 * DAY, 180_000, False), Ended(2 * DAY, 9, None)]
    assert expect(runs, DAY, DAY) == (1.0, 1.0, 1)
    assert expect(runs, DAY, DAY - 1) == (None, None, 0)
    assert expect(runs, DAY, 2 * DAY) == (0.0, 3.0, 2)  # the first left at this very instant
    assert expect(runs, DAY, 2 * DAY - 1) == (1.0, 1.0, 1)
    assert expect(runs, 2 * DAY, 2 * DAY) == (0.5, 2.0, 3)


def test_windows_end_where_values_change_and_a_millisecond_before() -> None:
    ends = window_ends([Ended(DAY + 5, 0, True)], [DAY])
    assert ends == [DAY, DAY + 4, DAY + 5, 2 * DAY, 2 * DAY + 4, 2 * DAY + 5, 3 * DAY]


async def test_what_is_wrong_by_less_than_a_second_is_noticed(shared_data: Path, tmp_path: Path) -> None:
    async with replaying(read_history(shared_data, "datadog"), tmp_path) as replay:
        await replay.look(replay.history.ends)
        assert compare([replay.board], replay, whole_seconds=True, every=EVERY).differences == []
        assert compare([replay.board], replay, whole_seconds=False, every=EVERY).differences  # GraphQL cuts them off


def test_a_difference_is_told() -> None:
    done = Comparison()
    done.take("here", [1, None], (1, 0.5))
    done.take("there", [1], [1])
    assert (done.windows, done.values, done.differences) == (2, 3, ["here: (1, None) instead of (1, 0.5)"])
