//! The meaning of each option, as text for the commented configuration file.

/// The meaning of an option or of a table of options.
#[derive(Clone, Copy, Debug)]
pub(super) struct Meaning {
    /// The key, written with dots.
    pub(super) key: &'static str,
    pub(super) what: &'static str,
    /// The allowed values; empty if `what` states them.
    pub(super) allowed: &'static str,
    /// A value to show instead of the default, for an option whose default depends on the machine.
    pub(super) example: Option<&'static str>,
}

const fn means(key: &'static str, what: &'static str, allowed: &'static str) -> Meaning {
    Meaning { key, what, allowed, example: None }
}

/// The meaning of an option or a table, if there is one.
pub(super) fn of(key: &str) -> Option<&'static Meaning> {
    MEANINGS.iter().find(|meaning| meaning.key == key)
}

/// All options but those of webhooks, in the order of the file.
pub(super) const MEANINGS: &[Meaning] = &[
    means(
        "listen",
        "Address and port; port 0 picks a free one. Plain HTTP: put a TLS proxy in front, or use a private \
         network.",
        "an IP address and a port",
    ),
    means("data_dir", "Folder of the database and the key ring. The first start creates it.", "a path"),
    means(
        "store",
        "Store of accounts; the path of SQLite is relative to data_dir. Percent-encode all characters of a \
         password other than letters and digits: @ is %40. The variable MFA_STORE_FILE names a file that \
         contains the URL.",
        "sqlite:PATH, postgres://USER:PASSWORD@HOST/DATABASE?sslmode=verify-full, redis://USER:PASSWORD@HOST or \
         memory:",
    ),
    means(
        "ephemeral",
        "Where requests are counted. memory: each server counts separately. store: in the store of accounts. \
         redis://HOST: in a Redis, which then also holds challenges; otherwise the store of accounts holds \
         them. The variable MFA_EPHEMERAL_FILE names a file that contains the URL.",
        "memory:, store: or redis://USER:PASSWORD@HOST",
    ),
    means(
        "key_ring_file",
        "Key ring, relative to data_dir. The first start creates it. Back it up apart from the database: \
         without it every user must enrol again.",
        "a path",
    ),
    means(
        "no_key",
        "Create and print no API key at the first start, so that no log contains one; `api-key create \
         --init` creates one. Not allowed with the store memory:.",
        "true or false",
    ),
    means(
        "re_encryption",
        "Re-encrypt secrets of older keys with the newest key in the background, using at most a fifth of \
         the time.",
        "true or false",
    ),
    means(
        "issuer",
        "Service name in authenticator apps; the tenant's name if empty.",
        "at most 256 bytes without a colon",
    ),
    means(
        "log",
        "Log level, then levels of modules, such as info,mfa_actix=debug.",
        "error, warn, info, debug, trace or off",
    ),
    means("log_format", "Format of the log.", "text or json"),
    means(
        "time_server",
        "NTP server to compare the clock with, every 64 seconds; none if empty. If the clock is 2 seconds \
         off, the log has a warning; at 15 seconds the server is not ready.",
        "HOST or HOST:PORT",
    ),
    means(
        "request_timeout",
        "Time limit of a request, after which the answer is 503; five times as long for calls that issue backup \
         codes.",
        "100ms to 5m",
    ),
    means(
        "shutdown_timeout",
        "After a stop signal, how long the server waits for open requests, and then for mails being sent.",
        "1s to 1h",
    ),
    means("workers", "Request threads; 0 means one for each processor.", "0 to 1024"),
    means(
        "max_connections",
        "Largest number of open connections, at 64 KiB of memory each.",
        "16 to 1000000",
    ),
    means("email", "Codes by e-mail.", ""),
    means(
        "email.url",
        "Mail server: smtp uses STARTTLS, smtps uses TLS from the first byte, file writes each mail to a \
         folder. If empty, no code is sent. The variable MFA_EMAIL_URL_FILE names a file that contains the \
         URL.",
        "smtp://USER:PASSWORD@HOST, smtps://USER:PASSWORD@HOST or file:DIR",
    ),
    means(
        "email.from",
        "Sender; required with a URL.",
        "an address such as mfa@example.com or Example <mfa@example.com>",
    ),
    means(
        "email.service",
        "Service name in mails; that of from if empty.",
        "at most 256 bytes without a colon",
    ),
    means("email.language", "Language of mails.", "en, de, or one that template_dir has"),
    means("email.template_dir", "Folder of your own templates; none if empty.", "a path, or empty"),
    means(
        "email.ca_file",
        "PEM certificates to trust for the mail server besides the system's; none if empty.",
        "a path, or empty",
    ),
    means("email.connections", "Connections to the mail server.", "1 to 64"),
    means(
        "email.dkim_key_file",
        "Private key (PEM) for DKIM: RSA of 2048, 3072 or 4096 bits, or Ed25519. Mails are unsigned if empty.",
        "a path, or empty",
    ),
    means(
        "email.dkim_selector",
        "Name of the DKIM key in DNS; required with a key. `email test` prints the record to publish.",
        "a DNS name such as mfa1",
    ),
    means(
        "email.dkim_domain",
        "Signing domain; that of from if empty.",
        "the domain of from or a parent domain up to the organisation's, such as example.com",
    ),
    means("webauthn", "Passkeys and security keys (WebAuthn).", ""),
    means(
        "webauthn.rp_id",
        "Domain that passkeys are for. All passkeys are lost when it changes. Default: localhost if listen is a \
         loopback address; otherwise passkeys are off.",
        "the domain of your login page or a parent domain up to the organisation's, such as example.com",
    ),
    means(
        "webauthn.origins",
        "Origins whose pages and apps can use passkeys. Default on localhost: http://localhost and the port of this \
         server.",
        "https origins such as \"https://login.example.com\", http origins of localhost, and \
         \"android:apk-key-hash:…\"; required if rp_id is set",
    ),
    means(
        "webauthn.name",
        "Service name that some browsers show; issuer if empty, and then rp_id.",
        "at most 256 bytes without a colon",
    ),
    means(
        "webauthn.top_origins",
        "Sites that can show your pages in a frame and use passkeys there; none by default.",
        "https origins",
    ),
    means(
        "webauthn.user_verification",
        "Whether authenticators ask for a PIN or a biometric. required refuses passkeys without it.",
        "required, preferred or discouraged",
    ),
    means(
        "webauthn.resident_key",
        "Whether new passkeys can be used without a user name. required leaves out authenticators that cannot \
         store them.",
        "required, preferred or discouraged",
    ),
    means(
        "webauthn.refuse_clones",
        "Refuse a passkey whose signature counter does not grow. The audit trail has it in any case.",
        "true or false",
    ),
    means(
        "webauthn.attestation",
        "trusted accepts new passkeys only from authenticators whose certificate leads to roots_file or to \
         metadata_file. Passkeys of most password managers have no certificate.",
        "none or trusted",
    ),
    means(
        "webauthn.authenticators",
        "Models of authenticators that are accepted; all trusted ones if empty. Only with attestation = \"trusted\".",
        "AAGUIDs such as \"08987058-cadc-4b81-b6e1-30de50dcbe96\"",
    ),
    means(
        "webauthn.roots_file",
        "PEM certificates of manufacturers. Only with attestation = \"trusted\".",
        "a path, or empty",
    ),
    means(
        "webauthn.metadata_file",
        "Blob of the FIDO Metadata Service (MDS3), which the server does not fetch. Only with \
         attestation = \"trusted\".",
        "a path, or empty",
    ),
    means(
        "webauthn.metadata_roots_file",
        "PEM certificates that the signature of metadata_file leads to; required with it.",
        "a path, or empty",
    ),
    means(
        "webauthn.enroll_url",
        "Page of your application to create a passkey, for password managers; none if empty.",
        "an https URL, or empty",
    ),
    means(
        "webauthn.manage_url",
        "Page of your application to manage passkeys, for password managers; none if empty.",
        "an https URL, or empty",
    ),
    means(
        "webauthn.abandon_rp_id",
        "Former rp_id whose passkeys are given up. Unless it is set, the server does not start with an rp_id that \
         existing passkeys do not work with. Stop all servers before you change rp_id.",
        "a domain other than rp_id, or empty",
    ),
    means("assertions", "Signed statements about verifications (JSON Web Signatures).", ""),
    means(
        "assertions.enabled",
        "Answers about verifications carry an assertion. false needs enrolment.proof = \"account\".",
        "true or false",
    ),
    means(
        "assertions.issuer",
        "URL that assertions name as their issuer. Hosts compare it exactly, so set it, the same on all servers of a \
         database. Default: http:// and the address that the server listens on.",
        "an http or https URL without user name, query and fragment, or empty",
    ),
    means(
        "assertions.audience",
        "For whom assertions are; the tenant's name if empty.",
        "at most 255 visible ASCII characters without @",
    ),
    means(
        "assertions.algorithm",
        "Signature algorithm. Every library knows ES256. EdDSA and Ed25519 are two names of one algorithm; many \
         libraries know only one of them.",
        "ES256, EdDSA or Ed25519",
    ),
    means(
        "assertions.rotate_after",
        "Age at which a signing key is replaced. The new key is published for 10 minutes before it signs.",
        "1h to 730d",
    ),
    means("users", "Ids of users.", ""),
    means(
        "users.case",
        "fold treats user ids that differ only in ASCII case as one, in lower case. A tenant's first API key \
         fixes the value.",
        "exact or fold",
    ),
    means("lockout", "Limits for wrong codes.", ""),
    means("lockout.failures", "Consecutive failures that lock an account.", "1 to 100"),
    means(
        "lockout.first_lock",
        "Duration of the first lock; each further failure doubles it.",
        "at least 1s",
    ),
    means("lockout.longest_lock", "Longest lock after consecutive failures.", "at least first_lock"),
    means(
        "lockout.rolling_failures",
        "Failures within rolling_window that lock an account, despite successes between them.",
        "1 to 64",
    ),
    means("lockout.rolling_window", "Time in which rolling_failures count.", "at least 1s"),
    means(
        "lockout.disable_after",
        "Consecutive failures after which an operator must reset the user.",
        "at least failures",
    ),
    means("enrolment", "Changes of factors.", ""),
    means("enrolment.max_factors", "Active factors per user.", "1 to 100"),
    means("enrolment.pending_lifetime", "Time to confirm a new factor.", "at least 1s"),
    means(
        "enrolment.proof",
        "Where the verification that permits a change of factors must have happened: in the session that asks for it, \
         which an assertion proves, or in any session of the user.",
        "session or account",
    ),
    means("enrolment.proof_lifetime", "How long a verification permits changes of factors.", "at least 1s"),
    means(
        "enrolment.proof_assurance",
        "Verification needed to change factors: a backup code (low), a one-time password of a device (medium) \
         or a phishing-resistant factor (high).",
        "low, medium or high",
    ),
    means("enrolment.email", "Allow new e-mail addresses as factors; existing ones remain.", "true or false"),
    means("backup_codes", "Backup codes.", ""),
    means(
        "backup_codes.set_size",
        "Codes in a set. A set must hash within five times request_timeout at 1 GiB/s.",
        "1 to 50",
    ),
    means("backup_codes.low", "Answers warn when this many codes or fewer are left.", "at most set_size"),
    means("verification", "Codes of authenticators.", ""),
    means(
        "verification.profile",
        "strict accepts the code of the current TOTP step only: it sets past_steps, future_steps, drift_bound \
         and resync_steps to 0, unless given.",
        "standard or strict",
    ),
    means("verification.past_steps", "How many TOTP steps before the current one are accepted.", "0 to 10"),
    means("verification.future_steps", "How many TOTP steps after the current one are accepted.", "0 to 10"),
    means("verification.drift_bound", "Largest learned clock drift of a device, in TOTP steps.", "0 to 10"),
    means("verification.look_ahead", "How many HOTP counters after the next one are accepted.", "0 to 20"),
    means(
        "verification.resync_steps",
        "How many TOTP steps two consecutive codes may be off when they confirm or resynchronise a device.",
        "0 to 240",
    ),
    means(
        "verification.resync_counters",
        "How many HOTP counters ahead two consecutive codes may be when they confirm or resynchronise a device.",
        "1 to 1000",
    ),
    means("challenge", "Codes that the server sends.", ""),
    means("challenge.digits", "Digits of a code.", "6 to 10"),
    means("challenge.lifetime", "Validity of a code.", "1s to 10m"),
    means(
        "challenge.max_failures",
        "Wrong codes that end a challenge; each also counts as a failure of the user.",
        "1 to 10",
    ),
    means("challenge.max_resends", "How often a new code can be sent for one challenge.", "0 to 10"),
    means("argon2", "Cost of hashing backup codes (Argon2id). Existing codes keep their cost.", ""),
    means("argon2.memory_kib", "Memory in KiB to hash one code.", "1024 to 262144"),
    means("argon2.iterations", "Passes over the memory.", "1 to 16"),
    means("argon2.lanes", "Lanes.", "1 to 16"),
    Meaning {
        key: "argon2.concurrency",
        what: "Parallel hashes. The default is one for each processor.",
        allowed: "1 to 256, which need at most 16 GiB together",
        example: Some("2"),
    },
    means(
        "throttle",
        "Limits of requests; a request beyond a limit gets 429. 600/1m allows a burst of 600, \
         refilled evenly within a minute. The number is 1 to 10000000, the duration 1ms to 30d, the rate at most \
         one per microsecond.",
        "",
    ),
    means("throttle.tenant", "Requests of a tenant.", ""),
    means("throttle.api_key", "Requests with an API key.", ""),
    means("throttle.user", "Code checks and changes for a user, except an operator's.", ""),
    means(
        "throttle.change",
        "Enrolments, new backup codes, renames, resynchronisations and removals for a user.",
        "",
    ),
    means("throttle.backup_code", "Backup codes tried for a user, right or wrong.", ""),
    means("throttle.message", "Messages to a user.", ""),
    means("throttle.recipient", "Messages to an address.", ""),
    means("throttle.tenant_messages", "Messages of a tenant.", ""),
    means("throttle.tenant_challenges", "Challenges without a user that a tenant begins.", ""),
    means("throttle.address", "Requests without a valid API key from a client address (IPv6: /64).", ""),
    means(
        "throttle.refusal_delay",
        "Average delay of the answers throttled, locked and disabled.",
        "at most 5s",
    ),
    means(
        "throttle.trusted_proxies",
        "Your proxies. Behind a proxy that is not listed, all clients without a valid API key count as one \
         address.",
        "addresses such as \"192.0.2.1\" and networks such as \"10.0.0.0/8\"",
    ),
    means(
        "throttle.forwarded_header",
        "Header in which these proxies name the client; other headers are ignored.",
        "x-forwarded-for or forwarded",
    ),
    means("postgres", "Connections to PostgreSQL, if store is postgres://.", ""),
    means("postgres.max_connections", "Connections of this server.", "2 to 1000"),
    means("postgres.acquire_timeout", "Longest wait for a free connection.", "10ms to 1m"),
    means("postgres.statement_timeout", "PostgreSQL stops a statement after this time.", "10ms to 1m"),
    means("postgres.lock_timeout", "Longest wait for a locked row.", "10ms to 1m"),
    means(
        "postgres.call_timeout",
        "Any call fails after this time; keep it below request_timeout.",
        "10ms to 1m",
    ),
    means("audit", "Audit trail.", ""),
    means(
        "audit.installation",
        "Name of the installation in checkpoints; a checkpoint with another name is refused.",
        "1 to 64 characters of a-z 0-9 . _ -, beginning with a letter or digit",
    ),
    means(
        "audit.signing_key_file",
        "Key that signs checkpoints, relative to data_dir. The first checkpoint creates the file.",
        "a path",
    ),
    means(
        "audit.checkpoint_dir",
        "Folder where the server writes checkpoints, relative to data_dir; none if empty. Old ones are never \
         removed.",
        "a path, or empty",
    ),
    means("audit.checkpoint_every", "Time between checkpoints.", "1s to 366d"),
    means(
        "audit.retention",
        "Age at which the server removes events. Each user's newest expired event stays.",
        "forever, or at least 1h",
    ),
    means(
        "webhook",
        "Receivers of the audit trail, at most 16. Accounts must be in SQLite or PostgreSQL.",
        "",
    ),
];

/// The options of one webhook, with a value to show.
pub(super) const WEBHOOK: &[Meaning] = &[
    webhook("name", "Name that identifies the webhook's position in the database.", NAME, "\"siem\""),
    webhook(
        "url",
        "Address of the receiver.",
        "https, or http to this machine",
        "\"https://siem.example.com/mfa\"",
    ),
    webhook(
        "secret_file",
        "File of the signing secret, relative to data_dir; one secret, or two on two lines while it is \
         replaced.",
        "a path",
        "\"siem.secret\"",
    ),
    webhook("tenants", "Only events of these tenants; all if empty.", "", "[]"),
    webhook("kinds", "Only events of these kinds, such as \"locked\"; all if empty.", "", "[]"),
    webhook(
        "start",
        "Where a new webhook begins: with events after its first start, or with the oldest event.",
        "now or beginning",
        "\"now\"",
    ),
    webhook("timeout", "Time limit of an attempt.", "1s to 1m", "\"15s\""),
    webhook("plain_http", "Allow http to other machines.", "true or false", "false"),
];

const NAME: &str = "1 to 64 characters of a-z 0-9 . _ -";

const fn webhook(
    key: &'static str,
    what: &'static str,
    allowed: &'static str,
    example: &'static str,
) -> Meaning {
    Meaning { key, what, allowed, example: Some(example) }
}
