//! The script for pages, `crates/mfa-actix/assets/passkey.js`, in Node.js with a browser of the test.
//!
//! Node.js is installed by `cargo xtask tools`; where it is missing this test fails.

#![allow(clippy::unwrap_used, reason = "test code")]

use std::path::Path;
use std::process::Command;

#[test]
fn the_script_for_pages_passes_its_tests_in_node() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut node = Command::new(root.join("target/test-tools/bin/node"));
    // Neither a test nor a timer that it has left keeps it waiting.
    node.args(["--test", "--test-reporter=tap", "--test-timeout=10000", "--test-force-exit"]);
    node.arg(root.join("crates/mfa-actix/tests/assets/passkey.test.mjs"));
    // Set by a test runner of Node.js, within which files of tests are not run.
    node.env_remove("NODE_TEST_CONTEXT").env_remove("NODE_OPTIONS");
    let output = node.output();
    let output =
        output.unwrap_or_else(|error| panic!("Node.js is needed ({error}): run `cargo xtask tools`"));
    let report = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{report}{}", String::from_utf8_lossy(&output.stderr));
    // Without any test Node.js would succeed, too.
    let passed = report.lines().find_map(|line| line.strip_prefix("# pass "));
    let passed = passed.unwrap_or_else(|| panic!("{report}")).parse::<u32>().unwrap();
    assert!(passed >= 20, "{report}");
}
