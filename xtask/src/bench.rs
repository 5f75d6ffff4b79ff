//! The benchmarks of `docs/performance.md`.

use anyhow::{Result, bail};

use crate::run::{cargo, run};

/// The benchmarks, and what runs each.
const BENCHMARKS: [(&str, &[&str]); 4] = [
    ("otp-core", &["--package", "otp-core"]),
    ("throughput", &["--package", "mfa-tests", "--bench", "throughput"]),
    ("postgres", &["--package", "mfa-store-postgres", "--bench", "together"]),
    ("growth", &["--package", "mfa-tests", "--bench", "growth"]),
];

/// Runs the benchmarks, or those that are named.
pub(crate) fn bench(which: &[&str]) -> Result<()> {
    let known = |name: &&&str| !BENCHMARKS.iter().any(|(known, _)| known == *name);
    if let Some(unknown) = which.iter().find(known) {
        bail!("no benchmark is called {unknown}; there are {}", BENCHMARKS.map(|(name, _)| name).join(", "));
    }
    for (name, arguments) in BENCHMARKS {
        if which.is_empty() || which.contains(&name) {
            let mut bench = cargo(&["bench", "--locked"]);
            bench.args(arguments);
            run(bench)?;
        }
    }
    Ok(())
}
