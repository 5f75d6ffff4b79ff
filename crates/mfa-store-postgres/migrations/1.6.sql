-- Runs inside the transaction that holds the lock on migrations.

-- From here on programs may write the arrays.

CREATE FUNCTION mfa.backup_code_set_into_codes() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM mfa.backup_codes WHERE account_id = coalesce(new.account_id, old.account_id);
    INSERT INTO mfa.backup_codes (account_id, place, hash, spent_at)
    SELECT new.account_id, c.place - 1, c.hash, c.spent
    FROM unnest(new.hashes, new.spent_at) WITH ORDINALITY AS c (hash, spent, place);
    RETURN NULL;
END $$;

COMMENT ON FUNCTION mfa.backup_code_set_into_codes() IS
    'Writes into mfa.backup_codes what a program of version 1.4 or later wrote into mfa.backup_code_sets.';

-- A program before version 1.4 writes no arrays.
CREATE TRIGGER inserted_into_codes AFTER INSERT ON mfa.backup_code_sets
    FOR EACH ROW WHEN (pg_trigger_depth() = 0 AND new.hashes <> '{}')
    EXECUTE FUNCTION mfa.backup_code_set_into_codes();
CREATE TRIGGER updated_into_codes AFTER UPDATE ON mfa.backup_code_sets
    FOR EACH ROW WHEN (pg_trigger_depth() = 0
        AND (new.hashes, new.spent_at) IS DISTINCT FROM (old.hashes, old.spent_at))
    EXECUTE FUNCTION mfa.backup_code_set_into_codes();
CREATE TRIGGER deleted_into_codes AFTER DELETE ON mfa.backup_code_sets
    FOR EACH ROW WHEN (pg_trigger_depth() = 0)
    EXECUTE FUNCTION mfa.backup_code_set_into_codes();
