"""What a release says of its dependencies: licences, the bill of materials, advisories, what is left out and why."""

import json
import re
import tomllib
from pathlib import Path

import pytest

from scripts.audit import IGNORED, judge
from scripts.dependencies import ALLOWED, PROJECT, ROOT, licence_words, locked, needs_of
from scripts.licences_page import page
from scripts.sbom import sbom

PACKAGES = locked()


def test_everything_that_is_needed_is_under_a_licence_that_is_allowed() -> None:
    for package in PACKAGES:
        assert package.licence, f"{package.name}: no licence is known"
        assert licence_words(package.licence) <= ALLOWED, package


@pytest.mark.parametrize("licence", ["GPL-3.0-or-later", "Apache-2.0 AND AGPL-3.0-only", "LGPL-2.1 OR Unknown"])
def test_another_licence_would_be_found(licence: str) -> None:
    assert not licence_words(licence) <= ALLOWED


def test_the_page_of_licences_is_up_to_date() -> None:
    assert (ROOT / "docs/licences.md").read_text() == page(), "run `make docs`"
    assert "|  |" not in page(), "somebody needs each of them"


@pytest.mark.parametrize(
    ("requirement", "extras", "needed"),
    [
        ("b>=1", ("",), ("b",)),
        ("b; python_version < '3.12'", ("",), ("b",)),
        ("b; python_version < '3.9'", ("",), ()),
        ("b; extra == 'crypto'", ("",), ()),
        ("b; extra == 'crypto'", ("", "crypto"), ("b",)),
        ("other", ("",), ()),
    ],
)
def test_who_needs_whom_on_any_python(requirement: str, extras: tuple[str, ...], needed: tuple[str, ...]) -> None:
    assert needs_of([requirement], {"a", "b"}, extras) == needed


def test_the_bill_lists_what_is_locked_and_how_it_hangs_together() -> None:
    bill = sbom()
    listed = {(part["name"], part["version"]) for part in bill["components"]}
    lock = (ROOT / "requirements.lock").read_text()
    assert listed == set(re.findall(r"^([a-z0-9-]+)==(\S+)", lock, re.MULTILINE))
    graph = {row["ref"]: row["dependsOn"] for row in bill["dependencies"]}
    assert set(graph) == {part["bom-ref"] for part in (*bill["components"], bill["metadata"]["component"])}
    mine = bill["metadata"]["component"]
    assert (mine["name"], mine["version"]) == ("k2alert", PROJECT["version"])
    reached, left = set(), [mine["bom-ref"]]
    while left:
        reached.add(ref := left.pop())
        left += [other for other in graph[ref] if other not in reached]
    assert reached == set(graph)


def test_the_same_lock_gives_the_same_bill() -> None:
    assert json.dumps(sbom()) == json.dumps(sbom())


def told(**packages: object) -> str:
    rows = [
        {"name": name, "version": "1", **({"vulns": said} if isinstance(said, list) else {"skip_reason": said})}
        for name, said in packages.items()
    ]
    return json.dumps({"dependencies": rows, "fixes": []})


ADVISORY = {"id": "PYSEC-1", "fix_versions": ["2"], "aliases": [], "description": "bad"}


@pytest.mark.parametrize(
    ("printed", "well", "line"),
    [
        (told(a=[], b=[]), True, "advisories: 2 packages, 0 known, 0 of concern"),
        (told(a=[ADVISORY], b=[]), False, "a 1: PYSEC-1, mended in 2"),
        (told(a=[], b="not found"), True, "advisories: not asked for b"),
        (told(a="not found"), True, "advisories: not asked for any of 1 packages, they cannot be had from here"),
        ("", True, "advisories: not asked, for pip-audit failed: no network"),
    ],
    ids=["clean", "known", "one is not known", "nobody answers", "it fails"],
)
def test_an_advisory_fails_the_audit_and_an_unreachable_feed_does_not(printed: str, well: bool, line: str) -> None:
    found, lines = judge(printed, "trace\nno network\n")
    assert found is well
    assert line in lines


def test_what_is_left_out_has_its_reason() -> None:
    assert all(len(reason) > 20 for reason in IGNORED.values())
    bandit = (ROOT / "pyproject.toml").read_text().partition("[tool.bandit]")[2].partition("\n]\n")[0]
    skips = tomllib.loads(f"[tool.bandit]{bandit}\n]")["tool"]["bandit"]["skips"]
    assert len(re.findall(r'^ +"B\d+", # .{15,}$', bandit, re.MULTILINE)) == len(skips)


def test_security_is_reported_in_private() -> None:
    words = Path(ROOT / "SECURITY.md").read_text()
    assert "not in a public issue" in words
    assert PROJECT["version"].rpartition(".")[0] in words
