//! Enrolling a factor.

use std::fmt;

use otp_core::uri::{self, Name};
use otp_core::{
    CompatibilityWarning, Hotp, Secret, SecretError, SecretWarning, Strength, Token, Totp, UriError,
};
use zeroize::Zeroizing;

use super::challenges::Asked;
use super::secrets::OpenSecrets;
use super::{AcceptedPasskeys, Call, EnrolError, Mfa, PlainBackupCodes, Undecided};
use crate::account::{
    Account, Authenticator, CodeRejection, Codes, Context, Decision, Evidence, Factor, FactorKind,
    FactorState, HotpDevice, PolicyDenial, TotpDevice, Verdict,
};
use crate::ports::Commit;
use crate::sealed::SealContext;
use crate::text::visible;
use crate::{AccountKey, FactorId, Label, Purpose, Reason, Timestamp, UserId};

/// A factor to enrol.
///
/// ```
/// use mfa_domain::Label;
/// use mfa_domain::mfa::NewFactor;
///
/// let phone =
///     NewFactor { issuer: Some("Example".to_owned()), ..NewFactor::totp(Label::new("Work phone")?) };
/// # let _ = phone;
/// # Ok::<(), mfa_domain::text::InvalidText>(())
/// ```
#[derive(Debug)]
pub struct NewFactor {
    /// The user's name for the factor.
    pub label: Label,
    /// TOTP or HOTP, with its parameters.
    pub token: Token,
    /// The issuer that the authenticator app shows; no colon.
    pub issuer: Option<String>,
    /// The account name that the app shows; no colon. Default: the user id.
    pub account_name: Option<String>,
    /// An existing secret, of a hardware token or from another system; `None` to generate one.
    ///
    /// An existing secret is checked under the tolerant rules ([`Strength::Verify`]). Codes that a removed factor of
    /// this user accepted with the same secret stay used: the new factor takes over its last step, and its counter if
    /// that is larger than the one in `token`.
    pub secret: Option<Secret>,
    /// An active factor that is removed when this one is confirmed.
    pub replaces: Option<FactorId>,
}

/// An offered factor. This is the only place that shows the secret.
#[derive(Debug)]
pub struct Enrolment {
    /// The factor: pending, or active if it was imported.
    pub factor: Factor,
    /// The secret of the factor.
    pub secret: Secret,
    /// The `otpauth` URI for the authenticator app. Contains the secret.
    pub uri: Zeroizing<String>,
    /// Warnings for the user.
    pub warnings: Vec<EnrolmentWarning>,
}

/// A parameter that works, but has a drawback.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EnrolmentWarning {
    /// The secret is shorter than a generated one.
    Secret(SecretWarning),
    /// Some authenticator apps show wrong codes for these parameters.
    Compatibility(CompatibilityWarning),
}

/// The result of an accepted first code. The code is used up.
#[derive(Debug)]
pub struct Confirmation {
    /// The factor, which is now active.
    pub factor: Factor,
    /// The backup codes that are issued with the first active factor.
    pub backup_codes: Option<PlainBackupCodes>,
    /// The accepted passkeys, if the factor is a passkey.
    pub passkeys: Option<AcceptedPasskeys>,
}

impl NewFactor {
    /// A factor with a generated secret.
    #[must_use]
    pub const fn new(label: Label, token: Token) -> Self {
        Self { label, token, issuer: None, account_name: None, secret: None, replaces: None }
    }

    /// A TOTP factor with the parameters that every authenticator app supports: SHA-1, 6 digits, 30 seconds.
    #[must_use]
    pub fn totp(label: Label) -> Self {
        Self::new(label, Token::Totp(Totp::default()))
    }

    /// An HOTP factor with SHA-1 and 6 digits. Its first counter is 0.
    #[must_use]
    pub fn hotp(label: Label) -> Self {
        Self::new(label, Token::Hotp { hotp: Hotp::default(), counter: 0 })
    }
}

impl Mfa {
    /// Offers a factor. It protects nothing until [`Mfa::confirm`] accepts its first code.
    ///
    /// # Errors
    /// [`EnrolError`] if the secret or a name cannot be used, if the account or a policy refuses the factor, or if a
    /// port failed. Nothing was changed.
    pub async fn begin_enrolment(
        &self,
        key: &AccountKey,
        call: impl Into<Call<'_, Enrolment>>,
        new: NewFactor,
    ) -> Result<Enrolment, EnrolError> {
        self.enrol(key, call.into(), new, |account, context, factor| {
            Ok(Decision { answer: factor.clone(), delta: account.begin_enrolment(context, factor)? })
        })
        .await
    }

    /// Imports an active factor, such as a hardware token that the user already has. The user may have others.
    ///
    /// Only an operator may import. The audit trail keeps the `reason`. The next code of the user is accepted without
    /// a confirmation.
    ///
    /// # Errors
    /// As [`Mfa::begin_enrolment`], and [`SecretError::Empty`] if `new` has no secret and
    /// [`PolicyDenial::OperatorsOnly`] if the caller is not an operator.
    pub async fn import_factor(
        &self,
        key: &AccountKey,
        call: impl Into<Call<'_, Enrolment>>,
        new: NewFactor,
        reason: &Reason,
    ) -> Result<Enrolment, EnrolError> {
        if new.secret.is_none() {
            return Err(SecretError::Empty.into());
        }
        self.enrol(key, call.into(), new, |account, context, factor| account.import(context, factor, reason))
            .await
    }

    /// Makes a factor, and commits the account's decision about it.
    async fn enrol(
        &self,
        key: &AccountKey,
        call: Call<'_, Enrolment>,
        new: NewFactor,
        decide: impl Fn(&Account, Context<'_>, Factor) -> Result<Decision<Factor>, PolicyDenial>,
    ) -> Result<Enrolment, EnrolError> {
        let NewFactor { label, token, issuer, account_name, secret, replaces } = new;
        let (secret, strength) = match secret {
            Some(given) => (given, Strength::Verify),
            None => (self.fresh_secret(&token)?, Strength::Enrol),
        };
        let mut warnings: Vec<_> =
            secret.check(strength)?.into_iter().map(EnrolmentWarning::Secret).collect();
        warnings.extend(uri::compatibility(&token).into_iter().map(EnrolmentWarning::Compatibility));
        let account_name = account_name.unwrap_or_else(|| account_name_of(&key.user));
        for (text, name) in
            issuer.iter().map(|issuer| (issuer, Name::Issuer)).chain([(&account_name, Name::Account)])
        {
            if !text.chars().all(visible) {
                return Err(UriError::ControlCharacter(name).into());
            }
        }
        let uri = uri::build(&token, issuer.as_deref(), &account_name, &secret)?;

        let created_at = self.ports.clock.now();
        let id = self.fresh_factor_id(created_at)?;
        let kind = kind(&token);
        let sealed = self
            .ports
            .vault
            .seal(secret.expose(), &SealContext::Factor { account: key, factor: id, kind: &kind })
            .await
            .map_err(Undecided::from)?;
        let authenticator = match token {
            Token::Totp(totp) => Authenticator::Totp(TotpDevice::new(totp)),
            Token::Hotp { counter, .. } if counter > HotpDevice::MAX_COUNTER => {
                return Err(PolicyDenial::CounterTooLarge.into());
            }
            Token::Hotp { hotp, counter } => Authenticator::Hotp(HotpDevice { hotp, counter }),
        };
        let expires_at = created_at.plus(self.policies.enrolment.pending_lifetime());
        let state = FactorState::Pending { expires_at, replaces };
        let sealed = Some(sealed);
        let factor = Factor { id, label, state, created_at, last_used_at: None, sealed, authenticator };

        let mut enrolment = Enrolment { factor: factor.clone(), secret, uri, warnings };
        let mut others = OpenSecrets::default();
        let mut change = self.begin(key, &call).await;
        loop {
            let (account, context) = change.load().await?;
            // A refusal comes before any secret is opened.
            drop(decide(&account, context, factor.clone())?);
            self.refuse_duplicate(key, &account, context.now, &enrolment.secret, &mut others).await?;
            let mut factor = factor.clone();
            if strength == Strength::Verify {
                let opened = others.open(self, key, account.gone_factors(context.now)).await?;
                factor = account.past_used_codes(context, factor, &enrolment.secret, opened);
                if let Some(token) = factor.token() {
                    enrolment.uri = uri::build(&token, issuer.as_deref(), &account_name, &enrolment.secret)?;
                }
            }
            let Decision { answer, delta } = decide(&account, context, factor)?;
            enrolment.factor = answer;
            if change.commit_delta(delta, &enrolment, call.keep.as_ref()).await? == Commit::Won {
                return Ok(enrolment);
            }
        }
    }

    /// Confirms a pending factor by its first code, or by two consecutive ones if its clock or counter is off.
    ///
    /// Accepted codes are used up; wrong ones cost one attempt. The first active factor of a user comes with backup
    /// codes.
    ///
    /// # Errors
    /// [`Undecided`] if a port failed; the factor stays pending.
    pub async fn confirm(
        &self,
        key: &AccountKey,
        call: impl Into<Call<'_, Verdict<Confirmation>>>,
        factor: FactorId,
        codes: impl Into<Codes<'_>>,
    ) -> Result<Verdict<Confirmation>, Undecided> {
        let (call, codes) = (call.into(), codes.into());
        let sent_code = codes.sent();
        let mut secrets = OpenSecrets::default();
        let (mut found, mut fresh) = (None, None);
        let mut change = self.begin(key, &call).await;
        loop {
            let (account, context) = change.load().await?;
            let pending = match account.awaiting_confirmation(context, factor, codes) {
                Ok(pending) => Some(pending),
                // The code was compared before the conflict, so the account must charge it.
                Err(_) if found.is_some() => None,
                Err(rejection) => return Ok(Verdict::Rejected(rejection)),
            };
            if let (None, Some(pending), Some(address)) = (found, pending, pending.and_then(Factor::address))
            {
                let asked = Asked { id: address.first, read: None, factor: pending, purpose: Purpose::Enrol };
                match self.check_code(asked, context, sent_code.as_ref()).await? {
                    Verdict::Accepted(finding) => found = Some(finding),
                    Verdict::Rejected(rejection) => return Ok(Verdict::Rejected(rejection)),
                }
            }
            let evidence = match found {
                Some(finding) => Evidence::Finding(finding),
                None => Evidence::Secrets(secrets.open(self, key, pending).await?),
            };
            if matches!(evidence, Evidence::Secrets([])) {
                return Ok(Verdict::Rejected(CodeRejection::UnknownFactor));
            }
            let accepted = |pending| codes.accepted(pending, &evidence, context).is_some();
            let first = !account.is_enrolled() && pending.is_some_and(accepted);
            let (backup_codes, set) = if first {
                let (codes, set) = self.fresh_backup_codes(&mut fresh, context.now).await?;
                (Some(codes), Some(set))
            } else {
                (None, None)
            };
            let Decision { answer, delta } = account.confirm(context, factor, codes, &evidence, set);
            let verdict = answer.map(|factor| Confirmation { factor, backup_codes, passkeys: None });
            if let Some(verdict) =
                change.commit(Decision { answer: verdict, delta }, call.keep.as_ref()).await?
            {
                return Ok(verdict);
            }
        }
    }

    fn fresh_secret(&self, token: &Token) -> Result<Secret, EnrolError> {
        let algorithm = match token {
            Token::Totp(totp) => totp.algorithm(),
            Token::Hotp { hotp, .. } => hotp.algorithm(),
        };
        let mut bytes = Zeroizing::new(vec![0; Secret::length_for(algorithm)]);
        self.ports.entropy.fill(&mut bytes).map_err(Undecided::from)?;
        Ok(Secret::from_bytes(&bytes)?)
    }

    pub(super) fn fresh_factor_id(&self, now: Timestamp) -> Result<FactorId, Undecided> {
        let mut random = [0; 10];
        self.ports.entropy.fill(&mut random)?;
        Ok(FactorId::fresh(now, &random))
    }

    /// Refuses a secret that another factor has: both factors would accept the same code.
    async fn refuse_duplicate(
        &self,
        key: &AccountKey,
        account: &Account,
        now: Timestamp,
        secret: &Secret,
        others: &mut OpenSecrets,
    ) -> Result<(), EnrolError> {
        let known: Vec<_> = account.factors.iter().filter(|factor| factor.is_known(now)).collect();
        let opened = others.open(self, key, known).await?;
        // A factor that was opened for an earlier try may have been removed since.
        let mut opened = opened.iter().filter(|open| account.factor(open.factor).is_some());
        if opened.any(|open| open.secret.matches(secret)) {
            return Err(PolicyDenial::DuplicateSecret.into());
        }
        Ok(())
    }
}

impl EnrolmentWarning {
    /// A stable name for programs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Secret(warning) => warning.code(),
            Self::Compatibility(warning) => warning.code(),
        }
    }
}

impl fmt::Display for EnrolmentWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Secret(warning) => warning.fmt(f),
            Self::Compatibility(warning) => warning.fmt(f),
        }
    }
}

/// The default account name in the authenticator app: the user id, with `_` for each character that a URI or the app
/// cannot hold (a colon separates issuer and account), shortened to keep the QR code scannable.
fn account_name_of(user: &UserId) -> String {
    const LONGEST: usize = 96;
    let shown = |c: char| if c != ':' && visible(c) { c } else { '_' };
    let mut name: String = user.as_str().chars().map(shown).collect();
    if name.len() > LONGEST {
        name.truncate(name.floor_char_boundary(LONGEST - '…'.len_utf8()));
        name.push('…');
    }
    name
}

const fn kind(token: &Token) -> FactorKind {
    match token {
        Token::Totp(_) => FactorKind::Totp,
        Token::Hotp { .. } => FactorKind::Hotp,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_user_id_has_an_account_name_that_a_uri_takes() {
        let name = |id: &str| account_name_of(&UserId::new(id).unwrap());
        assert_eq!(name("o'brien@example.com"), "o'brien@example.com");
        assert_eq!(name("urn:uuid:1\u{2028}2"), "urn_uuid_1_2");
        assert_eq!(name(&"u".repeat(96)), "u".repeat(96));
        assert_eq!(name(&"u".repeat(97)), format!("{}…", "u".repeat(93)));
        for id in ["ä".repeat(127), "\u{1F511}".repeat(63), ":".repeat(255)] {
            assert!(name(&id).len() <= uri::MAX_NAME_BYTES, "{id}");
        }
    }
}
