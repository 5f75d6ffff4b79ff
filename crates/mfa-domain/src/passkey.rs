//! Passkeys: WebAuthn credentials, as the domain keeps them.

use std::fmt;
use std::str::FromStr;

use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use thiserror::Error;

use crate::Handle;
use crate::handle::InvalidHandle;

mod response;

pub use response::{AssertionResponse, InvalidCredential, RegistrationResponse};

/// A registered WebAuthn credential, without its [`PublicKey`], which is the sealed secret of its factor. The private
/// key stays in the authenticator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passkey {
    /// The id that the authenticator gave it.
    pub credential_id: CredentialId,
    /// The user handle that it was registered with.
    pub user_handle: UserHandle,
    /// The relying party that it was registered for. No other can use it.
    pub rp_id: String,
    /// The largest signature counter that was accepted. 0 for authenticators without a counter.
    pub sign_count: u32,
    /// The model of the authenticator.
    pub aaguid: Aaguid,
    /// How browsers reach the authenticator, such as `internal`, `hybrid` or `usb`. Empty if the browser did not tell.
    pub transports: Vec<String>,
    /// Whether the authenticator can use it without being given its id; `None` if the browser did not tell.
    pub discoverable: Option<bool>,
    /// Whether the user was verified when it was registered.
    pub user_verified: bool,
    /// Whether it can be on several devices; `None` for an imported one that has not been used.
    pub backup_eligible: Option<bool>,
    /// Whether it was backed up when it was last used.
    pub backed_up: bool,
    /// What is known about the origin of the authenticator.
    pub attestation: Attestation,
}

/// The public key of a credential: a JSON Web Key (RFC 7517) with its `alg`. Only the
/// [`Webauthn`](crate::ports::Webauthn) port reads it.
///
/// It is no secret, but it is kept sealed: otherwise, anyone who can write to the store could put a key there that
/// signs in.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey(String);

impl PublicKey {
    /// A key in its JSON form.
    #[must_use]
    pub fn new(jwk: impl Into<String>) -> Self {
        Self(jwk.into())
    }

    /// The JSON form.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The result of checking an attestation statement (Web Authentication Level 3, 6.5).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attestation {
    /// The format of the statement, such as `packed`; `none` if there was none.
    pub format: String,
    /// Whether its certificate leads to a root that the relying party trusts.
    pub trusted: bool,
}

/// The id of a credential: 1 to 1023 bytes (Web Authentication Level 3, 4, "Credential ID").
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct CredentialId {
    bytes: Vec<u8>,
    /// Leads from the id to its account.
    handle: [Handle; 1],
}

/// The id by which authenticators know a user: 1 to 64 bytes (Web Authentication Level 3, 5.4.3).
///
/// It is random, so that an authenticator does not reveal who its user is.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct UserHandle(Vec<u8>);

/// A user as authenticators know them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PasskeyUser {
    /// The user handle of new passkeys.
    pub handle: UserHandle,
    /// The name that tells accounts apart, such as an e-mail address.
    pub name: String,
    /// The name of the person; empty if there is none.
    pub display_name: String,
}

/// The model of an authenticator (Web Authentication Level 3, 6.5.1). All zeros if the browser hides it.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Aaguid(pub [u8; 16]);

/// Whether an authenticator asks for a PIN or a biometric (Web Authentication Level 3, 5.8.6).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UserVerification {
    /// Without it, the credential is refused.
    Required,
    /// Where the authenticator can. The credential is accepted without.
    #[default]
    Preferred,
    /// Not where it can be avoided.
    Discouraged,
}

/// Whether a new credential can be used without a user name (Web Authentication Level 3, 5.4.6).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ResidentKey {
    /// An authenticator that cannot store it is not offered.
    Required,
    /// Where the authenticator can.
    #[default]
    Preferred,
    /// Not where it can be avoided, such as on security keys with little room.
    Discouraged,
}

/// A credential id or user handle has a length that no authenticator gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("must have 1 to {most} bytes")]
pub struct InvalidLength {
    /// The most bytes that it can have.
    pub most: usize,
}

/// A text is not an AAGUID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("not an AAGUID; it must be a UUID in lower case")]
pub struct InvalidAaguid;

impl CredentialId {
    /// The most bytes of an id.
    pub const MAX_LENGTH: usize = 1023;

    /// The sort of its handle.
    const SORT: &'static str = "credential";

    /// Checks the length.
    ///
    /// # Errors
    /// [`InvalidLength`] outside 1 to 1023 bytes.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Result<Self, InvalidLength> {
        let bytes = bytes.into();
        let handle = Handle::new(Self::SORT, &bytes).map_err(|_| InvalidLength { most: Self::MAX_LENGTH })?;
        Ok(Self { bytes, handle: [handle] })
    }

    /// The id that this handle leads from; `None` if it leads from something else.
    pub(crate) fn from_handle(handle: &Handle) -> Option<Self> {
        let bytes = handle.value_of(Self::SORT)?.to_vec();
        Some(Self { bytes, handle: [handle.clone()] })
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The handle that leads to its account.
    #[must_use]
    pub const fn handle(&self) -> &Handle {
        &self.handle[0]
    }

    /// The same, as a slice.
    pub(crate) const fn handles(&self) -> &[Handle] {
        &self.handle
    }
}

impl UserHandle {
    /// The most bytes of a user handle.
    pub const MAX_LENGTH: usize = 64;

    /// The number of random bytes of a new one.
    pub(crate) const NEW_LENGTH: usize = 32;

    /// Checks the length.
    ///
    /// # Errors
    /// [`InvalidLength`] outside 1 to 64 bytes.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Result<Self, InvalidLength> {
        let bytes = bytes.into();
        let fits = (1..=Self::MAX_LENGTH).contains(&bytes.len());
        if fits { Ok(Self(bytes)) } else { Err(InvalidLength { most: Self::MAX_LENGTH }) }
    }

    /// The handle that leads to its account.
    pub(crate) fn handle(&self) -> Result<Handle, InvalidHandle> {
        Handle::new("user_handle", &self.0)
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// As a UUID in lower case.
impl FromStr for Aaguid {
    type Err = InvalidAaguid;

    fn from_str(text: &str) -> Result<Self, InvalidAaguid> {
        let hex: String = text.chars().filter(|c| *c != '-').collect();
        let bytes = HEXLOWER.decode(hex.as_bytes()).map_err(|_| InvalidAaguid)?;
        let aaguid = Self(bytes.try_into().map_err(|_| InvalidAaguid)?);
        if aaguid.to_string() == text { Ok(aaguid) } else { Err(InvalidAaguid) }
    }
}

impl Aaguid {
    /// Whether the browser hides the model.
    #[must_use]
    pub fn is_hidden(self) -> bool {
        self == Self::default()
    }
}

impl UserVerification {
    /// The value of `userVerification` in options, and in the configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Required => "required",
            Self::Preferred => "preferred",
            Self::Discouraged => "discouraged",
        }
    }
}

impl ResidentKey {
    /// The value of `residentKey` in options, and in the configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Required => "required",
            Self::Preferred => "preferred",
            Self::Discouraged => "discouraged",
        }
    }
}

/// As in JSON: base64url without padding.
impl fmt::Display for CredentialId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE64URL_NOPAD.encode(&self.bytes))
    }
}

impl fmt::Debug for CredentialId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CredentialId({self})")
    }
}

/// As in JSON: base64url without padding.
impl fmt::Display for UserHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE64URL_NOPAD.encode(&self.0))
    }
}

impl fmt::Debug for UserHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UserHandle({self})")
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PublicKey(..)")
    }
}

/// As a UUID.
impl fmt::Display for Aaguid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, byte) in self.0.iter().enumerate() {
            if matches!(place, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Aaguid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Aaguid({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_aaguid_is_read_back_and_only_in_the_form_of_the_registry() {
        let text = "08987058-cadc-4b81-b6e1-30de50dcbe96";
        assert_eq!(text.parse::<Aaguid>().unwrap().to_string(), text);
        for other in
            ["", "08987058cadc4b81b6e130de50dcbe96", "08987058-CADC-4b81-b6e1-30de50dcbe96", "0898-7058"]
        {
            assert_eq!(other.parse::<Aaguid>(), Err(InvalidAaguid), "{other}");
        }
    }

    #[test]
    fn ids_and_handles_have_the_lengths_of_the_standard() {
        for (length, fits) in [(0, false), (1, true), (64, true), (65, false)] {
            assert_eq!(UserHandle::new(vec![1; length]).is_ok(), fits, "{length}");
        }
        for (length, fits) in [(0, false), (1, true), (1023, true), (1024, false)] {
            let id = CredentialId::new(vec![1; length]);
            assert_eq!(id.is_ok(), fits, "{length}");
            assert!(id.is_ok_and(|id| CredentialId::from_handle(id.handle()) == Some(id)) == fits);
        }
        let user = UserHandle::new([1]).unwrap().handle().unwrap();
        assert_eq!(CredentialId::from_handle(&user), None);
    }
}
