//! Debian's PgBouncer, in front of a server of the tests.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::fs;
use std::net::TcpStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::server::{Server, free_port, is_root};

/// It is stopped when this is dropped, or the program ends.
pub(crate) struct PgBouncer {
    port: u16,
    warden: Child,
}

const WARDEN: &str = r#"
    PATH="$PATH:/usr/sbin" pgbouncer -q "$1" </dev/null &
    pooler=$!
    read -r _
    kill "$pooler"; wait "$pooler"
"#;

impl PgBouncer {
    /// Starts one. All but its mode is as it comes.
    pub(crate) fn start(server: &Server, mode: &str) -> Self {
        let port = free_port();
        let folder = server.folder();
        let (settings, users) = (folder.join(format!("{port}.ini")), folder.join(format!("{port}.users")));
        fs::write(&users, "\"mfa\" \"\"\n").unwrap();
        let text = format!(
            "[databases]\n* = host={} port=5432\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
             unix_socket_dir =\nauth_type = trust\nauth_file = {}\npool_mode = {mode}\ndefault_pool_size = 50\n",
            folder.display(),
            users.display(),
        );
        fs::write(&settings, text).unwrap();
        // It refuses to run as root, too.
        let mut words = if is_root() { vec!["runuser", "-u", "postgres", "--"] } else { Vec::new() };
        words.extend(["sh", "-c", WARDEN, "warden", settings.to_str().unwrap()]);
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).current_dir("/").stdin(Stdio::piped()).process_group(0);
        let pooler = Self { port, warden: command.spawn().unwrap() };
        for _ in 0..600 {
            if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return pooler;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("PgBouncer does not start; `cargo xtask tools` installs it");
    }

    /// The URL of a database of the server.
    pub(crate) fn url(&self, database: &str) -> String {
        format!("postgres://mfa@127.0.0.1:{}/{database}", self.port)
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        drop(self.warden.stdin.take());
        let _ = self.warden.wait();
    }
}
