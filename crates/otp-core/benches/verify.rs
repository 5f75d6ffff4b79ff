//! A missed TOTP check with one step either side, from the raw key to the answer, beside the same work in totp-rs.
//!
//! A miss is what an attacker makes us do, and what every step is tried for. Run with `cargo bench -p otp-core`; the run
//! fails if the check takes more than 0.8 of the time of totp-rs, measured in turns on the same machine.

#![expect(clippy::unwrap_used, reason = "a benchmark")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group};
use otp_core::{Algorithm, Code, Digits, Period, Secret, Totp, Window};

const KEY: &[u8] = b"12345678901234567890";
const NOW: u64 = 1_111_111_111;
/// The code of none of the three steps.
const WRONG: &str = "000000";

/// The most that a check may take, as a share of the time of totp-rs.
const LIMIT: f64 = 0.8;

criterion_group!(benches, missed_check);

fn main() {
    benches();
    Criterion::default().configure_from_args().final_summary();
    // `cargo test --benches` only wants to see that it runs, without optimisation.
    if std::env::args().any(|argument| argument == "--bench") {
        compare();
    }
}

fn missed_check(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("missed three-step check from a raw key");
    for (name, algorithm) in
        [("SHA1", Algorithm::Sha1), ("SHA256", Algorithm::Sha256), ("SHA512", Algorithm::Sha512)]
    {
        group.bench_function(format!("otp-core {name}"), |bencher| {
            bencher.iter(|| ours(black_box(KEY), algorithm, black_box(WRONG), black_box(NOW)));
        });
    }
    for (name, algorithm) in [
        ("SHA1", totp_rs::Algorithm::SHA1),
        ("SHA256", totp_rs::Algorithm::SHA256),
        ("SHA512", totp_rs::Algorithm::SHA512),
    ] {
        group.bench_function(format!("totp-rs {name}"), |bencher| {
            bencher.iter(|| theirs(black_box(KEY), algorithm, black_box(WRONG), black_box(NOW)));
        });
    }
    group.finish();
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
#[expect(clippy::disallowed_methods, reason = "a benchmark measures durations")]
fn compare() {
    let round = |check: &dyn Fn() -> Option<u64>| {
        let start = Instant::now();
        for _ in 0..2_000 {
            assert_eq!(black_box(check()), None);
        }
        start.elapsed()
    };
    let (mut ours_best, mut theirs_best) = (Duration::MAX, Duration::MAX);
    for _ in 0..200 {
        ours_best =
            ours_best.min(round(&|| ours(black_box(KEY), Algorithm::Sha1, black_box(WRONG), black_box(NOW))));
        theirs_best = theirs_best.min(round(&|| {
            theirs(black_box(KEY), totp_rs::Algorithm::SHA1, black_box(WRONG), black_box(NOW))
        }));
    }
    let ratio = ours_best.as_secs_f64() / theirs_best.as_secs_f64();
    println!("missed three-step SHA1 check: {ratio:.2} of the time of totp-rs (limit {LIMIT})");
    assert!(ratio <= LIMIT, "slower than {LIMIT} of totp-rs: {ratio:.2}");
}
