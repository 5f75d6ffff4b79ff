//! The programs that tests use: independent authenticators, readers of QR codes, clocks.

use std::path::PathBuf;

use anyhow::{Result, bail};

use crate::run::{cargo, command, root, run, succeeds};

/// Programs that tests start, and Debian's packages of them.
const PROGRAMS: [(&str, &str); 7] = [
    ("oathtool", "oathtool"),
    ("zbarimg", "zbar-tools"),
    ("keepassxc-cli", "keepassxc"),
    ("faketime", "faketime"),
    ("sqlite3", "sqlite3"),
    ("curl", "curl"),
    ("valgrind", "valgrind"),
];

/// Where this command keeps what is no Debian package.
pub(crate) fn folder() -> PathBuf {
    root().join("target/test-tools")
}

/// Installs what is not there: Debian packages, a Python environment with `pyotp`, `cargo-deny`.
pub(crate) fn install() -> Result<()> {
    let missing = PROGRAMS.iter().filter(|(program, _)| !succeeds(program, &["--version"]));
    let mut packages: Vec<&str> = missing.map(|(_, package)| *package).collect();
    if !succeeds("python3", &["-c", "import ensurepip, venv"]) {
        packages.extend(["python3", "python3-venv"]);
    }
    if !packages.is_empty() {
        if !succeeds("apt-get", &["--version"]) {
            bail!("tests need {}; install them first (on Debian this command does)", packages.join(", "));
        }
        run(command("apt-get", &["update", "-qq"]))?;
        let mut install = command("apt-get", &["install", "-y", "-qq", "--no-install-recommends"]);
        install.args(packages).env("DEBIAN_FRONTEND", "noninteractive");
        run(install)?;
    }
    let python = folder().join("bin/python");
    if !succeeds(&python, &["-c", "import pyotp"]) {
        run(command("python3", &["-m", "venv", "target/test-tools"]))?;
        run(command(&python, &["-m", "pip", "install", "--quiet", "pyotp"]))?;
    }
    Ok(())
}

/// `cargo-deny`: the one on the path, or one of our own.
pub(crate) fn cargo_deny() -> Result<PathBuf> {
    let own = folder().join("bin/cargo-deny");
    if succeeds("cargo-deny", &["--version"]) {
        return Ok(PathBuf::from("cargo-deny"));
    }
    if !succeeds(&own, &["--version"]) {
        run(cargo(&["install", "--quiet", "--locked", "--root", "target/test-tools", "cargo-deny"]))?;
    }
    Ok(own)
}
