//! Scale of the tests: rounds, and number of connections.

use std::process::Command;

/// The number of rounds: `usual`, or `full` if `MFA_TEST_FULL` is set, as `cargo xtask faults` does.
#[must_use]
pub fn rounds(usual: usize, full: usize) -> usize {
    if std::env::var_os("MFA_TEST_FULL").is_some() { full } else { usual }
}

/// Raises the limit of open files for thousands of connections.
pub fn raise_limit_of_open_files() {
    let process = std::process::id().to_string();
    let raised = Command::new("prlimit").args(["--pid", &process, "--nofile=8192:"]).status();
    assert!(raised.unwrap().success(), "this test needs 8,192 open files");
}
