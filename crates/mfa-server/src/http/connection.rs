//! One connection: one request at a time, with limits of time and memory for each step.
//!
//! actix parses requests and writes answers. This module replaces its loop, which reads up to 128 KiB of requests
//! ahead, waits without limit for a client that does not read its answer, and sends no body if it cannot parse a
//! request.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use actix_http::body::{BodySize, BoxBody, MessageBody};
use actix_http::error::ParseError;
use actix_http::h1::{Codec, Message, MessageType};
use actix_http::header::CONTENT_LENGTH;
use actix_http::{ConnectionType, HttpMessage, Payload, Request, Response, ServiceConfig};
use actix_server::GracefulShutdownSignal;
use actix_web::dev::{Service, ServiceResponse};
use actix_web::web::{Bytes, BytesMut};
use futures_util::FutureExt;
use mfa_actix::problem::ProblemCode;
use mfa_actix::{HeldForWork, MAX_BODY, unreadable};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::yield_now;
use tokio::time::timeout;
use tokio_util::codec::{Decoder, Encoder};

/// How long a client may take to send the head of a request, to send its body, and to read the answer, and how long a
/// pipelined request may wait for its turn. The time for the head starts when the connection opens or the previous
/// answer ends, so it also limits idle connections.
const CLIENT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long the server waits for the client to close the connection, and how many bytes it discards until then.
const LINGER: (Duration, u64) = (Duration::from_secs(1), 1024 * 1024);

/// The largest head of a request, in bytes.
const MAX_HEAD: usize = 8 * 1024;

/// Approximate number of bytes that are read or written at a time.
const PIECE: usize = 4 * 1024;

/// A connection that was accepted.
pub(super) struct Connection {
    socket: TcpStream,
    peer: Option<SocketAddr>,
    config: ServiceConfig,
    /// The single permit for pipelined requests, shared by all connections of this thread.
    ahead: Arc<Semaphore>,
    codec: Codec,
    /// Bytes that were read and are not parsed yet; at most `MAX_HEAD`.
    buffer: BytesMut,
}

/// Why there is no request.
enum Unread {
    /// The client left or was idle for too long, or the server stops. No answer is needed.
    Over,
    Refused(ProblemCode),
}

impl Connection {
    pub(super) fn new(socket: TcpStream, config: ServiceConfig, ahead: Arc<Semaphore>) -> Self {
        let peer = socket.peer_addr().ok();
        Self { socket, peer, codec: Codec::new(config.clone()), config, ahead, buffer: BytesMut::new() }
    }

    /// Answers one request after the other until the client closes the connection, an answer must close it, or the
    /// server stops.
    pub(super) async fn serve<S, B>(mut self, service: &S, stopping: &GracefulShutdownSignal)
    where
        S: Service<Request, Response = ServiceResponse<B>, Error = actix_web::Error>,
        B: MessageBody + 'static,
    {
        loop {
            let sent_ahead = !self.buffer.is_empty();
            let (mut response, readable) = match self.request(stopping).await {
                Ok(request) => {
                    if sent_ahead {
                        // All clients that pipeline together take as much time as one client that does not.
                        let place = timeout(CLIENT_TIMEOUT, Arc::clone(&self.ahead).acquire_owned()).await;
                        let Ok(Ok(place)) = place else { return self.abort() };
                        request.extensions_mut().insert(HeldForWork::new(place));
                        // Requests that arrived on other connections are read first.
                        yield_now().await;
                    }
                    (respond(service, request).await, true)
                }
                Err(Unread::Refused(code)) => (unreadable(code).into(), false),
                Err(Unread::Over) => return,
            };
            if !readable {
                // The old codec still has the state of the previous request.
                self.codec = Codec::new(self.config.clone());
            }
            if !readable || stopping.notified().now_or_never().is_some() {
                response.head_mut().set_connection_type(ConnectionType::Close);
            }
            let Ok(Ok(())) = timeout(CLIENT_TIMEOUT, self.answer(response)).await else {
                return self.abort();
            };
            if !self.codec.keep_alive() {
                return self.linger().await;
            }
        }
    }

    /// The next request, with all of its body.
    async fn request(&mut self, stopping: &GracefulShutdownSignal) -> Result<Request, Unread> {
        let head = tokio::select! {
            biased;
            head = timeout(CLIENT_TIMEOUT, self.head()) => head,
            () = stopping.notified() => return Err(Unread::Over),
        };
        let mut request = match head {
            Ok(head) => head?,
            Err(_) if self.buffer.is_empty() => return Err(Unread::Over),
            Err(_) => return Err(Unread::Refused(ProblemCode::RequestTimeout)),
        };
        let body = timeout(CLIENT_TIMEOUT, self.body(&request)).await;
        let body = body.unwrap_or(Err(Unread::Refused(ProblemCode::RequestTimeout)))?;
        request.head_mut().peer_addr = self.peer;
        *request.payload() = Payload::from(body);
        Ok(request)
    }

    async fn head(&mut self) -> Result<Request, Unread> {
        loop {
            match self.codec.decode(&mut self.buffer)? {
                Some(Message::Item(request)) => return Ok(request),
                Some(Message::Chunk(_)) => return Err(Unread::Over),
                None => _ = self.read(MAX_HEAD, ProblemCode::HeadTooLarge).await?,
            }
        }
    }

    async fn body(&mut self, request: &Request) -> Result<Bytes, Unread> {
        // A tunnel or an upgrade, which no route offers, has no end to wait for.
        if self.codec.message_type() != MessageType::Payload {
            return Ok(Bytes::new());
        }
        let length =
            request.head().headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        if length.is_some_and(|length: u64| length > MAX_BODY as u64) {
            return Err(Unread::Refused(ProblemCode::PayloadTooLarge));
        }
        if request.head().expect() && self.buffer.is_empty() {
            self.socket.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
        }
        // Chunks may be tiny, and each costs time, so their framing is limited too.
        let mut room = 2 * MAX_BODY;
        let mut body = BytesMut::with_capacity(length.and_then(|length| length.try_into().ok()).unwrap_or(0));
        loop {
            match self.codec.decode(&mut self.buffer)? {
                Some(Message::Chunk(Some(chunk))) if body.len() + chunk.len() > MAX_BODY => {
                    return Err(Unread::Refused(ProblemCode::PayloadTooLarge));
                }
                Some(Message::Chunk(Some(chunk))) => body.extend_from_slice(&chunk),
                Some(Message::Chunk(None)) => return Ok(body.freeze()),
                Some(Message::Item(_)) => return Err(Unread::Over),
                None if room == 0 => return Err(Unread::Refused(ProblemCode::PayloadTooLarge)),
                None => {
                    room = room.saturating_sub(self.read(PIECE, ProblemCode::MalformedRequest).await?);
                    // Other connections have their turn before this piece is parsed.
                    yield_now().await;
                }
            }
        }
    }

    /// Waits for bytes, reads them and returns their number; refuses with `otherwise` if the buffer already has
    /// `most` bytes.
    async fn read(&mut self, most: usize, otherwise: ProblemCode) -> Result<usize, Unread> {
        let room = most.saturating_sub(self.buffer.len()).min(PIECE);
        if room == 0 {
            return Err(Unread::Refused(otherwise));
        }
        if self.buffer.is_empty() {
            // An idle connection holds no buffer.
            self.buffer = BytesMut::new();
            self.socket.readable().await?;
        }
        self.buffer.reserve(room);
        match (&mut self.socket).take(room as u64).read_buf(&mut self.buffer).await? {
            0 => Err(Unread::Over),
            read => Ok(read),
        }
    }

    async fn answer(&mut self, response: Response<BoxBody>) -> io::Result<()> {
        let (head, body) = response.into_parts();
        let size = body.size();
        let mut out = BytesMut::new();
        self.codec.encode(Message::Item((head, size)), &mut out)?;
        if !matches!(size, BodySize::None | BodySize::Sized(0)) {
            let mut body = body;
            while let Some(mut chunk) = next(&mut body).await? {
                while !chunk.is_empty() {
                    let piece = chunk.split_to(chunk.len().min(PIECE));
                    self.codec.encode(Message::Chunk(Some(piece)), &mut out)?;
                    if out.len() >= PIECE {
                        self.socket.write_all(&out).await?;
                        out.clear();
                    }
                }
            }
            self.codec.encode(Message::Chunk(None), &mut out)?;
        }
        self.socket.write_all(&out).await
    }

    /// Closes the connection after the client has closed it. Closing earlier, with unread data, could destroy the
    /// answer on its way (RFC 9112, 9.6).
    async fn linger(mut self) {
        self.buffer = BytesMut::new();
        let (time, bytes) = LINGER;
        let rest = async {
            self.socket.shutdown().await?;
            tokio::io::copy(&mut self.socket.take(bytes), &mut tokio::io::sink()).await
        };
        // The connection is closed in any case.
        let _ = timeout(time, rest).await;
    }

    /// Closes the connection at once and discards the part of the answer that the client has not read.
    fn abort(self) {
        // Otherwise the system keeps that part for minutes.
        let _ = self.socket.set_zero_linger();
    }
}

async fn respond<S, B>(service: &S, request: Request) -> Response<BoxBody>
where
    S: Service<Request, Response = ServiceResponse<B>, Error = actix_web::Error>,
    B: MessageBody + 'static,
{
    match service.call(request).await {
        Ok(response) => Response::from(response).map_into_boxed_body(),
        Err(error) => Response::from(error),
    }
}

/// The next piece of a body.
async fn next(body: &mut BoxBody) -> io::Result<Option<Bytes>> {
    let next = std::future::poll_fn(|context| match Pin::new(&mut *body).poll_next(context) {
        Poll::Ready(next) => Poll::Ready(next.transpose()),
        Poll::Pending => Poll::Pending,
    });
    next.await.map_err(|_| io::Error::other("the body of an answer ended early"))
}

impl From<io::Error> for Unread {
    fn from(_: io::Error) -> Self {
        Self::Over
    }
}

impl From<ParseError> for Unread {
    fn from(error: ParseError) -> Self {
        Self::Refused(match error {
            ParseError::TooLarge => ProblemCode::HeadTooLarge,
            _ => ProblemCode::MalformedRequest,
        })
    }
}
