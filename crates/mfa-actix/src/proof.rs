//! Proofs: what authorises a change of factors or backup codes.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use mfa_assertion::{Acr, Assertion, Expected, KeySet, Refusal, Verifier};
use mfa_domain::account::{GivenProof, Session, SessionProof};
use mfa_domain::ports::Scope;
use mfa_domain::signing::Nonce;
use mfa_domain::{AccountKey, Assurance, FactorId, Reason, Timestamp};
use serde::Deserialize;
use utoipa::ToSchema;

use crate::assertions::nonce;
use crate::caller::Caller;
use crate::openapi::texts;
use crate::problem::{Problem, ProblemCode};
use crate::state::State;

/// What authorises the change: an assertion as `proof`, or the `reason` of an operator. The body may be left out.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "proof": "eyJhbGciOiJFUzI1NiIs…", "nonce": "f5x_8sBvWq3" }))]
pub(crate) struct ProofRequest {
    #[schema(schema_with = texts::proof, required = false)]
    proof: Option<String>,
    #[schema(schema_with = texts::proof_nonce, required = false)]
    nonce: Option<String>,
    #[schema(schema_with = texts::operators_reason, required = false)]
    reason: Option<String>,
}

/// The members of a body that authorise a change.
#[derive(Clone, Copy)]
pub(crate) struct Given<'a> {
    pub(crate) proof: Option<&'a str>,
    pub(crate) nonce: Option<&'a str>,
    pub(crate) reason: Option<&'a str>,
}

/// What a call brings to authorise its change, as far as it counts.
pub(crate) struct Authorisation {
    proof: Option<GivenProof>,
    /// Why the given proof does not count, if the change still needs one.
    objection: Option<String>,
}

/// Our own published keys, parsed.
#[derive(Clone, Default)]
pub(crate) struct ProofKeys(Arc<Mutex<Option<Parsed>>>);

struct Parsed {
    json: String,
    keys: Arc<KeySet>,
}

impl ProofRequest {
    pub(crate) fn given(&self) -> Given<'_> {
        let Self { proof, nonce, reason } = self;
        Given { proof: proof.as_deref(), nonce: nonce.as_deref(), reason: reason.as_deref() }
    }
}

impl Authorisation {
    /// Reads what a call brings. A wrong proof is no error: it counts for nothing, and the change may need none.
    pub(crate) async fn of(
        state: &State,
        caller: &Caller,
        account: &AccountKey,
        Given { proof, nonce: session, reason }: Given<'_>,
    ) -> Result<Self, Problem> {
        if reason.is_some() && !caller.is_admin {
            return Err(Problem::forbidden(&[Scope::Admin]));
        }
        let session = nonce(session)?;
        match (proof, reason) {
            (Some(_), Some(_)) => Err(Problem::invalid("proof", "is only for a call without reason")),
            (Some(jws), None) => Self::by_assertion(state, account, jws, session.as_ref()).await,
            (None, Some(text)) => {
                let reason = Reason::new(text).map_err(|error| Problem::invalid("reason", error))?;
                Ok(Self { proof: Some(GivenProof::Operator(reason)), objection: None })
            }
            (None, None) => Ok(Self { proof: None, objection: None }),
        }
    }

    async fn by_assertion(
        state: &State,
        account: &AccountKey,
        jws: &str,
        session: Option<&Nonce>,
    ) -> Result<Self, Problem> {
        let AccountKey { tenant, user } = account;
        let issuer = state.tenants.assertion_issuer(tenant);
        let published = if issuer.is_some() { state.mfa.published_keys().await? } else { None };
        let Some((issuer, json)) = issuer.zip(published) else {
            return Ok(Self::nothing("this server signs no assertions"));
        };
        let keys = state.proof_keys.parsed(json)?;
        let audience = state.tenants.assertion_audience(tenant);
        let verifier = Verifier::new(issuer, audience).tenant(tenant.as_str());
        let expected = Expected { subject: user.as_str(), nonce: session.map(Nonce::as_str) };
        let now = state.mfa.ports().clock.now().unix_seconds();
        let checked = verifier.verify_own(&keys, jws, expected, now);
        Ok(match checked.and_then(|assertion| proof_of(account, &assertion)) {
            Ok(proof) => Self {
                proof: Some(GivenProof::Session(proof)),
                objection: Some(objection(
                    "the verification is too old or too weak, or its factor or set of backup codes is gone",
                )),
            },
            Err(refusal) => Self::nothing(refusal),
        })
    }

    fn nothing(why: impl fmt::Display) -> Self {
        Self { proof: None, objection: Some(objection(why)) }
    }

    /// The session, for the change.
    pub(crate) fn session(&self) -> Session<'_> {
        Session { proof: self.proof.as_ref(), nonce: None }
    }

    /// The reason of the operator, if that is what authorises the change.
    pub(crate) fn reason(&self) -> Option<&Reason> {
        match &self.proof {
            Some(GivenProof::Operator(reason)) => Some(reason),
            Some(GivenProof::Session(_)) | None => None,
        }
    }

    /// Adds to a change's problem why the given proof does not count, if a proof is what the change lacks.
    pub(crate) fn explain(&self, problem: Problem) -> Problem {
        match &self.objection {
            Some(why) if problem.code() == ProblemCode::ProofRequired => problem.with_detail(why.clone()),
            _ => problem,
        }
    }
}

impl ProofKeys {
    /// Parses a key set, unless it is the one of the last call.
    fn parsed(&self, json: String) -> Result<Arc<KeySet>, Problem> {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(parsed) = last.as_ref().filter(|parsed| parsed.json == json) {
            return Ok(Arc::clone(&parsed.keys));
        }
        // Never fails: the keys are our own.
        let keys = Arc::new(KeySet::from_json(&json).map_err(|_| ProblemCode::Internal)?);
        *last = Some(Parsed { json, keys: Arc::clone(&keys) });
        Ok(keys)
    }
}

fn objection(why: impl fmt::Display) -> String {
    format!("the proof does not count: {why}")
}

/// The proof that a verified assertion about this account gives.
fn proof_of(account: &AccountKey, assertion: &Assertion) -> Result<SessionProof, Refusal> {
    let factor = assertion.factor.as_deref().map(str::parse::<FactorId>).transpose();
    Ok(SessionProof {
        account: account.clone(),
        at: Timestamp::from_unix_seconds(assertion.auth_time),
        assurance: match assertion.acr {
            Acr::Low => Assurance::Low,
            Acr::Medium => Assurance::Medium,
            Acr::High => Assurance::High,
        },
        factor: factor.map_err(|_| Refusal::Claims)?,
    })
}
