//! Libraries of hosts accept assertions and refuse what is wrong with them. Two of them run as on the page for hosts.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use mfa_assertion::{Expected, KeySet, Refusal, Verifier};
use mfa_tests::{Authenticator, Client, ISSUER, JsonWebToken, Server, ServerOptions, altered, binary, now};

use super::{SESSION, TENANT, key_set};

/// The page for hosts.
const PAGE: &str = include_str!("../../docs/assertions.md");

/// The only block of the page in this language.
fn block(language: &str) -> &'static str {
    let begin = format!("\n```{language}\n");
    let blocks: Vec<_> = PAGE.split(begin.as_str()).skip(1).collect();
    let [block] = blocks[..] else { panic!("{} blocks of {language} on the page", blocks.len()) };
    block.split_once("\n```").unwrap().0
}

/// What a host expects.
#[derive(Clone, Copy)]
struct Host<'a> {
    audience: &'a str,
    user: &'a str,
    nonce: &'a str,
}

const RIGHT: Host<'static> = Host { audience: TENANT, user: "alice", nonce: SESSION };

/// A program that checks assertions.
struct Program {
    name: &'static str,
    path: PathBuf,
    arguments: Vec<String>,
    key_set_url: String,
}

impl Program {
    /// The programs of the page, for assertions of this algorithm in place of the default.
    fn all(server: &Server, algorithm: &str) -> [Self; 2] {
        let script = |language: &str| {
            let script = block(language);
            assert!(script.contains("ES256"), "the block of {language} does not name the algorithm");
            script.replace("ES256", algorithm)
        };
        let program = |name: &'static str, arguments: &[&str], language: &str| Self {
            name,
            path: tools().join("bin").join(name),
            arguments: arguments.iter().copied().map(str::to_owned).chain([script(language)]).collect(),
            key_set_url: format!("{}/.well-known/jwks.json", server.url),
        };
        [program("python", &["-c"], "python"), program("node", &["--input-type=module", "-e"], "js")]
    }

    /// Whether it accepts an assertion; the last line of what it printed if it does not.
    fn check(&self, assertion: &str, host: Host<'_>) -> Result<(), String> {
        let mut command = Command::new(&self.path);
        // Node looks for packages from here.
        command.args(&self.arguments).current_dir(tools()).env("no_proxy", "127.0.0.1");
        command.env("ISSUER", ISSUER).env("AUDIENCE", host.audience).env("SUBJECT", host.user);
        command.env("NONCE", host.nonce).env("JWKS_URL", &self.key_set_url);
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = child.unwrap_or_else(|error| panic!("{error}: run `cargo xtask tools`"));
        // It may refuse before it has read everything.
        let _ = writeln!(child.stdin.take().unwrap(), "{assertion}");
        let output = child.wait_with_output().unwrap();
        let printed = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.success(), printed.trim() == "verified", "{}: {printed}", self.name);
        if output.status.success() {
            return Ok(());
        }
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        Err(errors.trim_end().lines().last().unwrap_or_default().to_owned())
    }
}

/// The folder of programs that `cargo xtask tools` installs.
fn tools() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/test-tools")
}

/// Alice and her token. Each check gets an assertion of its own, since they live for a minute.
struct Alice<'a> {
    client: &'a Client,
    token: Authenticator,
    counter: u64,
}

impl Alice<'_> {
    async fn assertion(&mut self) -> String {
        self.counter += 1;
        let code = self.token.hotp(self.counter);
        self.client.verify_in("alice", &code, SESSION).await.expect(200).assertion().to_owned()
    }
}

/// One thing is wrong in each; with a word of what programs say about it.
fn wrong() -> [(&'static str, Host<'static>); 3] {
    [
        ("nonce", Host { nonce: "session-00000000", ..RIGHT }),
        ("aud", Host { audience: "other", ..RIGHT }),
        ("sub", Host { user: "bob", ..RIGHT }),
    ]
}

async fn accepted_and_refused(algorithm: &str, jsonwebtoken_knows_it: bool) {
    let options = [("MFA_STORE", "memory:"), ("MFA_ASSERTIONS_ALGORITHM", algorithm)];
    let server = Server::with(binary!(), ServerOptions::new(options));
    let (token, _) = server.client.enrol("alice", "hotp").await;
    let mut alice = Alice { client: &server.client, token, counter: 0 };
    for program in Program::all(&server, algorithm) {
        let name = program.name;
        let accepted = program.check(&alice.assertion().await, RIGHT);
        assert_eq!(accepted, Ok(()), "{algorithm}, {name}");
        for (what, host) in wrong() {
            let refused = program.check(&alice.assertion().await, host).unwrap_err();
            // The page itself compares the nonce in Node.
            let says = refused.contains(what) || (what == "nonce" && refused.contains("session"));
            assert!(says, "{algorithm}, {name}, {what}: {refused}");
        }
        let refused = program.check(&altered(&alice.assertion().await), RIGHT).unwrap_err();
        assert!(refused.contains("signature"), "{algorithm}, {name}: {refused}");
    }

    let (keys, assertion) = (key_set(&server.client).await, alice.assertion().await);
    let ours = |assertion: &str, Host { audience, user, nonce }: Host<'_>| {
        let (keys, expected) =
            (KeySet::from_json(&keys).unwrap(), Expected { subject: user, nonce: Some(nonce) });
        Verifier::new(ISSUER, audience).verify(&keys, assertion, expected, now()).map(|_| ())
    };
    assert_eq!(ours(&assertion, RIGHT), Ok(()), "{algorithm}");
    let refusals = wrong().map(|(_, host)| ours(&assertion, host));
    assert_eq!(refusals, [Err(Refusal::Nonce), Err(Refusal::Audience), Err(Refusal::Subject)], "{algorithm}");
    assert_eq!(ours(&altered(&assertion), RIGHT), Err(Refusal::Signature), "{algorithm}");

    if jsonwebtoken_knows_it {
        let theirs = |assertion: &str, Host { audience, user, nonce }: Host<'_>| {
            let host = JsonWebToken::new(&keys, algorithm, ISSUER, audience);
            host.verify(assertion, user, nonce).map(|_| ())
        };
        assert_eq!(theirs(&assertion, RIGHT), Ok(()), "{algorithm}");
        for (what, host) in wrong() {
            assert!(theirs(&assertion, host).is_err(), "{algorithm}, {what}");
        }
        assert_eq!(theirs(&altered(&assertion), RIGHT), Err("InvalidSignature".to_owned()), "{algorithm}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn libraries_of_hosts_accept_an_assertion_by_es256_for_its_user_session_and_audience_only() {
    accepted_and_refused("ES256", true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn those_that_know_eddsa_accept_an_assertion_by_it() {
    accepted_and_refused("EdDSA", true).await;
}

/// `jsonwebtoken` does not know the name.
#[tokio::test(flavor = "multi_thread")]
async fn those_that_know_ed25519_accept_an_assertion_by_it() {
    accepted_and_refused("Ed25519", false).await;
}
