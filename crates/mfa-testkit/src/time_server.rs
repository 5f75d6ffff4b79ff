//! An NTP server for tests.

use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mfa_domain::ports::Clock;

use crate::ShiftedClock;

/// An NTP server on 127.0.0.1 that answers as configured. It stops on drop.
#[derive(Debug)]
pub struct FakeTimeServer {
    address: SocketAddr,
    answer: Arc<Mutex<TimeAnswer>>,
    over: Arc<AtomicBool>,
}

/// The answers of a [`FakeTimeServer`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeAnswer {
    /// A time that is this many milliseconds ahead of this machine's.
    Ahead(i64),
    /// The server reports that its own clock is not synchronised.
    Unsynchronised,
    /// The server refuses service (a kiss-o'-death packet).
    Denied,
    /// An answer to a request that was not made.
    ToAnother,
}

impl FakeTimeServer {
    /// Starts a server with the right time on a free port.
    ///
    /// # Panics
    /// If there is no free port.
    #[must_use]
    pub fn start() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let address = socket.local_addr().unwrap();
        let answer = Arc::new(Mutex::new(TimeAnswer::Ahead(0)));
        let over = Arc::new(AtomicBool::new(false));
        let (answers, stop) = (Arc::clone(&answer), Arc::clone(&over));
        std::thread::spawn(move || {
            let mut request = [0; 48];
            while !stop.load(Ordering::SeqCst) {
                if let Ok((48, client)) = socket.recv_from(&mut request) {
                    let answer = *answers.lock().unwrap_or_else(PoisonError::into_inner);
                    let _ = socket.send_to(&packet(&request, answer), client);
                }
            }
        });
        Self { address, answer, over }
    }

    /// The address of the server.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sets the answer from now on.
    pub fn set(&self, answer: TimeAnswer) {
        *self.answer.lock().unwrap_or_else(PoisonError::into_inner) = answer;
    }
}

impl Drop for FakeTimeServer {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
    }
}

/// An answer packet (RFC 5905, 7.3).
fn packet(request: &[u8; 48], answer: TimeAnswer) -> [u8; 48] {
    const VERSION_4_FROM_A_SERVER: u8 = 4 << 3 | 4;
    const ALARM: u8 = 3 << 6;
    let ahead = if let TimeAnswer::Ahead(ahead) = answer { ahead } else { 0 };
    let now = ntp(ShiftedClock(ahead).now().unix_millis());
    let mut packet = [0; 48];
    packet[0] = VERSION_4_FROM_A_SERVER | if answer == TimeAnswer::Unsynchronised { ALARM } else { 0 };
    packet[1] = u8::from(answer != TimeAnswer::Denied);
    packet[12..16].copy_from_slice(if answer == TimeAnswer::Denied { b"DENY" } else { b"TEST" });
    packet[24..32].copy_from_slice(&request[40..48]);
    if answer == TimeAnswer::ToAnother {
        packet[31] ^= 1;
    }
    for at in [16, 32, 40] {
        packet[at..at + 8].copy_from_slice(&now);
    }
    packet
}

/// A timestamp: 32 bits of seconds since 1900 and 32 bits of fraction.
fn ntp(unix_millis: u64) -> [u8; 8] {
    const UNTIL_1970: u64 = 2_208_988_800;
    let seconds = (unix_millis / 1000 + UNTIL_1970) << 32;
    (seconds | (((unix_millis % 1000) << 32) / 1000)).to_be_bytes()
}
