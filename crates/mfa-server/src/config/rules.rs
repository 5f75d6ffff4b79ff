//! The range of every option that has one.

use std::path::Path;
use std::time::Duration;

use mfa_actix::throttling::{ForwardedHeader, Network};
use mfa_crypto::Argon2Settings;
use mfa_domain::TenantId;
use mfa_domain::account::Attempts;
use mfa_domain::otp_core::{LookAhead, ResyncSteps, ResyncWindow, Window, uri};

use super::settings::Audit;
use super::{Settings, webhook};
use crate::logging;

/// An option that is out of its range.
#[derive(Debug)]
pub(super) struct Broken {
    pub(super) key: &'static str,
    /// What the option must be.
    pub(super) rule: &'static str,
}

const SECOND: Duration = Duration::from_secs(1);

/// Every rule that the settings break.
pub(super) fn broken(settings: &Settings) -> Vec<Broken> {
    let Settings {
        lockout, enrolment, backup_codes, verification, argon2, throttle, postgres, audit, ..
    } = settings;
    let minutes = Duration::from_mins;
    let second = SECOND;
    let patience = Duration::from_millis(10)..=minutes(1);
    let rules = [
        ("data_dir", is_path(&settings.data_dir), "a path"),
        ("key_ring_file", is_path(&settings.key_ring_file), "a path"),
        (
            "issuer",
            !settings.issuer.contains(':') && settings.issuer.len() <= uri::MAX_NAME_BYTES,
            "at most 256 bytes without a colon",
        ),
        (
            "log",
            logging::filter(&settings.log).is_some(),
            "a level (error, warn, info, debug, trace, off), or a level and modules with theirs, such as \
             info,mfa_actix=debug",
        ),
        (
            "request_timeout",
            (Duration::from_millis(100)..=minutes(5)).contains(&settings.request_timeout),
            "100ms to 5m",
        ),
        ("shutdown_timeout", (second..=minutes(60)).contains(&settings.shutdown_timeout), "1s to 1h"),
        ("workers", settings.workers <= 1024, "0 to 1024"),
        ("max_connections", (16..=1_000_000).contains(&settings.max_connections), "16 to 1000000"),
        (
            "webhook",
            webhook::are_distinct(&settings.webhook),
            "at most 16 webhooks, each with a name of its own",
        ),
        ("lockout.failures", lockout.failures >= 1, "at least 1"),
        ("lockout.first_lock", lockout.first_lock >= second, "at least 1s"),
        ("lockout.longest_lock", lockout.longest_lock >= lockout.first_lock, "at least lockout.first_lock"),
        (
            "lockout.rolling_failures",
            (1..=Attempts::REMEMBERED).contains(&lockout.rolling_failures),
            "1 to 64",
        ),
        ("lockout.rolling_window", lockout.rolling_window >= second, "at least 1s"),
        ("lockout.disable_after", lockout.disable_after >= lockout.failures, "at least lockout.failures"),
        ("enrolment.most_factors", (1..=100).contains(&enrolment.most_factors), "1 to 100"),
        ("enrolment.pending_lifetime", enrolment.pending_lifetime >= second, "at least 1s"),
        ("enrolment.proof_lifetime", enrolment.proof_lifetime >= second, "at least 1s"),
        ("backup_codes.set_size", (1..=50).contains(&backup_codes.set_size), "1 to 50"),
        ("backup_codes.low", backup_codes.low <= backup_codes.set_size, "at most backup_codes.set_size"),
        ("verification.past_steps", verification.past_steps <= Window::MAX_STEPS, "0 to 10"),
        ("verification.future_steps", verification.future_steps <= Window::MAX_STEPS, "0 to 10"),
        ("verification.drift_bound", verification.drift_bound <= 10, "0 to 10"),
        ("verification.look_ahead", verification.look_ahead <= LookAhead::MAX, "0 to 20"),
        ("verification.resync_steps", verification.resync_steps <= ResyncSteps::MAX, "0 to 240"),
        (
            "verification.resync_counters",
            (1..=ResyncWindow::MAX).contains(&verification.resync_counters),
            "1 to 1000",
        ),
        (
            "argon2.memory_kib",
            (1024..=Argon2Settings::MOST_MEMORY_KIB).contains(&argon2.memory_kib),
            "1024 to 262144",
        ),
        ("argon2.iterations", (1..=Argon2Settings::MOST_ITERATIONS).contains(&argon2.iterations), "1 to 16"),
        ("argon2.lanes", (1..=Argon2Settings::MOST_LANES).contains(&argon2.lanes), "1 to 16"),
        ("postgres.max_connections", (2..=1000).contains(&postgres.max_connections), "2 to 1000"),
        ("postgres.acquire_timeout", patience.contains(&postgres.acquire_timeout), "10ms to 1m"),
        ("postgres.statement_timeout", patience.contains(&postgres.statement_timeout), "10ms to 1m"),
        ("postgres.lock_timeout", patience.contains(&postgres.lock_timeout), "10ms to 1m"),
        ("postgres.call_timeout", patience.contains(&postgres.call_timeout), "10ms to 1m"),
        ("argon2.concurrency", (1..=1024).contains(&argon2.concurrency), "1 to 1024"),
        ("throttle.refusal_delay", throttle.refusal_delay <= second * 5, "at most 5s"),
        (
            "throttle.trusted_proxies",
            throttle.trusted_proxies.iter().all(|text| text.parse::<Network>().is_ok()),
            "addresses such as 192.0.2.1 or networks such as 10.0.0.0/8, and not all addresses there are",
        ),
        (
            "throttle.forwarded_header",
            throttle.forwarded_header.parse::<ForwardedHeader>().is_ok(),
            "x-forwarded-for or forwarded",
        ),
    ];
    rules
        .into_iter()
        .chain(of_audit(audit))
        .filter(|(_, holds, _)| !holds)
        .map(|(key, _, rule)| Broken { key, rule })
        .collect()
}

fn of_audit(audit: &Audit) -> [(&'static str, bool, &'static str); 5] {
    [
        (
            "audit.installation",
            TenantId::new(&audit.installation).is_ok(),
            "1 to 64 characters of a-z 0-9 . _ -, beginning with a letter or digit",
        ),
        ("audit.signing_key_file", is_path(&audit.signing_key_file), "a path"),
        (
            "audit.checkpoint_dir",
            audit.checkpoint_dir.as_os_str().is_empty() || is_path(&audit.checkpoint_dir),
            "a path, or empty",
        ),
        (
            "audit.checkpoint_every",
            (SECOND..=Duration::from_hours(366 * 24)).contains(&audit.checkpoint_every),
            "1s to 366d",
        ),
        (
            "audit.retention",
            audit.retention.is_none_or(|retention| retention >= Duration::from_hours(1)),
            "forever, or at least 1h",
        ),
    ]
}

/// Whether it may be the path of a file. A URL is none: it was put into the wrong place, maybe with a password.
fn is_path(path: &Path) -> bool {
    !path.as_os_str().is_empty() && !path.to_string_lossy().contains("://")
}
