use data_encoding::BASE64URL_NOPAD;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm,
    RSA_PKCS1_SHA256, RsaKeyPair,
};
use serde_json::{Value, json};

use super::fixtures::{IMPOSTOR, ISSUER, OTHER_SITE, ROOT, RSA_SIGNER, RSA_SIGNER_KEY, SIGNER, SIGNER_KEY};
use super::*;

const MODEL: &str = "00000000-0000-4000-8000-000000000001";

fn payload() -> Value {
    json!({
        "legalHeader": "Unknown members are ignored.",
        "no": 42,
        "nextUpdate": "2027-02-01",
        "entries": [
            {
                "aaguid": MODEL,
                "metadataStatement": {
                    "description": "Test key ",
                    "protocolFamily": "fido2",
                    "attestationRootCertificates": [ROOT],
                },
                "statusReports": [{ "status": "FIDO_CERTIFIED_L1", "effectiveDate": "2026-01-01" }],
                "timeOfLastStatusChange": "2026-01-01",
            },
            {
                "attestationCertificateKeyIdentifiers": ["7c0903708b87115b0b422def3138c3c864e44573"],
                "statusReports": [{ "status": "REVOKED" }],
            },
        ],
    })
}

fn header(alg: &str, signer: &str) -> Value {
    json!({ "alg": alg, "typ": "JWT", "x5c": [signer, ISSUER] })
}

fn blob(header: &Value, payload: &Value, sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
    let message = format!("{}.{}", part(header), part(payload));
    format!("{message}.{}", BASE64URL_NOPAD.encode(&sign(message.as_bytes())))
}

fn part(json: &Value) -> String {
    BASE64URL_NOPAD.encode(json.to_string().as_bytes())
}

fn es256(message: &[u8]) -> Vec<u8> {
    ecdsa(&ECDSA_P256_SHA256_FIXED_SIGNING, message)
}

fn ecdsa(algorithm: &'static EcdsaSigningAlgorithm, message: &[u8]) -> Vec<u8> {
    let (random, key) = (SystemRandom::new(), BASE64.decode(SIGNER_KEY.as_bytes()).unwrap());
    let key = EcdsaKeyPair::from_pkcs8(algorithm, &key, &random).unwrap();
    key.sign(&random, message).unwrap().as_ref().to_vec()
}

fn rs256(message: &[u8]) -> Vec<u8> {
    let key = RsaKeyPair::from_pkcs8(&BASE64.decode(RSA_SIGNER_KEY.as_bytes()).unwrap()).unwrap();
    let mut signature = vec![0; key.public().modulus_len()];
    key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature).unwrap();
    signature
}

/// A blob with this payload, signed as it should be.
fn good(payload: &Value) -> String {
    blob(&header("ES256", SIGNER), payload, es256)
}

fn read(blob: &str) -> Result<Metadata, InvalidMetadata> {
    read_with(ROOT, blob, "2027-01-15T12:00:00Z")
}

fn read_with(root: &str, blob: &str, now: &str) -> Result<Metadata, InvalidMetadata> {
    Metadata::read(blob, &[certificate(root).unwrap()], now.parse().unwrap())
}

fn model(metadata: &Metadata) -> &MetadataEntry {
    metadata.entry(MODEL.parse().unwrap()).unwrap()
}

#[test]
fn a_signed_blob_is_read_and_what_is_unknown_in_it_is_ignored() {
    let rsa = blob(&header("RS256", RSA_SIGNER), &payload(), rs256);
    for blob in [good(&payload()), format!("{}\r\n", good(&payload())), rsa] {
        let metadata = read(&blob).unwrap();
        assert_eq!(metadata.number(), 42);
        assert_eq!(metadata.next_update().to_string(), "2027-02-01T00:00:00Z");
        assert_eq!(metadata.entries.len(), 1, "only models that have an AAGUID");
        assert!(metadata.entry(Aaguid::default()).is_none());
        let model = model(&metadata);
        assert_eq!(model.name.as_ref().map(Label::as_str), Some("Test key"));
        assert_eq!(model.roots, [certificate(ROOT).unwrap()]);
        assert_eq!(model.distrust, None);
    }
}

#[test]
fn a_changed_blob_is_refused() {
    let signed = good(&payload());
    let [head, body, signature] = signed.split('.').collect::<Vec<_>>()[..] else { panic!("{signed}") };
    let mut other_payload = payload();
    other_payload["no"] = json!(43);
    let mut other_header = header("ES256", SIGNER);
    other_header["typ"] = json!("other");
    let der = blob(&header("ES256", SIGNER), &payload(), |m| ecdsa(&ECDSA_P256_SHA256_ASN1_SIGNING, m));
    for changed in [
        format!("{head}.{}.{signature}", part(&other_payload)),
        format!("{}.{body}.{signature}", part(&other_header)),
        format!("{head}.{body}.{}", BASE64URL_NOPAD.encode(&[0; 64])),
        format!("{head}.{body}."),
        der,
    ] {
        assert_eq!(read(&changed).unwrap_err(), InvalidMetadata::Signature, "{changed}");
    }
}

#[test]
fn an_algorithm_that_does_not_fit_the_key_or_is_not_supported_is_refused() {
    for (alg, signer) in [("RS256", SIGNER), ("ES256", RSA_SIGNER)] {
        for sign in [es256, rs256] {
            let wrong = blob(&header(alg, signer), &payload(), sign);
            assert_eq!(read(&wrong).unwrap_err(), InvalidMetadata::Signature, "{alg}");
        }
    }
    for alg in ["none", "None", "", "HS256", "PS256", "es256"] {
        let unsigned = blob(&header(alg, SIGNER), &payload(), |_| Vec::new());
        assert_eq!(read(&unsigned).unwrap_err(), InvalidMetadata::Algorithm(alg.to_owned()));
        let signed = blob(&header(alg, SIGNER), &payload(), es256);
        assert_eq!(read(&signed).unwrap_err(), InvalidMetadata::Algorithm(alg.to_owned()));
    }
}

#[test]
fn certificates_have_to_lead_to_a_root() {
    let now = "2027-01-15T12:00:00Z";
    let chain = |result: Result<Metadata, InvalidMetadata>| {
        let error = result.unwrap_err();
        assert!(matches!(error, InvalidMetadata::Chain(_)), "{error}");
    };
    chain(read_with(IMPOSTOR, &good(&payload()), now));
    chain(Metadata::read(&good(&payload()), &[], now.parse().unwrap()));
    let without_issuer = json!({ "alg": "ES256", "x5c": [SIGNER] });
    chain(read(&blob(&without_issuer, &payload(), es256)));
    let issuer_as_signer = json!({ "alg": "ES256", "x5c": [ISSUER, ISSUER] });
    chain(read(&blob(&issuer_as_signer, &payload(), es256)));

    let roots = [IMPOSTOR, ROOT].map(|root| certificate(root).unwrap());
    assert!(Metadata::read(&good(&payload()), &roots, now.parse().unwrap()).is_ok(), "one of several roots");
    let damaged = [CertificateDer::from(vec![0x30, 0])];
    let error = Metadata::read(&good(&payload()), &damaged, now.parse().unwrap()).unwrap_err();
    assert!(matches!(error, InvalidMetadata::Root(_)), "{error}");
}

#[test]
fn certificates_count_only_while_they_are_valid() {
    let mut payload = payload();
    payload["nextUpdate"] = json!("2200-01-01");
    let blob = good(&payload);
    for now in ["2026-11-30T00:00:00Z", "2126-11-07T00:00:00Z"] {
        assert_eq!(read_with(ROOT, &blob, now).unwrap_err(), InvalidMetadata::CertificateTime, "{now}");
    }
    for now in ["2026-12-01T00:00:00Z", "2126-11-06T00:00:00Z"] {
        assert!(read_with(ROOT, &blob, now).is_ok(), "{now}");
    }
}

#[test]
fn a_certificate_of_another_site_signs_no_metadata() {
    let blob = blob(&header("ES256", OTHER_SITE), &payload(), es256);
    assert_eq!(read(&blob).unwrap_err(), InvalidMetadata::Signer);
}

#[test]
fn a_blob_is_current_until_the_end_of_the_day_of_its_next_update() {
    let (blob, last, next) = (good(&payload()), "2027-02-01T23:59:59.999Z", "2027-02-02T00:00:00Z");
    let metadata = read_with(ROOT, &blob, last).unwrap();
    assert!(metadata.is_current(last.parse().unwrap()));
    assert!(!metadata.is_current(next.parse().unwrap()));
    let outdated = InvalidMetadata::Outdated { next_update: metadata.next_update() };
    assert_eq!(read_with(ROOT, &blob, next).unwrap_err(), outdated);
}

#[test]
fn a_status_that_distrusts_a_model_is_found_wherever_it_stands() {
    let distrust = |reports: Value| {
        let mut payload = payload();
        payload["entries"][0]["statusReports"] = reports;
        model(&read(&good(&payload)).unwrap()).distrust
    };
    for status in [
        "REVOKED",
        "USER_VERIFICATION_BYPASS",
        "ATTESTATION_KEY_COMPROMISE",
        "USER_KEY_REMOTE_COMPROMISE",
        "USER_KEY_PHYSICAL_COMPROMISE",
    ] {
        assert_eq!(distrust(json!([{ "status": status }])), Some(status));
        let repaired = json!([
            { "status": "FIDO_CERTIFIED" },
            { "status": status },
            { "status": "UPDATE_AVAILABLE" },
        ]);
        assert_eq!(distrust(repaired), Some(status));
    }
    let harmless = json!([
        { "status": "NOT_FIDO_CERTIFIED" },
        { "status": "UPDATE_AVAILABLE" },
        { "status": "A_STATUS_OF_THE_FUTURE" },
    ]);
    assert_eq!(distrust(harmless), None);
    assert_eq!(distrust(json!([])), None);
}

#[test]
fn a_second_entry_for_a_model_does_not_hide_that_the_first_was_revoked() {
    let mut payload = payload();
    let mut revoked = payload["entries"][0].clone();
    revoked["statusReports"] = json!([{ "status": "REVOKED" }]);
    payload["entries"].as_array_mut().unwrap().insert(0, revoked);
    assert_eq!(model(&read(&good(&payload)).unwrap()).distrust, Some("REVOKED"));
}

#[test]
fn names_are_cut_off_and_only_certificates_become_roots() {
    let mut payload = payload();
    let (start, end) = ROOT.split_at(64);
    payload["entries"][0]["metadataStatement"] = json!({
        "description": "é".repeat(65),
        "attestationRootCertificates": ["", "AAAA", "not base64!", format!(" {start}\r\n{end}\n")],
    });
    let metadata = read(&good(&payload)).unwrap();
    let name = "é".repeat(64);
    assert_eq!(model(&metadata).name.as_ref().map(Label::as_str), Some(name.as_str()));
    assert_eq!(model(&metadata).roots, [certificate(ROOT).unwrap()]);

    payload["entries"][0]["metadataStatement"] = json!({ "description": "a\nb" });
    let metadata = read(&good(&payload)).unwrap();
    assert_eq!(model(&metadata).name, None, "it could forge a line of a log");
    assert!(model(&metadata).roots.is_empty());
}

#[test]
fn what_is_not_a_blob_is_refused() {
    let signed = good(&payload());
    for text in [
        "",
        "a",
        "a.b",
        "....",
        &format!("{signed}.{signed}"),
        &format!("{signed}="),
        &signed.replace('.', " "),
    ] {
        assert_eq!(read(text).unwrap_err(), InvalidMetadata::Form, "{text}");
    }
    let text = part(&payload());
    for head in [json!(null), json!({}), json!({ "alg": 1 }), json!({ "alg": "ES256", "crit": ["b64"] })] {
        let error = read(&format!("{}.{text}.{text}", part(&head))).unwrap_err();
        assert!(matches!(error, InvalidMetadata::Header(_)), "{head}: {error}");
    }
    for x5c in [json!([]), json!(["AAAA"]), json!(["not base64!", ISSUER]), json!([SIGNER, "not base64!"])] {
        let blob = blob(&json!({ "alg": "ES256", "x5c": x5c }), &payload(), es256);
        assert_eq!(read(&blob).unwrap_err(), InvalidMetadata::Certificates, "{x5c}");
    }
}

#[test]
fn a_signed_blob_of_another_shape_is_refused() {
    let changed = |pointer: &str, value: Value| {
        let mut payload = payload();
        *payload.pointer_mut(pointer).unwrap() = value;
        payload
    };
    for payload in [
        json!(null),
        json!({}),
        changed("/no", json!("42")),
        changed("/no", json!(-1)),
        changed("/nextUpdate", json!("2027-02-30")),
        changed("/nextUpdate", json!("2027-02-01T00:00:00Z")),
        changed("/entries", json!({})),
        changed("/entries/0/aaguid", json!("4e4e#4005")),
        changed("/entries/0/statusReports", json!(null)),
        changed("/entries/0/statusReports/0", json!({})),
        changed("/entries/0/metadataStatement/description", json!(null)),
    ] {
        let error = read(&good(&payload)).unwrap_err();
        assert!(matches!(error, InvalidMetadata::Payload(_)), "{payload}: {error}");
    }
}
