//! Settings of tenants.

use crate::TenantId;

/// The settings that apply to a tenant. So far, every setting applies to all tenants.
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
    /// Sets the issuer: 1 to 256 bytes without a colon.
    #[must_use]
    pub fn with_issuer(self, issuer: impl Into<String>) -> Self {
        Self { issuer: Some(issuer.into()) }
    }

    /// The issuer that authenticator apps show for a tenant's users, unless the caller names another: the setting, or
    /// the tenant id.
    #[must_use]
    pub fn issuer<'a>(&'a self, tenant: &'a TenantId) -> &'a str {
        self.issuer.as_deref().unwrap_or(tenant.as_str())
    }
}
