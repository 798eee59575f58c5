"""`k2alert check`, `schema` and `metrics`, as a shell sees them."""

import json
from collections.abc import Iterator
from contextlib import chdir
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from k2alert.cli.check import command as check
from k2alert.cli.metrics import command as metrics
from k2alert.cli.schema import command as schema
from k2alert.judge.grammar import FUNCTIONS
from k2alert.measure.catalogue import METRICS
from tests.support.broken_files import RULE, rule_but, rule_with

GOOD = f"""\
sources: [{{type: gitlab, name: gitlab, projects: [k2/app]}}]
notifications: {{slack: {{webhook_url: https://hooks.example.com/x}}}}
{RULE}    min_samples: 10
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path) -> Iterator[Path]:
    """An empty working directory."""
    with chdir(tmp_path):
        yield tmp_path


def run(*arguments: str, **environ: str) -> Result:
    """`k2alert check` with these arguments."""
    return CliRunner().invoke(check, list(arguments), env={"K2ALERT_CONFIG": None, **environ})


def write(**files: str) -> None:
    """Files by the name before `.yml`."""
    for name, text in files.items():
        Path(f"{name}.yml").write_text(text)


def test_a_good_file_is_counted() -> None:
    write(k2alert=GOOD)

    result = run()

    assert (result.exit_code, result.output) == (0, "1 file, 1 rule, 0 errors, 0 warnings\n")


def test_errors_exit_with_1_and_have_places() -> None:
    write(k2alert=GOOD.replace("success_rate <", "sucess_rate <").replace("warning", "warn"))

    result = run("--strict")

    assert result.exit_code == 1
    assert result.output.splitlines() == [
        "k2alert.yml:5:16: condition: unknown name 'sucess_rate'; did you mean 'success_rate'?",
        'k2alert.yml:7:15: severity: must be info, warning or critical; did you mean "warning"?',
        "1 file, 1 rule, 2 errors, 0 warnings",
    ]


@pytest.mark.parametrize(("arguments", "code"), [([], 0), (["--strict"], 3)])
def test_warnings_exit_with_3_when_asked(arguments: list[str], code: int) -> None:
    write(k2alert=GOOD.replace("https://hooks.example.com/x", "$HOOK"))

    result = run(*arguments)

    assert result.exit_code == code
    assert result.output.splitlines() == [
        "k2alert.yml:2:38: warning: $HOOK is not set",
        "1 file, 1 rule, 0 errors, 1 warning",
    ]


def test_a_wrong_option_exits_with_2() -> None:
    assert run("--nope").exit_code == 2


def test_a_file_that_is_not_there_is_one_line() -> None:
    result = run("nowhere.yml")

    assert result.exit_code == 1
    assert result.output.splitlines()[0] == "nowhere.yml:1:1: cannot be read: No such file or directory"


def test_the_environment_may_name_the_file() -> None:
    write(other=GOOD)

    assert run(K2ALERT_CONFIG="other.yml").exit_code == 0
    assert run().exit_code == 1


def test_the_environment_is_what_references_see() -> None:
    write(k2alert=GOOD.replace("https://hooks.example.com/x", "$HOOK"))

    assert run("--strict", HOOK="https://hooks.example.com/x").exit_code == 0


def test_main_files_and_rule_files_are_told_apart() -> None:
    write(
        k2alert=f"{GOOD}rule_files: [named.yml]\n",
        named=rule_but("red", "blue") + "    min_samples: 10\n",
        alone=rule_with("severty: x"),
    )

    result = run("alone.yml", "named.yml", "k2alert.yml")

    assert result.exit_code == 1
    assert result.output.splitlines() == [
        'alone.yml:7:5: unknown key "severty"; did you mean "severity"?',
        "3 files, 3 rules, 1 error, 0 warnings",
    ]


def test_programs_get_json() -> None:
    write(k2alert=GOOD.replace("warning", "warn"))

    result = run("--output", "json")

    assert result.exit_code == 1
    assert json.loads(result.output) == {
        "files": ["k2alert.yml"],
        "rules": 1,
        "errors": 1,
        "warnings": 0,
        "problems": [
            {
                "file": "k2alert.yml",
                "line": 7,
                "column": 15,
                "severity": "error",
                "code": "config",
                "text": 'severity: must be info, warning or critical; did you mean "warning"?',
            }
        ],
    }


def test_schema_prints_one_for_each_kind_of_file() -> None:
    main = json.loads(CliRunner().invoke(schema, []).output)
    rules = json.loads(CliRunner().invoke(schema, ["--rules"]).output)

    assert {"sources", "route", "alert_rules"} <= main["properties"].keys()
    assert rules["properties"].keys() == {"alert_rules", "defaults", "notifications"}


def test_metrics_prints_the_catalogue_as_a_table() -> None:
    names, functions = CliRunner().invoke(metrics, []).output.split("\n\n")
    header, *rows = names.splitlines()

    assert header.split() == ["NAME", "UNIT", "COLLECTED", "GAUGE", "LABELS", "MEANING"]
    assert [row.split()[0] for row in rows] == list(METRICS)
    assert [row.partition("(")[0] for row in functions.splitlines()[1:]] == list(FUNCTIONS)
    assert CliRunner().invoke(metrics, ["--functions"]).output == functions


def test_functions_come_as_json_too() -> None:
    found = json.loads(CliRunner().invoke(metrics, ["--functions", "--output", "json"]).output)
    assert [function["name"] for function in found] == list(FUNCTIONS)


def test_metrics_prints_the_catalogue_as_json() -> None:
    found = {line["name"]: line for line in json.loads(CliRunner().invoke(metrics, ["--output", "json"]).output)}

    assert found.keys() == METRICS.keys()
    assert found["success_rate"]["unit"] == "ratio"
    assert found["success_rate"]["collected"]
    assert "project" in found["success_rate"]["labels"]
    assert all(metric["collected"] for metric in found.values())


# ------------------------------------------------------------------------------------- beside the lines


def test_github_gets_workflow_commands_that_no_text_can_break() -> None:
    write(k2alert=GOOD.replace("success_rate <", "'a%\n\n::error::x' <"))
    Path("odd,name:x.yml").write_text(rule_with("severty: x"))

    broken, unknown = (
        run("--output", "github", file).output.splitlines() for file in ("k2alert.yml", "odd,name:x.yml")
    )

    assert all(line.startswith("::error file=k2alert.yml,line=") for line in broken)
    assert unknown[0].startswith("::error file=odd%2Cname%3Ax.yml,line=7,col=5,title=k2alert config::unknown key")


def test_gitlab_gets_a_code_quality_report() -> None:
    write(k2alert=GOOD.replace("0.95", "95"))
    (issue,) = json.loads(run("--output", "gitlab").output)
    moved = GOOD.replace("0.95", "95").replace("alert_rules", "\n\nalert_rules")
    write(k2alert=moved)
    (later,) = json.loads(run("--output", "gitlab").output)

    assert issue["check_name"] == "k2alert-unit"
    assert issue["severity"] == "minor"
    assert issue["location"] == {"path": "k2alert.yml", "lines": {"begin": 5}}
    assert later["location"]["lines"]["begin"] == 7
    assert later["fingerprint"] == issue["fingerprint"]


def test_nothing_to_say_is_an_empty_report() -> None:
    write(k2alert=GOOD)
    assert json.loads(run("--output", "gitlab").output) == []
    assert run("--output", "github").output == "\n"
