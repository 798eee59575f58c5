"""What is known against the dependencies, and whether the bill of materials is one; run by `make audit`.

Runs in the environment of requirements-audit.lock. Exits with 1 where the bill is not valid or an advisory concerns a
locked package. Where the advisories cannot be asked for it says so, and that is no failure: nobody can mend it here.

    python scripts/audit.py reports/sbom.cdx.json
"""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

_WITHIN = 120  # seconds for all packages together

LOCKS = ("requirements.lock", "requirements-build.lock")

IGNORED: dict[str, str] = {}
"""Advisories that do not concern us, by identifier, each with the reason."""


def judge(told: str, error: str) -> tuple[bool, list[str]]:
    """From what pip-audit printed: whether all is well, and what to say."""
    try:
        packages: list[dict[str, Any]] = json.loads(told)["dependencies"]
    except (ValueError, KeyError):
        return True, [f"advisories: not asked, for pip-audit failed: {(error.strip().splitlines() or ['?'])[-1][:200]}"]
    asked = [package for package in packages if "skip_reason" not in package]
    if not asked:
        return True, [f"advisories: not asked for any of {len(packages)} packages, they cannot be had from here"]
    known = [(package, advisory) for package in asked for advisory in package["vulns"]]
    bad = [(package, advisory) for package, advisory in known if advisory["id"] not in IGNORED]
    lines = [
        f"{package['name']} {package['version']}: {advisory['id']}, mended in {' or '.join(advisory['fix_versions'])}"
        for package, advisory in bad
    ]
    skipped = [package["name"] for package in packages if package not in asked]
    left = [f"advisories: not asked for {', '.join(skipped)}"] if skipped else []
    return not bad, [*lines, *left, f"advisories: {len(asked)} packages, {len(known)} known, {len(bad)} of concern"]


def ask() -> tuple[str, str]:
    """What pip-audit prints about everything that is locked for running and building."""
    locks = [word for lock in LOCKS for word in ("-r", lock)]
    command = [sys.executable, "-m", "pip_audit", "--disable-pip", "--require-hashes", "--format", "json", *locks]
    try:
        ended = subprocess.run(command, capture_output=True, text=True, timeout=_WITHIN)  # noqa: S603 - words of ours
    except subprocess.TimeoutExpired:
        return "", f"no answer within {_WITHIN} s"
    return ended.stdout, ended.stderr


def main(words: Sequence[str]) -> int:
    """Validates the bill, asks for advisories, says what came of it."""
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    bill = Path(words[0]).read_text()
    wrong = JsonStrictValidator(SchemaVersion.V1_6).validate_str(bill)
    parts = json.loads(bill)["components"]
    print(f"bill of materials: {wrong or f'{len(parts)} components, valid CycloneDX 1.6'}")
    well, lines = judge(*ask())
    print(*lines, sep="\n")
    return 0 if well and not wrong else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
