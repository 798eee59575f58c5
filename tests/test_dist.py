"""The wheel and the sdist: the same bytes each time, and k2alert as somebody has it who installs them."""

import os
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest
import yaml

from tests.support.pages import fenced
from tests.test_frame_readme import README

ROOT = Path(__file__).parents[1]
RULES = sorted(path.name for path in (ROOT / "rules").glob("*.yml"))


def run(*command: str | Path, **more: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*map(str, command)], capture_output=True, text=True, **more)  # type: ignore[call-overload,no-any-return]


def build(source: Path, into: Path) -> Path:
    """What `make dist` builds from this tree."""
    environ = {**os.environ, "SOURCE_DATE_EPOCH": "1577836800"}
    built = run(sys.executable, "-m", "hatchling", "build", "-d", into, cwd=source, env=environ)
    assert built.returncode == 0, built.stderr
    return into


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(ROOT, tmp_path_factory.mktemp("dist"))


def wheel_of(dist: Path) -> Path:
    (wheel,) = dist.glob("*.whl")
    return wheel


def sdist_of(dist: Path) -> Path:
    (sdist,) = dist.glob("*.tar.gz")
    return sdist


def test_the_same_source_gives_the_same_bytes_wherever_and_whenever(dist: Path, tmp_path: Path) -> None:
    with tarfile.open(sdist_of(dist)) as archive:
        archive.extractall(tmp_path, filter="data")
    (unpacked,) = tmp_path.iterdir()
    for path in unpacked.rglob("*"):
        os.utime(path, (1_000_000_000, 1_000_000_000))
    again = build(unpacked, tmp_path / "again")
    assert wheel_of(again).read_bytes() == wheel_of(dist).read_bytes()
    assert sdist_of(again).read_bytes() == sdist_of(dist).read_bytes()


def test_the_wheel_holds_all_of_the_package_and_nothing_else(dist: Path) -> None:
    names = set(zipfile.ZipFile(wheel_of(dist)).namelist())
    package = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "k2alert").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert {"k2alert/py.typed", "k2alert/record/queries.sql", "k2alert/expose/templates/base.html"} <= package
    assert {name for name in names if name.startswith("k2alert/")} == package
    other = {name.split("/")[0] for name in names - package}
    assert {name.rpartition(".")[2] for name in other} == {"data", "dist-info"}
    assert {name.rpartition("/rules/")[2] for name in names if "/share/k2alert/rules/" in name} >= set(RULES)


def test_the_sdist_holds_what_it_takes_to_build_and_to_lock(dist: Path) -> None:
    with tarfile.open(sdist_of(dist)) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"pyproject.toml", "LICENSE", "README.md", "CHANGELOG.md", "requirements.lock", "rules/ci.yml"} <= names


@pytest.fixture(scope="module")
def installed(dist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh environment with what is locked and the wheel; the folder of its commands."""
    folder = tmp_path_factory.mktemp("fresh")
    venv.create(folder, with_pip=False)
    pip = [sys.executable, "-m", "pip", "--python", str(folder / "bin/python"), "install", "--quiet"]
    locked = run(*pip, "--require-hashes", "-r", ROOT / "requirements.lock")
    if locked.returncode and "No matching distribution" in locked.stderr:
        pytest.skip("the locked packages cannot be had")
    assert locked.returncode == 0, locked.stderr
    mine = run(*pip, "--no-deps", "--no-index", wheel_of(dist))
    assert mine.returncode == 0, mine.stderr
    return folder / "bin"


def outside(folder: Path) -> dict[str, object]:
    """Away from this tree, with nothing of its environment."""
    return {"cwd": folder, "env": {"PATH": "/usr/bin:/bin", "HOME": str(folder)}}


def test_what_is_installed_needs_nothing_else(installed: Path) -> None:
    checked = run(sys.executable, "-m", "pip", "--python", installed / "python", "check")
    assert checked.returncode == 0, checked.stdout


def test_it_says_its_version_and_what_it_can(installed: Path, tmp_path: Path) -> None:
    version = run(installed / "k2alert", "--version", **outside(tmp_path))
    assert version.stdout == f"{version_of(installed)}\n"
    helped = run(installed / "k2alert", "--help", **outside(tmp_path))
    assert helped.returncode == 0
    assert all(f"\n  {name} " in helped.stdout for name in ("run", "check", "demo", "gate"))


def version_of(installed: Path) -> str:
    code = "import importlib.metadata as m; print('k2alert, version', m.version('k2alert'))"
    return run(installed / "python", "-c", code).stdout.strip()


def test_the_rules_that_come_with_it_are_beside_it_and_pass(installed: Path, tmp_path: Path) -> None:
    rules = installed.parent / "share/k2alert/rules"
    assert sorted(path.name for path in rules.glob("*.yml")) == RULES
    checked = run(installed / "k2alert", "check", "--strict", *rules.glob("*.yml"), **outside(tmp_path))
    assert checked.returncode == 0, checked.stdout
    tested = run(installed / "k2alert", "test", rules / "tests/slo.yml", **outside(tmp_path))
    assert tested.returncode == 0, tested.stdout


def test_the_configuration_of_the_readme_is_read(installed: Path, tmp_path: Path) -> None:
    data = yaml.safe_load(fenced(README, "yaml")[0])
    assert data["rule_files"] == ["rules/ci.yml"]
    (tmp_path / "k2alert.yml").write_text(fenced(README, "yaml")[0])
    shutil.copytree(installed.parent / "share/k2alert/rules", tmp_path / "rules")
    checked = run(installed / "k2alert", "check", tmp_path / "k2alert.yml", **outside(tmp_path))
    assert checked.returncode == 0, checked.stdout
    assert "0 errors" in checked.stdout


def test_a_gate_judges(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "lcov.info").write_text("SF:a.py\nDA:1,1\nDA:2,0\nend_of_record\n")
    judged = run(installed / "k2alert", "gate", "coverage", "lcov.info", **outside(tmp_path))
    assert judged.returncode == 1, judged.stdout
    assert "50.00%" in judged.stdout


def test_the_demo_runs_from_end_to_end(installed: Path, tmp_path: Path) -> None:
    shown = run(installed / "k2alert", "demo", "--speed", "8", **outside(tmp_path))
    assert (shown.returncode, shown.stderr) == (0, "")
    assert shown.stdout.index("[FIRING:1]") < shown.stdout.index("[RESOLVED]")
