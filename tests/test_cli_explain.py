"""`k2alert explain` at the prompt: what it writes where, and how it refuses."""

import asyncio
import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from k2alert.cli import main
from k2alert.record import open_store
from tests.support.bench import MAIN, RED, project


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a configuration, and a store in which two projects have been read."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "k2alert.yml").write_text(MAIN)
    (tmp_path / "rules.yml").write_text(RED)

    async def record() -> None:
        store = open_store("sqlite:///k2alert.db")
        for path in ("pay/api", "pay/web"):
            await store.save_project(project(path))
        await store.close()

    asyncio.run(record())
    return tmp_path


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(main, ["explain", *arguments], catch_exceptions=False)
    return result.exit_code, result.output


def test_messages_go_to_a_new_folder_beside_those_of_before(folder: Path) -> None:
    first = run("main_is_red", "--message", "project=pay/api")
    second = run("main_is_red", "project=pay/api", "--message")

    assert (first[0], second[0]) == (0, 0)
    assert "k2alert-messages/team-slack-0--firing.json" in first[1]
    assert "k2alert-messages-2/team-slack-0--firing.json" in second[1]
    assert json.loads((folder / "k2alert-messages" / "team-slack-0--firing.json").read_text())


def test_several_label_sets_have_a_folder_each_and_json_names_the_files(folder: Path) -> None:
    status, out = run("main_is_red", "--message", "seen", "--output", "json")

    assert status == 0
    files = [one["files"] for one in json.loads(out)["explanations"]]
    assert [paths[0].split("/")[:2] for paths in files] == [["seen", "1"], ["seen", "2"]]
    assert all((folder / path).stat().st_size for paths in files for path in paths)


def test_nothing_is_written_unless_it_is_asked_for(folder: Path) -> None:
    status, out = run("main_is_red")

    assert status == 0
    assert not [path for path in folder.iterdir() if path.is_dir()]
    assert "messages as files" not in out


REFUSED = {
    "no label": (["main_is_red", "pay/api"], 2, "not LABEL=VALUE: 'pay/api'"),
    "no time": (["main_is_red", "--at", "noon"], 2, "--at takes a time like 2026-01-31T08:00:00Z, not 'noon'"),
    "no such rule": (["main_is_rad"], 1, "no rule 'main_is_rad'; did you mean \"main_is_red\"?"),
    "no such configuration": (["main_is_red", "--config", "x.yml"], 1, "x.yml:1:1: cannot be read"),
    "no folder": (["main_is_red", "--message", "rules.yml"], 1, "k2alert: rules.yml cannot be written: "),
}


@pytest.mark.parametrize(("arguments", "status", "said"), REFUSED.values(), ids=REFUSED.keys())
def test_what_it_cannot_do_is_said_in_a_line(folder: Path, arguments: list[str], status: int, said: str) -> None:
    assert folder.is_dir()
    found, out = run(*arguments)

    assert found == status
    assert said in out
    assert "Traceback" not in out
