//! Signed assertions in the configuration: the table `[assertions]`.

use std::time::Duration;

use actix_web::http::Uri;
use mfa_domain::signing::SigningAlgorithm;
use serde::{Deserialize, Serialize};

use super::settings::ProofOf;
use super::{Settings, duration};

/// Who signs assertions, for whom, and with which keys.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Assertions {
    /// Whether verifications are signed.
    pub(crate) enabled: bool,
    /// `http://` and the address that the server listens on if empty.
    pub(crate) issuer: String,
    /// The tenant if empty.
    pub(crate) audience: String,
    pub(crate) algorithm: Algorithm,
    /// The age at which a signing key is replaced.
    #[serde(with = "duration")]
    pub(crate) rotate_after: Duration,
}

/// [`SigningAlgorithm`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Algorithm {
    #[serde(rename = "ES256")]
    Es256,
    #[serde(rename = "EdDSA")]
    EdDsa,
    Ed25519,
}

/// The most characters of an issuer or audience.
const MAX_LENGTH: usize = 255;

/// The rules of `[assertions]`, and of the option that depends on it.
pub(super) fn rules(settings: &Settings) -> [(&'static str, bool, &'static str); 4] {
    let Settings { assertions, enrolment, .. } = settings;
    let Assertions { enabled, issuer, audience, rotate_after, .. } = assertions;
    let day = Duration::from_hours(24);
    [
        (
            "assertions.issuer",
            issuer.is_empty() || is_issuer(issuer),
            "a URL such as https://mfa.example.com, at most 255 characters, without user name, query and \
             fragment, or empty",
        ),
        // A URL with a user name may contain a password.
        (
            "assertions.audience",
            is_short_ascii(audience) && !audience.contains('@'),
            "at most 255 visible ASCII characters without @",
        ),
        (
            "assertions.rotate_after",
            (Duration::from_hours(1)..=day * 730).contains(rotate_after),
            "1h to 730d",
        ),
        (
            "enrolment.proof",
            *enabled || enrolment.proof == ProofOf::Account,
            "account while assertions.enabled is false, since only an assertion proves a session",
        ),
    ]
}

/// Whether hosts can compare it and take it for a URL (RFC 7519, 4.1.1).
fn is_issuer(text: &str) -> bool {
    let Ok(uri) = text.parse::<Uri>() else { return false };
    let web = matches!(uri.scheme_str(), Some("https" | "http"));
    let host = uri.host().is_some_and(|host| !host.is_empty());
    web && host && is_short_ascii(text) && !text.contains(['@', '?', '#'])
}

fn is_short_ascii(text: &str) -> bool {
    text.len() <= MAX_LENGTH && text.bytes().all(|byte| byte.is_ascii_graphic())
}

impl Default for Assertions {
    fn default() -> Self {
        Self {
            enabled: true,
            issuer: String::new(),
            audience: String::new(),
            algorithm: Algorithm::Es256,
            rotate_after: Duration::from_hours(90 * 24),
        }
    }
}

impl From<Algorithm> for SigningAlgorithm {
    fn from(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Es256 => Self::Es256,
            Algorithm::EdDsa => Self::EdDsa,
            Algorithm::Ed25519 => Self::Ed25519,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Config, Flags};
    use super::*;

    fn load(variables: &[(&str, &str)]) -> Result<Config, String> {
        let variables = variables.iter().map(|(name, value)| ((*name).into(), (*value).into()));
        Config::load(&Flags::default(), variables).map_err(|problems| problems.to_string())
    }

    #[test]
    fn assertions_are_on_unless_something_else_is_set() {
        let config = load(&[]).unwrap();
        let dump = config.to_string();
        let section = "[assertions]\nenabled = true # default\nissuer = \"\" # default\naudience = \"\" # default\n\
                       algorithm = \"ES256\" # default\nrotate_after = \"90d\" # default\n";
        assert!(dump.contains(section) && dump.contains("\nproof = \"session\" # default\n"), "{dump}");
        assert_eq!(SigningAlgorithm::from(config.settings.assertions.algorithm), SigningAlgorithm::default());

        let config = load(&[
            ("MFA_ASSERTIONS_ENABLED", "false"),
            ("MFA_ASSERTIONS_ISSUER", "https://mfa.example.com"),
            ("MFA_ASSERTIONS_AUDIENCE", "https://shop.example.com"),
            ("MFA_ASSERTIONS_ALGORITHM", "EdDSA"),
            ("MFA_ASSERTIONS_ROTATE_AFTER", "30d"),
            ("MFA_ENROLMENT_PROOF", "account"),
        ])
        .unwrap();
        let dump = config.to_string();
        for line in [
            "enabled = false # environment, MFA_ASSERTIONS_ENABLED\n",
            "issuer = \"https://mfa.example.com\" # environment, MFA_ASSERTIONS_ISSUER\n",
            "audience = \"https://shop.example.com\" # environment, MFA_ASSERTIONS_AUDIENCE\n",
            "algorithm = \"EdDSA\" # environment, MFA_ASSERTIONS_ALGORITHM\n",
            "rotate_after = \"30d\" # environment, MFA_ASSERTIONS_ROTATE_AFTER\n",
            "proof = \"account\" # environment, MFA_ENROLMENT_PROOF\n",
        ] {
            assert!(dump.contains(line), "{line} in\n{dump}");
        }
    }

    #[test]
    fn every_algorithm_is_read_by_its_name_in_headers() {
        for algorithm in SigningAlgorithm::ALL {
            let config = load(&[("MFA_ASSERTIONS_ALGORITHM", algorithm.as_str())]).unwrap();
            assert_eq!(SigningAlgorithm::from(config.settings.assertions.algorithm), algorithm);
        }
    }

    #[test]
    fn what_hosts_could_not_use_is_refused_by_name() {
        let long = format!("https://mfa.example.com/{}", "x".repeat(MAX_LENGTH));
        for (name, values) in [
            (
                "issuer",
                &[
                    "mfa.example.com",
                    "mfa",
                    "urn:mfa",
                    "/mfa",
                    "ftp://mfa.example.com",
                    "https://",
                    "https://mfa@mfa.example.com",
                    "https://mfa.example.com?a=b",
                    "https://mfa.example.com#a",
                    "https://mfa.example.com/a b",
                    "https://m\u{fc}nchen.example",
                    "https://mfa.example.com/\u{fc}",
                    &long,
                ][..],
            ),
            ("audience", &["two words", "caf\u{e9}", "mfa@example.com", "a\nb", &long]),
            ("rotate_after", &["59m", "731d"]),
        ] {
            let key = name.to_uppercase();
            for value in values {
                let problem = load(&[(&format!("MFA_ASSERTIONS_{key}"), value)]).unwrap_err();
                let start = format!(
                    "the configuration is not valid: assertions.{name} (environment, MFA_ASSERTIONS_{key}): must be "
                );
                assert!(problem.starts_with(&start), "{value}: {problem}");
            }
        }
        for algorithm in ["", "none", "HS256", "es256", "RS256"] {
            let variables = [("MFA_ASSERTIONS_ALGORITHM", algorithm)];
            // An empty variable is not set.
            assert_eq!(load(&variables).is_ok(), algorithm.is_empty(), "{algorithm}");
        }
        for (name, value) in [
            ("ISSUER", "http://127.0.0.1:8080"),
            ("ISSUER", "https://[2001:db8::1]/mfa/"),
            ("AUDIENCE", "shop"),
            ("AUDIENCE", "api://shop?a=b#c"),
            ("ROTATE_AFTER", "1h"),
            ("ROTATE_AFTER", "730d"),
        ] {
            let loaded = load(&[(&format!("MFA_ASSERTIONS_{name}"), value)]);
            assert!(loaded.is_ok(), "{name}={value}: {loaded:?}");
        }
    }

    /// Otherwise no change of factors could ever be authorised.
    #[test]
    fn a_proof_of_a_session_needs_assertions() {
        let off = ("MFA_ASSERTIONS_ENABLED", "false");
        let needs =
            "must be account while assertions.enabled is false, since only an assertion proves a session";
        let problem = load(&[off]).unwrap_err();
        assert_eq!(problem, format!("the configuration is not valid: enrolment.proof: {needs}"));
        let problem = load(&[off, ("MFA_ENROLMENT_PROOF", "session")]).unwrap_err();
        assert!(
            problem.contains("enrolment.proof (environment, MFA_ENROLMENT_PROOF): must be account"),
            "{problem}"
        );
        for proof in ["session", "account"] {
            assert!(load(&[("MFA_ENROLMENT_PROOF", proof)]).is_ok(), "{proof}");
        }
        assert!(load(&[off, ("MFA_ENROLMENT_PROOF", "account")]).is_ok());
    }

    #[test]
    fn an_issuer_that_differs_between_servers_or_means_nothing_elsewhere_is_warned_of() {
        let warned = |variables: &[(&str, &str)]| {
            let warnings = load(variables).unwrap().warnings;
            let about = |warning: &String| warning.starts_with("assertions.issuer: is not set");
            warnings.iter().any(about)
        };
        let (everywhere, here) = (("MFA_LISTEN", "0.0.0.0:8080"), ("MFA_LISTEN", "127.0.0.1:0"));
        let shared = ("MFA_STORE", "postgres://mfa:secret@db.example.com/mfa");
        let redis = ("MFA_STORE", "redis://db.example.com");
        let issuer = ("MFA_ASSERTIONS_ISSUER", "https://mfa.example.com");
        let off = [("MFA_ASSERTIONS_ENABLED", "false"), ("MFA_ENROLMENT_PROOF", "account")];
        for given in [everywhere, shared, redis] {
            assert!(warned(&[given]), "{given:?}");
            assert!(!warned(&[given, issuer]), "{given:?}");
            assert!(!warned(&[given, off[0], off[1]]), "{given:?}");
        }
        assert!(!warned(&[here]));
    }
}
