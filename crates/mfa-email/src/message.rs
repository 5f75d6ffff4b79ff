//! One mail, ready to be transmitted.

use std::time::{Duration, SystemTime};

use lettre::address::Envelope;
use lettre::message::header::{ContentTransferEncoding, HeaderName, HeaderValue};
use lettre::message::{Body, Mailbox, MultiPart};
use mfa_domain::Timestamp;
use zeroize::Zeroizing;

use crate::dkim::{DkimSigner, Unsigned};
use crate::recipient::Recipient;
use crate::templates::Rendered;

/// An outgoing mail. It contains a code, so it has no `Debug`.
pub(crate) struct Mail {
    pub(crate) envelope: Envelope,
    /// Header and body (RFC 5322).
    pub(crate) bytes: Zeroizing<Vec<u8>>,
}

impl Mail {
    /// Assembles a mail. `id` is unique: the left side of `Message-ID`.
    ///
    /// `To` is in angle brackets and `Message-ID` in the domain of `From`, because spam filters penalise
    /// other forms.
    pub(crate) fn new(
        from: &Mailbox,
        to: &Recipient,
        text: Rendered,
        at: Timestamp,
        id: &str,
    ) -> Result<Self, lettre::error::Error> {
        let Rendered { subject, text, html } = text;
        let header = |name, value| HeaderValue::new(HeaderName::new_from_ascii_str(name), value);
        let message = lettre::Message::builder()
            .from(from.clone())
            .raw_header(header("To", format!("<{}>", to.address())))
            .subject(subject.as_str())
            .date(SystemTime::UNIX_EPOCH + Duration::from_millis(at.unix_millis()))
            .message_id(Some(format!("<{id}@{}>", from.email.domain())))
            // Asks programs not to send automatic replies (RFC 3834, 5).
            .raw_header(header("Auto-Submitted", "auto-generated".to_owned()))
            .envelope(Envelope::new(Some(from.email.clone()), vec![to.address().clone()])?)
            .multipart(MultiPart::alternative_plain_html(body(&text), body(&html)))?;
        Ok(Self { envelope: message.envelope().clone(), bytes: Zeroizing::new(message.formatted()) })
    }

    /// Signs the mail.
    pub(crate) fn signed(self, signer: &DkimSigner, at: Timestamp) -> Result<Self, Unsigned> {
        Ok(Self { bytes: signer.sign(&self.bytes, at)?, ..self })
    }
}

/// A part in an encoding that leaves a code readable: never base64, whatever the script.
fn body(text: &str) -> Body {
    let body = Body::new(text.to_owned());
    if body.encoding() != ContentTransferEncoding::Base64 {
        return body;
    }
    Body::new_with_encoding(text.to_owned(), ContentTransferEncoding::QuotedPrintable).unwrap_or(body)
}
