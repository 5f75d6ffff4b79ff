use std::fs;

use super::*;

/// Loads a configuration from a file, variables and flags.
fn load(file: &str, variables: &[(&str, &str)], arguments: &[&str]) -> Result<Config, String> {
    use clap::Parser;

    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("mfa.toml");
    fs::write(&path, file).unwrap();
    let path = path.to_str().unwrap();
    let arguments = ["mfa-server", "--config", path].into_iter().chain(arguments.iter().copied());
    let cli = crate::cli::Cli::try_parse_from(arguments).unwrap();
    let variables = variables.iter().map(|(name, value)| ((*name).into(), (*value).into()));
    Config::load(&cli.flags, variables).map_err(|problems| problems.to_string().replace(path, "mfa.toml"))
}

#[test]
fn later_layers_win_and_the_dump_says_which() {
    let file = "listen = '127.0.0.1:1'\nissuer = 'From file'\nlog = 'warn'\n[lockout]\nfailures = 4\n";
    let variables = [("MFA_LISTEN", "127.0.0.1:2"), ("MFA_LOG", "debug"), ("HOME", "/"), ("MFA_STORE", "")];
    let config =
        load(file, &variables, &["--listen", "127.0.0.1:3", "--set", "lockout.first_lock=1m"]).unwrap();
    assert_eq!(config.settings.listen.port(), 3);
    assert_eq!(config.settings.log, "debug");
    assert_eq!(config.settings.lockout.failures, 4);
    let dump = config.to_string();
    for line in [
        "listen = \"127.0.0.1:3\" # flag --listen\n",
        "data_dir = \"mfa-data\" # default\n",
        "log = \"debug\" # environment, MFA_LOG\n",
        "mfa.toml, line 2\n",
        "[lockout]\nfailures = 4 # ",
        "mfa.toml, line 5\nfirst_lock = \"1m\" # flag --set\n",
    ] {
        assert!(dump.contains(line), "{line} in\n{dump}");
    }
}

#[test]
fn a_dump_is_a_configuration_that_gives_itself() {
    let dump = load("", &[], &["--set", "verification.profile=strict"]).unwrap().to_string();
    assert!(dump.contains("past_steps = 0 # verification.profile\n"), "{dump}");
    let again = load(&dump, &[], &[]).unwrap();
    let values = |text: &str| text.parse::<Table>().unwrap();
    assert_eq!(values(&again.to_string()), values(&dump));
}

#[test]
fn unknown_names_are_errors_that_name_the_nearest() {
    for (file, variables, arguments, message) in [
        (
            "lissten = 'x'",
            vec![],
            vec![],
            "lissten (mfa.toml, line 1): unknown; the nearest known key is listen",
        ),
        (
            "\n[lockuot]\nfailures = 3",
            vec![],
            vec![],
            "lockuot.failures (mfa.toml, line 3): unknown; the nearest known key is lockout.failures",
        ),
        (
            "",
            vec![("MFA_LOCKOUT_FAILURE", "3")],
            vec![],
            "MFA_LOCKOUT_FAILURE (environment): unknown; the nearest known variable is MFA_LOCKOUT_FAILURES",
        ),
        (
            "",
            vec![],
            vec!["--set", "argon2.memory=65536"],
            "argon2.memory (flag --set): unknown; the nearest known key is argon2.memory_kib",
        ),
    ] {
        let problem = load(file, &variables, &arguments).unwrap_err();
        assert_eq!(problem, format!("the configuration is not valid: {message}"));
    }
}

#[test]
fn a_name_that_looks_like_none_gets_no_suggestion() {
    for (variables, arguments, message) in [
        (vec![("MFA_PUSH_APP_ID", "x")], vec![], "MFA_PUSH_APP_ID (environment): unknown"),
        (vec![("MFA_X", "x")], vec![], "MFA_X (environment): unknown"),
        (vec![], vec!["--set", "database.url=x"], "database.url (flag --set): unknown"),
    ] {
        let problem = load("", &variables, &arguments).unwrap_err();
        assert_eq!(problem, format!("the configuration is not valid: {message}"));
    }
}

#[test]
fn all_that_is_wrong_is_told_at_once_with_its_place() {
    let file = "log_format = 'xml'\nworkers = '4'\n[lockout]\nfailures = 0\nfirst_lock = '15'\n";
    let variables = [("MFA_ARGON2_MEMORY_KIB", "lots"), ("MFA_STORE", "postgres://mfa:hunter2@db:port/mfa")];
    let problems =
        load(file, &variables, &["--set", "backup_codes.low=11", "--listen", "localhost"]).unwrap_err();
    for part in [
        "for 8 reasons:",
        "log_format (mfa.toml, line 1): unknown variant `xml`, expected `text` or `json`; the default is \"text\"",
        "workers (mfa.toml, line 2): invalid type: string \"4\", expected usize; the default is 0",
        "lockout.failures (mfa.toml, line 4): must be 1 to 100",
        "lockout.first_lock (mfa.toml, line 5): not a duration",
        "argon2.memory_kib (environment, MFA_ARGON2_MEMORY_KIB): invalid type",
        "store (environment, MFA_STORE): the URL of the database is not valid",
        "backup_codes.low (flag --set): must be at most set_size",
        "listen (flag --listen): invalid socket address syntax; the default is \"127.0.0.1:8080\"",
    ] {
        assert!(problems.contains(part), "{part} in\n{problems}");
    }
    assert!(!problems.contains("hunter2"), "{problems}");
}

#[test]
fn text_that_looks_like_a_number_stays_text() {
    let config = load("", &[("MFA_ISSUER", "012345"), ("MFA_LOCKOUT_FAILURES", "3")], &[]).unwrap();
    assert_eq!(config.settings.issuer, "012345");
    assert_eq!(config.settings.lockout.failures, 3);
}

#[test]
fn the_first_key_is_left_out_by_a_file_a_variable_or_a_flag() {
    assert!(!load("", &[], &[]).unwrap().settings.no_key);
    for (file, variables, arguments) in [
        ("no_key = true", vec![], vec![]),
        ("", vec![("MFA_NO_KEY", "true")], vec![]),
        ("no_key = false", vec![], vec!["--no-key"]),
    ] {
        assert!(load(file, &variables, &arguments).unwrap().settings.no_key);
    }
    let problem = load("", &[], &["--no-key", "--store", "memory:"]).unwrap_err();
    assert!(problem.contains("no_key (flag --no-key): must be false with the store memory:"), "{problem}");
}

#[test]
fn other_commands_are_told_where_the_installation_is() {
    let default = load("", &[("MFA_LOG", "warn")], &["--log", "debug"]).unwrap().invocation();
    assert!(default.starts_with("mfa-server --data-dir /") && default.ends_with("/mfa-data"), "{default}");
    let variable = load("", &[("MFA_DATA_DIR", "/srv/mfa")], &[]).unwrap();
    assert_eq!(variable.invocation(), "mfa-server --data-dir /srv/mfa");
    let config = load("data_dir = '/srv/mfa'", &[], &[]).unwrap().invocation();
    assert!(config.starts_with("mfa-server --config /") && config.ends_with("/mfa.toml"), "{config}");
    let both = load("log = 'warn'", &[], &["--data-dir", "it's mine"]).unwrap().invocation();
    assert!(both.starts_with("mfa-server --config /"), "{both}");
    assert!(both.contains("/mfa.toml --data-dir '/") && both.ends_with(r"/it'\''s mine'"), "{both}");
    let elsewhere = [
        ["--data-dir", "/srv"],
        ["--store", "sqlite:/var/mfa.db"],
        ["--key-ring-file", "ring.toml"],
        ["--set", "users.case=fold"],
    ];
    let line = load("", &[], elsewhere.as_flattened()).unwrap().invocation();
    assert_eq!(line, format!("mfa-server {}", elsewhere.as_flattened().join(" ")));
    let url = load("", &[("MFA_STORE", "postgres://mfa:secret@db/mfa")], &["--data-dir", "/srv"]).unwrap();
    assert_eq!(url.invocation(), "mfa-server --data-dir /srv");
}

#[test]
fn the_trail_is_kept_forever_or_for_a_while() {
    assert_eq!(load("", &[], &[]).unwrap().settings.audit.retention, None);
    let config = load("[audit]\nretention = '400d'\n", &[], &[]).unwrap();
    assert_eq!(config.settings.audit.retention, Some(std::time::Duration::from_hours(400 * 24)));
    assert!(config.to_string().contains("retention = \"400d\" # "), "{config}");
    let file = "[audit]\nretention = 'long'\ncheckpoint_every = '0s'\ninstallation = 'Prod'\n";
    let problems = load(file, &[], &[]).unwrap_err();
    for part in [
        "audit.retention (mfa.toml, line 2): not a retention; it must be forever, or a duration such as 400d",
        "audit.checkpoint_every (mfa.toml, line 3): must be 1s to 366d",
        "audit.installation (mfa.toml, line 4): must be 1 to 64 characters",
    ] {
        assert!(problems.contains(part), "{part} in\n{problems}");
    }
    let short = load("", &[("MFA_AUDIT_RETENTION", "59m")], &[]).unwrap_err();
    assert!(short.contains("audit.retention (environment, MFA_AUDIT_RETENTION): must be forever"), "{short}");
}

#[test]
fn quotas_are_texts_and_proxies_a_list() {
    let file = "[throttle]\nuser = '50/10s'\ntrusted_proxies = ['10.0.0.0/8', '192.0.2.1']\n";
    let config = load(file, &[], &[]).unwrap();
    assert_eq!((config.settings.throttle.user.burst(), config.settings.throttle.change.burst()), (50, 60));
    assert_eq!(config.settings.throttle.trusted_proxies, ["10.0.0.0/8", "192.0.2.1"]);
    assert_eq!(load(&config.to_string(), &[], &[]).unwrap().settings.throttle.user.burst(), 50);

    let variables =
        [("MFA_THROTTLE_TRUSTED_PROXIES", "2001:db8::/32, 192.0.2.1"), ("MFA_THROTTLE_API_KEY", "1/1s")];
    let settings = load(file, &variables, &[]).unwrap().settings;
    assert_eq!(settings.throttle.trusted_proxies, ["2001:db8::/32", "192.0.2.1"]);
    assert_eq!(settings.throttle.api_key.burst(), 1);

    let file = "[throttle]\nuser = '0/10s'\ntenant = 5\ntrusted_proxies = ['0.0.0.0/0']\nforwarded_header = 'x-real-ip'\n";
    let problems = load(file, &[], &["--set", "throttle.change=many"]).unwrap_err();
    for part in [
        "throttle.user (mfa.toml, line 2): not a quota; it must be like 600/1m",
        "throttle.tenant (mfa.toml, line 3): invalid type",
        "throttle.trusted_proxies (mfa.toml, line 4): must be addresses",
        "throttle.forwarded_header (mfa.toml, line 5): must be x-forwarded-for or forwarded",
        "throttle.change (flag --set): not a quota",
    ] {
        assert!(problems.contains(part), "{part} in\n{problems}");
    }
}

#[test]
fn the_content_of_a_key_ring_comes_from_the_environment_only_and_is_never_shown() {
    let config = load("", &[("MFA_KEY_RING", "very secret")], &[]).unwrap();
    assert_eq!(config.key_ring.as_ref().unwrap().expose(), "very secret");
    assert!(!config.to_string().contains("very secret"));
    assert!(!format!("{config:?}").contains("very secret"));

    let problem = load("key_ring = 'very secret'", &[], &[]).unwrap_err();
    assert!(
        problem.contains("key_ring (mfa.toml, line 1): a secret") && !problem.contains("very"),
        "{problem}"
    );
    let both = [("MFA_KEY_RING", "a"), ("MFA_KEY_RING_FILE", "b")];
    assert!(load("", &both, &[]).unwrap_err().contains("only one of them"));
}

#[test]
fn a_file_that_is_no_toml_or_not_there_is_named() {
    let problem = load("listen = 'a'\nlisten = 'b'", &[], &[]).unwrap_err();
    assert!(problem.contains("mfa.toml, line 2: duplicate key"), "{problem}");
    let variables = [("MFA_CONFIG".into(), "/nowhere/mfa.toml".into())];
    let problem = Config::load(&Flags::default(), variables.into_iter()).unwrap_err().to_string();
    assert!(problem.contains("/nowhere/mfa.toml: the configuration file cannot be read"), "{problem}");
}

#[test]
fn what_cannot_work_is_refused_and_what_is_unwise_is_warned_of() {
    for (settings, message) in [
        (
            &["lockout.failures=1000000", "lockout.disable_after=1000000"][..],
            "lockout.failures (flag --set): must be 1 to 100",
        ),
        (&["backup_codes.set_size=51"], "backup_codes.set_size (flag --set): must be 1 to 50"),
        (
            &["backup_codes.set_size=50", "argon2.memory_kib=262144"],
            "backup_codes.set_size (flag --set): must be small enough",
        ),
        (
            &["argon2.memory_kib=262144", "request_timeout=100ms"],
            "backup_codes.set_size: must be small enough",
        ),
        (&["argon2.concurrency=1024"], "argon2.concurrency (flag --set): must be 1 to 256"),
        (
            &["argon2.concurrency=65", "argon2.memory_kib=262144"],
            "argon2.concurrency (flag --set): must be low enough",
        ),
        (&["argon2.memory_kib=1023"], "argon2.memory_kib (flag --set): must be 1024 to 262144"),
        (&["argon2.memory_kib=262145"], "argon2.memory_kib (flag --set): must be at most 262144"),
        (&["argon2.lanes=17"], "argon2.lanes (flag --set): must be 1 to 16"),
        (&["argon2.iterations=0"], "argon2.iterations (flag --set): must be 1 to 16"),
        (&["enrolment.proof_lifetime=999ms"], "enrolment.proof_lifetime (flag --set): must be at least 1s"),
        (&["verification.drift_bound=11"], "verification.drift_bound (flag --set): must be 0 to 10"),
        (&["challenge.digits=11"], "challenge.digits (flag --set): must be 6 to 10"),
        (&["challenge.lifetime=11m"], "challenge.lifetime (flag --set): must be 1s to 10m"),
        (&["challenge.max_failures=0"], "challenge.max_failures (flag --set): must be 1 to 10"),
        (&["challenge.max_resends=11"], "challenge.max_resends (flag --set): must be 0 to 10"),
        (&["lockout.longest_lock=1m"], "lockout.longest_lock (flag --set): must be at least first_lock"),
        (&["issuer=Big\nCo"], "issuer (flag --set): must be at most 256 bytes"),
        (&["issuer=Big:Co"], "issuer (flag --set): must be at most 256 bytes"),
        (&["issuer= "], "issuer (flag --set): must be at most 256 bytes"),
        (&["webauthn.rp_id=https://example.com"], "webauthn.rp_id (flag --set): must be a domain"),
        (&["webauthn.origins=https://example.com"], "webauthn.rp_id: must be a domain"),
        (&["webauthn.rp_id=example.com"], "webauthn.origins: must be origins"),
        (&["webauthn.abandon_rp_id=https://a:b@c"], "webauthn.abandon_rp_id (flag --set): must be a domain"),
        (&["webauthn.attestation=trusted"], "webauthn.attestation (flag --set): must be none if"),
        (
            &["webauthn.attestation=trusted", "webauthn.metadata_file=blob.jwt"],
            "webauthn.metadata_roots_file: must be a path if webauthn.metadata_file is set",
        ),
        (
            &["throttle.trusted_proxies=0.0.0.0/1,128.0.0.0/1"],
            "throttle.trusted_proxies (flag --set): must be addresses",
        ),
        (
            &["throttle.trusted_proxies=::/1,8000::/1"],
            "throttle.trusted_proxies (flag --set): must be addresses",
        ),
    ] {
        let arguments: Vec<_> = settings.iter().flat_map(|setting| ["--set", setting]).collect();
        let problem = load("", &[], &arguments).unwrap_err();
        assert!(problem.contains(message), "{message} in\n{problem}");
    }
    assert_eq!(mfa_domain::otp_core::uri::MAX_NAME_BYTES, 256);

    let warnings = |settings: &[&str]| {
        let arguments: Vec<_> = settings.iter().flat_map(|setting| ["--set", setting]).collect();
        load("", &[], &arguments).unwrap().warnings
    };
    assert_eq!(warnings(&[]), [""; 0]);
    assert_eq!(warnings(&["verification.profile=strict"]), [""; 0]);
    for (settings, message) in [
        (&["log=off"][..], "log (flag --set): nothing is logged"),
        (&["lockout.failures=50"], "lockout.failures (flag --set): 50 wrong codes in a row"),
        (&["lockout.rolling_window=1h"], "lockout.rolling_failures: allows 175200 guesses a year"),
        (&["lockout.disable_after=1000"], "lockout.disable_after (flag --set): NIST"),
        (
            &["verification.past_steps=10"],
            "verification.past_steps (flag --set): 12 codes are valid at a time",
        ),
        (
            &["backup_codes.set_size=10", "argon2.memory_kib=262144"],
            "backup_codes.set_size (flag --set): with the costs",
        ),
        (&["argon2.concurrency=256"], "argon2.concurrency (flag --set): this machine has"),
        (&["postgres.call_timeout=2s"], "postgres.call_timeout (flag --set): is not below request_timeout"),
        (&["throttle.trusted_proxies=128.0.0.0/2"], "throttle.trusted_proxies (flag --set): has a network"),
    ] {
        let warnings = warnings(settings);
        assert!(warnings.iter().any(|warning| warning.starts_with(message)), "{message} in {warnings:?}");
    }
}

#[test]
fn the_readme_explains_every_option() {
    let readme = include_str!("../../README.md");
    for (key, _) in keys::flatten(&table_of(&Settings::default())) {
        assert!(readme.contains(&format!("`{key}`")), "{key}");
    }
}

#[test]
fn the_password_of_a_database_is_never_shown() {
    let url = "postgres://mfa:hunter2@db.example.com/mfa?sslmode=require";
    let config = load("", &[("MFA_STORE", url)], &[]).unwrap();
    let StoreUrl::Postgres(store) = &config.settings.store else { panic!("{:?}", config.settings.store) };
    assert_eq!(store.expose(), url);
    for shown in [config.to_string(), format!("{config:?}"), config.settings.store.to_string()] {
        assert!(
            shown.contains("postgres://db.example.com:5432/mfa") && !shown.contains("hunter2"),
            "{shown}"
        );
    }
}

#[test]
fn urls_with_passwords_may_come_from_files() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("url");
    fs::write(&path, "postgres://mfa:hunter2@db.example.com/mfa\n").unwrap();
    let path = path.to_str().unwrap();
    let config = load("", &[("MFA_STORE_FILE", path)], &[]).unwrap();
    assert_eq!(config.settings.store.to_string(), "postgres://db.example.com:5432/mfa");
    assert!(config.to_string().contains("environment, MFA_STORE_FILE"), "{config}");
    let both = load("", &[("MFA_STORE_FILE", path), ("MFA_STORE", "memory:")], &[]).unwrap_err();
    assert!(both.contains("only one of them"), "{both}");
    fs::write(path, "smtp://app:hunter2@mail.example.com\n").unwrap();
    let from = ("MFA_EMAIL_FROM", "mfa@example.com");
    let config = load("", &[("MFA_EMAIL_URL_FILE", path), from], &[]).unwrap();
    let Some(mfa_email::EmailUrl::Server(server)) = &config.settings.email.url.0 else { panic!("{config}") };
    assert_eq!(server.login.as_ref().unwrap().password.as_str(), "hunter2");
    let shown = format!("{config} {config:?}");
    assert!(shown.contains("environment, MFA_EMAIL_URL_FILE") && !shown.contains("hunter2"), "{shown}");
    let url = ("MFA_EMAIL_URL", "smtp://mail.example.com");
    let both = load("", &[("MFA_EMAIL_URL_FILE", path), url, from], &[]).unwrap_err();
    assert!(both.contains("MFA_EMAIL_URL and MFA_EMAIL_URL_FILE (environment): only one"), "{both}");
    fs::write(path, "redis+sentinel://mfa:hunter2@one,two/main").unwrap();
    let config = load("", &[("MFA_EPHEMERAL_FILE", path)], &[]).unwrap();
    assert_eq!(config.settings.ephemeral.to_string(), "redis+sentinel://one:26379,two:26379/main/0");
    assert!(!format!("{config} {config:?}").contains("hunter2"), "{config}");
    for (url, shown) in [
        ("valkey://:hunter2@one", "redis://one:6379/0"),
        ("valkeys+cluster://mfa:hunter2@one,two", "rediss+cluster://one:6379,two:6379"),
    ] {
        let config = load("", &[("MFA_EPHEMERAL", url), ("MFA_STORE", url)], &[]).unwrap();
        assert_eq!(config.settings.ephemeral.to_string(), shown);
        assert_eq!(config.settings.store.to_string(), shown);
        assert!(!format!("{config} {config:?}").contains("hunter2"), "{config}");
    }
    let missing = load("", &[("MFA_STORE_FILE", "/no/such/file")], &[]).unwrap_err();
    assert!(missing.contains("/no/such/file cannot be read"), "{missing}");
    let url = "postgres://mfa:hunter2@db.example.com/mfa";
    let confused = load("", &[("MFA_STORE_FILE", url)], &[]).unwrap_err();
    assert!(confused.contains("MFA_STORE_FILE") && !confused.contains("hunter2"), "{confused}");
}

const WEBHOOK: &str =
    "[[webhook]]\nname = 'siem'\nurl = 'https://siem.example.com/hunter2?t=hunter2'\nsecret_file = 's'\n";

#[test]
fn webhooks_are_a_list_of_tables_and_one_value_everywhere_else() {
    let file = format!("{WEBHOOK}tenants = ['acme']\nkinds = ['locked', 'reset']\nstart = 'beginning'\n");
    let second =
        "[[webhook]]\nname = 'local'\nurl = 'http://127.0.0.1:1/'\nsecret_file = '/s'\ntimeout = '5s'\n";
    let config = load(&format!("{file}{second}"), &[], &[]).unwrap();
    let [siem, local] = &config.settings.webhook[..] else { panic!("{:?}", config.settings.webhook) };
    assert_eq!((siem.name.as_str(), siem.url.to_string().as_str()), ("siem", "https://siem.example.com"));
    assert_eq!((siem.tenants.len(), siem.kinds.len(), siem.start), (1, 2, Start::Beginning));
    assert_eq!((local.timeout.as_secs(), local.start, local.plain_http), (5, Start::Now, false));
    let dump = config.to_string();
    assert!(dump.contains("webhook = [{") && dump.contains("mfa.toml, line 1"), "{dump}");

    let one = "[{name = 'siem', url = 'https://siem.example.com', secret_file = 's'}]";
    let config = load(&file, &[("MFA_WEBHOOK", one)], &[]).unwrap();
    assert_eq!(config.settings.webhook[0].tenants.len(), 0);
    let config = load(&file, &[], &["--set", "webhook=[]"]).unwrap();
    assert!(config.settings.webhook.is_empty());
}

#[test]
fn the_path_of_a_webhook_is_never_shown() {
    let config = load(WEBHOOK, &[], &[]).unwrap();
    for shown in [config.to_string(), format!("{config:?}")] {
        assert!(shown.contains("https://siem.example.com") && !shown.contains("hunter2"), "{shown}");
    }
    for (wrong, right) in [("https://siem", "http://siem"), ("url = ", "url = [0, "), ("'s'", "7")] {
        let problem = load(&WEBHOOK.replace(wrong, right), &[], &[]).unwrap_err();
        assert!(!problem.contains("hunter2"), "{problem}");
    }
    let whole = "{name = 'siem', url = 'https://siem.example.com/hunter2', secret_file = 's'}";
    for text in [&format!("[{whole}"), whole, &format!("['{whole}']"), "https://siem.example.com/hunter2"] {
        let text = text.replace('\'', "\"");
        for problem in [
            load("", &[("MFA_WEBHOOK", &text)], &[]).unwrap_err(),
            load("", &[], &["--set", &format!("webhook={text}")]).unwrap_err(),
            load(&format!("webhook = '{text}'"), &[], &[]).unwrap_err(),
        ] {
            assert!(
                problem.contains("webhook (") && problem.contains("must be a list of tables"),
                "{problem}"
            );
            assert!(!problem.contains("hunter2"), "{problem}");
        }
        for wrong in [text.clone(), format!("webhook:{text}"), format!("store:{text}=")] {
            let problem = load("", &[], &["--set", &wrong]).unwrap_err();
            assert!(problem.contains("--set") && !problem.contains("hunter2"), "{problem}");
        }
    }
}

#[test]
fn what_is_wrong_with_a_webhook_is_told() {
    for (more, message) in [
        ("urll = 'x'", "unknown field `urll`"),
        ("kinds = ['lokced']", "kinds of siem: there is no kind \"lokced\" of events"),
        ("tenants = ['Acme Inc']", "tenants of siem: not a tenant id"),
        ("timeout = '2m'", "timeout of siem: must be 1s to 1m"),
        ("timeout = '2 m'", "not a duration"),
        ("start = 'later'", "unknown variant `later`"),
        (WEBHOOK, "webhook (mfa.toml, line 1): must be at most 16 webhooks with different names"),
    ] {
        let problem = load(&format!("{WEBHOOK}{more}\n"), &[], &[]).unwrap_err();
        assert!(problem.contains(message), "{message} in\n{problem}");
    }
    let away = WEBHOOK.replace("https:", "http:");
    let problem = load(&away, &[], &[]).unwrap_err();
    assert!(problem.contains("url of siem: it must be https://"), "{problem}");
    assert!(load(&format!("{away}plain_http = true\n"), &[], &[]).is_ok());
    let problem = load("", &[("MFA_WEBHOOK", "siem")], &[]).unwrap_err();
    assert!(problem.contains("webhook (environment, MFA_WEBHOOK)"), "{problem}");
}
