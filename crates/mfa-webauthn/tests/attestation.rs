//! Which authenticators a policy accepts (Web Authentication Level 3, 7.1, steps 22 to 24).

use mfa_domain::passkey::{Aaguid, UserVerification};
use mfa_domain::ports::{CeremonyError, CredentialRefusal, NewCredential, Webauthn};
use mfa_webauthn::{AttestationPolicy, RelyingParty, Settings, TrustedAuthenticators};

use crate::support::{
    Algorithm, Authenticator, Created, Evidence, begin_registration, party, refusal, settings, tenant,
};

const ROOT: &str = include_str!("data/root.pem");
const OTHER_ROOT: &str = include_str!("data/other_root.pem");
/// As in `attestation.pem`.
const MODEL: Aaguid = Aaguid([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]);
const OTHER_MODEL: Aaguid = Aaguid([1; 16]);

fn trusting(models: &[Aaguid], roots: &str) -> RelyingParty {
    let trusted = TrustedAuthenticators::from_pem(models.to_vec(), roots).unwrap();
    RelyingParty::new(Settings { attestation: AttestationPolicy::Trusted(trusted), ..settings() }).unwrap()
}

fn register(
    party: &RelyingParty,
    evidence: Evidence,
    change: fn(&mut Created),
) -> Result<NewCredential, CeremonyError> {
    let authenticator = Authenticator::new(Algorithm::Es256);
    let ceremony = begin_registration(party, UserVerification::Required);
    let mut created = Created::answering(&ceremony, &authenticator).proved_by(evidence);
    change(&mut created);
    party.finish_registration(&tenant(), &ceremony.state, &created.response(&authenticator))
}

#[test]
fn a_certificate_of_a_trusted_root_is_accepted() {
    let both = [OTHER_ROOT, ROOT].concat();
    for party in [trusting(&[], ROOT), trusting(&[OTHER_MODEL, MODEL], ROOT), trusting(&[], &both)] {
        let passkey = register(&party, Evidence::Certificate, |_| {}).unwrap().passkey;
        assert_eq!(passkey.aaguid, MODEL);
        assert_eq!((passkey.attestation.format.as_str(), passkey.attestation.trusted), ("packed", true));
    }
}

#[test]
fn everything_else_is_refused() {
    type Case = (&'static str, RelyingParty, Evidence, fn(&mut Created), CredentialRefusal);
    let cases: [Case; 6] = [
        ("no proof", trusting(&[], ROOT), Evidence::Nothing, |_| {}, CredentialRefusal::Attestation),
        ("its own proof", trusting(&[], ROOT), Evidence::Own, |_| {}, CredentialRefusal::Attestation),
        (
            "another root",
            trusting(&[], OTHER_ROOT),
            Evidence::Certificate,
            |_| {},
            CredentialRefusal::Attestation,
        ),
        (
            "another model",
            trusting(&[OTHER_MODEL], ROOT),
            Evidence::Certificate,
            |_| {},
            CredentialRefusal::Model,
        ),
        (
            "a model that the certificate does not name",
            trusting(&[OTHER_MODEL], ROOT),
            Evidence::Certificate,
            |it| it.aaguid = OTHER_MODEL.0,
            CredentialRefusal::Attestation,
        ),
        (
            "forged",
            trusting(&[], ROOT),
            Evidence::Certificate,
            |it| it.forged = true,
            CredentialRefusal::Attestation,
        ),
    ];
    for (name, party, evidence, change, expected) in cases {
        assert_eq!(refusal(register(&party, evidence, change)), Some(expected), "{name}");
    }
}

#[test]
fn a_proof_that_was_not_asked_for_is_checked_and_not_trusted() {
    let passkey = register(&party(), Evidence::Certificate, |_| {}).unwrap().passkey;
    assert_eq!((passkey.attestation.format.as_str(), passkey.attestation.trusted), ("packed", false));
    let forged = register(&party(), Evidence::Certificate, |it| it.forged = true);
    assert_eq!(refusal(forged), Some(CredentialRefusal::Attestation));
}

/// U2F signs no AAGUID, so it proves the manufacturer at most.
#[test]
fn a_model_that_u2f_claims_counts_for_nothing() {
    let refused = register(&trusting(&[MODEL], ROOT), Evidence::U2f, |it| it.aaguid = MODEL.0);
    assert_eq!(refusal(refused), Some(CredentialRefusal::Model));
    for party in [trusting(&[], ROOT), party()] {
        let passkey = register(&party, Evidence::U2f, |it| it.aaguid = MODEL.0).unwrap().passkey;
        assert_eq!((passkey.aaguid, passkey.attestation.format.as_str()), (Aaguid::default(), "fido-u2f"));
    }
    let forged = register(&trusting(&[], ROOT), Evidence::U2f, |it| it.forged = true);
    assert_eq!(refusal(forged), Some(CredentialRefusal::Attestation));
}

/// Newer metadata come while the program runs, and present ones run out.
#[test]
fn another_policy_decides_about_the_registrations_that_finish_from_then_on() {
    let party = trusting(&[], ROOT);
    let trusted = |models: &[Aaguid], roots: &str| {
        AttestationPolicy::Trusted(TrustedAuthenticators::from_pem(models.to_vec(), roots).unwrap())
    };
    for (policy, expected) in [
        (AttestationPolicy::Suspended, Some(CredentialRefusal::Attestation)),
        (trusted(&[], OTHER_ROOT), Some(CredentialRefusal::Attestation)),
        (trusted(&[OTHER_MODEL], ROOT), Some(CredentialRefusal::Model)),
        (trusted(&[MODEL], ROOT), None),
    ] {
        let authenticator = Authenticator::new(Algorithm::Es256);
        let ceremony = begin_registration(&party, UserVerification::Required);
        let created = Created::answering(&ceremony, &authenticator).proved_by(Evidence::Certificate);
        party.set_attestation(&policy).unwrap();
        let finished =
            party.finish_registration(&tenant(), &ceremony.state, &created.response(&authenticator));
        assert_eq!(refusal(finished), expected, "{policy:?}");
    }
    let unusable = AttestationPolicy::Trusted(TrustedAuthenticators::default());
    assert_eq!(party.set_attestation(&unusable).unwrap_err().key, "attestation");
    register(&party, Evidence::Certificate, |_| {}).unwrap();
}

#[test]
fn a_suspended_policy_refuses_every_proof() {
    let party =
        RelyingParty::new(Settings { attestation: AttestationPolicy::Suspended, ..settings() }).unwrap();
    for evidence in [Evidence::Certificate, Evidence::Own, Evidence::Nothing] {
        assert_eq!(refusal(register(&party, evidence, |_| {})), Some(CredentialRefusal::Attestation));
    }
}
