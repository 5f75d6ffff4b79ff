//! The allowed range of every option that has one.

use std::path::Path;
use std::time::Duration;

use mfa_actix::throttling::{ForwardedHeader, Network, Proxies};
use mfa_crypto::{Argon2Settings, InvalidSettings};
use mfa_domain::TenantId;
use mfa_domain::otp_core::{LookAhead, ResyncSteps, ResyncWindow, Window, uri};
use mfa_domain::policy::{
    BackupCodePolicy, ChallengePolicy, EnrolmentPolicy, LockoutPolicy, StandardBackupCodes,
    StandardChallenges, StandardEnrolment, StandardLockout, StandardVerification, VerificationPolicy,
};
use mfa_email::{check_dkim_domain, check_dkim_selector, check_from};

use super::settings::{Argon2, Audit, Email};
use super::{Settings, StoreUrl, assertions, webauthn, webhook};
use crate::logging;
use crate::time_server::TimeServer;

/// An option outside its range.
#[derive(Debug)]
pub(super) struct Broken {
    pub(super) key: String,
    /// What the option must be.
    pub(super) rule: &'static str,
}

const SECOND: Duration = Duration::from_secs(1);

/// Every rule that the settings break.
pub(super) fn broken(settings: &Settings) -> Vec<Broken> {
    let Settings { backup_codes, verification, argon2, throttle, postgres, audit, email, .. } = settings;
    let minutes = Duration::from_mins;
    let second = SECOND;
    let patience = Duration::from_millis(10)..=minutes(1);
    let rules = [
        ("data_dir", is_path(&settings.data_dir), "a path"),
        ("key_ring_file", is_path(&settings.key_ring_file), "a path"),
        (
            "no_key",
            !settings.no_key || settings.store != StoreUrl::Memory,
            "false with the store memory:, whose only API key is that of the first start",
        ),
        (
            "issuer",
            settings.issuer.is_empty() || uri::check_issuer(&settings.issuer).is_ok(),
            "at most 256 bytes without a colon and without control characters",
        ),
        (
            "log",
            logging::filter(&settings.log).is_some(),
            "a level (error, warn, info, debug, trace, off), then levels of modules, if any, such as \
             info,mfa_actix=debug",
        ),
        (
            "time_server",
            settings.time_server.is_empty() || TimeServer::at(&settings.time_server).is_some(),
            "a host, or a host and a port, such as time.example.com or 192.0.2.1:123, or empty",
        ),
        (
            "request_timeout",
            (Duration::from_millis(100)..=minutes(5)).contains(&settings.request_timeout),
            "100ms to 5m",
        ),
        ("shutdown_timeout", (second..=minutes(60)).contains(&settings.shutdown_timeout), "1s to 1h"),
        ("workers", settings.workers <= 1024, "0 to 1024"),
        ("max_connections", (16..=1_000_000).contains(&settings.max_connections), "16 to 1000000"),
        ("webhook", webhook::are_distinct(&settings.webhook), "at most 16 webhooks with different names"),
        (
            "backup_codes.set_size",
            seconds_to_hash(settings, backup_codes.set_size) <= time_to_hash(settings).as_secs_f64(),
            "small enough to hash within five times request_timeout, at 1 GiB/s with the costs of argon2",
        ),
        ("verification.past_steps", verification.past_steps <= Window::MAX_STEPS, "0 to 10"),
        ("verification.future_steps", verification.future_steps <= Window::MAX_STEPS, "0 to 10"),
        ("verification.look_ahead", verification.look_ahead <= LookAhead::MAX, "0 to 20"),
        ("verification.resync_steps", verification.resync_steps <= ResyncSteps::MAX, "0 to 240"),
        (
            "verification.resync_counters",
            (1..=ResyncWindow::MAX).contains(&verification.resync_counters),
            "1 to 1000",
        ),
        ("argon2.memory_kib", argon2.memory_kib >= 1024, "1024 to 262144"),
        ("postgres.max_connections", (2..=1000).contains(&postgres.max_connections), "2 to 1000"),
        ("postgres.acquire_timeout", patience.contains(&postgres.acquire_timeout), "10ms to 1m"),
        ("postgres.statement_timeout", patience.contains(&postgres.statement_timeout), "10ms to 1m"),
        ("postgres.lock_timeout", patience.contains(&postgres.lock_timeout), "10ms to 1m"),
        ("postgres.call_timeout", patience.contains(&postgres.call_timeout), "10ms to 1m"),
        ("throttle.refusal_delay", throttle.refusal_delay <= second * 5, "at most 5s"),
        (
            "throttle.trusted_proxies",
            are_proxies(&throttle.trusted_proxies),
            "addresses such as 192.0.2.1 or networks such as 10.0.0.0/8, together not the whole Internet",
        ),
        (
            "throttle.forwarded_header",
            throttle.forwarded_header.parse::<ForwardedHeader>().is_ok(),
            "x-forwarded-for or forwarded",
        ),
    ];
    let sections = of_audit(audit).into_iter().chain(of_email(email)).chain(webauthn::rules(settings));
    let sections = sections.chain(assertions::rules(settings));
    let own = rules.into_iter().chain(sections).filter(|(_, holds, _)| !holds);
    own.map(|(key, _, rule)| Broken { key: key.to_owned(), rule }).chain(of_policies(settings)).collect()
}

/// The rules of the policies and the hasher.
fn of_policies(settings: &Settings) -> impl Iterator<Item = Broken> {
    let Settings { lockout, enrolment, backup_codes, verification, challenge, argon2, .. } = settings;
    let drift =
        StandardVerification { drift_bound: verification.drift_bound, ..StandardVerification::default() };
    let policies = [
        ("lockout", StandardLockout::from(lockout.clone()).validate()),
        ("enrolment", StandardEnrolment::from(enrolment.clone()).validate()),
        ("backup_codes", StandardBackupCodes::from(backup_codes.clone()).validate()),
        // The types of its other numbers guarantee their ranges.
        ("verification", drift.validate()),
        ("challenge", StandardChallenges::from(challenge.clone()).validate()),
    ];
    let broken = policies.into_iter().filter_map(|(section, valid)| Some((section, valid.err()?)));
    let broken = broken.flat_map(|(section, invalid)| {
        let broken =
            invalid.broken().map(|(number, rule)| Broken { key: format!("{section}.{number}"), rule });
        broken.collect::<Vec<_>>()
    });
    let hasher = Argon2Settings::from(argon2).validate().err();
    broken.chain(
        hasher.map(|InvalidSettings { setting, rule }| Broken { key: format!("argon2.{setting}"), rule }),
    )
}

/// The time to hash `codes` backup codes, in seconds, on a processor that fills 1 GiB/s.
pub(super) fn seconds_to_hash(settings: &Settings, codes: usize) -> f64 {
    let Argon2 { memory_kib, iterations, .. } = settings.argon2;
    let codes = f64::from(u32::try_from(codes).unwrap_or(u32::MAX));
    f64::from(memory_kib) * f64::from(iterations) * codes / f64::from(1024 * 1024)
}

/// The time limit of a call that issues backup codes.
pub(super) fn time_to_hash(settings: &Settings) -> Duration {
    settings.request_timeout * 5
}

fn are_proxies(texts: &[String]) -> bool {
    let networks = texts.iter().map(|text| text.parse::<Network>()).collect::<Result<Vec<_>, _>>();
    networks.is_ok_and(|networks| Proxies::new(networks, ForwardedHeader::default()).is_ok())
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

fn of_email(email: &Email) -> [(&'static str, bool, &'static str); 9] {
    let may_be_path = |path: &Path| path.as_os_str().is_empty() || is_path(path);
    [
        (
            "email.from",
            if email.from.is_empty() { email.url.0.is_none() } else { check_from(&email.from).is_ok() },
            "an address such as mfa@example.com or Example <mfa@example.com>; required if email.url is set",
        ),
        (
            "email.service",
            email.service.is_empty() || uri::check_issuer(&email.service).is_ok(),
            "at most 256 bytes without a colon and without control characters",
        ),
        (
            "email.language",
            email.language.len() <= 12
                && email.language.chars().all(|c| c.is_ascii_alphanumeric() || c == '-'),
            "a language such as en or pt-BR",
        ),
        ("email.template_dir", may_be_path(&email.template_dir), "a path, or empty"),
        ("email.ca_file", may_be_path(&email.ca_file), "a path, or empty"),
        ("email.connections", (1..=64).contains(&email.connections), "1 to 64"),
        ("email.dkim_key_file", may_be_path(&email.dkim_key_file), "a path, or empty"),
        (
            "email.dkim_selector",
            if signs(email) {
                check_dkim_selector(&email.dkim_selector).is_ok()
            } else {
                email.dkim_selector.is_empty()
            },
            "a DNS name such as mfa1 if email.dkim_key_file is set, and empty if it is not",
        ),
        (
            "email.dkim_domain",
            may_sign(email),
            "the domain of email.from or a parent domain up to the organisation's, such as example.com; empty if email.dkim_key_file is not set",
        ),
    ]
}

fn signs(email: &Email) -> bool {
    !email.dkim_key_file.as_os_str().is_empty()
}

/// Whether DMARC accepts signatures of the domain for the sender. An invalid sender is reported by its own rule.
fn may_sign(email: &Email) -> bool {
    let domain = Some(email.dkim_domain.as_str()).filter(|domain| !domain.is_empty());
    if !signs(email) {
        return domain.is_none();
    }
    check_from(&email.from).is_err() || check_dkim_domain(domain, &email.from).is_ok()
}

/// Whether it may be the path of a file. A URL is misplaced and may contain a password.
pub(super) fn is_path(path: &Path) -> bool {
    !path.as_os_str().is_empty() && !path.to_string_lossy().contains("://")
}
