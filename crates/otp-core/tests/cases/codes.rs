//! Cases 21 to 25.

use otp_core::Code;
use serde::Deserialize;

use super::windows::VerifyTotp;
use super::{Subject, assert_error};

pub(crate) const JSON: &str = include_str!("codes.json");

#[derive(Debug, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case", deny_unknown_fields)]
enum Check {
    ReadCode { text: String, times: Option<usize>, digits: Option<u8>, error: Option<String> },
    VerifyTotp(VerifyTotp),
}

#[test]
fn codes() {
    Subject::<Check>::read(JSON).run(|check| match check {
        Check::ReadCode { text, times, digits, error } => {
            let text = text.repeat(times.unwrap_or(1));
            let code = assert_error(Code::parse(&text), error.as_deref());
            assert_eq!(code.as_ref().map(|code| code.digits().value()), *digits);
            assert!(code.is_none_or(|code| code.as_str() == text));
        }
        Check::VerifyTotp(verify) => verify.check(),
    });
}
