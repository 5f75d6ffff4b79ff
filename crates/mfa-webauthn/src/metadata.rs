//! What the FIDO Alliance publishes about authenticators: the Metadata Service, version 3.

use std::collections::HashMap;
use std::time::Duration;

use data_encoding::BASE64;
use mfa_domain::passkey::Aaguid;
use mfa_domain::{Label, Timestamp};
use rustls_pki_types::CertificateDer;
use serde::Deserialize;
use thiserror::Error;

#[cfg(test)]
mod fixtures;
mod signed;
#[cfg(test)]
mod tests;

/// A verified metadata blob (FIDO Metadata Service 3.0, 3.1.7).
///
/// It is read from a file of the operator; nothing is fetched. So certificates are checked without revocation lists. A
/// blob of another signer is refused, even if the certificates of that signer lead to a root.
#[derive(Debug)]
pub struct Metadata {
    number: u64,
    next_update: Timestamp,
    entries: HashMap<Aaguid, MetadataEntry>,
}

/// What a blob says about a model of authenticators.
#[derive(Debug, Default)]
pub struct MetadataEntry {
    /// The name that its vendor gives it, cut off at the length of a label.
    pub name: Option<Label>,
    /// Certificates that its attestation leads to. One may be the attestation certificate itself (FIDO Metadata
    /// Statement 3.0, 4, `attestationRootCertificates`). Empty if it cannot be attested.
    pub roots: Vec<CertificateDer<'static>>,
    /// The first status that says not to trust it, such as `REVOKED`; `None` if there is none.
    pub distrust: Option<&'static str>,
}

/// Why a blob was refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum InvalidMetadata {
    /// It is not a signed blob.
    #[error("it is not a metadata blob: three parts of base64url with a point between them")]
    Form,
    /// Its header cannot be read.
    #[error("its header cannot be read: {0}")]
    Header(String),
    /// It is signed in another way, or not at all.
    #[error("it is signed with the algorithm {0:?}; supported are ES256 and RS256")]
    Algorithm(String),
    /// The certificates of its header are missing or cannot be read.
    #[error("its header has no certificates (x5c), or one that cannot be read")]
    Certificates,
    /// A root of the configuration cannot be read.
    #[error("a root certificate of the configuration cannot be read: {0}")]
    Root(String),
    /// A certificate has expired or is not valid yet.
    #[error("a certificate of its signer has expired or is not valid yet")]
    CertificateTime,
    /// Its certificates do not lead to a root of the configuration.
    #[error("the certificates of its signer do not lead to a root of the configuration: {0}")]
    Chain(String),
    /// The certificate of its signer was issued to somebody else.
    #[error("the certificate of its signer is not one of mds.fidoalliance.org")]
    Signer,
    /// The signature is wrong.
    #[error("its signature is wrong")]
    Signature,
    /// Its content cannot be read.
    #[error("its content cannot be read: {0}")]
    Payload(String),
    /// It should have been replaced by a newer one.
    #[error("it is out of date: the next one was announced for {next_update}")]
    Outdated {
        /// The day of the announcement, at 00:00 UTC.
        next_update: Timestamp,
    },
}

impl Metadata {
    /// Verifies and reads a blob: the text of the file that the FIDO Alliance publishes.
    ///
    /// `roots` are the certificates that its signer's certificates have to lead to. The FIDO Alliance uses
    /// `GlobalSign Root CA - R3`.
    ///
    /// # Errors
    /// [`InvalidMetadata`] if it is not one that the FIDO Alliance signed, or not [current](Self::is_current).
    pub fn read(blob: &str, roots: &[CertificateDer<'_>], now: Timestamp) -> Result<Self, InvalidMetadata> {
        let payload = signed::payload(blob, roots, now)?;
        let payload: Payload =
            serde_json::from_slice(&payload).map_err(|e| InvalidMetadata::Payload(e.to_string()))?;
        let metadata = Self::from_payload(payload)?;
        let next_update = metadata.next_update;
        if metadata.is_current(now) { Ok(metadata) } else { Err(InvalidMetadata::Outdated { next_update }) }
    }

    /// What it says about a model; `None` if it does not know the model.
    #[must_use]
    pub fn entry(&self, aaguid: Aaguid) -> Option<&MetadataEntry> {
        self.entries.get(&aaguid)
    }

    /// What it says about each model.
    pub fn entries(&self) -> impl Iterator<Item = (Aaguid, &MetadataEntry)> {
        self.entries.iter().map(|(model, entry)| (*model, entry))
    }

    /// Its number (`no`). A newer blob has a larger one.
    #[must_use]
    pub const fn number(&self) -> u64 {
        self.number
    }

    /// The day for which the next blob is announced, at 00:00 UTC.
    #[must_use]
    pub const fn next_update(&self) -> Timestamp {
        self.next_update
    }

    /// Whether it can still be used: until the end of the day for which the next blob is announced, in UTC. The next
    /// one may come at any time of that day.
    #[must_use]
    pub fn is_current(&self, now: Timestamp) -> bool {
        now < self.next_update.plus(Duration::from_hours(24))
    }

    fn from_payload(payload: Payload) -> Result<Self, InvalidMetadata> {
        let invalid = |name: &str, value: &str| InvalidMetadata::Payload(format!("{name} is {value:?}"));
        let next_update: Timestamp = format!("{}T00:00:00Z", payload.next_update)
            .parse()
            .map_err(|_| invalid("nextUpdate", &payload.next_update))?;
        let mut entries: HashMap<Aaguid, MetadataEntry> = HashMap::new();
        for entry in payload.entries {
            // UAF and U2F authenticators have ids of another kind.
            let Some(aaguid) = entry.aaguid else { continue };
            let aaguid: Aaguid =
                aaguid.to_ascii_lowercase().parse().map_err(|_| invalid("aaguid", &aaguid))?;
            entries.entry(aaguid).or_default().add(entry.metadata_statement, &entry.status_reports);
        }
        Ok(Self { number: payload.no, next_update, entries })
    }
}

impl MetadataEntry {
    /// Statuses that say that an attacker can have or use the keys of an authenticator, or pretend to be one (FIDO
    /// Metadata Service 3.0, 3.1.4).
    const DISTRUST: [&'static str; 5] = [
        "REVOKED",
        "USER_VERIFICATION_BYPASS",
        "ATTESTATION_KEY_COMPROMISE",
        "USER_KEY_REMOTE_COMPROMISE",
        "USER_KEY_PHYSICAL_COMPROMISE",
    ];

    /// Adds to what is known, so that a second entry for the same model cannot hide a status of the first.
    fn add(&mut self, statement: Option<Statement>, reports: &[StatusReport]) {
        if let Some(statement) = statement {
            let name: String = statement.description.trim().chars().take(Label::MAX_LENGTH).collect();
            self.name = self.name.take().or_else(|| Label::new(&name).ok());
            // Without a root that cannot be read, less is trusted, not more.
            let roots = statement.attestation_root_certificates.iter().filter_map(|root| certificate(root));
            self.roots.extend(roots.filter(|root| webpki::anchor_from_trusted_cert(root).is_ok()));
        }
        // Also an old one: that new firmware repairs it does not tell which firmware a user has.
        let stated =
            Self::DISTRUST.into_iter().find(|known| reports.iter().any(|report| report.status == *known));
        self.distrust = self.distrust.or(stated);
    }
}

/// A certificate as blobs write it: base64 of DER. Some vendors break the lines.
fn certificate(base64: &str) -> Option<CertificateDer<'static>> {
    let base64: String = base64.split_ascii_whitespace().collect();
    BASE64.decode(base64.as_bytes()).ok().map(CertificateDer::from)
}

/// `MetadataBLOBPayload`. Other members are ignored, here and below.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Payload {
    no: u64,
    next_update: String,
    entries: Vec<PayloadEntry>,
}

/// `MetadataBLOBPayloadEntry`
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PayloadEntry {
    aaguid: Option<String>,
    metadata_statement: Option<Statement>,
    status_reports: Vec<StatusReport>,
}

/// `MetadataStatement`
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Statement {
    description: String,
    #[serde(default)]
    attestation_root_certificates: Vec<String>,
}

/// `StatusReport`
#[derive(Deserialize)]
struct StatusReport {
    status: String,
}
