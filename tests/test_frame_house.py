"""The house as its documents describe it: the map and the tree, the contracts, the shipped rules, the chores."""

import ast
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from k2alert.config.receivers import INTEGRATIONS
from k2alert.config.settings import GithubSource, GitlabSource, MainFile, RouteSettings, RuleSettings
from k2alert.expose.selfmetrics import SelfMetrics
from k2alert.filters import FILTERS
from k2alert.judge.grammar import FUNCTIONS
from k2alert.template import TEMPLATE_NAMES
from scripts.metrics_page import page

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "k2alert"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
TRACKED = (".py", ".md", ".toml", ".yml", ".yaml", ".sql", ".lock")


def doc(name: str) -> str:
    return (ROOT / "docs" / name).read_text()


def parts() -> set[str]:
    """Every module and package directly under k2alert, as the map writes it."""
    modules = {path.stem for path in PACKAGE.glob("*.py")} - {"__init__"}
    return modules | {f"{path.parent.name}/" for path in PACKAGE.glob("*/__init__.py")}


def own_files() -> list[Path]:
    """What belongs to the project: no caches, no environment, nothing that a run leaves behind."""
    folders = ("k2alert", "tests", "scripts", "rules", "docs", "benchmarks", "deploy", ".ci")
    found = [path for folder in folders for path in (ROOT / folder).rglob("*") if path.is_file()]
    top = [path for path in ROOT.iterdir() if path.is_file() and path.suffix in (*TRACKED, "") and path.name != ".git"]
    return [path for path in found + top if "__pycache__" not in path.parts]


# -------------------------------------------------------------------------------------------- the map


def test_the_map_and_the_tree_agree() -> None:
    mapped = re.findall(r"^\| `([a-z_]+/?)` \|", doc("architecture.md").split("## One round")[0], re.MULTILINE)
    assert len(mapped) == len(set(mapped))
    assert set(mapped) == parts()


def test_the_map_is_in_the_order_of_the_imports() -> None:
    mapped = re.findall(r"^\| `([a-z_]+)/?` \|", doc("architecture.md").split("## One round")[0], re.MULTILINE)
    (contract,) = [found for found in PROJECT["tool"]["importlinter"]["contracts"] if found["type"] == "layers"]
    level = {name: depth for depth, layer in enumerate(contract["layers"]) for name in layer.split(" | ")}
    depths = [level[name] for name in mapped]
    assert depths == sorted(depths)


def test_every_dependency_has_its_reason_and_floor() -> None:
    for requirement in PROJECT["project"]["dependencies"]:
        name, _, floor = requirement.partition(">=")
        assert re.search(rf"^\| {name} \| [^|]+ \| {re.escape(floor)}", doc("architecture.md"), re.MULTILINE), name


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_every_module_says_what_it_is_for(path: Path) -> None:
    assert path.name == "__main__.py" or ast.get_docstring(ast.parse(path.read_text()))


# ------------------------------------------------------------------------------------ the other pages


def test_every_command_is_on_its_page_as_it_explains_itself() -> None:
    # In a process of its own: click remembers how help was asked for first, and other tests ask in other ways.
    command = [sys.executable, "-m", "scripts.commands_page"]
    printed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert doc("commands.md") == printed, "run `make docs`"


def test_every_environment_variable_is_explained() -> None:
    read = {name for path in PACKAGE.rglob("*.py") for name in re.findall(r"\bK2ALERT_[A-Z]+\b", path.read_text())}
    assert {name for name in read if f"`{name}`" not in doc("commands.md")} == set()


def test_the_page_of_metrics_is_up_to_date() -> None:
    assert doc("metrics.md") == page(), "run `make docs`"


def test_every_key_of_the_configuration_is_documented() -> None:
    settings = (MainFile, GitlabSource, GithubSource, RouteSettings, *INTEGRATIONS.values())
    keys = {info.alias or name for model in settings for name, info in model.model_fields.items()}
    keys -= {"url"}  # of integrations that are not built
    missing = {key for key in keys if not re.search(rf"`{key}:?`", doc("configuration.md"))}
    assert not missing


def test_every_key_of_a_rule_is_documented() -> None:
    keys = {info.alias or name for name, info in RuleSettings.model_fields.items()}
    assert {key for key in keys if f"| `{key}` |" not in doc("rules.md")} == set()


@pytest.mark.parametrize("names", [FUNCTIONS, FILTERS, TEMPLATE_NAMES], ids=["functions", "filters", "names"])
def test_every_name_of_rules_is_documented(names: frozenset[str]) -> None:
    prose = re.sub(r"^```.*?^```$", "", doc("rules.md"), flags=re.MULTILINE | re.DOTALL)
    documented = set(re.findall(r"[a-z_0-9]+", " ".join(re.findall(r"`[^`]+`", prose))))
    aliases = {"d", "count", "k2alert_rule_value"}  # other names of what is documented
    assert set(names) - documented <= aliases


def test_every_metric_about_itself_is_documented() -> None:
    exposed = SelfMetrics("1").render("")[0].decode()
    families = set(re.findall(r"^# TYPE (k2alert_\w+?)(?:_created)? ", exposed, re.MULTILINE))
    assert {name for name in families if name not in doc("operations.md")} == set()


# ------------------------------------------------------------------------------------ rules and chores


def test_python_m_k2alert_is_the_command() -> None:
    asked = subprocess.run([sys.executable, "-m", "k2alert", "--version"], cwd=ROOT, capture_output=True, text=True)
    assert asked.stdout == f"k2alert, version {PROJECT['project']['version']}\n"


def test_make_alone_lists_every_chore() -> None:
    listed = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, env=_outside_make()).stdout
    targets = re.findall(r"^([a-z0-9]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert re.findall(r"^  make ([a-z0-9]+) ", listed, re.MULTILINE) == targets


def _outside_make() -> dict[str, str]:
    """The environment without what an outer make hands down."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}


def test_every_benchmark_still_fits_the_code_it_measures() -> None:
    names = sorted(path.stem for path in (ROOT / "benchmarks").glob("*.py"))
    environ = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'benchmarks'}"}
    tried = subprocess.run(
        [sys.executable, "-c", f"import {', '.join(names)}"], env=environ, capture_output=True, text=True
    )
    assert tried.returncode == 0, tried.stderr


@pytest.mark.parametrize("allowed", [True, False])
def test_a_skip_fails_the_run_only_where_nothing_may_be_skipped(tmp_path: Path, allowed: bool) -> None:
    (tmp_path / "conftest.py").write_text((ROOT / "tests" / "conftest.py").read_text())
    (tmp_path / "test_one.py").write_text("import pytest\ndef test_it():\n    pytest.skip('no server')\n")
    environ = {**os.environ, "K2ALERT_NO_SKIP": "" if allowed else "1"}
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-n",
        "1",
        "-c",
        os.devnull,
        "--rootdir",
        str(tmp_path),
        str(tmp_path),
    ]
    ended = subprocess.run(command, env=environ, capture_output=True, text=True)
    assert ended.returncode == (0 if allowed else 1), ended.stdout


# -------------------------------------------------------------------------------------------- hygiene

# Put together, so that this file does not hold them.
UNFINISHED = re.compile("TO" + "DO|FIX" + "ME|X" + "XX|NotImplemented" + "Error")
ONE_MACHINE = re.compile(
    "/wo" + r"rk/|/ro" + r"ot/|/ho" + r"me/\w|py" + r"pi\.|pythonhos" + r"ted|file:///(?:opt|home|srv)"
)


@pytest.mark.parametrize(("forbidden", "what"), [(UNFINISHED, "unfinished"), (ONE_MACHINE, "of one machine")])
def test_no_file_holds_what_it_should_not(forbidden: re.Pattern[str], what: str) -> None:
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in own_files()
        if path.name != "LICENSE"
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1)
        if forbidden.search(line)
    ]
    assert not found, what
