//! A reverse proxy that normalises paths, for the duration of a test.

#![allow(clippy::unwrap_used, reason = "test code")]

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A proxy in front of a server. It is stopped by its process id when its standard input closes, at the
/// latest with the tests.
pub(crate) struct Nginx {
    pub(crate) url: String,
    warden: Child,
}

/// Starts nginx in a folder. When standard input closes, stops it and removes the folder.
const WARDEN: &str = r#"
    nginx -p "$1" -c nginx.conf -e stderr </dev/null 2>"$1/error.log" &
    proxy=$!
    read -r _
    kill -KILL "$proxy"; wait "$proxy"
    rm -rf "$1"
"#;

impl Nginx {
    /// Starts a proxy whose `proxy_pass` has a path, a common configuration. Such a proxy decodes a path,
    /// resolves its dots, merges its slashes, and encodes it again in its own way.
    pub(crate) async fn before(backend: &str) -> Self {
        for _ in 0..10 {
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let folder = tempfile::tempdir().unwrap().keep();
            let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
            let temporary = temporary.map(|kind| format!("{kind}_temp_path {kind};")).concat();
            let config = format!(
                "daemon off; master_process off; pid pid; events {{}} http {{ access_log off; {temporary}
                server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass {backend}/; }} }} }}"
            );
            fs::write(folder.join("nginx.conf"), config).unwrap();
            let mut command = Command::new("sh");
            command.args(["-c", WARDEN, "warden"]).arg(&folder);
            let warden = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
            let proxy = Self { url: format!("http://127.0.0.1:{port}"), warden: warden.unwrap() };
            for _ in 0..100 {
                // Another process may have taken the port meanwhile; the log says so.
                if fs::read_to_string(folder.join("error.log")).is_ok_and(|log| log.contains("[emerg]")) {
                    break;
                }
                if folder.join("pid").exists() && TcpStream::connect(("127.0.0.1", port)).is_ok() {
                    return proxy;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        panic!("nginx does not start; `cargo xtask tools` installs it");
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        drop(self.warden.stdin.take());
        let _ = self.warden.wait();
    }
}
