//! One attempt to deliver a message.

use std::error::Error;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, RETRY_AFTER, USER_AGENT};
use hyper::{Method, Request, Response, StatusCode};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use mfa_domain::Timestamp;
use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};
use thiserror::Error;

use crate::{Endpoint, Message, SigningSecrets};

/// Time limit for opening a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long an idle connection is kept for the next message.
const IDLE: Duration = Duration::from_secs(5);

/// Posts messages over HTTP. Clones share their connections.
///
/// It follows no redirect, uses no proxy, sends no credentials except the signature, and reads only the head
/// of an answer. Certificates are checked against the authorities that the operating system trusts, or those
/// in the file that `SSL_CERT_FILE` names.
#[derive(Clone)]
pub struct Http(Client<HttpsConnector<HttpConnector>, Full<Bytes>>);

/// The authorities that the operating system trusts cannot be read.
#[derive(Debug, Error)]
#[error(
    "no certificate authorities were found to check the certificates of webhooks; install them, or set SSL_CERT_FILE"
)]
pub struct NoRoots(#[source] io::Error);

/// The result of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The endpoint answered 2xx, and has accepted the message.
    Taken,
    /// The message was not accepted, or its fate is unknown.
    NotTaken {
        /// The reason in a word: `secret`, `connect`, `tls`, `timeout`, `no_answer`, or `status_` and a
        /// number.
        how: String,
        /// The reason in a sentence.
        why: String,
        /// How long the receiver asks to wait.
        retry_after: Option<Duration>,
    },
    /// The endpoint answered 410: it wants no more messages.
    Gone,
}

impl Http {
    /// Creates a client. `tls` is required for endpoints with `https`.
    ///
    /// # Errors
    /// [`NoRoots`] if `tls` is set and no certificate authorities are found.
    pub fn new(tls: bool) -> Result<Self, NoRoots> {
        let schemes = HttpsConnectorBuilder::new();
        let schemes = if tls {
            schemes.with_provider_and_native_roots(ring::default_provider()).map_err(NoRoots)?
        } else {
            schemes.with_tls_config(trusts_nobody().map_err(|error| NoRoots(io::Error::other(error)))?)
        };
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
        connector.enforce_http(false);
        let connector = schemes.https_or_http().enable_http1().wrap_connector(connector);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(1)
            .build(connector);
        Ok(Self(client))
    }

    /// Posts a message, signed at `now`, and waits for the head of the answer.
    pub async fn post(&self, endpoint: &Endpoint, message: &Message, now: Timestamp) -> Answer {
        let secrets = match endpoint.secrets.read() {
            Ok(secrets) => secrets,
            Err(error) => {
                tracing::error!(endpoint = %endpoint.id, %error, "the secret of a webhook cannot be read");
                return Answer::not_taken("secret", format_args!("the secret cannot be read: {error}"));
            }
        };
        let request = match request(endpoint, message, &secrets, now) {
            Ok(request) => request,
            Err(error) => return Answer::not_taken("request", error),
        };
        match tokio::time::timeout(endpoint.timeout, self.0.request(request)).await {
            Err(_) => Answer::not_taken("timeout", format_args!("no answer within {:?}", endpoint.timeout)),
            Ok(Err(error)) => {
                let causes = causes(&error);
                if has_cause::<rustls::Error>(&error) {
                    Answer::not_taken("tls", format_args!("no trusted TLS connection: {causes}"))
                } else if error.is_connect() {
                    Answer::not_taken("connect", format_args!("no connection: {causes}"))
                } else {
                    Answer::not_taken(
                        "no_answer",
                        format_args!("the connection ended without an answer: {causes}"),
                    )
                }
            }
            // The body is dropped unread, whatever its size: it is not needed.
            Ok(Ok(response)) => Answer::of(&response, now),
        }
    }
}

/// TLS settings for a client that never uses TLS.
fn trusts_nobody() -> Result<ClientConfig, rustls::Error> {
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let config = config.with_safe_default_protocol_versions()?;
    Ok(config.with_root_certificates(RootCertStore::empty()).with_no_client_auth())
}

fn request(
    endpoint: &Endpoint,
    message: &Message,
    secrets: &SigningSecrets,
    now: Timestamp,
) -> Result<Request<Full<Bytes>>, hyper::http::Error> {
    let Message { id, body } = message;
    Request::builder()
        .method(Method::POST)
        .uri(endpoint.url.uri().clone())
        .header(CONTENT_TYPE, "application/json")
        .header(USER_AGENT, concat!("mfa-kit/", env!("CARGO_PKG_VERSION")))
        .header("webhook-id", id)
        .header("webhook-timestamp", now.unix_seconds())
        .header("webhook-signature", secrets.sign(id, now.unix_seconds(), body))
        .body(Full::new(Bytes::from(body.clone())))
}

impl Answer {
    fn not_taken(how: &str, why: impl fmt::Display) -> Self {
        Self::NotTaken { how: how.to_owned(), why: why.to_string(), retry_after: None }
    }

    fn of(response: &Response<Incoming>, now: Timestamp) -> Self {
        let status = response.status();
        if status.is_success() {
            return Self::Taken;
        }
        if status == StatusCode::GONE {
            return Self::Gone;
        }
        let header = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        let retry_after = header.and_then(|text| retry_after(text, now));
        let hint = if status.is_redirection() { "; redirects are not followed" } else { "" };
        let (how, why) = (format!("status_{}", status.as_u16()), format!("it answered {status}{hint}"));
        Self::NotTaken { how, why, retry_after }
    }
}

/// Parses a number of seconds or a date (RFC 9110, 10.2.3).
fn retry_after(text: &str, now: Timestamp) -> Option<Duration> {
    if let Ok(seconds) = text.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let now: SystemTime = UNIX_EPOCH + Duration::from_millis(now.unix_millis());
    Some(httpdate::parse_http_date(text).ok()?.duration_since(now).unwrap_or_default())
}

/// The messages of an error and its causes, outermost first. None of them contains the URL.
fn causes(error: &(dyn Error + 'static)) -> String {
    let mut texts: Vec<String> = Vec::new();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if texts.last().is_none_or(|last| !last.contains(&text)) {
            texts.push(text);
        }
        cause = error.source();
    }
    texts.join(": ")
}

/// Whether an error of this type is among the causes of `error`.
fn has_cause<E: Error + 'static>(error: &(dyn Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        // An I/O error does not return the error that it wraps as its source.
        let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        if error.is::<E>() || wrapped.is_some_and(|wrapped| has_cause::<E>(wrapped)) {
            return true;
        }
        cause = error.source();
    }
    false
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Taken => f.write_str("taken"),
            Self::NotTaken { how, .. } => f.write_str(how),
            Self::Gone => f.write_str("gone"),
        }
    }
}

impl fmt::Debug for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Http(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        // 1994-11-06T08:49:37Z, the date in the standard.
        let now = Timestamp::from_unix_seconds(784_111_777);
        for (text, seconds) in [
            ("120", Some(120)),
            (" 0 ", Some(0)),
            ("Sun, 06 Nov 1994 08:50:37 GMT", Some(60)),
            ("Sun, 06 Nov 1994 08:00:00 GMT", Some(0)),
            ("-1", None),
            ("soon", None),
            ("", None),
        ] {
            assert_eq!(retry_after(text, now), seconds.map(Duration::from_secs), "{text}");
        }
    }
}
