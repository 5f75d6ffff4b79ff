//! Time: a store uses no clock of its own.

use std::time::Duration;

use mfa_domain::account::{CodeHash, HashedCode};
use mfa_domain::ports::AccountStore;
use mfa_domain::{BackupCodes, BackupCodesChange, EventKind, Factor, FactorState, Timestamp};

use super::samples::{pending, totp};
use super::subject::Subject;
use crate::Violation;
use crate::violation::run;

pub(super) async fn time(store: &dyn AccountStore) -> Result<(), Violation> {
    run![times_are_kept_as_given(store), nothing_changes_by_itself(store)]
}

/// Times from the first possible instant to the last, out of order.
fn times() -> [Timestamp; 7] {
    let year_2038 = Timestamp::from_unix_seconds(1 << 31);
    let year_2106 = Timestamp::from_unix_seconds(1 << 32);
    let milli = Timestamp::from_unix_millis(1_700_000_000_001);
    let [first, second] = [0, 1].map(Timestamp::from_unix_millis);
    [Timestamp::MAX, first, year_2106, second, milli, year_2038, Timestamp::MAX]
}

async fn times_are_kept_as_given(store: &dyn AccountStore) -> Result<(), Violation> {
    let mut subject = Subject::new(store, "times", "alice");
    for at in times() {
        let factor = Factor {
            state: FactorState::Pending { expires_at: at, replaces: None },
            created_at: at,
            last_used_at: Some(at),
            ..pending(1, "k1")
        };
        let code = HashedCode { hash: CodeHash(vec![1; 32]), spent_at: None };
        let set = BackupCodes { scheme: "s".to_owned(), codes: vec![code; 2], issued_at: at };
        subject
            .change_at(at, |draft| {
                draft.put(factor);
                draft.backup_codes(BackupCodesChange::Replace(set));
                draft.attempts().recent.push(at);
                draft.attempts().verified.low = Some(at);
                draft.record(EventKind::Verified, None, []);
            })
            .await?;
        subject.change_at(at, |draft| draft.backup_codes(BackupCodesChange::Spend { place: 1, at })).await?;
    }
    subject.check_events().await
}

/// Only the domain's clock expires anything. A store that cleaned up by its own clock would make a used code
/// valid again or forget a failure.
async fn nothing_changes_by_itself(store: &dyn AccountStore) -> Result<(), Violation> {
    let mut subject = Subject::new(store, "by-itself", "alice");
    for (n, expires_at) in (1..).zip(times()) {
        let state = FactorState::Pending { expires_at, replaces: None };
        subject.change(|draft| draft.put(Factor { state, ..pending(n, "k1") })).await?;
    }
    subject.change(|draft| draft.put(totp(100, "k1"))).await?;
    subject.change_at(Timestamp::default(), |draft| draft.attempts().fail(Timestamp::default())).await?;
    subject.change_at(Timestamp::MAX, |draft| draft.attempts().fail(Timestamp::MAX)).await?;
    for _ in 0..5 {
        tokio::time::sleep(Duration::from_millis(10)).await;
        subject.check().await?;
        subject.check_events().await?;
    }
    Ok(())
}
