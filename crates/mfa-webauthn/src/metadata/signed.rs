//! The signature of a metadata blob: a compact JWS (RFC 7515) with the certificates of its signer.

use std::time::Duration;

use data_encoding::BASE64URL_NOPAD;
use mfa_domain::Timestamp;
use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use rustls_pki_types::{
    AlgorithmIdentifier, CertificateDer, InvalidSignature, ServerName, SignatureVerificationAlgorithm,
    UnixTime, alg_id,
};
use serde::Deserialize;
use serde::de::IgnoredAny;
use webpki::{EndEntityCert, KeyUsage};

use super::{InvalidMetadata, certificate};

/// Whom the certificate of the signer has to be issued to. The root is one of the public web: without this check,
/// whoever has a certificate for any site could sign a blob.
const SIGNER: &str = "mds.fidoalliance.org";

/// Verifies a blob and returns its payload.
pub(super) fn payload(
    blob: &str,
    roots: &[CertificateDer<'_>],
    now: Timestamp,
) -> Result<Vec<u8>, InvalidMetadata> {
    let (message, signature) = blob.trim().rsplit_once('.').ok_or(InvalidMetadata::Form)?;
    let (header, payload) = message.split_once('.').ok_or(InvalidMetadata::Form)?;
    let decoded = |part: &str| BASE64URL_NOPAD.decode(part.as_bytes()).map_err(|_| InvalidMetadata::Form);
    let (header, payload, signature) = (decoded(header)?, decoded(payload)?, decoded(signature)?);

    let header = Header::read(&header)?;
    let algorithm = header.algorithm()?;
    let certificates = header.certificates()?;
    let signer = trusted_signer(&certificates, roots, now)?;
    signer
        .verify_signature(algorithm, message.as_bytes(), &signature)
        .map_err(|_| InvalidMetadata::Signature)?;
    Ok(payload)
}

/// The JOSE header. Other members are ignored, among them `x5u`, from which nothing is fetched.
#[derive(Deserialize)]
struct Header {
    alg: String,
    #[serde(default)]
    x5c: Vec<String>,
    crit: Option<IgnoredAny>,
}

impl Header {
    fn read(json: &[u8]) -> Result<Self, InvalidMetadata> {
        let header: Self =
            serde_json::from_slice(json).map_err(|e| InvalidMetadata::Header(e.to_string()))?;
        if header.crit.is_some() {
            return Err(InvalidMetadata::Header(
                "it needs extensions (crit), and none is supported".to_owned(),
            ));
        }
        Ok(header)
    }

    /// The algorithm of the signature. That the key is one for it is checked with the signature.
    fn algorithm(&self) -> Result<&'static dyn SignatureVerificationAlgorithm, InvalidMetadata> {
        match self.alg.as_str() {
            "ES256" => Ok(&Es256),
            "RS256" => Ok(webpki::ring::RSA_PKCS1_2048_8192_SHA256),
            other => Err(InvalidMetadata::Algorithm(other.to_owned())),
        }
    }

    /// The certificate of the signer, then those that lead to a root.
    fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, InvalidMetadata> {
        self.x5c.iter().map(|base64| certificate(base64).ok_or(InvalidMetadata::Certificates)).collect()
    }
}

/// The certificate of the signer, if it leads to a root and is one of [`SIGNER`].
fn trusted_signer<'a>(
    certificates: &'a [CertificateDer<'a>],
    roots: &[CertificateDer<'_>],
    now: Timestamp,
) -> Result<EndEntityCert<'a>, InvalidMetadata> {
    let (signer, others) = certificates.split_first().ok_or(InvalidMetadata::Certificates)?;
    let signer = EndEntityCert::try_from(signer).map_err(|_| InvalidMetadata::Certificates)?;
    let anchors = roots
        .iter()
        .map(|root| webpki::anchor_from_trusted_cert(root).map_err(|e| InvalidMetadata::Root(e.to_string())))
        .collect::<Result<Vec<_>, _>>()?;
    let time = UnixTime::since_unix_epoch(Duration::from_secs(now.unix_seconds()));
    let usage = KeyUsage::server_auth();
    signer
        .verify_for_usage(webpki::ALL_VERIFICATION_ALGS, &anchors, others, time, usage, None, None)
        .map_err(|error| match error {
            webpki::Error::CertExpired { .. } | webpki::Error::CertNotValidYet { .. } => {
                InvalidMetadata::CertificateTime
            }
            other => InvalidMetadata::Chain(other.to_string()),
        })?;
    let name = ServerName::try_from(SIGNER).map_err(|_| InvalidMetadata::Signer)?;
    signer.verify_is_valid_for_subject_name(&name).map_err(|_| InvalidMetadata::Signer)?;
    Ok(signer)
}

/// ECDSA on P-256 with SHA-256 and a signature as JWS has it: two numbers of 32 bytes (RFC 7518, 3.4). Certificates
/// have them in ASN.1.
#[derive(Debug)]
struct Es256;

impl SignatureVerificationAlgorithm for Es256 {
    fn verify_signature(
        &self,
        public_key: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), InvalidSignature> {
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, public_key)
            .verify(message, signature)
            .map_err(|_| InvalidSignature)
    }

    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        alg_id::ECDSA_P256
    }

    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        alg_id::ECDSA_SHA256
    }
}
