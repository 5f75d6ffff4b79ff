//! Checks the files of `packaging/` with the tools that read such files.

use std::fs;

use anyhow::{Context, Result, ensure};

use crate::run::{command, root, run};
use crate::tools;

/// The path of the program in the unit.
const PROGRAM: &str = "/usr/local/bin/mfa-server";

/// The highest exposure of a unit: ten times the value that `systemd-analyze security` shows.
const EXPOSURE: &str = "--threshold=20";

/// Lints the Containerfile, and checks the other files with Docker Compose and systemd.
#[expect(clippy::print_stderr, reason = "a command line")]
pub(crate) fn check() -> Result<()> {
    let program = |name: &str| tools::folder().join("bin").join(name);
    let lint = ["--no-color", "--failure-threshold", "style", "packaging/Containerfile"];
    run(command(program("hadolint"), &lint))?;
    let validate = ["--file", "packaging/compose.yaml", "config", "--quiet"];
    run(command(program("docker-compose"), &validate))?;
    unit()?;
    eprintln!(
        "\nNOT RUN: the build of the container image, which needs a container runtime and the base images. The \
         Containerfile was linted; `docker build --file packaging/Containerfile .` builds the image\n\
         NOT RUN: the unit under systemd. The unit was checked; `cargo xtask test` starts its command line"
    );
    Ok(())
}

/// Checks the unit together with the example of its credentials. The program must exist for that, so the path of a
/// shell replaces it.
fn unit() -> Result<()> {
    let (packaging, folder) = (root().join("packaging"), root().join("target/packaging"));
    let additions = folder.join("mfa-server.service.d");
    fs::create_dir_all(&additions)?;
    let unit = fs::read_to_string(packaging.join("mfa-server.service")).context("the unit")?;
    ensure!(unit.contains(PROGRAM), "the unit does not start {PROGRAM}");
    fs::write(folder.join("mfa-server.service"), unit.replace(PROGRAM, "/bin/sh"))?;
    fs::copy(packaging.join("credentials.conf"), additions.join("credentials.conf"))?;
    let unit = "target/packaging/mfa-server.service";
    run(command("systemd-analyze", &["verify", "--man=no", "--recursive-errors=no", unit]))?;
    run(command("systemd-analyze", &["security", "--no-pager", "--offline=true", EXPOSURE, unit]))
}
