//! Checks one code against a fixed secret, at the time 59 of RFC 6238: the answer is the exit code.

use std::process::ExitCode;

use otp_core::{Code, Secret, Totp, Window};

fn main() -> ExitCode {
    let code = std::env::args().nth(1).and_then(|text| Code::parse(&text).ok());
    let secret = Secret::from_bytes(b"12345678901234567890").ok();
    let (Some(code), Some(secret)) = (code, secret) else { return ExitCode::from(2) };
    match Totp::default().verify(&secret, &code, 59, Window::ONE_EITHER_SIDE, None) {
        Ok(Some(_)) => ExitCode::SUCCESS,
        Ok(None) => ExitCode::from(1),
        Err(_) => ExitCode::from(2),
    }
}
