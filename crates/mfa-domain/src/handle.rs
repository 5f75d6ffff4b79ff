//! Handles that lead to an account without its user id.

use std::fmt;

use data_encoding::BASE64URL_NOPAD;
use thiserror::Error;

/// A value that leads to an account when the user is not known, such as the credential id of a passkey.
///
/// It belongs to one account of its tenant. A [`Delta`](crate::Delta) claims and releases it, a store keeps it
/// unique, and [`AccountStore::find`](crate::ports::AccountStore::find) returns its account.
///
/// ```
/// use mfa_domain::Handle;
/// let handle = Handle::new("credential", &[7; 32])?;
/// assert_ne!(handle, Handle::new("user", &[7; 32])?);
/// # Ok::<(), mfa_domain::handle::InvalidHandle>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Handle(Vec<u8>);

impl Handle {
    /// The longest value, in bytes: the maximum of a credential id (Web Authentication, 4).
    pub const MAX_LENGTH: usize = 1023;

    /// The longest name of a sort, in bytes.
    const MAX_SORT: usize = 32;

    /// Makes a handle. `sort` is a name of lower-case letters and `_`; handles of different sorts are never equal.
    ///
    /// # Errors
    /// [`InvalidHandle`] if the sort is not such a name of 1 to 32 bytes, or the value does not have 1 to 1,023
    /// bytes.
    pub fn new(sort: &str, value: &[u8]) -> Result<Self, InvalidHandle> {
        let named = (1..=Self::MAX_SORT).contains(&sort.len())
            && sort.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
        if !named || !(1..=Self::MAX_LENGTH).contains(&value.len()) {
            return Err(InvalidHandle);
        }
        Ok(Self([sort.as_bytes(), b":", value].concat()))
    }

    /// The bytes under which a store keeps it.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The value, if the handle is of this sort.
    pub(crate) fn value_of(&self, sort: &str) -> Option<&[u8]> {
        self.0.strip_prefix(sort.as_bytes())?.strip_prefix(b":")
    }

    /// Parses the bytes of [`as_bytes`](Self::as_bytes).
    ///
    /// # Errors
    /// [`InvalidHandle`] if they are not a handle.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, InvalidHandle> {
        let colon = bytes.iter().position(|byte| *byte == b':').ok_or(InvalidHandle)?;
        let (sort, value) = (&bytes[..colon], &bytes[colon + 1..]);
        Self::new(str::from_utf8(sort).map_err(|_| InvalidHandle)?, value)
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Handle({})", BASE64URL_NOPAD.encode(&self.0))
    }
}

/// The sort or value is not allowed in a handle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a handle must have a name of lower-case letters and a value of 1 to 1023 bytes")]
pub struct InvalidHandle;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handles_are_read_back_and_nothing_else_is() {
        for value in [&[0][..], b":", &[255; Handle::MAX_LENGTH]] {
            let handle = Handle::new("user_handle", value).unwrap();
            assert_eq!(Handle::from_bytes(handle.as_bytes()), Ok(handle));
        }
        for (sort, value) in [("", &[1][..]), ("A", &[1]), ("a:", &[1]), ("a", &[]), ("a", &[0; 1024])] {
            assert_eq!(Handle::new(sort, value), Err(InvalidHandle), "{sort}");
        }
        assert_eq!(Handle::new(&"a".repeat(33), &[1]), Err(InvalidHandle));
        for bytes in [&b"credential"[..], b":1", b"a:", b"\xff:1", b""] {
            assert_eq!(Handle::from_bytes(bytes), Err(InvalidHandle), "{bytes:?}");
        }
    }
}
