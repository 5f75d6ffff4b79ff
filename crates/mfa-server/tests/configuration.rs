//! What the program makes of its configuration, from the outside.

#![allow(missing_docs, clippy::unwrap_used, reason = "test code")]

use crate::program::{Program, Said};

#[test]
fn a_good_configuration_is_ok_and_all_that_is_wrong_with_a_bad_one_is_named() {
    let program = Program::new();
    assert_eq!(program.run("config check").out, "OK\n");

    let file = "lisen = '127.0.0.1:1'\n[lockout]\nfailures = 0\n";
    std::fs::write(program.folder.path().join("bad.toml"), file).unwrap();
    let output =
        program.command("config check --config bad.toml").env("MFA_LOCKOUT_FAILURE", "7").output().unwrap();
    let Said { code, out, err } = Said::of(&output);
    assert_eq!((code, out.as_str()), (2, ""));
    assert_eq!(
        err,
        "mfa-server: the configuration is not valid, for 3 reasons:\n  \
         MFA_LOCKOUT_FAILURE (environment): unknown; the nearest known variable is MFA_LOCKOUT_FAILURES\n  \
         lisen (bad.toml, line 1): unknown; the nearest known key is listen\n  \
         lockout.failures (bad.toml, line 3): must be at least 1\n"
    );
}

#[test]
fn no_command_runs_on_a_configuration_that_is_wrong() {
    let program = Program::new();
    for line in ["serve", "try", "api-key list", "healthcheck", "config dump"] {
        let said = program.run(&format!("{line} --set lockout.failures=0"));
        assert_eq!((said.code, said.out.as_str()), (2, ""), "{line}");
        assert!(
            said.err.contains("lockout.failures (flag --set): must be at least 1"),
            "{line}: {}",
            said.err
        );
    }
    assert!(!program.data("").exists());
}

#[test]
fn flags_beat_the_environment_which_beats_the_file() {
    let program = Program::new();
    let path = program.folder.path().join("mfa.toml");
    std::fs::write(path, "issuer = 'file'\nlog = 'warn'\nlisten = '127.0.0.1:1'\n").unwrap();
    let mut command = program.command("--listen 127.0.0.1:3 config dump");
    command.env("MFA_CONFIG", "mfa.toml").env("MFA_LISTEN", "127.0.0.1:2").env("MFA_LOG", "error");
    let dump = Said::of(&command.output().unwrap()).out;
    for line in [
        "issuer = \"file\" # mfa.toml, line 1\n",
        "log = \"error\" # environment, MFA_LOG\n",
        "listen = \"127.0.0.1:3\" # flag --listen\n",
        "data_dir = \"mfa-data\" # default\n",
    ] {
        assert!(dump.contains(line), "{line} in {dump}");
    }
}

#[test]
fn a_dump_shows_no_secret() {
    let program = Program::new();
    let output = program.command("config dump").env("MFA_KEY_RING", "top secret").output().unwrap();
    let said = Said::of(&output);
    assert_eq!(said.code, 0);
    assert!(
        said.out.starts_with("# MFA_KEY_RING is set in the environment, and not shown\n"),
        "{}",
        said.out
    );
    assert!(!said.out.contains("top secret"));
}

#[test]
fn help_and_completions_need_no_configuration() {
    let program = Program::new();
    for line in ["--help", "serve --help", "completions bash"] {
        let output = program.command(line).env("MFA_NONSENSE", "1").output().unwrap();
        let said = Said::of(&output);
        assert_eq!(said.code, 0, "{line}: {}", said.err);
    }
    let said = program.run("--help");
    assert!(said.out.contains("Exit codes:"), "{}", said.out);
    assert_eq!(program.run("no-such-command").code, 2);
}
