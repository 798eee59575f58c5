"""What is written to be copied from the docs: every file is one that k2alert takes, every command is there."""

import re
import shlex
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click
import pytest
import yaml
from click.testing import CliRunner
from markdown_it import MarkdownIt

from k2alert.cli import main
from k2alert.config.settings import MainFile
from k2alert.expose.selfmetrics import SelfMetrics
from k2alert.measure.catalogue import METRICS
from tests.support.pages import ROOT, files

MARKDOWN = MarkdownIt("commonmark")
LANGUAGES = {"yaml", "sh", "python", "text", "ebnf", "sql"}
KEYS = {info.alias or name for name, info in MainFile.model_fields.items()}
# Blocks of Python are run by the tests of their pages: tests/test_howto.py.
# What other programs read is tried by those programs, in tests/test_migration.py and tests/test_deploy_prometheus.py.
OF_OTHERS = ("# alertmanager.yml", "# ci.rules.yml", "scrape_configs:")


@dataclass(frozen=True, slots=True)
class Block:
    """A block of code, and where it stands."""

    page: str
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]


def all_blocks() -> Iterator[Block]:
    for path in PAGES:
        for token in MARKDOWN.parse(path.read_text()):
            if token.type in ("fence", "code_block") and token.map:
                language = token.info.strip() if token.type == "fence" else "sh"
                yield Block(path.name, token.map[0] + 1, language, token.content)


BLOCKS = list(all_blocks())
# The examples of checks.md are of what is wrong.
YAML = [block for block in BLOCKS if block.language == "yaml" and block.page != "checks.md"]
FILES = [block for block in YAML if not block.text.startswith(OF_OTHERS)]
TESTS = [block for block in FILES if re.search(r"^tests:", block.text, re.MULTILINE)]
COMMANDS = [(block, line) for block in BLOCKS if block.language == "sh" for line in block.text.splitlines()]


def test_every_block_says_what_it_is_written_in() -> None:
    assert [str(block) for block in BLOCKS if block.language not in LANGUAGES] == []


# --------------------------------------------------------------------------------------------- the files


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the shipped rules, in which somebody types."""
    shutil.copytree(ROOT / "rules", tmp_path / "rules")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def whole(text: str) -> str:
    """A configuration from what an example shows of one: receivers and intervals that it names are made up."""
    shown = yaml.safe_load(text)
    if isinstance(shown, list):
        return "alert_rules:\n" + text
    assert set(shown) <= KEYS, set(shown) - KEYS
    named = dict.fromkeys(re.findall(r"\breceiver: ([\w-]+)", text))
    if named and not {"receivers", "notifications"} & set(shown):
        text += f"receivers: [{', '.join(f'{{name: {name}}}' for name in named)}]\n"
    return text


@pytest.mark.parametrize("block", [block for block in FILES if block not in TESTS], ids=str)
def test_every_example_of_a_configuration_has_no_error(block: Block, folder: Path) -> None:
    for gone in re.findall(r"\brules/[a-z_]+\.yml", block.text):
        (folder / gone).touch()  # what the reader is to write
    (folder / "k2alert.yml").write_text(whole(block.text))
    said = CliRunner().invoke(main, ["check", "k2alert.yml"])
    assert said.exit_code == 0, said.output


@pytest.mark.parametrize("block", [block for block in TESTS if block.page == "rehearse.md"], ids=str)
def test_every_example_of_a_test_of_rules_holds(block: Block, folder: Path) -> None:
    (folder / "rules" / "tests" / "example.yml").write_text(block.text)
    said = CliRunner().invoke(main, ["test", "rules/tests/example.yml"])
    assert said.exit_code == 0, said.output


# ------------------------------------------------------------------------------------------- the commands


def ours(line: str) -> list[str]:
    """The words after `k2alert`, where a line calls it."""
    words = shlex.split(line, comments=True)
    called = bool(words) and words[0] in ("k2alert", ".venv/bin/k2alert")
    return words[1:] if called else []


def unknown_of(words: list[str]) -> str:
    """The first command or option of a call that there is not; "" where all are there."""
    command: click.Command = main
    context = click.Context(main)
    for word in words:
        known = {option for one in command.params for option in one.opts}
        if word.startswith("--"):
            if word.partition("=")[0] not in {*known, "--help"}:
                return word
        elif isinstance(command, click.Group):
            below = command.get_command(context, word)
            if below is None:
                return word
            command = below
    return ""


@pytest.mark.parametrize(
    ("block", "line"), [one for one in COMMANDS if re.match(r"(\.venv/bin/)?k2alert ", one[1])], ids=str
)
def test_every_command_and_option_is_there(block: Block, line: str) -> None:
    assert not unknown_of(ours(line)), block


def test_every_command_and_option_that_the_text_names_is_there() -> None:
    named = [(page.name, call) for page in PAGES for call in re.findall(r"`k2alert ([^`]+)`", page.read_text())]
    wrong = [(page, call) for page, call in named if unknown_of(re.findall(r"--[a-z-]+|\b[a-z]+\b", call))]
    assert wrong == []
    assert len(named) > 50


def test_everything_of_the_project_that_a_command_names_is_there() -> None:
    named = [
        (block, path)
        for block, line in COMMANDS
        for path in re.findall(r"(?<![\w/])(?:benchmarks|deploy|scripts|docs)/[\w./*-]+", line)
    ]
    assert [f"{block}: {path}" for block, path in named if not list(ROOT.glob(path.rstrip("/.")))] == []
    assert len(named) > 5


# ---------------------------------------------------------------------------------------- series and paths


def test_every_series_that_the_docs_name_is_exposed() -> None:
    source = "".join(path.read_text() for path in (ROOT / "k2alert").rglob("*.py"))
    known = set(re.findall(r"k2alert_[a-z_]+", source)) | {metric.gauge for metric in METRICS.values()}
    known |= set(re.findall(r"k2alert_[a-z_]+", SelfMetrics("1").render("")[0].decode()))
    for page in PAGES:
        for name in re.findall(r"\bk2alert_[a-z_]+[a-z]\b(?![*/])", page.read_text()):
            assert {name, re.sub(r"_(bucket|sum|count|total)$", "", name)} & known, f"{page.name}: {name}"


def test_every_path_of_the_server_is_in_the_docs() -> None:
    added = re.compile(r'add_(?:get|post|put|route)\((?:method, )?f?"([^"]+)"')
    paths = {path for file in (ROOT / "k2alert" / "expose").glob("*.py") for path in added.findall(file.read_text())}
    assert len(paths) > 20
    said = "".join(page.read_text() for page in PAGES if page.name in ("operations.md", "routing.md", "collecting.md"))
    shown = {
        path for path in paths if not re.match(r"/style/|/sign-|/silences/expire", path)
    }  # what pages ask by themselves
    assert {path for path in shown if f"{path.partition('{')[0].rstrip('/') or '/'}" not in said} == set()


def test_every_file_that_the_text_names_is_there() -> None:
    folders = "k2alert|tests|scripts|deploy|benchmarks|rules"
    named = [(page, path) for page in PAGES for path in re.findall(rf"`((?:{folders})/[\w./*-]+)`", page.read_text())]
    shown = {file.name for page in PAGES for file in files(page.read_text())}  # what a page has its reader write
    missing = [
        f"{page.name}: {path}" for page, path in named if path not in shown and not list(ROOT.glob(path.rstrip("/.")))
    ]
    assert [one for one in missing if not one.endswith("/.env")] == []
    assert len(named) > 30
