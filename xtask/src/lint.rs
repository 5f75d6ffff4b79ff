//! Checking all that needs no test.

use anyhow::Result;

use crate::phases::Phases;
use crate::run::{cargo, patient, run};
use crate::{openapi, tools};

/// Checks formatting, lints, documentation, dependencies and the OpenAPI document.
pub(crate) fn lint() -> Result<()> {
    let mut phases = Phases::default();
    phases.run("tools", tools::install)?;
    phases.run("lints", check)
}

/// The same where all tools are there. It takes the time in which others wait.
pub(crate) fn check() -> Result<()> {
    run(cargo(&["fmt", "--all", "--check"]))?;
    openapi::validate()?;
    let fuzz = "crates/otp-core/fuzz/Cargo.toml";
    for arguments in [
        &["clippy", "--workspace", "--all-targets", "--locked", "--quiet", "--", "-D", "warnings"][..],
        &["check", "--locked", "--quiet", "-p", "otp-core", "--no-default-features"],
        &["check", "--locked", "--quiet", "--no-default-features", "--manifest-path", fuzz],
    ] {
        run(patient(&cargo(arguments)))?;
    }
    document()?;
    check_dependencies()
}

/// With `--examples`, dependencies have the features that they have in lints and tests, and are
/// not compiled anew.
fn document() -> Result<()> {
    let mut documents =
        cargo(&["doc", "--workspace", "--no-deps", "--locked", "--quiet", "--lib", "--bins", "--examples"]);
    documents.env("RUSTDOCFLAGS", "-D warnings");
    run(patient(&documents))
}

/// Licences, bans and sources of dependencies. The database of advisories cannot be had everywhere.
#[expect(clippy::print_stderr, reason = "a command line")]
fn check_dependencies() -> Result<()> {
    let mut check = tools::cargo_deny()?;
    check.args(["--locked", "check", "--hide-inclusion-graph", "licenses", "bans", "sources"]);
    run(patient(&check))?;
    eprintln!(
        "\nNOT CHECKED: advisories; `cargo deny check advisories` does, where its database can be fetched"
    );
    Ok(())
}
