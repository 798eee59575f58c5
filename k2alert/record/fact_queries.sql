-- Every statement about reports, deployments and schedules, each named and described; see queries.sql.

-- name: find_names
-- The numbers of names of one project and kind, by fingerprint.
SELECT fingerprint, number FROM names
WHERE origin = ? AND kind = ? AND fingerprint IN (SELECT value FROM json_each(?));

-- name: taken_names
-- All numbers given in one project to one kind of name.
SELECT number FROM names WHERE origin = ? AND kind = ?;

-- name: add_name
-- A new name.
INSERT INTO names (origin, kind, number, fingerprint, suite, name) VALUES (?, ?, ?, ?, ?, ?);

-- name: drop_name
-- A name that no set holds.
DELETE FROM names WHERE origin = ? AND kind = ? AND number = ?;

-- name: named_groups
-- The projects and kinds that have names.
SELECT DISTINCT origin, kind FROM names ORDER BY origin, kind;

-- name: all_tests
-- Every test's name.
SELECT g.source, g.project, n.number, n.suite, n.name
FROM names AS n JOIN origins AS g ON g.id = n.origin
WHERE n.kind = 0 ORDER BY n.origin, n.number;

-- name: find_set
-- A set of one project and kind, by fingerprint.
SELECT id, members FROM sets WHERE origin = ? AND kind = ? AND fingerprint = ?;

-- name: add_set
-- A new set.
INSERT INTO sets (origin, kind, fingerprint, members) VALUES (?, ?, ?, ?) RETURNING id;

-- name: all_sets
-- Every set.
SELECT id, members FROM sets;

-- name: set_members
-- One set.
SELECT members FROM sets WHERE id = ?;

-- name: sets_of_group
-- The sets of one project and kind.
SELECT members FROM sets WHERE origin = ? AND kind = ?;

-- name: sweep_sets
-- Forgets sets that no report has any more.
DELETE FROM sets WHERE id IN (
    SELECT id FROM sets
    EXCEPT SELECT ran FROM test_reports EXCEPT SELECT failing FROM test_reports EXCEPT SELECT mixed FROM test_reports
    EXCEPT SELECT files FROM coverage_reports
);

-- name: find_test_report
-- The test report of an execution.
SELECT id, run, attempt, name, job_id, stream, sha, finished, total, failed, skipped, duration, named, ran, failing,
    mixed, repeats
FROM test_reports WHERE run = ? AND attempt = ? AND name = ? AND job_id = ?;

-- name: put_test_report
-- A new test report, or a known one as it is now.
INSERT INTO test_reports (run, attempt, name, job_id, stream, sha, finished, total, failed, skipped, duration, named,
    ran, failing, mixed, repeats)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (run, attempt, name, job_id) DO UPDATE SET
    stream = excluded.stream, sha = excluded.sha, finished = excluded.finished, total = excluded.total,
    failed = excluded.failed, skipped = excluded.skipped, duration = excluded.duration, named = excluded.named,
    ran = excluded.ran, failing = excluded.failing, mixed = excluded.mixed, repeats = excluded.repeats
RETURNING id;

-- name: drop_test_report
-- One test report; its cases are dropped on their own.
DELETE FROM test_reports WHERE id = ?;

-- name: drop_test_cases
-- The cases of a test report.
DELETE FROM test_cases WHERE report = ?;

-- name: add_test_case
-- A case of a test report.
INSERT INTO test_cases (report, number, file, duration, message) VALUES (?, ?, ?, ?, ?);

-- name: test_reports
-- Test reports finished since a time, in the order of (finished, ref).
SELECT id, run, attempt, name, job_id, stream, sha, finished, total, failed, skipped, duration, named, ran, failing,
    mixed, repeats
FROM test_reports WHERE finished >= ? ORDER BY finished, id;

-- name: old_test_reports
-- Some test reports that finished before a time.
SELECT id, run, attempt, name, job_id, stream, sha, finished, total, failed, skipped, duration, named, ran, failing,
    mixed, repeats
FROM test_reports WHERE finished < ? ORDER BY finished LIMIT ?;

-- name: test_evidence
-- What a message says of a test in a report.
SELECT t.id, n.number, n.suite, n.name, s.job, coalesce(c.message, ''), coalesce(c.file, ''), t.finished, t.sha,
    s.branch, r.forge_id, j.forge_id, coalesce(m.url, l.url, '')
FROM test_reports AS t
JOIN streams AS s ON s.id = t.stream
JOIN names AS n ON n.origin = s.origin AND n.kind = 0 AND n.number = ?
LEFT JOIN test_cases AS c ON c.report = t.id AND c.number = n.number
LEFT JOIN runs AS r ON r.id = t.run
LEFT JOIN links AS l ON l.id = r.link
LEFT JOIN jobs AS j ON j.id BETWEEN t.run << 16 AND (t.run << 16) + 65535 AND j.forge_id = t.job_id
LEFT JOIN links AS m ON m.id = j.link
WHERE t.id = ?;

-- name: runs_of_test_reports
-- The last outcome of the run of each of these test reports.
SELECT t.id, max(o.id)
FROM json_each(?) AS k CROSS JOIN test_reports AS t ON t.id = k.value
CROSS JOIN outcomes AS o ON o.id BETWEEN t.run << 16 AND (t.run << 16) + 65535
GROUP BY t.id;

-- name: runs_of_coverage_reports
-- The last outcome of the run of each of these coverage reports.
SELECT t.id, max(o.id)
FROM json_each(?) AS k CROSS JOIN coverage_reports AS t ON t.id = k.value
CROSS JOIN outcomes AS o ON o.id BETWEEN t.run << 16 AND (t.run << 16) + 65535
GROUP BY t.id;

-- name: find_coverage_report
-- The coverage report of an execution.
SELECT id, run, attempt, name, job_id, kind, stream, sha, finished, percent, branch_percent, lines_covered,
    lines_valid, files
FROM coverage_reports WHERE run = ? AND attempt = ? AND name = ? AND job_id = ? AND kind = ?;

-- name: put_coverage_report
-- A new coverage report, or a known one as it is now.
INSERT INTO coverage_reports (run, attempt, name, job_id, kind, stream, sha, finished, percent, branch_percent,
    lines_covered, lines_valid, files)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (run, attempt, name, job_id, kind) DO UPDATE SET
    stream = excluded.stream, sha = excluded.sha, finished = excluded.finished, percent = excluded.percent,
    branch_percent = excluded.branch_percent, lines_covered = excluded.lines_covered,
    lines_valid = excluded.lines_valid, files = excluded.files
RETURNING id;

-- name: drop_coverage_report
-- One coverage report.
DELETE FROM coverage_reports WHERE id = ?;

-- name: coverage_reports
-- Coverage reports finished since a time, in the order of (finished, ref).
SELECT id, run, attempt, name, job_id, kind, stream, sha, finished, percent, branch_percent, lines_covered,
    lines_valid, files
FROM coverage_reports WHERE finished >= ? ORDER BY finished, id;

-- name: old_coverage_reports
-- Some coverage reports that finished before a time; of default branches without the newest few of each stream, for
-- coverage counts however old it is.
SELECT id, run, attempt, name, job_id, kind, stream, sha, finished, percent, branch_percent, lines_covered,
    lines_valid, files
FROM (
    SELECT c.*, s.ref_type, row_number() OVER (PARTITION BY c.stream, c.kind ORDER BY c.finished DESC, c.id DESC) AS nth
    FROM coverage_reports AS c JOIN streams AS s ON s.id = c.stream
) AS ranked
WHERE finished < ? AND (ref_type <> 'default' OR nth > 5) ORDER BY finished LIMIT ?;

-- name: put_benchmark_report
-- A new benchmark report, or a known one as it is now.
INSERT INTO benchmark_reports (run, attempt, name, job_id, stream, sha, finished, cpu)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (run, attempt, name, job_id) DO UPDATE SET
    stream = excluded.stream, sha = excluded.sha, finished = excluded.finished, cpu = excluded.cpu
RETURNING id;

-- name: runs_of_benchmark_reports
-- The last outcome of the run of each of these benchmark reports.
SELECT t.id, max(o.id)
FROM json_each(?) AS k CROSS JOIN benchmark_reports AS t ON t.id = k.value
CROSS JOIN outcomes AS o ON o.id BETWEEN t.run << 16 AND (t.run << 16) + 65535
GROUP BY t.id;

-- name: find_benchmark_report
-- The benchmark report of an execution.
SELECT id FROM benchmark_reports WHERE run = ? AND attempt = ? AND name = ? AND job_id = ?;

-- name: points_of_benchmark_report
-- What one report measured.
SELECT b.stream, b.id, b.finished, b.sha, p.benchmark, p.value, p.unit, p.lower_is_better, p.spread, b.cpu
FROM benchmark_reports AS b JOIN benchmark_points AS p ON p.report = b.id
WHERE b.id = ? ORDER BY p.benchmark;

-- name: old_benchmark_reports
-- Some of the benchmark reports that ended before a time, the oldest first.
SELECT id FROM benchmark_reports WHERE finished < ? ORDER BY finished, id LIMIT ?;

-- name: drop_benchmark_report
-- A benchmark report; what it measured goes first.
DELETE FROM benchmark_reports WHERE id = ?;

-- name: drop_benchmark_points
-- What a benchmark report measured.
DELETE FROM benchmark_points WHERE report = ?;

-- name: put_benchmark_point
-- One measurement; the last one of a name counts.
INSERT INTO benchmark_points (report, benchmark, value, unit, lower_is_better, spread, rounds)
VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (report, benchmark) DO UPDATE SET
    value = excluded.value, unit = excluded.unit, lower_is_better = excluded.lower_is_better,
    spread = excluded.spread, rounds = excluded.rounds;

-- name: benchmark_points
-- All measurements since a time, each benchmark's in the order of (finished, ref).
SELECT b.stream, b.id, b.finished, b.sha, p.benchmark, p.value, p.unit, p.lower_is_better, p.spread, b.cpu
FROM benchmark_reports AS b JOIN benchmark_points AS p ON p.report = b.id
WHERE b.finished >= ? ORDER BY b.finished, b.id, p.benchmark;

-- name: find_deployment
-- A deployment by the forge's id.
SELECT id, origin, forge_id, stream, sha, run, state, result, created, finished, since, link, seen
FROM deployments WHERE origin = ? AND forge_id = ?;

-- name: put_deployment
-- A new deployment, or a known one as it is now. Its labels, and when it was created, stay.
INSERT INTO deployments (origin, forge_id, stream, sha, run, state, result, created, finished, since, link, seen)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (origin, forge_id) DO UPDATE SET
    sha = excluded.sha, run = excluded.run, state = excluded.state, result = excluded.result,
    finished = excluded.finished, since = excluded.since, link = excluded.link, seen = excluded.seen
RETURNING id;

-- name: drop_deployment
-- One deployment.
DELETE FROM deployments WHERE id = ?;

-- name: finished_deployments
-- Deployments finished since a time, in the order of (finished, ref).
SELECT id, origin, forge_id, stream, sha, run, state, result, created, finished, since, link, seen
FROM deployments WHERE finished >= ? AND result IS NOT NULL ORDER BY finished, id;

-- name: old_deployments
-- Some deployments that are over since before a time, or were never finished and not seen since then; without the
-- newest finished and the newest successful one of each environment.
SELECT id, origin, forge_id, stream, sha, run, state, result, created, finished, since, link, seen
FROM (
    SELECT d.*,
        row_number() OVER (PARTITION BY d.origin, s.environment, d.result IS NULL
            ORDER BY d.finished DESC, d.id DESC) AS nth,
        row_number() OVER (PARTITION BY d.origin, s.environment, coalesce(d.result, 9) = 0
            ORDER BY d.finished DESC, d.id DESC) AS nth_green
    FROM deployments AS d JOIN streams AS s ON s.id = d.stream
) AS ranked
WHERE (result IS NULL AND seen < ?)
    OR (result IS NOT NULL AND finished < ? AND nth > 1 AND (result <> 0 OR nth_green > 1))
ORDER BY id LIMIT ?;

-- name: deployment_evidence
-- What a message says of deployments.
SELECT d.id, g.project, d.forge_id, s.environment, s.environment_tier, s.branch, d.sha, d.result, d.finished, d.run,
    l.url
FROM json_each(?) AS k
CROSS JOIN deployments AS d ON d.id = k.value
JOIN streams AS s ON s.id = d.stream
JOIN origins AS g ON g.id = d.origin
JOIN links AS l ON l.id = d.link
WHERE d.result IS NOT NULL AND d.finished IS NOT NULL;

-- name: schedules_of
-- The schedules of a project.
SELECT id, origin, forge_id, stream, cron, timezone, any_workflow, active, since, delay, last_run, link
FROM schedules WHERE origin = ?;

-- name: put_schedule
-- A new schedule, or a known one as it is now.
INSERT INTO schedules (origin, forge_id, stream, cron, timezone, any_workflow, active, since, delay, last_run, link)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (origin, forge_id) DO UPDATE SET
    stream = excluded.stream, cron = excluded.cron, timezone = excluded.timezone,
    any_workflow = excluded.any_workflow, active = excluded.active, since = excluded.since, delay = excluded.delay,
    last_run = excluded.last_run, link = excluded.link
RETURNING id;

-- name: drop_schedule
-- A schedule that is gone.
DELETE FROM schedules WHERE id = ?;

-- name: active_schedules
-- Every schedule that is active.
SELECT id, origin, forge_id, stream, cron, timezone, any_workflow, active, since, delay, last_run, link
FROM schedules WHERE active = 1 ORDER BY since, id;

-- name: paths_of_projects
-- The path of a project by its key.
SELECT source, path FROM projects WHERE source = ? AND key = ?;
