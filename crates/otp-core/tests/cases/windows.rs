//! Cases 26 to 33.

use otp_core::{Hotp, LookAhead, ResyncSteps, ResyncWindow, Totp, Window};
use serde::Deserialize;

use super::{Subject, assert_error, code, seed};

pub(crate) const JSON: &str = include_str!("windows.json");

#[derive(Debug, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case", rename_all_fields = "kebab-case", deny_unknown_fields)]
enum Check {
    VerifyTotp(VerifyTotp),
    VerifyAround {
        code: String,
        centre: u64,
        past: u8,
        future: u8,
        step: Option<u64>,
    },
    VerifyHotp {
        code: String,
        counter: u64,
        look_ahead: u8,
        matches: Option<u64>,
    },
    ResynchroniseTotp {
        first: String,
        second: String,
        centre: u64,
        reach: u8,
        after: Option<u64>,
        step: Option<u64>,
    },
    Resynchronise {
        first: String,
        second: String,
        counter: u64,
        window: u16,
        matches: Option<u64>,
    },
}

/// A check of the seed with the default parameters.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct VerifyTotp {
    code: String,
    at: u64,
    past: u8,
    future: u8,
    after: Option<u64>,
    /// The step that matches; none if the code is refused.
    step: Option<u64>,
    error: Option<String>,
}

impl VerifyTotp {
    pub(crate) fn check(&self) {
        let window = Window::new(self.past, self.future).unwrap();
        let code = code(&self.code);
        let result = Totp::default().verify(&seed(), &code, self.at, window, self.after);
        let step = assert_error(result, self.error.as_deref());
        assert_eq!(step.flatten(), self.step);
    }
}

#[test]
fn windows() {
    Subject::<Check>::read(JSON).run(|check| match check {
        Check::VerifyTotp(verify) => verify.check(),
        Check::VerifyAround { code: typed, centre, past, future, step } => {
            let window = Window::new(*past, *future).unwrap();
            let code = code(typed);
            let found = Totp::default().verify_around(&seed(), &code, *centre, window, None);
            assert_eq!(found, *step);
        }
        Check::VerifyHotp { code: typed, counter, look_ahead, matches } => {
            let look_ahead = LookAhead::new(*look_ahead).unwrap();
            let found = Hotp::default().verify(&seed(), &code(typed), *counter, look_ahead);
            assert_eq!(found, *matches);
        }
        Check::ResynchroniseTotp { first, second, centre, reach, after, step } => {
            let (first, second) = (code(first), code(second));
            let reach = ResyncSteps::new(*reach).unwrap();
            let found = Totp::default().resynchronise(&seed(), &first, &second, *centre, reach, *after);
            assert_eq!(found, *step);
        }
        Check::Resynchronise { first, second, counter, window, matches } => {
            let found = Hotp::default().resynchronise(
                &seed(),
                &code(first),
                &code(second),
                *counter,
                ResyncWindow::new(*window).unwrap(),
            );
            assert_eq!(found, *matches);
        }
    });
}
