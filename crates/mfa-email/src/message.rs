//! One mail, as it is handed over.

use std::time::{Duration, SystemTime};

use lettre::address::Envelope;
use lettre::message::header::{ContentTransferEncoding, HeaderName, HeaderValue};
use lettre::message::{Body, Mailbox, MultiPart};
use mfa_domain::Timestamp;
use zeroize::Zeroizing;

use crate::dkim::{DkimSigner, Unsigned};
use crate::recipient::Recipient;
use crate::templates::Rendered;

/// A mail on its way out. It has a code in it, and no `Debug`.
pub(crate) struct Mail {
    pub(crate) envelope: Envelope,
    /// Header and body (RFC 5322).
    pub(crate) bytes: Zeroizing<Vec<u8>>,
}

impl Mail {
    /// Puts a mail together. `id` is unique: the left side of its `Message-ID`.
    ///
    /// `To` is in angle brackets and `Message-ID` in the domain of `From`, since spam filters count other forms against a
    /// mail.
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
            // No answer of a machine to it (RFC 3834, 5).
            .raw_header(header("Auto-Submitted", "auto-generated".to_owned()))
            .envelope(Envelope::new(Some(from.email.clone()), vec![to.address().clone()])?)
            .multipart(MultiPart::alternative_plain_html(body(&text), body(&html)))?;
        Ok(Self { envelope: message.envelope().clone(), bytes: Zeroizing::new(message.formatted()) })
    }

    /// The same mail, signed.
    pub(crate) fn signed(self, signer: &DkimSigner, at: Timestamp) -> Result<Self, Unsigned> {
        Ok(Self { bytes: signer.sign(&self.bytes, at)?, ..self })
    }
}

/// A part in an encoding that leaves a code as it is: never base64, whatever the script.
fn body(text: &str) -> Body {
    let body = Body::new(text.to_owned());
    if body.encoding() != ContentTransferEncoding::Base64 {
        return body;
    }
    Body::new_with_encoding(text.to_owned(), ContentTransferEncoding::QuotedPrintable).unwrap_or(body)
}
