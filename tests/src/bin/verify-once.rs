//! Checks one code against a fixed secret at time 59 of RFC 6238. The exit code is the answer.

use std::process::ExitCode;

use otp_core::{Code, Secret, Totp, Window};

fn main() -> ExitCode {
    let code = std::env::args().nth(1).and_then(|text| Code::parse(&text).ok());
    let secret = Secret::from_bytes(b"12345678901234567890").ok();
    let (Some(code), Some(secret)) = (code, secret) else { return ExitCode::from(2) };
    match check_once(&secret, &code) {
        Some(true) => ExitCode::SUCCESS,
        Some(false) => ExitCode::from(1),
        None => ExitCode::from(2),
    }
}

/// Whether the code is right. valgrind counts the instructions of the function by this name.
#[inline(never)]
fn check_once(secret: &Secret, code: &Code) -> Option<bool> {
    let step = Totp::default().verify(secret, code, 59, Window::ONE_EITHER_SIDE, None);
    step.ok().map(|step| step.is_some())
}
