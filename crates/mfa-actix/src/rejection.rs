//! The answer to a rejected code.

use mfa_domain::{AccountKey, Actor, CodeRejection};

use crate::problem::Problem;
use crate::state::State;

/// Returns the problem for a rejected code.
///
/// Records a used code first, within the user's quota. Without the quota, anyone who has seen a used code could fill
/// the audit trail by posting it again.
pub(crate) async fn rejected(
    state: &State,
    account: &AccountKey,
    actor: &Actor,
    rejection: CodeRejection,
) -> Problem {
    if let CodeRejection::Replayed { factor } = rejection {
        metrics::counter!("mfa_replayed_codes_total").increment(1);
        if state.throttling.admits_replay(state.clock.now(), account).await
            && let Err(undecided) = state.mfa.record_replay(account, actor, factor).await
        {
            return undecided.into();
        }
    }
    Problem::rejection(rejection, state.clock.now())
}
