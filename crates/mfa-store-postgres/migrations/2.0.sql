-- Runs inside the transaction that holds the lock on migrations, once no program before version 1.4 is
-- used any more.

-- In the order in which requests lock them, so that this waits for them and they wait for it, and none for each
-- other: to drop the table changes that of the accounts, too, which it refers to.
LOCK TABLE mfa.accounts, mfa.backup_code_sets, mfa.backup_codes IN ACCESS EXCLUSIVE MODE;

DROP TRIGGER inserted_into_codes ON mfa.backup_code_sets;
DROP TRIGGER updated_into_codes ON mfa.backup_code_sets;
DROP TRIGGER deleted_into_codes ON mfa.backup_code_sets;
DROP FUNCTION mfa.backup_code_set_into_codes();
DROP TABLE mfa.backup_codes;
DROP FUNCTION mfa.backup_codes_into_sets();
