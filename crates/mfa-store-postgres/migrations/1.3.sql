-- Runs inside the transaction that holds the lock on migrations.

CREATE TABLE mfa.deliveries (
    endpoint      text    COLLATE "C" PRIMARY KEY,
    version       bigint  NOT NULL CHECK (version > 0),
    position      bigint  NOT NULL,
    through       bigint,
    claimed_until bigint  NOT NULL,
    not_before    bigint  NOT NULL,
    failures      bigint  NOT NULL,
    last_failure  text,
    stopped       boolean NOT NULL,
    unreadable    bigint  NOT NULL
) WITH (fillfactor = 50);

COMMENT ON TABLE mfa.deliveries IS
    'How far each endpoint is that the audit trail is delivered to: one row each.';
COMMENT ON COLUMN mfa.deliveries.endpoint IS 'The operator''s name for the endpoint.';
COMMENT ON COLUMN mfa.deliveries.version IS 'How often the row was changed. Every change compares it first.';
COMMENT ON COLUMN mfa.deliveries.position IS
    'Events up to this id were delivered, or were not for this endpoint.';
COMMENT ON COLUMN mfa.deliveries.through IS
    'The last event of the batch that is being sent, or is to be sent again; null if there is none.';
COMMENT ON COLUMN mfa.deliveries.claimed_until IS
    'Until then only the replica that claimed it sends, in milliseconds since 1970-01-01T00:00:00Z; 0 if none has.';
COMMENT ON COLUMN mfa.deliveries.not_before IS
    'After a failure nobody sends before that time, in milliseconds since 1970-01-01T00:00:00Z; else 0.';
COMMENT ON COLUMN mfa.deliveries.failures IS 'Failed attempts in a row.';
COMMENT ON COLUMN mfa.deliveries.last_failure IS
    'How the last of them failed, in a word such as timeout or status_503.';
COMMENT ON COLUMN mfa.deliveries.stopped IS
    'Whether the endpoint said that it is gone. Then nothing is sent until an operator resumes it.';
COMMENT ON COLUMN mfa.deliveries.unreadable IS
    'How many events were passed over since they cannot be read.';
