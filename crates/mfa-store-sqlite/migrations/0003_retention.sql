-- After which event an account's trail begins, and the hash of that event: those up to it were removed
-- by age. Zeros as long as none was.
ALTER TABLE accounts ADD COLUMN audit_base_sequence INTEGER NOT NULL DEFAULT 0;
ALTER TABLE accounts ADD COLUMN audit_base_hash BLOB NOT NULL
    DEFAULT x'0000000000000000000000000000000000000000000000000000000000000000';

-- The answers that are kept for calls that may be sent again, sealed; null or empty if there are none.
ALTER TABLE accounts ADD COLUMN answers BLOB;
