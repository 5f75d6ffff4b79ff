//! What a verified assertion says.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// A verified assertion: who was verified, when and how. Only a [`Verifier`](crate::Verifier) makes one.
///
/// `Debug` shows neither the nonce nor the id, by which the assertion could be recognised.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Assertion {
    /// `sub`: the id of the user, as the host gave it.
    pub subject: String,
    /// `tenant`: the tenant that the user belongs to.
    pub tenant: String,
    /// `jti`: no other assertion has it (RFC 7519, 4.1.7).
    pub id: String,
    /// `iat`: when it was signed, in seconds since 1970; a few seconds earlier than that, for hosts whose clock is
    /// behind.
    pub issued_at: u64,
    /// `exp`: from then on no login accepts it, in seconds since 1970.
    pub expires_at: u64,
    /// `auth_time`: when the user was verified, in seconds since 1970 (OIDC Core, 2).
    pub auth_time: u64,
    /// `amr`: the methods of the verification (RFC 8176).
    pub methods: Vec<String>,
    /// `acr`: the assurance of the verification.
    pub acr: Acr,
    /// `factor`: the id of the factor; none for a backup code.
    pub factor: Option<String>,
    /// `nonce`: the session of the host that it is bound to.
    pub nonce: Option<String>,
}

impl fmt::Debug for Assertion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Assertion")
            .field("subject", &self.subject)
            .field("tenant", &self.tenant)
            .field("issued_at", &self.issued_at)
            .field("expires_at", &self.expires_at)
            .field("auth_time", &self.auth_time)
            .field("methods", &self.methods)
            .field("acr", &self.acr)
            .field("factor", &self.factor)
            .finish_non_exhaustive()
    }
}

/// The authentication context class: the assurance of a verification, in ascending order.
///
/// ```
/// use mfa_assertion::Acr;
/// assert!("high".parse::<Acr>()? > Acr::Medium);
/// # Ok::<(), mfa_assertion::UnknownAcr>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Acr {
    /// A code that others may have seen: written down, or sent by e-mail or SMS (NIST SP 800-63B-4, 3.1.2 and 3.1.3).
    Low,
    /// Possession of a device: a one-time password (NIST SP 800-63B-4, 3.1.4).
    Medium,
    /// Possession of a device, and resistance to phishing: a passkey (NIST SP 800-63B-4, 3.2.5).
    High,
}

/// The text is not the name of an [`Acr`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("must be low, medium or high")]
pub struct UnknownAcr;

impl Acr {
    /// All of them, in ascending order.
    pub const ALL: [Self; 3] = [Self::Low, Self::Medium, Self::High];

    /// The value in assertions and in `acr_values`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
        }
    }
}

impl FromStr for Acr {
    type Err = UnknownAcr;

    fn from_str(name: &str) -> Result<Self, UnknownAcr> {
        Self::ALL.into_iter().find(|acr| acr.as_str() == name).ok_or(UnknownAcr)
    }
}

impl fmt::Display for Acr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_acr_is_read_back_by_its_name_and_no_other_name_is_read() {
        for acr in Acr::ALL {
            assert_eq!(acr.to_string().parse(), Ok(acr));
        }
        for name in ["", "High", "high ", "phr"] {
            assert_eq!(name.parse::<Acr>(), Err(UnknownAcr), "{name}");
        }
    }

    #[test]
    fn debug_shows_neither_nonce_nor_id() {
        let assertion = Assertion {
            subject: "alice".to_owned(),
            tenant: "acme".to_owned(),
            id: "the-id".to_owned(),
            issued_at: 1,
            expires_at: 2,
            auth_time: 1,
            methods: vec!["otp".to_owned()],
            acr: Acr::Medium,
            factor: None,
            nonce: Some("the-nonce".to_owned()),
        };
        let shown = format!("{assertion:?}");
        assert!(shown.contains("alice"), "{shown}");
        assert!(!shown.contains("the-id") && !shown.contains("the-nonce"), "{shown}");
    }
}
