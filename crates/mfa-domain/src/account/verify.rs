//! Decisions about codes: what a code is compared with, and the effect.

use otp_core::{Code, Secret};
use thiserror::Error;

use super::{
    Account, BackupCodes, BackupCodesChange, Claim, CodeHash, Context, Decision, Draft, Factor, Verification,
};
use crate::audit::EventKind;
use crate::policy::Standing;
use crate::ports::CredentialRefusal;
use crate::sealed::Sealed;
use crate::{FactorId, SubmittedCode, Timestamp};

/// The answer to a submitted code or another claim.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Verdict<T = Verified> {
    /// It was right and is used up.
    Accepted(T),
    /// It was not accepted.
    Rejected(CodeRejection),
}

impl<T> Verdict<T> {
    /// Applies `of` to the accepted value.
    pub fn map<U>(self, of: impl FnOnce(T) -> U) -> Verdict<U> {
        self.and_then(|accepted| Verdict::Accepted(of(accepted)))
    }

    /// Goes on with the accepted value.
    pub(crate) fn and_then<U>(self, next: impl FnOnce(T) -> Verdict<U>) -> Verdict<U> {
        match self {
            Self::Accepted(accepted) => next(accepted),
            Self::Rejected(rejection) => Verdict::Rejected(rejection),
        }
    }

    /// Turns a rejection into an error, for use with `?`.
    ///
    /// # Errors
    /// The [`CodeRejection`].
    pub fn into_result(self) -> Result<T, CodeRejection> {
        match self {
            Self::Accepted(accepted) => Ok(accepted),
            Self::Rejected(rejection) => Err(rejection),
        }
    }
}

/// The result of an accepted login code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// How the user was verified.
    pub verification: Verification,
    /// The remaining backup codes, if the code was one.
    pub backup_codes: Option<BackupCodesLeft>,
}

/// The rest of a set of backup codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackupCodesLeft {
    /// The number of unspent codes.
    pub remaining: usize,
    /// Whether to tell the user to get new ones.
    pub low: bool,
}

/// Why a code was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CodeRejection {
    /// It was evaluated and is wrong. It cost an attempt.
    #[error("the code is not valid")]
    Invalid,
    /// It was evaluated and is used up. It is not a guess, so it cost nothing. Show the user the same message as for
    /// [`Invalid`](Self::Invalid).
    #[error("the code is not valid")]
    Replayed {
        /// The factor that had accepted it; `None` for a backup code.
        factor: Option<FactorId>,
    },
    /// It does not have the form of any code of this user. It cost nothing, since it can never match.
    #[error("the code does not have the form of any code of this user")]
    Malformed,
    /// It was not evaluated: the budget is spent.
    #[error("locked")]
    Locked {
        /// When codes are evaluated again.
        until: Timestamp,
    },
    /// It was not evaluated: after too many failures in a row the factors must be bound again.
    #[error("disabled")]
    Disabled,
    /// The user has no active factor.
    #[error("the user has no active factor")]
    NotEnrolled,
    /// The factor to confirm is already active.
    #[error("the factor is already active")]
    AlreadyActive,
    /// No factor with this id is in the required state, or it belongs to another user.
    #[error("no such factor")]
    UnknownFactor,
    /// The challenge does not exist, or belongs to another user or caller, or has another purpose.
    #[error("no such challenge")]
    UnknownChallenge,
    /// The challenge was answered, denied or cancelled, failed too often, or has expired.
    #[error("the challenge is over")]
    ChallengeOver,
    /// What a passkey returned was refused. It cost nothing, since nothing can be guessed.
    #[error("the passkey was refused: {0}")]
    Credential(CredentialRefusal),
    /// The passkey is in no account of the tenant. Only an answer to a challenge without a user is told so.
    #[error("the passkey is in no account")]
    UnknownCredential,
    /// The challenge has reached its limit of resends
    /// ([`ChallengePolicy::max_resends`](crate::policy::ChallengePolicy::max_resends)). The last code is still good;
    /// begin another challenge to send another code.
    #[error("the challenge has reached its limit of resends")]
    NoResendLeft {
        /// When the challenge expires.
        until: Timestamp,
    },
}

/// What a code is compared with.
#[derive(Debug)]
pub(crate) enum Candidates<'a> {
    /// The active factors that generate codes of this form.
    Factors(Vec<&'a Factor>),
    /// The set of backup codes.
    BackupCodes(&'a BackupCodes),
}

/// The results of slow ports between load and decision.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Evidence<'a> {
    /// The secrets of the candidates.
    Secrets(&'a [OpenSecret]),
    /// The hash of the submitted backup code under the scheme of the set.
    Hash(&'a CodeHash),
    /// Whether a code answers the challenge that it was sent for.
    Finding(Finding),
}

/// The result of comparing an answer with its challenge. A right answer has already ended the challenge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Finding {
    /// The answer is right.
    Right,
    /// The answer is wrong.
    Wrong,
}

/// The opened secret of a factor.
#[derive(Debug)]
pub(crate) struct OpenSecret {
    /// The factor.
    pub factor: FactorId,
    /// The sealed form that was opened.
    pub sealed: Sealed,
    /// The secret in plain text.
    pub secret: Secret,
    /// The resealed form, if the vault has a newer key.
    pub resealed: Option<Sealed>,
}

/// A secret that was resealed with a newer key.
#[derive(Debug)]
pub(crate) struct Resealed {
    /// The factor of the secret.
    pub factor: FactorId,
    /// The sealed form that was read.
    pub before: Sealed,
    /// The sealed form to store.
    pub after: Sealed,
}

impl Account {
    /// Selects what a code is compared with.
    ///
    /// Called before any secret is opened or hash computed, so that a locked account costs neither.
    ///
    /// # Errors
    /// The [`CodeRejection`] of a code that is not evaluated. Nothing changes.
    pub(crate) fn candidates(
        &self,
        context: Context<'_>,
        code: &SubmittedCode,
        named: Option<FactorId>,
    ) -> Result<Candidates<'_>, CodeRejection> {
        if !self.is_enrolled() {
            return Err(CodeRejection::NotEnrolled);
        }
        let claim = Claim::from(code);
        self.check_standing(context, &claim)?;
        if let Some(id) = named
            && !self.factor(id).is_some_and(Factor::is_active)
        {
            return Err(CodeRejection::UnknownFactor);
        }
        match code {
            SubmittedCode::OneTimePassword(_) => {
                let takes = |factor: &&Factor| factor.takes(&claim) && named.is_none_or(|id| id == factor.id);
                let factors: Vec<_> = self.active_factors().filter(takes).collect();
                if factors.is_empty() {
                    Err(CodeRejection::Malformed)
                } else {
                    Ok(Candidates::Factors(factors))
                }
            }
            // Such a code is only valid as the answer to a challenge.
            SubmittedCode::Sent(_) => Err(CodeRejection::Malformed),
            SubmittedCode::Backup(_) => match &self.backup_codes {
                Some(codes) if named.is_none() => Ok(Candidates::BackupCodes(codes)),
                _ => Err(CodeRejection::Malformed),
            },
        }
    }

    /// Decides about a code. A right one is used up and ends the row of failures; a used one changes nothing; a wrong
    /// one costs an attempt and may lock the account.
    pub(crate) fn verify(
        &self,
        context: Context<'_>,
        code: &SubmittedCode,
        named: Option<FactorId>,
        evidence: &Evidence<'_>,
    ) -> Decision<Verdict> {
        let candidates = match self.candidates(context, code, named) {
            Ok(candidates) => candidates,
            Err(rejection) => return Decision::without_change(Verdict::Rejected(rejection)),
        };
        let mut draft = self.draft(context);
        let refused = match &candidates {
            Candidates::Factors(factors) => factors.clone(),
            Candidates::BackupCodes(_) => Vec::new(),
        };
        let outcome = match (candidates, code, evidence) {
            (
                Candidates::Factors(factors),
                SubmittedCode::OneTimePassword(code),
                Evidence::Secrets(secrets),
            ) => accept_otp(&mut draft, &factors, secrets, code, context),
            (Candidates::BackupCodes(codes), SubmittedCode::Backup(_), Evidence::Hash(hash)) => {
                accept_backup_code(&mut draft, codes, hash, context)
            }
            _ => Err(CodeRejection::Invalid),
        };
        let verdict = match outcome {
            Ok(verified) => {
                draft.attempts().succeed(verified.verification.assurance, context.now);
                Verdict::Accepted(verified)
            }
            Err(rejection @ CodeRejection::Replayed { .. }) => {
                return Decision::without_change(Verdict::Rejected(rejection));
            }
            Err(rejection) => {
                draft.fail(named, code.form());
                draft.tell_of_ahead(&refused);
                Verdict::Rejected(rejection)
            }
        };
        Decision { answer: verdict, delta: draft.finish() }
    }

    /// Checks whether `claim` may be evaluated.
    pub(super) fn check_standing(
        &self,
        context: Context<'_>,
        claim: &Claim<'_>,
    ) -> Result<(), CodeRejection> {
        match context.policies.lockout.judge(&self.attempts).at(context.now) {
            Standing::Disabled => Err(CodeRejection::Disabled),
            Standing::LockedUntil(until) if claim.can_be_guessed() => Err(CodeRejection::Locked { until }),
            Standing::LockedUntil(_) | Standing::Open => Ok(()),
        }
    }
}

impl Draft<'_> {
    /// Stores `factor` with its resealed secret.
    pub(super) fn put_resealed(&mut self, factor: Factor, sealed: &Sealed) {
        self.record(EventKind::SecretResealed, Some(factor.id), [("key", sealed.key.to_string())]);
        self.put(Factor { sealed: Some(sealed.clone()), ..factor });
    }

    /// Charges a failure to every budget.
    pub(super) fn fail(&mut self, factor: Option<FactorId>, form: &str) {
        let Context { now, policies, .. } = self.context;
        self.attempts.fail(now);
        self.record(EventKind::VerificationFailed, factor, [("form", form.to_owned())]);
        match policies.lockout.judge(&self.attempts).at(now) {
            Standing::Open => {}
            Standing::LockedUntil(until) => {
                self.record(EventKind::Locked, None, [("until", until.to_string())]);
            }
            Standing::Disabled => self.record(EventKind::Disabled, None, []),
        }
    }
}

impl OpenSecret {
    /// Finds the opened secret of `factor`, if the factor still has the secret that was opened.
    pub(super) fn of<'a>(secrets: &'a [Self], factor: &Factor) -> Option<&'a Self> {
        secrets.iter().find(|open| open.factor == factor.id && factor.sealed.as_ref() == Some(&open.sealed))
    }

    /// Stores `factor`, with its resealed secret if there is one.
    fn put(&self, draft: &mut Draft<'_>, factor: Factor) {
        match &self.resealed {
            Some(resealed) => draft.put_resealed(factor, resealed),
            None => draft.put(factor),
        }
    }
}

impl Evidence<'_> {
    /// Stores `factor`, with its resealed secret if it was opened and resealed.
    pub(super) fn put(&self, draft: &mut Draft<'_>, factor: Factor) {
        let open = match self {
            Self::Secrets(secrets) => OpenSecret::of(secrets, &factor),
            Self::Hash(_) | Self::Finding(_) => None,
        };
        match open {
            Some(open) => open.put(draft, factor),
            None => draft.put(factor),
        }
    }
}

/// Evaluates every candidate, for accepted and for used codes, so that the time does not reveal which one matched.
/// Every candidate that matches uses up the code, so that it cannot be used again with another.
fn accept_otp(
    draft: &mut Draft<'_>,
    factors: &[&Factor],
    secrets: &[OpenSecret],
    code: &Code,
    context: Context<'_>,
) -> Result<Verified, CodeRejection> {
    let policy = context.policies.verification.as_ref();
    let mut verified = Err(CodeRejection::Invalid);
    for factor in factors {
        // A factor whose secret is not open matches nothing.
        let Some(open) = OpenSecret::of(secrets, factor) else { continue };
        let accepted = factor.accepting(code, &open.secret, context.now, policy);
        let used = factor.has_used(code, &open.secret, context.now, policy);
        if let Some(accepted) = accepted {
            if verified.is_err() {
                let verification = Verification::by_factor(factor, context.now);
                draft.record(
                    EventKind::Verified,
                    Some(factor.id),
                    [("factor_kind", verification.kind.clone())],
                );
                verified = Ok(Verified { verification, backup_codes: None });
            }
            open.put(draft, accepted);
        } else if used && verified == Err(CodeRejection::Invalid) {
            verified = Err(CodeRejection::Replayed { factor: Some(factor.id) });
        }
    }
    verified
}

fn accept_backup_code(
    draft: &mut Draft<'_>,
    codes: &BackupCodes,
    hash: &CodeHash,
    context: Context<'_>,
) -> Result<Verified, CodeRejection> {
    let place = codes.place(hash).ok_or(CodeRejection::Invalid)?;
    if codes.is_spent(place) {
        return Err(CodeRejection::Replayed { factor: None });
    }
    let remaining = codes.remaining() - 1;
    draft.backup_codes(BackupCodesChange::Spend { place, at: context.now });
    let detail = [("factor_kind", "backup_code".to_owned()), ("remaining", remaining.to_string())];
    draft.record(EventKind::Verified, None, detail);
    let low = context.policies.backup_codes.is_low(remaining);
    let backup_codes = Some(BackupCodesLeft { remaining, low });
    Ok(Verified { verification: Verification::by_backup_code(context.now), backup_codes })
}
