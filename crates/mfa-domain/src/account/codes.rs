//! What shows that somebody has the device of a factor: one code, or two consecutive ones.

use otp_core::Code;

use super::{Claim, Context, Evidence, Factor, Finding, OpenSecret};
use crate::{SentCode, SubmittedCode};

/// What confirms a factor.
#[derive(Clone, Copy, Debug)]
pub enum Codes<'a> {
    /// One code, which must be in the window that every login has.
    One(&'a SubmittedCode),
    /// Two codes that the device showed one right after the other. They are searched much further,
    /// since two match by chance only once in 10^12: so a device whose clock or counter is off is
    /// found. A single code never is.
    Two([&'a Code; 2]),
}

impl Codes<'_> {
    /// Whether they have the form of those of `factor`. One that was sent may have any number of digits.
    pub(super) fn fit(self, factor: &Factor) -> bool {
        match self {
            Self::One(SubmittedCode::OneTimePassword(_)) if factor.challenge_kind().is_some() => true,
            Self::One(code) => factor.takes(&code.into()),
            Self::Two(codes) => codes.iter().all(|code| factor.takes(&Claim::OneTimePassword(code))),
        }
    }

    /// The factor as it is once it accepted them; `None` if it does not.
    pub(crate) fn accepted(
        self,
        factor: &Factor,
        evidence: &Evidence<'_>,
        context: Context<'_>,
    ) -> Option<Factor> {
        let policy = context.policies.verification.as_ref();
        match (self, evidence) {
            (
                Self::One(SubmittedCode::OneTimePassword(_) | SubmittedCode::Sent(_)),
                Evidence::Finding(Finding::Right),
            ) => factor.answered(context.now),
            (Self::One(SubmittedCode::OneTimePassword(code)), Evidence::Secrets(secrets)) => {
                let open = OpenSecret::of(secrets, factor)?;
                factor.accepting(code, &open.secret, context.now, policy)
            }
            (Self::Two(codes), Evidence::Secrets(secrets)) => {
                let open = OpenSecret::of(secrets, factor)?;
                factor.synchronised(codes, &open.secret, context.now, policy)
            }
            _ => None,
        }
    }

    /// What they show; two are a guess as one is.
    pub(super) fn claim(&self) -> Claim<'_> {
        match self {
            Self::One(code) => Claim::from(*code),
            Self::Two([first, _]) => Claim::OneTimePassword(first),
        }
    }

    /// They as the answer to a challenge, if they have the form of one.
    pub(crate) fn sent(self) -> Option<SentCode> {
        match self {
            Self::One(code) => code.sent(),
            Self::Two(_) => None,
        }
    }

    /// The form as the audit trail names it.
    pub(super) const fn form(self) -> &'static str {
        match self {
            Self::One(code) => code.form(),
            Self::Two(_) => "two_codes",
        }
    }
}

impl<'a> From<&'a SubmittedCode> for Codes<'a> {
    fn from(code: &'a SubmittedCode) -> Self {
        Self::One(code)
    }
}

impl<'a> From<[&'a Code; 2]> for Codes<'a> {
    fn from(codes: [&'a Code; 2]) -> Self {
        Self::Two(codes)
    }
}
