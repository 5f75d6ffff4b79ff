//! The audit trail: the events of an account, each chained to the one before it.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::{AccountKey, Actor, FactorId, Timestamp};

/// One event of one account. Never contains a secret, a code or a label.
///
/// `hash` is SHA-256 over everything else in the event, the key of the account and the hash of the event before it.
/// So an event that was changed, moved or removed from the middle is detected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEvent {
    /// 1 for the first event of the account, then ascending by 1.
    pub sequence: u64,
    /// When it was decided.
    pub at: Timestamp,
    /// The kind of the event.
    pub kind: EventKind,
    /// The factor that it is about; `None` if it is about no single one.
    pub factor: Option<FactorId>,
    /// The actor, in the form that [`Actor`] displays.
    pub actor: String,
    /// Details by name: `factor_kind`, `form`, `until`, `remaining`, `reason`, `codes`, `replaced_by`, `key`.
    pub detail: BTreeMap<String, String>,
    /// The hash of the event before this one; zeros for the first.
    pub previous: EventHash,
    /// The hash of this event.
    pub hash: EventHash,
}

/// The SHA-256 hash of an event.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct EventHash(pub [u8; 32]);

/// An end of an account's chain. It stands for every event up to it: their number, and the hash of the last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AuditHead {
    /// The sequence number of the last event; 0 if there is none.
    pub sequence: u64,
    /// The hash of that event; zeros if there is none.
    pub hash: EventHash,
}

/// The kind of an event.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EventKind {
    /// A factor was offered and waits for its first code.
    EnrolmentStarted,
    /// A pending factor was given up or expired.
    EnrolmentAbandoned,
    /// A first code made a factor active.
    FactorActivated,
    /// An operator imported an active factor, without a first code.
    FactorImported,
    /// The label of a factor was changed.
    FactorRenamed,
    /// A factor was removed.
    FactorRevoked,
    /// A counter-based factor was resynchronised.
    FactorResynchronised,
    /// An operator let a factor whose last step was in the future accept codes again.
    FactorSetBack,
    /// A code was rejected, and a factor can accept none before `until`, since its last step is in the future.
    FactorAhead,
    /// The secret of a factor was sealed again with the newest key.
    SecretResealed,
    /// A code was generated and queued for an address of the user.
    CodeSent,
    /// A code that a user may wait for was given up. Its `reason` is `refused` by the server, `not_sent` by the last
    /// try, `expired` or `over` before a try, or `unknown` if the message may have arrived by a try whose result is
    /// unknown. (A try that was cut off by a crash after a failed one does not count as unknown.)
    CodeNotSent,
    /// A code was accepted.
    Verified,
    /// A code was evaluated and rejected. Only this event costs an attempt.
    VerificationFailed,
    /// A used code was sent again. A quota limits how many are recorded.
    Replayed,
    /// A new passkey was refused, or an assertion with a right signature (detail: `reason`). Costs no attempt.
    CredentialRefused,
    /// The signature counter of a passkey did not grow, so there may be a copy of it (detail: `stored`, `received`).
    PossibleClone,
    /// A passkey that was imported told for the first time whether it can be backed up (detail: `backup_eligible`).
    BackupEligibilityRecorded,
    /// A passkey was backed up, or is no longer (detail: `backed_up`).
    BackupStateChanged,
    /// The failures so far locked the account.
    Locked,
    /// The failures so far disabled the factors of the account.
    Disabled,
    /// Backup codes were issued; older ones stopped working.
    BackupCodesIssued,
    /// An operator lifted a lock.
    Unlocked,
    /// An operator removed every factor and backup code.
    Reset,
    /// Everything but this trail was erased.
    Erased,
    /// Passkeys are for another relying party from now on (detail: `from` and `to`, empty for none; `stranded`, the
    /// number of passkeys that no longer work, or `unknown`). Only in the account of the installation.
    RelyingPartySet,
    /// An operator made the change that follows without the verification that it needs (detail: `change`, `reason`).
    ProofOverridden,
    /// A key that signs assertions was made (detail: `key`, `algorithm`, `signs_from`). Only in the account of the
    /// installation, as the next two.
    SigningKeyMade,
    /// A key that signed assertions is no longer published (detail: `key`).
    SigningKeyRetired,
    /// An operator ended a key at once (detail: `key`, `reason`).
    SigningKeyRevoked,
    /// A kind that a newer version wrote and this version does not know.
    Other(String),
}

/// All known kinds and their names.
const KINDS: [(EventKind, &str); 30] = [
    (EventKind::EnrolmentStarted, "enrolment_started"),
    (EventKind::EnrolmentAbandoned, "enrolment_abandoned"),
    (EventKind::FactorActivated, "factor_activated"),
    (EventKind::FactorImported, "factor_imported"),
    (EventKind::FactorRenamed, "factor_renamed"),
    (EventKind::FactorRevoked, "factor_revoked"),
    (EventKind::FactorResynchronised, "factor_resynchronised"),
    (EventKind::FactorSetBack, "factor_set_back"),
    (EventKind::FactorAhead, "factor_ahead"),
    (EventKind::SecretResealed, "secret_resealed"),
    (EventKind::CodeSent, "code_sent"),
    (EventKind::CodeNotSent, "code_not_sent"),
    (EventKind::Verified, "verified"),
    (EventKind::VerificationFailed, "verification_failed"),
    (EventKind::Replayed, "replayed"),
    (EventKind::CredentialRefused, "credential_refused"),
    (EventKind::PossibleClone, "possible_clone"),
    (EventKind::BackupEligibilityRecorded, "backup_eligibility_recorded"),
    (EventKind::BackupStateChanged, "backup_state_changed"),
    (EventKind::Locked, "locked"),
    (EventKind::Disabled, "disabled"),
    (EventKind::BackupCodesIssued, "backup_codes_issued"),
    (EventKind::Unlocked, "unlocked"),
    (EventKind::Reset, "reset"),
    (EventKind::Erased, "erased"),
    (EventKind::RelyingPartySet, "relying_party_set"),
    (EventKind::ProofOverridden, "proof_overridden"),
    (EventKind::SigningKeyMade, "signing_key_made"),
    (EventKind::SigningKeyRetired, "signing_key_retired"),
    (EventKind::SigningKeyRevoked, "signing_key_revoked"),
];

impl EventKind {
    /// The stable name in stores and the API.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Other(name) => name,
            known => KINDS.iter().find(|(kind, _)| kind == known).map_or("", |(_, name)| name),
        }
    }

    /// The kind with this name; [`EventKind::Other`] if unknown.
    #[must_use]
    pub fn from_name(name: &str) -> Self {
        let known = KINDS.iter().find(|(_, known)| *known == name);
        known.map_or_else(|| Self::Other(name.to_owned()), |(kind, _)| kind.clone())
    }
}

impl AuditHead {
    /// Makes the next event in the chain of `key`.
    #[must_use]
    pub fn next(
        &self,
        key: &AccountKey,
        at: Timestamp,
        actor: &Actor,
        kind: EventKind,
        factor: Option<FactorId>,
        detail: BTreeMap<String, String>,
    ) -> AuditEvent {
        let mut event = AuditEvent {
            sequence: self.sequence + 1,
            at,
            kind,
            factor,
            actor: actor.to_string(),
            detail,
            previous: self.hash,
            hash: EventHash::default(),
        };
        event.hash = event.computed_hash(key);
        event
    }

    /// The head after `event` is appended.
    ///
    /// # Errors
    /// [`BrokenChain`] if `event` is not the unaltered next event in the chain of `key`.
    pub fn extend(&self, key: &AccountKey, event: &AuditEvent) -> Result<Self, BrokenChain> {
        let follows = event.sequence == self.sequence + 1 && event.previous == self.hash;
        if follows && event.hash == event.computed_hash(key) {
            return Ok(event.head());
        }
        Err(BrokenChain { sequence: self.sequence + 1 })
    }

    /// The new base of the chain of `key` after removing events that are older than `before`; `self` is the current
    /// base. `events` are the first events after it, in order, any number of them.
    ///
    /// Of the old events at the beginning, all are removed but the last. That one stays as a witness: every event
    /// before it is older still, so it shows that nothing was removed too early. The last event of an account is
    /// never removed, whatever its age.
    ///
    /// # Errors
    /// [`BrokenChain`] if the chain is not intact. Do not remove a broken chain: it is evidence.
    pub fn shortened(
        &self,
        key: &AccountKey,
        events: &[AuditEvent],
        before: Timestamp,
    ) -> Result<Self, BrokenChain> {
        let (mut base, mut head) = (*self, *self);
        for event in events {
            let next = head.extend(key, event)?;
            if event.at >= before {
                break;
            }
            (base, head) = (head, next);
        }
        Ok(base)
    }
}

impl AuditEvent {
    /// The head of the chain when this is its last event.
    #[must_use]
    pub const fn head(&self) -> AuditHead {
        AuditHead { sequence: self.sequence, hash: self.hash }
    }

    /// The hash that the event must have in the chain of `key`.
    ///
    /// Every part is preceded by its length, so that no two events give the same bytes.
    #[must_use]
    pub fn computed_hash(&self, key: &AccountKey) -> EventHash {
        let mut hash = Sha256::new();
        let mut part = |bytes: &[u8]| {
            hash.update((bytes.len() as u64).to_be_bytes());
            hash.update(bytes);
        };
        part(b"mfa event v1");
        part(key.tenant.as_str().as_bytes());
        part(key.user.as_str().as_bytes());
        part(&self.sequence.to_be_bytes());
        part(&self.at.unix_millis().to_be_bytes());
        part(self.kind.as_str().as_bytes());
        part(self.factor.as_ref().map_or(&[][..], |id| id.as_bytes()));
        part(self.actor.as_bytes());
        for (name, value) in &self.detail {
            part(name.as_bytes());
            part(value.as_bytes());
        }
        part(&self.previous.0);
        EventHash(hash.finalize().into())
    }
}

/// The chain is not intact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the audit chain is broken at event {sequence}")]
pub struct BrokenChain {
    /// The first sequence number that is missing or altered.
    pub sequence: u64,
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for EventHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl fmt::Display for EventHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl FromStr for EventHash {
    type Err = InvalidHash;

    /// Parses the form of `Display`, and no other.
    fn from_str(text: &str) -> Result<Self, InvalidHash> {
        let bytes = HEXLOWER.decode(text.as_bytes()).map_err(|_| InvalidHash)?;
        bytes.try_into().map(Self).map_err(|_| InvalidHash)
    }
}

/// The text is not a SHA-256 hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("not 64 lower-case hexadecimal digits")]
pub struct InvalidHash;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{TenantId, UserId};

    fn key(user: &str) -> AccountKey {
        AccountKey::new(TenantId::new("acme").unwrap(), UserId::new(user).unwrap())
    }

    fn chain(length: u64) -> Vec<AuditEvent> {
        let mut head = AuditHead::default();
        (0..length)
            .map(|i| {
                let at = Timestamp::from_unix_seconds(i);
                let detail = BTreeMap::from([("reason".to_owned(), "because".to_owned())]);
                let event =
                    head.next(&key("alice"), at, &Actor::user("web"), EventKind::Verified, None, detail);
                head = event.head();
                event
            })
            .collect()
    }

    fn verify(key: &AccountKey, events: &[AuditEvent]) -> Result<AuditHead, BrokenChain> {
        events.iter().try_fold(AuditHead::default(), |head, event| head.extend(key, event))
    }

    #[test]
    fn an_untouched_chain_verifies() {
        let events = chain(5);
        assert_eq!(verify(&key("alice"), &events).unwrap(), events[4].head());
    }

    #[test]
    fn every_alteration_shows_where_it_is() {
        type Alteration = fn(&mut Vec<AuditEvent>);
        let alterations: [Alteration; 9] = [
            |events| events[2].at = Timestamp::from_unix_seconds(99),
            |events| events[2].kind = EventKind::VerificationFailed,
            |events| events[2].actor.push('x'),
            |events| events[2].factor = Some(FactorId::fresh(Timestamp::default(), &[1; 10])),
            |events| _ = events[2].detail.insert("until".to_owned(), String::new()),
            |events| events[2].detail.clear(),
            |events| _ = events.remove(2),
            |events| events.swap(2, 3),
            |events| {
                events[2].actor.push('x');
                events[2].hash = events[2].computed_hash(&key("alice"));
                events.remove(3);
            },
        ];
        for (i, alter) in alterations.iter().enumerate() {
            let mut events = chain(5);
            alter(&mut events);
            let broken = verify(&key("alice"), &events).unwrap_err();
            assert!((3..=4).contains(&broken.sequence), "alteration {i}: {broken}");
        }
        assert_eq!(verify(&key("bob"), &chain(5)), Err(BrokenChain { sequence: 1 }));
    }

    #[test]
    fn of_what_is_too_old_the_last_event_stays() {
        let events = chain(5);
        let base = AuditHead::default();
        let at = Timestamp::from_unix_seconds;
        for (before, removed) in [(0, 0), (1, 0), (2, 1), (3, 2), (5, 4), (99, 4)] {
            let shortened = base.shortened(&key("alice"), &events, at(before)).unwrap();
            assert_eq!(shortened.sequence, removed, "before {before}");
            let kept = &events[usize::try_from(removed).unwrap()..];
            let end = kept.iter().try_fold(shortened, |head, event| head.extend(&key("alice"), event));
            assert_eq!(end, Ok(events[4].head()), "before {before}");
            // A second call removes nothing further, and nothing comes back.
            assert_eq!(shortened.shortened(&key("alice"), kept, at(before)), Ok(shortened));
            assert_eq!(shortened.shortened(&key("alice"), kept, at(0)), Ok(shortened));
        }
        assert_eq!(base.shortened(&key("alice"), &[], at(99)), Ok(base));
        // An event of a clock that was ahead keeps all later events.
        let mut ahead = chain(1);
        let mut head = base;
        for (n, seconds) in [1, 50, 2, 3].into_iter().enumerate() {
            let event = head.next(
                &key("alice"),
                at(seconds),
                &Actor::user("web"),
                EventKind::Verified,
                None,
                BTreeMap::new(),
            );
            head = event.head();
            if n == 0 { ahead = vec![event] } else { ahead.push(event) }
        }
        assert_eq!(base.shortened(&key("alice"), &ahead, at(10)), Ok(base));
        assert_eq!(base.shortened(&key("alice"), &ahead, at(51)).unwrap().sequence, 3);
    }

    #[test]
    fn a_chain_that_does_not_hold_is_not_shortened() {
        let mut events = chain(5);
        events[3].actor.push('x');
        let before = Timestamp::from_unix_seconds(99);
        let shortened = AuditHead::default().shortened(&key("alice"), &events, before);
        assert_eq!(shortened, Err(BrokenChain { sequence: 4 }));
    }

    #[test]
    fn hashes_are_read_back_and_only_in_the_form_given_out() {
        let text = chain(1)[0].hash.to_string();
        assert_eq!(text.parse(), Ok(chain(1)[0].hash));
        for wrong in [text.to_uppercase(), text[1..].to_owned(), format!("{text}00"), String::new()] {
            assert_eq!(wrong.parse::<EventHash>(), Err(InvalidHash), "{wrong}");
        }
    }

    #[test]
    fn kinds_are_read_back_by_name() {
        for (kind, name) in KINDS {
            assert_eq!(EventKind::from_name(name), kind);
            assert_eq!(kind.as_str(), name);
        }
        assert_eq!(EventKind::from_name("new_in_2").as_str(), "new_in_2");
    }
}
