//! One connection to a mail server.

use std::fmt;
use std::time::Duration;

use lettre::transport::smtp::Error as SmtpError;
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{AsyncSmtpConnection, Certificate, TlsParameters};
use lettre::transport::smtp::commands::{Data, Mail as MailFrom, Rcpt};
use lettre::transport::smtp::extension::ClientId;
use lettre::transport::smtp::response::Response;
use mfa_domain::ports::SenderError;
use thiserror::Error;
use tokio::time::timeout;

use crate::message::Mail;
use crate::url::{Encryption, MailServer};

/// The settings that all connections to a mail server share.
pub(crate) struct Smtp {
    server: MailServer,
    tls: TlsParameters,
    /// Our name in EHLO.
    hello: ClientId,
    /// Time limit of one mail, from the first step of connecting to the last reply.
    limit: Duration,
}

/// A connection that carries one mail after the other.
pub(crate) struct Connection(AsyncSmtpConnection);

/// The step of SMTP that a mail has reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Connecting, up to the server's greeting and its list of extensions.
    Connect,
    /// STARTTLS.
    Encrypt,
    /// AUTH.
    LogIn,
    /// MAIL.
    From,
    /// RCPT.
    To,
    /// DATA.
    Data,
    /// The message, and the final reply.
    Message,
}

/// A mail that the server did not accept. It omits the server's text, which often repeats the address.
#[derive(Debug, Error)]
pub(crate) struct NotTaken {
    stage: Stage,
    reply: Option<u16>,
    why: Why,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    /// The server refused the step with `reply`.
    Refused,
    /// There was no reply in time.
    Late,
    /// The connection broke or could not be opened.
    Broken,
    /// The certificate is not valid for this server, or encryption is not available.
    Tls,
    /// The server does not support a feature that we need.
    Client,
    /// The reply does not belong to this step.
    Unexpected,
}

impl Smtp {
    /// `roots` are certificates (PEM) that are trusted in addition to the system's.
    pub(crate) fn new(
        server: MailServer,
        roots: Option<&[u8]>,
        hello: ClientId,
        limit: Duration,
    ) -> Result<Self, SmtpError> {
        let mut tls = TlsParameters::builder(server.host.clone());
        if let Some(roots) = roots {
            tls = tls.add_root_certificate(Certificate::from_pem(roots)?);
        }
        Ok(Self { server, tls: tls.build()?, hello, limit })
    }

    /// Delivers a mail over `open`, or over a new connection. Returns the connection for the next mail.
    pub(crate) async fn deliver(
        &self,
        open: Option<Connection>,
        mail: &Mail,
    ) -> (Result<(), NotTaken>, Option<Connection>) {
        let mut stage = Stage::Connect;
        let delivery = self.try_to_deliver(open, mail, &mut stage);
        let outcome = timeout(self.limit, delivery).await;
        match outcome {
            Ok(Ok(connection)) => (Ok(()), Some(connection)),
            Ok(Err(not_taken)) => (Err(not_taken), None),
            Err(_) => (Err(NotTaken { stage, reply: None, why: Why::Late }), None),
        }
    }

    async fn try_to_deliver(
        &self,
        open: Option<Connection>,
        mail: &Mail,
        stage: &mut Stage,
    ) -> Result<Connection, NotTaken> {
        let mut connection = match open {
            Some(connection) => connection,
            None => self.open(stage).await?,
        };
        let smtp = &mut connection.0;
        *stage = Stage::From;
        step(*stage, 250, smtp.command(MailFrom::new(mail.envelope.from().cloned(), vec![])).await)?;
        *stage = Stage::To;
        for recipient in mail.envelope.to() {
            step(*stage, 250, smtp.command(Rcpt::new(recipient.clone(), vec![])).await)?;
        }
        *stage = Stage::Data;
        step(*stage, 354, smtp.command(Data).await)?;
        *stage = Stage::Message;
        let not_text = |_| NotTaken { stage: Stage::Message, reply: None, why: Why::Client };
        let text = str::from_utf8(&mail.bytes).map_err(not_text)?;
        step(*stage, 250, smtp.command(Content(text)).await)?;
        Ok(connection)
    }

    /// Connects, encrypts and logs in, as the URL says.
    async fn open(&self, stage: &mut Stage) -> Result<Connection, NotTaken> {
        let MailServer { host, port, tls, login } = &self.server;
        let implicit = (*tls == Encryption::Implicit).then(|| self.tls.clone());
        *stage = Stage::Connect;
        let address = (host.as_str(), *port);
        let connecting =
            AsyncSmtpConnection::connect_tokio1(address, Some(self.limit), &self.hello, implicit, None);
        let mut smtp = connecting.await.map_err(|error| NotTaken::at(*stage, &error))?;
        if *tls == Encryption::Required || (*tls == Encryption::Opportunistic && smtp.can_starttls()) {
            *stage = Stage::Encrypt;
            let encrypted = smtp.starttls(self.tls.clone(), &self.hello).await;
            encrypted.map_err(|error| NotTaken { why: Why::Tls, ..NotTaken::at(*stage, &error) })?;
        }
        if let Some(login) = login {
            *stage = Stage::LogIn;
            if *tls == Encryption::Opportunistic && !smtp.is_encrypted() {
                return Err(NotTaken { stage: *stage, reply: None, why: Why::Tls });
            }
            let credentials = Credentials::new(login.user.clone(), login.password.as_str().to_owned());
            let mechanisms = [Mechanism::Plain, Mechanism::Login];
            step(*stage, 235, smtp.auth(&mechanisms, &credentials).await)?;
        }
        Ok(Connection(smtp))
    }
}

impl Connection {
    /// Sends QUIT and closes. Does not wait long for a server that does not reply.
    pub(crate) async fn close(mut self) {
        const GOODBYE: Duration = Duration::from_secs(1);
        let _ = timeout(GOODBYE, self.0.quit()).await;
    }

    /// Whether the server still replies.
    pub(crate) async fn is_alive(&mut self) -> bool {
        const ANSWER: Duration = Duration::from_secs(5);
        timeout(ANSWER, self.0.test_connected()).await.unwrap_or(false)
    }
}

/// A mail as it follows DATA: dots doubled (RFC 5321, 4.5.2) and the end mark included, as one write. With
/// the end mark in a second write, Nagle's algorithm and delayed acknowledgements would cost 40 ms.
struct Content<'a>(&'a str);

impl fmt::Display for Content<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in self.0.split_inclusive("\r\n") {
            f.write_str(if line.starts_with('.') { "." } else { "" })?;
            f.write_str(line)?;
        }
        f.write_str(if self.0.ends_with("\r\n") { ".\r\n" } else { "\r\n.\r\n" })
    }
}

/// Accepts only the expected code. Another one may be the late reply to an earlier step.
fn step(stage: Stage, expected: u16, answer: Result<Response, SmtpError>) -> Result<(), NotTaken> {
    match answer {
        Ok(response) if response.has_code(expected) => Ok(()),
        Ok(response) => Err(NotTaken { stage, reply: Some(response.code().into()), why: Why::Unexpected }),
        Err(error) => Err(NotTaken::at(stage, &error)),
    }
}

impl NotTaken {
    fn at(stage: Stage, error: &SmtpError) -> Self {
        let reply = error.status().map(u16::from);
        let why = if reply.is_some() {
            Why::Refused
        } else if error.is_timeout() {
            Why::Late
        } else if error.is_tls() {
            Why::Tls
        } else if error.is_client() {
            Why::Client
        } else {
            Why::Broken
        };
        Self { stage, reply, why }
    }

    /// Whether the cause is the server and not this mail, so that every other mail would fail as well.
    pub(crate) fn is_about_the_server(&self) -> bool {
        matches!(self.stage, Stage::Connect | Stage::Encrypt | Stage::LogIn | Stage::From)
    }

    pub(crate) fn step(&self) -> &'static str {
        match self.stage {
            Stage::Connect => "connect",
            Stage::Encrypt => "starttls",
            Stage::LogIn => "auth",
            Stage::From => "mail",
            Stage::To => "rcpt",
            Stage::Data => "data",
            Stage::Message => "message",
        }
    }

    /// Whether the server refused this mail for good, so that another try is useless.
    pub(crate) fn is_final(&self) -> bool {
        let is_about_this_mail = matches!(self.stage, Stage::To | Stage::Data | Stage::Message);
        is_about_this_mail && self.reply.is_some_and(|reply| (500..600).contains(&reply))
    }

    fn may_have_been_taken(&self) -> bool {
        self.stage == Stage::Message && self.why != Why::Refused
    }
}

/// Maps the result of a try to what the caller needs to know to try again.
impl From<NotTaken> for SenderError {
    fn from(not_taken: NotTaken) -> Self {
        if not_taken.is_final() {
            Self::refused(not_taken)
        } else if not_taken.may_have_been_taken() {
            Self::unknown(not_taken)
        } else {
            Self::not_sent(not_taken)
        }
    }
}

impl fmt::Display for NotTaken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let step = match self.stage {
            Stage::Connect => "connecting to the mail server",
            Stage::Encrypt => "STARTTLS",
            Stage::LogIn => "logging in to the mail server",
            Stage::From => "the sender address (MAIL)",
            Stage::To => "the recipient address (RCPT)",
            Stage::Data => "starting the message (DATA)",
            Stage::Message => "sending the message",
        };
        match (self.why, self.reply) {
            (Why::Refused, Some(reply)) => write!(f, "{step}: the server replied {reply}"),
            (Why::Unexpected, Some(reply)) => write!(f, "{step}: unexpected reply {reply}"),
            (Why::Late, _) => write!(f, "{step}: no reply in time"),
            (Why::Tls, _) => write!(f, "{step}: TLS failed, or the certificate is not trusted"),
            (Why::Client, _) => write!(f, "{step}: the server lacks a required extension"),
            _ => write!(f, "{step}: the connection failed"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn not_taken(stage: Stage, reply: Option<u16>, why: Why) -> SenderError {
        NotTaken { stage, reply, why }.into()
    }

    #[test]
    fn only_an_answer_about_this_mail_is_final_and_only_silence_after_the_message_is_unknown() {
        for stage in [Stage::To, Stage::Data, Stage::Message] {
            assert!(
                matches!(not_taken(stage, Some(550), Why::Refused), SenderError::Refused(_)),
                "{stage:?}"
            );
            assert!(
                matches!(not_taken(stage, Some(451), Why::Refused), SenderError::NotSent(_)),
                "{stage:?}"
            );
        }
        for stage in [Stage::Connect, Stage::Encrypt, Stage::LogIn, Stage::From] {
            assert!(
                matches!(not_taken(stage, Some(554), Why::Refused), SenderError::NotSent(_)),
                "{stage:?}"
            );
        }
        for why in [Why::Late, Why::Broken, Why::Unexpected] {
            assert!(matches!(not_taken(Stage::Data, None, why), SenderError::NotSent(_)), "{why:?}");
            assert!(matches!(not_taken(Stage::Message, None, why), SenderError::Unknown(_)), "{why:?}");
        }
    }

    #[test]
    fn no_line_of_a_mail_ends_it() {
        for (mail, sent) in [
            ("a\r\n.\r\n..b\r\nc.\r\n", "a\r\n..\r\n...b\r\nc.\r\n.\r\n"),
            (".a", "..a\r\n.\r\n"),
            ("", "\r\n.\r\n"),
        ] {
            assert_eq!(Content(mail).to_string(), sent, "{mail}");
        }
    }

    #[test]
    fn only_the_answer_that_belongs_to_a_step_is_a_yes() {
        let answered =
            |stage, expected, answer: &str| step(stage, expected, answer.parse()).map_err(SenderError::from);
        assert!(answered(Stage::Message, 250, "250 2.0.0 queued\r\n").is_ok());
        assert!(answered(Stage::Data, 354, "354 go on\r\n").is_ok());
        // A late reply to an earlier step, or one that promises no delivery.
        for answer in ["354 go on\r\n", "251 2.1.5 will forward\r\n", "221 2.0.0 bye\r\n", "220 hello\r\n"] {
            assert!(
                matches!(answered(Stage::Message, 250, answer), Err(SenderError::Unknown(_))),
                "{answer}"
            );
            assert!(matches!(answered(Stage::To, 250, answer), Err(SenderError::NotSent(_))), "{answer}");
        }
        let told = step(Stage::Data, 354, "250 2.1.5 ok\r\n".parse()).unwrap_err().to_string();
        assert!(told.ends_with(": unexpected reply 250"), "{told}");
    }

    #[test]
    fn what_went_wrong_is_told_without_what_the_server_said() {
        let told = not_taken(Stage::LogIn, Some(535), Why::Refused);
        let source = std::error::Error::source(&told).unwrap().to_string();
        assert_eq!(source, "logging in to the mail server: the server replied 535");
    }
}
