//! How much tests do: for how long, and with how many connections.

use std::process::Command;

/// So many rounds as usual, or all of them where `MFA_TEST_FULL` is set, as by `cargo xtask faults`.
#[must_use]
pub fn rounds(usual: usize, full: usize) -> usize {
    if std::env::var_os("MFA_TEST_FULL").is_some() { full } else { usual }
}

/// Makes room for thousands of connections, which are files of this process.
pub fn raise_limit_of_open_files() {
    let process = std::process::id().to_string();
    let raised = Command::new("prlimit").args(["--pid", &process, "--nofile=8192:"]).status();
    assert!(raised.unwrap().success(), "this test needs 8,192 open files");
}
