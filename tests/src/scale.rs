//! How long tests go on that could go on for ever.

/// So many rounds as usual, or all of them where `MFA_TEST_FULL` is set, as by `cargo xtask faults`.
#[must_use]
pub fn rounds(usual: usize, full: usize) -> usize {
    if std::env::var_os("MFA_TEST_FULL").is_some() { full } else { usual }
}
