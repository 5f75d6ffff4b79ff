//! Signed assertions: what a host gets with a verification, so that it need not trust the body of an answer.

use mfa_domain::mfa::AssertionKey;
use mfa_domain::signing::{AssertionClaims, InvalidNonce, Nonce};
use mfa_domain::{AccountKey, TenantId, Verification};

use crate::problem::{Problem, ProblemCode};
use crate::state::State;

/// An assertion to be signed once the user is verified.
pub(crate) struct Unsigned {
    /// `None` if nothing is signed.
    key: Option<AssertionKey>,
    nonce: Option<Nonce>,
}

impl Unsigned {
    /// Gets the key. Call it before the verification, so that a missing key uses up no code.
    pub(crate) async fn prepare(
        state: &State,
        tenant: &TenantId,
        nonce: Option<Nonce>,
    ) -> Result<Self, Problem> {
        if state.tenants.assertion_issuer(tenant).is_none() {
            return Ok(Self { key: None, nonce });
        }
        // A host that was promised assertions must not get verifications without one.
        let key = state.mfa.assertion_key().await?.ok_or(ProblemCode::Unavailable)?;
        Ok(Self { key: Some(key), nonce })
    }

    /// Signs the assertion about a verification; `None` if nothing is signed.
    pub(crate) fn sign(
        &self,
        state: &State,
        account: &AccountKey,
        verification: &Verification,
    ) -> Result<Option<String>, Problem> {
        let issuer = state.tenants.assertion_issuer(&account.tenant);
        let Some((issuer, key)) = issuer.zip(self.key.as_ref()) else { return Ok(None) };
        let audience = state.tenants.assertion_audience(&account.tenant);
        let nonce = self.nonce.as_ref();
        let claims = AssertionClaims { issuer, audience, account, verification, nonce };
        Ok(Some(state.mfa.sign_assertion(key, &claims)?))
    }
}

/// Parses the member `nonce` of a body.
pub(crate) fn nonce(text: Option<&str>) -> Result<Option<Nonce>, Problem> {
    let nonce: Result<Option<Nonce>, InvalidNonce> = text.map(str::parse).transpose();
    nonce.map_err(|error| Problem::invalid("nonce", error))
}
