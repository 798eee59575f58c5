"""The licences of what k2alert needs, as a page of the docs: `make docs` writes it, a test holds it to the lock."""

from scripts.dependencies import ALLOWED, PROJECT, Package, locked, needs_of

_HEAD = """\
# Licences

<!-- Written by `make docs` from what is locked and installed. -->

k2alert is under the Apache License 2.0. What it needs at run time, as `requirements.lock` has it, is under licences
that allow use in a product of any licence: a test refuses any other, and one that is not known. `make audit` writes
the same as a CycloneDX bill of materials, `reports/sbom.cdx.json`.

| package | licence | needed by |
|---|---|---|
"""


def page() -> str:
    """The whole page."""
    packages = locked()
    rows = [f"| {one.name} | {one.licence} | {', '.join(_needed_by(one, packages))} |\n" for one in packages]
    return _HEAD + "".join(rows) + f"\nAllowed are {', '.join(sorted(ALLOWED))}.\n"


def _needed_by(package: Package, packages: list[Package]) -> list[str]:
    extras = PROJECT["optional-dependencies"].items()
    mine = ["k2alert"] if needs_of(PROJECT["dependencies"], {package.name}) else []
    optional = [f"k2alert[{extra}]" for extra, needed in extras if needs_of(needed, {package.name})]
    return mine + optional + [other.name for other in packages if package.name in other.needs]


if __name__ == "__main__":
    print(page(), end="")
