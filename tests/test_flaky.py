"""The list of flaky tests: which, how often, since when, whether it is over; from a real store."""

import asyncio
import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from k2alert.cli.flaky import command as flaky
from k2alert.flaky import FlakyAnswer, flaky_json, list_flaky, read_question
from k2alert.record import Store
from k2alert.times import iso
from tests.support.looks import T0, run
from tests.support.reported import execution, report

DAY = timedelta(days=1)
OPTIONS = ("period", "clean", "limit", "suspects")


async def ran(
    store: Store, number: int, day: float, passed: str = "", failed: str = "", *, sha: str = "a" * 40, **more: str
) -> None:
    """A run on a day with one report."""
    when = T0 + day * DAY
    await store.save([run(str(number), sha=sha, created=day * 24 * 60 - 10)])
    by = execution(str(number), when, id=str(number), **more)
    await store.save_facts([report(by, passed, failed)])


async def asked(store: Store, day: float = 10, **options: str) -> FlakyAnswer:
    labels = [(name, value) for name, value in options.items() if name not in OPTIONS]
    given = {name: value for name, value in options.items() if name in OPTIONS}
    return await list_flaky(store, read_question(labels, given), now=T0 + day * DAY)


def told(answer: FlakyAnswer) -> list[tuple[str, int, int, int, bool]]:
    return [
        (one.shown.test, one.test.commits, one.test.failed, one.test.executed, one.recovered) for one in answer.tests
    ]


async def test_both_outcomes_on_one_commit_make_a_test_flaky_and_a_regression_does_not(store: Store) -> None:
    await ran(store, 1, 0, "one two", "three")
    await ran(store, 2, 0.1, "one three", "two")
    await ran(store, 3, 1, "two three", "one", sha="b" * 40)
    assert sorted(told(await asked(store, 2))) == [("three", 1, 1, 3, False), ("two", 1, 1, 3, False)]


async def test_the_most_often_flaky_comes_first_with_when_it_was_seen(store: Store) -> None:
    for number, sha in enumerate(("a" * 40, "b" * 40)):
        await ran(store, 10 + number, number, "one", "two", sha=sha)
        await ran(store, 20 + number, number + 0.1, "two", "one" if number else "", sha=sha)
    first, second = (await asked(store, 2)).tests
    assert (first.shown.test, first.test.commits, first.test.rate) == ("two", 2, 0.5)
    assert (second.shown.test, second.test.commits) == ("one", 1)
    assert second.shown.message == "one broke"
    shown, _ = flaky_json(await asked(store, 2))["tests"]
    assert (shown["firstSeen"], shown["lastSeen"]) == (iso(T0), iso(T0 + DAY))


async def test_another_job_is_another_test(store: Store) -> None:
    await ran(store, 1, 0, "one", job="unit")
    await ran(store, 2, 0, "", "one", job="e2e")
    assert told(await asked(store)) == []


async def test_a_burst_makes_nothing_flaky(store: Store) -> None:
    names = " ".join(f"t{number}" for number in range(20))
    await ran(store, 1, 0, names)
    await ran(store, 2, 0.1, "", names)
    assert told(await asked(store)) == []


async def test_a_test_recovers_by_passing_for_long_enough(store: Store) -> None:
    await ran(store, 1, 0, "one two")
    await ran(store, 2, 0.1, "", "one two")
    await ran(store, 3, 5, "one", sha="b" * 40)
    assert told(await asked(store, 6)) == [("two", 1, 1, 2, False), ("one", 1, 1, 3, False)]
    assert [one[::4] for one in told(await asked(store, 8))] == [("two", False), ("one", True)]
    assert [one[::4] for one in told(await asked(store, 6, clean="5d"))] == [("two", False), ("one", True)]
    assert told(await asked(store, 8, period="7d")) == []


async def test_it_is_narrowed_down_by_labels_and_by_names(store: Store) -> None:
    await ran(store, 1, 0, "one two")
    await ran(store, 2, 0.1, "", "one two")
    assert [one[0] for one in told(await asked(store, test="one"))] == ["one"]
    assert sorted(one[0] for one in told(await asked(store, suite="unit", project="k2/app"))) == ["one", "two"]
    assert told(await asked(store, suite="e2e")) == []
    assert told(await asked(store, project="k2/other")) == []
    few = await asked(store, limit="1")
    assert (len(few.tests), few.total) == (1, 2)


def commits(outcomes: str) -> Iterator[tuple[int, str, str, str]]:
    """A run a day, each on a commit of its own: number, commit, what passed, what failed."""
    for day, outcome in enumerate(outcomes):
        yield day, f"{day:040x}", "" if outcome == "-" else "one", "one" if outcome == "-" else ""


@pytest.mark.parametrize(
    ("outcomes", "found"),
    [
        pytest.param("+-+-++--+", True, id="three times, each for a day or two"),
        pytest.param("+-+-+++++", False, id="only twice"),
        pytest.param("+---+---+---+", False, id="each time for longer: broken and mended"),
        pytest.param("-+-+-", False, id="what comes first and last may be a regression"),
        pytest.param("+" * 9, False, id="never"),
    ],
)
async def test_what_fails_now_and_then_is_a_suspect_when_asked_for(store: Store, outcomes: str, found: bool) -> None:
    for day, sha, passed, failed in commits(outcomes):
        await ran(store, day + 1, day, passed, failed, sha=sha)
    assert told(await asked(store, 20, clean="90d")) == []
    answer = await asked(store, 20, clean="90d", suspects="true")
    assert [(one.shown.test, one.state, one.test.commits) for one in answer.tests] == [("one", "suspect", 3)] * found


async def test_who_is_known_to_be_flaky_is_no_suspect_too(store: Store) -> None:
    for day, sha, passed, failed in commits("+-+-+-+"):
        await ran(store, day + 1, day, passed, failed, sha=sha)
    await ran(store, 99, 6.5, "", "one", sha=f"{6:040x}")
    answer = await asked(store, 7, suspects="true")
    assert [(one.shown.test, one.state) for one in answer.tests] == [("one", "flaky")]


@pytest.mark.parametrize(
    ("labels", "options"),
    [
        ([("runner", "x")], {}),
        ([], {"limit": "0"}),
        ([], {"limit": "x"}),
        ([], {"period": "long"}),
        ([], {"suspects": "yes"}),
    ],
)
def test_a_wrong_question_is_refused(labels: list[tuple[str, str]], options: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        read_question(labels, options)


async def test_the_command_prints_a_table_or_json(store: Store, store_url: str, tmp_path: Path) -> None:
    await ran(store, 1, 0, "one")
    await ran(store, 2, 0.1, "", "one")
    config = tmp_path / "k2alert.yml"
    config.write_text(f"store: {store_url}\n")
    asked_for = ["--period", "100y", "project=k2/app"]

    async def typed(*more: str) -> Result:
        return await asyncio.to_thread(CliRunner().invoke, flaky, ["--config", str(config), *more])

    table = await typed(*asked_for)
    assert table.exit_code == 0, table.output
    assert "unit › one" in table.output
    assert "50.0%" in table.output
    found = json.loads((await typed(*asked_for, "--output", "json")).output)
    assert [(one["test"], one["rate"], one["job"]) for one in found["tests"]] == [("one", 0.5, "test")]
    assert (await typed(*asked_for, "test=x")).output == "No test is flaky.\n"
    assert (await typed("oops")).exit_code == 2
