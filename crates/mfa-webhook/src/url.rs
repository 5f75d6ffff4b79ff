//! The URL of a webhook.

use std::fmt;
use std::net::IpAddr;

use hyper::Uri;
use thiserror::Error;

/// The URL of a webhook: `https`, or `http` to this machine or if explicitly allowed.
///
/// `Display` shows no path, since paths of webhooks often contain a token.
///
/// ```
/// use mfa_webhook::WebhookUrl;
/// let url = WebhookUrl::parse("https://hooks.example.com/T024/secret", false)?;
/// assert_eq!(url.to_string(), "https://hooks.example.com");
/// assert!(WebhookUrl::parse("http://hooks.example.com/", false).is_err());
/// # Ok::<(), mfa_webhook::InvalidUrl>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct WebhookUrl(Uri);

/// The text is not such a URL. The error never quotes the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum InvalidUrl {
    /// The text is not a URL.
    #[error("it must be a URL such as https://hooks.example.com/mfa")]
    Form,
    /// It contains a user or a password, or what may be the rest of one.
    #[error("it must not hold a user or a password, since messages are signed; write @ and # as %40 and %23")]
    Credentials,
    /// It is not `https`, and leads to another machine.
    #[error("it must be https:// unless it leads to this machine, or plain http is allowed")]
    Plain,
}

impl WebhookUrl {
    /// Parses a URL; `plain` allows `http` to other machines.
    ///
    /// # Errors
    /// [`InvalidUrl`] if the text is not a URL, contains credentials, or would send events unencrypted
    /// without permission.
    pub fn parse(text: &str, plain: bool) -> Result<Self, InvalidUrl> {
        // An unescaped `/`, `?` or `#` ends a password: the part before it would be taken for the host and
        // shown.
        if text.contains(['@', '#']) {
            return Err(InvalidUrl::Credentials);
        }
        let uri: Uri = text.parse().map_err(|_| InvalidUrl::Form)?;
        let host = uri.host().filter(|host| !host.is_empty()).ok_or(InvalidUrl::Form)?;
        match uri.scheme_str() {
            Some("https") => Ok(Self(uri)),
            Some("http") if plain || is_loopback(host) => Ok(Self(uri)),
            Some("http") => Err(InvalidUrl::Plain),
            _ => Err(InvalidUrl::Form),
        }
    }

    /// Whether messages to it are encrypted.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.0.scheme_str() == Some("https")
    }

    pub(crate) const fn uri(&self) -> &Uri {
        &self.0
    }
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
}

impl fmt::Display for WebhookUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let authority = self.0.authority().map_or("", |authority| authority.as_str());
        write!(f, "{}://{authority}", self.0.scheme_str().unwrap_or_default())
    }
}

impl fmt::Debug for WebhookUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WebhookUrl({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_leaves_the_machine_is_encrypted_unless_that_is_allowed() {
        for local in ["http://127.0.0.1:1/x", "http://127.8.8.8", "http://[::1]:80/", "http://LocalHost:9/"] {
            assert!(WebhookUrl::parse(local, false).is_ok_and(|url| !url.is_tls()), "{local}");
        }
        for away in ["http://10.0.0.1/", "http://localhost.example.com/", "http://0.0.0.0/", "http://[::2]/"]
        {
            assert_eq!(WebhookUrl::parse(away, false), Err(InvalidUrl::Plain), "{away}");
            assert!(WebhookUrl::parse(away, true).is_ok(), "{away}");
        }
        assert!(WebhookUrl::parse("https://10.0.0.1:8443/", false).is_ok_and(|url| url.is_tls()));
    }

    #[test]
    fn what_is_no_url_of_a_webhook_is_refused() {
        for text in ["", "/path", "hooks.example.com", "ftp://hooks.example.com/", "https://", "https:///x"] {
            assert_eq!(WebhookUrl::parse(text, true), Err(InvalidUrl::Form), "{text}");
        }
        for rest in
            ["mfa:hunter2@h.example.com", "mfa:hunter2#@h", "mfa:12#hunter2@h", "mfa:12/hunter2@h", "h/x#y"]
        {
            let url = format!("https://{rest}");
            assert_eq!(WebhookUrl::parse(&url, true), Err(InvalidUrl::Credentials), "{url}");
        }
    }

    #[test]
    fn a_path_is_never_shown() {
        let url = WebhookUrl::parse("https://h.example.com:8443/hunter2?token=hunter2", false).unwrap();
        assert_eq!(
            format!("{url} {url:?}"),
            "https://h.example.com:8443 WebhookUrl(https://h.example.com:8443)"
        );
    }
}
