//! RUSTSEC-2022-0018, CVE-2022-2891: the duration of a check must not reveal how much of a code is right.
//!
//! valgrind counts instructions (`cargo xtask tools` installs it), so the test measures no time.

#![allow(clippy::unwrap_used, reason = "test code")]

use std::process::Command;

/// The code of RFC 6238's secret at time 59.
const RIGHT: &str = "287082";

/// The number of instructions of a check, and the program's exit code. Instructions before and after the
/// check are not counted, since they differ with the address at which the system loads the program.
fn check(code: &str) -> (u64, i32) {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null", "--toggle-collect=*::check_once"])
        .args([env!("CARGO_BIN_EXE_verify-once"), code])
        .env_clear()
        .output()
        .unwrap_or_else(|error| panic!("valgrind is needed ({error}): run `cargo xtask tools`"));
    let log = String::from_utf8(output.stderr).unwrap();
    let count =
        log.lines().find_map(|line| line.split_once("Collected : ")).unwrap_or_else(|| panic!("{log}")).1;
    let count = count.trim().parse().unwrap();
    assert!(count > 0, "no instructions of the check were counted: {log}");
    (count, output.status.code().unwrap())
}

#[test]
fn rustsec_2022_0018_cve_2022_2891_a_wrong_first_and_last_digit_take_the_same_instructions() {
    assert_eq!(check(RIGHT).1, 0, "the right code is accepted");
    let wrong_first = check("187082");
    let wrong_last = check("287081");
    let all_wrong = check("936713");
    assert_eq!(wrong_first, wrong_last);
    assert_eq!(wrong_first, all_wrong);
    assert_eq!(wrong_first.1, 1, "a wrong code is refused");
}
