-- What is open for minutes: codes that were sent, WebAuthn ceremonies, push prompts. One that was answered
-- has no row; one that expired goes an hour later, in passing.
CREATE TABLE challenges (
    id         TEXT    NOT NULL PRIMARY KEY,
    tenant     TEXT    NOT NULL,
    user       TEXT    NOT NULL,
    factor     TEXT,             -- which answers it; NULL if any of the user's of that kind may
    kind       TEXT    NOT NULL, -- email_code, sms_code, push, webauthn_registration, webauthn_authentication
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    version    INTEGER NOT NULL,
    state      TEXT    NOT NULL, -- open, approved, denied
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
