-- How far each endpoint is that the audit trail is delivered to: one row each.
CREATE TABLE deliveries (
    endpoint      TEXT    NOT NULL PRIMARY KEY, -- the operator's name for it
    version       INTEGER NOT NULL,             -- how often the row was changed; every change compares it
    position      INTEGER NOT NULL,             -- events up to this id were delivered
    through       INTEGER,                      -- the last event of the batch that is being sent
    claimed_until INTEGER NOT NULL,             -- until then nobody else sends; 0 if nobody has claimed it
    not_before    INTEGER NOT NULL,             -- after a failure: nobody sends before; else 0
    failures      INTEGER NOT NULL,             -- in a row
    last_failure  TEXT,                         -- in a word, such as timeout or status_503
    stopped       INTEGER NOT NULL,             -- 1: the endpoint is gone, and an operator has to resume it
    unreadable    INTEGER NOT NULL              -- how many events were passed over since they cannot be read
) STRICT, WITHOUT ROWID;
