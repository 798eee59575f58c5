"""How facts look in tables, and the small codes that keep rows lean.

In: values of `model`. Out: what a database takes, and back. Pure. Forge text is made storable here: lone
surrogates and NUL, which one engine or the other refuses, become "?" and U+FFFD.
"""

from datetime import datetime, timedelta
from functools import lru_cache
from hashlib import sha256
from typing import NamedTuple

from k2alert.labels import Labels
from k2alert.model import JobRun, Kind, PipelineRun, RunState
from k2alert.times import to_ms

__all__ = [
    "PER_RUN",
    "STATES",
    "JobRow",
    "Look",
    "OutcomeRow",
    "RunRow",
    "StreamKey",
    "clean",
    "clean_title",
    "expand_link",
    "fold_link",
    "job_stream",
    "length_ms",
    "link_of_job",
    "maybe_ms",
    "pack_id",
    "pack_sha",
    "prepare",
    "storable",
    "unpack_id",
    "unpack_sha",
]

PER_RUN = 1 << 16
"""Numbers of outcomes and of job executions set aside for each run; rows beyond it are not recorded."""

STATES: tuple[RunState, ...] = tuple(RunState)
"""States by their code in the store; append only."""

_MILLISECOND = timedelta(milliseconds=1)
_MOST_DIGITS = 18  # fits 64 bits
_LONGEST_LABEL = 255  # GitLab's and GitHub's own limit on the names of branches
_LONGEST_TITLE = 120  # more than any message shows; titles are half of what a run takes on disk
_LONGEST_LINK = 2000
_SHA_BYTES = (20, 32)
_FIRST_LABELS = 10  # fields of a stream in the first schema


class RunRow(NamedTuple):
    """A row of `runs`."""

    id: int
    origin: int
    forge_id: int | str
    number: int | str
    stream: int
    sha: bytes
    title: str
    link: int
    state: int
    created: int
    started: int | None
    seen: int


class OutcomeRow(NamedTuple):
    """A row of `outcomes`."""

    id: int
    attempt: int
    result: int
    finished: int
    superseded: int | None
    duration: int | None
    queued: int | None
    retry: int


class JobRow(NamedTuple):
    """A row of `jobs`."""

    id: int
    forge_id: int | str
    name: str
    stream: int
    link: int
    state: int
    attempt: int
    allowed: int
    retry: int
    result: int | None
    reason: str
    created: int | None
    started: int | None
    finished: int | None
    superseded: int | None
    duration: int | None
    queued: int | None


class StreamKey(NamedTuple):
    """All labels of a stream, "" where there is none."""

    kind: str
    source: str
    project: str
    ref_type: str
    branch: str
    event: str
    workflow: str
    stage: str = ""
    job: str = ""
    runner: str = ""
    environment: str = ""
    environment_tier: str = ""
    schedule: str = ""

    @property
    def fingerprint(self) -> int:
        """64 bits (signed, as databases count) that tell this stream from every other.

        Labels that came with later schemas count where there are any: older streams keep their fingerprints.
        """
        later = self[_FIRST_LABELS:] if any(self[_FIRST_LABELS:]) else ()
        digest = sha256("\xff".join((*self[:_FIRST_LABELS], *later)).encode()).digest()
        return int.from_bytes(digest[:8], "big", signed=True)

    @property
    def labels(self) -> Labels:
        """As `measure` sees them."""
        return Labels(zip(self._fields[1:], self[1:], strict=True))


class Look(NamedTuple):
    """A look at a run with what is needed of it more than once."""

    run: PipelineRun
    key: tuple[str, str, int | str]  # source, project, the forge's id
    seen: int  # never before the run was created, so that `seen` alone finds the young ones
    stream: StreamKey
    link: str

    @property
    def project(self) -> tuple[str, str]:
        """Source and project."""
        return self.key[:2]


def prepare(run: PipelineRun) -> Look:
    """A look ready to be merged."""
    stream = _run_stream(run)
    key = (stream.source, stream.project, pack_id(run.id))
    return Look(run, key, to_ms(max(run.seen, run.created_at)), stream, fold_link(run.web_url, run.id, ""))


def _run_stream(run: PipelineRun) -> StreamKey:
    """The stream that a run starts in."""
    return StreamKey(
        Kind.RUN.value,
        clean(run.source),
        clean(run.project),
        run.ref_type.value,
        clean(run.branch),
        run.event.value,
        clean(run.workflow),
    )


def job_stream(run: StreamKey, job: JobRun) -> StreamKey:
    """The stream of a job of a run in that stream."""
    return StreamKey(Kind.JOB.value, *run[1:7], clean(job.stage), clean(job.job), clean(job.runner))


@lru_cache(maxsize=8192)  # the same few names come with every look
def clean(text: str) -> str:
    """A name as every engine stores it."""
    return storable(text[:_LONGEST_LABEL])


def clean_title(text: str) -> str:
    """A run's title as it is kept."""
    return storable(text[:_LONGEST_TITLE])


def storable(text: str) -> str:
    """Text without what one engine or the other refuses."""
    if text.isascii() and "\0" not in text:
        return text
    return text.encode("utf-8", "replace").decode().replace("\0", "\ufffd")


def maybe_ms(at: datetime | None) -> int | None:
    """Milliseconds of an instant that may not be known."""
    return None if at is None else to_ms(at)


def length_ms(length: timedelta | None) -> int | None:
    """Milliseconds of a length that may not be known."""
    return None if length is None else length // _MILLISECOND


def pack_id(text: str) -> int | str:
    """A forge's id: a number where that gives the same text back, for numbers take half the room."""
    if text.isdecimal() and len(text) <= _MOST_DIGITS and str(number := int(text)) == text:
        return number
    return clean(text)


def unpack_id(stored: int | str) -> str:
    """The forge's id as the forge writes it."""
    return str(stored)


def pack_sha(text: str) -> bytes:
    """A commit id as bytes; what is not one is kept as text."""
    raw = _unhex(text)
    if raw is not None:
        return raw
    kept = clean(text).encode()
    return b"=" + kept if len(kept) in _SHA_BYTES or kept[:1] == b"=" else kept


def unpack_sha(stored: bytes) -> str:
    """The commit id as the forge writes it."""
    return stored.hex() if len(stored) in _SHA_BYTES else stored.decode().removeprefix("=")


def _unhex(text: str) -> bytes | None:
    try:
        raw = bytes.fromhex(text)
    except ValueError:
        return None
    return raw if len(raw) in _SHA_BYTES and raw.hex() == text else None


def link_of_job(run: PipelineRun, job: JobRun) -> str:
    """The job's web address without its id and the run's."""
    return fold_link(job.web_url, run.id, job.id)


def expand_link(stored: str, run: str, job: str = "") -> str:
    """The web address that was folded."""
    if stored.startswith("="):
        return stored[1:]
    return stored.replace("{run}", run, 1).replace("{job}", job, 1)


def fold_link(url: str, run: str, job: str) -> str:
    """A web address without the ids that end it, so that many rows share one."""
    url = storable(url[:_LONGEST_LINK])
    folded = url
    if job and folded.endswith("/" + job):
        folded = folded[: -len(job)] + "{job}"
    if folded.endswith("/" + run):
        folded = folded[: -len(run)] + "{run}"
    elif f"/{run}/" in folded:
        folded = folded.replace(f"/{run}/", "/{run}/", 1)
    return folded if folded[:1] != "=" and expand_link(folded, run, job) == url else "=" + url
