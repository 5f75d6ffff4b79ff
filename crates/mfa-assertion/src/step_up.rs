//! What a host asks for before a sensitive action (RFC 9470).

use std::time::Duration;

use thiserror::Error;

use crate::{Acr, Assertion};

const DESCRIPTION: &str = "A more recent or a stronger verification is required";

/// How recent and how strong a verification must be.
///
/// ```
/// use std::time::Duration;
/// use mfa_assertion::{Acr, StepUp};
///
/// let payments = StepUp::new().max_age(Duration::from_secs(90)).acr(Acr::Medium);
/// assert!(payments.challenge().ends_with(r#"acr_values="medium high", max_age=90"#));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepUp {
    /// In seconds.
    max_age: u64,
    /// Empty for any.
    methods: Vec<String>,
    acr: Option<Acr>,
}

/// Why a verification is not enough. The user can mend it by a new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
pub enum StepUpNeeded {
    /// It is older than the host asks for.
    #[error("the verification is too old")]
    TooOld,
    /// It has none of the methods that the host asks for.
    #[error("the verification used none of the required methods")]
    Method,
    /// Its assurance is lower than the host asks for.
    #[error("the assurance of the verification is too low")]
    Acr,
}

impl StepUp {
    /// Any verification within the last 5 minutes.
    #[must_use]
    pub const fn new() -> Self {
        Self { max_age: 5 * 60, methods: Vec::new(), acr: None }
    }

    /// The most time since the verification, in whole seconds.
    #[must_use]
    pub fn max_age(self, max_age: Duration) -> Self {
        Self { max_age: max_age.as_secs(), ..self }
    }

    /// The verification must have one of these methods in `amr` (RFC 8176), such as `otp`. An empty list allows all.
    #[must_use]
    pub fn methods(self, methods: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        let methods = methods.into_iter().map(|method| method.as_ref().to_owned()).collect();
        Self { methods, ..self }
    }

    /// The verification must have at least this assurance.
    #[must_use]
    pub fn acr(self, least: Acr) -> Self {
        Self { acr: Some(least), ..self }
    }

    /// The verification must resist phishing: [`acr`](Self::acr) of [`Acr::High`].
    #[must_use]
    pub fn phishing_resistant(self) -> Self {
        self.acr(Acr::High)
    }

    /// Whether a verified assertion is enough. `now` is in seconds since 1970.
    ///
    /// # Errors
    /// If it is not. Answer with 401 and the [`challenge`](Self::challenge).
    pub fn check(&self, assertion: &Assertion, now: u64) -> Result<(), StepUpNeeded> {
        let named = |method: &String| assertion.methods.contains(method);
        if now >= self.until(assertion) {
            Err(StepUpNeeded::TooOld)
        } else if !self.methods.is_empty() && !self.methods.iter().any(named) {
            Err(StepUpNeeded::Method)
        } else if self.acr.is_some_and(|least| assertion.acr < least) {
            Err(StepUpNeeded::Acr)
        } else {
            Ok(())
        }
    }

    /// When an assertion becomes too old, in seconds since 1970. [`UsedOnce`](crate::UsedOnce) must remember it at least
    /// until then, and longer if it counts elsewhere for longer.
    #[must_use]
    pub fn until(&self, assertion: &Assertion) -> u64 {
        // An age that equals `max_age` is allowed (OIDC Core, 3.1.2.1).
        assertion.auth_time.saturating_add(self.max_age).saturating_add(1)
    }

    /// The value of `WWW-Authenticate` in a refusal (RFC 9470, 3). Methods have no parameter there, so they are not
    /// in it.
    #[must_use]
    pub fn challenge(&self) -> String {
        let acr_values = self.acr.map(|least| {
            let values: Vec<_> = Acr::ALL.into_iter().filter(|acr| *acr >= least).map(Acr::as_str).collect();
            format!(r#", acr_values="{}""#, values.join(" "))
        });
        format!(
            r#"Bearer error="insufficient_user_authentication", error_description="{DESCRIPTION}"{}, max_age={}"#,
            acr_values.unwrap_or_default(),
            self.max_age,
        )
    }
}

impl Default for StepUp {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const NOW: u64 = 1_800_000_000;

    fn verified(age: u64, methods: &str, acr: Acr) -> Assertion {
        Assertion {
            subject: "alice".to_owned(),
            tenant: "acme".to_owned(),
            id: "1".to_owned(),
            issued_at: NOW - age,
            expires_at: NOW - age + 60,
            auth_time: NOW - age,
            methods: methods.split_whitespace().map(str::to_owned).collect(),
            acr,
            factor: None,
            nonce: None,
        }
    }

    #[test]
    fn five_minutes_are_allowed_by_default() {
        for step_up in [StepUp::new(), StepUp::default()] {
            assert_eq!(step_up.check(&verified(300, "", Acr::Low), NOW), Ok(()));
            assert_eq!(step_up.check(&verified(301, "", Acr::Low), NOW), Err(StepUpNeeded::TooOld));
        }
    }

    #[rstest]
    #[case::as_old_as_allowed(Duration::from_secs(10), 10, true)]
    #[case::a_second_older(Duration::from_secs(10), 11, false)]
    #[case::fractions_do_not_count(Duration::from_millis(10_999), 11, false)]
    #[case::within_this_second(Duration::ZERO, 0, true)]
    #[case::a_second_ago(Duration::ZERO, 1, false)]
    #[case::without_limit(Duration::MAX, NOW, true)]
    fn the_age_is_at_most_the_maximum(#[case] max_age: Duration, #[case] age: u64, #[case] enough: bool) {
        let (step_up, assertion) = (StepUp::new().max_age(max_age), verified(age, "otp", Acr::Medium));
        let expected = if enough { Ok(()) } else { Err(StepUpNeeded::TooOld) };
        assert_eq!(step_up.check(&assertion, NOW), expected);
        assert_eq!(NOW < step_up.until(&assertion), enough);
    }

    #[test]
    fn a_verification_ahead_of_the_clock_is_recent() {
        let assertion = Assertion { auth_time: NOW + 5, ..verified(0, "", Acr::Low) };
        assert_eq!(StepUp::new().check(&assertion, NOW), Ok(()));
    }

    #[rstest]
    #[case::any("", "otp", true)]
    #[case::any_even_none("", "", true)]
    #[case::the_only_one("otp", "otp", true)]
    #[case::one_of_two("hwk swk", "swk user", true)]
    #[case::another("hwk swk", "otp", false)]
    #[case::none("otp", "", false)]
    #[case::in_capitals("otp", "OTP", false)]
    #[case::a_part_of_the_name("otp", "otp2", false)]
    fn one_of_the_methods_is_there(#[case] wanted: &str, #[case] there: &str, #[case] enough: bool) {
        let step_up = StepUp::new().methods(wanted.split_whitespace());
        let expected = if enough { Ok(()) } else { Err(StepUpNeeded::Method) };
        assert_eq!(step_up.check(&verified(0, there, Acr::High), NOW), expected);
    }

    #[test]
    fn the_assurance_is_at_least_the_one_that_is_asked_for() {
        for (least, enough) in [
            (StepUp::new(), [true, true, true]),
            (StepUp::new().acr(Acr::Low), [true, true, true]),
            (StepUp::new().acr(Acr::Medium), [false, true, true]),
            (StepUp::new().acr(Acr::High), [false, false, true]),
            (StepUp::new().phishing_resistant(), [false, false, true]),
        ] {
            for (acr, enough) in Acr::ALL.into_iter().zip(enough) {
                let expected = if enough { Ok(()) } else { Err(StepUpNeeded::Acr) };
                assert_eq!(least.check(&verified(0, "", acr), NOW), expected, "{least:?} {acr}");
            }
        }
    }

    #[test]
    fn every_demand_counts() {
        let step_up = StepUp::new().methods(["hwk"]).phishing_resistant();
        assert_eq!(step_up.check(&verified(300, "hwk", Acr::High), NOW), Ok(()));
        assert_eq!(step_up.check(&verified(301, "hwk", Acr::High), NOW), Err(StepUpNeeded::TooOld));
        assert_eq!(step_up.check(&verified(300, "swk", Acr::High), NOW), Err(StepUpNeeded::Method));
        assert_eq!(step_up.check(&verified(300, "hwk", Acr::Medium), NOW), Err(StepUpNeeded::Acr));
    }

    #[test]
    fn the_challenge_has_exactly_this_text() {
        let begin = concat!(
            r#"Bearer error="insufficient_user_authentication", "#,
            r#"error_description="A more recent or a stronger verification is required", "#,
        );
        for (step_up, end) in [
            (StepUp::new(), "max_age=300"),
            (StepUp::new().max_age(Duration::ZERO), "max_age=0"),
            (StepUp::new().acr(Acr::Low), r#"acr_values="low medium high", max_age=300"#),
            (StepUp::new().acr(Acr::Medium), r#"acr_values="medium high", max_age=300"#),
            (StepUp::new().phishing_resistant(), r#"acr_values="high", max_age=300"#),
            // A header cannot be broken by what is in the list.
            (StepUp::new().methods(["\", max_age=\"1\r\n"]), "max_age=300"),
        ] {
            assert_eq!(step_up.challenge(), format!("{begin}{end}"));
        }
    }
}
