"""Reading the forges: settings come in, facts about runs and jobs go out.

Each kind of forge is a flow without I/O (`flow` says how); `http` alone talks, `collector` decides when. A new
kind of forge is one module and one line here.
"""

from collections.abc import Mapping

from k2alert.collect import github, gitlab
from k2alert.collect.flow import Forge

__all__ = ["SOURCES"]

SOURCES: Mapping[str, Forge] = {"gitlab": gitlab.FORGE, "github": github.FORGE}
"""Kinds of forge, by the `type` of a source in the configuration."""
