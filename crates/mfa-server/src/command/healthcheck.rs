//! `healthcheck`: for container runtimes, whose images have no curl.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::cli::HealthcheckArgs;
use crate::config::Config;
use crate::failure::Misuse;
use crate::output;
use crate::welcome::reachable;

/// Time limit of each step: to connect, to send and to receive.
const HEALTHCHECK_TIMEOUT: Duration = Duration::from_secs(3);

pub(super) fn run(config: &Config, arguments: &HealthcheckArgs) -> Result<()> {
    let host = match &arguments.url {
        Some(url) => authority(url)?.to_owned(),
        None => reachable(config.settings.listen).to_string(),
    };
    let status = ready_status(&host).with_context(|| format!("{host} does not answer"))?;
    if status != "200" {
        bail!("{host} is not ready: /readyz answered {status}");
    }
    output::say("ready")
}

fn authority(url: &str) -> Result<&str> {
    // The URL is not shown, as it may contain a password.
    match url.strip_prefix("http://") {
        Some(rest) if !rest.contains(['@', '#']) => Ok(rest.split(['/', '?']).next().unwrap_or(rest)),
        Some(_) => Err(Misuse("--url: must not contain a user, a password or a fragment".to_owned()).into()),
        None => Err(Misuse("--url: must begin with http://".to_owned()).into()),
    }
}

/// The HTTP status of `/readyz`.
fn ready_status(host: &str) -> Result<String> {
    let target = if host.rsplit(']').next().is_some_and(|end| end.contains(':')) {
        host.to_owned()
    } else {
        format!("{host}:80")
    };
    let address = target.to_socket_addrs()?.next().context("the host name has no address")?;
    let mut stream = TcpStream::connect_timeout(&address, HEALTHCHECK_TIMEOUT)?;
    stream.set_read_timeout(Some(HEALTHCHECK_TIMEOUT))?;
    stream.set_write_timeout(Some(HEALTHCHECK_TIMEOUT))?;
    write!(stream, "GET /readyz HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line)?;
    match line.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)) {
        Some(status) => Ok(status.to_owned()),
        None => bail!("the answer is not HTTP/1.1"),
    }
}
