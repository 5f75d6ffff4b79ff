//! The server as the unit and the Containerfile start it: their command lines and variables, for a user without any
//! rights, with the shipped configuration.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "test code")]

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use mfa_tests::{Server, ServerOptions, binary, program};
use serde_json::Value;
use tempfile::TempDir;

/// A user that nothing else on this machine runs as: of the range that systemd takes dynamic users from.
const USER: u32 = 64_217;

const PACKAGING: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../packaging");

/// The installed files. Only the data directory belongs to the user.
struct Installed {
    folder: TempDir,
}

/// How a file of `packaging/` starts the server, with the paths of an installation.
struct Start {
    /// Program and arguments.
    serve: Vec<String>,
    healthcheck: Vec<String>,
    environment: Vec<(String, String)>,
    working_directory: String,
}

#[tokio::test(flavor = "multi_thread")]
async fn the_unit_starts_a_server_that_needs_no_rights() {
    let Some(installed) = Installed::new() else { return };
    let unit = installed.read("mfa-server.service");
    let start = installed.unit(&unit);
    // As root, who alone can read the configuration.
    let mut first_key = program(&installed.path("mfa-server"));
    first_key.args(first_key_arguments(&unit));
    installed.works_without_rights(&start, first_key).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_container_starts_a_server_that_needs_no_rights() {
    let Some(installed) = Installed::new() else { return };
    let containerfile = installed.read("Containerfile");
    let start = container(&containerfile);
    let mut first_key = start.as_user(&start.serve[..1]);
    first_key.args(first_key_arguments(&containerfile));
    installed.works_without_rights(&start, first_key).await;
}

impl Installed {
    /// `None` unless this is root: nobody else can start a program as another user.
    fn new() -> Option<Self> {
        let id = Command::new("id").arg("-u").output().unwrap();
        if id.stdout != b"0\n" {
            eprintln!("NOT RUN: only root can start a program as another user");
            return None;
        }
        let installed = Self { folder: tempfile::tempdir().unwrap() };
        for name in ["etc", "credentials", "data"] {
            fs::create_dir(installed.path(name)).unwrap();
        }
        fs::copy(binary!(), installed.path("mfa-server")).unwrap();
        fs::copy(Path::new(PACKAGING).join("mfa-server.toml"), installed.path("etc/mfa-server.toml"))
            .unwrap();
        chown(installed.path("data"), Some(USER), Some(USER)).unwrap();
        for (name, mode) in [
            ("", 0o755),
            ("mfa-server", 0o555),
            ("etc", 0o755),
            ("etc/mfa-server.toml", 0o600),
            ("credentials", 0o555),
            ("data", 0o700),
        ] {
            fs::set_permissions(installed.path(name), Permissions::from_mode(mode)).unwrap();
        }
        Some(installed)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Reads a file of `packaging/`, with the paths of this installation and a free port of this machine.
    fn read(&self, name: &str) -> String {
        let mut text = fs::read_to_string(Path::new(PACKAGING).join(name)).unwrap();
        for (path, here) in [
            ("/usr/local/bin/mfa-server", "mfa-server"),
            ("/etc/mfa/", "etc/"),
            ("%d", "credentials"),
            ("%S/mfa", "data"),
            ("/var/lib/mfa", "data"),
        ] {
            text = text.replace(path, self.path(here).to_str().unwrap());
        }
        text.replace("0.0.0.0:8080", "127.0.0.1:0")
    }

    /// How systemd starts the server. Copies the credentials, as systemd does.
    fn unit(&self, unit: &str) -> Start {
        let values = |name: &str| -> Vec<&str> {
            unit.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix('=')).collect()
        };
        for credential in values("LoadCredential") {
            let (name, source) = credential.split_once(':').unwrap();
            let copy = self.path("credentials").join(name);
            fs::copy(source, &copy).unwrap();
            fs::set_permissions(&copy, Permissions::from_mode(0o400)).unwrap();
            chown(&copy, Some(USER), Some(USER)).unwrap();
        }
        // Then the user owns %S/mfa.
        assert_eq!(values("StateDirectory"), ["mfa"]);
        let serve: Vec<_> = values("ExecStart")[0].split_whitespace().map(str::to_owned).collect();
        Start {
            healthcheck: vec![serve[0].clone(), "healthcheck".to_owned()],
            serve,
            environment: variables(values("Environment").into_iter()),
            working_directory: values("WorkingDirectory")[0].to_owned(),
        }
    }

    /// Creates the first API key and starts the server, which must work, and write to its data directory only.
    async fn works_without_rights(&self, start: &Start, mut first_key: Command) {
        let before = self.others();
        let key: Value = serde_json::from_str(&output(first_key.arg("--json"))).unwrap();

        let mut options = ServerOptions::new([("MFA_LISTEN", "127.0.0.1:0")]);
        options.wrapper = start.wrapper();
        options.environment.extend(start.environment.iter().cloned());
        let (binary, data) = (self.path("mfa-server"), self.path("data"));
        let mut server = Server::in_folder(&binary, &data, key["key"].as_str().unwrap(), options);
        let status = fs::read_to_string(format!("/proc/{}/status", server.id())).unwrap();
        let user = format!("Uid:\t{USER}\t{USER}\t{USER}\t{USER}");
        for line in
            [user.as_str(), "CapPrm:\t0000000000000000", "CapBnd:\t0000000000000000", "NoNewPrivs:\t1"]
        {
            assert!(status.lines().any(|found| found == line), "{line} in {status}");
        }
        let mut healthcheck = start.as_user(&start.healthcheck);
        healthcheck.env("MFA_LISTEN", server.url.strip_prefix("http://").unwrap());
        assert_eq!(output(&mut healthcheck), "ready\n");

        let (phone, codes) = server.client.enrol("alice", "totp").await;
        server.client.verify("alice", &phone.totp(0)).await.expect(200);
        server.client.verify("alice", &codes[0]).await.expect(200);
        assert!(server.terminate().success(), "{}", server.log());

        assert_eq!(self.others(), before);
        let left = left_behind();
        assert!(left.is_empty(), "{left:?}");
        for name in ["mfa.db", "keyring.toml"] {
            let metadata = fs::metadata(data.join(name)).unwrap();
            assert_eq!((metadata.uid(), metadata.mode() & 0o777), (USER, 0o600), "{name}");
        }
    }

    /// Every file outside of the data directory, with the time at which it was last changed.
    fn others(&self) -> Vec<(PathBuf, i64, i64)> {
        let mut files = vec![self.folder.path().to_owned()];
        files.extend(["", "etc", "credentials"].iter().flat_map(|name| entries(&self.path(name))));
        files.retain(|file| *file != self.path("data"));
        let stamp = |file: PathBuf| {
            let metadata = fs::metadata(&file).unwrap();
            (file, metadata.ctime(), metadata.ctime_nsec())
        };
        files.into_iter().map(stamp).collect()
    }
}

/// How a container runtime starts the server.
fn container(containerfile: &str) -> Start {
    let containerfile = containerfile.replace("\\\n", " ");
    // The last instruction with a name is that of the image; earlier ones may be those of the build stage.
    let instruction = |name: &str| -> &str {
        let mut lines = containerfile.lines().rev();
        lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')).unwrap()
    };
    let words = |json: &str| -> Vec<String> { serde_json::from_str(json).unwrap() };
    let mut serve = words(instruction("ENTRYPOINT"));
    serve.extend(words(instruction("CMD")));
    let (_, healthcheck) = instruction("HEALTHCHECK").split_once("CMD ").unwrap();
    Start {
        serve,
        healthcheck: words(healthcheck),
        environment: variables(instruction("ENV").split_whitespace()),
        working_directory: instruction("WORKDIR").to_owned(),
    }
}

/// The arguments that the comment of a file gives to create the first API key.
fn first_key_arguments(file: &str) -> Vec<&str> {
    let line = file.lines().find(|line| line.contains("api-key create --init")).unwrap();
    let (_, arguments) = line.rsplit_once("mfa-server ").unwrap();
    arguments.split_whitespace().collect()
}

fn variables<'a>(assignments: impl Iterator<Item = &'a str>) -> Vec<(String, String)> {
    let pair = |text: &str| text.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
    assignments.map(|text| pair(text).unwrap()).collect()
}

impl Start {
    /// The words that start a program as the user, without capabilities and without a way to gain any.
    fn no_rights(&self) -> Vec<String> {
        let user = [format!("--reuid={USER}"), format!("--regid={USER}")];
        let no_rights = ["--clear-groups", "--no-new-privs", "--inh-caps=-all", "--bounding-set=-all"];
        ["env", "-C", &self.working_directory, "HOME=/nonexistent", "setpriv"]
            .into_iter()
            .map(str::to_owned)
            .chain(user)
            .chain(no_rights.map(str::to_owned))
            .collect()
    }

    /// Starts exactly the command line of the file: the shell ignores the arguments that [`Server`] adds.
    fn wrapper(&self) -> Vec<String> {
        let mut words = self.no_rights();
        words.extend(["sh".to_owned(), "-c".to_owned(), format!("exec {}", self.serve.join(" "))]);
        words
    }

    /// A command line as the user, with the variables of the file.
    fn as_user(&self, words: &[String]) -> Command {
        let no_rights = self.no_rights();
        let mut command = program(Path::new(&no_rights[0]));
        command.args(&no_rights[1..]).args(words);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }
}

/// Runs a command, which must succeed, and gives what it prints.
fn output(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

/// What the user left in the folders that everybody can write.
fn left_behind() -> Vec<PathBuf> {
    let folders =
        [std::env::temp_dir(), "/tmp".into(), "/var/tmp".into(), "/dev/shm".into(), "/run/lock".into()];
    let mut files: Vec<_> = folders.iter().flat_map(|folder| entries(folder)).collect();
    files.retain(|file| fs::symlink_metadata(file).is_ok_and(|metadata| metadata.uid() == USER));
    files
}
