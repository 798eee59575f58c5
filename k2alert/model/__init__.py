"""The nouns that cross a border between packages, one module for each part of the way:

`facts` from a forge, `measures` over them, `rules` with their findings and alerts, `telling` people. All are imported
from here.

Everything is frozen and holds no behaviour beyond what its fields already say. Instants are aware UTC
datetimes; in the compact `Entry` rows that feed `measure` they are whole milliseconds since the epoch.
`None` means "not known"; zero is a measurement.
"""

from k2alert.model.facts import (
    RESULTS,
    Entry,
    EntryChange,
    Event,
    JobRun,
    Kind,
    KnownRun,
    OpenChange,
    OpenEntry,
    Outcome,
    PipelineRun,
    Project,
    ProjectState,
    RefType,
    Result,
    RunState,
    RunTotal,
    Saved,
    Stream,
)
from k2alert.model.measures import EvidenceRefs, Measured, Measures, Metric, Needs, Selection, Window
from k2alert.model.rules import (
    NOWHERE,
    STALE_ALERT,
    Alert,
    AlertState,
    EndReason,
    Finding,
    NoDataPolicy,
    Place,
    Problem,
    Rule,
    Severity,
    Transition,
    Truth,
)
from k2alert.model.telling import Delivery, Evidence, JobEvidence, LogEntry, Refused, Retry, RunEvidence, Sent

__all__ = [
    "NOWHERE",
    "RESULTS",
    "STALE_ALERT",
    "Alert",
    "AlertState",
    "Delivery",
    "EndReason",
    "Entry",
    "EntryChange",
    "Event",
    "Evidence",
    "EvidenceRefs",
    "Finding",
    "JobEvidence",
    "JobRun",
    "Kind",
    "KnownRun",
    "LogEntry",
    "Measured",
    "Measures",
    "Metric",
    "Needs",
    "NoDataPolicy",
    "OpenChange",
    "OpenEntry",
    "Outcome",
    "PipelineRun",
    "Place",
    "Problem",
    "Project",
    "ProjectState",
    "RefType",
    "Refused",
    "Result",
    "Retry",
    "Rule",
    "RunEvidence",
    "RunState",
    "RunTotal",
    "Saved",
    "Selection",
    "Sent",
    "Severity",
    "Stream",
    "Transition",
    "Truth",
    "Window",
]
