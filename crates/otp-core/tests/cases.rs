//! The edge cases that users of OTP libraries ran into, as data in the JSON files beside this one.
//!
//! Each case has a number; each check in it says what to do, with which input, and what must come out. Errors are named
//! as `Debug` prints them.

#![expect(clippy::unwrap_used, reason = "tests")]
#![expect(clippy::expect_used, reason = "tests")]

mod codes;
mod elsewhere;
mod secrets;
mod time;
mod uris;
mod windows;

use std::collections::BTreeSet;
use std::fmt::Debug;

use otp_core::{Code, Secret};
use serde::Deserialize;
use serde::de::DeserializeOwned;

const CASES: std::ops::RangeInclusive<u8> = 1..=46;

/// One file of cases, whose checks are of type `C`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Subject<C> {
    subject: String,
    cases: Vec<Case<C>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case<C> {
    #[serde(rename = "case")]
    number: u8,
    what: String,
    checks: Vec<C>,
}

impl<C: DeserializeOwned + Debug> Subject<C> {
    fn read(json: &str) -> Self {
        serde_json::from_str(json).expect("the file has the shape that its runner expects")
    }

    /// Runs every check and names the case that it failed in.
    #[expect(clippy::print_stdout, reason = "shown only if the test fails")]
    fn run(self, check: impl Fn(&C)) {
        assert!(!self.cases.is_empty(), "{}: no cases", self.subject);
        for case in self.cases {
            assert!(!case.checks.is_empty(), "case {} checks nothing", case.number);
            for input in &case.checks {
                println!("case {}, {}: {input:?}", case.number, case.what);
                check(input);
            }
        }
    }
}

/// Every case is tested here, or said to be tested elsewhere.
#[test]
fn every_number_is_there() {
    let here: BTreeSet<u8> = [secrets::JSON, time::JSON, codes::JSON, windows::JSON, uris::JSON]
        .into_iter()
        .flat_map(|json| Subject::<serde_json::Value>::read(json).cases)
        .map(|case| case.number)
        .collect();
    let elsewhere = elsewhere::numbers();

    let missing: Vec<u8> =
        CASES.filter(|number| !here.contains(number) && !elsewhere.contains(number)).collect();
    assert!(missing.is_empty(), "no file has the cases {missing:?}");
    // What only an account can remember is the one case that otp-core has no part in.
    let not_here: Vec<u8> = CASES.filter(|number| !here.contains(number)).collect();
    assert_eq!(not_here, [29]);
}

/// The seed of the RFCs, which the cases use unless they say otherwise.
fn seed() -> Secret {
    Secret::from_bytes(b"12345678901234567890").unwrap()
}

fn code(text: &str) -> Code {
    Code::parse(text).unwrap()
}

/// A result is the error with this name, or there is none of either.
#[track_caller]
fn assert_error<T, E: Debug>(result: Result<T, E>, name: Option<&str>) -> Option<T> {
    match (result, name) {
        (Ok(value), None) => Some(value),
        (Err(error), Some(name)) => {
            assert_eq!(format!("{error:?}"), name);
            None
        }
        (Ok(_), Some(name)) => panic!("accepted instead of {name}"),
        (Err(error), None) => panic!("refused with {error:?}"),
    }
}
