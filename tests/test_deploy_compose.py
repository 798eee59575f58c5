"""deploy/compose: valid by the compose specification, open to this machine only, and k2alert takes its file."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from k2alert.cli import main

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "deploy/compose"
COMPOSE: dict[str, Any] = yaml.safe_load((FOLDER / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]


def validate(file: Path) -> int:
    """What check-jsonschema says, with the specification's schema that it carries."""
    command = ("-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(file))
    return subprocess.run((sys.executable, *command), capture_output=True).returncode


def test_the_file_is_what_the_specification_asks_for(tmp_path: Path) -> None:
    assert validate(FOLDER / "compose.yaml") == 0

    broken = tmp_path / "compose.yaml"
    broken.write_text((FOLDER / "compose.yaml").read_text().replace("restart:", "restarts:"))
    assert validate(broken) == 1


def test_k2alert_has_no_rights_that_it_does_not_need() -> None:
    service = SERVICES["k2alert"]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_is_open_to_this_machine_only_and_of_a_version(name: str) -> None:
    service = SERVICES[name]
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])
    assert service["image"].rpartition(":")[2] not in ("", "latest", service["image"])


@pytest.mark.parametrize("name", SERVICES)
def test_every_place_that_is_mounted_is_there(name: str) -> None:
    for volume in SERVICES[name].get("volumes", ()):
        source, _, target = volume.partition(":")
        if source.startswith("."):
            assert any((FOLDER / source).iterdir()), source
            assert target.endswith(":ro"), source
        else:
            assert source in COMPOSE["volumes"]


def test_k2alert_takes_its_file(tmp_path: Path) -> None:
    """Where its rules are and what its variables hold is as in the container."""
    text = (FOLDER / "k2alert/k2alert.yml").read_text().replace("/etc/k2alert/rules", str(ROOT / "rules"))
    (tmp_path / "k2alert.yml").write_text(text)
    names = [name for name in SERVICES["k2alert"]["environment"] if f"${name}" in text]
    checked = CliRunner(env=dict.fromkeys(names, "some-secret")).invoke(
        main, ["check", "--strict", str(tmp_path / "k2alert.yml")]
    )
    assert checked.exit_code == 0, checked.output
    server, _, _ = yaml.safe_load(text)["receivers"][0]["email"]["smtp_server"].partition(":")
    assert server in SERVICES
