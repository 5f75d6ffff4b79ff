//! Warnings about options that work but are unwise. They prevent nothing.

use std::thread::available_parallelism;

use mfa_actix::throttling::Network;

use super::Settings;
use super::rules::{seconds_to_hash, time_to_hash};
use super::settings::Lockout;

/// Guesses per year at one account that cause a warning. A guess is right with a probability of 3 in a million, so
/// more guesses than this succeed with more than 3 %.
const GUESSES_A_YEAR: f64 = 10_000.0;

/// Every option with an unwise value, and the reason.
pub(super) fn unwise(settings: &Settings) -> Vec<(&'static str, String)> {
    let Settings { assertions, lockout, verification, argon2, throttle, postgres, .. } = settings;
    let processors = available_parallelism().map_or(1, usize::from);
    let steps = u16::from(verification.past_steps) + u16::from(verification.future_steps);
    let vast = |text: &String| text.parse::<Network>().is_ok_and(|network| network.is_vast());
    let advice = [
        (
            "log",
            settings.log.trim().eq_ignore_ascii_case("off"),
            "nothing is logged, not even errors".to_owned(),
        ),
        (
            "lockout.failures",
            lockout.failures > 10,
            format!(
                "{} wrong codes in a row are allowed before the first lock; 3 to 10 are usual",
                lockout.failures
            ),
        ),
        (
            "lockout.rolling_failures",
            guesses_a_year(lockout) > GUESSES_A_YEAR,
            format!("allows {:.0} guesses a year at one account", guesses_a_year(lockout)),
        ),
        (
            "lockout.disable_after",
            lockout.disable_after > 100,
            "NIST SP 800-63B-4 allows at most 100 failures in a row".to_owned(),
        ),
        (
            "verification.past_steps",
            steps > 4,
            format!("{} codes are valid at a time, so guesses succeed more often", steps + 1),
        ),
        (
            "backup_codes.set_size",
            seconds_to_hash(settings, settings.backup_codes.set_size) * 4.0
                > time_to_hash(settings).as_secs_f64(),
            "with the costs of argon2 a set takes long to hash, and a busy server may exceed the time limit"
                .to_owned(),
        ),
        (
            "argon2.concurrency",
            argon2.concurrency > processors * 4,
            format!(
                "this machine has {processors} processors; more parallel hashes need more memory and are not faster"
            ),
        ),
        (
            "postgres.call_timeout",
            postgres.call_timeout >= settings.request_timeout,
            "is not below request_timeout, so errors do not name a slow database as the cause".to_owned(),
        ),
        (
            "assertions.issuer",
            assertions.enabled
                && assertions.issuer.is_empty()
                && (settings.store.is_shared() || !settings.listen.ip().is_loopback()),
            "is not set, so assertions name the address that this server listens on; set the URL of the installation, \
             the same on all servers of its database"
                .to_owned(),
        ),
        (
            "throttle.trusted_proxies",
            throttle.trusted_proxies.iter().any(vast),
            "has a network so large that clients in it could claim any address".to_owned(),
        ),
    ];
    advice.into_iter().filter(|(_, unwise, _)| *unwise).map(|(key, _, why)| (key, why)).collect()
}

fn guesses_a_year(lockout: &Lockout) -> f64 {
    let failures = f64::from(u32::try_from(lockout.rolling_failures).unwrap_or(u32::MAX));
    failures * 365.0 * 86_400.0 / lockout.rolling_window.as_secs_f64()
}
