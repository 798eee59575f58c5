"""What a token may read, asked without reading it all: one small request for each kind of thing.

A forge says what to ask of a project (`Probe`); settings come in, what each source answered comes out (`Tried`).
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from k2alert.collect.discovery import Found
from k2alert.collect.flow import Failure, Forge, Probe, Response
from k2alert.collect.http import Client, Limits, Time
from k2alert.collect.settings import SourceSettings

__all__ = ["Tried", "try_sources"]

_NOBODY = ("network", "timeout")  # nobody answers: asking for each project would only take time
_AT_ONCE = 4  # projects of one source


@dataclass(frozen=True, slots=True)
class Tried:
    """What one source answered when it was asked for `what` of `of` (a project, a group, or "" for the token).

    `failure` None: it may be read, and `note` says more where there is more to say. A failure that is not `fatal` costs
    the metrics that `why` names; a fatal one costs the project.
    """

    source: str
    of: str
    what: str
    note: str = ""
    failure: Failure | None = None
    fatal: bool = False
    why: str = ""


async def try_sources(
    sources: Iterable[SourceSettings],
    *,
    forges: Mapping[str, Forge],
    time: Time,
    version: str,
    limits: Limits | None = None,
) -> tuple[Tried, ...]:
    """Asks every source at once; what one says, or does not, holds up no other. In the order of the settings."""

    async def one(settings: SourceSettings) -> tuple[Tried, ...]:
        client = Client(settings, forges[settings.type], time=time, version=version, limits=limits)
        try:
            return await _try_source(settings, forges[settings.type], client)
        finally:
            await client.close()

    return tuple(tried for some in await asyncio.gather(*map(one, sources)) for tried in some)


async def _try_source(settings: SourceSettings, forge: Forge, client: Client) -> tuple[Tried, ...]:
    """The token, the groups, then each project that is named, and one of each group."""
    token = [await _try(settings, client, "", probe) for probe in forge.token_probes]
    if unreachable := [replace(one, fatal=True) for one in token if one.failure and one.failure.reason in _NOBODY]:
        return tuple(unreachable)
    listed, found = await _try_groups(settings, forge, client)
    keys = list(dict.fromkeys([*map(str, settings.projects), *found]))
    gate = asyncio.Semaphore(_AT_ONCE)

    async def project(key: str) -> Sequence[Tried]:
        async with gate:
            return await _try_project(settings, client, key, forge.probes)

    projects = await asyncio.gather(*map(project, keys))
    return (*token, *listed, *(tried for some in projects for tried in some))


async def _try_project(
    settings: SourceSettings, client: Client, key: str, probes: Callable[[str], Sequence[Probe]]
) -> list[Tried]:
    """What may be read of a project; where it cannot be reached at all, nothing more is asked."""
    tried: list[Tried] = []
    for probe in probes(key):
        tried.append(await _try(settings, client, key, probe))
        if tried[-1].fatal:
            break
    return tried


async def _try(settings: SourceSettings, client: Client, of: str, probe: Probe) -> Tried:
    answer = await client.ask(probe.request)
    if isinstance(answer, Failure):
        return Tried(settings.name, of, probe.what, "", answer, probe.needed, probe.why)
    return Tried(settings.name, of, probe.what, probe.read(answer) if isinstance(answer, Response) else "")


async def _try_groups(settings: SourceSettings, forge: Forge, client: Client) -> tuple[list[Tried], list[str]]:
    """How many projects each group has, and the first of each."""
    tried, first = [], []
    for group in map(str, settings.groups if forge.list_projects is not None else ()):
        listed = await _list(forge, client, group)
        if isinstance(listed, Failure):
            tried.append(Tried(settings.name, group, "group", "", listed, fatal=True))
        else:
            tried.append(Tried(settings.name, group, "group", f"{len(listed)} projects"))
            first += [listed[0].key] if listed else []
    return tried, first


async def _list(forge: Forge, client: Client, group: str) -> tuple[Found, ...] | Failure:
    assert forge.list_projects is not None  # noqa: S101 - told apart by the caller
    flow, answer = forge.list_projects(group), None
    try:
        while True:
            answer = await client.ask(next(flow) if answer is None else flow.send(answer))
    except StopIteration as end:
        found: tuple[Found, ...] | Failure = end.value
        return found
