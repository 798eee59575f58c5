"""The door to what is recorded, whatever engine is behind it.

In: facts from collect (runs, reports, deployments, schedules), alerts and edges from the cycle, the notification log
from delivery. Out: the same, and what each write really changed (`Saved`), so that `measure` follows the store without
reading it again. Every call but `prune` is one whole transaction; what a call has returned from is on disk.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from enum import Enum
from typing import NamedTuple, Protocol

from k2alert.model import (
    Alert,
    DeploymentEvidence,
    Entry,
    EntryRow,
    Fact,
    FactEntry,
    HookEvent,
    Kind,
    KnownRun,
    LogEntry,
    NamedTest,
    OpenEntry,
    PipelineRun,
    Project,
    RunEvidence,
    RunTotal,
    Saved,
    Silence,
    Stream,
    Telling,
    TellingQuery,
    TestEvidence,
    Transition,
)

__all__ = ["Change", "Lease", "Moment", "NotLeader", "Reader", "Store", "StoreBusy", "StoreError", "Topic"]


class StoreError(Exception):
    """The store can't do it now, or can't be opened; one clear line for the operator."""


class StoreBusy(StoreError):
    """Somebody else is at the store; it is worth trying again."""


class NotLeader(StoreError):
    """Somebody else leads, or may lead by now: what only the leader may write is not written."""


class Topic(Enum):
    """What a change says has changed, beside facts; whoever keeps it in memory reads it again."""

    PROJECTS = "projects"
    ALERTS = "alerts"
    LOG = "log"
    SILENCES = "silences"
    HOOKS = "hooks"
    """Webhooks were accepted that facts are to be made of."""


class Change(NamedTuple):
    """One transaction of another replica's. `saved` is for memory to apply; changes go in the order of `seq`."""

    seq: int
    saved: Saved
    topics: frozenset[Topic] = frozenset()


class Lease(Protocol):
    """The right to lead, which one replica at a time has: by the database's clock, for a short time, renewed.

    Cheap and safe to ask from any thread.
    """

    @property
    def epoch(self) -> int:
        """The number of this reign, higher than that of every earlier leader; 0 while it is not held."""
        ...

    @property
    def leader(self) -> str:
        """The name of who leads, as far as this replica knows; "" where it does not."""
        ...

    def holds(self) -> bool:
        """Whether this replica leads. False as soon as it cannot be sure any more, though nobody may have told it."""
        ...

    async def changed(self) -> None:
        """Returns when this replica leads; called again, when it does no more; and so on in turns, for one task.

        A reign is in force from the return that tells of it. So one that was lost and won again while nobody looked is
        told as lost first, and what was begun before is refused until then.
        """
        ...

    async def release(self) -> None:
        """Gives it back for good, so that another replica leads at once."""
        ...


class Reader(Protocol):
    """What can be asked of a store. Every method raises `StoreError` when the engine can't do it."""

    async def streams(self) -> list[Stream]:
        """Every stream, by number."""
        ...

    def entries(self, kind: Kind, since_ms: int = 0) -> AsyncIterator[list[Entry]]:
        """All entries finished at or after `since_ms`, in (finished, ref) order, in batches, as of one moment."""
        ...

    def rows(self, kind: Kind) -> AsyncIterator[list[EntryRow]]:
        """All entries as rows, in the same order."""
        ...

    def facts(self, kind: Kind, since_ms: int = 0) -> AsyncIterator[list[FactEntry]]:
        """The same of reports, deployments and (all) schedules."""
        ...

    def tests(self) -> AsyncIterator[list[NamedTest]]:
        """What the numbers of tests stand for, in batches, as of one moment."""
        ...

    async def opens(self) -> list[tuple[Kind, OpenEntry]]:
        """Every run that is not finished, and every unfinished job of those."""
        ...

    async def known_runs(self, source: str, project: str, since: datetime) -> dict[str, KnownRun]:
        """Runs of a project created or seen since then, or still open, by the forge's id."""
        ...

    async def projects(self) -> list[Project]:
        """Every project that is read, by source and key."""
        ...

    async def run_evidence(self, refs: Sequence[int]) -> dict[int, RunEvidence]:
        """The runs behind run entries, with the failed jobs that counted then; unknown refs are left out."""
        ...

    async def job_evidence(self, refs: Sequence[int]) -> dict[int, RunEvidence]:
        """The runs behind job entries, each with that job alone, and with its result, end and duration."""
        ...

    async def test_evidence(self, cases: Sequence[tuple[int, int]]) -> dict[tuple[int, int], TestEvidence]:
        """Tests as reports tell of them, by the numbers of report and test; unknown ones are left out."""
        ...

    async def report_evidence(self, kind: Kind, refs: Sequence[int]) -> dict[int, RunEvidence]:
        """The runs of test or coverage reports, as they ended last."""
        ...

    async def deployment_evidence(self, refs: Sequence[int]) -> dict[int, DeploymentEvidence]:
        """Finished deployments; unknown refs are left out."""
        ...

    async def alerts(self) -> list[Alert]:
        """Every alert, inactive ones too."""
        ...

    async def transitions(self, rule: str, limit: int) -> list[Transition]:
        """The last edges in the lives of a rule's alerts, the newest first."""
        ...

    async def log(self) -> list[LogEntry]:
        """The notification log: every entry that is not dropped."""
        ...

    async def log_history(self, limit: int = 1000) -> list[LogEntry]:
        """The log entries last sent, dropped ones too, the newest first."""
        ...

    async def silences(self) -> list[Silence]:
        """Every silence, expired ones too until they are dropped, by the time they start."""
        ...

    async def tellings(self, query: TellingQuery) -> list[Telling]:
        """Messages that were tried, the newest first."""
        ...

    async def totals(self) -> list[RunTotal]:
        """Every finished attempt ever recorded, counted once; neither restarts nor retention take any away."""
        ...

    async def close(self) -> None:
        """Ends what is running and lets go of the store; a second time does nothing."""
        ...


class Moment(Reader, Protocol):
    """A store as of one moment, however long it is looked at, while others read and write."""

    async def last_change(self) -> int:
        """The number of the newest change that is seen here, 0 where there was none (SQLite: always)."""
        ...


class Store(Reader, Protocol):
    """All that is remembered. Every method raises `StoreError` when the engine can't do it; nothing is half done."""

    def frozen(self) -> AbstractAsyncContextManager[Moment]:
        """The store as of now: a replica fills its memory from it, and follows from its `last_change()` on."""
        ...

    def campaign(self, name: str, idle: Callable[[], float]) -> Lease:
        """Tries to lead from now on, and to go on leading, beside the event loop, in a thread of its own.

        `name` is shown to people (host and process id). `idle` says how many seconds ago the event loop last did
        something: a leader that hangs lets the lease go. From then on every write that only the leader may do raises
        `NotLeader` when this replica does not lead: all but `accept_hooks`, `save_silences` and `ping`. With SQLite
        the one process that has the store leads as long as it has it. Call it once.
        """
        ...

    async def changes(self, after: int) -> list[Change] | None:
        """What happened after a change, in order, at most some hundred at once; empty where nothing did.

        None: they are not known any more, or are told in a way that this k2alert does not know: read everything anew.
        The leader's own are among them. With SQLite there are none, for there is nobody else.
        """
        ...

    async def wait_for_change(self, seconds: float) -> None:
        """Returns when somebody may have changed something since this was last called, at the latest after a time."""
        ...

    async def save(self, runs: Sequence[PipelineRun]) -> Saved:
        """Records what looks at runs said; saying it again changes nothing (see `merge.py` for the rules)."""
        ...

    async def save_facts(self, facts: Sequence[Fact]) -> Saved:
        """Records reports, deployments and schedules; saying it again changes nothing, saying it anew replaces it.

        Reports belong to runs that are recorded: others are left out.
        """
        ...

    async def accept_hooks(self, events: Sequence[HookEvent]) -> list[bool]:
        """Keeps webhooks until facts are made of them; for each whether it is new, or was accepted before."""
        ...

    async def waiting_hooks(self, limit: int) -> list[HookEvent]:
        """The oldest webhooks that no facts were made of yet."""
        ...

    async def hooks_of_runs(self, runs: Sequence[tuple[str, str, str]]) -> dict[tuple[str, str, str], list[HookEvent]]:
        """Every webhook of each run (source, the forge's ids of project and run) whose body is kept, oldest first."""
        ...

    async def end_hooks(self, ids: Sequence[int], *, keep: bool) -> None:
        """Facts were made of these webhooks; `keep` their bodies for others of the same runs."""
        ...

    async def drop_old_hooks(self, before: datetime) -> None:
        """Forgets webhooks that facts were made of and that were received before a time, their ids too."""
        ...

    async def save_project(self, project: Project) -> None:
        """Keeps a project as it is now; source and key tell projects apart."""
        ...

    async def forget_projects(self, keys: Sequence[tuple[str, str]]) -> Saved:
        """Forgets departed projects, by (source, key), and their schedules. Their facts go by retention."""
        ...

    async def save_alerts(
        self, alerts: Sequence[Alert], *, dropped: Sequence[str] = (), transitions: Sequence[Transition] = ()
    ) -> None:
        """Keeps alerts as they are now, forgets those with the `dropped` keys, and adds edges, all or nothing."""
        ...

    async def save_log(self, entries: Sequence[LogEntry], *, tellings: Sequence[Telling] = ()) -> None:
        """Keeps log entries as they are now, and adds to the history of messages tried, all or nothing."""
        ...

    async def drop_log(self, keys: Sequence[tuple[str, str, str]]) -> None:
        """Takes entries with these keys out of `log()`; they stay in the history until retention ends."""
        ...

    async def save_silences(self, silences: Sequence[Silence], *, dropped: Sequence[str] = ()) -> None:
        """Keeps silences as they are now and forgets those with the `dropped` ids, all or nothing."""
        ...

    def prune(self, before: datetime) -> AsyncIterator[Saved]:
        """Forgets what ended before a time, save what ages and streaks still need (see `pruning.py`), as it goes on: in
        many small transactions, each of which leaves the store whole, and says what it changed.

        Whoever calls holds back what saves facts: label sets that have none are found first and forgotten then.
        """
        ...

    async def ping(self) -> None:
        """Returns if the store can be written to."""
        ...
