//! What an operator sets, and for whom.

use crate::TenantId;

/// The one place that says what holds for a tenant. What is set here holds for every tenant, so far.
///
/// ```
/// use mfa_domain::{TenantId, TenantSettings};
/// let acme = TenantId::new("acme")?;
/// assert_eq!(TenantSettings::default().issuer(&acme), "acme");
/// assert_eq!(TenantSettings::default().with_issuer("Example").issuer(&acme), "Example");
/// # Ok::<(), mfa_domain::identity::InvalidId>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TenantSettings {
    issuer: Option<String>,
}

impl TenantSettings {
    /// With that issuer, of 1 to 256 bytes and without a colon.
    #[must_use]
    pub fn with_issuer(self, issuer: impl Into<String>) -> Self {
        Self { issuer: Some(issuer.into()) }
    }

    /// Who authenticator apps say that the codes of a tenant's users are for, unless the caller names somebody: what was
    /// set, or the tenant.
    #[must_use]
    pub fn issuer<'a>(&'a self, tenant: &'a TenantId) -> &'a str {
        self.issuer.as_deref().unwrap_or(tenant.as_str())
    }
}
