//! A proxy in front of a database that tests interrupt, slow down and redirect. It acts as the network, and
//! as the address that moves when a standby takes over.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::watch;

/// Accepts connections on a loopback port and forwards them to a socket. Ends, with all its connections, on
/// drop.
#[derive(Debug)]
pub struct Proxy {
    /// The port on which it listens.
    pub port: u16,
    way: watch::Sender<Way>,
}

/// The treatment of bytes on their way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// Bytes arrive.
    Up,
    /// Bytes arrive after this delay.
    Slow(Duration),
    /// Bytes do not arrive, without an error. They arrive once the link is up again.
    Silent,
    /// Old and new connections are closed.
    Cut,
}

#[derive(Clone, Debug)]
struct Way {
    to: PathBuf,
    link: Link,
    /// The current turn. Connections of an earlier one are closed.
    turn: u64,
}

impl Proxy {
    /// Starts a proxy to a socket. Must be called on a tokio runtime.
    pub async fn to(socket: &Path) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let (way, seen) = watch::channel(Way { to: socket.to_owned(), link: Link::Up, turn: 0 });
        tokio::spawn(async move {
            let mut end = seen.clone();
            tokio::select! {
                () = accept(listener, seen) => {}
                _ = end.wait_for(|_| false) => {}
            }
        });
        Self { port, way }
    }

    /// Sets the treatment of bytes from now on.
    pub fn set(&self, link: Link) {
        self.way.send_modify(|way| {
            way.link = link;
            way.turn += u64::from(link == Link::Cut);
        });
    }

    /// Closes all connections; new ones go to another socket.
    pub fn turn_to(&self, socket: &Path) {
        self.way.send_modify(|way| *way = Way { to: socket.to_owned(), link: way.link, turn: way.turn + 1 });
    }
}

async fn accept(listener: TcpListener, way: watch::Receiver<Way>) {
    while let Ok((client, _)) = listener.accept().await {
        let (mut closed, way) = (way.clone(), way.clone());
        let Way { link, turn, .. } = *way.borrow();
        if link == Link::Cut {
            continue;
        }
        tokio::spawn(async move {
            tokio::select! {
                _ = carry(client, way) => {}
                _ = closed.wait_for(|way| way.turn != turn) => {}
            }
        });
    }
}

async fn carry(client: TcpStream, mut way: watch::Receiver<Way>) -> io::Result<()> {
    pass(&mut way).await;
    let to = way.borrow().to.clone();
    let (from_server, to_server) = UnixStream::connect(to).await?.into_split();
    let (from_client, to_client) = client.into_split();
    tokio::select! {
        ended = pump(from_client, to_server, way.clone()) => ended,
        ended = pump(from_server, to_client, way.clone()) => ended,
    }
}

async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut way: watch::Receiver<Way>,
) -> io::Result<()> {
    let mut bytes = vec![0; 16 * 1024];
    loop {
        let read = from.read(&mut bytes).await?;
        if read == 0 {
            return Ok(());
        }
        pass(&mut way).await;
        to.write_all(&bytes[..read]).await?;
    }
}

/// Waits until bytes may pass.
async fn pass(way: &mut watch::Receiver<Way>) {
    let link = way.wait_for(|way| way.link != Link::Silent).await.map(|way| way.link);
    if let Ok(Link::Slow(delay)) = link {
        tokio::time::sleep(delay).await;
    }
}
