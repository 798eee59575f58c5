"""`k2alert backtest`: what rules would have done, from a store that a daemon wrote."""

import asyncio
import json
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from k2alert.archive import history_lines
from k2alert.cli import main
from k2alert.model import PipelineRun, Project
from k2alert.model import Result as Ended
from k2alert.record import look_into_store, open_store
from tests.support.looks import T0, at, finished_run

DAY = 1440

MAIN = """
sources: [{type: gitlab, name: gitlab, url: "http://127.0.0.1", token: abcdefgh, projects: [k2/app]}]
store: "sqlite:///{store}"
rule_files: [rules.yml]
notifications: {slack: {webhook_url: "http://hooks.example.com/x"}}
"""
RED = "{name: red, condition: consecutive_failures >= %d, period: 24h, severity: critical, message: x}"
WAITS = "{name: waits, condition: oldest_pending_minutes > 5, period: 1h, severity: info, message: x}"
LONG = "{name: long, condition: success_rate < 0.1, period: 30d, severity: info, message: x}"


def rules(*written: str) -> str:
    return "alert_rules:\n" + "".join(f"  - {one}\n" for one in written)


def history(branch: str = "main") -> list[PipelineRun]:
    """Ten days, a run an hour; on the fifth day three of them fail, on the eighth two."""
    bad = {5 * DAY, 5 * DAY + 60, 5 * DAY + 120, 8 * DAY, 8 * DAY + 60}
    ends = range(60, 10 * DAY, 60)
    return [finished_run(str(end), end, Ended.FAILURE if end in bad else Ended.SUCCESS, branch=branch) for end in ends]


async def fill(path: Path, runs: list[PipelineRun], **project: object) -> None:
    store = open_store(f"sqlite:///{path}")
    known = {"covered_since": T0 - timedelta(days=1), "complete_at": at(10 * DAY), **project}
    await store.save_project(
        Project(source="gitlab", key="k2/app", path="k2/app", first_seen_at=T0, **known)  # type: ignore[arg-type]
    )
    await store.save(runs)
    await store.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "k2alert.yml").write_text(MAIN.replace("{store}", str(tmp_path / "k.db")))
    (tmp_path / "rules.yml").write_text(rules(RED % 3))
    return tmp_path


def backtest(folder: Path, *options: str) -> Result:
    return CliRunner().invoke(main, ["backtest", "--config", str(folder / "k2alert.yml"), *options])


def test_incidents_and_messages_are_told_with_their_runs(folder: Path) -> None:
    asyncio.run(fill(folder / "k.db", history(), covered_since=T0 - timedelta(days=30)))
    result = backtest(folder, "--since", "9d")
    assert result.exit_code == 0, result.output
    link = "https://gitlab.example.com/k2/app/-/pipelines"
    assert result.output.splitlines() == [
        "2026-03-03 00:00 to 2026-03-12 00:00 UTC, 1 project, judged every 30s",
        "",
        "rule  incidents  still firing  time  messages",
        "red   1          0             1h    2 (1 firing, 1 resolved)",
        "",
        "week of     incidents  messages",
        "2026-03-02  1          2",
        "2026-03-09  0          0",
        "",
        "red project=k2/app source=gitlab: 2026-03-07 02:00 to 2026-03-07 03:00 (1h), worst 3 runs, "
        f"{link}/7320 {link}/7260 {link}/7200",
    ]


def test_json_says_when_for_how_long_and_what_it_was(folder: Path) -> None:
    asyncio.run(fill(folder / "k.db", history(), covered_since=T0 - timedelta(days=30)))
    found = json.loads(backtest(folder, "--since", "9d", "--output", "json").output)
    (incident,) = found["incidents"]
    assert (incident["fired_at"], incident["ended_at"]) == ("2026-03-07T02:00:00Z", "2026-03-07T03:00:00Z")
    assert (incident["peak"], incident["reason"], incident["seconds"]) == (3, "recovered", 3600)
    assert [run["id"] for run in incident["runs"]] == [str(5 * DAY + 120), str(5 * DAY + 60), str(5 * DAY)]
    told = [(message["at"], message["kind"]) for message in found["messages"]]
    assert told == [("2026-03-07T02:00:30Z", "firing"), ("2026-03-07T03:00:00Z", "resolved")]
    assert found["rules"][0]["messages"] == {"firing": 1, "resolved": 1}
    assert [(week["begins"], week["incidents"]) for week in found["weeks"]] == [("2026-03-02", 1), ("2026-03-09", 0)]


def test_a_comparison_shows_what_is_new_and_what_is_gone(folder: Path) -> None:
    asyncio.run(fill(folder / "k.db", history(), covered_since=T0 - timedelta(days=30)))
    (folder / "new.yml").write_text(rules(RED % 2))
    options = ["--since", "9d", "--rules", str(folder / "new.yml"), "--compare", str(folder / "rules.yml")]
    found = json.loads(backtest(folder, *options, "--output", "json").output)
    assert [(one["what"], one["fired_at"]) for one in found["compared"]["changes"]] == [
        ("longer", "2026-03-07T01:00:00Z"),
        ("new", "2026-03-10T01:00:00Z"),
    ]
    text = backtest(folder, *options).output
    assert "compared with the old rules: 1 incident before, 2 after; 2 messages before, 4 after" in text
    markdown = backtest(folder, *options, "--output", "markdown").output
    assert "**2 incidents, 4 messages**" in markdown
    assert "[run 1](https://gitlab.example.com/k2/app/-/pipelines/" in markdown


def test_what_only_one_of_both_could_judge_is_no_change(folder: Path) -> None:
    asyncio.run(fill(folder / "k.db", history(), covered_since=T0 - timedelta(days=4)))
    # By its offset the new rule looks back ten days, and so cannot see the first of both incidents.
    old = "{name: red, condition: failed_pipelines >= 2, period: 3h, severity: info, message: x}"
    new = old.replace(
        "failed_pipelines >= 2", "\"failed_pipelines >= 2 and value('total_pipelines', offset='10d') >= 0\""
    )
    (folder / "new.yml").write_text(rules(new))
    (folder / "rules.yml").write_text(rules(old, LONG))
    options = ["--since", "9d", "--rules", str(folder / "new.yml"), "--compare", str(folder / "rules.yml")]
    compared = json.loads(backtest(folder, *options, "--output", "json").output)["compared"]
    assert compared["incidents_before"] == 2
    assert compared["notes"] == ["red is compared from 2026-03-08 03:00 UTC: only one of both is judged before"]
    assert compared["changes"] == []
    text = backtest(folder, *options).output
    assert "  red is compared from 2026-03-08 03:00 UTC: only one of both is judged before" in text.splitlines()


@pytest.mark.parametrize("source", ["url: $NOT_SET, token: $NOT_SET", "url: $NOT_SET, poll_interval: $NOT_SET"])
def test_variables_that_are_not_set_cost_no_project(source: str, folder: Path) -> None:
    asyncio.run(fill(folder / "k.db", history(), covered_since=T0 - timedelta(days=30)))
    main_file = folder / "k2alert.yml"
    main_file.write_text(main_file.read_text().replace('url: "http://127.0.0.1", token: abcdefgh', source))
    found = json.loads(backtest(folder, "--since", "9d", "--output", "json").output)
    assert (found["projects"], len(found["incidents"])) == (1, 1)


def test_rules_and_a_history_are_enough(folder: Path) -> None:
    asyncio.run(fill(folder / "k.db", history(), covered_since=T0 - timedelta(days=30)))
    file = folder / "history.ndjson"
    file.write_bytes(asyncio.run(served(folder / "k.db")))
    options = ["--since", "9d", "--history", str(file), "--output", "json"]
    nowhere = ["backtest", "--config", str(folder / "none.yml"), *options]
    found = json.loads(CliRunner().invoke(main, [*nowhere, "--rules", str(folder / "rules.yml")]).output)
    assert [message["receiver"] for message in found["messages"]] == ["default", "default"]
    result = CliRunner().invoke(main, nowhere)
    assert (result.exit_code, result.stderr) == (
        1,
        f"{folder}/none.yml:1:1: cannot be read: No such file or directory\n",
    )


async def served(path: Path) -> bytes:
    """The history as a daemon serves it."""
    store = look_into_store(f"sqlite:///{path}")
    try:
        lines = history_lines(store, await store.projects(), since=None, until=at(10 * DAY))
        return b"".join([chunk async for chunk in lines])
    finally:
        await store.close()


def test_what_fires_still_says_so(folder: Path) -> None:
    asyncio.run(fill(folder / "k.db", history(), covered_since=T0 - timedelta(days=30)))
    result = backtest(folder, "--since", "4d", "--until", "2026-03-07T02:30:00Z")
    line = result.output.splitlines()[-1]
    assert line.startswith("red project=k2/app source=gitlab: since 2026-03-07 02:00, still firing (30m), worst 3 runs")


def test_too_many_incidents_fail_a_pipeline(folder: Path) -> None:
    asyncio.run(fill(folder / "k.db", history(), covered_since=T0 - timedelta(days=30)))
    assert backtest(folder, "--since", "9d", "--max-alerts", "1").exit_code == 0
    result = backtest(folder, "--since", "9d", "--max-alerts", "0")
    assert (result.exit_code, result.stderr) == (1, "1 incident: more than the 0 of --max-alerts\n")


def test_what_no_history_can_tell_is_said(folder: Path) -> None:
    asyncio.run(fill(folder / "k.db", history()))
    (folder / "rules.yml").write_text(rules(RED % 3, WAITS, LONG))
    notes = json.loads(backtest(folder, "--since", "9d", "--output", "json").output)["notes"]
    assert notes == [
        "waits asks for what is open now; no history knows that: left out",
        "red is judged from 2026-03-08 00:00 UTC: it looks back 7d",
        "long looks back 30d, further than the history goes: never judged",
    ]


def test_names_from_a_forge_are_text_in_markdown(folder: Path) -> None:
    hostile = "a`|@all](http://evil.example)<b>"
    asyncio.run(fill(folder / "k.db", history(hostile), covered_since=T0 - timedelta(days=30)))
    (folder / "rules.yml").write_text(rules((RED % 3).replace("message: x", "message: x, by: [project, branch]")))
    markdown = backtest(folder, "--since", "9d", "--output", "markdown").output
    (line,) = [line for line in markdown.splitlines() if "evil" in line]
    assert line.startswith("- `red branch=a'¦@all](http:\u2060//evil.example)<b> project=k2/app source=gitlab`: ")


WRONG = [
    (["--since", "x"], 2, "--since takes a length of time"),
    (["--since", "0s"], 2, "--since takes a length of time"),
    (["--since", "1d", "--until", "soon"], 2, "--until takes a time"),
    (["--since", "1d", "--until", "2020-01-01T00:00:00Z"], 1, "there is no history"),
    (["--since", "1d", "--rules", "gone.yml"], 1, "gone.yml:1:1: cannot be read"),
    ([], 2, "--since"),
]


@pytest.mark.parametrize(("options", "code", "said"), WRONG)
def test_what_is_wrong_is_one_clear_line(folder: Path, options: list[str], code: int, said: str) -> None:
    asyncio.run(fill(folder / "k.db", history()[:3]))
    result = backtest(folder, *options)
    assert result.exit_code == code
    assert said in result.stderr


def test_without_a_store_it_says_so(folder: Path) -> None:
    result = backtest(folder, "--since", "1d")
    assert result.exit_code == 1
    assert "k.db" in result.stderr
