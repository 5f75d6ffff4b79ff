//! Contract suite for codes that are sent, on an account store with an outbox together with a challenge
//! store.
//!
//! Each check is public, so that a store author can repeat one that fails.

use std::sync::Arc;
use std::time::Duration;

use mfa_domain::mfa::{BegunChallenge, Confirmation};
use mfa_domain::ports::{AccountStore, ChallengeStore, Clock, Commit};
use mfa_domain::{
    Actor, ChallengeId, ChallengeState, CodeRejection, EventKind, PolicyDenial, Purpose, TenantId, Undecided,
    Verdict,
};

use self::replicas::{
    ADDRESS, Recipient, accepted, denial, is_locked, key, new_address, parse, reason, rejected, shop, wrong,
};
use crate::race::{rounds, together};
use crate::violation::run;
use crate::{TotpUser, Violation, ensure, submitted};

mod delivery;
mod replicas;

pub use delivery::{
    a_code_that_answers_nothing_is_not_sent, a_code_that_may_have_arrived_is_not_told_to_be_lost,
    a_code_whose_place_another_took_is_not_sent, two_replicas_send_a_code_once,
    what_cannot_be_sent_in_time_is_given_up, what_cannot_be_sent_is_sent_later,
    what_is_queued_is_good_in_its_place_only, what_is_refused_is_given_up,
};
pub use replicas::Replicas;

/// Runs all checks. `accounts` and `challenges` are two handles each on the same store, like those of two
/// replicas; use two real connections if the store has connections. Requires a multi-thread runtime.
///
/// # Errors
/// [`Violation`] with the first part of the contract that does not hold.
pub async fn suite(
    accounts: [Arc<dyn AccountStore>; 2],
    challenges: [Arc<dyn ChallengeStore>; 2],
) -> Result<(), Violation> {
    let replicas = &Replicas::new(accounts, challenges);
    run![
        a_code_is_accepted_once(replicas),
        a_first_code_confirms_once(replicas),
        five_guesses_end_a_challenge(replicas),
        another_challenge_gives_no_attempt_back(replicas),
        another_code_kills_the_one_before(replicas),
        no_more_codes_are_sent_than_a_challenge_may_have(replicas),
        a_code_outlives_a_change_of_their_length(replicas),
        a_code_is_good_for_what_it_was_sent_for(replicas),
        a_code_is_good_for_ten_minutes(replicas),
        an_address_protects_nothing_before_its_first_code(replicas),
        a_lock_stops_codes_that_were_sent(replicas),
        every_guess_that_is_looked_at_is_counted(replicas),
        what_a_challenge_holds_is_good_in_its_place_only(replicas),
        a_factor_that_is_gone_answers_nothing(replicas),
        what_is_cancelled_is_over(replicas),
        what_cannot_be_sent_is_sent_later(replicas),
        what_is_refused_is_given_up(replicas),
        what_cannot_be_sent_in_time_is_given_up(replicas),
        a_code_whose_place_another_took_is_not_sent(replicas),
        two_replicas_send_a_code_once(replicas),
        a_code_that_answers_nothing_is_not_sent(replicas),
        a_code_that_may_have_arrived_is_not_told_to_be_lost(replicas),
        what_is_queued_is_good_in_its_place_only(replicas),
        the_trail_tells_of_codes_and_shows_none(replicas),
    ]
}

/// Of 64 posts of one code on two replicas exactly one is verified. The others cost nothing.
///
/// # Errors
/// [`Violation`] if it does not hold.
pub async fn a_code_is_accepted_once(replicas: &Replicas) -> Result<(), Violation> {
    for round in 0..rounds(3, 5) {
        let user = replicas.recipient("sent-replay", &format!("user-{round}")).await?;
        let (id, code) = replicas.begin(&user).await?;
        let verdicts = replicas.answer(&user.key, id, &vec![code; 64]).await?;
        let verified = verdicts.iter().filter(|verdict| matches!(verdict, Verdict::Accepted(_))).count();
        let over =
            verdicts.iter().filter(|verdict| **verdict == rejected(CodeRejection::ChallengeOver)).count();
        ensure!(
            (verified, over) == (1, 63),
            "one code was accepted {verified} times, and {over} posts were too late"
        );
        replicas.failures_are(&user.key, 0).await?;
        replicas.counted(&user.key, EventKind::Verified, 1).await?;
    }
    Ok(())
}

/// Of 32 posts of one first code on two replicas exactly one confirms the address.
///
/// # Errors
/// [`Violation`] if it does not hold.
pub async fn a_first_code_confirms_once(replicas: &Replicas) -> Result<(), Violation> {
    for round in 0..rounds(2, 5) {
        let key = key("sent-confirm", &format!("user-{round}"));
        let (factor, _, code) = replicas.offer(&key).await?;
        let verdicts = together(32, |n| {
            let (mfa, key, code) = (Arc::clone(&replicas.mfas[n % 2]), key.clone(), submitted(&code));
            async move { mfa.confirm(&key, &shop(), factor, &code).await }
        })
        .await?;
        let verdicts: Vec<_> = verdicts.into_iter().collect::<Result<_, _>>()?;
        let confirmed = verdicts.iter().filter(|verdict| matches!(verdict, Verdict::Accepted(_))).count();
        ensure!(confirmed == 1, "one first code confirmed {confirmed} times");
        replicas.failures_are(&key, 0).await?;
        replicas.counted(&key, EventKind::FactorActivated, 1).await?;
        replicas.counted(&key, EventKind::BackupCodesIssued, 1).await?;
    }
    Ok(())
}

/// Of 200 concurrent wrong codes for one challenge five are evaluated, and each costs an attempt. After that
/// the right code is rejected: the account is locked, and once it is not, the challenge is over.
///
/// # Errors
/// [`Violation`] if it does not hold.
pub async fn five_guesses_end_a_challenge(replicas: &Replicas) -> Result<(), Violation> {
    for round in 0..rounds(2, 3) {
        let user = replicas.recipient("sent-guessing", &format!("user-{round}")).await?;
        let (id, code) = replicas.begin(&user).await?;
        let verdicts = replicas.answer(&user.key, id, &wrong(&code, 200)).await?;
        let looked_at =
            verdicts.iter().filter(|verdict| **verdict == rejected(CodeRejection::Invalid)).count();
        let refused = verdicts.iter().filter(|verdict| is_locked(verdict)).count()
            + verdicts.iter().filter(|verdict| **verdict == rejected(CodeRejection::ChallengeOver)).count();
        ensure!(
            (looked_at, refused) == (5, 195),
            "of 200 guesses, {looked_at} were evaluated and {refused} rejected"
        );
        replicas.failures_are(&user.key, 5).await?;
        replicas.counted(&user.key, EventKind::VerificationFailed, 5).await?;
        let verdicts = replicas.answer(&user.key, id, std::slice::from_ref(&code)).await?;
        ensure!(is_locked(&verdicts[0]), "the right code on a locked account was answered with {verdicts:?}");
        replicas.mfas[1].unlock(&user.key, &Actor::admin("support"), &reason()).await?;
        let verdicts = replicas.answer(&user.key, id, &[code]).await?;
        ensure!(
            verdicts == [rejected(CodeRejection::ChallengeOver)],
            "an answer after five guesses was answered with {verdicts:?}"
        );
    }
    Ok(())
}

/// Wrong answers count for the account: neither a new challenge nor a new code resets them.
///
/// # Errors
/// [`Violation`] if it does not hold.
pub async fn another_challenge_gives_no_attempt_back(replicas: &Replicas) -> Result<(), Violation> {
    let user = replicas.recipient("sent-budget", "alice").await?;
    let tenant = &user.key.tenant;
    let (first, code) = replicas.begin(&user).await?;
    replicas.all_wrong(&user.key, first, &wrong(&code, 2)).await?;
    accepted(replicas.mfas[1].resend_challenge(tenant, &shop(), first).await?)?;
    let code = replicas.latest(&user.key).await?;
    replicas.all_wrong(&user.key, first, &wrong(&code, 1)).await?;
    let (second, code) = replicas.begin(&user).await?;
    replicas.all_wrong(&user.key, second, &wrong(&code, 2)).await?;
    replicas.failures_are(&user.key, 5).await?;
    for (id, code) in [(first, code.clone()), (second, code)] {
        let verdicts = replicas.answer(&user.key, id, &[code]).await?;
        ensure!(is_locked(&verdicts[0]), "a code after five wrong ones was answered with {verdicts:?}");
    }
    Ok(())
}

/// With a further code for the same challenge the previous one becomes wrong and the latest is right; the
/// latest is wrong for the next challenge.
///
/// # Errors
/// [`Violation`] if it does not hold.
pub async fn another_code_kills_the_one_before(replicas: &Replicas) -> Result<(), Violation> {
    let user = replicas.recipient("sent-again", "alice").await?;
    let tenant = &user.key.tenant;
    let (id, mut latest) = replicas.begin(&user).await?;
    for mfa in &replicas.mfas {
        let BegunChallenge { challenge, .. } = accepted(mfa.resend_challenge(tenant, &shop(), id).await?)?;
        ensure!(challenge.id == id, "another code is for another challenge");
        // Although the further code is not sent yet.
        replicas.all_wrong(&user.key, id, &[latest]).await?;
        latest = replicas.latest(&user.key).await?;
    }
    replicas.is_right(&user.key, id, &latest).await?;
    let (next, code) = replicas.begin(&user).await?;
    replicas.is_wrong(&user.key, next, &latest, &code).await?;
    let again = replicas.mfas[1].resend_challenge(tenant, &shop(), id).await?;
    ensure!(
        again == rejected(CodeRejection::ChallengeOver),
        "a request for another code after the answer was answered with {again:?}"
    );
    Ok(())
}

/// Of eight concurrent requests for a further code three succeed. Of the unsent codes the last is sent, and
/// it is right; no further one is made.
///
/// # Errors
/// [`Violation`] if it does not hold.
pub async fn no_more_codes_are_sent_than_a_challenge_may_have(replicas: &Replicas) -> Result<(), Violation> {
    for (round, first_is_sent) in [true, false, true, false].into_iter().enumerate() {
        let user = replicas.recipient("sent-resends", &format!("user-{round}")).await?;
        let tenant = user.key.tenant.clone();
        let (id, old) = if first_is_sent {
            replicas.begin(&user).await.map(|(id, code)| (id, Some(code)))?
        } else {
            (replicas.queue(&user).await?, None)
        };
        let resent = together(8, |n| {
            let (mfa, tenant) = (Arc::clone(&replicas.mfas[n % 2]), tenant.clone());
            async move { mfa.resend_challenge(&tenant, &shop(), id).await }
        });
        let mut made = 0;
        for verdict in resent.await? {
            match verdict? {
                Verdict::Accepted(_) => made += 1,
                Verdict::Rejected(CodeRejection::NoResendLeft { .. }) => {}
                Verdict::Rejected(rejection) => {
                    return Err(Violation::new(format!("another code was refused: {rejection}")));
                }
            }
        }
        ensure!(made == 3, "of eight further codes for one challenge, {made} were made");
        let latest = replicas.latest(&user.key).await?;
        let (sent, expected) = (replicas.codes_of(id).len(), usize::from(first_is_sent) + 1);
        ensure!(sent == expected, "{sent} codes were sent, not {expected}");
        // Two are those of the enrolment and of the challenge.
        replicas.counted(&user.key, EventKind::CodeSent, 2 + made).await?;
        let again = replicas.mfas[0].resend_challenge(&tenant, &shop(), id).await?;
        ensure!(
            matches!(again, Verdict::Rejected(CodeRejection::NoResendLeft { .. })),
            "a request for a further code was answered with {again:?}"
        );
        let charged = replicas.mfas[1].resend_recipient(&tenant, &shop(), id).await?;
        ensure!(
            matches!(charged, Verdict::Rejected(CodeRejection::NoResendLeft { .. })),
            "the charge for a further code is {charged:?}"
        );
        ensure!(replicas.deliver().await?.is_empty(), "a rejected request for a code queued one");
        if let Some(old) = old {
            replicas.is_wrong(&user.key, id, &old, &latest).await?;
        }
        replicas.is_right(&user.key, id, &latest).await?;
    }
    Ok(())
}

/// A code that was sent before a change of the policy stays right, although codes then have another length. A
/// code of any length is a guess.
///
/// # Errors
/// [`Violation`] if it does not hold.
pub async fn a_code_outlives_a_change_of_their_length(replicas: &Replicas) -> Result<(), Violation> {
    for digits in [6, 9, 10] {
        let user = replicas.recipient("sent-digits", &format!("user-{digits}")).await?;
        let (id, code) = replicas.begin(&user).await?;
        let changed = replicas.with_digits(digits);
        let guess = parse(&"0".repeat(usize::from(digits)));
        let verdict = changed.answer_challenge(&user.key.tenant, &shop(), id, &guess).await?;
        ensure!(
            verdict == rejected(CodeRejection::Invalid),
            "a guess of {digits} digits was answered with {verdict:?}"
        );
        let verdict = changed.answer_challenge(&user.key.tenant, &shop(), id, &parse(&code)).await?;
        ensure!(
            matches!(verdict, Verdict::Accepted(_)),
            "a code from before the change was answered with {verdict:?}"
        );
        replicas.failures_are(&user.key, 1).await?;

        // And in the other direction; also for the first code of an address.
        let begun = accepted(changed.begin_challenge(&user.key, &shop(), user.factor).await?)?;
        let code = replicas.latest(&user.key).await?;
        ensure!(code.len() == usize::from(digits), "a code of {digits} digits has {}", code.len());
        replicas.is_right(&user.key, begun.challenge.id, &code).await?;
        let first = changed.enrol_address(&user.key, &shop(), new_address()).await?.factor.id;
        let code = submitted(&replicas.latest(&user.key).await?);
        accepted(replicas.mfas[0].confirm(&user.key, &shop(), first, &code).await?)?;
    }
    Ok(())
}

/// A code answers only its own challenge, from the caller that began it, for the purpose that it was sent
/// for. An answer that is not a guess costs nothing.
///
/// # Errors
/// [`Violation`] if it does not hold.
pub async fn a_code_is_good_for_what_it_was_sent_for(replicas: &Replicas) -> Result<(), Violation> {
    let mfa = &replicas.mfas[0];
    let alice = replicas.recipient("sent-bound", "alice").await?;
    let bob = replicas.recipient("sent-bound", "bob").await?;
    let (id, code) = replicas.begin(&alice).await?;
    let unknown = rejected(CodeRejection::UnknownChallenge);
    let other_tenant = TenantId::new("sent-other").unwrap();
    for (tenant, actor, id) in [
        (&alice.key.tenant, Actor::user("forum"), id),
        (&other_tenant, shop(), id),
        (&alice.key.tenant, shop(), ChallengeId::from_entropy([0; 16])),
    ] {
        let verdict = mfa.answer_challenge(tenant, &actor, id, &parse(&code)).await?;
        ensure!(verdict == unknown, "an answer from another caller or tenant was answered with {verdict:?}");
        let status = mfa.challenge(tenant, &actor, id).await?;
        ensure!(status == rejected(CodeRejection::UnknownChallenge), "another caller was shown {status:?}");
        let resent = mfa.resend_challenge(tenant, &actor, id).await?;
        ensure!(
            resent == rejected(CodeRejection::UnknownChallenge),
            "a resend for another caller was answered with {resent:?}"
        );
        let ended = mfa.cancel_challenge(tenant, &actor, id).await?;
        ensure!(
            ended == rejected(CodeRejection::UnknownChallenge),
            "a cancellation by another caller was answered with {ended:?}"
        );
    }
    // It is not a code of an authenticator, and does not answer another user's challenge.
    let verdict = mfa.verify(&alice.key, &shop(), &submitted(&code), None).await?;
    ensure!(
        verdict == rejected(CodeRejection::Malformed),
        "a sent code without its challenge was answered with {verdict:?}"
    );
    replicas.failures_are(&alice.key, 0).await?;
    let (bobs, bobs_code) = replicas.begin(&bob).await?;
    if bobs_code != code {
        replicas.all_wrong(&bob.key, bobs, std::slice::from_ref(&code)).await?;
        replicas.failures_are(&bob.key, 1).await?;
    }
    // The first code of an address confirms it and does not log in.
    let (factor, first, first_code) = replicas.offer_to(&alice.key, true).await?;
    let begun = mfa.begin_challenge(&alice.key, &shop(), factor).await?;
    ensure!(
        begun == rejected(CodeRejection::UnknownFactor),
        "a login with a pending address was answered with {begun:?}"
    );
    let verdict = mfa.answer_challenge(&alice.key.tenant, &shop(), first, &parse(&first_code)).await?;
    ensure!(verdict == unknown, "a login with a first code was answered with {verdict:?}");
    let verdict = mfa.confirm(&alice.key, &Actor::user("forum"), factor, &submitted(&first_code)).await?;
    ensure!(
        matches!(verdict, Verdict::Rejected(CodeRejection::UnknownChallenge)),
        "a first code from another caller was answered with {verdict:?}"
    );
    accepted(mfa.confirm(&alice.key, &shop(), factor, &submitted(&first_code)).await?)?;
    Ok(())
}

/// A code is valid for less than ten minutes. A late code costs nothing.
///
/// # Errors
/// [`Violation`] if it does not hold.
pub async fn a_code_is_good_for_ten_minutes(replicas: &Replicas) -> Result<(), Violation> {
    let user = replicas.recipient("sent-time", "alice").await?;
    for (after, in_time) in [(Duration::from_millis(599_999), true), (Duration::from_mins(10), false)] {
        let (id, code) = replicas.begin(&user).await?;
        replicas.clock.advance(after);
        let status = accepted(replicas.mfas[1].challenge(&user.key.tenant, &shop(), id).await?)?;
        let open = status.state == ChallengeState::Open;
        ensure!(open == in_time, "after {after:?} the challenge is {}", status.state);
        let verdicts = replicas.answer(&user.key, id, &[code]).await?;
        let as_expected = match &verdicts[0] {
            Verdict::Accepted(_) => in_time,
            verdict @ Verdict::Rejected(_) => !in_time && *verdict == rejected(CodeRejection::ChallengeOver),
        };
        ensure!(as_expected, "an answer after {after:?} was answered with {verdicts:?}");
        let status = accepted(replicas.mfas[0].challenge(&user.key.tenant, &shop(), id).await?)?;
        ensure!(status.state == ChallengeState::Over, "after the answer the challenge is {}", status.state);
    }
    replicas.failures_are(&user.key, 0).await
}

/// An address that waits for its first code verifies nothing and gets no other codes. A wrong first code
/// costs an attempt; the right one returns backup codes. From then on another address needs a proof.
///
/// # Errors
/// [`Violation`] if it does not hold.
pub async fn an_address_protects_nothing_before_its_first_code(replicas: &Replicas) -> Result<(), Violation> {
    let mfa = &replicas.mfas[0];
    let key = key("sent-pending", "alice");
    let (factor, _, code) = replicas.offer(&key).await?;
    let begun = mfa.begin_challenge(&key, &shop(), factor).await?;
    ensure!(
        begun == rejected(CodeRejection::NotEnrolled),
        "a login with a pending address was answered with {begun:?}"
    );
    let wrong_first = submitted(&wrong(&code, 1)[0]);
    let verdict = mfa.confirm(&key, &shop(), factor, &wrong_first).await?;
    ensure!(
        matches!(verdict, Verdict::Rejected(CodeRejection::Invalid)),
        "a wrong first code was answered with {verdict:?}"
    );
    replicas.failures_are(&key, 1).await?;
    ensure!(!mfa.status(&key).await?.enrolled, "a user is enrolled before the first code of their address");
    let Confirmation { backup_codes, .. } =
        accepted(mfa.confirm(&key, &shop(), factor, &submitted(&code)).await?)?;
    ensure!(backup_codes.is_some(), "the first factor was confirmed without backup codes");
    // With an active factor, a further one needs a proof; a pending address is not a login.
    replicas.clock.advance(Duration::from_mins(6));
    let denied = denial(mfa.enrol_address(&key, &shop(), new_address()).await.as_ref().err());
    ensure!(
        matches!(denied, Some(PolicyDenial::ProofRequired { .. })),
        "a second address without a proof was answered with {denied:?}"
    );
    let again = mfa.confirm(&key, &shop(), factor, &submitted(&code)).await?;
    ensure!(
        matches!(again, Verdict::Rejected(CodeRejection::AlreadyActive)),
        "a second confirmation was answered with {again:?}"
    );
    Ok(())
}

/// While an account is locked, no code is sent, and an open challenge accepts neither a wrong code nor the
/// right one. Neither uses the challenge up.
///
/// # Errors
/// [`Violation`] if it does not hold.
pub async fn a_lock_stops_codes_that_were_sent(replicas: &Replicas) -> Result<(), Violation> {
    let mfa = &replicas.mfas[1];
    let key = key("sent-locked", "alice");
    let app = TotpUser::enrol(mfa, &key).await?;
    replicas.clock.advance(Duration::from_secs(30));
    let proof = mfa.verify(&key, &shop(), &submitted(&app.code(replicas.clock.now())), None).await?;
    accepted(proof)?;
    let (factor, _, first) = replicas.offer_to(&key, false).await?;
    accepted(mfa.confirm(&key, &shop(), factor, &submitted(&first)).await?)?;
    let user = Recipient { key, factor };
    let (id, code) = replicas.begin(&user).await?;
    for guess in app.wrong_codes(replicas.clock.now(), 5) {
        let verdict = mfa.verify(&user.key, &shop(), &submitted(&guess), None).await?;
        ensure!(
            verdict == rejected(CodeRejection::Invalid),
            "a wrong code of the app was answered with {verdict:?}"
        );
    }
    let before = replicas.sent().await?.len();
    let begun = mfa.begin_challenge(&user.key, &shop(), factor).await?;
    ensure!(
        matches!(begun, Verdict::Rejected(CodeRejection::Locked { .. })),
        "a new challenge on a locked account was answered with {begun:?}"
    );
    let resent = mfa.resend_challenge(&user.key.tenant, &shop(), id).await?;
    ensure!(
        matches!(resent, Verdict::Rejected(CodeRejection::Locked { .. })),
        "a resend on a locked account was answered with {resent:?}"
    );
    let offered = denial(mfa.enrol_address(&user.key, &shop(), new_address()).await.as_ref().err());
    ensure!(
        matches!(offered, Some(PolicyDenial::Locked { .. })),
        "a new address on a locked account was answered with {offered:?}"
    );
    ensure!(replicas.sent().await?.len() == before, "a code was sent while the account was locked");
    let verdicts = replicas.answer(&user.key, id, &[wrong(&code, 1).remove(0), code.clone()]).await?;
    ensure!(
        verdicts[0] == verdicts[1] && is_locked(&verdicts[0]),
        "answers on a locked account were answered with {verdicts:?}"
    );
    mfa.unlock(&user.key, &Actor::admin("support"), &reason()).await?;
    let verdicts = replicas.answer(&user.key, id, &[code]).await?;
    ensure!(
        matches!(verdicts[..], [Verdict::Accepted(_)]),
        "the right code after the lock was answered with {verdicts:?}"
    );
    Ok(())
}

/// While one challenge locks the account, the other replica evaluates another: every evaluated guess has cost
/// the account an attempt, whichever came first.
///
/// # Errors
/// [`Violation`] if it does not hold.
pub async fn every_guess_that_is_looked_at_is_counted(replicas: &Replicas) -> Result<(), Violation> {
    for round in 0..rounds(3, 10) {
        let user = replicas.recipient("sent-counted", &format!("user-{round}")).await?;
        let mut challenges = Vec::new();
        for _ in 0..4 {
            challenges.push(replicas.begin(&user).await?);
        }
        let guesses = together(32, |n| {
            let (id, code) = &challenges[n % 4];
            let (mfa, tenant) = (Arc::clone(&replicas.mfas[n % 2]), user.key.tenant.clone());
            let (id, code) = (*id, parse(&wrong(code, 32)[n]));
            async move { mfa.answer_challenge(&tenant, &shop(), id, &code).await }
        });
        for guess in guesses.await? {
            ensure!(!matches!(guess?, Verdict::Accepted(_)), "a wrong code was accepted");
        }
        let mut looked_at = 0;
        for (id, _) in challenges {
            let kept = replicas.mfas[0].ports().challenges.get(&id).await?;
            looked_at += kept.map_or(0, |kept| kept.value.progress.failures as usize);
        }
        ensure!(looked_at >= 5, "only {looked_at} guesses were evaluated");
        replicas.failures_are(&user.key, looked_at).await?;
    }
    Ok(())
}

/// A code that was sealed for one challenge does not answer another, even if somebody copies it there.
///
/// # Errors
/// [`Violation`] if it does not hold.
pub async fn what_a_challenge_holds_is_good_in_its_place_only(replicas: &Replicas) -> Result<(), Violation> {
    let mfa = &replicas.mfas[0];
    let mallory = replicas.recipient("sent-moved", "mallory").await?;
    let alice = replicas.recipient("sent-moved", "alice").await?;
    let (id, code) = replicas.begin(&mallory).await?;
    let (hers, _) = replicas.begin(&alice).await?;
    let challenges = &mfa.ports().challenges;
    let kept = challenges.get(&id).await?.map(|kept| kept.value.progress);
    let kept = kept.ok_or_else(|| Violation::new("the challenge was not found"))?;
    let version = challenges.get(&hers).await?.map(|read| read.version).unwrap_or_default();
    ensure!(
        challenges.swap(&hers, version, &kept).await? == Commit::Won,
        "a swap without competition did not win"
    );
    let moved = mfa.answer_challenge(&alice.key.tenant, &shop(), hers, &parse(&code)).await;
    ensure!(
        matches!(moved, Err(Undecided::Vault(_))),
        "a code copied to another challenge was answered with {moved:?}"
    );
    let verdicts = replicas.answer(&mallory.key, id, &[code]).await?;
    ensure!(
        matches!(verdicts[..], [Verdict::Accepted(_)]),
        "the code in its own challenge was answered with {verdicts:?}"
    );
    Ok(())
}

/// An open challenge becomes worthless once its factor is removed, its account is reset, or its owner is
/// erased.
///
/// # Errors
/// [`Violation`] if it does not hold.
pub async fn a_factor_that_is_gone_answers_nothing(replicas: &Replicas) -> Result<(), Violation> {
    let (mfa, support) = (&replicas.mfas[1], Actor::admin("support"));
    for how in ["revoked", "reset", "erased"] {
        let user = replicas.recipient("sent-gone", how).await?;
        let (id, code) = replicas.begin(&user).await?;
        match how {
            "revoked" => mfa.revoke(&user.key, &support, user.factor).await?,
            "reset" => mfa.reset(&user.key, &support, &reason()).await?,
            _ => mfa.erase(&user.key, &support).await?,
        }
        let before = replicas.sent().await?.len();
        let verdicts = replicas.answer(&user.key, id, &[code]).await?;
        ensure!(
            verdicts == [rejected(CodeRejection::NotEnrolled)],
            "an answer after the factor was {how} was answered with {verdicts:?}"
        );
        let resent = mfa.resend_challenge(&user.key.tenant, &shop(), id).await?;
        ensure!(
            resent == rejected(CodeRejection::NotEnrolled),
            "a resend after the factor was {how} was answered with {resent:?}"
        );
        ensure!(replicas.sent().await?.len() == before, "a code was sent after the factor was {how}");
    }
    Ok(())
}

/// A challenge that its caller ended accepts no answer. Ending it again changes nothing, nor does ending one
/// that was answered.
///
/// # Errors
/// [`Violation`] if it does not hold.
pub async fn what_is_cancelled_is_over(replicas: &Replicas) -> Result<(), Violation> {
    let user = replicas.recipient("sent-cancelled", "alice").await?;
    let (id, code) = replicas.begin(&user).await?;
    accepted(replicas.mfas[0].cancel_challenge(&user.key.tenant, &shop(), id).await?)?;
    let verdicts = replicas.answer(&user.key, id, &[code]).await?;
    ensure!(
        verdicts == [rejected(CodeRejection::ChallengeOver)],
        "an answer after the cancellation was answered with {verdicts:?}"
    );
    let again = replicas.mfas[1].cancel_challenge(&user.key.tenant, &shop(), id).await?;
    ensure!(again == Verdict::Accepted(()), "a second cancellation was answered with {again:?}");
    let (answered, code) = replicas.begin(&user).await?;
    replicas.is_right(&user.key, answered, &code).await?;
    for id in [id, answered] {
        accepted(replicas.mfas[0].cancel_challenge(&user.key.tenant, &shop(), id).await?)?;
        let verdicts = replicas.answer(&user.key, id, std::slice::from_ref(&code)).await?;
        ensure!(
            verdicts == [rejected(CodeRejection::ChallengeOver)],
            "an answer to a challenge that is over was answered with {verdicts:?}"
        );
    }
    replicas.failures_are(&user.key, 0).await
}

/// Every sent code has an event. Neither a code nor an address appears in events, in the account as shown, in
/// the stored challenge, or in the queue.
///
/// # Errors
/// [`Violation`] if it does not hold.
pub async fn the_trail_tells_of_codes_and_shows_none(replicas: &Replicas) -> Result<(), Violation> {
    let mfa = &replicas.mfas[0];
    let user = replicas.recipient("sent-trail", "alice").await?;
    let (id, code) = replicas.begin(&user).await?;
    let kept = mfa.ports().challenges.get(&id).await?;
    let kept = kept.ok_or_else(|| Violation::new("the challenge was not found"))?.value;
    let data = String::from_utf8_lossy(kept.progress.data.as_bytes()).into_owned();
    let begun = accepted(mfa.resend_challenge(&user.key.tenant, &shop(), id).await?)?;
    let masked = begun.destination.as_deref().unwrap_or_default();
    ensure!(masked == "e•••@mail.example", "the masked address is {masked}");
    let queued = replicas.message(&user.key, id).await?;
    let content = queued.value.sending.content.as_ref().map(|sealed| sealed.bytes.as_slice());
    let queued = format!("{queued:?} {}", String::from_utf8_lossy(content.unwrap_or_default()));
    replicas.counted(&user.key, EventKind::CodeSent, 3).await?;
    let events = format!("{:?}", replicas.events(&user.key).await?);
    let shown = format!("{kept:?} {:?} {begun:?} {mfa:?}", mfa.status(&user.key).await?);
    let sent = replicas.sent().await?;
    let codes =
        sent.iter().filter(|message| message.account == user.key).map(|message| message.code.as_str());
    for secret in codes.chain([ADDRESS, "eve@"]) {
        for (place, text) in [
            ("the trail", &events),
            ("what is shown", &shown),
            ("a challenge", &data),
            ("what is queued", &queued),
        ] {
            ensure!(!text.contains(secret), "{place} shows {secret}: {text}");
        }
    }
    let (code, message) = (parse(&code), replicas.sender.latest(&user.key));
    ensure!(
        message.is_some_and(|message| message.purpose == Purpose::Verify),
        "the code was sent for another purpose"
    );
    ensure!(code.as_str().len() == 8, "a code has {} digits", code.as_str().len());
    Ok(())
}
