-- Runs inside the transaction that holds the lock on migrations, with the schema `mfa` in place.

CREATE TABLE mfa.accounts (
    id              bigint   GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id       text     COLLATE "C" NOT NULL,
    user_id         text     COLLATE "C" NOT NULL,
    version         bigint   NOT NULL CHECK (version > 0),
    failures        bigint   NOT NULL,
    forgiven        bigint   NOT NULL,
    recent_failures bigint[] NOT NULL,
    verified_at     bigint,
    audit_sequence  bigint   NOT NULL,
    audit_hash      bytea    NOT NULL,
    CONSTRAINT accounts_key UNIQUE (tenant_id, user_id)
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.05);

COMMENT ON TABLE mfa.accounts IS
    'One row for each user that ever had a factor. Never delete one: its version must not come back.';
COMMENT ON COLUMN mfa.accounts.id IS 'By this number other tables refer to it.';
COMMENT ON COLUMN mfa.accounts.tenant_id IS 'The customer of the installation that the user belongs to.';
COMMENT ON COLUMN mfa.accounts.user_id IS 'The host application''s own name for the user.';
COMMENT ON COLUMN mfa.accounts.version IS 'How often the account was changed. Every change compares it first.';
COMMENT ON COLUMN mfa.accounts.failures IS 'Failed attempts in a row.';
COMMENT ON COLUMN mfa.accounts.forgiven IS 'How many of those an operator''s unlock forgave.';
COMMENT ON COLUMN mfa.accounts.recent_failures IS
    'When the latest attempts failed, oldest first, in milliseconds since 1970-01-01T00:00:00Z.';
COMMENT ON COLUMN mfa.accounts.verified_at IS
    'The last success, in milliseconds since 1970-01-01T00:00:00Z; null if there was none.';
COMMENT ON COLUMN mfa.accounts.audit_sequence IS 'The sequence number of the account''s last event.';
COMMENT ON COLUMN mfa.accounts.audit_hash IS 'The hash of that event: the head of the audit chain.';

CREATE TABLE mfa.factors (
    account_id   bigint   NOT NULL REFERENCES mfa.accounts (id),
    id           uuid     NOT NULL,
    added_in     bigint   NOT NULL,
    added_as     integer  NOT NULL,
    kind         text     NOT NULL,
    label        text     NOT NULL,
    state        text     NOT NULL,
    expires_at   bigint,
    replaces     uuid,
    created_at   bigint   NOT NULL,
    last_used_at bigint,
    algorithm    text     NOT NULL,
    digits       smallint NOT NULL,
    period       bigint,
    t0           bigint,
    last_step    bigint,
    drift        smallint,
    leaning      smallint,
    counter      bigint,
    key_id       text     COLLATE "C" NOT NULL,
    secret       bytea    NOT NULL,
    PRIMARY KEY (account_id, id)
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.05);

CREATE INDEX factors_by_key ON mfa.factors (key_id);

COMMENT ON TABLE mfa.factors IS 'What users prove themselves with, and removed factors that have used codes.';
COMMENT ON COLUMN mfa.factors.account_id IS 'Whose: accounts.id.';
COMMENT ON COLUMN mfa.factors.id IS 'The id that the API shows.';
COMMENT ON COLUMN mfa.factors.added_in IS 'The version of the account that added it; with added_as, the order of factors.';
COMMENT ON COLUMN mfa.factors.added_as IS 'Its place among the changes of that version.';
COMMENT ON COLUMN mfa.factors.kind IS 'totp or hotp.';
COMMENT ON COLUMN mfa.factors.label IS 'What the user calls it.';
COMMENT ON COLUMN mfa.factors.state IS 'pending until its first code was accepted, then active; removed.';
COMMENT ON COLUMN mfa.factors.expires_at IS
    'Of a pending one: when it is too late for that, in milliseconds since 1970-01-01T00:00:00Z.';
COMMENT ON COLUMN mfa.factors.replaces IS 'Of a pending one: the factor that goes once it is active.';
COMMENT ON COLUMN mfa.factors.created_at IS 'In milliseconds since 1970-01-01T00:00:00Z.';
COMMENT ON COLUMN mfa.factors.last_used_at IS 'In milliseconds since 1970-01-01T00:00:00Z; null if never.';
COMMENT ON COLUMN mfa.factors.algorithm IS 'SHA1, SHA256 or SHA512.';
COMMENT ON COLUMN mfa.factors.digits IS 'Of its codes.';
COMMENT ON COLUMN mfa.factors.period IS 'totp: the length of a step, in seconds.';
COMMENT ON COLUMN mfa.factors.t0 IS 'totp: when steps begin to count, in seconds since 1970-01-01T00:00:00Z.';
COMMENT ON COLUMN mfa.factors.last_step IS 'totp: the last step of which a code was accepted. It never falls.';
COMMENT ON COLUMN mfa.factors.drift IS 'totp: how far the device''s clock is off, in steps.';
COMMENT ON COLUMN mfa.factors.leaning IS 'totp: successes in a row before (negative) or after the window''s centre.';
COMMENT ON COLUMN mfa.factors.counter IS 'hotp: the next counter that can be accepted. It never falls.';
COMMENT ON COLUMN mfa.factors.key_id IS 'The name of the key that opens the secret.';
COMMENT ON COLUMN mfa.factors.secret IS 'Encrypted, and bound to this account, factor and kind.';

CREATE TABLE mfa.backup_code_sets (
    account_id bigint PRIMARY KEY REFERENCES mfa.accounts (id),
    scheme     text   NOT NULL,
    issued_at  bigint NOT NULL
);

COMMENT ON TABLE mfa.backup_code_sets IS 'The current backup codes of each user, at most one set.';
COMMENT ON COLUMN mfa.backup_code_sets.account_id IS 'Whose: accounts.id.';
COMMENT ON COLUMN mfa.backup_code_sets.scheme IS 'How the codes are hashed: algorithm, costs, salt.';
COMMENT ON COLUMN mfa.backup_code_sets.issued_at IS 'In milliseconds since 1970-01-01T00:00:00Z.';

CREATE TABLE mfa.backup_codes (
    account_id bigint  NOT NULL REFERENCES mfa.accounts (id),
    place      integer NOT NULL,
    hash       bytea   NOT NULL,
    spent_at   bigint,
    PRIMARY KEY (account_id, place)
);

COMMENT ON TABLE mfa.backup_codes IS 'The codes of each set, spent ones included.';
COMMENT ON COLUMN mfa.backup_codes.account_id IS 'Whose: accounts.id.';
COMMENT ON COLUMN mfa.backup_codes.place IS 'The place in the set; it never changes.';
COMMENT ON COLUMN mfa.backup_codes.hash IS 'Hashed under the scheme of the set.';
COMMENT ON COLUMN mfa.backup_codes.spent_at IS
    'When it was used, in milliseconds since 1970-01-01T00:00:00Z; null if it still can be.';

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
) WITH (autovacuum_vacuum_insert_scale_factor = 0.05);

CREATE UNIQUE INDEX events_by_tenant ON mfa.events (tenant_id, id);

COMMENT ON TABLE mfa.events IS
    'The audit trail: append-only, one chain of hashes for each account. account_id is accounts.id, of which no row is ever deleted.';
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
