//! The benchmarks of `docs/performance.md`.

use anyhow::{Result, bail};

use crate::run::{cargo, run};

/// The name of each benchmark and the arguments of `cargo bench` that run it.
const BENCHMARKS: [(&str, &[&str]); 12] = [
    ("otp-core", &["--package", "otp-core"]),
    ("throughput", &["--package", "mfa-tests", "--bench", "throughput"]),
    ("postgres", &["--package", "mfa-store-postgres", "--bench", "together"]),
    ("redis", &["--package", "mfa-store-redis", "--bench", "together"]),
    ("postgres-http", &["--package", "mfa-tests", "--bench", "postgres-http"]),
    ("growth", &["--package", "mfa-tests", "--bench", "growth"]),
    ("postgres-growth", &["--package", "mfa-tests", "--bench", "postgres-growth"]),
    ("attack", &["--package", "mfa-tests", "--bench", "attack"]),
    ("email", &["--package", "mfa-tests", "--bench", "email"]),
    ("latency", &["--package", "mfa-tests", "--bench", "latency"]),
    ("assertions", &["--package", "mfa-tests", "--bench", "assertions"]),
    ("passkeys", &["--package=mfa-tests", "--bench=passkeys", "--package=mfa-webauthn", "--bench=assertion"]),
];

/// Runs all benchmarks, or the named ones. Arguments after `--` are passed to the benchmark.
pub(crate) fn bench(words: &[&str]) -> Result<()> {
    let split = words.iter().position(|word| *word == "--").unwrap_or(words.len());
    let (which, arguments) = words.split_at(split);
    let known = |name: &&&str| !BENCHMARKS.iter().any(|(known, _)| known == *name);
    if let Some(unknown) = which.iter().find(known) {
        bail!("there is no benchmark {unknown}; choose from {}", BENCHMARKS.map(|(name, _)| name).join(", "));
    }
    for (name, target) in BENCHMARKS {
        if which.is_empty() || which.contains(&name) {
            let mut bench = cargo(&["bench", "--locked"]);
            bench.args(target).args(arguments);
            run(bench)?;
        }
    }
    Ok(())
}
