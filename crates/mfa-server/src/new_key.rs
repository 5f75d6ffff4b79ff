//! A new API key, as operators see it.

use std::fmt;

use mfa_actix::api_key::PlainApiKey;
use mfa_domain::ports::{ApiKey, Scope, Scopes};

/// An API key that was just created. Its display includes the meaning of its scopes, and the key itself, which is
/// shown only this once.
#[derive(Debug)]
pub(crate) struct NewKey {
    pub(crate) plain: PlainApiKey,
    /// The stored record, with a hash of the key.
    pub(crate) record: ApiKey,
}

impl fmt::Display for NewKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ApiKey { id, name, tenant, scopes, .. } = &self.record;
        write!(f, "API key {id}")?;
        if let Some(name) = name {
            // In the form of the audit trail.
            write!(f, " ({name})")?;
        }
        let (key, scopes) = (self.plain.expose(), meaning(scopes));
        write!(f, " of tenant {tenant}, shown only once:\n\n  {key}\n\nScopes: {scopes}.")
    }
}

/// The permissions of a key with these scopes, in one line.
fn meaning(scopes: &Scopes) -> String {
    let of_one = |scope: &Scope| match scope {
        Scope::Verify => "verify sends and checks codes",
        Scope::Enrol => "enrol manages factors and backup codes",
        Scope::Admin => {
            "admin unlocks, resets and erases users, imports secrets and changes factors without a fresh verification"
        }
        Scope::Audit => "audit reads the audit trail",
    };
    scopes.iter().map(of_one).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scope_is_explained_by_its_name() {
        for scope in Scope::ALL {
            assert!(meaning(&[scope].into()).starts_with(&format!("{scope} ")));
        }
        assert_eq!(meaning(&Scope::ALL.into()).matches("; ").count(), 3);
    }
}
