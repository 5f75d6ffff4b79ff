//! Ids of relying parties (Web Authentication Level 3, 4, "Relying Party Identifier").

use std::net::IpAddr;

use public_suffix::{DEFAULT_PROVIDER, EffectiveTLDProvider};
use url::Host;

/// Refuses what browsers refuse, and says what to write instead.
pub(super) fn check(rp_id: &str) -> Result<(), String> {
    let problem = if rp_id.is_empty() {
        "must be a domain, such as example.com"
    } else if rp_id.parse::<IpAddr>().is_ok() || rp_id.starts_with('[') {
        "an IP address cannot have passkeys; use a domain, or localhost on this machine"
    } else if rp_id.contains(['/', ':', '@', '?', '#', '*']) {
        "must be a domain alone, without scheme, port, path or wildcard"
    } else if !rp_id.is_ascii() {
        "must be in ASCII: write international domains as browsers send them (xn--…)"
    } else if rp_id.bytes().any(|byte| byte.is_ascii_uppercase()) {
        "must be in lower case"
    } else if rp_id.ends_with('.') {
        "must not end with a dot"
    } else if !is_domain(rp_id) {
        "is not a valid domain"
    } else if rp_id != "localhost" && registrable(rp_id).is_none() {
        "is a public suffix, under which anyone can register; use a domain of your own below it"
    } else {
        return Ok(());
    };
    Err(format!("{rp_id:?} {problem}"))
}

fn is_domain(text: &str) -> bool {
    let labels_fit = text.len() <= 253 && text.split('.').all(|label| (1..=63).contains(&label.len()));
    labels_fit && matches!(Host::parse(text), Ok(Host::Domain(domain)) if domain == text)
}

/// The registrable domain: `example.co.uk` of `login.example.co.uk`; `None` of a public suffix.
pub(super) fn registrable(domain: &str) -> Option<&str> {
    DEFAULT_PROVIDER.effective_tld_plus_one(domain).ok()
}
