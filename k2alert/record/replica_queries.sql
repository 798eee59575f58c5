-- The statements of replicas, for the engine that may have several; all times are by the database's clock.

-- name: now_and_lease
-- Who holds the lease, if anybody does: an end further ahead than any lease lasts is one from before the clock was set.
SELECT holder, epoch, expires_at BETWEEN clock.now AND clock.now + 2 * ? AS held
FROM leases, (SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint AS now) AS clock
WHERE name = ?;

-- name: make_lease
-- The lease's row, held by nobody.
INSERT INTO leases (name, holder, epoch, expires_at) VALUES (?, '', 0, 0) ON CONFLICT (name) DO NOTHING;

-- name: take_lease
-- Takes the lease if it is free. It waits for the writes of whoever had it: they lock the row for as long as they last.
WITH free AS (
    SELECT name FROM leases
    WHERE name = ? AND NOT expires_at BETWEEN (extract(epoch FROM clock_timestamp()) * 1000)::bigint
        AND (extract(epoch FROM clock_timestamp()) * 1000)::bigint + 2 * ?
    FOR UPDATE
)
UPDATE leases SET holder = ?, epoch = leases.epoch + 1,
    expires_at = (extract(epoch FROM clock_timestamp()) * 1000)::bigint + ?
FROM free WHERE leases.name = free.name
RETURNING leases.epoch;

-- name: renew_lease
-- Keeps the lease, if nobody has taken it since.
UPDATE leases SET expires_at = (extract(epoch FROM clock_timestamp()) * 1000)::bigint + ?
WHERE name = ? AND holder = ? AND epoch = ?
RETURNING epoch;

-- name: release_lease
-- Gives the lease back.
UPDATE leases SET expires_at = 0 WHERE name = ? AND holder = ? AND epoch = ?;

-- name: check_lease
-- The number of this transaction, if this replica still leads; nobody takes the lease before the transaction has ended.
SELECT pg_current_xact_id()::text FROM leases
WHERE name = ? AND holder = ? AND epoch = ? AND expires_at > (extract(epoch FROM clock_timestamp()) * 1000)::bigint
FOR KEY SHARE;

-- name: lock_changes
-- Changes are numbered in the order in which they take effect: from here on, one transaction at a time.
SELECT pg_advisory_xact_lock(?);

-- name: add_change
-- Tells others of what this transaction does.
INSERT INTO changes (seq, at, version, body)
SELECT coalesce(max(seq), 0) + 1, (extract(epoch FROM clock_timestamp()) * 1000)::bigint, ?::bigint, ?::text FROM changes
RETURNING seq, pg_notify('k2alert_changes', '');

-- name: trim_changes
-- Forgets old changes; the newest one stays, so that numbers go on.
DELETE FROM changes
WHERE seq < ? AND at < (extract(epoch FROM clock_timestamp()) * 1000)::bigint - ?;

-- name: changes_after
-- The changes after one, in order.
SELECT seq, version, body FROM changes WHERE seq > ? ORDER BY seq LIMIT ?;

-- name: newest_change
-- The number of the newest change.
SELECT coalesce(max(seq), 0) FROM changes;
