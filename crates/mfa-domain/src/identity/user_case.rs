//! Case sensitivity of user ids.

use std::str::FromStr;

use thiserror::Error;

use super::{InvalidId, UserId};

/// Whether user ids that differ only in the case of ASCII letters are different users. The first API key of a tenant
/// fixes it for the tenant ([`ApiKeyStore`](crate::ports::ApiKeyStore)).
///
/// The edge folds an id as soon as it has parsed it. The folded id is used everywhere, also in answers and events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum UserCase {
    /// Ids are compared exactly.
    #[default]
    Exact,
    /// ASCII letters are folded to lower case. Other letters are left alone, since hosts and databases disagree about
    /// their case.
    Fold,
}

impl UserCase {
    /// Folds an id of the host.
    ///
    /// ```
    /// use mfa_domain::{UserCase, UserId};
    /// let id = UserId::new("Älice@Example.com")?;
    /// assert_eq!(UserCase::Fold.id(id.clone())?.as_str(), "Älice@example.com");
    /// assert_eq!(UserCase::Exact.id(id.clone())?, id);
    /// # Ok::<(), mfa_domain::identity::InvalidId>(())
    /// ```
    ///
    /// # Errors
    /// [`InvalidId`] if the folded text is not in Normalization Form C: a few capitals (H, J, T, W, Y) stand beside a
    /// mark that composes with their lower-case letter.
    pub fn id(self, id: UserId) -> Result<UserId, InvalidId> {
        match self {
            Self::Exact => Ok(id),
            Self::Fold => UserId::new(&id.as_str().to_ascii_lowercase()).map_err(|_| InvalidId {
                what: "user",
                rule: "in Normalization Form C also with lower-case ASCII letters",
            }),
        }
    }

    /// The stable name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Fold => "fold",
        }
    }
}

impl FromStr for UserCase {
    type Err = UnknownUserCase;

    fn from_str(name: &str) -> Result<Self, UnknownUserCase> {
        [Self::Exact, Self::Fold].into_iter().find(|case| case.as_str() == name).ok_or(UnknownUserCase)
    }
}

/// The name is not a [`UserCase`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("not a user case; it must be exact or fold")]
pub struct UnknownUserCase;

#[cfg(test)]
mod tests {
    use super::*;

    fn folded(id: &str) -> Option<String> {
        let id = UserCase::Fold.id(UserId::new(id).unwrap()).ok()?;
        Some(id.as_str().to_owned())
    }

    #[test]
    fn only_ascii_letters_fold() {
        for (id, expected) in [
            ("Alice", "alice"),
            ("CORP\\Ann", "corp\\ann"),
            ("aZ09[]^_`{|}~@", "az09[]^_`{|}~@"),
            ("Älice", "Älice"),
            ("İSTANBUL", "İstanbul"),
            ("STRAẞE", "straẞe"),
            ("ΑΛΙΚΗ", "ΑΛΙΚΗ"),
        ] {
            assert_eq!(folded(id).as_deref(), Some(expected));
        }
    }

    #[test]
    fn what_folds_to_no_id_is_refused() {
        for id in ["H\u{331}", "J\u{30c}", "T\u{308}", "W\u{30a}", "Y\u{30a}"] {
            assert_eq!(folded(id), None, "{id:?}");
        }
    }
}
