-- Runs inside the transaction that holds the lock on migrations, with the schema `mfa` in place.

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
    'One row for each user that ever had a factor. Never delete one: its version must not come back.';
COMMENT ON COLUMN mfa.accounts.id IS 'By this number other tables refer to it.';
COMMENT ON COLUMN mfa.accounts.tenant_id IS 'The customer of the installation that the user belongs to.';
COMMENT ON COLUMN mfa.accounts.user_id IS 'The host application''s own name for the user.';
COMMENT ON COLUMN mfa.accounts.version IS 'How often the account was changed. Every change compares it first.';
COMMENT ON COLUMN mfa.accounts.failures IS 'Failed attempts in a row.';
COMMENT ON COLUMN mfa.accounts.forgiven IS 'How many of those an operator''s unlock forgave.';
COMMENT ON COLUMN mfa.accounts.recent_failures IS
    'When the latest attempts failed, oldest first, in milliseconds since 1970-01-01T00:00:00Z; null if none did.';
COMMENT ON COLUMN mfa.accounts.verified_low IS
    'The last success with a code that others may have seen, in milliseconds since 1970-01-01T00:00:00Z; null if there was none.';
COMMENT ON COLUMN mfa.accounts.verified_medium IS
    'The last success with a device of the user, in milliseconds since 1970-01-01T00:00:00Z; null if there was none.';
COMMENT ON COLUMN mfa.accounts.verified_high IS
    'The last success that was resistant to phishing, in milliseconds since 1970-01-01T00:00:00Z; null if there was none.';
COMMENT ON COLUMN mfa.accounts.audit_sequence IS 'The sequence number of the account''s last event.';
COMMENT ON COLUMN mfa.accounts.audit_hash IS 'The hash of that event: the head of the audit chain.';
COMMENT ON COLUMN mfa.accounts.audit_base_sequence IS
    'The sequence number of the last event that was removed by age; null if none was. The trail begins after it.';
COMMENT ON COLUMN mfa.accounts.audit_base_hash IS 'The hash of that event; null if none was removed.';
COMMENT ON COLUMN mfa.accounts.factors IS
    'What the user proves themselves with, and removed factors that have used codes: an array in the order of creation. The view mfa.factors has a row for each. Who changes a key by hand changes sealed_with as well.';
COMMENT ON COLUMN mfa.accounts.sealed_with IS
    'The names of the keys that open the secrets of the factors: a JSON array in order; null if there is no secret. A key that is not named here may be removed from the ring.';
COMMENT ON COLUMN mfa.accounts.answers IS
    'The answers that are kept for calls that may be sent again, sealed; null or empty if there are none.';
COMMENT ON COLUMN mfa.accounts.data IS
    'What else is kept: an object, versioned by its member v; null if there is nothing.';

CREATE VIEW mfa.factors AS
    SELECT a.id AS account_id, a.tenant_id, a.user_id, f.*
    FROM mfa.accounts a,
        json_to_recordset(CASE json_typeof(a.factors) WHEN 'array' THEN a.factors ELSE '[]' END) AS f (
            id text, kind text, label text, state text, expires_at text, replaces text, created_at text,
            last_used_at text, key text, secret text, data json
        );

COMMENT ON VIEW mfa.factors IS
    'What is in accounts.factors, for people to read. All is text, so that what is damaged can be read, too.';
COMMENT ON COLUMN mfa.factors.account_id IS 'Whose: accounts.id.';
COMMENT ON COLUMN mfa.factors.tenant_id IS 'That of the account.';
COMMENT ON COLUMN mfa.factors.user_id IS 'That of the account.';
COMMENT ON COLUMN mfa.factors.id IS 'The id that the API shows.';
COMMENT ON COLUMN mfa.factors.kind IS 'totp, hotp, or what a newer version knows.';
COMMENT ON COLUMN mfa.factors.label IS 'What the user calls it.';
COMMENT ON COLUMN mfa.factors.state IS 'pending until its first code was accepted, then active; removed.';
COMMENT ON COLUMN mfa.factors.expires_at IS
    'Of a pending one: when it is too late for that, in milliseconds since 1970-01-01T00:00:00Z.';
COMMENT ON COLUMN mfa.factors.replaces IS 'Of a pending one: the factor that goes once it is active.';
COMMENT ON COLUMN mfa.factors.created_at IS 'In milliseconds since 1970-01-01T00:00:00Z.';
COMMENT ON COLUMN mfa.factors.last_used_at IS 'In milliseconds since 1970-01-01T00:00:00Z; null if never.';
COMMENT ON COLUMN mfa.factors.key IS 'The name of the key that opens the secret; null if there is no secret.';
COMMENT ON COLUMN mfa.factors.secret IS 'Encrypted, and bound to this account, factor and kind; in base64.';
COMMENT ON COLUMN mfa.factors.data IS
    'Parameters and progress of its kind: an object, versioned by its member v. What is usual is left out.';

CREATE TABLE mfa.handles (
    tenant_id  text   COLLATE "C" NOT NULL,
    handle     bytea  NOT NULL,
    account_id bigint NOT NULL REFERENCES mfa.accounts (id),
    CONSTRAINT handles_key PRIMARY KEY (tenant_id, handle)
);

COMMENT ON TABLE mfa.handles IS
    'By what an account is found without knowing the user, such as the id of a passkey''s credential.';
COMMENT ON COLUMN mfa.handles.tenant_id IS 'That of the account.';
COMMENT ON COLUMN mfa.handles.handle IS 'Its sort, a colon, and its value.';
COMMENT ON COLUMN mfa.handles.account_id IS 'Where it leads: accounts.id.';

CREATE TABLE mfa.backup_code_sets (
    account_id bigint   PRIMARY KEY REFERENCES mfa.accounts (id),
    scheme     text     NOT NULL,
    issued_at  bigint   NOT NULL,
    count      smallint NOT NULL,
    hashes     bytea    NOT NULL,
    spent_at   bigint[]
);

COMMENT ON TABLE mfa.backup_code_sets IS 'The current backup codes of each user, at most one set.';
COMMENT ON COLUMN mfa.backup_code_sets.account_id IS 'Whose: accounts.id.';
COMMENT ON COLUMN mfa.backup_code_sets.scheme IS 'How the codes are hashed: algorithm, costs, salt.';
COMMENT ON COLUMN mfa.backup_code_sets.issued_at IS 'In milliseconds since 1970-01-01T00:00:00Z.';
COMMENT ON COLUMN mfa.backup_code_sets.count IS 'How many codes there are, spent ones included.';
COMMENT ON COLUMN mfa.backup_code_sets.hashes IS
    'All of them, hashed under the scheme, one after the other and of one length. The place of one never changes.';
COMMENT ON COLUMN mfa.backup_code_sets.spent_at IS
    'When the code at the same place was used, in milliseconds since 1970-01-01T00:00:00Z, or null if it still can be; null if all can.';

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
    'The audit trail: append-only but for events that are removed by age, one chain of hashes for each account. account_id is accounts.id, of which no row is ever deleted.';
COMMENT ON COLUMN mfa.events.id IS
    'The place in the store. Of transactions that overlap, the one with the larger ids may commit first.';
COMMENT ON COLUMN mfa.events.tenant_id IS 'That of the account.';
COMMENT ON COLUMN mfa.events.account_id IS 'Whose: accounts.id.';
COMMENT ON COLUMN mfa.events.sequence IS '1 for the first event of the account, and one more for each after it.';
COMMENT ON COLUMN mfa.events.at IS 'When it was decided, in milliseconds since 1970-01-01T00:00:00Z.';
COMMENT ON COLUMN mfa.events.kind IS 'What happened.';
COMMENT ON COLUMN mfa.events.factor_id IS 'To which factor, if to one; it may be gone.';
COMMENT ON COLUMN mfa.events.actor IS 'Who asked for it.';
COMMENT ON COLUMN mfa.events.detail IS 'More about it: names and texts.';
COMMENT ON COLUMN mfa.events.previous IS 'The hash of the account''s event before this one.';
COMMENT ON COLUMN mfa.events.hash IS 'SHA-256 over the key of the account and all of the event.';

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

COMMENT ON TABLE mfa.api_keys IS 'Who may call the API, and for what.';
COMMENT ON COLUMN mfa.api_keys.id IS 'The public part of the key.';
COMMENT ON COLUMN mfa.api_keys.name IS 'What operators call it; null if nothing.';
COMMENT ON COLUMN mfa.api_keys.tenant_id IS 'Whose accounts it reaches.';
COMMENT ON COLUMN mfa.api_keys.user_case IS
    'Whether case tells users apart: exact, fold. The same for all keys of a tenant.';
COMMENT ON COLUMN mfa.api_keys.scopes IS 'What it may do: verify, enrol, admin, audit.';
COMMENT ON COLUMN mfa.api_keys.hash IS 'SHA-256 of the whole key.';
COMMENT ON COLUMN mfa.api_keys.created_at IS 'In milliseconds since 1970-01-01T00:00:00Z.';
COMMENT ON COLUMN mfa.api_keys.revoked_at IS
    'From then on it opens nothing, in milliseconds since 1970-01-01T00:00:00Z; null if it still does.';
COMMENT ON COLUMN mfa.api_keys.last_used_at IS
    'The beginning of the minute in which it was last used, in milliseconds since 1970-01-01T00:00:00Z; null if never.';

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
    'What is to be sent, and what became of it. A row is written in the same commit as the event that tells of it, and goes an hour after it expired.';
COMMENT ON COLUMN mfa.messages.tenant_id IS 'The customer of the installation that the user belongs to.';
COMMENT ON COLUMN mfa.messages.id IS 'Of a code: the id of its challenge. A code that is sent again takes its place.';
COMMENT ON COLUMN mfa.messages.user_id IS 'Whose: the host application''s own name for the user.';
COMMENT ON COLUMN mfa.messages.version IS 'How often it was changed, and 1. Every change compares it first.';
COMMENT ON COLUMN mfa.messages.expires_at IS
    'From when on nobody needs it, in milliseconds since 1970-01-01T00:00:00Z.';
COMMENT ON COLUMN mfa.messages.state IS 'queued, sent or failed.';
COMMENT ON COLUMN mfa.messages.due_at IS
    'Of a queued one: nobody sends it before, since it is to be tried later or somebody sends it now; in milliseconds since 1970-01-01T00:00:00Z.';
COMMENT ON COLUMN mfa.messages.tries IS 'How often it was claimed.';
COMMENT ON COLUMN mfa.messages.last_failure IS 'How the last try failed, in a word such as not_sent.';
COMMENT ON COLUMN mfa.messages.key IS
    'The name of the key that opens the content; null if nobody is to send it any more.';
COMMENT ON COLUMN mfa.messages.content IS 'Where it goes and what it says, encrypted.';

-- What is short-lived. Both tables are unlogged: after a crash of the server, and on a standby that is
-- promoted, they are empty. So what was taken out of them never comes back.

CREATE UNLOGGED TABLE mfa.challenges (
    id         text   COLLATE "C" PRIMARY KEY,
    tenant_id  text   NOT NULL,
    user_id    text,
    factor_id  uuid,
    kind       text   NOT NULL,
    purpose    text   NOT NULL,
    caller     text   NOT NULL,
    created_at bigint NOT NULL,
    expires_at bigint NOT NULL,
    version    bigint NOT NULL CHECK (version > 0),
    state      text   NOT NULL,
    failures   bigint NOT NULL,
    data       bytea  NOT NULL
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.05);

CREATE INDEX challenges_by_expiry ON mfa.challenges (expires_at);

COMMENT ON TABLE mfa.challenges IS
    'What is open for minutes: codes that were sent, WebAuthn ceremonies, push prompts. A row goes an hour after it expired, whatever became of it. Unlogged: empty after a crash, and users start again.';
COMMENT ON COLUMN mfa.challenges.id IS 'The id that the API shows: random, never used again.';
COMMENT ON COLUMN mfa.challenges.tenant_id IS 'The customer of the installation that the user belongs to.';
COMMENT ON COLUMN mfa.challenges.user_id IS
    'Whose challenge it is: the host application''s own name for the user; null if the answer will say who it is.';
COMMENT ON COLUMN mfa.challenges.factor_id IS 'Which factor answers it; null if any of the user''s of that kind may.';
COMMENT ON COLUMN mfa.challenges.kind IS
    'email_code, sms_code, push, webauthn_registration, webauthn_authentication.';
COMMENT ON COLUMN mfa.challenges.purpose IS 'What an answer is good for: verify, enrol, change or recover.';
COMMENT ON COLUMN mfa.challenges.caller IS 'Who began it; nobody else can have it answered.';
COMMENT ON COLUMN mfa.challenges.created_at IS 'In milliseconds since 1970-01-01T00:00:00Z.';
COMMENT ON COLUMN mfa.challenges.expires_at IS
    'When it is too late for an answer, in milliseconds since 1970-01-01T00:00:00Z. An hour later the row may go.';
COMMENT ON COLUMN mfa.challenges.version IS 'How often it was changed, and 1. Every change compares it first.';
COMMENT ON COLUMN mfa.challenges.state IS 'open, approved, denied or over.';
COMMENT ON COLUMN mfa.challenges.failures IS 'How many wrong answers it got.';
COMMENT ON COLUMN mfa.challenges.data IS 'What its kind needs, hashed or encrypted where it is secret.';

-- kept_until is rounded up to the hour: it changes once in an hour at most, and the many charges in
-- between touch no index.
CREATE UNLOGGED TABLE mfa.throttles (
    key        text   COLLATE "C" PRIMARY KEY,
    arrival    bigint NOT NULL,
    latest     bigint NOT NULL,
    kept_until bigint NOT NULL
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.05);

CREATE INDEX throttles_by_end ON mfa.throttles (kept_until);

COMMENT ON TABLE mfa.throttles IS
    'How often who has called lately, by the generic cell rate algorithm. Unlogged: empty after a crash, and everybody has a burst again.';
COMMENT ON COLUMN mfa.throttles.key IS 'Who or what is charged: kind/tenant/subject.';
COMMENT ON COLUMN mfa.throttles.arrival IS
    'The theoretical arrival time: until when the quota is taken up, in microseconds since 1970-01-01T00:00:00Z.';
COMMENT ON COLUMN mfa.throttles.latest IS
    'The latest time of a charge, in microseconds since 1970-01-01T00:00:00Z. For one key, time never goes back.';
COMMENT ON COLUMN mfa.throttles.kept_until IS
    'When the row may go, in milliseconds since 1970-01-01T00:00:00Z: an hour after the quota is there again, or a little later.';
