//! Commands for the development of this workspace. `cargo xtask` lists them.

mod bench;
mod databases;
mod dist;
mod faults;
mod lint;
mod openapi;
mod packaging;
mod phases;
mod run;
mod test;
mod tools;

use std::process::ExitCode;

const HELP: &str = "\
cargo xtask test    install the programs that tests need, and run all tests, or those that match the given filters
cargo xtask lint    check formatting, lints, documentation, dependencies, the OpenAPI document and packaging/
cargo xtask ci      lint and test, as in CI
cargo xtask faults  test all faults of docs/reliability.md at full length, and the previous release beside this version
cargo xtask tools   only install the programs that tests need (Debian packages; Python and npm packages in target/)
cargo xtask openapi regenerate docs/openapi.json from the code
cargo xtask dist    create the files to ship in target/dist: program, manual pages, completions, unit, configuration
cargo xtask bench   run all benchmarks of docs/performance.md, or the named ones
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
        ["dist"] => dist::dist(),
        ["bench", which @ ..] => bench::bench(which),
        [] | ["help" | "--help" | "-h"] => {
            print!("{HELP}");
            return ExitCode::SUCCESS;
        }
        _ => {
            eprint!("xtask: unknown command\n\n{HELP}");
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
