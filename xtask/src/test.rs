//! Everything that must hold before a change lands.

use anyhow::Result;

use crate::run::{cargo, command, run};
use crate::{openapi, tools};

/// Checks formatting, lints and dependencies, then runs every test. With filters, only the tests
/// that match.
#[expect(clippy::print_stderr, reason = "a command line")]
pub(crate) fn test(filters: &[&str]) -> Result<()> {
    tools::install()?;
    if filters.is_empty() {
        run(cargo(&["fmt", "--all", "--check"]))?;
        run(cargo(&["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"]))?;
        run(cargo(&["check", "--locked", "-p", "otp-core", "--no-default-features"]))?;
        let fuzz = "crates/otp-core/fuzz/Cargo.toml";
        run(cargo(&["check", "--locked", "--no-default-features", "--manifest-path", fuzz]))?;
        let mut documents = cargo(&["doc", "--workspace", "--no-deps", "--locked"]);
        documents.env("RUSTDOCFLAGS", "-D warnings");
        run(documents)?;
        check_dependencies()?;
        openapi::validate()?;
    }
    let mut tests = cargo(&["test", "--workspace", "--locked", "--no-fail-fast"]);
    tests.args(filters);
    run(tests)?;
    eprintln!(
        "\nNOT RUN: faults as often as docs/reliability.md says, and the version before beside this one; \
         `cargo xtask faults` does"
    );
    Ok(())
}

/// Licences, bans and sources of dependencies. The database of advisories cannot be had everywhere.
#[expect(clippy::print_stderr, reason = "a command line")]
fn check_dependencies() -> Result<()> {
    run(command(
        tools::cargo_deny()?,
        &["--locked", "check", "--hide-inclusion-graph", "licenses", "bans", "sources"],
    ))?;
    eprintln!(
        "\nNOT CHECKED: advisories; `cargo deny check advisories` does, where its database can be fetched"
    );
    Ok(())
}
