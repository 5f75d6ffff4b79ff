//! What the operator configures, and its rules.

use std::collections::BTreeSet;

use thiserror::Error;
use url::Url;

use crate::trusted::TrustedAuthenticators;

mod origin;
mod rp_id;

/// The settings of a [`RelyingParty`](crate::RelyingParty).
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// The domain that passkeys belong to, such as `example.com`. Passkeys are lost when it changes.
    pub rp_id: String,
    /// The name that browsers show.
    pub rp_name: String,
    /// The exact origins of the pages and apps that may run ceremonies, such as `https://login.example.com`.
    pub origins: Vec<String>,
    /// The exact origins of sites that may embed these pages in a frame, for authentication. Usually none.
    pub top_origins: Vec<String>,
    /// Whether new authenticators have to prove their model.
    pub attestation: AttestationPolicy,
}

/// Whether new authenticators have to prove their model (Web Authentication Level 3, 5.4.7).
#[derive(Clone, Debug, Default)]
pub enum AttestationPolicy {
    /// Every authenticator is accepted, and browsers are not asked for a proof.
    #[default]
    None,
    /// Only these authenticators are accepted.
    Trusted(TrustedAuthenticators),
    /// No authenticator is accepted, since nothing can prove its model at present, such as without current metadata.
    /// Authentications go on.
    Suspended,
}

/// A setting that no ceremony could succeed with, or that would let in too many.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{key}: {problem}")]
pub struct InvalidSettings {
    /// The field of [`Settings`].
    pub key: &'static str,
    /// What is wrong with it.
    pub problem: String,
}

/// The registrable labels in `/.well-known/webauthn` that every browser follows (Web Authentication Level 3, 5.11.1).
const MAX_LABELS: usize = 5;

impl Settings {
    /// Everything that is wrong, but for the roots of attestation.
    pub(crate) fn problems(&self) -> Vec<InvalidSettings> {
        let mut problems = Vec::new();
        let mut add = |key, problem: String| problems.push(InvalidSettings { key, problem });
        if let Err(problem) = rp_id::check(&self.rp_id) {
            add("rp_id", problem);
        }
        if self.rp_name.trim().is_empty() {
            add("rp_name", "must not be empty".to_owned());
        }
        if self.origins.is_empty() {
            add("origins", "at least one is needed".to_owned());
        }
        let mut labels = BTreeSet::new();
        for text in &self.origins {
            match origin::check(text, &self.rp_id) {
                Ok(Some(url)) if origin::is_related(text, &self.rp_id) => labels.extend(label(&url)),
                Ok(_) => {}
                Err(problem) => add("origins", problem),
            }
        }
        if labels.len() > MAX_LABELS {
            let names = labels.into_iter().collect::<Vec<_>>().join(", ");
            add(
                "origins",
                format!("browsers need not accept more than {MAX_LABELS} names of other domains: {names}"),
            );
        }
        for text in &self.top_origins {
            if let Err(problem) = origin::web(text) {
                add("top_origins", problem);
            }
        }
        problems
    }

    /// The origins outside the relying party that may use its passkeys.
    pub(crate) fn related_origins(&self) -> Vec<String> {
        self.origins.iter().filter(|text| origin::is_related(text, &self.rp_id)).cloned().collect()
    }
}

/// The registrable label of an https origin: `example` in `https://login.example.co.uk`.
fn label(origin: &Url) -> Option<String> {
    let host = origin.domain().filter(|_| origin.scheme() == "https")?;
    rp_id::registrable(host)?.split('.').next().map(str::to_owned)
}
