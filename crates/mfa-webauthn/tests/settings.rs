//! What `RelyingParty::new` refuses, by name.

use mfa_domain::passkey::Aaguid;
use mfa_domain::ports::Webauthn;
use mfa_webauthn::{AttestationPolicy, InvalidRoots, RelyingParty, Settings, TrustedAuthenticators};

use crate::support::{settings, tenant};

fn problems(settings: Settings) -> Vec<String> {
    RelyingParty::new(settings).err().unwrap_or_default().iter().map(ToString::to_string).collect()
}

#[test]
fn ids_of_relying_parties() {
    for (rp_id, expected) in [
        ("", "must be a domain, such as example.com"),
        ("Example.com", "must be in lower case"),
        ("bücher.example", "must be in ASCII"),
        ("127.0.0.1", "an IP address cannot have passkeys"),
        ("::1", "an IP address cannot have passkeys"),
        ("[::1]", "an IP address cannot have passkeys"),
        ("127.1", "is not a valid domain"),
        ("example.com.", "must not end with a dot"),
        ("https://example.com", "must be a domain alone"),
        ("example.com:443", "must be a domain alone"),
        ("example.com/login", "must be a domain alone"),
        ("*.example.com", "must be a domain alone"),
        ("a..example.com", "is not a valid domain"),
        (".example.com", "is not a valid domain"),
        ("a b.example.com", "is not a valid domain"),
        ("co.uk", "is a public suffix"),
        ("org", "is a public suffix"),
        ("github.io", "is a public suffix"),
        ("intranet", "is a public suffix"),
    ] {
        let settings = Settings { rp_id: rp_id.to_owned(), ..settings() };
        let found = problems(settings);
        assert_eq!(found.len(), 1, "{rp_id}: {found:?}");
        assert!(found[0].starts_with(&format!("rp_id: {rp_id:?} {expected}")), "{found:?}");
    }
    for (rp_id, origin) in [
        ("example.com", "https://example.com"),
        ("login.example.co.uk", "https://login.example.co.uk"),
        ("xn--bcher-kva.example", "https://xn--bcher-kva.example"),
        ("localhost", "http://localhost:8080"),
        ("app.localhost", "http://app.localhost:8080"),
    ] {
        let settings = Settings { rp_id: rp_id.to_owned(), origins: vec![origin.to_owned()], ..settings() };
        assert_eq!(RelyingParty::new(settings).unwrap().rp_id(&tenant()), rp_id);
    }
}

#[test]
fn origins() {
    for (origin, expected) in [
        ("", "must be an origin"),
        ("login.example.com", "must be an origin"),
        ("https://login.example.com/", r#"must be written "https://login.example.com""#),
        ("https://login.example.com/page", r#"must be written "https://login.example.com""#),
        ("https://login.example.com?a", r#"must be written "https://login.example.com""#),
        ("https://login.example.com#a", r#"must be written "https://login.example.com""#),
        ("https://alice@login.example.com", r#"must be written "https://login.example.com""#),
        ("https://Login.example.com", r#"must be written "https://login.example.com""#),
        ("HTTPS://login.example.com", r#"must be written "https://login.example.com""#),
        ("https://login.example.com:443", r#"must be written "https://login.example.com""#),
        ("https://bücher.example.com", r#"must be written "https://xn--bcher-kva.example.com""#),
        ("https://*.example.com", "must be one exact origin"),
        ("*", "must be one exact origin"),
        ("http://login.example.com", "must begin with https"),
        ("http://127.0.0.1:8080", "has an IP address"),
        ("https://[::1]", "has an IP address"),
        ("http://localhost:8080", r#"is not a page of "example.com""#),
        ("ftp://login.example.com", "must be an https origin"),
        ("chrome-extension://abcdefgh", "must be an https origin"),
        ("android:apk-key-hash:", "must end with the SHA-256 hash"),
        ("android:apk-key-hash:90:4B:CC", "must end with the SHA-256 hash"),
        ("android:apk-key-hash:kEvM9-x2", "must end with the SHA-256 hash"),
        ("android:apk-key-hash:kEvM9+x2=", "must end with the SHA-256 hash"),
        ("ios:bundle-id:", "must end with a bundle id"),
        ("ios:bundle-id:com.example/app", "must end with a bundle id"),
    ] {
        let mut settings = settings();
        settings.origins.push(origin.to_owned());
        let found = problems(settings);
        assert_eq!(found.len(), 1, "{origin}: {found:?}");
        assert!(found[0].starts_with(&format!("origins: {origin:?} {expected}")), "{found:?}");
    }
    assert_eq!(problems(Settings { origins: Vec::new(), ..settings() }), ["origins: at least one is needed"]);
}

#[test]
fn https_origins_of_other_sites_are_related_origins() {
    let origins = [
        "https://example.com",
        "https://login.example.com:8443",
        "https://example.co.uk",
        "https://example.de",
        "https://one.example",
        "https://two.example",
        "https://three.example",
        "https://four.example",
        "android:apk-key-hash:kJGSk5SVlpeYmZqbnJ2en6ChoqOkpaanqKmqq6ytrq8",
        "ios:bundle-id:com.example.app",
    ]
    .map(str::to_owned);
    let party = RelyingParty::new(Settings { origins: origins.to_vec(), ..settings() }).unwrap();
    assert_eq!(party.related_origins(), &origins[2..8]);
}

#[test]
fn at_most_five_names_of_other_sites_are_related_origins() {
    let names = ["one", "two", "three", "four", "five", "six"];
    let others = names.map(|name| [format!("https://{name}.example"), format!("https://login.{name}.net")]);
    // That of the relying party itself does not count: browsers do not ask about it.
    let own = ["https://example.com".to_owned(), "https://login.example.com".to_owned()];
    let of = |count: usize| {
        let origins = own.iter().cloned().chain(others[..count].concat()).collect();
        problems(Settings { origins, ..settings() })
    };
    assert_eq!(of(5), [""; 0]);
    let expected = "origins: browsers need not accept more than 5 names of other domains: \
                    five, four, one, six, three, two";
    assert_eq!(of(6), [expected]);
}

#[test]
fn everything_that_is_wrong_is_named_at_once() {
    let settings = Settings {
        rp_id: "co.uk".to_owned(),
        rp_name: " ".to_owned(),
        origins: vec!["https://example.com/".to_owned()],
        top_origins: vec!["partner.example".to_owned(), "https://partner.example".to_owned()],
        attestation: AttestationPolicy::Trusted(TrustedAuthenticators::default()),
    };
    let found = RelyingParty::new(settings).unwrap_err();
    let keys: Vec<_> = found.iter().map(|problem| problem.key).collect();
    assert_eq!(keys, ["rp_id", "rp_name", "origins", "top_origins", "attestation"]);
}

#[test]
fn roots_are_certificates() {
    for pem in ["", "text", "-----BEGIN CERTIFICATE-----\n?\n-----END CERTIFICATE-----\n"] {
        assert_eq!(TrustedAuthenticators::from_pem(Vec::new(), pem).err(), Some(InvalidRoots), "{pem:?}");
    }
    let roots = [include_str!("data/root.pem"), include_str!("data/other_root.pem")].concat();
    let mut trusted = TrustedAuthenticators::from_pem(vec![Aaguid([1; 16])], &roots).unwrap();
    assert_eq!(trusted.roots.len(), 2);
    trusted.roots.push(b"no certificate".to_vec());
    let settings = Settings { attestation: AttestationPolicy::Trusted(trusted), ..settings() };
    assert_eq!(problems(settings), ["attestation: root 3 is not an X.509 certificate"]);
}

#[test]
fn well_known_models_have_names() {
    let party = RelyingParty::new(settings()).unwrap();
    assert_eq!(party.model(Aaguid::default()), None);
    let icloud = Aaguid(*b"\xfb\xfc\x30\x07\x15\x4e\x4e\xcc\x8c\x0b\x6e\x02\x05\x57\xd7\xbd");
    assert_eq!(party.model(icloud).as_deref(), Some("iCloud Keychain"));
}
