//! What becomes of a code that was not accepted.

use mfa_domain::{AccountKey, Actor, CodeRejection};

use crate::problem::Problem;
use crate::state::State;

/// The problem that a rejection is answered with.
///
/// A used code is recorded first, as far as the user's quota allows: anybody who has seen one can post
/// it for ever, and the trail keeps each event for good.
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
