-- Silences: what somebody asked not to hear. `matchers` (in Alertmanager's notation) and `until_resolved` (alerts by
-- key, with the time since which each fired) are JSON.

CREATE TABLE silences (
    id TEXT PRIMARY KEY,
    matchers TEXT NOT NULL,
    starts_at INTEGER NOT NULL,
    ends_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    author TEXT NOT NULL,
    comment TEXT NOT NULL,
    until_resolved TEXT NOT NULL
);
