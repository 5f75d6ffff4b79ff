//! The checks of an assertion.

use std::fmt;
use std::time::Duration;

use crate::claims::Claims;
use crate::json::Text;
use crate::jws::Jws;
use crate::{Assertion, KeySet, Refusal};

/// The tolerance for clocks that differ, if the host names none.
const LEEWAY: u64 = 5;

/// The most leeway: as long as an assertion lives.
const MAX_LEEWAY: u64 = 60;

/// Checks assertions of one issuer for one audience. The issuer and the audience are configuration, never taken from
/// the assertion.
#[derive(Clone, Debug)]
pub struct Verifier {
    issuer: String,
    audience: String,
    tenant: Option<String>,
    /// In seconds.
    leeway: u64,
}

/// Who must have been verified, and for which session.
///
/// `Debug` does not show the nonce, since it may be what identifies the session.
#[derive(Clone, Copy)]
pub struct Expected<'a> {
    /// The id of the user in the host's own session, never one that came with the assertion.
    pub subject: &'a str,
    /// The nonce of the host's session, which the host gave with the verification. `None` if it gave none: then an
    /// assertion with a nonce is refused.
    pub nonce: Option<&'a str>,
}

impl fmt::Debug for Expected<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Expected").field("subject", &self.subject).finish_non_exhaustive()
    }
}

impl Verifier {
    /// Expects `iss` and `aud`: by default the base URL of the server, and the tenant.
    #[must_use]
    pub fn new(issuer: impl Into<String>, audience: impl Into<String>) -> Self {
        Self { issuer: issuer.into(), audience: audience.into(), tenant: None, leeway: LEEWAY }
    }

    /// Expects a tenant too. Needed where several tenants have one audience, since each of them has its own users: by
    /// default the audience is the tenant.
    #[must_use]
    pub fn tenant(self, tenant: impl Into<String>) -> Self {
        Self { tenant: Some(tenant.into()), ..self }
    }

    /// The tolerance for clocks that differ, in whole seconds, for `exp`, `iat` and `nbf`. Default 5 seconds, at most
    /// 60.
    #[must_use]
    pub fn leeway(self, leeway: Duration) -> Self {
        Self { leeway: leeway.as_secs().min(MAX_LEEWAY), ..self }
    }

    /// Checks an assertion completely, to accept a login or a step-up: signature, type, issuer, audience, subject,
    /// times and nonce. `now` is in seconds since 1970.
    ///
    /// # Errors
    /// With the first reason to refuse it. Nothing in it may be believed then.
    pub fn verify(
        &self,
        keys: &KeySet,
        jws: &str,
        expected: Expected<'_>,
        now: u64,
    ) -> Result<Assertion, Refusal> {
        let assertion = self.check(keys, jws, expected.subject, now)?;
        check_nonce(&assertion, expected.nonce)?;
        // RFC 7519, 4.1.4: not "on or after" it.
        if now >= assertion.expires_at.saturating_add(self.leeway) {
            return Err(Refusal::Expired);
        }
        Ok(assertion)
    }

    /// As [`verify`](Self::verify), for an assertion that a session has kept: `exp` is not looked at, because it only
    /// limits how long a login may accept the assertion. Check its age by [`StepUp`](crate::StepUp). The nonce of the
    /// session is required, since the assertion would prove as much in any other session.
    ///
    /// An issuer publishes a key for one hour after the next one began to sign; an assertion older than that may be
    /// [`Refusal::UnknownKey`].
    ///
    /// # Errors
    /// As [`verify`](Self::verify), and [`Refusal::NonceRequired`] without an expected nonce.
    pub fn verify_kept(
        &self,
        keys: &KeySet,
        jws: &str,
        expected: Expected<'_>,
        now: u64,
    ) -> Result<Assertion, Refusal> {
        if expected.nonce.is_none() {
            return Err(Refusal::NonceRequired);
        }
        let assertion = self.check(keys, jws, expected.subject, now)?;
        check_nonce(&assertion, expected.nonce)?;
        Ok(assertion)
    }

    /// As [`verify_kept`](Self::verify_kept), for the issuer itself, to which a host presents the assertion of one of
    /// its sessions: without an expected nonce, any is accepted.
    ///
    /// Only the issuer may use it, since it knows no sessions and relies on the host to present no assertion of
    /// another one. A host that uses it takes the assertion of one session for that of another.
    ///
    /// # Errors
    /// As [`verify`](Self::verify).
    pub fn verify_own(
        &self,
        keys: &KeySet,
        jws: &str,
        expected: Expected<'_>,
        now: u64,
    ) -> Result<Assertion, Refusal> {
        let assertion = self.check(keys, jws, expected.subject, now)?;
        if expected.nonce.is_some() {
            check_nonce(&assertion, expected.nonce)?;
        }
        Ok(assertion)
    }

    /// Everything but `exp` and the nonce.
    fn check(&self, keys: &KeySet, jws: &str, subject: &str, now: u64) -> Result<Assertion, Refusal> {
        let jws = Jws::parse(jws)?;
        let header = jws.header()?;
        let key = keys.find(&header.kid).ok_or(Refusal::UnknownKey)?;
        key.verify(header.algorithm, jws.signed.as_bytes(), &jws.signature()?)?;
        let json = jws.claims()?;
        let claims = Claims::from_json(&json)?;
        self.check_parties(&claims, subject)?;
        self.check_times(&claims, now)?;
        claims.into_assertion()
    }

    fn check_parties(&self, claims: &Claims<'_>, subject: &str) -> Result<(), Refusal> {
        if !is(text(claims.iss.as_ref()), &self.issuer) {
            Err(Refusal::Issuer)
        } else if !is(claims.audience(), &self.audience) {
            Err(Refusal::Audience)
        } else if self.tenant.as_ref().is_some_and(|tenant| !is(Some(claims.tenant.as_str()), tenant)) {
            Err(Refusal::Tenant)
        } else if !is(text(claims.sub.as_ref()), subject) {
            Err(Refusal::Subject)
        } else {
            Ok(())
        }
    }

    fn check_times(&self, claims: &Claims<'_>, now: u64) -> Result<(), Refusal> {
        let latest = now.saturating_add(self.leeway);
        // The issuer dates `iat` back but not `auth_time`, which therefore has the most leeway in any case. One
        // further ahead would pass as recent for longer than it is.
        if claims.iat > latest || claims.auth_time > now.saturating_add(MAX_LEEWAY) {
            Err(Refusal::DatedAhead)
        } else if claims.nbf.is_some_and(|nbf| nbf > latest) {
            Err(Refusal::NotYetValid)
        } else {
            Ok(())
        }
    }
}

/// Compares the session that an assertion is bound to.
fn check_nonce(assertion: &Assertion, expected: Option<&str>) -> Result<(), Refusal> {
    match (expected, assertion.nonce.as_deref()) {
        (Some(expected), nonce) if !is(nonce, expected) => Err(Refusal::Nonce),
        (None, Some(_)) => Err(Refusal::NonceUnexpected),
        _ => Ok(()),
    }
}

fn text<'a>(claim: Option<&'a Text<'_>>) -> Option<&'a str> {
    claim.map(Text::as_str)
}

/// Whether a claim is what is expected. Nothing is never expected: a host that has no value to compare with is not to
/// be taken for one that expects the empty text.
fn is(claim: Option<&str>, expected: &str) -> bool {
    !expected.is_empty() && claim == Some(expected)
}
