-- Runs in the transaction that holds the lock on migrations. The schema `mfa` exists.

CREATE TABLE mfa.accounts (
    id              bigint   GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    version         bigint   NOT NULL CHECK (version > 0),
    failures        bigint   NOT NULL,
    forgiven        bigint   NOT NULL,
    verified_low    bigint,
    verified_medium bigint,
    verified_high   bigint,
    audit_sequence  bigint   NOT NULL,
    audit_base_sequence bigint,
    tenant_id       text     COLLATE "C" NOT NULL,
    user_id         text     COLLATE "C" NOT NULL,
    recent_failures bigint[],
    audit_hash      bytea    NOT NULL,
    audit_base_hash bytea,
    factors         json     NOT NULL,
    sealed_with     text     COLLATE "C",
    answers         bytea,
    data            jsonb,
    CONSTRAINT accounts_key UNIQUE (tenant_id, user_id)
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.05);

CREATE INDEX accounts_by_key ON mfa.accounts (sealed_with);

COMMENT ON TABLE mfa.accounts IS
    'One row for each user that ever had a factor. Never delete a row: its version must not start again.';
COMMENT ON COLUMN mfa.accounts.id IS 'The number by which other tables refer to the account.';
COMMENT ON COLUMN mfa.accounts.tenant_id IS 'The tenant of the user.';
COMMENT ON COLUMN mfa.accounts.user_id IS 'The id of the user in the host application.';
COMMENT ON COLUMN mfa.accounts.version IS 'The number of changes of the account. Every change compares it first.';
COMMENT ON COLUMN mfa.accounts.failures IS 'Consecutive failed attempts.';
COMMENT ON COLUMN mfa.accounts.forgiven IS 'How many of them an operator has forgiven by an unlock.';
COMMENT ON COLUMN mfa.accounts.recent_failures IS
    'Times of the latest failed attempts, oldest first, in milliseconds since 1970-01-01T00:00:00Z; null if there are none.';
COMMENT ON COLUMN mfa.accounts.verified_low IS
    'Time of the last success with low assurance (a code that others may have seen), in milliseconds since 1970-01-01T00:00:00Z; null if there was none.';
COMMENT ON COLUMN mfa.accounts.verified_medium IS
    'Time of the last success with medium assurance (a device of the user), in milliseconds since 1970-01-01T00:00:00Z; null if there was none.';
COMMENT ON COLUMN mfa.accounts.verified_high IS
    'Time of the last success with high assurance (resistant to phishing), in milliseconds since 1970-01-01T00:00:00Z; null if there was none.';
COMMENT ON COLUMN mfa.accounts.audit_sequence IS 'The sequence number of the account''s last event.';
COMMENT ON COLUMN mfa.accounts.audit_hash IS 'The hash of that event: the head of the audit chain.';
COMMENT ON COLUMN mfa.accounts.audit_base_sequence IS
    'The sequence number of the last event that retention removed; null if none. The trail begins after it.';
COMMENT ON COLUMN mfa.accounts.audit_base_hash IS 'The hash of that event; null if none.';
COMMENT ON COLUMN mfa.accounts.factors IS
    'The factors of the account, including removed ones whose used codes must be remembered: an array in the order of creation. The view mfa.factors has a row for each. If you change a key by hand, change sealed_with as well.';
COMMENT ON COLUMN mfa.accounts.sealed_with IS
    'The names of the keys that open the secrets of the factors: a sorted JSON array; null if there is no secret. A key that no row names may be removed from the ring.';
COMMENT ON COLUMN mfa.accounts.answers IS
    'Stored answers to calls with an idempotency key, encrypted; null or empty if there are none.';
COMMENT ON COLUMN mfa.accounts.data IS
    'Other data: an object with its version in the member v; null if there is none.';

CREATE VIEW mfa.factors AS
    SELECT a.id AS account_id, a.tenant_id, a.user_id, f.*
    FROM mfa.accounts a,
        json_to_recordset(CASE json_typeof(a.factors) WHEN 'array' THEN a.factors ELSE '[]' END) AS f (
            id text, kind text, label text, state text, expires_at text, replaces text, created_at text,
            last_used_at text, key text, secret text, data json
        );

COMMENT ON VIEW mfa.factors IS
    'The contents of accounts.factors in readable form. All columns are text, so that damaged values can be shown.';
COMMENT ON COLUMN mfa.factors.account_id IS 'The account: accounts.id.';
COMMENT ON COLUMN mfa.factors.tenant_id IS 'The tenant of the account.';
COMMENT ON COLUMN mfa.factors.user_id IS 'The user of the account.';
COMMENT ON COLUMN mfa.factors.id IS 'The id that the API shows.';
COMMENT ON COLUMN mfa.factors.kind IS 'The kind of factor, such as totp, hotp or email; newer versions may add kinds.';
COMMENT ON COLUMN mfa.factors.label IS 'The user''s name for the factor.';
COMMENT ON COLUMN mfa.factors.state IS 'pending until its first code is accepted, then active; removed.';
COMMENT ON COLUMN mfa.factors.expires_at IS
    'Of a pending factor: when it expires, in milliseconds since 1970-01-01T00:00:00Z.';
COMMENT ON COLUMN mfa.factors.replaces IS 'Of a pending factor: the factor that its activation removes.';
COMMENT ON COLUMN mfa.factors.created_at IS 'Time of creation, in milliseconds since 1970-01-01T00:00:00Z.';
COMMENT ON COLUMN mfa.factors.last_used_at IS 'Time of the last use, in milliseconds since 1970-01-01T00:00:00Z; null if never used.';
COMMENT ON COLUMN mfa.factors.key IS 'The name of the key that opens the secret; null if there is no secret.';
COMMENT ON COLUMN mfa.factors.secret IS 'The secret in base64, encrypted and bound to this account, factor and kind.';
COMMENT ON COLUMN mfa.factors.data IS
    'Parameters and progress of its kind: an object with its version in the member v. Default values are left out.';

CREATE TABLE mfa.handles (
    tenant_id  text   COLLATE "C" NOT NULL,
    handle     bytea  NOT NULL,
    account_id bigint NOT NULL REFERENCES mfa.accounts (id),
    CONSTRAINT handles_key PRIMARY KEY (tenant_id, handle)
);

COMMENT ON TABLE mfa.handles IS
    'Values that lead to an account without its user id, such as the credential id of a passkey.';
COMMENT ON COLUMN mfa.handles.tenant_id IS 'The tenant of the account.';
COMMENT ON COLUMN mfa.handles.handle IS 'The type of the handle, a colon, and its value.';
COMMENT ON COLUMN mfa.handles.account_id IS 'The account: accounts.id.';

CREATE TABLE mfa.backup_code_sets (
    account_id bigint   PRIMARY KEY REFERENCES mfa.accounts (id),
    scheme     text     NOT NULL,
    issued_at  bigint   NOT NULL,
    count      smallint NOT NULL,
    hashes     bytea    NOT NULL,
    spent_at   bigint[]
);

COMMENT ON TABLE mfa.backup_code_sets IS 'The current backup codes of each user, at most one set.';
COMMENT ON COLUMN mfa.backup_code_sets.account_id IS 'The account: accounts.id.';
COMMENT ON COLUMN mfa.backup_code_sets.scheme IS 'The hash function: algorithm, costs, salt.';
COMMENT ON COLUMN mfa.backup_code_sets.issued_at IS 'Time of issue, in milliseconds since 1970-01-01T00:00:00Z.';
COMMENT ON COLUMN mfa.backup_code_sets.count IS 'The number of codes, including spent ones.';
COMMENT ON COLUMN mfa.backup_code_sets.hashes IS
    'The hashes of all codes, concatenated and of equal length. The place of a code never changes.';
COMMENT ON COLUMN mfa.backup_code_sets.spent_at IS
    'The time at which the code at each place was used, in milliseconds since 1970-01-01T00:00:00Z, or null if it is unused; null if all are unused.';

CREATE TABLE mfa.events (
    id         bigint GENERATED ALWAYS AS IDENTITY,
    tenant_id  text   COLLATE "C" NOT NULL,
    account_id bigint NOT NULL,
    sequence   bigint NOT NULL,
    at         bigint NOT NULL,
    kind       text   NOT NULL,
    factor_id  uuid,
    actor      text   NOT NULL,
    detail     jsonb  NOT NULL,
    previous   bytea  NOT NULL,
    hash       bytea  NOT NULL,
    PRIMARY KEY (account_id, sequence)
) WITH (autovacuum_vacuum_insert_scale_factor = 0.05, autovacuum_vacuum_scale_factor = 0.05);

CREATE UNIQUE INDEX events_by_tenant ON mfa.events (tenant_id, id);

COMMENT ON TABLE mfa.events IS
    'The audit trail: one chain of hashes for each account, append-only except for events that retention removes. account_id is accounts.id, of which no row is ever deleted.';
COMMENT ON COLUMN mfa.events.id IS
    'The position in the store. Of overlapping transactions, the one with the larger ids may commit first.';
COMMENT ON COLUMN mfa.events.tenant_id IS 'The tenant of the account.';
COMMENT ON COLUMN mfa.events.account_id IS 'The account: accounts.id.';
COMMENT ON COLUMN mfa.events.sequence IS 'The number of the event within its account, from 1.';
COMMENT ON COLUMN mfa.events.at IS 'The time of the event, in milliseconds since 1970-01-01T00:00:00Z.';
COMMENT ON COLUMN mfa.events.kind IS 'The kind of event.';
COMMENT ON COLUMN mfa.events.factor_id IS 'The factor concerned, if any; it may no longer exist.';
COMMENT ON COLUMN mfa.events.actor IS 'The caller that caused the event.';
COMMENT ON COLUMN mfa.events.detail IS 'Details: an object whose values are texts.';
COMMENT ON COLUMN mfa.events.previous IS 'The hash of the previous event of the account.';
COMMENT ON COLUMN mfa.events.hash IS 'SHA-256 of the account''s key and the whole event.';

CREATE TABLE mfa.api_keys (
    id         text   COLLATE "C" PRIMARY KEY,
    name       text,
    tenant_id  text   COLLATE "C" NOT NULL,
    user_case  text   NOT NULL,
    scopes     text[] NOT NULL,
    hash       bytea  NOT NULL,
    created_at bigint NOT NULL,
    revoked_at bigint,
    last_used_at bigint
);

COMMENT ON TABLE mfa.api_keys IS 'The API keys and what they may do.';
COMMENT ON COLUMN mfa.api_keys.id IS 'The public part of the key.';
COMMENT ON COLUMN mfa.api_keys.name IS 'The operator''s name for the key; null if it has none.';
COMMENT ON COLUMN mfa.api_keys.tenant_id IS 'The tenant whose accounts the key can access.';
COMMENT ON COLUMN mfa.api_keys.user_case IS
    'Whether user ids are case-sensitive: exact or fold. The same for all keys of a tenant.';
COMMENT ON COLUMN mfa.api_keys.scopes IS 'What the key may do: verify, enrol, admin, audit.';
COMMENT ON COLUMN mfa.api_keys.hash IS 'SHA-256 of the whole key.';
COMMENT ON COLUMN mfa.api_keys.created_at IS 'Time of creation, in milliseconds since 1970-01-01T00:00:00Z.';
COMMENT ON COLUMN mfa.api_keys.revoked_at IS
    'When the key was revoked, in milliseconds since 1970-01-01T00:00:00Z; null if it is valid.';
COMMENT ON COLUMN mfa.api_keys.last_used_at IS
    'The beginning of the minute of its last use, in milliseconds since 1970-01-01T00:00:00Z; null if never used.';

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
    'The progress of each webhook to which the audit trail is delivered.';
COMMENT ON COLUMN mfa.deliveries.endpoint IS 'The operator''s name for the endpoint.';
COMMENT ON COLUMN mfa.deliveries.version IS 'The number of changes of the row. Every change compares it first.';
COMMENT ON COLUMN mfa.deliveries.position IS
    'Events up to this id were delivered or are not for this endpoint.';
COMMENT ON COLUMN mfa.deliveries.through IS
    'The last event of the batch that is being sent or will be sent again; null if there is none.';
COMMENT ON COLUMN mfa.deliveries.claimed_until IS
    'Until this time only the replica that claimed the row sends, in milliseconds since 1970-01-01T00:00:00Z; 0 if there is no claim.';
COMMENT ON COLUMN mfa.deliveries.not_before IS
    'After a failure, the time of the next attempt, in milliseconds since 1970-01-01T00:00:00Z; otherwise 0.';
COMMENT ON COLUMN mfa.deliveries.failures IS 'Consecutive failed attempts.';
COMMENT ON COLUMN mfa.deliveries.last_failure IS
    'The cause of the last failure in a word, such as timeout or status_503.';
COMMENT ON COLUMN mfa.deliveries.stopped IS
    'Whether the endpoint answered 410 Gone. Nothing is then sent until an operator resumes it.';
COMMENT ON COLUMN mfa.deliveries.unreadable IS
    'The number of unreadable events that were skipped.';

CREATE TABLE mfa.messages (
    tenant_id    text   COLLATE "C" NOT NULL,
    id           text   COLLATE "C" NOT NULL,
    user_id      text   NOT NULL,
    version      bigint NOT NULL CHECK (version > 0),
    expires_at   bigint NOT NULL,
    state        text   NOT NULL,
    due_at       bigint NOT NULL,
    tries        bigint NOT NULL,
    last_failure text,
    key          text,
    content      bytea,
    PRIMARY KEY (tenant_id, id)
) WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.05);

CREATE INDEX messages_by_due_time ON mfa.messages (due_at) WHERE state = 'queued';
CREATE INDEX messages_by_expiry ON mfa.messages (expires_at) WHERE state <> 'queued';

COMMENT ON TABLE mfa.messages IS
    'Messages to be sent, and their outcome. A row is written in the same commit as its event, and deleted an hour after it has expired.';
COMMENT ON COLUMN mfa.messages.tenant_id IS 'The tenant of the user.';
COMMENT ON COLUMN mfa.messages.id IS 'For a code, the id of its challenge. A code that is sent again replaces the row.';
COMMENT ON COLUMN mfa.messages.user_id IS 'The id of the user in the host application.';
COMMENT ON COLUMN mfa.messages.version IS '1 plus the number of changes. Every change compares it first.';
COMMENT ON COLUMN mfa.messages.expires_at IS
    'When the message expires, in milliseconds since 1970-01-01T00:00:00Z.';
COMMENT ON COLUMN mfa.messages.state IS 'queued, sent or failed.';
COMMENT ON COLUMN mfa.messages.due_at IS
    'Of a queued message: it is not sent before this time, because it will be tried later or is being sent now; in milliseconds since 1970-01-01T00:00:00Z.';
COMMENT ON COLUMN mfa.messages.tries IS 'The number of claims.';
COMMENT ON COLUMN mfa.messages.last_failure IS 'The cause of the last failure in a word, such as not_sent.';
COMMENT ON COLUMN mfa.messages.key IS
    'The name of the key that opens the content; null if the message will not be sent any more.';
COMMENT ON COLUMN mfa.messages.content IS 'Address and text, encrypted.';

-- Short-lived data. Both tables are unlogged: they are empty after a crash of the server, and on a promoted
-- standby. So nothing that was removed from them ever returns.

CREATE UNLOGGED TABLE mfa.challenges (
    id         text   COLLATE "C" PRIMARY KEY,
    tenant_id  text   NOT NULL,
    user_id    text,
    factor_id  uuid,
    kind       text   NOT NULL,
    purpose    text   NOT NULL,
    caller     text   NOT NULL,
    nonce      text,
    created_at bigint NOT NULL,
    expires_at bigint NOT NULL,
    version    bigint NOT NULL CHECK (version > 0),
    state      text   NOT NULL,
    failures   bigint NOT NULL,
    data       bytea  NOT NULL
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.05);

CREATE INDEX challenges_by_expiry ON mfa.challenges (expires_at);

COMMENT ON TABLE mfa.challenges IS
    'Challenges, which are open for minutes: sent codes, WebAuthn ceremonies, push prompts. A row is deleted an hour after it has expired. Unlogged: empty after a crash; users then start again.';
COMMENT ON COLUMN mfa.challenges.id IS 'The id that the API shows: random, never reused.';
COMMENT ON COLUMN mfa.challenges.tenant_id IS 'The tenant of the user.';
COMMENT ON COLUMN mfa.challenges.user_id IS
    'The id of the user in the host application; null if the answer will identify the user.';
COMMENT ON COLUMN mfa.challenges.factor_id IS 'The factor that must answer; null if any factor of this kind and user may.';
COMMENT ON COLUMN mfa.challenges.kind IS
    'The kind: email_code, sms_code, push, webauthn_registration, webauthn_authentication.';
COMMENT ON COLUMN mfa.challenges.purpose IS 'The purpose of the answer: verify, enrol, change or recover.';
COMMENT ON COLUMN mfa.challenges.caller IS 'The caller that began the challenge; only this caller can submit answers.';
COMMENT ON COLUMN mfa.challenges.nonce IS
    'The session of the host application that the challenge was begun for; null if the host named none.';
COMMENT ON COLUMN mfa.challenges.created_at IS 'Time of creation, in milliseconds since 1970-01-01T00:00:00Z.';
COMMENT ON COLUMN mfa.challenges.expires_at IS
    'When the challenge expires, in milliseconds since 1970-01-01T00:00:00Z. The row may be deleted an hour later.';
COMMENT ON COLUMN mfa.challenges.version IS '1 plus the number of changes. Every change compares it first.';
COMMENT ON COLUMN mfa.challenges.state IS 'open, approved, denied or over.';
COMMENT ON COLUMN mfa.challenges.failures IS 'The number of wrong answers.';
COMMENT ON COLUMN mfa.challenges.data IS 'Data of its kind; secret parts are hashed or encrypted.';

-- kept_until is rounded up to the hour: it changes at most once per hour, so most charges update no index.
CREATE UNLOGGED TABLE mfa.throttles (
    key        text   COLLATE "C" PRIMARY KEY,
    arrival    bigint NOT NULL,
    latest     bigint NOT NULL,
    kept_until bigint NOT NULL
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.05);

CREATE INDEX throttles_by_end ON mfa.throttles (kept_until);

COMMENT ON TABLE mfa.throttles IS
    'Buckets of the throttles (generic cell rate algorithm). Unlogged: empty after a crash; every quota is then full again.';
COMMENT ON COLUMN mfa.throttles.key IS 'The charged subject: kind/tenant/subject.';
COMMENT ON COLUMN mfa.throttles.arrival IS
    'The theoretical arrival time: the quota is used up to this time, in microseconds since 1970-01-01T00:00:00Z.';
COMMENT ON COLUMN mfa.throttles.latest IS
    'The latest time of a charge, in microseconds since 1970-01-01T00:00:00Z. It never decreases.';
COMMENT ON COLUMN mfa.throttles.kept_until IS
    'When the row may be deleted, in milliseconds since 1970-01-01T00:00:00Z: an hour after the quota is full again, rounded up to the hour.';
