"""The evidence behind one alert, line by line: what did it, linked, and where it went from green to red."""

from collections.abc import Iterator, Mapping, Sequence

from k2alert import links
from k2alert.model import DeploymentEvidence, Evidence, JobEvidence, RunEvidence, TestEvidence
from k2alert.notify.message import Item, Line, Message, Span, headline
from k2alert.notify.text import safe_url

__all__ = ["culprits", "details", "digest_line", "links_of", "turn", "ways"]

_JOBS = 5  # of one run: the first failed jobs say enough, the run is linked
_NAMED = 3  # of what failed, in a line of a digest
_SAYS = 160  # of what a test says: its first line tells, the job is linked


def details(item: Item) -> tuple[Line, ...]:
    """The runs, jobs, tests and deployments that did it, the turn from green to red, and the annotations' links."""
    return (*culprits(item.evidence), *turn(item.evidence), *links_of(item.annotations))


def culprits(evidence: Evidence) -> tuple[Line, ...]:
    """What is at fault, at most ten of it, and how many more there are."""
    found = [*map(_test, evidence.tests), *map(_deployment, evidence.deployments)] or [*map(_run, evidence.runs)]
    more = [(Span(f"and {evidence.more} more"),)] if found and evidence.more else []
    return (*found, *more)


def digest_line(item: Item, message: Message) -> Line:
    """One alert of a digest: its headline, the first that failed by name, and its owner."""
    evidence = item.evidence
    found = [*map(_test_name, evidence.tests), *map(_deployment_name, evidence.deployments)]
    found = found or [*map(_run_name, evidence.runs)]
    more = max(0, len(found) - _NAMED) + evidence.more
    names = [span for place, line in enumerate(found[:_NAMED]) for span in ((Span(", "),) if place else ()) + line]
    failed = (Span(" – "), *names, Span(f" and {more} more" if more > 0 else "")) if names else ()
    return (*headline(item, message), *failed, Span(f" · owner {item.owner}" if item.owner else ""))


def _run_name(run: RunEvidence) -> Line:
    jobs = ", ".join(job.name for job in run.jobs[:_NAMED])
    return (Span(f"#{run.number or run.id}", run.web_url), Span(f" ({jobs})" if jobs else ""))


def _test_name(test: TestEvidence) -> Line:
    return (Span(test.test or test.suite, test.web_url),)


def _deployment_name(deployment: DeploymentEvidence) -> Line:
    return (Span(f"{deployment.environment} #{deployment.id}", deployment.web_url),)


def _run(run: RunEvidence) -> Line:
    where = " · ".join(word for word in (run.result.value, run.workflow, run.branch, run.title) if word)
    return (Span(f"#{run.number or run.id}", run.web_url), Span(f" {where}"), *_jobs(run.jobs))


def _jobs(jobs: Sequence[JobEvidence]) -> Iterator[Span]:
    for position, job in enumerate(jobs[:_JOBS]):
        yield Span(", " if position else " – ")
        yield Span(job.name, job.web_url)
        if job.reason:
            yield Span(f" ({job.reason})")
    if len(jobs) > _JOBS:
        yield Span(f" and {len(jobs) - _JOBS} more jobs")


def _test(test: TestEvidence) -> Line:
    name = " › ".join(word for word in (test.suite, test.test) if word)
    where = " · ".join(word for word in (test.job, test.branch, test.sha[:8]) if word)
    said = test.message.strip().partition("\n")[0][:_SAYS]
    return (Span(name, test.web_url), Span(f" – {where}" if where else ""), Span(f": {said}" if said else ""))


def _deployment(deployment: DeploymentEvidence) -> Line:
    where = " · ".join(word for word in (deployment.branch, deployment.sha[:8]) if word)
    name = f"{deployment.environment} #{deployment.id}"
    return (Span(name, deployment.web_url), Span(f" {deployment.result.value}"), Span(f" – {where}" if where else ""))


def turn(evidence: Evidence) -> tuple[Line, ...]:
    """The first failing and the last green commit, and what changed between them."""
    lines: list[Line] = []
    if evidence.first_failing is not None:
        lines.append((Span("first failing: "), *_commit(evidence.first_failing)))
    if evidence.last_green is not None:
        lines.append((Span("last green: "), *_commit(evidence.last_green)))
    if evidence.compare_url:
        lines.append((Span("changes between them", evidence.compare_url),))
    return tuple(lines)


def _commit(run: RunEvidence) -> Line:
    return (Span(run.sha[:8] or f"#{run.number or run.id}", run.web_url), Span(f" {run.title}"))


def links_of(annotations: Mapping[str, str]) -> tuple[Line, ...]:
    """Annotations that are links, `runbook_url` above all; the others are for machines that read the API."""
    names = [name for name in annotations if name.endswith("_url") and annotations[name]]
    names.sort(key=lambda name: (name != "runbook_url", name))
    return tuple((Span(name.removesuffix("_url").replace("_", " "), annotations[name]),) for name in names)


def ways(message: Message) -> tuple[tuple[str, str], ...]:
    """Names and addresses of k2alert's own pages about it; none where nobody said where they are."""
    base = message.external_url
    if not safe_url(base):
        return ()
    if message.alone is None:
        return (("Open", links.alerts_url(base)),)
    alert = message.alone.alert
    exact = links.rule_url(base, alert.rule, alert.identity.items())
    explain = exact if safe_url(exact) else links.rule_url(base, alert.rule)
    silence = (("Silence", links.new_silence_url(base, alert.key)),) if message.firing else ()
    found = (("Open", links.alert_url(base, alert.key)), *silence, ("Explain", explain))
    return tuple((name, url) for name, url in found if safe_url(url))
