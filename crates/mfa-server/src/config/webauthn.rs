//! Passkeys in the configuration: the table `[webauthn]`, and the rules that need no WebAuthn library.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use actix_web::http::Uri;
use mfa_domain::otp_core::uri;
use mfa_domain::passkey::{Aaguid, ResidentKey, UserVerification};
use mfa_domain::policy::StandardPasskeys;
use serde::{Deserialize, Serialize};

use super::Settings;
use super::rules::is_path;

/// The relying party, [`StandardPasskeys`], and the addresses of the application's pages.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Webauthn {
    /// `localhost` if empty and the server listens on a loopback address; otherwise passkeys are off if empty.
    pub(crate) rp_id: String,
    /// That of this server on `localhost` if empty.
    pub(crate) origins: Vec<String>,
    /// The issuer if empty, and then the relying party's id.
    pub(crate) name: String,
    /// The sites that may frame the application's pages.
    pub(crate) top_origins: Vec<String>,
    pub(crate) user_verification: Preference,
    pub(crate) resident_key: Preference,
    pub(crate) refuse_clones: bool,
    pub(crate) attestation: Attestation,
    /// The models of authenticators that are allowed, as AAGUIDs; all trusted ones if empty.
    pub(crate) authenticators: Vec<String>,
    /// Certificates of manufacturers; none if empty.
    pub(crate) roots_file: PathBuf,
    /// A blob of the FIDO Metadata Service; none if empty.
    pub(crate) metadata_file: PathBuf,
    /// The certificates that the signature of the blob leads to.
    pub(crate) metadata_roots_file: PathBuf,
    /// The page of the application to create a passkey; none if empty.
    pub(crate) enroll_url: String,
    /// The page of the application to manage passkeys; none if empty.
    pub(crate) manage_url: String,
    /// A former `rp_id` whose passkeys are given up; none if empty.
    pub(crate) abandon_rp_id: String,
}

/// [`UserVerification`] and [`ResidentKey`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Preference {
    Required,
    Preferred,
    Discouraged,
}

/// What new passkeys must prove about their authenticator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Attestation {
    None,
    Trusted,
}

/// The relying party for trying out. Browsers trust its pages without TLS, and take no IP address instead.
pub(crate) const LOCALHOST: &str = "localhost";

/// The rules of `[webauthn]`. The relying party checks its ids and origins itself.
pub(super) fn rules(settings: &Settings) -> [(&'static str, bool, &'static str); 12] {
    let Settings { webauthn, listen, .. } = settings;
    let Webauthn { roots_file, metadata_file, metadata_roots_file, .. } = webauthn;
    let trusted = webauthn.attestation == Attestation::Trusted;
    let is_set = |path: &Path| !path.as_os_str().is_empty();
    let may_be_path = |path: &Path| !is_set(path) || (trusted && is_path(path));
    [
        (
            "webauthn.rp_id",
            if webauthn.rp_id.is_empty() {
                is_local(webauthn, listen.ip())
            } else {
                is_host(&webauthn.rp_id)
            },
            "a domain such as example.com, without scheme and port; required if webauthn.origins or \
             webauthn.top_origins is set, unless `listen` is a loopback address and all origins are on \
             http://localhost",
        ),
        (
            "webauthn.origins",
            if webauthn.origins.is_empty() {
                webauthn.rp_id.is_empty() || (webauthn.rp_id == LOCALHOST && listen.ip().is_loopback())
            } else {
                !names_a_user(&webauthn.origins)
            },
            "origins such as https://example.com, without user name; required if webauthn.rp_id is set",
        ),
        (
            "webauthn.top_origins",
            !names_a_user(&webauthn.top_origins),
            "origins such as https://example.com, without user name",
        ),
        (
            "webauthn.name",
            webauthn.name.is_empty() || uri::check_issuer(&webauthn.name).is_ok(),
            "at most 256 bytes without a colon and without control characters",
        ),
        (
            "webauthn.attestation",
            !trusted || is_set(roots_file) || is_set(metadata_file),
            "none if neither webauthn.roots_file nor webauthn.metadata_file is set",
        ),
        // Without attestation everybody could claim a model, and an operator who lists some must not be misled.
        (
            "webauthn.authenticators",
            webauthn.authenticators.is_empty() || (trusted && are_models(&webauthn.authenticators)),
            "AAGUIDs in lower case, such as 08987058-cadc-4b81-b6e1-30de50dcbe96, if webauthn.attestation is \
             trusted, and empty if it is not",
        ),
        ("webauthn.roots_file", may_be_path(roots_file), FILE),
        ("webauthn.metadata_file", may_be_path(metadata_file), FILE),
        (
            "webauthn.metadata_roots_file",
            may_be_path(metadata_roots_file) && is_set(metadata_roots_file) == is_set(metadata_file),
            "a path if webauthn.metadata_file is set, and empty if it is not",
        ),
        ("webauthn.enroll_url", webauthn.enroll_url.is_empty() || is_page(&webauthn.enroll_url), PAGE),
        ("webauthn.manage_url", webauthn.manage_url.is_empty() || is_page(&webauthn.manage_url), PAGE),
        (
            "webauthn.abandon_rp_id",
            webauthn.abandon_rp_id.is_empty()
                || (is_host(&webauthn.abandon_rp_id) && webauthn.abandon_rp_id != webauthn.rp_id),
            "a domain other than webauthn.rp_id, or empty",
        ),
    ]
}

const FILE: &str = "a path, or empty; empty if webauthn.attestation is not trusted";
const PAGE: &str = "a URL such as https://example.com/account, without user name and fragment, or empty";

/// Whether the relying party needs no id: it is `localhost`, or passkeys are off and no option expects them to work.
fn is_local(webauthn: &Webauthn, listen: IpAddr) -> bool {
    let Webauthn { origins, top_origins, .. } = webauthn;
    let mut all = origins.iter().chain(top_origins);
    let on_localhost = |origin: &String| {
        let host = origin.parse::<Uri>().ok().and_then(|uri| uri.host().map(str::to_owned));
        host.is_some_and(|host| host == LOCALHOST)
    };
    if listen.is_loopback() { all.all(on_localhost) } else { all.next().is_none() }
}

/// Whether it may be the name of a host. A URL may contain a password, which other messages could show.
fn is_host(text: &str) -> bool {
    !text.contains(['@', ':', '/'])
}

/// Whether one has a user name, and perhaps a password, which other messages could show.
fn names_a_user(origins: &[String]) -> bool {
    origins.iter().any(|origin| origin.contains('@'))
}

fn are_models(texts: &[String]) -> bool {
    texts.iter().all(|text| text.parse::<Aaguid>().is_ok_and(|aaguid| !aaguid.is_hidden()))
}

/// Whether browsers can open it: `https`, or `http` on this machine for trying out.
fn is_page(text: &str) -> bool {
    let Ok(uri) = text.parse::<Uri>() else { return false };
    let secure = match uri.scheme_str() {
        Some("https") => uri.host().is_some_and(|host| !host.is_empty()),
        Some("http") => uri.host() == Some(LOCALHOST),
        _ => false,
    };
    secure && !text.contains(['@', '#'])
}

impl From<StandardPasskeys> for Webauthn {
    fn from(policy: StandardPasskeys) -> Self {
        let StandardPasskeys { user_verification, resident_key, refuse_clones } = policy;
        Self {
            rp_id: String::new(),
            origins: Vec::new(),
            name: String::new(),
            top_origins: Vec::new(),
            user_verification: match user_verification {
                UserVerification::Required => Preference::Required,
                UserVerification::Preferred => Preference::Preferred,
                UserVerification::Discouraged => Preference::Discouraged,
            },
            resident_key: match resident_key {
                ResidentKey::Required => Preference::Required,
                ResidentKey::Preferred => Preference::Preferred,
                ResidentKey::Discouraged => Preference::Discouraged,
            },
            refuse_clones,
            attestation: Attestation::None,
            authenticators: Vec::new(),
            roots_file: PathBuf::new(),
            metadata_file: PathBuf::new(),
            metadata_roots_file: PathBuf::new(),
            enroll_url: String::new(),
            manage_url: String::new(),
            abandon_rp_id: String::new(),
        }
    }
}

impl From<&Webauthn> for StandardPasskeys {
    fn from(settings: &Webauthn) -> Self {
        let Webauthn { user_verification, resident_key, refuse_clones, .. } = *settings;
        Self {
            user_verification: match user_verification {
                Preference::Required => UserVerification::Required,
                Preference::Preferred => UserVerification::Preferred,
                Preference::Discouraged => UserVerification::Discouraged,
            },
            resident_key: match resident_key {
                Preference::Required => ResidentKey::Required,
                Preference::Preferred => ResidentKey::Preferred,
                Preference::Discouraged => ResidentKey::Discouraged,
            },
            refuse_clones,
        }
    }
}
