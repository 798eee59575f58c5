-- What several replicas on one database tell each other. An engine for one process leaves both tables empty.

-- Who leads. `epoch` grows with each change of the holder; `expires_at` is by the database's clock.
CREATE TABLE leases (
    name TEXT PRIMARY KEY,
    holder TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
);

-- What changed, one row for each transaction, in the order they took effect; kept for some minutes. `at` is by the
-- database's clock. `body` is JSON, of the form that `version` says.
CREATE TABLE changes (
    seq INTEGER PRIMARY KEY,
    at INTEGER NOT NULL,
    version INTEGER NOT NULL,
    body TEXT NOT NULL
);
CREATE INDEX changes_at ON changes (at);
