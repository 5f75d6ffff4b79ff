-- Runs inside the transaction that holds the lock on migrations. The program before this version neither
-- reads nor writes these columns.

-- A vacuum of events makes this wait: so it comes before accounts are locked, which every request reads.
ALTER TABLE mfa.events SET (autovacuum_vacuum_scale_factor = 0.05);

ALTER TABLE mfa.accounts
    ADD COLUMN audit_base_sequence bigint NOT NULL DEFAULT 0,
    ADD COLUMN audit_base_hash     bytea  NOT NULL
        DEFAULT '\x0000000000000000000000000000000000000000000000000000000000000000';

COMMENT ON COLUMN mfa.accounts.audit_base_sequence IS
    'The sequence number of the last event that was removed by age; 0 if none was. The trail begins after it.';
COMMENT ON COLUMN mfa.accounts.audit_base_hash IS 'The hash of that event; zeros if none was removed.';

COMMENT ON TABLE mfa.events IS
    'The audit trail: append-only but for events that are removed by age, one chain of hashes for each account. account_id is accounts.id, of which no row is ever deleted.';

ALTER TABLE mfa.accounts ADD COLUMN answers bytea;

COMMENT ON COLUMN mfa.accounts.answers IS
    'The answers that are kept for calls that may be sent again, sealed; null or empty if there are none.';
