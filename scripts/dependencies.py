"""What k2alert needs at run time: the locked packages, as installed here, with their licences and what they need."""

import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import metadata, requires
from itertools import chain
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

__all__ = ["ALLOWED", "PROJECT", "ROOT", "Package", "licence_words", "locked", "needs_of"]

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

ALLOWED = frozenset({"Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "MIT", "MIT-0", "PSF-2.0"})
"""Licences, by their SPDX identifiers, under which code may be used in a product of any licence."""

# What is said in other words than SPDX's; those that say only "BSD License" have three clauses in their licence files.
_SAID = {
    "Apache 2.0": "Apache-2.0",
    "Apache-2.0": "Apache-2.0",
    "BSD License": "BSD-3-Clause",
    "MIT": "MIT",
    "PSF-2.0": "PSF-2.0",
}

_PYTHONS = ("3.11", "3.12", "3.13")


@dataclass(frozen=True, slots=True)
class Package:
    """A locked package. `licence` is an SPDX expression, or "" where none is known; `needs` are names of others."""

    name: str
    version: str
    licence: str
    needs: tuple[str, ...]

    @property
    def purl(self) -> str:
        """Its address as every tool writes it."""
        return f"pkg:pypi/{self.name}@{self.version}"


def locked() -> list[Package]:
    """Every package of requirements.lock, by name. Raises `PackageNotFoundError` for one that is not installed."""
    pins = re.findall(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", (ROOT / "requirements.lock").read_text(), re.MULTILINE)
    names = {canonicalize_name(name) for name, _ in pins}
    asked = [Requirement(one) for one in (*PROJECT["dependencies"], *chain(*PROJECT["optional-dependencies"].values()))]
    extras = {canonicalize_name(one.name): ("", *one.extras) for one in asked}
    return [
        Package(name, version, _licence(name), needs_of(requires(name) or [], names, extras.get(name, ("",))))
        for name, version in sorted((canonicalize_name(name), version) for name, version in pins)
    ]


def needs_of(requirements: Iterable[str], among: set[str], extras: tuple[str, ...] = ("",)) -> tuple[str, ...]:
    """Which of these a package needs, on any Python that we run on."""
    found = set()
    for requirement in map(Requirement, requirements):
        marker = requirement.marker
        if marker is None or any(
            marker.evaluate({"python_version": python, "python_full_version": f"{python}.0", "extra": extra})
            for python in _PYTHONS
            for extra in extras
        ):
            found.add(canonicalize_name(requirement.name))
    return tuple(sorted(found & among))


def licence_words(expression: str) -> set[str]:
    """The identifiers in an SPDX expression."""
    return set(re.findall(r"[\w.+-]+", expression)) - {"AND", "OR", "WITH"}


def _licence(name: str) -> str:
    told = metadata(name)
    classifiers = [line.rpartition(" :: ")[2] for line in told.get_all("Classifier") or () if "License" in line]
    words = [told.get("License", ""), *classifiers]
    return told.get("License-Expression") or next((_SAID[word] for word in words if word in _SAID), "")
