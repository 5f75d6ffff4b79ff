//! Authenticators that prove their model by a certificate.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

use data_encoding::BASE64;
use mfa_domain::passkey::Aaguid;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use thiserror::Error;
use uuid::Uuid;
use webauthn_rs_core::proto::{AttestationCaList, AttestationCaListBuilder};

use crate::metadata::Metadata;
use crate::settings::{AttestationPolicy, InvalidSettings};

/// Authenticators that are accepted, by model and by root certificate.
#[derive(Clone, Debug, Default)]
pub struct TrustedAuthenticators {
    /// The models that are accepted; empty for every model whose certificate leads to a root.
    pub models: Vec<Aaguid>,
    /// Root certificates in DER, which may vouch for any model.
    pub roots: Vec<Vec<u8>>,
    /// Models with their roots. A model that it distrusts is refused, whatever its certificate leads to. There must be
    /// either this or a root.
    pub metadata: Option<Arc<Metadata>>,
}

/// Root certificates that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("must be one or more certificates in PEM")]
pub struct InvalidRoots;

/// The same, as the library wants it. Trusts nothing by default.
#[derive(Debug, Default)]
pub(crate) struct Trust {
    pub(crate) models: Vec<Aaguid>,
    /// Nothing is trusted if it is empty.
    pub(crate) roots: AttestationCaList,
    metadata: Option<Arc<Metadata>>,
}

impl TrustedAuthenticators {
    /// Reads the roots from PEM.
    ///
    /// # Errors
    /// [`InvalidRoots`] if there is no certificate, or one that is not PEM.
    pub fn from_pem(models: Vec<Aaguid>, roots: &str) -> Result<Self, InvalidRoots> {
        let roots = CertificateDer::pem_slice_iter(roots.as_bytes())
            .map(|root| root.map(|root| root.to_vec()))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|_| InvalidRoots)?;
        if roots.is_empty() { Err(InvalidRoots) } else { Ok(Self { models, roots, metadata: None }) }
    }
}

impl Trust {
    /// What a policy trusts; `None` if it asks for no attestation.
    pub(crate) fn of(policy: &AttestationPolicy) -> Result<Option<Arc<Self>>, InvalidSettings> {
        let trust = match policy {
            AttestationPolicy::None => return Ok(None),
            AttestationPolicy::Suspended => Self::default(),
            AttestationPolicy::Trusted(trusted) => {
                Self::new(trusted).map_err(|problem| InvalidSettings { key: "attestation", problem })?
            }
        };
        Ok(Some(Arc::new(trust)))
    }

    fn new(trusted: &TrustedAuthenticators) -> Result<Self, String> {
        let mut roots = AttestationCaList::default();
        for (place, root) in trusted.roots.iter().enumerate() {
            let root = AttestationCaList::try_from(pem(root).as_bytes())
                .map_err(|_| format!("root {} is not an X.509 certificate", place + 1))?;
            roots.union(&root);
        }
        if let Some(metadata) = &trusted.metadata {
            roots.union(&published(metadata));
        }
        if roots.is_empty() {
            return Err("at least one root certificate is needed".to_owned());
        }
        Ok(Self { models: trusted.models.clone(), roots, metadata: trusted.metadata.clone() })
    }

    pub(crate) fn allows(&self, model: Aaguid) -> bool {
        let listed = self.models.is_empty() || self.models.contains(&model);
        let entry = self.metadata.as_ref().and_then(|metadata| metadata.entry(model));
        listed && entry.is_none_or(|entry| entry.distrust.is_none())
    }

    /// The name that the metadata gives a model.
    pub(crate) fn name_of(&self, model: Aaguid) -> Option<&str> {
        let entry = self.metadata.as_ref()?.entry(model)?;
        Some(entry.name.as_ref()?.as_str())
    }
}

/// The roots of a metadata blob, each for the models that it vouches for.
fn published(metadata: &Metadata) -> AttestationCaList {
    let mut roots = AttestationCaListBuilder::new();
    for (model, entry) in metadata.entries() {
        for root in &entry.roots {
            // The library takes only some sorts of certificates. A model is refused if it takes none of its roots.
            let _ = roots.insert_device_der(root, Uuid::from_bytes(model.0), String::new(), BTreeMap::new());
        }
    }
    roots.build()
}

/// The library reads a root for all models from PEM alone.
fn pem(der: &[u8]) -> String {
    let mut pem = "-----BEGIN CERTIFICATE-----\n".to_owned();
    // 48 bytes make a line of 64 characters (RFC 7468).
    for line in der.chunks(48) {
        // Writing to a string does not fail.
        let _ = writeln!(pem, "{}", BASE64.encode_display(line));
    }
    pem + "-----END CERTIFICATE-----\n"
}
