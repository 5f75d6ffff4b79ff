//! The benchmarks of `docs/performance.md`.

use anyhow::Result;

use crate::run::{cargo, run};

/// Runs the benchmarks, or those that are named.
pub(crate) fn bench(which: &[&str]) -> Result<()> {
    let all = [("otp-core", ["bench", "--locked", "-p", "otp-core"])];
    for (name, arguments) in all {
        if which.is_empty() || which.contains(&name) {
            run(cargo(&arguments))?;
        }
    }
    Ok(())
}
