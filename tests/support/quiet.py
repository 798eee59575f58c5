"""What a server under test is told of silences: none, and nobody to tell."""

from collections.abc import Sequence
from datetime import UTC, datetime

from k2alert.expose.view import Quiet
from k2alert.model import AlertGroup, Hush, Refusal, Silence, SilenceDraft

NOW = datetime(2026, 1, 5, 10, 0, tzinfo=UTC)


def no_quiet(
    silences: Sequence[Silence] = (), hushes: dict[str, Hush] | None = None, groups: Sequence[AlertGroup] = ()
) -> Quiet:
    async def refuse(_: SilenceDraft | str) -> Silence | Refusal:
        return Refusal(503, "the store is down: nobody is at home")

    return Quiet(
        started_at=NOW,
        now=lambda: NOW,
        external_url=lambda: "https://k2alert.example.com",
        silences=lambda: silences,
        hushes=lambda: hushes or {},
        groups=lambda: groups,
        receivers=lambda: ("team", "nobody"),
        save=refuse,
        expire=refuse,
    )
