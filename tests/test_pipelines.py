"""Our pipelines and the templates for others: valid by the vendors' schemas, and in step with the Makefile."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[1]
GITLAB = ROOT / ".gitlab-ci.yml"
GITHUB = ROOT / ".github/workflows/ci.yml"
ACTIONS = [*sorted((ROOT / ".github").rglob("action.yml")), *sorted((ROOT / "deploy/ci").rglob("action.yml"))]
WORKFLOWS = [*sorted((ROOT / ".github/workflows").glob("*.yml")), *sorted((ROOT / "deploy/ci/github").glob("*.yml"))]
INCLUDED = [GITLAB, *sorted((ROOT / "deploy/ci/gitlab").glob("*.yml"))]

KEYWORDS = {"stages", "workflow", "variables", "default", "include"}  # of GitLab's file, which are no jobs
STAGES = ["validate", "unit", "integration", "performance", "security", "build", "staging", "e2e", "production"]
"""The guide's, in its order."""


def load(path: Path) -> dict[Any, Any]:
    data = yaml.safe_load(path.read_text())
    assert isinstance(data, dict)
    return data


def texts(data: object) -> Iterator[str]:
    if isinstance(data, dict):
        data = list(data.values())
    if isinstance(data, list):
        for value in data:
            yield from texts(value)
    elif isinstance(data, str):
        yield data


def targets(path: Path) -> set[str]:
    """What `make` is asked for in a pipeline, matrices spelt out."""
    found = {name for text in texts(load(path)) for name in re.findall(r"(?:^|\s)make ([a-z0-9]+)", text)}
    matrices = r"(?:TASK|task): \[([a-z, ]+)\]"
    return found | {name for row in re.findall(matrices, path.read_text()) for name in row.split(", ")}


def jobs(path: Path) -> dict[str, dict[str, Any]]:
    data = load(path)
    if "jobs" in data:
        return dict(data["jobs"])
    return {name: job for name, job in data.items() if name not in KEYWORDS and not name.startswith(".")}


@pytest.mark.parametrize(
    ("schema", "paths"),
    [("gitlab-ci", INCLUDED), ("github-workflows", WORKFLOWS), ("github-actions", ACTIONS)],
    ids=["gitlab", "workflows", "actions"],
)
def test_they_are_valid_by_the_vendors_schema(schema: str, paths: list[Path]) -> None:
    transform = ["--data-transform", "gitlab-ci"] if schema == "gitlab-ci" else []
    tool = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", f"vendor.{schema}", *transform]
    checked = subprocess.run([*tool, *map(str, paths)], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout
    assert len(paths) >= 2


def test_a_pipeline_that_is_wrong_would_be_found(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.yml"
    wrong.write_text(GITLAB.read_text().replace("expire_in: 1 week", "expire_in: [1 week]"))
    tool = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.gitlab-ci", str(wrong)]
    assert subprocess.run(tool, capture_output=True).returncode == 1


def test_both_run_the_same_chores_and_only_those_that_there_are() -> None:
    known = set(re.findall(r"^([a-z0-9]+):.*##", (ROOT / "Makefile").read_text(), re.MULTILINE))
    action = ROOT / ".github/actions/setup/action.yml"
    assert targets(GITLAB) == targets(GITHUB) | targets(action)
    assert targets(GITLAB) <= known
    assert {"unit", "integration", "e2e", "coverage", "flaky", "performance", "audit", "dist"} <= targets(GITLAB)


def test_the_stages_are_the_guides_in_its_order() -> None:
    stages = load(GITLAB)["stages"]
    assert [stage for stage in stages if stage in STAGES] == STAGES
    assert {job["stage"] for job in jobs(GITLAB).values()} == set(stages)


@pytest.mark.parametrize("path", [GITLAB, GITHUB], ids=["gitlab", "github"])
def test_a_job_needs_jobs_that_there_are_and_ends_in_time(path: Path) -> None:
    there = jobs(path)
    for name, job in there.items():
        needs = job.get("needs", [])
        assert set([needs] if isinstance(needs, str) else needs) <= there.keys(), name
        limited = "extends" in job or "uses" in job  # what they name has the limit
        assert limited or job.keys() & {"timeout", "timeout-minutes"}, name


def test_what_is_deployed_is_there() -> None:
    said = load(ROOT / ".github/workflows/deploy.yml")[True]["workflow_call"]["inputs"]["overlay"][
        "default"
    ]  # on: true
    assert load(GITLAB)["variables"]["OVERLAY"] == said
    overlay = load(ROOT / said / "kustomization.yaml")
    assert overlay["namespace"] == "k2alert"
    assert [image["name"] for image in overlay["images"]] == ["k2alert"]


@pytest.mark.parametrize("path", INCLUDED, ids=lambda path: path.name)
def test_what_gitlab_forbids_beyond_its_schema(path: Path) -> None:
    for job in load(path).values():
        artifacts = job.get("artifacts", {}) if isinstance(job, dict) else {}
        assert re.fullmatch(r"\w[-\w ]*", artifacts.get("expose_as", "x"))
        assert "expose_as" not in artifacts or not any("*" in each for each in artifacts["paths"])


@pytest.mark.parametrize("path", [*WORKFLOWS, *ACTIONS], ids=lambda path: f"{path.parent.name}/{path.name}")
def test_nothing_that_others_write_becomes_part_of_a_script(path: Path) -> None:
    """What `${{ }}` holds is put into a script as text: only a matrix of ours may stand there."""
    steps = [step for job in load(path).get("jobs", {}).values() for step in job.get("steps", [])]
    steps += load(path).get("runs", {}).get("steps", [])
    for step in steps:
        assert set(re.findall(r"\$\{\{ *(\w+)", step.get("run", ""))) <= {"matrix"}, step
        assert re.fullmatch(r"\./.+|[\w-]+(/[\w-]+)+@v\d+", step.get("uses", "./here"))


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_a_workflow_has_no_more_rights_than_it_says(path: Path) -> None:
    assert load(path)["permissions"] == {"contents": "read"}
