-- Times are milliseconds since 1970-01-01T00:00:00Z; secrets are encrypted; codes are hashed.

-- "mfak": identifies the file as ours, so that our tables are never added to the file of another program.
PRAGMA application_id = 0x6d66616b;

-- A row is never deleted, not even when its user is erased: its version must not start again.
CREATE TABLE accounts (
    id              INTEGER PRIMARY KEY,
    tenant          TEXT    NOT NULL,
    user            TEXT    NOT NULL,
    version         INTEGER NOT NULL,
    failures        INTEGER NOT NULL, -- consecutive
    forgiven        INTEGER NOT NULL, -- of those, forgiven by an operator's unlock
    recent_failures TEXT    NOT NULL, -- a JSON array of times, oldest first
    verified_low    INTEGER, -- the last success, for each assurance
    verified_medium INTEGER,
    verified_high   INTEGER,
    audit_sequence  INTEGER NOT NULL, -- the account's last event, and its hash
    audit_hash      BLOB    NOT NULL,
    -- The last event that retention removed, and its hash; 0 and null if none. The trail begins after it.
    audit_base_sequence INTEGER NOT NULL DEFAULT 0,
    audit_base_hash BLOB,
    sealed_with     TEXT, -- the keys that open the factors' secrets: a sorted JSON array; null if there is no secret. A key that no row names may be removed from the ring
    factors         TEXT    NOT NULL, -- a JSON array in the order of creation; the view factors has a row for each
    answers         BLOB, -- to calls with an idempotency key, encrypted; null or empty if there are none
    data            TEXT, -- a JSON object with its version in the member v; null if there is none
    UNIQUE (tenant, user)
) STRICT;

CREATE INDEX accounts_by_key ON accounts (sealed_with);

-- The contents of accounts.factors in readable form. Old sqlite3 tools know json_extract but not ->>, and would not
-- open the file.
CREATE VIEW factors AS
SELECT
    a.id AS account,
    json_extract(f.value, '$.id') AS id,
    json_extract(f.value, '$.kind') AS kind, -- such as totp, hotp or email; newer versions may add kinds
    json_extract(f.value, '$.label') AS label,
    json_extract(f.value, '$.state') AS state, -- pending, active, removed
    json_extract(f.value, '$.expires_at') AS expires_at, -- of a pending factor
    json_extract(f.value, '$.replaces') AS replaces, -- of a pending factor: the factor that its confirmation removes
    json_extract(f.value, '$.created_at') AS created_at,
    json_extract(f.value, '$.last_used_at') AS last_used_at,
    json_extract(f.value, '$.key') AS key, -- the key that opens the secret, if there is one
    json_extract(f.value, '$.secret') AS secret, -- in base64
    json_extract(f.value, '$.data') AS data -- parameters and progress: a JSON object with its version in the member v
FROM accounts a, json_each(CASE WHEN json_valid(a.factors) THEN a.factors ELSE '[]' END) f;

-- Values that lead to an account without its user id, such as the credential id of a passkey.
CREATE TABLE handles (
    tenant  TEXT    NOT NULL,
    handle  BLOB    NOT NULL, -- its type, a colon, and its value
    account INTEGER NOT NULL, -- no account is ever deleted
    PRIMARY KEY (tenant, handle)
) STRICT, WITHOUT ROWID;

CREATE TABLE backup_code_sets (
    account   INTEGER PRIMARY KEY REFERENCES accounts (id),
    scheme    TEXT    NOT NULL, -- the hash function: algorithm, costs, salt
    issued_at INTEGER NOT NULL
) STRICT;

CREATE TABLE backup_codes (
    account  INTEGER NOT NULL REFERENCES backup_code_sets (account) ON DELETE CASCADE,
    place    INTEGER NOT NULL,
    hash     BLOB    NOT NULL,
    spent_at INTEGER,
    PRIMARY KEY (account, place)
) STRICT, WITHOUT ROWID;

CREATE TABLE events (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant   TEXT    NOT NULL,
    account  INTEGER NOT NULL REFERENCES accounts (id),
    sequence INTEGER NOT NULL,
    at       INTEGER NOT NULL,
    kind     TEXT    NOT NULL,
    factor   TEXT,
    actor    TEXT    NOT NULL,
    detail   TEXT    NOT NULL, -- a JSON object whose values are texts
    previous BLOB    NOT NULL, -- the hash of the previous event of the account
    hash     BLOB    NOT NULL,
    UNIQUE (account, sequence)
) STRICT;

-- Every index ends with the row's id, so this one has the events of a tenant in order.
CREATE INDEX events_by_tenant ON events (tenant);

CREATE TABLE api_keys (
    id         TEXT    NOT NULL PRIMARY KEY,
    name       TEXT,             -- the operator's name for it
    tenant     TEXT    NOT NULL,
    user_case  TEXT    NOT NULL, -- exact or fold; the same for all keys of a tenant
    scopes     TEXT    NOT NULL, -- names separated by spaces
    hash       BLOB    NOT NULL, -- SHA-256 of the whole key
    created_at INTEGER NOT NULL,
    revoked_at INTEGER,
    last_used_at INTEGER         -- rounded down to the minute
) STRICT;

-- The progress of each webhook to which the audit trail is delivered.
CREATE TABLE deliveries (
    endpoint      TEXT    NOT NULL PRIMARY KEY, -- the operator's name for it
    version       INTEGER NOT NULL,             -- the number of changes; every change compares it first
    position      INTEGER NOT NULL,             -- events up to this id were delivered
    through       INTEGER,                      -- the last event of the batch that is being sent
    claimed_until INTEGER NOT NULL,             -- until then no other process sends; 0 if there is no claim
    not_before    INTEGER NOT NULL,             -- after a failure, the time of the next attempt; otherwise 0
    failures      INTEGER NOT NULL,             -- consecutive
    last_failure  TEXT,                         -- its cause in a word, such as timeout or status_503
    stopped       INTEGER NOT NULL,             -- 1: the endpoint answered 410 Gone, and an operator must resume it
    unreadable    INTEGER NOT NULL              -- the number of unreadable events that were skipped
) STRICT, WITHOUT ROWID;

-- Messages to be sent, and their outcome. A row is written in the same commit as its event. Later claims delete it once
-- it has been expired for an hour.
CREATE TABLE messages (
    tenant       TEXT    NOT NULL,
    id           TEXT    NOT NULL, -- for a code, the id of its challenge
    user         TEXT    NOT NULL,
    version      INTEGER NOT NULL, -- every change compares it first
    expires_at   INTEGER NOT NULL, -- when the message expires
    state        TEXT    NOT NULL, -- queued, sent, failed
    due_at       INTEGER NOT NULL, -- of a queued message: it is not sent before
    tries        INTEGER NOT NULL, -- the number of claims
    last_failure TEXT,             -- its cause in a word, such as not_sent
    key          TEXT,             -- the key that opens the content; NULL if it will not be sent any more
    content      BLOB,             -- address and text, encrypted
    PRIMARY KEY (tenant, id)
) STRICT, WITHOUT ROWID;

CREATE INDEX messages_by_due_time ON messages (due_at) WHERE state = 'queued';
CREATE INDEX messages_by_expiry ON messages (expires_at) WHERE state <> 'queued';

-- Challenges, which are open for minutes: sent codes, WebAuthn ceremonies, push prompts. Later challenges delete a row
-- once it has been expired for an hour.
CREATE TABLE challenges (
    id         TEXT    NOT NULL PRIMARY KEY,
    tenant     TEXT    NOT NULL,
    user       TEXT,             -- NULL if the answer will identify the user
    factor     TEXT,             -- the one that must answer; NULL if any of this kind and user may
    kind       TEXT    NOT NULL, -- email_code, sms_code, push, webauthn_registration, webauthn_authentication
    purpose    TEXT    NOT NULL, -- of the answer: verify, enrol, change, recover
    caller     TEXT    NOT NULL, -- the one that began it; only this caller can submit answers
    nonce      TEXT,             -- the host's session that it was begun for; NULL if the host named none
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    version    INTEGER NOT NULL,
    state      TEXT    NOT NULL, -- open, approved, denied, over
    failures   INTEGER NOT NULL,
    data       BLOB    NOT NULL  -- data of its kind; secret parts are hashed or encrypted
) STRICT;

CREATE INDEX challenges_by_expiry ON challenges (expires_at);

-- Buckets of the throttles (generic cell rate algorithm); written up to a second late.
CREATE TABLE throttles (
    key        TEXT    NOT NULL PRIMARY KEY, -- kind/tenant/subject
    arrival    INTEGER NOT NULL, -- the quota is used up to this time, in microseconds
    latest     INTEGER NOT NULL, -- the latest time of a charge, in microseconds
    kept_until INTEGER NOT NULL  -- an hour after the quota is full again, rounded up to the hour
) STRICT, WITHOUT ROWID;

CREATE INDEX throttles_by_end ON throttles (kept_until);
