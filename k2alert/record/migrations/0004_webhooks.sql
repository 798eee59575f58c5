-- Webhooks that were accepted: kept until facts are made of them, and their ids for longer, so that none is taken twice.
--
-- `body` is JSON, NULL once it is needed no more. `done` is 1 once facts were made of it; where a forge tells a run in
-- many events, the bodies of all of them are kept for the events that are still to come.
CREATE TABLE hooks (
    id INTEGER PRIMARY KEY,
    source TEXT NOT NULL,
    delivery TEXT NOT NULL,
    project TEXT NOT NULL,
    run TEXT NOT NULL,
    received INTEGER NOT NULL,
    done INTEGER NOT NULL,
    body TEXT
);
CREATE UNIQUE INDEX hooks_delivery ON hooks (source, delivery);
CREATE INDEX hooks_waiting ON hooks (id) WHERE done = 0;
CREATE INDEX hooks_run ON hooks (source, project, run) WHERE body IS NOT NULL;
CREATE INDEX hooks_received ON hooks (received);
