//! The program. Its code is in the library, so that tests of other packages can run it too.

use std::process::ExitCode;

fn main() -> ExitCode {
    mfa_server::main()
}
