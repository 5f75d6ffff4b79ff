//! Every option and its default.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use mfa_actix::throttling::Quotas;
use mfa_crypto::Argon2Settings;
use mfa_domain::policy::{
    ProofScope, StandardBackupCodes, StandardChallenges, StandardEnrolment, StandardLockout,
    StandardPasskeys, StandardVerification,
};
use mfa_domain::{Assurance, UserCase};
use mfa_store_postgres::PostgresOptions;
use serde::{Deserialize, Serialize};

use super::throttle::Throttle;
use super::urls::{EphemeralUrl, MailUrl, StoreUrl};
use super::{Assertions, Webauthn, Webhook, duration, retention};

/// All options. The README explains them to users.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settings {
    /// The address to listen on; port 0 picks a free one.
    pub(crate) listen: SocketAddr,
    /// The folder of the database and the key ring.
    pub(crate) data_dir: PathBuf,
    /// The store of accounts, events and API keys.
    pub(crate) store: StoreUrl,
    /// The store of short-lived state.
    pub(crate) ephemeral: EphemeralUrl,
    /// The file of the key ring, relative to the data directory.
    pub(crate) key_ring_file: PathBuf,
    /// Whether the first start creates no API key.
    pub(crate) no_key: bool,
    /// Whether the server re-encrypts secrets of older keys in the background.
    pub(crate) re_encryption: bool,
    /// The service name in authenticator apps; the tenant's name if empty.
    pub(crate) issuer: String,
    /// The filter of the log, in the form of `tracing`.
    pub(crate) log: String,
    pub(crate) log_format: LogFormat,
    /// The NTP server that the clock is compared with; none if empty.
    pub(crate) time_server: String,
    /// The time limit of a request.
    #[serde(with = "duration")]
    pub(crate) request_timeout: Duration,
    /// The time for open requests after a stop signal.
    #[serde(with = "duration")]
    pub(crate) shutdown_timeout: Duration,
    /// The number of request threads; 0 means one for each processor.
    pub(crate) workers: usize,
    /// The largest number of open connections.
    pub(crate) max_connections: usize,
    /// The receivers of the audit trail.
    pub(crate) webhook: Vec<Webhook>,
    pub(crate) email: Email,
    pub(crate) webauthn: Webauthn,
    pub(crate) assertions: Assertions,
    pub(crate) users: Users,
    pub(crate) lockout: Lockout,
    pub(crate) enrolment: Enrolment,
    pub(crate) backup_codes: BackupCodes,
    pub(crate) verification: Verification,
    pub(crate) challenge: Challenge,
    pub(crate) argon2: Argon2,
    pub(crate) throttle: Throttle,
    pub(crate) postgres: Postgres,
    pub(crate) audit: Audit,
}

/// Codes by e-mail.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Email {
    /// The mail server; none if empty.
    pub(crate) url: MailUrl,
    /// The sender.
    pub(crate) from: String,
    /// The service name in mails; that of `from` if empty.
    pub(crate) service: String,
    pub(crate) language: String,
    /// The folder of the operator's templates; none if empty.
    pub(crate) template_dir: PathBuf,
    /// Certificates to trust besides the system's; none if empty.
    pub(crate) ca_file: PathBuf,
    /// The largest number of connections to the mail server.
    pub(crate) connections: usize,
    /// The private key for DKIM; mails are unsigned if empty.
    pub(crate) dkim_key_file: PathBuf,
    pub(crate) dkim_selector: String,
    /// The signing domain; that of `from` if empty.
    pub(crate) dkim_domain: String,
}

/// User ids.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Users {
    /// Applies to tenants that have no API key yet.
    pub(crate) case: Case,
}

/// [`UserCase`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Case {
    Exact,
    Fold,
}

/// [`StandardLockout`].
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Lockout {
    pub(crate) failures: u32,
    #[serde(with = "duration")]
    pub(crate) first_lock: Duration,
    #[serde(with = "duration")]
    pub(crate) longest_lock: Duration,
    pub(crate) rolling_failures: usize,
    #[serde(with = "duration")]
    pub(crate) rolling_window: Duration,
    pub(crate) disable_after: u32,
}

/// [`StandardEnrolment`].
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Enrolment {
    pub(crate) max_factors: usize,
    #[serde(with = "duration")]
    pub(crate) pending_lifetime: Duration,
    pub(crate) proof: ProofOf,
    #[serde(with = "duration")]
    pub(crate) proof_lifetime: Duration,
    pub(crate) proof_assurance: ProofAssurance,
    pub(crate) email: bool,
}

/// [`ProofScope`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ProofOf {
    Session,
    Account,
}

/// [`Assurance`].
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ProofAssurance {
    Low,
    Medium,
    High,
}

/// [`StandardBackupCodes`].
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct BackupCodes {
    pub(crate) set_size: usize,
    pub(crate) low: usize,
}

/// [`StandardVerification`].
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Verification {
    /// Sets the defaults of the options below.
    pub(crate) profile: Profile,
    pub(crate) past_steps: u8,
    pub(crate) future_steps: u8,
    pub(crate) drift_bound: u8,
    pub(crate) look_ahead: u8,
    pub(crate) resync_steps: u8,
    pub(crate) resync_counters: u16,
}

/// [`StandardChallenges`].
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Challenge {
    pub(crate) digits: u8,
    #[serde(with = "duration")]
    pub(crate) lifetime: Duration,
    pub(crate) max_failures: u32,
    pub(crate) max_resends: u32,
}

/// [`Argon2Settings`].
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Argon2 {
    pub(crate) memory_kib: u32,
    pub(crate) iterations: u32,
    pub(crate) lanes: u32,
    pub(crate) concurrency: usize,
}

/// [`PostgresOptions`].
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Postgres {
    pub(crate) max_connections: u32,
    #[serde(with = "duration")]
    pub(crate) acquire_timeout: Duration,
    #[serde(with = "duration")]
    pub(crate) statement_timeout: Duration,
    #[serde(with = "duration")]
    pub(crate) lock_timeout: Duration,
    #[serde(with = "duration")]
    pub(crate) call_timeout: Duration,
}

/// The audit trail.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Audit {
    /// The name of this installation in checkpoints.
    pub(crate) installation: String,
    /// The file of the key that signs checkpoints, relative to the data directory.
    pub(crate) signing_key_file: PathBuf,
    /// The folder where `serve` writes checkpoints; none if empty.
    pub(crate) checkpoint_dir: PathBuf,
    /// The time between checkpoints.
    #[serde(with = "duration")]
    pub(crate) checkpoint_every: Duration,
    /// The age at which events are removed; `None` for never.
    #[serde(with = "retention")]
    pub(crate) retention: Option<Duration>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogFormat {
    Text,
    Json,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Profile {
    Standard,
    Strict,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            data_dir: "mfa-data".into(),
            store: StoreUrl::Sqlite("mfa.db".into()),
            ephemeral: EphemeralUrl::Memory,
            key_ring_file: "keyring.toml".into(),
            no_key: false,
            re_encryption: true,
            issuer: String::new(),
            // At each start the framework logs what `serve` logs anyway.
            log: "info,actix_server=warn,actix_http=off".to_owned(),
            log_format: LogFormat::Text,
            time_server: String::new(),
            request_timeout: Duration::from_millis(1900),
            shutdown_timeout: Duration::from_secs(8),
            workers: 0,
            max_connections: 10_000,
            webhook: Vec::new(),
            email: Email {
                url: MailUrl::default(),
                from: String::new(),
                service: String::new(),
                language: "en".to_owned(),
                template_dir: PathBuf::new(),
                ca_file: PathBuf::new(),
                connections: 4,
                dkim_key_file: PathBuf::new(),
                dkim_selector: String::new(),
                dkim_domain: String::new(),
            },
            webauthn: StandardPasskeys::default().into(),
            assertions: Assertions::default(),
            users: Users { case: Case::Exact },
            lockout: StandardLockout::default().into(),
            enrolment: StandardEnrolment::default().into(),
            backup_codes: StandardBackupCodes::default().into(),
            verification: Verification::standard(),
            challenge: StandardChallenges::default().into(),
            argon2: Argon2Settings::default().into(),
            throttle: Quotas::default().into(),
            postgres: PostgresOptions::default().into(),
            audit: Audit {
                installation: "default".to_owned(),
                signing_key_file: "audit-signing.pem".into(),
                checkpoint_dir: PathBuf::new(),
                checkpoint_every: Duration::from_hours(24),
                retention: None,
            },
        }
    }
}

impl Verification {
    fn standard() -> Self {
        Self::of(Profile::Standard, &StandardVerification::default())
    }

    pub(super) fn strict() -> Self {
        Self::of(Profile::Strict, &StandardVerification::strict())
    }

    fn of(profile: Profile, policy: &StandardVerification) -> Self {
        Self {
            profile,
            past_steps: policy.window.past(),
            future_steps: policy.window.future(),
            drift_bound: policy.drift_bound,
            look_ahead: policy.look_ahead.value(),
            resync_steps: policy.resync_steps.value(),
            resync_counters: policy.resync_counters.value(),
        }
    }
}

impl From<Case> for UserCase {
    fn from(case: Case) -> Self {
        match case {
            Case::Exact => Self::Exact,
            Case::Fold => Self::Fold,
        }
    }
}

impl From<StandardLockout> for Lockout {
    fn from(policy: StandardLockout) -> Self {
        let StandardLockout {
            failures,
            first_lock,
            longest_lock,
            rolling_failures,
            rolling_window,
            disable_after,
        } = policy;
        Self { failures, first_lock, longest_lock, rolling_failures, rolling_window, disable_after }
    }
}

impl From<Lockout> for StandardLockout {
    fn from(settings: Lockout) -> Self {
        let Lockout { failures, first_lock, longest_lock, rolling_failures, rolling_window, disable_after } =
            settings;
        Self { failures, first_lock, longest_lock, rolling_failures, rolling_window, disable_after }
    }
}

impl From<StandardEnrolment> for Enrolment {
    fn from(policy: StandardEnrolment) -> Self {
        let StandardEnrolment {
            max_factors,
            pending_lifetime,
            proof_lifetime,
            proof_assurance,
            proof_scope,
            email,
        } = policy;
        let proof = match proof_scope {
            ProofScope::Session => ProofOf::Session,
            ProofScope::Account => ProofOf::Account,
        };
        let proof_assurance = match proof_assurance {
            Assurance::Low => ProofAssurance::Low,
            Assurance::Medium => ProofAssurance::Medium,
            Assurance::High => ProofAssurance::High,
        };
        Self { max_factors, pending_lifetime, proof, proof_lifetime, proof_assurance, email }
    }
}

impl From<Enrolment> for StandardEnrolment {
    fn from(settings: Enrolment) -> Self {
        let Enrolment { max_factors, pending_lifetime, proof, proof_lifetime, proof_assurance, email } =
            settings;
        let proof_scope = match proof {
            ProofOf::Session => ProofScope::Session,
            ProofOf::Account => ProofScope::Account,
        };
        let proof_assurance = match proof_assurance {
            ProofAssurance::Low => Assurance::Low,
            ProofAssurance::Medium => Assurance::Medium,
            ProofAssurance::High => Assurance::High,
        };
        Self { max_factors, pending_lifetime, proof_lifetime, proof_assurance, proof_scope, email }
    }
}

impl From<StandardBackupCodes> for BackupCodes {
    fn from(policy: StandardBackupCodes) -> Self {
        let StandardBackupCodes { set_size, low } = policy;
        Self { set_size, low }
    }
}

impl From<BackupCodes> for StandardBackupCodes {
    fn from(settings: BackupCodes) -> Self {
        let BackupCodes { set_size, low } = settings;
        Self { set_size, low }
    }
}

impl From<StandardChallenges> for Challenge {
    fn from(policy: StandardChallenges) -> Self {
        let StandardChallenges { digits, lifetime, max_failures, max_resends } = policy;
        Self { digits, lifetime, max_failures, max_resends }
    }
}

impl From<Challenge> for StandardChallenges {
    fn from(settings: Challenge) -> Self {
        let Challenge { digits, lifetime, max_failures, max_resends } = settings;
        Self { digits, lifetime, max_failures, max_resends }
    }
}

impl From<Argon2Settings> for Argon2 {
    fn from(settings: Argon2Settings) -> Self {
        let Argon2Settings { memory_kib, iterations, lanes, concurrency, .. } = settings;
        Self { memory_kib, iterations, lanes, concurrency }
    }
}

impl From<PostgresOptions> for Postgres {
    fn from(options: PostgresOptions) -> Self {
        let PostgresOptions {
            max_connections,
            acquire_timeout,
            statement_timeout,
            lock_timeout,
            call_timeout,
        } = options;
        Self { max_connections, acquire_timeout, statement_timeout, lock_timeout, call_timeout }
    }
}

impl From<&Postgres> for PostgresOptions {
    fn from(settings: &Postgres) -> Self {
        let Postgres { max_connections, acquire_timeout, statement_timeout, lock_timeout, call_timeout } =
            *settings;
        Self { max_connections, acquire_timeout, statement_timeout, lock_timeout, call_timeout }
    }
}
