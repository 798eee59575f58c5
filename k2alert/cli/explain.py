"""`k2alert explain`: why a rule fires, or does not, from what is stored."""

import asyncio
import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NoReturn

import click

from k2alert.app import system_time
from k2alert.config.load import load
from k2alert.config.model import Config
from k2alert.cycle import Scene
from k2alert.labels import Labels
from k2alert.measure.catalogue import METRICS
from k2alert.model import Alert, AlertState, Evidence, Kind, LogEntry, RunEvidence, Severity, Transition
from k2alert.notify.text import clean
from k2alert.recall import fill_board, make_board
from k2alert.record import Reader, StoreError, look_into_store
from k2alert.rehearse.explain import Explanation, explain, matching_targets
from k2alert.telling import Known, evidence_of, words_of
from k2alert.times import iso, parse_instant
from k2alert.universe import make_universe

__all__ = ["command"]

_EDGES = 100_000  # of one rule within retention: more than any history that people can read


@click.command("explain", short_help="why a rule fires, or does not")
@click.argument("rule")
@click.argument("labels", nargs=-1, metavar="[LABEL=VALUE]...")
@click.option("--at", "at_text", metavar="T", help="An earlier time (2026-01-31T08:00:00Z) instead of now.")
@click.option("--message", is_flag=True, help="Also what the rule's message says.")
@click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    envvar="K2ALERT_CONFIG",
    default=Path("k2alert.yml"),
    show_default=True,
    help="The main configuration file. [env: K2ALERT_CONFIG]",
)
@click.option("--output", type=click.Choice(["table", "json"]), default="table", show_default=True)
def command(rule: str, labels: tuple[str, ...], at_text: str | None, message: bool, config: Path, output: str) -> None:
    """Each value of a rule's condition with its window and samples, what came of it, and who was told.

    Looks into the store of the configuration, also while a daemon runs on it. LABEL=VALUE narrows it to the label
    sets with these labels, such as project=k2/app. An unknown rule is exit 1.
    """
    wanted = _wanted(labels)
    at = _instant(at_text)
    loaded = load(config, environ=os.environ, metrics=METRICS)
    if loaded.config is None:
        _fail(*(str(problem) for problem in loaded.problems if not problem.warning))
    try:
        found = asyncio.run(_explain(loaded.config, rule, wanted, at))
    except StoreError as error:
        _fail(f"k2alert: {error}")
    if not found:
        named = " ".join(labels)
        _fail(f"k2alert: rule {rule!r} has no label set{f' with {named}' if named else ''}")
    if output == "json":
        click.echo(json.dumps([_as_json(one, text, runs, message) for one, text, runs in found], indent=2))
    else:
        click.echo("\n\n".join(_as_text(one, text, runs, message) for one, text, runs in found))


async def _explain(
    config: Config, name: str, wanted: Sequence[tuple[str, str]], at: datetime | None
) -> list[tuple[Explanation, str, list[RunEvidence]]]:
    rule = next((rule for rule in config.rules if rule.name == name), None)
    if rule is None:
        known = ", ".join(sorted(rule.name for rule in config.rules)) or "none"
        _fail(f"k2alert: no rule {name!r}; there are: {known}")
    now = at or system_time().now()
    store = await asyncio.to_thread(look_into_store, config.store)
    try:
        alerts = await store.alerts() if at is None else _as_they_were(await store.transitions(name, _EDGES), at)
        scene = await _scene(config, store, alerts, now)
        found = [explain(scene, rule, target, now=now) for target in matching_targets(scene, rule, wanted, now=now)]
        seen = [(one, await _evidence(scene, store, one)) for one in found]
        return [(one, _message(scene, one, evidence), list(evidence.runs)) for one, evidence in seen]
    finally:
        await store.close()


async def _scene(config: Config, store: Reader, alerts: Iterable[Alert], now: datetime) -> Scene:
    board = make_board(config, METRICS)
    await fill_board(board, store)
    projects = await store.projects()
    return Scene(
        config=config,
        metrics=METRICS,
        measures=board,
        universe=make_universe(config, projects),
        projects=projects,
        alerts={(alert.rule, alert.identity): alert for alert in alerts},
        log=[entry for entry in await store.log_history() if (entry.first_sent_at or now) <= now],
        started_at=now,
    )


def _as_they_were(edges: Iterable[Transition], at: datetime) -> Iterator[Alert]:
    """The rule's alerts at an earlier time, as far as their stored edges tell; `edges` come newest first."""
    seen: set[Labels] = set()
    for edge in edges:
        if edge.at <= at and edge.identity not in seen:
            seen.add(edge.identity)
            yield Alert(
                rule=edge.rule,
                identity=edge.identity,
                labels=edge.identity,
                severity=Severity.INFO,
                state=edge.after,
                active_at=edge.at,
                fired_at=edge.at if edge.after is AlertState.FIRING else None,
                value=edge.value,
            )


def _message(scene: Scene, one: Explanation, evidence: Evidence) -> str:
    if one.alert is None:
        return ""
    return words_of(scene, one.alert, one.rule, evidence, clean, now=one.at).text


async def _evidence(scene: Scene, store: Reader, one: Explanation) -> Evidence:
    refs = one.evidence
    if refs is None:
        return Evidence()
    turn = [ref for ref in (refs.first_failing, refs.last_green) if ref is not None]
    of_runs = turn if refs.kind is Kind.JOB else [*refs.refs, *turn]
    jobs = await store.job_evidence(refs.refs) if refs.kind is Kind.JOB else {}
    known = Known(runs=await store.run_evidence(of_runs), jobs=jobs)
    labels = one.target.identity
    here = (labels.get("source", ""), labels.get("project", ""))
    project = next((found for found in scene.projects if (found.source, found.path) == here), None)
    forge = next((source.type for source in scene.config.sources if source.name == here[0]), "")
    return evidence_of(refs, known, project, forge)


# ------------------------------------------------------------------------------------------- showing


def _as_text(one: Explanation, message: str, runs: Sequence[RunEvidence], show_message: bool) -> str:
    alert = one.alert
    state = alert.state.value if alert is not None else "never judged"
    labels = ", ".join(f'{name}="{clean(value)}"' for name, value in one.target.identity.items())
    lines = [
        f"{one.rule.name} {{{labels}}} at {iso(one.at)}",
        f"  condition  {one.rule.condition.text}  over {one.rule.period}: {one.finding.truth.value}",
        *(f"    {line.text} = {line.shown}  ({line.samples} samples, {line.window})" for line in one.lines),
        f"  state      {state}",
        f"  why        {one.why}",
        *(f"  route      {route.name} to receiver {route.receiver}" for route in one.routes),
        *([] if one.routes else ["  route      none: nobody is told"]),
        *(f"  told       {_told(entry)}" for entry in one.told),
        *(f"  evidence   {_run(run)}" for run in runs),
    ]
    if show_message and message:
        lines.append(f"  message    {message}")
    return "\n".join(lines)


def _told(entry: LogEntry) -> str:
    when = iso(entry.last_sent_at) if entry.last_sent_at else "never"
    trouble = f"; last error: {clean(entry.error)}" if entry.error else ""
    return f"{entry.receiver} by {entry.integration}, last {when}, {entry.sent} messages{trouble}"


def _run(run: RunEvidence) -> str:
    jobs = ", ".join(clean(job.name) for job in run.jobs[:5])
    return f"{run.result.value} {clean(run.branch)} {run.web_url}{f' ({jobs})' if jobs else ''}"


def _as_json(one: Explanation, message: str, runs: Sequence[RunEvidence], show_message: bool) -> dict[str, Any]:
    alert = one.alert
    found: dict[str, Any] = {
        "rule": one.rule.name,
        "labels": dict(one.target.labels),
        "at": iso(one.at),
        "condition": one.rule.condition.text,
        "period": one.rule.period,
        "truth": one.finding.truth.value,
        "values": [
            {
                "name": line.text,
                "value": line.value,
                "shown": line.shown,
                "samples": line.samples,
                "window": line.window,
            }
            for line in one.lines
        ],
        "threshold": one.finding.threshold,
        "state": alert.state.value if alert is not None else None,
        "since": iso(alert.fired_at) if alert is not None and alert.fired_at else None,
        "why": one.why,
        "routes": [{"name": route.name, "receiver": route.receiver} for route in one.routes],
        "told": [
            {
                "receiver": entry.receiver,
                "integration": entry.integration,
                "at": iso(entry.last_sent_at) if entry.last_sent_at else None,
                "messages": entry.sent,
                "error": entry.error,
            }
            for entry in one.told
        ],
        "evidence": [{"result": run.result.value, "branch": run.branch, "url": run.web_url} for run in runs],
    }
    return {**found, "message": message} if show_message else found


# ------------------------------------------------------------------------------------------- arguments


def _wanted(labels: Sequence[str]) -> list[tuple[str, str]]:
    pairs = []
    for text in labels:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise click.UsageError(f"not LABEL=VALUE: {text!r}")
        pairs.append((name, value))
    return pairs


def _instant(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        return parse_instant(text)
    except ValueError:
        raise click.UsageError(f"--at takes a time like 2026-01-31T08:00:00Z, not {text!r}") from None


def _fail(*lines: str) -> NoReturn:
    for line in lines:
        click.echo(line, err=True)
    sys.exit(1)
