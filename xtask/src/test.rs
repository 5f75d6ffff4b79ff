//! Everything that must hold before a change lands.

use std::fs;
use std::process::Command;

use anyhow::Result;

use crate::background::Background;
use crate::databases::Databases;
use crate::openapi;
use crate::phases::Phases;
use crate::run::{cargo, output, patient, root, run};
use crate::tools;

/// Checks formatting, lints and dependencies, then runs every test. With filters, only the tests
/// that match.
///
/// Tests wait much of their time. Meanwhile whatever needs nothing but a processor goes on, at the lowest priority.
#[expect(clippy::print_stderr, reason = "a command line")]
pub(crate) fn test(filters: &[&str]) -> Result<()> {
    let mut phases = Phases::default();
    phases.run("tools", tools::install)?;
    let everything = filters.is_empty();
    if everything {
        phases.run("formatting", || run(cargo(&["fmt", "--all", "--check"])))?;
        phases.run("OpenAPI", openapi::validate)?;
    }
    phases.run("build", build)?;
    let checks = everything.then(|| Background::begin(check));
    let databases = Databases::start()?;
    let ran = phases.run("tests", || {
        let mut tests = tests(filters)?;
        databases.tell(&mut tests);
        run(tests)
    });
    drop(databases);
    if let Some(checks) = checks {
        phases.run("lints and more", || checks.finish())?;
        phases.run("examples", || run(cargo(&["test", "--workspace", "--locked", "--doc", "--quiet"])))?;
    }
    ran?;
    eprintln!(
        "\nNOT CHECKED: advisories; `cargo deny check advisories` does, where its database can be fetched\n\
         NOT RUN: faults as often as docs/reliability.md says, and the version before beside this one; \
         `cargo xtask faults` does"
    );
    Ok(())
}

/// What was built, for those who run it without building.
const BINARIES: &str = "target/test-tools/binaries.json";
const METADATA: &str = "target/test-tools/metadata.json";

/// Builds all tests, and notes where they are.
pub(crate) fn build() -> Result<()> {
    fs::create_dir_all(tools::folder())?;
    let mut list = tools::cargo_nextest()?;
    list.args([
        "list",
        "--workspace",
        "--locked",
        "--list-type",
        "binaries-only",
        "--message-format",
        "json",
    ]);
    fs::write(root().join(BINARIES), output(list)?)?;
    fs::write(root().join(METADATA), output(cargo(&["metadata", "--locked", "--format-version", "1"]))?)?;
    Ok(())
}

/// A run of all tests that were built but the examples in documentation, in the groups of `.config/nextest.toml`. It
/// leaves the folder of what is built to others.
pub(crate) fn tests(arguments: &[&str]) -> Result<Command> {
    let mut tests = tools::cargo_nextest()?;
    tests.args(["run", "--binaries-metadata", BINARIES, "--cargo-metadata", METADATA]).args(arguments);
    Ok(tests)
}

/// Lints, documentation, and dependencies.
fn check() -> Result<()> {
    lint()?;
    document()?;
    check_dependencies()
}

fn lint() -> Result<()> {
    let fuzz = "crates/otp-core/fuzz/Cargo.toml";
    for arguments in [
        &["clippy", "--workspace", "--all-targets", "--locked", "--quiet", "--", "-D", "warnings"][..],
        &["check", "--locked", "--quiet", "-p", "otp-core", "--no-default-features"],
        &["check", "--locked", "--quiet", "--no-default-features", "--manifest-path", fuzz],
    ] {
        run(patient(&cargo(arguments)))?;
    }
    Ok(())
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
fn check_dependencies() -> Result<()> {
    let mut check = tools::cargo_deny()?;
    check.args(["--locked", "check", "--hide-inclusion-graph", "licenses", "bans", "sources"]);
    run(check)
}
