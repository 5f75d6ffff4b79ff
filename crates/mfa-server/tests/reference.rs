//! What is made from the program and shipped with it: the commented configuration file and the manual pages.

#![allow(missing_docs, clippy::unwrap_used, reason = "test code")]

use std::fs;

use crate::program::Program;

const SHIPPED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../packaging/mfa-server.toml");

#[test]
fn the_shipped_configuration_file_is_the_one_that_the_program_prints() {
    let program = Program::new();
    let output = program.command("config dump --commented").env("MFA_NONSENSE", "1").assert().success();
    let printed = String::from_utf8(output.get_output().stdout.clone()).unwrap();
    assert!(
        fs::read_to_string(SHIPPED).unwrap() == printed,
        "write it anew: cargo run -p mfa-server -- config dump --commented > packaging/mfa-server.toml"
    );
}

#[test]
fn the_shipped_configuration_file_is_valid_and_changes_nothing() {
    let program = Program::new();
    fs::copy(SHIPPED, program.folder.path().join("mfa-server.toml")).unwrap();
    let said = program.run("config check --config mfa-server.toml");
    assert_eq!((said.code, said.out.as_str(), said.err.as_str()), (0, "OK\n", ""));
    let dump = program.run("config dump --config mfa-server.toml");
    assert_eq!((dump.code, &dump.out), (0, &program.run("config dump").out));
}

#[test]
fn every_command_has_a_manual_page() {
    let program = Program::new();
    program.command("man pages/man1").env("MFA_NONSENSE", "1").assert().success();
    let pages = program.folder.path().join("pages/man1");
    for (page, text) in [
        ("mfa-server.1", "Exit codes"),
        ("mfa-server-serve.1", "foreground"),
        ("mfa-server-api-key-create.1", "tenant"),
        ("mfa-server-signing-keys-rotate.1", "published"),
        ("mfa-server-config-dump.1", "commented"),
    ] {
        let page = fs::read_to_string(pages.join(page)).unwrap();
        assert!(page.contains("\n.TH ") && page.contains(text), "{page}");
    }
    assert!(!pages.join("mfa-server-man.1").exists());
    let said = program.run("man pages/man1/mfa-server.1");
    assert_eq!(said.code, 1);
    assert!(
        said.err.contains("the manual pages cannot be written to pages/man1/mfa-server.1"),
        "{}",
        said.err
    );
}
