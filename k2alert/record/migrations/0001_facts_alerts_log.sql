-- The first schema: facts, projects, alerts, the notification log.
--
-- Times are whole milliseconds since the epoch, lengths whole milliseconds; booleans are 0 or 1. NULL means "not
-- known". Text that is JSON is named so. INTEGER is 64 bits wide. A forge's own numbers (forge_id, number) are
-- BLOB, which for SQLite means "as it comes": a whole number where it is written as one, else text.

-- A project as its facts name it. Runs point here, so that they need not repeat two texts each.
CREATE TABLE origins (
    id INTEGER PRIMARY KEY,
    source TEXT NOT NULL,
    project TEXT NOT NULL,
    UNIQUE (source, project)
);

-- One row for each distinct set of fact labels. `fingerprint` is 64 bits over all labels and the kind: a unique
-- index over it takes a fifth of one over the texts, and change requests make many streams.
CREATE TABLE streams (
    id INTEGER PRIMARY KEY,
    fingerprint INTEGER NOT NULL UNIQUE,
    kind TEXT NOT NULL,
    origin INTEGER NOT NULL,
    ref_type TEXT NOT NULL,
    branch TEXT NOT NULL,
    event TEXT NOT NULL,
    workflow TEXT NOT NULL,
    stage TEXT NOT NULL,
    job TEXT NOT NULL,
    runner TEXT NOT NULL
);

-- Web addresses with the ids taken out ("https://gitlab.example.com/a/b/-/pipelines/{run}"), so that all runs of
-- a project share one. One that such a form cannot give back exactly is kept whole after a "=".
CREATE TABLE links (
    id INTEGER PRIMARY KEY,
    url TEXT NOT NULL UNIQUE
);

-- Runs, open and finished. `state` is an index into RunState; `started` is kept only while the run is open.
-- `sha` is the bytes of the hexadecimal commit id.
CREATE TABLE runs (
    id INTEGER PRIMARY KEY,
    origin INTEGER NOT NULL,
    forge_id BLOB NOT NULL,
    number BLOB NOT NULL,
    stream INTEGER NOT NULL,
    sha BLOB NOT NULL,
    title TEXT NOT NULL,
    link INTEGER NOT NULL,
    state INTEGER NOT NULL,
    created INTEGER NOT NULL,
    started INTEGER,
    seen INTEGER NOT NULL
);
CREATE UNIQUE INDEX runs_forge_id ON runs (origin, forge_id);
CREATE INDEX runs_seen ON runs (origin, seen);
CREATE INDEX runs_open ON runs (origin) WHERE state <> 3;

-- Finished attempts of runs. `id` is the run's id times 65536 plus a place in the run, so the rows of a run lie
-- side by side and are found without an index. `result` is an index into RESULTS.
CREATE TABLE outcomes (
    id INTEGER PRIMARY KEY,
    attempt INTEGER NOT NULL,
    result INTEGER NOT NULL,
    finished INTEGER NOT NULL,
    superseded INTEGER,
    duration INTEGER,
    queued INTEGER,
    retry INTEGER NOT NULL
);
CREATE INDEX outcomes_finished ON outcomes (finished);

-- Job executions, numbered like outcomes. A row is open (`state`), finished (`finished`, `result`), or both, for
-- a skipped job may go again under the same id. `created` and `started` are kept only while the job is open.
CREATE TABLE jobs (
    id INTEGER PRIMARY KEY,
    forge_id BLOB NOT NULL,
    name TEXT NOT NULL,
    stream INTEGER NOT NULL,
    link INTEGER NOT NULL,
    state INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    allowed INTEGER NOT NULL,
    retry INTEGER NOT NULL,
    result INTEGER,
    reason TEXT NOT NULL,
    created INTEGER,
    started INTEGER,
    finished INTEGER,
    superseded INTEGER,
    duration INTEGER,
    queued INTEGER
);
CREATE INDEX jobs_finished ON jobs (finished) WHERE finished IS NOT NULL;
CREATE INDEX jobs_open ON jobs (state) WHERE state <> 3;

-- Every finished attempt counted once, when it was first recorded. Never counts down, so counters made of it don't.
CREATE TABLE run_totals (
    origin INTEGER NOT NULL,
    ref_type TEXT NOT NULL,
    result INTEGER NOT NULL,
    runs INTEGER NOT NULL,
    duration_ms INTEGER NOT NULL,
    timed_runs INTEGER NOT NULL,
    PRIMARY KEY (origin, ref_type, result)
);

-- Projects that are read, and how far.
CREATE TABLE projects (
    source TEXT NOT NULL,
    key TEXT NOT NULL,
    path TEXT NOT NULL,
    forge_id TEXT NOT NULL,
    default_branch TEXT NOT NULL,
    web_url TEXT NOT NULL,
    first_seen_at INTEGER NOT NULL,
    cursor INTEGER,
    covered_since INTEGER,
    complete_at INTEGER,
    success_at INTEGER,
    swept_at INTEGER,
    failure TEXT NOT NULL,
    forbidden INTEGER NOT NULL,
    failures INTEGER NOT NULL,
    PRIMARY KEY (source, key)
);

-- Alerts by the fingerprint of their identity. `identity`, `labels`, `value`, `threshold` and `grouped_by` (the names
-- of the labels its rule groups by) are JSON.
CREATE TABLE alerts (
    key TEXT PRIMARY KEY,
    rule TEXT NOT NULL,
    identity TEXT NOT NULL,
    labels TEXT NOT NULL,
    severity TEXT NOT NULL,
    state TEXT NOT NULL,
    active_at INTEGER,
    fired_at INTEGER,
    ended_at INTEGER,
    reason TEXT,
    value TEXT NOT NULL,
    threshold TEXT NOT NULL,
    samples INTEGER,
    initial INTEGER NOT NULL,
    quiet_since INTEGER,
    no_data_since INTEGER,
    unknown INTEGER NOT NULL,
    grouped_by TEXT NOT NULL
);

-- The edges of alerts' lives, oldest first. `identity` and `value` are JSON.
CREATE TABLE transitions (
    id INTEGER PRIMARY KEY,
    at INTEGER NOT NULL,
    rule TEXT NOT NULL,
    identity TEXT NOT NULL,
    before TEXT NOT NULL,
    after TEXT NOT NULL,
    reason TEXT,
    value TEXT NOT NULL
);

-- The notification log. `dropped`: no longer needed to decide anything, kept as history until retention ends.
-- `group_labels`, `told` and `handle` are JSON.
CREATE TABLE notifications (
    incident TEXT NOT NULL,
    receiver TEXT NOT NULL,
    integration TEXT NOT NULL,
    alert_group TEXT NOT NULL,
    group_labels TEXT NOT NULL,
    told TEXT NOT NULL,
    first_sent_at INTEGER,
    last_sent_at INTEGER,
    sent INTEGER NOT NULL,
    handle TEXT NOT NULL,
    closed INTEGER NOT NULL,
    failures INTEGER NOT NULL,
    error TEXT NOT NULL,
    retry_at INTEGER,
    gave_up INTEGER NOT NULL,
    dropped INTEGER NOT NULL,
    PRIMARY KEY (incident, receiver, integration)
);

-- Small things to remember, by name.
CREATE TABLE notes (
    name TEXT PRIMARY KEY,
    value INTEGER NOT NULL
);
