//! All checks that are not tests.

use anyhow::Result;

use crate::openapi;
use crate::packaging;
use crate::phases::Phases;
use crate::run::{cargo, run};
use crate::tools::{self, CargoDeny};

/// Checks formatting, lints, documentation, the OpenAPI document, the files of packaging/ and dependencies.
pub(crate) fn lint() -> Result<()> {
    code()?;
    dependencies(CargoDeny::begin()?)
}

/// All checks except that of dependencies, the fastest first.
pub(crate) fn code() -> Result<()> {
    let mut phases = Phases::default();
    phases.run("tools", tools::install)?;
    phases.run("formatting", || run(cargo(&["fmt", "--all", "--check"])))?;
    phases.run("OpenAPI", openapi::validate)?;
    phases.run("packaging", packaging::check)?;
    phases.run("lints", clippy)?;
    phases.run("documentation", document)
}

fn clippy() -> Result<()> {
    run(cargo(&["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"]))?;
    run(cargo(&["check", "--locked", "-p", "otp-core", "--no-default-features"]))?;
    let fuzz = "crates/otp-core/fuzz/Cargo.toml";
    run(cargo(&["check", "--locked", "--no-default-features", "--manifest-path", fuzz]))
}

/// With `--examples`, dependencies have the same features as in lints and tests, and are not compiled again.
fn document() -> Result<()> {
    let mut documents =
        cargo(&["doc", "--workspace", "--no-deps", "--locked", "--lib", "--bins", "--examples"]);
    documents.env("RUSTDOCFLAGS", "-D warnings");
    run(documents)
}

/// Checks licences, bans and sources of dependencies. Advisories need a database that is not available everywhere.
#[expect(clippy::print_stderr, reason = "a command line")]
pub(crate) fn dependencies(cargo_deny: CargoDeny) -> Result<()> {
    let mut check = cargo_deny.finish()?;
    check.args(["--locked", "check", "--hide-inclusion-graph", "licenses", "bans", "sources"]);
    run(check)?;
    eprintln!(
        "\nNOT CHECKED: security advisories; `cargo deny check advisories` checks them, but must download a database"
    );
    Ok(())
}
