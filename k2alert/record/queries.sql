-- Every statement of the store, each named and described.
--
-- Parameters are "?" in order; a list comes as one JSON array, read by json_each(?). This is SQLite's SQL; `dialect.py`
-- rewrites the few forms in which PostgreSQL's differs.

-- name: find_origin
-- The number of a project that facts name.
SELECT id FROM origins WHERE source = ? AND project = ?;

-- name: add_origin
-- A project that facts name, if none did before.
INSERT INTO origins (source, project) VALUES (?, ?) ON CONFLICT (source, project) DO NOTHING;

-- name: find_streams
-- The numbers of label sets, by fingerprint.
SELECT fingerprint, id FROM streams WHERE fingerprint IN (SELECT value FROM json_each(?));

-- name: last_stream
-- The highest number given to a stream.
SELECT coalesce(max(id), 0) FROM streams;

-- name: add_stream
-- A new label set.
INSERT INTO streams (id, fingerprint, kind, origin, ref_type, branch, event, workflow, stage, job, runner,
    environment, environment_tier, schedule)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: all_streams
-- Every label set, by number.
SELECT s.id, s.kind, g.source, g.project, s.ref_type, s.branch, s.event, s.workflow, s.stage, s.job, s.runner,
    s.environment, s.environment_tier, s.schedule
FROM streams AS s JOIN origins AS g ON g.id = s.origin
ORDER BY s.id;

-- name: streams_without_facts
-- Label sets that no facts but those of runs and jobs have. The newest is not among them, so that no number is ever
-- given twice: replicas may remember what was forgotten.
SELECT id FROM streams WHERE id < (SELECT max(id) FROM streams)
EXCEPT SELECT stream FROM test_reports EXCEPT SELECT stream FROM coverage_reports
EXCEPT SELECT stream FROM benchmark_reports EXCEPT SELECT stream FROM deployments EXCEPT SELECT stream FROM schedules;

-- name: streams_of_runs
-- Label sets of the runs from one number to another.
SELECT DISTINCT stream FROM runs WHERE id BETWEEN ? AND ?;

-- name: streams_of_jobs
-- Label sets of the jobs from one number to another.
SELECT DISTINCT stream FROM jobs WHERE id BETWEEN ? AND ?;

-- name: drop_stream
-- Forgets a label set.
DELETE FROM streams WHERE id = ?;

-- name: add_link
-- A form of web address, if not met before.
INSERT INTO links (url) VALUES (?) ON CONFLICT (url) DO NOTHING;

-- name: find_links
-- The numbers of forms of web addresses.
SELECT url, id FROM links WHERE url IN (SELECT value FROM json_each(?));

-- name: last_run
-- The highest number given to a run.
SELECT coalesce(max(id), 0) FROM runs;

-- name: find_runs
-- The stored runs of one project with these forge ids, with the labels they have.
SELECT r.id, r.origin, r.forge_id, r.number, r.stream, r.sha, r.title, r.link, r.state, r.created, r.started, r.seen,
    s.ref_type, s.branch, s.event, s.workflow
FROM runs AS r JOIN streams AS s ON s.id = r.stream
WHERE r.origin = ? AND r.forge_id IN (SELECT value FROM json_each(?));

-- name: runs_by_id
-- The same of runs by their numbers.
SELECT r.id, r.origin, r.forge_id, r.number, r.stream, r.sha, r.title, r.link, r.state, r.created, r.started, r.seen,
    s.ref_type, s.branch, s.event, s.workflow
FROM runs AS r JOIN streams AS s ON s.id = r.stream
WHERE r.id IN (SELECT value FROM json_each(?));

-- name: outcomes_of_runs
-- All outcomes of these runs.
SELECT o.id, o.attempt, o.result, o.finished, o.superseded, o.duration, o.queued, o.retry
FROM json_each(?) AS k CROSS JOIN outcomes AS o ON o.id BETWEEN k.value << 16 AND (k.value << 16) + 65535;

-- name: jobs_of_runs
-- All job executions of these runs.
SELECT j.id, j.forge_id, j.name, j.stream, j.link, j.state, j.attempt, j.allowed, j.retry, j.result, j.reason,
    j.created, j.started, j.finished, j.superseded, j.duration, j.queued
FROM json_each(?) AS k CROSS JOIN jobs AS j ON j.id BETWEEN k.value << 16 AND (k.value << 16) + 65535;

-- name: put_run
-- A new run, or a known one as it is now. Its labels, and when it was created, stay.
INSERT INTO runs (id, origin, forge_id, number, stream, sha, title, link, state, created, started, seen)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (id) DO UPDATE SET
    number = excluded.number, sha = excluded.sha, title = excluded.title, link = excluded.link,
    state = excluded.state, started = excluded.started, seen = excluded.seen;

-- name: put_outcome
-- A new outcome, or a known one as it is now.
INSERT INTO outcomes (id, attempt, result, finished, superseded, duration, queued, retry)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (id) DO UPDATE SET
    result = excluded.result, finished = excluded.finished, superseded = excluded.superseded,
    duration = excluded.duration, queued = excluded.queued, retry = excluded.retry;

-- name: put_job
-- A new job execution, or a known one as it is now. A number may have been another job's: one that was open, and went
-- in the same batch.
INSERT INTO jobs (id, forge_id, name, stream, link, state, attempt, allowed, retry, result, reason,
    created, started, finished, superseded, duration, queued)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (id) DO UPDATE SET
    forge_id = excluded.forge_id, name = excluded.name, stream = excluded.stream,
    link = excluded.link, state = excluded.state, attempt = excluded.attempt, allowed = excluded.allowed,
    retry = excluded.retry, result = excluded.result, reason = excluded.reason, created = excluded.created,
    started = excluded.started, finished = excluded.finished, superseded = excluded.superseded,
    duration = excluded.duration, queued = excluded.queued;

-- name: drop_job
-- One job execution.
DELETE FROM jobs WHERE id = ?;

-- name: drop_outcome
-- One outcome.
DELETE FROM outcomes WHERE id = ?;

-- name: drop_run
-- One run; its outcomes and jobs are dropped on their own.
DELETE FROM runs WHERE id = ?;

-- name: count_total
-- Adds finished attempts to the totals.
INSERT INTO run_totals (origin, ref_type, result, runs, duration_ms, timed_runs) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (origin, ref_type, result) DO UPDATE SET
    runs = run_totals.runs + excluded.runs,
    duration_ms = run_totals.duration_ms + excluded.duration_ms,
    timed_runs = run_totals.timed_runs + excluded.timed_runs;

-- name: all_totals
-- Every total.
SELECT g.source, g.project, t.ref_type, t.result, t.runs, t.duration_ms, t.timed_runs
FROM run_totals AS t JOIN origins AS g ON g.id = t.origin
ORDER BY g.source, g.project, t.ref_type, t.result;

-- name: run_entries
-- Outcomes finished since a time, in the order of (finished, ref).
SELECT r.stream, o.id, r.created, o.finished, o.superseded, o.result, o.duration, o.queued, 0, o.retry
FROM outcomes AS o CROSS JOIN runs AS r ON r.id = o.id >> 16
WHERE o.finished >= ?
ORDER BY o.finished, o.id;

-- name: job_entries
-- Job executions finished since a time, in the order of (finished, ref).
SELECT j.stream, j.id, r.created, j.finished, j.superseded, j.result, j.duration, j.queued, j.allowed, j.retry
FROM jobs AS j CROSS JOIN runs AS r ON r.id = j.id >> 16
WHERE j.finished >= ?
ORDER BY j.finished, j.id;

-- name: run_rows
-- All outcomes as a start reads them, in the order of (finished, ref); of whole numbers alone, for each costs time.
SELECT r.stream, o.superseded, o.id, o.finished, o.finished - r.created, coalesce(o.duration, -1),
    coalesce(o.queued, -1), o.result | (o.retry * 16)
FROM outcomes AS o CROSS JOIN runs AS r ON r.id = o.id >> 16
WHERE o.finished >= 0
ORDER BY o.finished, o.id;

-- name: job_rows
-- All job executions in the same way.
SELECT j.stream, j.superseded, j.id, j.finished, j.finished - r.created, coalesce(j.duration, -1),
    coalesce(j.queued, -1), j.result | (j.allowed * 8) | (j.retry * 16)
FROM jobs AS j CROSS JOIN runs AS r ON r.id = j.id >> 16
WHERE j.finished >= 0
ORDER BY j.finished, j.id;

-- name: open_runs
-- Runs that are not finished.
SELECT id, stream, state, created, started FROM runs WHERE state <> 3;

-- name: open_jobs
-- Jobs that are not finished, of runs that are not.
SELECT j.id, j.stream, j.state, coalesce(j.created, r.created), j.started
FROM jobs AS j CROSS JOIN runs AS r ON r.id = j.id >> 16
WHERE j.state <> 3 AND r.state <> 3;

-- name: known_runs
-- Runs of a project seen since a time or still open, with the latest finished attempt of each.
SELECT r.forge_id, r.seen, r.state,
    (SELECT coalesce(max(o.attempt), 0) FROM outcomes AS o
     WHERE o.id BETWEEN r.id << 16 AND (r.id << 16) + 65535)
FROM runs AS r
WHERE r.id IN (
    SELECT a.id FROM runs AS a JOIN origins AS g ON g.id = a.origin
    WHERE g.source = ? AND g.project = ? AND a.seen >= ?
    UNION ALL
    SELECT b.id FROM runs AS b JOIN origins AS g ON g.id = b.origin
    WHERE g.source = ? AND g.project = ? AND b.state <> 3
);

-- name: run_evidence
-- What a message says of outcomes.
SELECT o.id, g.project, r.forge_id, r.number, s.workflow, s.branch, r.sha, r.title, o.result, o.finished, o.duration,
    l.url
FROM json_each(?) AS k
CROSS JOIN outcomes AS o ON o.id = k.value
CROSS JOIN runs AS r ON r.id = o.id >> 16
JOIN streams AS s ON s.id = r.stream
JOIN origins AS g ON g.id = r.origin
JOIN links AS l ON l.id = r.link;

-- name: failed_jobs
-- Failed jobs behind outcomes: those that counted when the outcome finished. Forges cut milliseconds off a
-- pipeline's end that they leave on a job's, so "when" is the last millisecond of that second. All jobs of the runs are
-- found first: who expects few failures would look through every job for them.
WITH executed AS MATERIALIZED (
    SELECT o.id AS outcome, o.finished + 999 AS ended, r.forge_id AS run, j.*
    FROM json_each(?) AS k
    CROSS JOIN outcomes AS o ON o.id = k.value
    CROSS JOIN runs AS r ON r.id = o.id >> 16
    CROSS JOIN jobs AS j ON j.id BETWEEN r.id << 16 AND (r.id << 16) + 65535
)
SELECT e.outcome, e.forge_id, e.run, e.name, s.stage, e.result, e.reason, l.url
FROM executed AS e
JOIN streams AS s ON s.id = e.stream
JOIN links AS l ON l.id = e.link
WHERE e.allowed = 0 AND e.result IN (1, 2, 3) AND e.finished <= e.ended
    AND (e.superseded IS NULL OR e.superseded > e.ended)
ORDER BY e.outcome, e.finished, e.id;

-- name: job_evidence
-- What a message says of job executions: the run, and the job.
SELECT j.id, g.project, r.forge_id, r.number, s.workflow, s.branch, r.sha, r.title, j.result, j.finished, j.duration,
    l.url, j.forge_id, j.name, s.stage, j.reason, m.url
FROM json_each(?) AS k
CROSS JOIN jobs AS j ON j.id = k.value
CROSS JOIN runs AS r ON r.id = j.id >> 16
JOIN streams AS s ON s.id = j.stream
JOIN origins AS g ON g.id = r.origin
JOIN links AS l ON l.id = r.link
JOIN links AS m ON m.id = j.link
WHERE j.finished IS NOT NULL;

-- name: young_outcomes
-- Stream and result of every outcome that counts and finished since a time.
SELECT r.stream, o.result
FROM outcomes AS o CROSS JOIN runs AS r ON r.id = o.id >> 16
WHERE o.finished >= ? AND o.superseded IS NULL;

-- name: stream_families
-- Of each stream of runs: its family (all its labels but the branch), and what it ran for.
SELECT id, origin, ref_type, event, workflow FROM streams WHERE kind = 'run';

-- name: old_outcomes
-- Outcomes finished before a time, the newest first.
SELECT o.id, r.stream, o.result, o.superseded
FROM outcomes AS o CROSS JOIN runs AS r ON r.id = o.id >> 16
WHERE o.finished < ?
ORDER BY o.finished DESC, o.id DESC;

-- name: old_jobs
-- Some job executions that finished before a time and are not open again.
SELECT id FROM jobs WHERE finished < ? AND state = 3 ORDER BY finished LIMIT ?;

-- name: old_runs
-- Runs not seen since a time that have no outcome any more, or never ended.
SELECT r.id
FROM origins AS g CROSS JOIN runs AS r ON r.origin = g.id AND r.seen < ?
WHERE r.state <> 3
    OR NOT EXISTS (SELECT 1 FROM outcomes AS o WHERE o.id BETWEEN r.id << 16 AND (r.id << 16) + 65535);

-- name: drop_old_transitions
-- Edges older than a time.
DELETE FROM transitions WHERE at < ?;

-- name: drop_old_notifications
-- Log entries that decide nothing any more and were last sent before a time.
DELETE FROM notifications WHERE dropped = 1 AND coalesce(last_sent_at, 0) < ?;

-- name: note
-- A remembered number.
SELECT value FROM notes WHERE name = ?;

-- name: put_note
-- Remembers a number.
INSERT INTO notes (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value;

-- name: all_projects
-- Every project that is read.
SELECT source, key, path, forge_id, default_branch, web_url, first_seen_at, cursor, covered_since, complete_at,
    success_at, swept_at, failure, forbidden, failures
FROM projects ORDER BY source, key;

-- name: put_project
-- A project as it is now.
INSERT INTO projects (source, key, path, forge_id, default_branch, web_url, first_seen_at, cursor, covered_since,
    complete_at, success_at, swept_at, failure, forbidden, failures)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (source, key) DO UPDATE SET
    path = excluded.path, forge_id = excluded.forge_id, default_branch = excluded.default_branch,
    web_url = excluded.web_url, first_seen_at = excluded.first_seen_at, cursor = excluded.cursor,
    covered_since = excluded.covered_since, complete_at = excluded.complete_at, success_at = excluded.success_at,
    swept_at = excluded.swept_at, failure = excluded.failure, forbidden = excluded.forbidden,
    failures = excluded.failures;

-- name: drop_project
-- A departed project. Its facts go by retention.
DELETE FROM projects WHERE source = ? AND key = ?;

-- name: all_alerts
-- Every alert, inactive ones too.
SELECT rule, identity, labels, severity, state, active_at, fired_at, ended_at, reason, value, threshold, samples,
    initial, quiet_since, no_data_since, unknown, grouped_by
FROM alerts ORDER BY key;

-- name: put_alert
-- An alert as it is now.
INSERT INTO alerts (key, rule, identity, labels, severity, state, active_at, fired_at, ended_at, reason, value,
    threshold, samples, initial, quiet_since, no_data_since, unknown, grouped_by)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (key) DO UPDATE SET
    rule = excluded.rule, identity = excluded.identity, labels = excluded.labels, severity = excluded.severity,
    state = excluded.state, active_at = excluded.active_at, fired_at = excluded.fired_at,
    ended_at = excluded.ended_at, reason = excluded.reason, value = excluded.value, threshold = excluded.threshold,
    samples = excluded.samples, initial = excluded.initial, quiet_since = excluded.quiet_since,
    no_data_since = excluded.no_data_since, unknown = excluded.unknown, grouped_by = excluded.grouped_by;

-- name: drop_alert
-- An alert that is over for good.
DELETE FROM alerts WHERE key = ?;

-- name: add_transition
-- An edge in an alert's life.
INSERT INTO transitions (at, rule, identity, before, after, reason, value) VALUES (?, ?, ?, ?, ?, ?, ?);

-- name: last_transitions
-- The newest edges of one rule.
SELECT at, rule, identity, before, after, reason, value FROM transitions WHERE rule = ? ORDER BY id DESC LIMIT ?;

-- name: live_notifications
-- Log entries that still decide what is due.
SELECT incident, alert_group, group_labels, receiver, integration, told, first_sent_at, last_sent_at, sent, handle,
    closed, failures, error, retry_at, gave_up
FROM notifications WHERE dropped = 0 ORDER BY incident, receiver, integration;

-- name: last_notifications
-- The log entries last sent, dropped ones too.
SELECT incident, alert_group, group_labels, receiver, integration, told, first_sent_at, last_sent_at, sent, handle,
    closed, failures, error, retry_at, gave_up
FROM notifications ORDER BY coalesce(last_sent_at, 0) DESC, incident, receiver, integration LIMIT ?;

-- name: put_notification
-- A log entry as it is now.
INSERT INTO notifications (incident, alert_group, group_labels, receiver, integration, told, first_sent_at,
    last_sent_at, sent, handle, closed, failures, error, retry_at, gave_up, dropped)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0)
ON CONFLICT (incident, receiver, integration) DO UPDATE SET
    alert_group = excluded.alert_group, group_labels = excluded.group_labels, told = excluded.told,
    first_sent_at = excluded.first_sent_at, last_sent_at = excluded.last_sent_at, sent = excluded.sent,
    handle = excluded.handle, closed = excluded.closed, failures = excluded.failures, error = excluded.error,
    retry_at = excluded.retry_at, gave_up = excluded.gave_up, dropped = 0;

-- name: drop_notification
-- A log entry that decides nothing any more; it stays as history.
UPDATE notifications SET dropped = 1 WHERE incident = ? AND receiver = ? AND integration = ?;

-- name: all_silences
-- Every silence, the first to start first.
SELECT id, matchers, starts_at, ends_at, updated_at, author, comment, until_resolved
FROM silences ORDER BY starts_at, id;

-- name: put_silence
-- Keeps a silence as it is now.
INSERT INTO silences (id, matchers, starts_at, ends_at, updated_at, author, comment, until_resolved)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (id) DO UPDATE SET
    matchers = excluded.matchers, starts_at = excluded.starts_at, ends_at = excluded.ends_at,
    updated_at = excluded.updated_at, author = excluded.author, comment = excluded.comment,
    until_resolved = excluded.until_resolved;

-- name: drop_silence
-- Forgets a silence.
DELETE FROM silences WHERE id = ?;
-- name: add_hook
-- An accepted webhook, if its source has not sent it before.
INSERT INTO hooks (source, delivery, project, run, received, done, body) VALUES (?, ?, ?, ?, ?, 0, ?)
ON CONFLICT (source, delivery) DO NOTHING
RETURNING id;

-- name: waiting_hooks
-- The oldest webhooks that no facts were made of yet.
SELECT id, source, delivery, project, run, received, body FROM hooks WHERE done = 0 ORDER BY id LIMIT ?;

-- name: hooks_of_run
-- All webhooks of one run whose bodies are kept, the oldest first.
SELECT id, source, delivery, project, run, received, body FROM hooks
WHERE source = ? AND project = ? AND run = ? AND body IS NOT NULL ORDER BY id;

-- name: end_hook
-- Facts were made of a webhook; its body stays for those of the same run still to come.
UPDATE hooks SET done = 1 WHERE id = ?;

-- name: empty_hook
-- Facts were made of a webhook, and its body is needed no more.
UPDATE hooks SET done = 1, body = NULL WHERE id = ?;

-- name: drop_old_hooks
-- Forgets webhooks that facts were made of and that were received before a time.
DELETE FROM hooks WHERE received < ? AND done = 1;

-- name: add_telling
-- A message that was tried.
INSERT INTO tellings (at, receiver, integration, kind, incident, alerts, total, outcome, reason, error, took_ms)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: last_tellings
-- The messages tried before a number, the newest first; of a receiver, an incident, an alert's key ('': all of them).
SELECT id, at, receiver, integration, kind, incident, alerts, total, outcome, reason, error, took_ms
FROM tellings
WHERE id < ? AND (? = '' OR receiver = ?) AND (? = '' OR incident = ?)
    AND (? = '' OR instr(alerts, '"key":"' || ? || '"') > 0)
ORDER BY id DESC LIMIT ?;

-- name: drop_old_tellings
-- Messages tried before a time.
DELETE FROM tellings WHERE at < ?;

-- name: last_change
-- The number of the newest change.
SELECT coalesce(max(seq), 0) FROM changes;
