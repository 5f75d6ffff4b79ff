//! What shows that somebody has the device of a factor: one code, or two consecutive ones.

use otp_core::Code;

use super::{Context, Factor, OpenSecret};
use crate::SubmittedCode;

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
    /// Whether they have as many digits as those of `factor`.
    pub(super) fn fit(self, factor: &Factor) -> bool {
        match self {
            Self::One(SubmittedCode::OneTimePassword(code)) => factor.takes(code),
            Self::One(SubmittedCode::Backup(_)) => false,
            Self::Two(codes) => codes.iter().all(|code| factor.takes(code)),
        }
    }

    /// The factor as it is once it accepted them; `None` if it does not.
    pub(super) fn accepted(
        self,
        factor: &Factor,
        secret: &OpenSecret,
        context: Context<'_>,
    ) -> Option<Factor> {
        let open = OpenSecret::of(std::slice::from_ref(secret), factor)?;
        let policy = context.policies.verification.as_ref();
        match self {
            Self::One(SubmittedCode::OneTimePassword(code)) => {
                factor.accepting(code, &open.secret, context.now, policy)
            }
            Self::One(SubmittedCode::Backup(_)) => None,
            Self::Two(codes) => factor.synchronised(codes, &open.secret, context.now, policy),
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
