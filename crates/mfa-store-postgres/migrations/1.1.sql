-- What is short-lived. Both tables are unlogged: after a crash of the server, and on a standby that is
-- promoted, they are empty. So what was taken out of them never comes back.

CREATE UNLOGGED TABLE mfa.challenges (
    id         text   COLLATE "C" PRIMARY KEY,
    tenant_id  text   NOT NULL,
    user_id    text   NOT NULL,
    factor_id  uuid,
    kind       text   NOT NULL,
    created_at bigint NOT NULL,
    expires_at bigint NOT NULL,
    version    bigint NOT NULL CHECK (version > 0),
    state      text   NOT NULL,
    failures   bigint NOT NULL,
    data       bytea  NOT NULL
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.05);

CREATE INDEX challenges_by_expiry ON mfa.challenges (expires_at);

COMMENT ON TABLE mfa.challenges IS
    'What is open for minutes: codes that were sent, WebAuthn ceremonies, push prompts. One that was answered has no row. Unlogged: empty after a crash, and users start again.';
COMMENT ON COLUMN mfa.challenges.id IS 'The id that the API shows: random, never used again.';
COMMENT ON COLUMN mfa.challenges.tenant_id IS 'The customer of the installation that the user belongs to.';
COMMENT ON COLUMN mfa.challenges.user_id IS 'Whose challenge it is: the host application''s own name for the user.';
COMMENT ON COLUMN mfa.challenges.factor_id IS 'Which factor answers it; null if any of the user''s of that kind may.';
COMMENT ON COLUMN mfa.challenges.kind IS
    'email_code, sms_code, push, webauthn_registration, webauthn_authentication.';
COMMENT ON COLUMN mfa.challenges.created_at IS 'In milliseconds since 1970-01-01T00:00:00Z.';
COMMENT ON COLUMN mfa.challenges.expires_at IS
    'When it is too late for an answer, in milliseconds since 1970-01-01T00:00:00Z. An hour later the row may go.';
COMMENT ON COLUMN mfa.challenges.version IS 'How often it was changed, and 1. Every change compares it first.';
COMMENT ON COLUMN mfa.challenges.state IS 'open, approved or denied.';
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
