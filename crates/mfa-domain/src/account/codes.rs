//! The codes that confirm or resynchronise a factor: one, or two consecutive ones.

use otp_core::Code;

use super::{Claim, Context, Evidence, Factor, Finding, OpenSecret};
use crate::{SentCode, SubmittedCode};

/// The codes that confirm a factor.
#[derive(Clone, Copy, Debug)]
pub enum Codes<'a> {
    /// One code, which must be in the same window as for a login.
    One(&'a SubmittedCode),
    /// Two consecutive codes of the device. They are searched in a much wider range, to find a device whose clock or
    /// counter is off, since two match by chance only once in 10^12. A single code is never searched there.
    Two([&'a Code; 2]),
}

impl Codes<'_> {
    /// Whether the codes have the form of codes of `factor`. A sent code may have any number of digits.
    pub(super) fn fit(self, factor: &Factor) -> bool {
        match self {
            Self::One(SubmittedCode::OneTimePassword(_)) if factor.is_sent_codes() => true,
            Self::One(code) => factor.takes(&code.into()),
            Self::Two(codes) => codes.iter().all(|code| factor.takes(&Claim::OneTimePassword(code))),
        }
    }

    /// The factor after it accepted the codes; `None` if it does not.
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

    /// The claim that they make. Two codes can be guessed as one can.
    pub(super) fn claim(&self) -> Claim<'_> {
        match self {
            Self::One(code) => Claim::from(*code),
            Self::Two([first, _]) => Claim::OneTimePassword(first),
        }
    }

    /// The code as an answer to a challenge, if it has that form.
    pub(crate) fn sent(self) -> Option<SentCode> {
        match self {
            Self::One(code) => code.sent(),
            Self::Two(_) => None,
        }
    }

    /// The name of the form in the audit trail.
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
