-- What is recorded beside runs and jobs: test, coverage and benchmark reports, deployments, schedules.
--
-- A report belongs to one execution of a job: `run` is the run's number, `attempt`, `name` and `job_id` tell the run's
-- executions apart. Runs may be forgotten before their reports, so a report repeats the commit it is about.

ALTER TABLE streams ADD COLUMN environment TEXT NOT NULL DEFAULT '';
ALTER TABLE streams ADD COLUMN environment_tier TEXT NOT NULL DEFAULT '';
ALTER TABLE streams ADD COLUMN schedule TEXT NOT NULL DEFAULT '';

-- The tests (`kind` 0: suite and test) and source files (1: path) of a project, numbered from 0 so that a set of them
-- is a string of bits. A number that no set holds any more is given again. `fingerprint`: 64 bits over the whole name.
CREATE TABLE names (
    origin INTEGER NOT NULL,
    kind INTEGER NOT NULL,
    number INTEGER NOT NULL,
    fingerprint INTEGER NOT NULL,
    suite TEXT NOT NULL,
    name TEXT NOT NULL,
    PRIMARY KEY (origin, kind, number)
);
CREATE UNIQUE INDEX names_fingerprint ON names (origin, kind, fingerprint);

-- Sets of names. One job runs nearly the same tests every time, so reports share them. `fingerprint`: 64 bits over the
-- sorted names; `members`: the bits, lowest number first, deflated.
CREATE TABLE sets (
    id INTEGER PRIMARY KEY,
    origin INTEGER NOT NULL,
    kind INTEGER NOT NULL,
    fingerprint INTEGER NOT NULL,
    members BLOB NOT NULL
);
CREATE UNIQUE INDEX sets_fingerprint ON sets (origin, kind, fingerprint);

-- Test reports. `ran`, `failing` (at least once) and `mixed` (failed and passed) are sets, 0 for an empty one.
-- `repeats` is JSON: number, executions and failures of each test that was executed more than once.
CREATE TABLE test_reports (
    id INTEGER PRIMARY KEY,
    run INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    name TEXT NOT NULL,
    job_id BLOB NOT NULL,
    stream INTEGER NOT NULL,
    sha BLOB NOT NULL,
    finished INTEGER NOT NULL,
    total INTEGER NOT NULL,
    failed INTEGER NOT NULL,
    skipped INTEGER NOT NULL,
    duration INTEGER,
    named INTEGER NOT NULL,
    ran INTEGER NOT NULL,
    failing INTEGER NOT NULL,
    mixed INTEGER NOT NULL,
    repeats TEXT NOT NULL
);
CREATE UNIQUE INDEX test_reports_execution ON test_reports (run, attempt, name, job_id);
CREATE INDEX test_reports_finished ON test_reports (finished);

-- What a report says of tests that did not simply pass, as evidence; only the first of them.
CREATE TABLE test_cases (
    report INTEGER NOT NULL,
    number INTEGER NOT NULL,
    file TEXT NOT NULL,
    duration INTEGER,
    message TEXT NOT NULL,
    PRIMARY KEY (report, number)
);

-- Coverage reports. `files` is a set, 0 where the files are not known.
CREATE TABLE coverage_reports (
    id INTEGER PRIMARY KEY,
    run INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    name TEXT NOT NULL,
    job_id BLOB NOT NULL,
    kind TEXT NOT NULL,
    stream INTEGER NOT NULL,
    sha BLOB NOT NULL,
    finished INTEGER NOT NULL,
    percent REAL NOT NULL,
    branch_percent REAL,
    lines_covered INTEGER,
    lines_valid INTEGER,
    files INTEGER NOT NULL
);
CREATE UNIQUE INDEX coverage_reports_execution ON coverage_reports (run, attempt, name, job_id, kind);
CREATE INDEX coverage_reports_finished ON coverage_reports (finished);

-- Benchmark reports and what they measured.
CREATE TABLE benchmark_reports (
    id INTEGER PRIMARY KEY,
    run INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    name TEXT NOT NULL,
    job_id BLOB NOT NULL,
    stream INTEGER NOT NULL,
    sha BLOB NOT NULL,
    finished INTEGER NOT NULL,
    cpu TEXT NOT NULL
);
CREATE UNIQUE INDEX benchmark_reports_execution ON benchmark_reports (run, attempt, name, job_id);
CREATE INDEX benchmark_reports_finished ON benchmark_reports (finished);
CREATE TABLE benchmark_points (
    report INTEGER NOT NULL,
    benchmark TEXT NOT NULL,
    value REAL NOT NULL,
    unit TEXT NOT NULL,
    lower_is_better INTEGER NOT NULL,
    spread REAL,
    rounds INTEGER,
    PRIMARY KEY (report, benchmark)
);

-- Deployments. `result` is an index into RESULTS, NULL while it is open; `since`: when its commit was made, or else its
-- run, or else itself.
CREATE TABLE deployments (
    id INTEGER PRIMARY KEY,
    origin INTEGER NOT NULL,
    forge_id BLOB NOT NULL,
    stream INTEGER NOT NULL,
    sha BLOB NOT NULL,
    run BLOB NOT NULL,
    state INTEGER NOT NULL,
    result INTEGER,
    created INTEGER NOT NULL,
    finished INTEGER,
    since INTEGER NOT NULL,
    link INTEGER NOT NULL,
    seen INTEGER NOT NULL
);
CREATE UNIQUE INDEX deployments_forge_id ON deployments (origin, forge_id);
CREATE INDEX deployments_finished ON deployments (finished) WHERE finished IS NOT NULL;

-- Schedules, as they are now. `delay` is a length.
CREATE TABLE schedules (
    id INTEGER PRIMARY KEY,
    origin INTEGER NOT NULL,
    forge_id BLOB NOT NULL,
    stream INTEGER NOT NULL,
    cron TEXT NOT NULL,
    timezone TEXT NOT NULL,
    any_workflow INTEGER NOT NULL,
    active INTEGER NOT NULL,
    since INTEGER NOT NULL,
    delay INTEGER NOT NULL,
    last_run INTEGER,
    link INTEGER NOT NULL
);
CREATE UNIQUE INDEX schedules_forge_id ON schedules (origin, forge_id);
