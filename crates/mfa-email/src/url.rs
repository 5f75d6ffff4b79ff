//! URLs of mail servers and mail folders.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;

use percent_encoding::percent_decode_str;
use thiserror::Error;
use url::{Host, Url};
use zeroize::Zeroizing;

/// Where mails go: a mail server, or a folder for trials. `Display` and `Debug` show no password.
///
/// ```
/// use mfa_email::EmailUrl;
/// let url: EmailUrl = "smtp://app:p%40ss@mail.example.com".parse()?;
/// assert_eq!(url.to_string(), "smtp://mail.example.com:587?tls=required");
/// assert!("smtp://mail.example.com?tls=none".parse::<EmailUrl>().is_err());
/// # Ok::<(), mfa_email::InvalidEmailUrl>(())
/// ```
#[derive(Clone)]
pub enum EmailUrl {
    /// `smtp://` and `smtps://`.
    Server(MailServer),
    /// `file:DIR`: each mail becomes a file there, readable by its owner only.
    Folder(PathBuf),
}

/// A mail server, and how to connect to it.
#[derive(Clone)]
pub struct MailServer {
    /// Its host name or address. The certificate must be valid for it.
    pub host: String,
    /// The port. Default: 587 for `smtp`, 465 for `smtps`.
    pub port: u16,
    /// How the connection is encrypted.
    pub tls: Encryption,
    /// The login, if the server requires one.
    pub login: Option<Login>,
}

/// The login at a mail server.
#[derive(Clone)]
pub struct Login {
    /// The user name.
    pub user: String,
    /// The password.
    pub password: Zeroizing<String>,
}

/// How a connection to a mail server is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encryption {
    /// TLS from the first byte (RFC 8314, 3.3): `smtps`.
    Implicit,
    /// STARTTLS (RFC 3207); a server without it receives no mail. The default of `smtp`.
    Required,
    /// STARTTLS if the server offers it. A password is only sent encrypted.
    Opportunistic,
    /// No encryption; only for a server on this machine.
    None,
}

/// A text that is not a valid mail URL. The message shows nothing of the text, which may contain a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum InvalidEmailUrl {
    /// The text is not a URL.
    #[error(
        "not a URL; in a user name or password `#`, `/`, `?`, `@`, `:` and `%` are written %23, %2F, %3F, %40, %3A and %25"
    )]
    NoUrl,
    /// The scheme is not supported.
    #[error("not smtp://HOST, smtps://HOST or file:DIR")]
    Scheme,
    /// The URL has an unknown parameter.
    #[error("unknown parameter; the only one is tls")]
    Parameter,
    /// The value of `tls` is not supported.
    #[error("tls must be required, opportunistic or none, and absent with smtps://")]
    Tls,
    /// Mail would leave the machine unencrypted.
    #[error("tls=none is for a mail server on this machine: localhost, 127.0.0.1 or [::1]")]
    NotEncrypted,
    /// Only one of user name and password is given.
    #[error("give both a user name and a password, or neither")]
    Login,
    /// The URL of a mail server has a path or fragment.
    #[error("the URL of a mail server has no path or fragment")]
    Path,
}

impl FromStr for EmailUrl {
    type Err = InvalidEmailUrl;

    fn from_str(text: &str) -> Result<Self, InvalidEmailUrl> {
        if let Some(folder) = text.strip_prefix("file:") {
            let folder = folder.strip_prefix("//").unwrap_or(folder);
            return if folder.is_empty() {
                Err(InvalidEmailUrl::NoUrl)
            } else {
                Ok(Self::Folder(folder.into()))
            };
        }
        let url = Url::parse(text).map_err(|_| InvalidEmailUrl::NoUrl)?;
        let (tls, port) = match url.scheme() {
            "smtp" => (Encryption::Required, 587),
            "smtps" => (Encryption::Implicit, 465),
            _ => return Err(InvalidEmailUrl::Scheme),
        };
        if !matches!(url.path(), "" | "/") || url.fragment().is_some() {
            return Err(InvalidEmailUrl::Path);
        }
        let host = url.host_str().filter(|host| !host.is_empty()).ok_or(InvalidEmailUrl::NoUrl)?;
        // For a scheme that the URL standard does not define, the parser keeps the host as written.
        let host = match Host::parse(host).map_err(|_| InvalidEmailUrl::NoUrl)? {
            Host::Ipv6(address) => address.to_string(),
            host => host.to_string(),
        };
        let tls = encryption(&url, tls)?;
        if tls == Encryption::None && !is_here(&host) {
            return Err(InvalidEmailUrl::NotEncrypted);
        }
        let login = login(&url)?;
        Ok(Self::Server(MailServer { host, port: url.port().unwrap_or(port), tls, login }))
    }
}

fn encryption(url: &Url, usual: Encryption) -> Result<Encryption, InvalidEmailUrl> {
    let mut tls = usual;
    for (name, value) in url.query_pairs() {
        if name != "tls" {
            return Err(InvalidEmailUrl::Parameter);
        }
        tls = match &*value {
            _ if usual == Encryption::Implicit => return Err(InvalidEmailUrl::Tls),
            "required" => Encryption::Required,
            "opportunistic" => Encryption::Opportunistic,
            "none" => Encryption::None,
            _ => return Err(InvalidEmailUrl::Tls),
        };
    }
    Ok(tls)
}

fn login(url: &Url) -> Result<Option<Login>, InvalidEmailUrl> {
    let plain = |text: &str| {
        percent_decode_str(text)
            .decode_utf8()
            .map(std::borrow::Cow::into_owned)
            .map_err(|_| InvalidEmailUrl::NoUrl)
    };
    match (url.username(), url.password()) {
        ("", None) => Ok(None),
        ("", Some(_)) | (_, None) => Err(InvalidEmailUrl::Login),
        (user, Some(password)) => {
            Ok(Some(Login { user: plain(user)?, password: Zeroizing::new(plain(password)?) }))
        }
    }
}

/// Whether a host is this machine.
fn is_here(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost") || host.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

impl fmt::Display for EmailUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Server(server) => server.fmt(f),
            Self::Folder(folder) => write!(f, "file:{}", folder.display()),
        }
    }
}

impl fmt::Debug for EmailUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for MailServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, tls) = match self.tls {
            Encryption::Implicit => ("smtps", ""),
            Encryption::Required => ("smtp", "?tls=required"),
            Encryption::Opportunistic => ("smtp", "?tls=opportunistic"),
            Encryption::None => ("smtp", "?tls=none"),
        };
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        write!(f, "{scheme}://{host}:{}{tls}", self.port)
    }
}

impl fmt::Debug for MailServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Login(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(text: &str) -> MailServer {
        match text.parse() {
            Ok(EmailUrl::Server(server)) => server,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn what_is_usual_is_left_out() {
        for (text, shown) in [
            ("smtp://mail.example.com", "smtp://mail.example.com:587?tls=required"),
            ("smtp://mail.example.com/", "smtp://mail.example.com:587?tls=required"),
            ("smtps://mail.example.com", "smtps://mail.example.com:465"),
            ("smtps://mail.example.com:2465", "smtps://mail.example.com:2465"),
            ("smtp://mail.example.com?tls=opportunistic", "smtp://mail.example.com:587?tls=opportunistic"),
            ("smtp://localhost:25?tls=none", "smtp://localhost:25?tls=none"),
            ("smtp://127.0.0.1:25?tls=none", "smtp://127.0.0.1:25?tls=none"),
            ("smtp://[::1]:25?tls=none", "smtp://[::1]:25?tls=none"),
            ("file:mails", "file:mails"),
            ("file:///var/mails", "file:/var/mails"),
        ] {
            assert_eq!(text.parse::<EmailUrl>().unwrap().to_string(), shown);
        }
    }

    #[test]
    fn a_login_is_read_and_never_shown() {
        let server = server("smtp://app%40example.com:p%40ss%2Fword@mail.example.com");
        let login = server.login.clone().unwrap();
        assert_eq!((login.user.as_str(), login.password.as_str()), ("app@example.com", "p@ss/word"));
        let shown = format!("{server} {server:?} {login:?}");
        assert!(!shown.contains("ss") && !shown.contains("app"), "{shown}");
    }

    #[test]
    fn what_cannot_work_is_refused_by_name() {
        for (text, error) in [
            ("", InvalidEmailUrl::NoUrl),
            ("mail.example.com", InvalidEmailUrl::NoUrl),
            ("smtp://", InvalidEmailUrl::NoUrl),
            ("file:", InvalidEmailUrl::NoUrl),
            ("http://mail.example.com", InvalidEmailUrl::Scheme),
            ("smtp://mail.example.com?ssl=yes", InvalidEmailUrl::Parameter),
            ("smtp://mail.example.com?tls=maybe", InvalidEmailUrl::Tls),
            ("smtps://mail.example.com?tls=none", InvalidEmailUrl::Tls),
            ("smtp://mail.example.com?tls=none", InvalidEmailUrl::NotEncrypted),
            ("smtp://localhost.example.com?tls=none", InvalidEmailUrl::NotEncrypted),
            ("smtp://192.0.2.1?tls=none", InvalidEmailUrl::NotEncrypted),
            ("smtp://app@mail.example.com", InvalidEmailUrl::Login),
            ("smtp://:secret@mail.example.com", InvalidEmailUrl::Login),
            ("smtp://mail.example.com/inbox", InvalidEmailUrl::Path),
            ("smtp://app:pa#ss@mail.example.com", InvalidEmailUrl::NoUrl),
        ] {
            assert_eq!(text.parse::<EmailUrl>().err(), Some(error), "{text}");
        }
    }
}
