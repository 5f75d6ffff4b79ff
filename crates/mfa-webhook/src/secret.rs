//! Signing secrets.

use std::fmt;

use data_encoding::BASE64;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use thiserror::Error;
use zeroize::Zeroizing;

/// The secrets of one webhook: one, or two while it is being replaced.
///
/// The text has one secret per line in the form of Standard Webhooks: `whsec_` and 24 to 64 random bytes in
/// base64. A message is signed with each secret, so the receiver may know either.
///
/// ```
/// use mfa_webhook::SigningSecrets;
/// let secrets = SigningSecrets::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n")?;
/// let signed = secrets.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#);
/// assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
/// # Ok::<(), mfa_webhook::InvalidSecrets>(())
/// ```
pub struct SigningSecrets(Vec<Zeroizing<Vec<u8>>>);

/// The text is not one or two signing secrets. The error never quotes the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum InvalidSecrets {
    /// There is no secret, or more than two.
    #[error("there must be one secret, or two on two lines")]
    Number,
    /// A secret does not have the required form.
    #[error("a secret must be whsec_ and 24 to 64 bytes in base64")]
    Form,
}

impl SigningSecrets {
    const PREFIX: &str = "whsec_";

    /// Reads secrets, one per line; empty lines are ignored.
    ///
    /// # Errors
    /// [`InvalidSecrets`] if there are none or too many, or one has another form.
    pub fn parse(text: &str) -> Result<Self, InvalidSecrets> {
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let secrets = lines.map(Self::parse_one).collect::<Result<Vec<_>, _>>()?;
        if (1..=2).contains(&secrets.len()) { Ok(Self(secrets)) } else { Err(InvalidSecrets::Number) }
    }

    fn parse_one(line: &str) -> Result<Zeroizing<Vec<u8>>, InvalidSecrets> {
        let text = line.strip_prefix(Self::PREFIX).ok_or(InvalidSecrets::Form)?;
        let bytes = BASE64.decode(text.as_bytes()).map_err(|_| InvalidSecrets::Form)?;
        let bytes = Zeroizing::new(bytes);
        if (24..=64).contains(&bytes.len()) { Ok(bytes) } else { Err(InvalidSecrets::Form) }
    }

    /// The value of the header `webhook-signature`: the signature with each secret, separated by spaces.
    ///
    /// Neither the id nor the time may contain a full stop, or one message could pass for another.
    #[must_use]
    pub fn sign(&self, id: &str, unix_seconds: u64, body: &[u8]) -> String {
        let signatures = self.0.iter().filter_map(|secret| {
            // HMAC accepts a key of any length, so this is always `Some`.
            let mut mac = Hmac::<Sha256>::new_from_slice(secret).ok()?;
            mac.update(format!("{id}.{unix_seconds}.").as_bytes());
            mac.update(body);
            Some(format!("v1,{}", BASE64.encode(&mac.finalize().into_bytes())))
        });
        signatures.collect::<Vec<_>>().join(" ")
    }
}

impl fmt::Debug for SigningSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningSecrets(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const OTHER: &str = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

    #[test]
    fn while_a_secret_is_replaced_both_sign() {
        let sign = |text: &str| SigningSecrets::parse(text).unwrap().sign("id", 1, b"{}");
        assert_eq!(sign(&format!("{ONE}\n\n {OTHER} \n")), format!("{} {}", sign(ONE), sign(OTHER)));
        assert_ne!(sign(ONE), sign(OTHER));
    }

    #[test]
    fn everything_is_signed() {
        let secrets = SigningSecrets::parse(ONE).unwrap();
        let signature = secrets.sign("id", 1, b"{}");
        for other in
            [secrets.sign("ie", 1, b"{}"), secrets.sign("id", 2, b"{}"), secrets.sign("id", 1, b"[]")]
        {
            assert_ne!(signature, other);
        }
    }

    #[test]
    fn what_is_no_secret_is_refused_and_not_told() {
        for (text, error) in [
            ("", InvalidSecrets::Number),
            ("\n\n", InvalidSecrets::Number),
            (&format!("{ONE}\n{OTHER}\n{ONE}"), InvalidSecrets::Number),
            ("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", InvalidSecrets::Form),
            ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS", InvalidSecrets::Form),
            ("whsec_c2hvcnQ=", InvalidSecrets::Form),
            (&format!("whsec_{}", BASE64.encode(&[1; 65])), InvalidSecrets::Form),
        ] {
            assert_eq!(SigningSecrets::parse(text).unwrap_err(), error, "{text}");
        }
        assert!(SigningSecrets::parse(&format!("whsec_{}", BASE64.encode(&[1; 64]))).is_ok());
        assert_eq!(format!("{:?}", SigningSecrets::parse(ONE).unwrap()), "SigningSecrets(..)");
    }
}
