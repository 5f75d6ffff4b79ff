//! Reads the time of an NTP server (RFC 5905) with SNTP.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use anyhow::{Context, Result, anyhow};
use async_trait::async_trait;
use mfa_domain::Timestamp;
use mfa_domain::ports::{Clock, Deviation, ReferenceClock, ReferenceClockError};
use sntpc::{NtpContext, NtpTimestampGenerator, NtpUdpSocket};
use tokio::net::{UdpSocket, lookup_host};

/// The port of NTP.
const PORT: u16 = 123;

/// A time server.
#[derive(Debug)]
pub(crate) struct TimeServer {
    /// Host and port.
    address: String,
}

impl TimeServer {
    /// Parses a host, or a host and a port; `None` if the text is neither.
    pub(crate) fn at(text: &str) -> Option<Self> {
        let host = |host: &str| {
            let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
            !host.is_empty() && (host.chars().all(allowed) || host.parse::<Ipv6Addr>().is_ok())
        };
        let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
        if let Ok(address) = bare.parse::<Ipv6Addr>() {
            return Some(Self { address: format!("[{address}]:{PORT}") });
        }
        let (name, port) = match text.rsplit_once(':') {
            Some((name, port)) => (name, port.parse().ok().filter(|port| *port > 0)?),
            None => (text, PORT),
        };
        let inner = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
        host(inner).then(|| Self { address: format!("{name}:{port}") })
    }

    async fn ask(&self, clock: &dyn Clock) -> Result<Deviation> {
        let found = lookup_host(&self.address).await.context("its name could not be resolved")?.next();
        let server = found.context("its name has no address")?;
        let unbound = match server {
            SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
            SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
        };
        let socket = UdpSocket::bind(unbound).await?;
        // From now on the system drops packets of other senders.
        socket.connect(server).await?;
        let before = clock.now();
        let context = NtpContext::new(Reading { clock, at: before });
        let answer = sntpc::get_time(server, &Connected { socket, server }, context).await;
        let answer = answer.map_err(|error| anyhow!("its answer cannot be used: {error:?}"))?;
        let fraction = (u64::from(answer.seconds_fraction) * 1000) >> 32;
        let there = Timestamp::from_unix_millis(answer.seconds.saturating_mul(1000).saturating_add(fraction));
        Ok(Deviation::between(before, there, clock.now()))
    }
}

#[async_trait]
impl ReferenceClock for TimeServer {
    async fn compare(&self, clock: &dyn Clock) -> Result<Deviation, ReferenceClockError> {
        let asked = self.ask(clock).await.with_context(|| format!("the time server {}", self.address));
        asked.map_err(ReferenceClockError::new)
    }
}

/// This server's clock, as the SNTP client reads it.
#[derive(Clone, Copy)]
struct Reading<'a> {
    clock: &'a dyn Clock,
    at: Timestamp,
}

impl NtpTimestampGenerator for Reading<'_> {
    fn init(&mut self) {
        self.at = self.clock.now();
    }

    fn timestamp_sec(&self) -> u64 {
        self.at.unix_seconds()
    }

    fn timestamp_subsec_micros(&self) -> u32 {
        u32::try_from(self.at.unix_millis() % 1000).unwrap_or_default() * 1000
    }
}

/// A socket that receives from one server.
struct Connected {
    socket: UdpSocket,
    server: SocketAddr,
}

impl NtpUdpSocket for Connected {
    async fn send_to(&self, message: &[u8], _: SocketAddr) -> sntpc::Result<usize> {
        self.socket.send(message).await.map_err(network)
    }

    async fn recv_from(&self, message: &mut [u8]) -> sntpc::Result<(usize, SocketAddr)> {
        let length = self.socket.recv(message).await.map_err(network)?;
        Ok((length, self.server))
    }
}

fn network(_: io::Error) -> sntpc::Error {
    sntpc::Error::Network
}

#[cfg(test)]
mod tests {
    use mfa_testkit::{FakeTimeServer, ShiftedClock, TimeAnswer, reference_clock};

    use super::*;

    fn address(text: &str) -> Option<String> {
        TimeServer::at(text).map(|server| server.address)
    }

    #[test]
    fn a_server_is_a_host_with_or_without_a_port() {
        for (text, expected) in [
            ("time.example.com", "time.example.com:123"),
            ("time.example.com:1123", "time.example.com:1123"),
            ("192.0.2.1", "192.0.2.1:123"),
            ("192.0.2.1:1", "192.0.2.1:1"),
            ("2001:db8::1", "[2001:db8::1]:123"),
            ("[2001:db8::1]", "[2001:db8::1]:123"),
            ("[2001:db8::1]:1123", "[2001:db8::1]:1123"),
        ] {
            assert_eq!(address(text).as_deref(), Some(expected), "{text}");
        }
        for text in
            ["", ":123", "a b", "ntp://time.example.com", "a:0", "a:b", "a:70000", "a/b", "[::1", "a,b"]
        {
            assert_eq!(address(text), None, "{text}");
        }
    }

    fn served_by(fake: &FakeTimeServer) -> TimeServer {
        TimeServer::at(&fake.address().to_string()).unwrap()
    }

    #[tokio::test]
    async fn a_time_server_keeps_the_contract_of_clocks() {
        let fake = FakeTimeServer::start();
        reference_clock::basic(&served_by(&fake)).await.unwrap();
        fake.set(TimeAnswer::Ahead(20_000));
        let found = served_by(&fake).compare(&ShiftedClock(0)).await.unwrap().as_millis();
        assert!((-20_001..=-15_000).contains(&found), "{found}");
    }

    #[tokio::test]
    async fn an_answer_that_tells_no_time_is_an_error() {
        let fake = FakeTimeServer::start();
        let server = served_by(&fake);
        for answer in [TimeAnswer::Unsynchronised, TimeAnswer::Denied, TimeAnswer::ToAnother] {
            fake.set(answer);
            assert!(server.compare(&ShiftedClock(0)).await.is_err(), "{answer:?}");
        }
    }
}
