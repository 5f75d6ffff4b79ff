//! What the authenticator states and signs (Web Authentication Level 3, 6.1).

use ciborium::Value;
use mfa_domain::passkey::Aaguid;
use mfa_domain::ports::CredentialRefusal;

use crate::relying_party::RelyingParty;

/// Authenticator data.
pub(crate) struct AuthenticatorData<'a> {
    rp_id_hash: &'a [u8; 32],
    flags: u8,
    pub(crate) sign_count: u32,
    /// In a registration: the new credential.
    pub(crate) attested: Option<AttestedCredential<'a>>,
}

/// Attested credential data (6.5.1).
pub(crate) struct AttestedCredential<'a> {
    pub(crate) aaguid: Aaguid,
    pub(crate) credential_id: &'a [u8],
    /// The COSE algorithm of its public key.
    pub(crate) algorithm: i64,
}

const USER_PRESENT: u8 = 1;
const USER_VERIFIED: u8 = 1 << 2;
const BACKUP_ELIGIBLE: u8 = 1 << 3;
const BACKED_UP: u8 = 1 << 4;
const ATTESTED: u8 = 1 << 6;
const EXTENSIONS: u8 = 1 << 7;

impl<'a> AuthenticatorData<'a> {
    /// Reads it to its last byte.
    pub(crate) fn read(bytes: &'a [u8]) -> Result<Self, CredentialRefusal> {
        Self::parse(bytes).ok_or(CredentialRefusal::AuthenticatorData)
    }

    fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (rp_id_hash, rest) = bytes.split_first_chunk()?;
        let (&flags, rest) = rest.split_first()?;
        let (sign_count, mut rest) = rest.split_first_chunk()?;
        let attested = if flags & ATTESTED == 0 { None } else { Some(AttestedCredential::take(&mut rest)?) };
        if flags & EXTENSIONS != 0 {
            item(&mut rest)?.as_map()?;
        }
        rest.is_empty().then_some(Self {
            rp_id_hash,
            flags,
            sign_count: u32::from_be_bytes(*sign_count),
            attested,
        })
    }

    /// Steps 14 to 17 of 7.1, and 15 to 18 of 7.2.
    pub(crate) fn check(
        &self,
        party: &RelyingParty,
        user_verification_required: bool,
    ) -> Result<(), CredentialRefusal> {
        let refusal = if *self.rp_id_hash != party.rp_id_hash {
            CredentialRefusal::RelyingParty
        } else if !self.has(USER_PRESENT) {
            CredentialRefusal::UserPresence
        } else if user_verification_required && !self.user_verified() {
            CredentialRefusal::UserVerification
        } else if self.backed_up() && !self.backup_eligible() {
            CredentialRefusal::BackupState
        } else {
            return Ok(());
        };
        Err(refusal)
    }

    pub(crate) const fn user_verified(&self) -> bool {
        self.has(USER_VERIFIED)
    }

    pub(crate) const fn backup_eligible(&self) -> bool {
        self.has(BACKUP_ELIGIBLE)
    }

    pub(crate) const fn backed_up(&self) -> bool {
        self.has(BACKED_UP)
    }

    const fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

impl<'a> AttestedCredential<'a> {
    fn take(rest: &mut &'a [u8]) -> Option<Self> {
        let (aaguid, after) = rest.split_first_chunk()?;
        let (length, after) = after.split_first_chunk()?;
        let (credential_id, after) = after.split_at_checked(u16::from_be_bytes(*length).into())?;
        *rest = after;
        let algorithm = algorithm(&item(rest)?)?;
        Some(Self { aaguid: Aaguid(*aaguid), credential_id, algorithm })
    }
}

/// The member `alg` of a COSE key (RFC 9052, 7.1).
fn algorithm(key: &Value) -> Option<i64> {
    let label = Value::from(3);
    let (_, algorithm) = key.as_map()?.iter().find(|(key, _)| *key == label)?;
    i64::try_from(algorithm.as_integer()?).ok()
}

/// One item of CBOR, with no more levels than credentials and extensions need.
fn item(rest: &mut &[u8]) -> Option<Value> {
    ciborium::de::from_reader_with_recursion_limit(rest, 8).ok()
}
