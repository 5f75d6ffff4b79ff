//! Time: an outbox uses no clock of its own.

use std::time::Duration;

use mfa_domain::ports::{AccountStore, Commit};
use mfa_domain::{Message, Sending, Timestamp, Version};

use super::samples::{claims_exactly, due_at, keep, message, outbox, put, unchanged};
use crate::violation::run;
use crate::{Violation, ensure};

const A_MOMENT: Duration = Duration::from_millis(1);

pub(super) async fn time(store: &dyn AccountStore) -> Result<(), Violation> {
    run![
        times_are_kept_as_given(store),
        a_claim_goes_by_the_time_that_it_is_told(store),
        what_is_queued_is_never_forgotten(store),
        what_is_over_is_kept_for_an_hour(store),
    ]
}

/// Times from the first possible instant to ten minutes before the last. None is near the present.
fn times() -> [Timestamp; 6] {
    let second = Timestamp::from_unix_seconds;
    let milli = Timestamp::from_unix_millis;
    [
        milli(0),
        milli(1),
        second(1_000_000_000),
        milli((1 << 31) * 1000 + 1),
        second(1 << 32),
        milli(Timestamp::MAX.unix_millis() - 600_000),
    ]
}

async fn times_are_kept_as_given(store: &dyn AccountStore) -> Result<(), Violation> {
    let all: Vec<_> = times().into_iter().chain([Timestamp::MAX]).collect();
    let mut number = 0;
    for expires_at in all.clone() {
        for due in all.clone() {
            let mut model = due_at(&message("outbox-times", number), due);
            model.expires_at = expires_at;
            // Messages that are over expire by no clock of the store either.
            if number % 2 == 1 {
                model.sending = model.sending.sent();
            }
            put(store, std::slice::from_ref(&model)).await?;
            let mut version = unchanged(store, &model).await?;
            for due_at in [Timestamp::MAX, Timestamp::default(), due] {
                let next = Sending { due_at, ..model.sending.clone() };
                version = keep(store, &mut model, version, next).await?;
            }
            number += 1;
        }
    }
    Ok(())
}

async fn a_claim_goes_by_the_time_that_it_is_told(store: &dyn AccountStore) -> Result<(), Violation> {
    for (now, number) in times().into_iter().zip(0..) {
        let check = format!("outbox-told-{number}");
        let expires_at = now.plus(Duration::from_mins(10));
        let due = Message { expires_at, ..due_at(&message(&check, 0), now) };
        let early = Message { expires_at, ..due_at(&message(&check, 1), now.plus(A_MOMENT)) };
        let tenant = due.account.tenant.clone();
        put(store, &[due.clone(), early.clone()]).await?;
        let end = now.plus(Message::CLAIM);
        claims_exactly(store, &tenant, (now, end), &[(due, Version(1))]).await?;
        claims_exactly(store, &tenant, (now.plus(A_MOMENT), end), &[(early, Version(1))]).await?;
    }
    Ok(())
}

/// A caller that waits for the code is told that it was given up, and the trail records why. So a queued
/// message must be claimed, however late.
async fn what_is_queued_is_never_forgotten(store: &dyn AccountStore) -> Result<(), Violation> {
    let mut model = message("outbox-late", 0);
    put(store, std::slice::from_ref(&model)).await?;
    let tenant = model.account.tenant.clone();
    let mut version = unchanged(store, &model).await?;
    let (minute, hour) = (Duration::from_mins(1), Duration::from_hours(1));
    for late in [Duration::ZERO, 59 * minute, hour, hour * 24, hour * 24 * 365] {
        let at = model.expires_at.plus(late);
        let during = (at, at.plus(A_MOMENT));
        let claimed = claims_exactly(store, &tenant, during, &[(model.clone(), version)]).await?;
        (model, version) = (claimed[0].value.clone(), claimed[0].version);
    }
    Ok(())
}

/// For that hour, a caller that asks is told the result.
async fn what_is_over_is_kept_for_an_hour(store: &dyn AccountStore) -> Result<(), Violation> {
    for queued_at in [Timestamp::from_unix_seconds(1_000_000_000), Timestamp::from_unix_seconds(1 << 32)] {
        let check = format!("outbox-kept-{}", queued_at.unix_seconds());
        let mut all: Vec<_> = (0..3).map(|number| due_at(&message(&check, number), queued_at)).collect();
        let ends = [all[0].sending.sent(), all[1].sending.failed("expired"), all[2].sending.sent()];
        for (message, end) in all.iter_mut().zip(ends) {
            message.expires_at = queued_at.plus(Duration::from_mins(10));
            message.sending = end;
        }
        put(store, &all).await?;
        let tenant = all[0].account.tenant.clone();
        let expires_at = all[0].expires_at;
        let last = Timestamp::from_unix_millis(expires_at.plus(Message::KEPT).unix_millis() - 1);
        for now in [queued_at, expires_at, last, last] {
            claims_exactly(store, &tenant, (now, now.plus(Message::CLAIM)), &[]).await?;
            for message in &all {
                let version = unchanged(store, message).await?;
                ensure!(version == Version(1), "a message that is over was changed at {now} to {version:?}");
            }
        }
        // From then on the store may forget it.
        let over = last.plus(A_MOMENT);
        claims_exactly(store, &tenant, (over, over.plus(Message::CLAIM)), &[]).await?;
        for (model, number) in all.iter().zip(0..) {
            if outbox(store)?.message(&tenant, model.id).await?.is_some() {
                unchanged(store, model).await?;
            } else {
                let commit = outbox(store)?.swap(&tenant, model.id, Version(1), &model.sending).await?;
                ensure!(commit == Commit::Conflict, "a forgotten message was swapped");
            }
            let again = Message { expires_at: over.plus(Message::KEPT), ..message(&check, number) };
            put(store, std::slice::from_ref(&again)).await?;
            unchanged(store, &again).await?;
        }
    }
    Ok(())
}
