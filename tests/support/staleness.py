"""The state of a project for tests that are not about a source's settings."""

from datetime import datetime, timedelta

from k2alert import stale
from k2alert.collect.settings import SourceSettings
from k2alert.model import Project, ProjectState
from k2alert.times import EPOCH


def state_of(project: Project, *, now: datetime, max_staleness: timedelta) -> ProjectState:
    source = SourceSettings(type="gitlab", name=project.source, max_staleness=max_staleness)
    return stale.state_of(project, source, EPOCH, now=now)
