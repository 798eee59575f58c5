"""Explanations as text for people."""

from collections.abc import Iterable, Iterator, Sequence

from k2alert.explain.explanation import Explanation, Explanations, Figure, Hearing
from k2alert.judge.clauses import Clause
from k2alert.judge.evaluate import Value
from k2alert.model import DeploymentEvidence, Evidence, RunEvidence, Telling, TestEvidence, Truth
from k2alert.notify.text import clean, safe_url
from k2alert.times import iso

__all__ = ["as_text"]

_TRUTHS = {True: "true", False: "false", None: "no data"}


def as_text(answer: Explanations, *, message: bool) -> str:
    """All of them, a paragraph each; `message` shows what the rules say as well."""
    texts = ["\n".join(_lines(one, message)) for one in answer.found]
    more = [f"and {answer.more} more label sets: narrow it down by LABEL=VALUE"] if answer.more else []
    return "\n\n".join([*texts, *more])


def _lines(one: Explanation, message: bool) -> Iterator[str]:
    labels = ", ".join(f'{name}="{clean(value)}"' for name, value in one.target.identity.items())
    yield f"{one.rule.name} {{{labels}}} at {iso(one.at)}"
    yield f"  state      {_state(one)}"
    yield f"  why        {clean(one.reason.text, 1000)}"
    truth = one.finding.truth.value.replace("_", " ") if one.finding.truth is not Truth.UNKNOWN else "not judged"
    yield f"  condition  {one.rule.condition.text}  over {one.rule.period}: {truth}"
    yield from _tree(one.clause)
    if one.clear is not None:
        yield f"  clear      {one.rule.clear.text}: {_shown(one.clear)}"
        yield from _tree(one.clear)
    yield "  values"
    for place, figure in enumerate(one.figures):
        yield _figure(figure)
        if figure.before:
            yield f"      before: {figure.before}, over the window before this one"
        if not any(figure.refs == earlier.refs for earlier in one.figures[:place]):  # said once is enough
            yield from _evidence(figure.evidence)
    yield from (f"  quiet      {clean(reason.text, 1000)}" for reason in one.quiet)
    yield from _hearings(one.hearings)
    yield from _told(one.told or ())
    if message and one.message:
        yield f"  message    {one.message}"


def _state(one: Explanation) -> str:
    if one.state is None:
        return "never judged"
    since = f" since {iso(one.since)}" if one.since is not None else ""
    held = ", held as it is: not judged now" if one.finding.truth is Truth.UNKNOWN else ""
    return f"{one.state.value}{since}{held}"


# ----------------------------------------------------------------------------- the condition taken apart


def _tree(clause: Clause, depth: int = 2) -> Iterator[str]:
    """The truth of each comparison, with its two sides; of a condition that is one, just the two sides."""
    if clause.kind in ("logic", "choice", "comparison"):
        sides = f"  ({_sides(clause)})" if clause.kind == "comparison" else ""
        passed = "" if clause.reached else ", not reached"
        yield f"{'  ' * depth}{_shown(clause)}{passed}: {clause.text}{sides}"
    for part in clause.parts:
        yield from _tree(part, depth + 1)


def _sides(comparison: Clause) -> str:
    return " against ".join(part.text if part.kind == "literal" else _value(part.value) for part in comparison.parts)


def _shown(clause: Clause) -> str:
    return _TRUTHS[clause.value] if isinstance(clause.value, bool) or clause.value is None else _value(clause.value)


def _value(value: Value) -> str:
    if value is None:
        return "no data"
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.6g}" if isinstance(value, float) else clean(str(value))


# -------------------------------------------------------------------------------------------- the values


def _figure(figure: Figure) -> str:
    samples = f"{figure.samples} sample{'' if figure.samples == 1 else 's'}"
    needed = f" of the {figure.needed} needed" if figure.needed > 1 else ""
    missing = f": {figure.missing.text}" if figure.missing is not None else ""
    return f"    {figure.text} = {figure.shown}{missing}  ({samples}{needed}, {figure.window})"


def _evidence(evidence: Evidence) -> Iterator[str]:
    yield from (f"      {line}" for line in _facts(evidence))
    if evidence.more:
        yield f"      and {evidence.more} more"
    if evidence.first_failing is not None:
        yield f"      first failing: {_commit(evidence.first_failing)}"
    if evidence.last_green is not None:
        yield f"      last green: {_commit(evidence.last_green)}"
    if evidence.compare_url:
        yield f"      changes between them: {safe_url(evidence.compare_url)}"
    if evidence.owner:
        yield f"      owner: {clean(evidence.owner)}"


def _facts(evidence: Evidence) -> list[str]:
    """The tests or deployments behind the value; the runs, where there are none."""
    tests = [_test(test) for test in evidence.tests]
    deployments = [_deployment(deployment) for deployment in evidence.deployments]
    return tests or deployments or [_run(run) for run in evidence.runs]


def _test(test: TestEvidence) -> str:
    where = f"{clean(test.branch)} {iso(test.finished_at)} {safe_url(test.web_url)}".strip()
    return f"{clean(test.suite)} {clean(test.test)} ({clean(test.job)}) {where}: {clean(test.message, 200)}"


def _deployment(one: DeploymentEvidence) -> str:
    return f"{one.result.value} {clean(one.environment)} {iso(one.finished_at)} {safe_url(one.web_url)}".strip()


def _run(run: RunEvidence) -> str:
    jobs = ", ".join(clean(job.name) for job in run.jobs[:5])
    named = f" ({jobs})" if jobs else ""
    return f"{run.result.value} {clean(run.branch)} {iso(run.finished_at)} {safe_url(run.web_url)}{named}"


def _commit(run: RunEvidence) -> str:
    return f"{run.sha[:12]} {clean(run.title, 80)} {safe_url(run.web_url)}".replace("  ", " ")


# ----------------------------------------------------------------------------------------------- who hears


def _hearings(hearings: Iterable[Hearing]) -> Iterator[str]:
    lines = [_hearing(hearing) for hearing in hearings]
    yield from lines or ["  route      none: nobody is told"]


def _hearing(hearing: Hearing) -> str:
    route = hearing.route or "no more"
    by = f" by {hearing.integration}" if hearing.integration else ""
    return f"  route      {route} to receiver {hearing.receiver}{by}: {clean(hearing.reason.text, 1000)}"


def _told(tellings: Sequence[Telling]) -> Iterator[str]:
    """What was sent to whom, the newest first."""
    for place, told in enumerate(tellings):
        others = f" with {told.total - 1} more" if told.total > 1 else ""
        outcome = told.outcome.value.replace("_", " ") + (f": {clean(told.error, 200)}" if told.error else "")
        by = f"{told.receiver} by {told.integration}"
        yield f"  {'' if place else 'told':<9}  {iso(told.at)} {told.kind}{others} to {by}: {outcome}"
