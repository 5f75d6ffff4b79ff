-- Runs inside the transaction that holds the lock on migrations.

-- The codes of a set move into its row, as two arrays in place of ten rows and ten entries of an index:
-- every request reads them. The program before this version reads and writes the rows, this one the
-- arrays. What the one writes is written again for the other by triggers, until 2.0 takes the rows away.

-- The program before locks the codes first.
LOCK TABLE mfa.backup_codes IN SHARE ROW EXCLUSIVE MODE;

ALTER TABLE mfa.backup_code_sets
    ADD COLUMN hashes   bytea[]  NOT NULL DEFAULT '{}',
    ADD COLUMN spent_at bigint[] NOT NULL DEFAULT '{}';

COMMENT ON COLUMN mfa.backup_code_sets.hashes IS
    'The codes, spent ones included, hashed under the scheme. The place of one never changes.';
COMMENT ON COLUMN mfa.backup_code_sets.spent_at IS
    'When the code at the same place was used, in milliseconds since 1970-01-01T00:00:00Z; null if it still can be.';
COMMENT ON TABLE mfa.backup_codes IS 'The codes of each set once more, as programs before version 1.4 need them.';

CREATE FUNCTION mfa.backup_codes_into_sets() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE mfa.backup_code_sets s SET hashes = c.hashes, spent_at = c.spent
    FROM (
        SELECT k.account_id,
            coalesce(array_agg(o.hash ORDER BY o.place) FILTER (WHERE o.place IS NOT NULL), '{}') AS hashes,
            coalesce(array_agg(o.spent_at ORDER BY o.place) FILTER (WHERE o.place IS NOT NULL), '{}') AS spent
        FROM (SELECT DISTINCT account_id FROM changed) k
        LEFT JOIN mfa.backup_codes o ON o.account_id = k.account_id
        GROUP BY k.account_id
    ) c
    WHERE s.account_id = c.account_id;
    RETURN NULL;
END $$;

COMMENT ON FUNCTION mfa.backup_codes_into_sets() IS
    'Writes into mfa.backup_code_sets what a program before version 1.4 wrote into mfa.backup_codes.';

-- Depth 0 is a program; what the trigger on the other table writes is not written back.
CREATE TRIGGER inserted_into_sets AFTER INSERT ON mfa.backup_codes REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION mfa.backup_codes_into_sets();
CREATE TRIGGER updated_into_sets AFTER UPDATE ON mfa.backup_codes REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION mfa.backup_codes_into_sets();
CREATE TRIGGER deleted_into_sets AFTER DELETE ON mfa.backup_codes REFERENCING OLD TABLE AS changed
    FOR EACH STATEMENT WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION mfa.backup_codes_into_sets();
