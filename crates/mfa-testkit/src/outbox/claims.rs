//! Claims: each returns the queued and due messages, once.

use std::time::Duration;

use mfa_domain::ports::{AccountStore, Commit};
use mfa_domain::{Message, Sending, Timestamp, Version};

use super::samples::{
    claim_all, claim_in_turn, claims_exactly, due_at, keep, message, now, outbox, put, unchanged, until,
    with_content,
};
use crate::violation::run;
use crate::{Violation, ensure};

const A_MOMENT: Duration = Duration::from_millis(1);

pub(super) async fn claims(store: &dyn AccountStore) -> Result<(), Violation> {
    run![
        what_is_queued_and_due_is_claimed(store),
        a_claim_gives_no_more_than_it_is_asked_for(store),
        what_became_due_last_comes_first(store),
        what_is_claimed_comes_back_when_its_claim_is_over(store),
        what_is_sent_or_failed_is_not_claimed(store),
        a_claim_is_a_change(store),
        what_is_tried_again_is_claimed_again(store),
    ]
}

/// The moment before `time`.
fn before(time: Timestamp) -> Timestamp {
    Timestamp::from_unix_millis(time.unix_millis() - 1)
}

async fn what_is_queued_and_due_is_claimed(store: &dyn AccountStore) -> Result<(), Violation> {
    const CHECK: &str = "outbox-due";
    let [in_a_moment, in_an_hour] = [A_MOMENT, Duration::from_hours(1)].map(|wait| now().plus(wait));
    let long_ago = Timestamp::from_unix_millis(now().unix_millis() - 3_600_000);
    let at_the_end = message(CHECK, 2);
    let most = Some("unknown".to_owned());
    let at_the_end = Message {
        sending: Sending { tries: u32::MAX, last_failure: most, ..at_the_end.sending.clone() },
        ..at_the_end
    };
    let due = [message(CHECK, 0), due_at(&message(CHECK, 1), long_ago), at_the_end];
    let early = [due_at(&message(CHECK, 3), in_a_moment), due_at(&message(CHECK, 4), in_an_hour)];
    put(store, &due).await?;
    put(store, &early).await?;
    let tenant = due[0].account.tenant.clone();
    let due = due.map(|message| (message, Version(1)));
    claims_exactly(store, &tenant, (now(), until()), &due).await?;
    for message in &early {
        let version = unchanged(store, message).await?;
        ensure!(version == Version(1), "a message that is not due yet is at {version:?}");
    }
    let [next, last] = early.map(|message| (message, Version(1)));
    claims_exactly(store, &tenant, (in_a_moment, until()), &[next]).await?;
    claims_exactly(store, &tenant, (before(until()), until()), &[]).await?;
    // By then, the claims of the others have expired, too.
    let claimed = claim_all(store, &tenant, (in_an_hour, in_an_hour.plus(Message::CLAIM)), 100).await?;
    let last = claimed.iter().find(|claimed| claimed.value.id == last.0.id);
    ensure!(
        last.is_some_and(|last| last.version == Version(2)),
        "the message that is due last was claimed as {last:?}"
    );
    Ok(())
}

async fn a_claim_gives_no_more_than_it_is_asked_for(store: &dyn AccountStore) -> Result<(), Violation> {
    const CHECK: &str = "outbox-limits";
    let all: Vec<_> = (0..7).map(|number| message(CHECK, number)).collect();
    put(store, &all).await?;
    let (mut at, mut tries) = (now(), 0);
    for limit in [1, 2, 5, 7, 1000, u32::MAX] {
        let end = at.plus(Message::CLAIM);
        let claimed = claim_all(store, &all[0].account.tenant, (at, end), limit).await?;
        tries += 1;
        ensure!(
            claimed.len() == all.len() && claimed.iter().all(|claimed| claimed.value.sending.tries == tries),
            "of {} messages, {} were claimed in claims of at most {limit}",
            all.len(),
            claimed.len()
        );
        at = end;
    }
    Ok(())
}

/// A code that a user waits for must not queue behind the codes of an hour in which none could be sent.
async fn what_became_due_last_comes_first(store: &dyn AccountStore) -> Result<(), Violation> {
    const CHECK: &str = "outbox-fresh";
    let ago = |millis| Timestamp::from_unix_millis(now().unix_millis() - millis);
    let all = [(0, 3_600_000), (1, 0), (2, 600_001), (3, 1), (4, 60_000)].map(|(number, millis)| {
        let expires_at = ago(millis).plus(Duration::from_mins(10));
        Message { expires_at, ..due_at(&message(CHECK, number), ago(millis)) }
    });
    put(store, &all).await?;
    let given = claim_in_turn(store, &all[0].account.tenant, (now(), until()), 1).await?;
    let given: Vec<_> = given.iter().map(|claimed| claimed.value.id).collect();
    let expected = [1, 3, 4, 2, 0].map(|number: usize| all[number].id);
    ensure!(
        given == expected,
        "the most recently due message does not come first: {given:?}, not {expected:?}"
    );
    Ok(())
}

async fn what_is_claimed_comes_back_when_its_claim_is_over(
    store: &dyn AccountStore,
) -> Result<(), Violation> {
    let mut model = message("outbox-again", 0);
    put(store, std::slice::from_ref(&model)).await?;
    let tenant = model.account.tenant.clone();
    let (mut at, mut version) = (now(), unchanged(store, &model).await?);
    // For claims of any length.
    for seconds in [120, 1, 60, 0] {
        let end = at.plus(Duration::from_secs(seconds)).plus(A_MOMENT);
        let claimed = claims_exactly(store, &tenant, (at, end), &[(model.clone(), version)]).await?;
        (model, version) = (claimed[0].value.clone(), claimed[0].version);
        for time in [now(), at, before(end)] {
            claims_exactly(store, &tenant, (time, time.plus(Message::CLAIM)), &[]).await?;
        }
        let read = unchanged(store, &model).await?;
        ensure!(read == version, "claims that returned nothing changed {version:?} to {read:?}");
        at = end;
    }
    Ok(())
}

async fn what_is_sent_or_failed_is_not_claimed(store: &dyn AccountStore) -> Result<(), Violation> {
    const CHECK: &str = "outbox-over";
    let mut all: Vec<_> = (0..4).map(|number| message(CHECK, number)).collect();
    let tenant = all[0].account.tenant.clone();
    let ends = [all[0].sending.sent(), all[0].sending.failed("refused")];
    // Two are put in that state, two reach it by a swap.
    for (message, end) in all.iter_mut().zip(&ends) {
        message.sending = end.clone();
    }
    put(store, &all).await?;
    for (message, end) in all[2..].iter_mut().zip(ends) {
        keep(store, message, Version(1), end).await?;
    }
    for later in [Duration::ZERO, Message::CLAIM, Duration::from_mins(9), Duration::from_mins(11)] {
        let at = now().plus(later);
        claims_exactly(store, &tenant, (at, at.plus(Message::CLAIM)), &[]).await?;
        for message in &all {
            unchanged(store, message).await?;
        }
    }
    Ok(())
}

/// A caller that read the message before, or has an older claim, can no longer change it.
async fn a_claim_is_a_change(store: &dyn AccountStore) -> Result<(), Violation> {
    let mut model = message("outbox-stale", 0);
    put(store, std::slice::from_ref(&model)).await?;
    let tenant = model.account.tenant.clone();
    let (mut at, mut version) = (now(), unchanged(store, &model).await?);
    let mut before = Vec::new();
    for _ in 0..3 {
        let end = at.plus(Message::CLAIM);
        let claimed = claims_exactly(store, &tenant, (at, end), &[(model.clone(), version)]).await?;
        before.push(version);
        (model, version) = (claimed[0].value.clone(), claimed[0].version);
        for old in &before {
            let commit = outbox(store)?.swap(&tenant, model.id, *old, &model.sending.sent()).await?;
            ensure!(
                commit == Commit::Conflict,
                "a swap at {old:?} won after a claim changed it to {version:?}"
            );
        }
        let read = unchanged(store, &model).await?;
        ensure!(read == version, "lost swaps changed {version:?} to {read:?}");
        at = end;
    }
    let sent = model.sending.sent();
    keep(store, &mut model, version, sent).await?;
    Ok(())
}

/// A failed message is due again at its stored time, with all its fields. The same holds for a message that
/// replaced it.
async fn what_is_tried_again_is_claimed_again(store: &dyn AccountStore) -> Result<(), Violation> {
    let mut model = message("outbox-tries", 0);
    put(store, std::slice::from_ref(&model)).await?;
    let tenant = model.account.tenant.clone();
    let (mut at, mut version) = (now(), unchanged(store, &model).await?);
    for how in ["not_sent", "unknown", "not_sent"] {
        let during = (at, at.plus(Message::CLAIM));
        let claimed = claims_exactly(store, &tenant, during, &[(model.clone(), version)]).await?;
        (model, version) = (claimed[0].value.clone(), claimed[0].version);
        let next = model.after_failure(how, at);
        let next = next.ok_or_else(|| Violation::new("the suite has a defect: the message has expired"))?;
        at = next.due_at;
        version = keep(store, &mut model, version, next).await?;
        claims_exactly(store, &tenant, (before(at), until()), &[]).await?;
    }
    // Although the previous message was not due yet.
    let another = with_content(&message("outbox-tries", 0), "another");
    put(store, std::slice::from_ref(&another)).await?;
    let version = unchanged(store, &another).await?;
    claims_exactly(store, &tenant, (now(), until()), &[(another, version)]).await?;
    Ok(())
}
