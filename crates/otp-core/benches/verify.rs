//! A missed TOTP check with one step either side, from the raw key to the answer, beside the same work in totp-rs.
//!
//! A miss is what an attacker makes us do, and what every step is tried for. Run with `cargo bench -p otp-core`; the run
//! fails if the check takes more than 0.8 of the time of totp-rs, measured in turns on the same machine.

#![expect(clippy::unwrap_used, reason = "a benchmark")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use otp_core::{Algorithm, Code, Digits, Period, Secret, Totp, Window};

const KEY: &[u8] = b"12345678901234567890";
const NOW: u64 = 1_111_111_111;
/// The code of none of the three steps.
const WRONG: &str = "000000";

/// The most that a check may take, as a share of the time of totp-rs.
const LIMIT: f64 = 0.8;

/// In a round.
const CHECKS: u32 = 2_000;

fn main() {
    // `cargo test --benches` only wants to see that it runs, without optimisation.
    if std::env::args().any(|argument| argument == "--bench") {
        compare();
    }
}

fn ours(key: &[u8], algorithm: Algorithm, typed: &str, now: u64) -> Option<u64> {
    let secret = Secret::from_bytes(key).unwrap();
    let code = Code::parse(typed).unwrap();
    let totp = Totp::new(algorithm, Digits::SIX, Period::THIRTY_SECONDS);
    totp.verify(&secret, &code, now, Window::ONE_EITHER_SIDE, None).unwrap()
}

fn theirs(key: &[u8], algorithm: totp_rs::Algorithm, typed: &str, now: u64) -> Option<u64> {
    totp_rs::Builder::new()
        .with_algorithm(algorithm)
        .with_digits(6)
        .with_skew(1)
        .with_step_duration(30)
        .with_secret(key)
        .build()
        .unwrap()
        .check(typed, now)
}

/// Short rounds in turns, the fastest of each counts: what else the machine does then slows neither.
#[expect(clippy::print_stdout, reason = "the result of the run")]
fn compare() {
    println!("missed three-step check from a raw key     otp-core    totp-rs   ratio");
    let mut ratios = Vec::new();
    for (name, algorithm, of_theirs) in [
        ("SHA-1", Algorithm::Sha1, totp_rs::Algorithm::SHA1),
        ("SHA-256", Algorithm::Sha256, totp_rs::Algorithm::SHA256),
        ("SHA-512", Algorithm::Sha512, totp_rs::Algorithm::SHA512),
    ] {
        let (mut ours_best, mut theirs_best) = (Duration::MAX, Duration::MAX);
        for _ in 0..200 {
            let check = || ours(black_box(KEY), algorithm, black_box(WRONG), black_box(NOW));
            ours_best = ours_best.min(round(check));
            let check = || theirs(black_box(KEY), of_theirs, black_box(WRONG), black_box(NOW));
            theirs_best = theirs_best.min(round(check));
        }
        let [one, other] = [ours_best, theirs_best].map(|time| time.as_secs_f64() / f64::from(CHECKS) * 1e9);
        println!("{name:<40} {one:>7.0} ns {other:>7.0} ns   {:>5.2}", one / other);
        ratios.push((name, one / other));
    }
    for (name, ratio) in ratios {
        assert!(ratio <= LIMIT, "{name}: slower than {LIMIT} of totp-rs: {ratio:.2}");
    }
}

#[expect(clippy::disallowed_methods, reason = "a benchmark measures durations")]
fn round(check: impl Fn() -> Option<u64>) -> Duration {
    let start = Instant::now();
    for _ in 0..CHECKS {
        assert_eq!(black_box(check()), None);
    }
    start.elapsed()
}
