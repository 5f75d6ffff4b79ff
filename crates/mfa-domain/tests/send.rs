//! The future of every use case can move between threads, as web servers ask of it.

use std::time::Duration;

use mfa_domain::account::Session;
use mfa_domain::mfa::{NewAddress, NewFactor};
use mfa_domain::otp_core::Code;
use mfa_domain::ports::EventQuery;
use mfa_domain::signing::SigningAlgorithm;
use mfa_domain::{
    AccountKey, Actor, ChallengeId, FactorId, Label, Message, Mfa, Purpose, Reason, SentCode, SubmittedCode,
    Versioned,
};

const fn send<T: Send>(_: &T) {}

#[test]
fn every_use_case_gives_a_future_that_is_send() {
    // It is enough that it compiles.
    let _ = use_cases;
}

#[expect(clippy::too_many_arguments, reason = "one of everything that a use case takes")]
fn use_cases(
    mfa: &Mfa,
    key: &AccountKey,
    actor: &Actor,
    factor: FactorId,
    [new, known]: [NewFactor; 2],
    (address, challenge): (NewAddress, ChallengeId),
    code: &SubmittedCode,
    (codes, sent): ([&Code; 2], &SentCode),
    label: &Label,
    reason: &Reason,
    query: &EventQuery,
    message: Versioned<Message>,
) {
    send(&mfa.begin_enrolment(key, actor, new));
    send(&mfa.import_factor(key, actor, known, reason));
    send(&mfa.confirm(key, actor, factor, code));
    send(&mfa.confirm(key, actor, factor, codes));
    send(&mfa.verify(key, actor, code, Some(factor)));
    send(&mfa.issue_backup_codes(key, actor));
    send(&mfa.rename(key, actor, factor, label));
    send(&mfa.revoke(key, actor, factor));
    send(&mfa.resynchronise(key, actor, factor, codes));
    send(&mfa.enrol_recipient(key, actor, Session::default(), &address));
    send(&mfa.enrol_address(key, actor, address));
    send(&mfa.begin_challenge(key, actor, factor));
    send(&mfa.challenge(&key.tenant, actor, challenge));
    send(&mfa.answer_challenge(&key.tenant, actor, challenge, sent));
    send(&mfa.recipient(key, actor, factor, Purpose::Verify));
    send(&mfa.resend_recipient(&key.tenant, actor, challenge));
    send(&mfa.resend_challenge(&key.tenant, actor, challenge));
    send(&mfa.cancel_challenge(&key.tenant, actor, challenge));
    send(&mfa.claim_messages(1));
    send(&mfa.claim_recent_messages(1));
    send(&mfa.deliver(actor, message));
    send(&mfa.message_queued());
    send(&mfa.status(key));
    send(&mfa.check_ready());
    send(&mfa.unlock(key, actor, reason));
    send(&mfa.reset(key, actor, reason));
    send(&mfa.erase(key, actor));
    send(&mfa.reseal(key, actor));
    send(&mfa.events(query));
    send(&mfa.assertion_key());
    send(&mfa.published_keys());
    send(&mfa.ensure_signing_key(actor, SigningAlgorithm::Es256, Duration::ZERO));
    send(&mfa.rotate_signing_key(actor, SigningAlgorithm::Es256));
    send(&mfa.revoke_signing_key(actor, "", SigningAlgorithm::Es256, reason));
    send(&mfa.signing_keys());
}
