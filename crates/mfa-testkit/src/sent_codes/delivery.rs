//! What becomes of codes between the commit that queues them and the mailbox.

use std::sync::Arc;
use std::time::Duration;

use mfa_domain::mfa::Delivered;
use mfa_domain::ports::Commit;
use mfa_domain::{EventKind, Message, MessageState, Sending, Undecided};

use super::replicas::{Replicas, accepted, courier, ours, shop};
use crate::changes::change;
use crate::race::together;
use crate::{SendFailure, Violation, ensure};

/// A code that cannot be sent stays queued, and is sent some seconds later: the same code, which is good all the while.
/// If it may have been sent, it is sent once more. Whoever asks is told how far it is.
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
        ensure!(delivered == [Delivered::Queued], "while the sender fails it is {delivered:?}");
        replicas.delivery_is(&user.key, id, MessageState::Queued).await?;
        replicas.sender.fail_with(None);
        for (after, expected) in [
            (Duration::from_millis(4_999), None),
            (Duration::from_millis(1), Some(Delivered::Sent)),
            (Message::CLAIM, None),
        ] {
            replicas.clock.advance(after);
            let delivered = replicas.deliver().await?;
            ensure!(delivered == expected.as_slice(), "{after:?} later it is {delivered:?}");
        }
        replicas.delivery_is(&user.key, id, MessageState::Sent).await?;
        let codes = replicas.codes_of(id);
        let same = codes.iter().all(|code| *code == codes[0]);
        ensure!(same && codes.len() == mails, "{} messages with one code: {same}", codes.len());
        replicas.is_right(&user.key, id, &codes[0]).await?;
    }
    replicas.given_up(&user.key, &[]).await
}

/// A code that is refused is not tried again: its owner is told, and so is the trail, once. Another may be asked for.
///
/// # Errors
/// [`Violation`] if it does not hold.
pub async fn what_is_refused_is_given_up(replicas: &Replicas) -> Result<(), Violation> {
    let user = replicas.recipient("sent-refused", "alice").await?;
    let id = replicas.queue(&user).await?;
    replicas.sender.fail_with(SendFailure::Refused);
    let delivered = replicas.deliver().await?;
    replicas.sender.fail_with(None);
    ensure!(delivered == [Delivered::Failed], "what is refused is {delivered:?}");
    replicas.delivery_is(&user.key, id, MessageState::Failed).await?;
    replicas.given_up(&user.key, &["refused"]).await?;
    let content = replicas.message(&user.key, id).await?.value.sending.content;
    ensure!(content.is_none(), "what was given up still holds where it was to go");
    replicas.clock.advance(Duration::from_mins(5));
    let delivered = replicas.deliver().await?;
    ensure!(delivered.is_empty(), "what was given up is {delivered:?} later");
    ensure!(replicas.codes_of(id).is_empty(), "what was refused was sent");
    accepted(replicas.mfas[1].resend_challenge(&user.key.tenant, &shop(), id).await?)?;
    replicas.delivery_is(&user.key, id, MessageState::Queued).await?;
    let code = replicas.latest(&user.key).await?;
    replicas.delivery_is(&user.key, id, MessageState::Sent).await?;
    replicas.is_right(&user.key, id, &code).await?;
    replicas.given_up(&user.key, &["refused"]).await
}

/// A code is tried again and again, until it would come too late. Then it is given up, of which the trail tells once; so
/// is one that nobody came to send in time.
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
    ensure!(last == Some(Delivered::Failed), "the last try left it {last:?}");
    let again = delivered.iter().all(|delivered| *delivered == Delivered::Queued);
    ensure!(again && !delivered.is_empty(), "before it was given up it was {delivered:?}");
    replicas.delivery_is(&user.key, id, MessageState::Failed).await?;
    replicas.given_up(&user.key, &["not_sent"]).await?;
    ensure!(replicas.codes_of(id).is_empty(), "a sender that is down has sent something");

    let id = replicas.queue(&user).await?;
    replicas.clock.advance(Duration::from_mins(10));
    let delivered = replicas.deliver().await?;
    ensure!(delivered == [Delivered::Failed], "what nobody came to send in time is {delivered:?}");
    replicas.delivery_is(&user.key, id, MessageState::Failed).await?;
    replicas.given_up(&user.key, &["not_sent", "expired"]).await?;
    ensure!(replicas.codes_of(id).is_empty(), "a code was sent that was good no more");
    Ok(())
}

/// While a code is queued, another takes its place. Whoever has begun to send it cannot mark the other one as sent, nor
/// give it up.
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
    ensure!(delivered == [Delivered::Queued], "while the sender is down it is {delivered:?}");
    accepted(replicas.mfas[1].resend_challenge(tenant, &shop(), id).await?)?;
    let delivered = replicas.deliver().await?;
    ensure!(delivered == [Delivered::Sent], "the one that took its place is {delivered:?}");
    replicas.clock.advance(Message::CLAIM);
    let delivered = replicas.deliver().await?;
    ensure!(delivered.is_empty(), "the one whose place was taken is {delivered:?}");
    let codes = replicas.codes_of(id);
    ensure!(codes.len() == 1, "of a code and the one that took its place {} were sent", codes.len());
    replicas.is_right(&user.key, id, &codes[0]).await?;

    let id = replicas.queue(&user).await?;
    for failure in [None, Some(SendFailure::Refused), Some(SendFailure::NotSent)] {
        let claimed = replicas.claim().await?;
        ensure!(claimed.len() == 1, "of one code that is queued {} were claimed", claimed.len());
        accepted(replicas.mfas[1].resend_challenge(tenant, &shop(), id).await?)?;
        replicas.sender.fail_with(failure);
        for message in claimed {
            let delivered = replicas.mfas[0].deliver(&courier(), message).await?;
            ensure!(delivered == Delivered::Superseded, "one whose place was taken is {delivered:?}");
        }
        replicas.sender.fail_with(None);
        replicas.delivery_is(&user.key, id, MessageState::Queued).await?;
    }
    let latest = replicas.latest(&user.key).await?;
    replicas.delivery_is(&user.key, id, MessageState::Sent).await?;
    replicas.is_right(&user.key, id, &latest).await?;
    replicas.given_up(&user.key, &[]).await
}

/// Of many who send what is queued on two replicas at the same time, one sends each code.
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
        // Whoever came while the rest was in another's hands was given nothing.
        replicas.deliver().await?;
        for id in queued {
            let sent = replicas.codes_of(id).len();
            ensure!(sent == 1, "one code was sent {sent} times");
            replicas.delivery_is(&user.key, id, MessageState::Sent).await?;
        }
    }
    Ok(())
}

/// What is queued for one account under one id does not open in any other place, whoever writes it there: nothing is sent,
/// until it is given up at its end.
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
    ensure!(swapped == Commit::Won, "nobody else changes it");
    let moved = Message { account: alice.key.clone(), ..moved };
    let accounts = &replicas.mfas[0].ports().accounts;
    let put = change(accounts.as_ref(), &alice.key, |draft| draft.message(moved)).await?;
    ensure!(put == Commit::Won, "nobody else changes it");

    let before = replicas.sender.sent().len();
    let claimed = replicas.claim().await?;
    ensure!(claimed.len() == 2, "of two messages {} were claimed", claimed.len());
    for message in claimed {
        let delivered = replicas.mfas[0].deliver(&courier(), message).await;
        ensure!(matches!(delivered, Err(Undecided::Vault(_))), "what was moved was opened: {delivered:?}");
    }
    replicas.clock.advance(Duration::from_mins(10));
    let delivered = replicas.deliver().await?;
    ensure!(delivered == [Delivered::Failed, Delivered::Failed], "in the end it is {delivered:?}");
    ensure!(replicas.sender.sent().len() == before, "what was moved was sent");
    // Whoever claimed them first has not said that they were not sent.
    for user in [mallory, alice] {
        replicas.given_up(&user.key, &["unknown"]).await?;
    }
    Ok(())
}

/// A code that nobody waits for is not sent, and the trail tells nothing of it: its challenge was cancelled, or its user is
/// erased, in time or too late.
///
/// # Errors
/// [`Violation`] if it does not hold.
pub async fn a_code_that_answers_nothing_is_not_sent(replicas: &Replicas) -> Result<(), Violation> {
    let user = replicas.recipient("sent-over", "alice").await?;
    let id = replicas.queue(&user).await?;
    accepted(replicas.mfas[0].cancel_challenge(&user.key.tenant, &shop(), id).await?)?;
    let delivered = replicas.deliver().await?;
    ensure!(delivered == [Delivered::Failed], "once its challenge is cancelled a code is {delivered:?}");
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
            "{after:?} after its user was erased a code is {delivered:?}"
        );
        replicas.given_up(&user.key, &[]).await?;
        let last = replicas.events(&user.key).await?.pop().map(|recorded| recorded.event.kind);
        ensure!(last == Some(EventKind::Erased), "the trail of a user who is erased goes on with {last:?}");
    }
    for id in ids {
        let codes = replicas.codes_of(id);
        ensure!(codes.is_empty(), "{} codes were sent that answer nothing", codes.len());
    }
    Ok(())
}

/// Of a code that may have arrived nobody is told that it was not sent: nothing is said of one that was answered before it
/// was tried again, however late that is; and of any other that its end is not known.
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
        ensure!(delivered == [Delivered::Failed], "{after:?} later it is {delivered:?}");
        replicas.delivery_is(&user.key, id, MessageState::Failed).await?;
        let failure = replicas.message(&user.key, id).await?.value.sending.last_failure;
        ensure!(failure.as_deref() == Some("unknown"), "it has failed as {failure:?}");
        let codes = replicas.codes_of(id);
        ensure!(codes.len() == 1, "{} messages were sent", codes.len());
        replicas.given_up(&user.key, if is_answered { &[] } else { &["unknown"] }).await?;
    }
    Ok(())
}
