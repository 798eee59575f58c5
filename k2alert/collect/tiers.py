"""Tiers of environments by their names: in comes a name, out goes the tier that it has unless somebody chose another.

GitLab gives names these tiers, and GitHub has none, so both mean the same by them:
https://docs.gitlab.com/ci/environments/#deployment-tier-of-environments
"""

__all__ = ["tier_named"]

_TIERS = {
    "development": ("dev", "review", "trunk"),
    "testing": ("test", "tst", "int", "accept", "acpt", "qa", "qc", "control", "quality"),
    "staging": ("stag", "stg", "model", "modl", "pre", "demo", "non"),
    "production": ("prod", "prd", "live"),
}
"""Parts of an environment's name, by the tier that it has for them; the first that fits."""


def tier_named(environment: str) -> str:
    """`production`, `staging`, `testing`, `development` or `other`."""
    name = environment.lower()
    return next((tier for tier, parts in _TIERS.items() if any(part in name for part in parts)), "other")
