//! `mfa-server`, built as a part of the tests.

use std::process::ExitCode;

fn main() -> ExitCode {
    mfa_server::main()
}
