//! What it takes to check an ES256 assertion, by the relying party alone and through the domain: beside a bare
//! verification of its signature, and beside the libraries `@simplewebauthn/server` for Node and `webauthn` for Python,
//! all on one core in turns.
//!
//! `cargo xtask bench passkeys [-- ROUNDS]`; the run fails above the limits below. It needs the programs that
//! `cargo xtask tools` installs.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a benchmark measures the real clock and prints"
)]

mod domain;

use std::hint::black_box;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use data_encoding::BASE64URL_NOPAD;
use domain::Domain;
use mfa_domain::passkey::{
    Aaguid, AssertionResponse, Attestation, CredentialId, Passkey, PublicKey, UserHandle, UserVerification,
};
use mfa_domain::ports::{AuthenticationRequest, KnownCredential, NewCredential, Webauthn};
use mfa_domain::{ChallengeId, TenantId};
use mfa_webauthn::{RelyingParty, Settings};
use p256::ecdsa::signature::Verifier;
use ring::digest::{SHA256, digest};
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair, UnparsedPublicKey,
};
use serde_json::{Value, json};

const RP_ID: &str = "example.com";
const ORIGIN: &str = "https://login.example.com";

/// The most that a check may take, as a multiple of a bare verification by ring, the fastest.
const BARE_LIMIT: f64 = 1.5;
/// The least that others must take, as multiples of ours.
const NODE_LIMIT: f64 = 2.0;
const PYTHON_LIMIT: f64 = 4.0;

/// Calls in a round of ours, which takes about as long as one of [`PEER_CALLS`]: a few milliseconds, so that most
/// rounds are not interrupted.
const CALLS: u32 = 50;
const PEER_CALLS: u32 = 12;

fn main() {
    // `cargo test --benches` only wants to see that it runs, without optimisation.
    if std::env::args().any(|argument| argument == "--bench") {
        let rounds = std::env::args().skip(1).find_map(|text| text.parse().ok());
        compare(rounds.unwrap_or(200));
    }
}

/// Short rounds in turns, the fastest of each counts: what else the machine does then slows none.
fn compare(rounds: u32) {
    stay_on_one_core();
    let signed = Signed::new();
    let tenant = TenantId::new("default").unwrap();
    let response = AssertionResponse::from_json(&signed.credential).unwrap();
    let known = KnownCredential { passkey: &signed.passkey, public_key: &signed.public_key };
    let finish = |response: &AssertionResponse| {
        let finished =
            signed.relying_party.finish_authentication(&tenant, &signed.state, response, Some(known));
        assert!(finished.is_ok());
    };
    let ring = || {
        let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, black_box(&signed.point));
        key.verify(black_box(&signed.message), &response.signature).unwrap();
    };
    let p256 = || {
        let key = p256::ecdsa::VerifyingKey::from_sec1_bytes(black_box(&signed.point)).unwrap();
        let signature = p256::ecdsa::DerSignature::try_from(response.signature.as_slice()).unwrap();
        key.verify(black_box(&signed.message), &signature).unwrap();
    };
    let checked = || finish(black_box(&response));
    let credential = NewCredential { passkey: signed.passkey.clone(), public_key: signed.public_key.clone() };
    let domain = Domain::new(relying_party(), credential);
    let read_and_checked = || finish(&AssertionResponse::from_json(black_box(&signed.credential)).unwrap());
    let mut node = Peer::start("node", "assertion.mjs", &signed);
    let mut python = Peer::start("python", "assertion.py", &signed);

    let mut fastest = [f64::INFINITY; 7];
    for _ in 0..rounds {
        let answers: Vec<_> = (0..CALLS).map(|_| signed.answer_to(&domain)).collect();
        let mut answers = answers.iter();
        let answered = || {
            let (challenge, response) = answers.next().unwrap();
            domain.answer(*challenge, black_box(response));
        };
        let round = [
            time(ring),
            time(p256),
            time(checked),
            time(answered),
            time(read_and_checked),
            node.time(PEER_CALLS),
            python.time(PEER_CALLS),
        ];
        for (fastest, time) in fastest.iter_mut().zip(round) {
            *fastest = fastest.min(time);
        }
    }
    println!("an ES256 assertion, the fastest of {rounds} rounds in turns on one core");
    let names = [
        "bare verification, ring",
        "bare verification, p256",
        "finish_authentication",
        "answer_passkey, stores in memory",
        "from_json, finish_authentication",
        "@simplewebauthn/server",
        "PyPI webauthn",
    ];
    for (name, time) in names.iter().zip(fastest) {
        println!("  {name:<34} {:>7.1} µs", time * 1e6);
    }
    let [ring, _, checked, answered, read_and_checked, node, python] = fastest;
    let to_bare = checked / ring;
    let through_domain = answered / ring;
    let to_node = node / read_and_checked;
    let to_python = python / read_and_checked;
    println!("finish_authentication to ring                        {to_bare:>6.2} x, at most {BARE_LIMIT}");
    println!(
        "answer_passkey to ring                               {through_domain:>6.2} x, at most {BARE_LIMIT}"
    );
    println!("@simplewebauthn/server to ours, both from JSON       {to_node:>6.2} x, at least {NODE_LIMIT}");
    println!(
        "PyPI webauthn to ours, both from JSON                {to_python:>6.2} x, at least {PYTHON_LIMIT}"
    );
    assert!(to_bare <= BARE_LIMIT, "slower than {BARE_LIMIT} bare verifications");
    assert!(through_domain <= BARE_LIMIT, "through the domain slower than {BARE_LIMIT} bare verifications");
    assert!(to_node >= NODE_LIMIT, "less than {NODE_LIMIT} times as fast as @simplewebauthn/server");
    assert!(to_python >= PYTHON_LIMIT, "less than {PYTHON_LIMIT} times as fast as PyPI webauthn");
}

/// Seconds of one call.
fn time(mut check: impl FnMut()) -> f64 {
    let begin = Instant::now();
    for _ in 0..CALLS {
        check();
    }
    begin.elapsed().as_secs_f64() / f64::from(CALLS)
}

/// For this process, and those that it starts from now on.
fn stay_on_one_core() {
    let process = std::process::id().to_string();
    let moved =
        Command::new("taskset").args(["--cpu-list", "--pid", "0", &process]).stdout(Stdio::null()).status();
    assert!(moved.expect("taskset").success());
}

/// An assertion, and what a server knows of it.
struct Signed {
    relying_party: RelyingParty,
    state: Vec<u8>,
    passkey: Passkey,
    public_key: PublicKey,
    /// In JSON, as a browser sends it.
    credential: String,
    challenge: [u8; 32],
    key: EcdsaKeyPair,
    /// The public key, as a point (SEC 1, 2.3.3).
    point: Vec<u8>,
    /// What is signed.
    message: Vec<u8>,
}

impl Signed {
    fn new() -> Self {
        let random = SystemRandom::new();
        let algorithm = &ECDSA_P256_SHA256_ASN1_SIGNING;
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
        let key = EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &random).unwrap();
        let point = key.public_key().as_ref().to_vec();

        let relying_party = relying_party();
        let request = AuthenticationRequest {
            challenge: [9; 32],
            allow: None,
            user_verification: UserVerification::Preferred,
            timeout: Duration::from_mins(5),
        };
        let tenant = TenantId::new("default").unwrap();
        let state = relying_party.begin_authentication(&tenant, &request).unwrap().state;

        let (credential, message) = asserted(&key, &BASE64URL_NOPAD.encode(&request.challenge));
        Self {
            relying_party,
            state,
            passkey: passkey(),
            public_key: public_key(&point),
            credential,
            challenge: request.challenge,
            key,
            point,
            message,
        }
    }

    /// Begins a challenge of the domain, and signs it.
    fn answer_to(&self, domain: &Domain) -> (ChallengeId, AssertionResponse) {
        let (id, challenge) = domain.begin();
        let (credential, _) = asserted(&self.key, &challenge);
        (id, AssertionResponse::from_json(&credential).unwrap())
    }

    /// As the peers take it.
    fn to_json(&self) -> Value {
        // A COSE key of EC2, ES256, P-256 (RFC 9053, 7.1.1).
        let (x, y) = self.point[1..].split_at(32);
        let begin = [0xA5, 0x01, 0x02, 0x03, 0x26, 0x20, 0x01, 0x21, 0x58, 0x20];
        let cose_key = [&begin, x, &[0x22, 0x58, 0x20], y].concat();
        json!({
            "rp_id": RP_ID,
            "origin": ORIGIN,
            "challenge": BASE64URL_NOPAD.encode(&self.challenge),
            "credential_id": self.passkey.credential_id.to_string(),
            "credential": self.credential,
            "public_key": BASE64URL_NOPAD.encode(&cose_key),
        })
    }
}

fn relying_party() -> RelyingParty {
    let settings = Settings {
        rp_id: RP_ID.to_owned(),
        rp_name: "Example".to_owned(),
        origins: vec![ORIGIN.to_owned()],
        ..Settings::default()
    };
    RelyingParty::new(settings).unwrap()
}

/// The assertion of a challenge in base64url, as a browser sends it, and what is signed.
fn asserted(key: &EcdsaKeyPair, challenge: &str) -> (String, Vec<u8>) {
    let client_data = json!({
        "type": "webauthn.get",
        "challenge": challenge,
        "origin": ORIGIN,
        "crossOrigin": false,
    });
    let client_data = client_data.to_string();
    // The user is present and verified; the counter stays 0.
    let authenticator_data = [digest(&SHA256, RP_ID.as_bytes()).as_ref(), &[5, 0, 0, 0, 0]].concat();
    let message = [&authenticator_data, digest(&SHA256, client_data.as_bytes()).as_ref()].concat();
    let signature = key.sign(&SystemRandom::new(), &message).unwrap();
    let Passkey { credential_id, user_handle, .. } = passkey();
    let credential = json!({
        "id": credential_id.to_string(),
        "rawId": credential_id.to_string(),
        "type": "public-key",
        "authenticatorAttachment": "platform",
        "clientExtensionResults": {},
        "response": {
            "clientDataJSON": BASE64URL_NOPAD.encode(client_data.as_bytes()),
            "authenticatorData": BASE64URL_NOPAD.encode(&authenticator_data),
            "signature": BASE64URL_NOPAD.encode(signature.as_ref()),
            "userHandle": user_handle.to_string(),
        },
    });
    (credential.to_string(), message)
}

/// A point as the domain keeps it.
fn public_key(point: &[u8]) -> PublicKey {
    let (x, y) = point[1..].split_at(32);
    let (x, y) = (BASE64URL_NOPAD.encode(x), BASE64URL_NOPAD.encode(y));
    let jwk = json!({ "kty": "EC", "crv": "P-256", "x": x, "y": y, "alg": "ES256" });
    PublicKey::new(jwk.to_string())
}

fn passkey() -> Passkey {
    Passkey {
        credential_id: CredentialId::new([3; 32]).unwrap(),
        user_handle: UserHandle::new([7; 32]).unwrap(),
        rp_id: RP_ID.to_owned(),
        sign_count: 0,
        aaguid: Aaguid::default(),
        transports: vec!["internal".to_owned()],
        discoverable: Some(true),
        user_verified: true,
        backup_eligible: Some(false),
        backed_up: false,
        attestation: Attestation::default(),
    }
}

/// A program that checks the same assertion as often as it is told.
struct Peer {
    child: Child,
    answers: BufReader<ChildStdout>,
}

impl Peer {
    fn start(program: &str, script: &str, signed: &Signed) -> Self {
        let tools = tools();
        let mut command = Command::new(tools.join("bin").join(program));
        command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/peers").join(script));
        command.arg(tools.join("node_modules/@simplewebauthn/server"));
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = child.unwrap_or_else(|error| panic!("{error}: run `cargo xtask tools`"));
        let answers = BufReader::new(child.stdout.take().unwrap());
        let mut peer = Self { child, answers };
        peer.send(&signed.to_json().to_string());
        // Until its compiler has seen the code often enough.
        peer.time(2000);
        peer
    }

    /// Seconds of one call.
    fn time(&mut self, calls: u32) -> f64 {
        self.send(&calls.to_string());
        let mut answer = String::new();
        self.answers.read_line(&mut answer).unwrap();
        answer.trim().parse::<f64>().expect("a time") / f64::from(calls)
    }

    fn send(&mut self, line: &str) {
        writeln!(self.child.stdin.as_mut().unwrap(), "{line}").unwrap();
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It ends with its input.
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// The folder of the programs of the tests.
fn tools() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = package.ancestors().find(|folder| folder.join("Cargo.lock").exists()).unwrap();
    root.join("target/test-tools")
}
