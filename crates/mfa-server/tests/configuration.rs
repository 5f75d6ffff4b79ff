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
         lockout.failures (bad.toml, line 3): must be 1 to 100\n"
    );
}

#[test]
fn variables_of_kubernetes_are_ignored_with_a_warning() {
    let program = Program::new();
    let links = [
        ("MFA_PORT", "tcp://10.96.0.7:8080"),
        ("MFA_SERVICE_HOST", "10.96.0.7"),
        ("MFA_SERVICE_PORT_HTTP", "8080"),
        ("MFA_PORT_8080_TCP_ADDR", "10.96.0.7"),
    ];
    let said = Said::of(&program.command("config check").envs(links).output().unwrap());
    assert_eq!((said.code, said.out.as_str()), (0, "OK\n"), "{said:?}");
    assert!(said.err.starts_with("warning: MFA_"), "{}", said.err);
    for (name, _) in links {
        assert!(said.err.contains(name), "{name} in {}", said.err);
    }
    let said = Said::of(&program.command("config dump").envs(links).output().unwrap());
    assert_eq!((said.code, said.err.as_str()), (0, ""));
    assert!(!said.out.contains("10.96.0.7"), "{}", said.out);

    let said = Said::of(&program.command("config check").env("MFA_PORT", "8080").output().unwrap());
    assert_eq!(said.code, 2);
    assert!(said.err.ends_with("MFA_PORT (environment): unknown\n"), "{}", said.err);
}

#[test]
fn a_file_that_is_named_and_not_there_is_a_problem() {
    let program = Program::new();
    let webhook = "webhook=[{name='siem',url='https://h.example.com',secret_file='no.secret'}]";
    for (setting, message) in [
        (
            webhook,
            "webhook (flag --set): the secret of the webhook siem cannot be read from mfa-data/no.secret",
        ),
        ("store=sqlite:/no/such/mfa.db", "store (flag --set): the folder /no/such does not exist"),
        (
            "store=postgres://mfa@h/mfa?sslrootcert=/no/%63a.pem",
            "store (flag --set): /no/ca.pem cannot be read: No such file",
        ),
        (
            "ephemeral=rediss://h?ca=/no/ca.pem",
            "ephemeral (flag --set): /no/ca.pem cannot be read: No such file",
        ),
        ("key_ring_file=/no/such/ring", "key_ring_file (flag --set): the folder /no/such does not exist"),
        (
            "audit.signing_key_file=/no/such/key",
            "audit.signing_key_file (flag --set): the folder /no/such does not exist",
        ),
    ] {
        let said = program.run(&format!("config check --set {setting}"));
        assert_eq!((said.code, said.out.as_str()), (2, ""), "{setting}: {said:?}");
        assert!(said.err.contains(message), "{message} in {}", said.err);
    }
    let said = program.run("config check --set key_ring_file=ring");
    assert_eq!((said.code, said.out.as_str()), (0, "OK\n"));
    assert!(
        said.err.contains("warning: key_ring_file (flag --set): mfa-data/ring does not exist"),
        "{}",
        said.err
    );
    assert!(!program.data("").exists());

    program.run("api-key create --init --scope verify");
    assert_eq!(program.run("config check").out, "OK\n");
    std::fs::remove_file(program.data("keyring.toml")).unwrap();
    let said = program.run("config check");
    assert_eq!(said.code, 2);
    assert!(
        said.err.contains("key_ring_file: there is a database, but no key ring mfa-data/keyring.toml"),
        "{}",
        said.err
    );
    std::fs::write(program.data("keyring.toml"), "nonsense").unwrap();
    assert!(
        program
            .run("config check")
            .err
            .contains("key_ring_file: the key ring mfa-data/keyring.toml is damaged")
    );
}

#[test]
fn a_level_that_is_none_is_refused_and_silences_nothing() {
    let program = Program::new();
    for level in ["warning", "debg", "mfa_actix=debug", "info,warning"] {
        for command in ["config check", "serve"] {
            let said = program.run(&format!("{command} --log {level}"));
            assert_eq!(said.code, 2, "{command} {level}: {said:?}");
            assert!(said.err.contains("log (flag --log): must be a level"), "{}", said.err);
        }
    }
}

#[test]
fn no_part_of_a_password_is_shown_however_it_is_written() {
    let program = Program::new();
    let urls = [
        "postgres://mfa:HUNTER#TWO@h/mfa",
        "postgres://mfa:12#TWO@h/mfa",
        "postgres://mfa:12/TWO@h/mfa",
        "postgres://mfa:12?TWO@h/mfa",
        "postgres://mfa:TWO@TWO@h/mfa",
        "postgres://mfa:x@TWO#y@h/mfa",
        "redis://mfa:12#TWO@h",
        "redis://mfa:x@TWO/y@h",
        "redis+cluster://mfa:x@TWO#y@h,h2",
        "https://mfa:12#TWO@h/",
        "https://mfa:12/TWO@h/",
        "mysql://mfa:TWO@h/",
    ];
    let are_urls = ["store", "ephemeral", "webhook", "email.url", "webauthn.origins", "webauthn.manage_url"];
    for (turn, url) in urls.into_iter().enumerate() {
        let webhook = format!("[{{name='a',url='{url}',secret_file='s'}}]");
        let settings = [
            ("store", url),
            ("ephemeral", url),
            ("webhook", &webhook),
            ("listen", url),
            ("log_format", url),
            ("lockout.failures", url),
            ("lockout.first_lock", url),
            ("throttle.user", url),
            ("throttle.trusted_proxies", url),
            ("audit.retention", url),
            ("key_ring_file", url),
            ("data_dir", url),
            ("issuer", url),
            ("log", url),
            ("email.url", url),
            ("email.from", url),
            ("email.service", url),
            ("email.language", url),
            ("email.template_dir", url),
            ("email.ca_file", url),
            ("email.dkim_key_file", url),
            ("email.dkim_selector", url),
            ("email.dkim_domain", url),
            ("webauthn.rp_id", url),
            ("webauthn.origins", url),
            ("webauthn.name", url),
            ("webauthn.top_origins", url),
            ("webauthn.attestation", url),
            ("webauthn.authenticators", url),
            ("webauthn.roots_file", url),
            ("webauthn.manage_url", url),
            ("assertions.issuer", url),
            ("assertions.audience", url),
            ("assertions.algorithm", url),
        ];
        // What is no URL is not taken apart, so there a few of them are enough.
        let is_tried =
            |(n, (key, _)): &(usize, (&str, &str))| are_urls.contains(key) || (n + turn).is_multiple_of(4);
        for (_, (key, value)) in settings.into_iter().enumerate().filter(is_tried) {
            for command in ["config check", "config dump"] {
                let said = Said::of(
                    &program.command(command).args(["--set", &format!("{key}={value}")]).output().unwrap(),
                );
                assert!(!format!("{said:?}").contains("TWO"), "{key}={value}: {said:?}");
            }
        }
        for line in [format!("config check --config {url}"), format!("healthcheck --url {url}")] {
            let said = program.run(&line);
            assert!(said.code != 0 && !format!("{said:?}").contains("TWO"), "{line}: {said:?}");
        }
        let config = program.folder.path().join("mfa.toml");
        for text in [format!("store = {url}"), format!("store = ['{url}']"), format!("store = \"{url}")] {
            std::fs::write(&config, &text).unwrap();
            let said = program.run("config check --config mfa.toml");
            assert!(said.code == 2 && !format!("{said:?}").contains("TWO"), "{text}: {said:?}");
        }
    }
}

#[test]
fn no_command_runs_on_a_configuration_that_is_wrong() {
    let program = Program::new();
    for line in ["serve", "try", "api-key list", "healthcheck", "config dump"] {
        let said = program.run(&format!("{line} --set lockout.failures=0"));
        assert_eq!((said.code, said.out.as_str()), (2, ""), "{line}");
        assert!(said.err.contains("lockout.failures (flag --set): must be 1 to 100"), "{line}: {}", said.err);
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
