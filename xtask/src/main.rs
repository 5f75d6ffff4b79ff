//! Chores of this workspace. `cargo xtask` lists them.

mod bench;
mod databases;
mod faults;
mod lint;
mod openapi;
mod phases;
mod run;
mod test;
mod tools;

use std::process::ExitCode;

const HELP: &str = "\
cargo xtask test    install what tests need, and run all tests
cargo xtask lint    check formatting, lints, documentation, dependencies and the OpenAPI document
cargo xtask ci      both, as CI does
cargo xtask faults  break what the server stands on, as often as docs/reliability.md says; races of two versions
cargo xtask tools   only install what tests need (Debian packages; Python and npm packages in target/)
cargo xtask openapi write docs/openapi.json anew from the code
cargo xtask bench   run the benchmarks of docs/performance.md and print their ratios
";

#[expect(clippy::print_stdout, clippy::print_stderr, reason = "a command line")]
fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["test", filters @ ..] => test::test(filters),
        ["lint"] => lint::lint(),
        ["ci"] => test::ci(),
        ["faults", filters @ ..] => faults::faults(filters),
        ["tools"] => tools::install(),
        ["openapi"] => openapi::write(),
        ["bench", which @ ..] => bench::bench(which),
        [] | ["help" | "--help" | "-h"] => {
            print!("{HELP}");
            return ExitCode::SUCCESS;
        }
        _ => {
            eprint!("unknown chore\n\n{HELP}");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
