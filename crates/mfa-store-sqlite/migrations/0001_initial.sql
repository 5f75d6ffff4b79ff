-- Times are milliseconds since 1970-01-01T00:00:00Z; secrets are encrypted; codes are hashed.

-- "mfak": by this a file is known as ours, and no other program's file gets our tables.
PRAGMA application_id = 0x6d66616b;

-- A row is never deleted, not even when its user is erased: its version must not come back.
CREATE TABLE accounts (
    id              INTEGER PRIMARY KEY,
    tenant          TEXT    NOT NULL,
    user            TEXT    NOT NULL,
    version         INTEGER NOT NULL,
    failures        INTEGER NOT NULL, -- in a row
    forgiven        INTEGER NOT NULL, -- of those, by an operator's unlock
    recent_failures TEXT    NOT NULL, -- a JSON array of times, oldest first
    verified_low    INTEGER, -- the last success, for each assurance
    verified_medium INTEGER,
    verified_high   INTEGER,
    audit_sequence  INTEGER NOT NULL, -- the account's last event, and its hash
    audit_hash      BLOB    NOT NULL,
    -- After which event the trail begins, and its hash: those up to it were removed by age. Zero and null if none was.
    audit_base_sequence INTEGER NOT NULL DEFAULT 0,
    audit_base_hash BLOB,
    sealed_with     TEXT, -- the keys that open the factors' secrets: a JSON array in order; null if there is none. One that is not named here may be removed from the ring
    factors         TEXT    NOT NULL, -- a JSON array in the order of creation; the view of that name has a row for each
    answers         BLOB, -- kept for calls that may be sent again, sealed; null or empty if there are none
    data            TEXT, -- a JSON object, versioned by its member v; null if there is nothing in it
    UNIQUE (tenant, user)
) STRICT;

CREATE INDEX accounts_by_key ON accounts (sealed_with);

-- What is in accounts.factors, for people to read. Old sqlite3 tools know json_extract, but no ->>, and would not open
-- the file.
CREATE VIEW factors AS
SELECT
    a.id AS account,
    json_extract(f.value, '$.id') AS id,
    json_extract(f.value, '$.kind') AS kind, -- totp, hotp, or what a newer version knows
    json_extract(f.value, '$.label') AS label,
    json_extract(f.value, '$.state') AS state, -- pending, active, removed
    json_extract(f.value, '$.expires_at') AS expires_at, -- of a pending one
    json_extract(f.value, '$.replaces') AS replaces, -- of a pending one: the factor that goes once it is confirmed
    json_extract(f.value, '$.created_at') AS created_at,
    json_extract(f.value, '$.last_used_at') AS last_used_at,
    json_extract(f.value, '$.key') AS key, -- which key opens the secret, if there is one
    json_extract(f.value, '$.secret') AS secret, -- in base64
    json_extract(f.value, '$.data') AS data -- parameters and progress: a JSON object, versioned by its member v
FROM accounts a, json_each(CASE WHEN json_valid(a.factors) THEN a.factors ELSE '[]' END) f;

-- By what an account is found without knowing the user, such as the id of a passkey's credential.
CREATE TABLE handles (
    tenant  TEXT    NOT NULL,
    handle  BLOB    NOT NULL, -- its sort, a colon, and its value
    account INTEGER NOT NULL, -- where it leads; no account is ever deleted
    PRIMARY KEY (tenant, handle)
) STRICT, WITHOUT ROWID;

CREATE TABLE backup_code_sets (
    account   INTEGER PRIMARY KEY REFERENCES accounts (id),
    scheme    TEXT    NOT NULL, -- how the codes are hashed: algorithm, costs, salt
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
    detail   TEXT    NOT NULL, -- a JSON object of texts
    previous BLOB    NOT NULL, -- the hash of the account's event before this one
    hash     BLOB    NOT NULL,
    UNIQUE (account, sequence)
) STRICT;

-- Every index ends with the row's id, so this one has a tenant's events in order.
CREATE INDEX events_by_tenant ON events (tenant);

CREATE TABLE api_keys (
    id         TEXT    NOT NULL PRIMARY KEY,
    name       TEXT,             -- what operators call it
    tenant     TEXT    NOT NULL,
    user_case  TEXT    NOT NULL, -- exact, fold; the same for all keys of a tenant
    scopes     TEXT    NOT NULL, -- names with spaces between
    hash       BLOB    NOT NULL, -- SHA-256 of the whole key
    created_at INTEGER NOT NULL,
    revoked_at INTEGER,
    last_used_at INTEGER         -- the beginning of that minute
) STRICT;

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

-- What is to be sent, and what became of it. A row is written in the same commit as the event that tells of it, and goes
-- an hour after it expired, in passing.
CREATE TABLE messages (
    tenant       TEXT    NOT NULL,
    id           TEXT    NOT NULL, -- of a code: the id of its challenge
    user         TEXT    NOT NULL, -- whose
    version      INTEGER NOT NULL, -- every change compares it
    expires_at   INTEGER NOT NULL, -- from then on nobody needs it
    state        TEXT    NOT NULL, -- queued, sent, failed
    due_at       INTEGER NOT NULL, -- of a queued one: nobody sends it before
    tries        INTEGER NOT NULL, -- how often it was claimed
    last_failure TEXT,             -- in a word, such as not_sent
    key          TEXT,             -- which key opens the content; NULL if nobody is to send it any more
    content      BLOB,             -- where it goes and what it says, encrypted
    PRIMARY KEY (tenant, id)
) STRICT, WITHOUT ROWID;

CREATE INDEX messages_by_due_time ON messages (due_at) WHERE state = 'queued';
CREATE INDEX messages_by_expiry ON messages (expires_at) WHERE state <> 'queued';

-- What is open for minutes: codes that were sent, WebAuthn ceremonies, push prompts. A row goes an hour after it
-- expired, in passing, whatever became of it.
CREATE TABLE challenges (
    id         TEXT    NOT NULL PRIMARY KEY,
    tenant     TEXT    NOT NULL,
    user       TEXT,             -- whose; NULL if the answer will say who it is
    factor     TEXT,             -- which answers it; NULL if any of the user's of that kind may
    kind       TEXT    NOT NULL, -- email_code, sms_code, push, webauthn_registration, webauthn_authentication
    purpose    TEXT    NOT NULL, -- what an answer is good for: verify, enrol, change, recover
    caller     TEXT    NOT NULL, -- who began it, and nobody else can have it answered
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    version    INTEGER NOT NULL,
    state      TEXT    NOT NULL, -- open, approved, denied, over
    failures   INTEGER NOT NULL,
    data       BLOB    NOT NULL  -- what its kind needs, hashed or encrypted where it is secret
) STRICT;

CREATE INDEX challenges_by_expiry ON challenges (expires_at);

-- How often who has called lately, by the generic cell rate algorithm; written up to a second late.
CREATE TABLE throttles (
    key        TEXT    NOT NULL PRIMARY KEY, -- kind/tenant/subject
    arrival    INTEGER NOT NULL, -- until when the quota is taken up, in microseconds
    latest     INTEGER NOT NULL, -- the latest time of a charge, in microseconds
    kept_until INTEGER NOT NULL  -- an hour after the quota is there again, up to the next full hour
) STRICT, WITHOUT ROWID;

CREATE INDEX throttles_by_end ON throttles (kept_until);
