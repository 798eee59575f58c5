"""The bill of materials of a release, in CycloneDX 1.6: what k2alert needs at run time, from the lock and the packages.

The same lock gives the same bytes: there is no time in it.

    python -m scripts.sbom > sbom.cdx.json
"""

import json
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from scripts.dependencies import PROJECT, Package, locked, needs_of

__all__ = ["sbom"]


def sbom() -> dict[str, Any]:
    """The whole document."""
    packages = locked()
    purls = {package.name: package.purl for package in packages}
    optional = [one for more in PROJECT["optional-dependencies"].values() for one in more]
    direct = needs_of([*PROJECT["dependencies"], *optional], set(purls))
    mine = Package(PROJECT["name"], PROJECT["version"], PROJECT["license"], direct)
    content: dict[str, Any] = {
        "metadata": {"component": {"type": "application", **_component(mine)}},
        "components": [{"type": "library", **_component(package)} for package in packages],
        "dependencies": [
            {"ref": package.purl, "dependsOn": [purls[name] for name in package.needs]} for package in (mine, *packages)
        ],
    }
    serial = uuid5(NAMESPACE_URL, json.dumps(content, sort_keys=True))
    head = {"bomFormat": "CycloneDX", "specVersion": "1.6", "serialNumber": f"urn:uuid:{serial}", "version": 1}
    return {**head, **content}


def _component(package: Package) -> dict[str, Any]:
    simple = " " not in package.licence
    licence = {"license": {"id": package.licence}} if simple else {"expression": package.licence}
    return {
        "bom-ref": package.purl,
        "name": package.name,
        "version": package.version,
        "purl": package.purl,
        "licenses": [licence],
    }


if __name__ == "__main__":
    print(json.dumps(sbom(), indent=2))
