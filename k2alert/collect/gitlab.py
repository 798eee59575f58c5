"""GitLab: one look at a project, over GraphQL where that works and over REST v4 where it does not.

In comes an `Ask`; out go batches of runs and, at the end, a `Look`. What REST and GraphQL each do is told in
`gitlab_rest` and `gitlab_graphql`; what GitLab's words mean, in `gitlab_parse`.
"""

from dataclasses import replace

from k2alert.collect.artifacts import scan_with_artifacts, with_artifacts
from k2alert.collect.flow import Ask, Failure, Flow, Forge
from k2alert.collect.gitlab_artifacts import list_archives
from k2alert.collect.gitlab_facts import end_look
from k2alert.collect.gitlab_graphql import read_graphql
from k2alert.collect.gitlab_groups import list_group
from k2alert.collect.gitlab_hooks import HOOKS
from k2alert.collect.gitlab_probes import TOKEN, probe_project
from k2alert.collect.gitlab_queries import Refused
from k2alert.collect.gitlab_reading import Reading, Steps
from k2alert.collect.gitlab_rest import identify, read_rest
from k2alert.collect.gitlab_scan import MOST_SCANNED, REST, scan


def look(ask: Ask) -> Flow:
    """Reads every pipeline of the project that changed since `ask.since`, with all executions of its jobs.

    Steps: 1. GraphQL, unless an earlier look at this source found that it cannot be used there. 2. Where it is
    refused, REST for all of it. 3. What rules need of tests, deployments and schedules, as far as it is due. 4. What
    could not be read is said: one item that is not what the API promises makes the look fail, once everything
    readable has been handed over.
    """
    project = replace(ask.project, path=ask.project.path or ask.project.key)
    reading = Reading(ask, project, dict(ask.memory))
    return (yield from end_look(reading, (yield from _read(reading))))


FORGE = Forge(
    look=with_artifacts(look, list_archives),
    scan=scan_with_artifacts(scan),
    most_scanned=MOST_SCANNED,
    default_url="https://gitlab.com",
    api_path="/api",  # GraphQL does not live below /api/v4
    hooks=HOOKS,
    list_projects=list_group,
    probes=probe_project,
    token_probes=TOKEN,
)


def _read(reading: Reading) -> Steps[Failure | None]:
    refused = None
    now = reading.ask.now
    if "graphql_refused" not in reading.memory and reading.memory.get("graphql_rests_until", now) <= now:
        ended = yield from _read_by_path(reading)
        if not isinstance(ended, Refused):
            return ended
        refused = ended
    failure = (yield from identify(reading)) or (yield from read_rest(reading))
    if failure is None and refused is not None and refused.lasting:
        reading.memory["graphql_refused"] = refused.why  # only now: REST works where GraphQL does not
    if failure is None and refused is not None and refused.tires:
        reading.memory["graphql_rests_until"] = now + REST  # each vain try costs minutes, for every project
    return failure


def _read_by_path(reading: Reading) -> Steps[Failure | Refused | None]:
    """GraphQL knows projects by path only; a project configured by number is asked for its path first."""
    if "/" not in reading.project.path:
        failure = yield from identify(reading)
        if failure is not None:
            return failure
        if "/" not in reading.project.path:
            return Refused("the project's path is not known", lasting=False)
    return (yield from read_graphql(reading))
