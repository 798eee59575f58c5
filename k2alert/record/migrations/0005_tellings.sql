-- What was sent to whom: one row for each message tried, never changed, kept until retention ends. `alerts` is JSON: the
-- first of `total` alerts, each with its key, rule and identity. `outcome`: sent, retry or given_up.

CREATE TABLE tellings (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at INTEGER NOT NULL,
    receiver TEXT NOT NULL,
    integration TEXT NOT NULL,
    kind TEXT NOT NULL,
    incident TEXT NOT NULL,
    alerts TEXT NOT NULL,
    total INTEGER NOT NULL,
    outcome TEXT NOT NULL,
    reason TEXT NOT NULL,
    error TEXT NOT NULL,
    took_ms INTEGER NOT NULL
);

CREATE INDEX tellings_by_time ON tellings (at);
