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
    assertion_issuer: Option<String>,
    assertion_audience: Option<String>,
}

impl TenantSettings {
    /// Sets the issuer that authenticator apps show: 1 to 256 bytes without a colon.
    #[must_use]
    pub fn with_issuer(self, issuer: impl Into<String>) -> Self {
        Self { issuer: Some(issuer.into()), ..self }
    }

    /// Sets who signs assertions (`iss`; RFC 7519, 4.1.1), usually the URL of the server, and so turns them on. An
    /// empty text turns them off.
    ///
    /// Over HTTP, the proof of a change is an assertion. Without an issuer and
    /// [`Ports::signing_keys`](crate::Ports::signing_keys), set
    /// [`ProofScope::Account`](crate::policy::ProofScope::Account), or users with a factor can change none.
    #[must_use]
    pub fn with_assertion_issuer(self, issuer: impl Into<String>) -> Self {
        Self { assertion_issuer: given(issuer), ..self }
    }

    /// Sets whom assertions are for (`aud`; RFC 7519, 4.1.3). An empty text sets the default, the tenant id.
    #[must_use]
    pub fn with_assertion_audience(self, audience: impl Into<String>) -> Self {
        Self { assertion_audience: given(audience), ..self }
    }

    /// The issuer that authenticator apps show for a tenant's users, unless the caller names another: the setting, or
    /// the tenant id.
    #[must_use]
    pub fn issuer<'a>(&'a self, tenant: &'a TenantId) -> &'a str {
        self.issuer.as_deref().unwrap_or(tenant.as_str())
    }

    /// The `iss` of assertions about a tenant's users; `None` if none are signed. There is no default: hosts accept
    /// assertions by it.
    #[must_use]
    pub fn assertion_issuer(&self, _: &TenantId) -> Option<&str> {
        self.assertion_issuer.as_deref()
    }

    /// The `aud` of assertions about a tenant's users: the setting, or the tenant id.
    ///
    /// ```
    /// # use mfa_domain::{TenantId, TenantSettings};
    /// let acme = TenantId::new("acme")?;
    /// let settings = TenantSettings::default().with_assertion_issuer("https://mfa.example.com");
    /// assert_eq!(settings.assertion_audience(&acme), "acme");
    /// assert_eq!(settings.with_assertion_audience("shop").assertion_audience(&acme), "shop");
    /// # Ok::<(), mfa_domain::identity::InvalidId>(())
    /// ```
    #[must_use]
    pub fn assertion_audience<'a>(&'a self, tenant: &'a TenantId) -> &'a str {
        self.assertion_audience.as_deref().unwrap_or(tenant.as_str())
    }

    /// Whether assertions are signed for any tenant.
    #[must_use]
    pub const fn signs_assertions(&self) -> bool {
        self.assertion_issuer.is_some()
    }
}

/// `None` for an empty text.
fn given(text: impl Into<String>) -> Option<String> {
    Some(text.into()).filter(|text| !text.is_empty())
}
