//! Delivery of codes, from the commit that queues them to the mailbox.

use std::sync::Arc;
use std::time::Duration;

use mfa_domain::mfa::Delivered;
use mfa_domain::ports::Commit;
use mfa_domain::{EventKind, Message, MessageState, Sending, Undecided};

use super::replicas::{Replicas, accepted, courier, ours, shop};
use crate::changes::change;
use crate::race::together;
use crate::{SendFailure, Violation, ensure};

/// A code that cannot be sent stays queued and is sent some seconds later: the same code, which stays valid.
/// If it may have been sent, it is sent once more. A caller that asks is told the state of delivery.
///
/// # Errors
/// [`Violation`] if it does not hold.
pub async fn what_cannot_be_sent_is_sent_later(replicas: &Replicas) -> Result<(), Violation> {
    let user = replicas.recipient("sent-later", "alice").await?;
    for (failure, mails) in [(SendFailure::NotSent, 1), (SendFailure::Unknown, 2)] {
        let id = replicas.queue(&user).await?;
        replicas.delivery_is(&user.key, id, MessageState::Queued).await?;
        replicas.sender.fail_with(failure);
        let delivered = replicas.deliver().await?;
        ensure!(delivered == [Delivered::Queued], "while the sender fails, the result is {delivered:?}");
        replicas.delivery_is(&user.key, id, MessageState::Queued).await?;
        replicas.sender.fail_with(None);
        for (after, expected) in [
            (Duration::from_millis(4_999), None),
            (Duration::from_millis(1), Some(Delivered::Sent)),
            (Message::CLAIM, None),
        ] {
            replicas.clock.advance(after);
            let delivered = replicas.deliver().await?;
            ensure!(delivered == expected.as_slice(), "{after:?} later the result is {delivered:?}");
        }
        replicas.delivery_is(&user.key, id, MessageState::Sent).await?;
        let codes = replicas.codes_of(id);
        let same = codes.iter().all(|code| *code == codes[0]);
        ensure!(same && codes.len() == mails, "of {} messages, the codes are equal: {same}", codes.len());
        replicas.is_right(&user.key, id, &codes[0]).await?;
    }
    replicas.given_up(&user.key, &[]).await
}

/// A refused code is not tried again: its owner is told, and the trail records it once. Another code may be
/// requested.
///
/// # Errors
/// [`Violation`] if it does not hold.
pub async fn what_is_refused_is_given_up(replicas: &Replicas) -> Result<(), Violation> {
    let user = replicas.recipient("sent-refused", "alice").await?;
    let id = replicas.queue(&user).await?;
    replicas.sender.fail_with(SendFailure::Refused);
    let delivered = replicas.deliver().await?;
    replicas.sender.fail_with(None);
    ensure!(delivered == [Delivered::Failed], "a refused message is {delivered:?}");
    replicas.delivery_is(&user.key, id, MessageState::Failed).await?;
    replicas.given_up(&user.key, &["refused"]).await?;
    let content = replicas.message(&user.key, id).await?.value.sending.content;
    ensure!(content.is_none(), "a message that was given up still has its content");
    replicas.clock.advance(Duration::from_mins(5));
    let delivered = replicas.deliver().await?;
    ensure!(delivered.is_empty(), "a message that was given up is later {delivered:?}");
    ensure!(replicas.codes_of(id).is_empty(), "a refused message was sent");
    accepted(replicas.mfas[1].resend_challenge(&user.key.tenant, &shop(), id).await?)?;
    replicas.delivery_is(&user.key, id, MessageState::Queued).await?;
    let code = replicas.latest(&user.key).await?;
    replicas.delivery_is(&user.key, id, MessageState::Sent).await?;
    replicas.is_right(&user.key, id, &code).await?;
    replicas.given_up(&user.key, &["refused"]).await
}

/// A code is retried until it would arrive too late. Then it is given up, and the trail records it once. The
/// same holds for a code that no sender claimed in time.
///
/// # Errors
/// [`Violation`] if it does not hold.
pub async fn what_cannot_be_sent_in_time_is_given_up(replicas: &Replicas) -> Result<(), Violation> {
    let user = replicas.recipient("sent-late", "alice").await?;
    let id = replicas.queue(&user).await?;
    replicas.sender.fail(true);
    let mut delivered = Vec::new();
    for _ in 0..120 {
        delivered.extend(replicas.deliver().await?);
        replicas.clock.advance(Duration::from_secs(5));
    }
    replicas.sender.fail(false);
    let last = delivered.pop();
    ensure!(last == Some(Delivered::Failed), "the result of the last try is {last:?}");
    let again = delivered.iter().all(|delivered| *delivered == Delivered::Queued);
    ensure!(again && !delivered.is_empty(), "before it was given up, the results were {delivered:?}");
    replicas.delivery_is(&user.key, id, MessageState::Failed).await?;
    replicas.given_up(&user.key, &["not_sent"]).await?;
    ensure!(replicas.codes_of(id).is_empty(), "a sender that is down sent a message");

    let id = replicas.queue(&user).await?;
    replicas.clock.advance(Duration::from_mins(10));
    let delivered = replicas.deliver().await?;
    ensure!(delivered == [Delivered::Failed], "a message that no sender claimed in time is {delivered:?}");
    replicas.delivery_is(&user.key, id, MessageState::Failed).await?;
    replicas.given_up(&user.key, &["not_sent", "expired"]).await?;
    ensure!(replicas.codes_of(id).is_empty(), "an expired code was sent");
    Ok(())
}

/// While a code is queued, a further one replaces it. A sender that has begun the old one can neither mark
/// the new one as sent nor give it up.
///
/// # Errors
/// [`Violation`] if it does not hold.
pub async fn a_code_whose_place_another_took_is_not_sent(replicas: &Replicas) -> Result<(), Violation> {
    let user = replicas.recipient("sent-replaced", "alice").await?;
    let tenant = &user.key.tenant;
    let id = replicas.queue(&user).await?;
    replicas.sender.fail(true);
    let delivered = replicas.deliver().await?;
    replicas.sender.fail(false);
    ensure!(delivered == [Delivered::Queued], "while the sender is down, the result is {delivered:?}");
    accepted(replicas.mfas[1].resend_challenge(tenant, &shop(), id).await?)?;
    let delivered = replicas.deliver().await?;
    ensure!(delivered == [Delivered::Sent], "the message that replaced it is {delivered:?}");
    replicas.clock.advance(Message::CLAIM);
    let delivered = replicas.deliver().await?;
    ensure!(delivered.is_empty(), "the replaced message is {delivered:?}");
    let codes = replicas.codes_of(id);
    ensure!(codes.len() == 1, "of a code and its replacement, {} were sent", codes.len());
    replicas.is_right(&user.key, id, &codes[0]).await?;

    let id = replicas.queue(&user).await?;
    for failure in [None, Some(SendFailure::Refused), Some(SendFailure::NotSent)] {
        let claimed = replicas.claim().await?;
        ensure!(claimed.len() == 1, "of one queued code, {} were claimed", claimed.len());
        accepted(replicas.mfas[1].resend_challenge(tenant, &shop(), id).await?)?;
        replicas.sender.fail_with(failure);
        for message in claimed {
            let delivered = replicas.mfas[0].deliver(&courier(), message).await?;
            ensure!(delivered == Delivered::Superseded, "the replaced message is {delivered:?}");
        }
        replicas.sender.fail_with(None);
        replicas.delivery_is(&user.key, id, MessageState::Queued).await?;
    }
    let latest = replicas.latest(&user.key).await?;
    replicas.delivery_is(&user.key, id, MessageState::Sent).await?;
    replicas.is_right(&user.key, id, &latest).await?;
    replicas.given_up(&user.key, &[]).await
}

/// If two replicas send the queued codes at the same time, each code is sent once.
///
/// # Errors
/// [`Violation`] if it does not hold.
pub async fn two_replicas_send_a_code_once(replicas: &Replicas) -> Result<(), Violation> {
    for round in 0..3 {
        let user = replicas.recipient("sent-once", &format!("user-{round}")).await?;
        let mut queued = Vec::new();
        for _ in 0..20 {
            queued.push(replicas.queue(&user).await?);
        }
        let couriers = together(8, |n| {
            let mfa = Arc::clone(&replicas.mfas[n % 2]);
            async move {
                loop {
                    let claimed = mfa.claim_messages(3).await?.messages;
                    if claimed.is_empty() {
                        return Ok::<_, Undecided>(());
                    }
                    for message in ours(claimed) {
                        mfa.deliver(&courier(), message).await?;
                    }
                }
            }
        });
        couriers.await?.into_iter().collect::<Result<(), _>>()?;
        // A claim may return nothing while the rest is being claimed by another.
        replicas.deliver().await?;
        for id in queued {
            let sent = replicas.codes_of(id).len();
            ensure!(sent == 1, "one code was sent {sent} times");
            replicas.delivery_is(&user.key, id, MessageState::Sent).await?;
        }
    }
    Ok(())
}

/// A message queued for one account under one id does not open anywhere else, even if somebody copies it
/// there: nothing is sent, and the message is given up when it expires.
///
/// # Errors
/// [`Violation`] if it does not hold.
pub async fn what_is_queued_is_good_in_its_place_only(replicas: &Replicas) -> Result<(), Violation> {
    let mallory = replicas.recipient("sent-elsewhere", "mallory").await?;
    let alice = replicas.recipient("sent-elsewhere", "alice").await?;
    let (first, second) = (replicas.queue(&mallory).await?, replicas.queue(&mallory).await?);
    let moved = replicas.message(&mallory.key, first).await?.value;
    let there = replicas.message(&mallory.key, second).await?;
    // Under another id, and for another account.
    let next = Sending { content: moved.sending.content.clone(), ..there.value.sending };
    let swapped = replicas.outbox()?.swap(&mallory.key.tenant, second.into(), there.version, &next).await?;
    ensure!(swapped == Commit::Won, "a swap without competition did not win");
    let moved = Message { account: alice.key.clone(), ..moved };
    let accounts = &replicas.mfas[0].ports().accounts;
    let put = change(accounts.as_ref(), &alice.key, |draft| draft.message(moved)).await?;
    ensure!(put == Commit::Won, "a commit without competition did not win");

    let before = replicas.sender.sent().len();
    let claimed = replicas.claim().await?;
    ensure!(claimed.len() == 2, "of two messages, {} were claimed", claimed.len());
    for message in claimed {
        let delivered = replicas.mfas[0].deliver(&courier(), message).await;
        ensure!(matches!(delivered, Err(Undecided::Vault(_))), "a copied message was opened: {delivered:?}");
    }
    replicas.clock.advance(Duration::from_mins(10));
    let delivered = replicas.deliver().await?;
    ensure!(delivered == [Delivered::Failed, Delivered::Failed], "in the end the results are {delivered:?}");
    ensure!(replicas.sender.sent().len() == before, "a copied message was sent");
    // The first claim has not reported that they were not sent.
    for user in [mallory, alice] {
        replicas.given_up(&user.key, &["unknown"]).await?;
    }
    Ok(())
}

/// A code that answers nothing any more is not sent, and the trail does not record it: its challenge was
/// cancelled, or its user was erased, in time or too late.
///
/// # Errors
/// [`Violation`] if it does not hold.
pub async fn a_code_that_answers_nothing_is_not_sent(replicas: &Replicas) -> Result<(), Violation> {
    let user = replicas.recipient("sent-over", "alice").await?;
    let id = replicas.queue(&user).await?;
    accepted(replicas.mfas[0].cancel_challenge(&user.key.tenant, &shop(), id).await?)?;
    let delivered = replicas.deliver().await?;
    ensure!(delivered == [Delivered::Failed], "after its challenge was cancelled, a code is {delivered:?}");
    replicas.delivery_is(&user.key, id, MessageState::Failed).await?;
    replicas.given_up(&user.key, &[]).await?;
    let mut ids = vec![id];
    for (name, after) in [("bob", Duration::ZERO), ("carol", Duration::from_mins(10))] {
        let user = replicas.recipient("sent-over", name).await?;
        ids.push(replicas.queue(&user).await?);
        replicas.mfas[1].erase(&user.key, &courier()).await?;
        replicas.clock.advance(after);
        let delivered = replicas.deliver().await?;
        ensure!(
            delivered == [Delivered::Failed],
            "{after:?} after its user was erased, a code is {delivered:?}"
        );
        replicas.given_up(&user.key, &[]).await?;
        let last = replicas.events(&user.key).await?.pop().map(|recorded| recorded.event.kind);
        ensure!(last == Some(EventKind::Erased), "the trail of an erased user continues with {last:?}");
    }
    for id in ids {
        let codes = replicas.codes_of(id);
        ensure!(codes.is_empty(), "{} codes that answer nothing were sent", codes.len());
    }
    Ok(())
}

/// A code that may have arrived is never reported as not sent. If it was answered before its next try,
/// nothing is reported, however late that try is; otherwise its result is reported as unknown.
///
/// # Errors
/// [`Violation`] if it does not hold.
pub async fn a_code_that_may_have_arrived_is_not_told_to_be_lost(
    replicas: &Replicas,
) -> Result<(), Violation> {
    let user = replicas.recipient("sent-unknown", "alice").await?;
    for (is_answered, after) in
        [(true, Duration::from_secs(5)), (true, Duration::from_mins(10)), (false, Duration::from_mins(10))]
    {
        let id = replicas.queue(&user).await?;
        replicas.sender.fail_with(SendFailure::Unknown);
        let delivered = replicas.deliver().await?;
        replicas.sender.fail_with(None);
        ensure!(delivered == [Delivered::Queued], "a code that may have arrived is {delivered:?}");
        if is_answered {
            replicas.is_right(&user.key, id, &replicas.codes_of(id)[0]).await?;
        }
        replicas.clock.advance(after);
        let delivered = replicas.deliver().await?;
        ensure!(delivered == [Delivered::Failed], "{after:?} later the result is {delivered:?}");
        replicas.delivery_is(&user.key, id, MessageState::Failed).await?;
        let failure = replicas.message(&user.key, id).await?.value.sending.last_failure;
        ensure!(failure.as_deref() == Some("unknown"), "the recorded failure is {failure:?}");
        let codes = replicas.codes_of(id);
        ensure!(codes.len() == 1, "{} messages were sent", codes.len());
        replicas.given_up(&user.key, if is_answered { &[] } else { &["unknown"] }).await?;
    }
    Ok(())
}
