//! Contract suite for [`ReferenceClock`].

use mfa_domain::ports::{ReferenceClock, ReferenceClockError};

use crate::violation::ensure;
use crate::{ShiftedClock, Violation};

/// The part of a deviation that a busy machine may hide, in milliseconds.
const HIDDEN: i64 = 5_000;

/// Checks a reference clock that is right, like the clock of this machine.
///
/// # Errors
/// [`Violation`] with the first part of the contract that does not hold.
pub async fn basic(reference: &dyn ReferenceClock) -> Result<(), Violation> {
    for ahead in [0, 20_000, -20_000, 172_800_000] {
        let found =
            reference.compare(&ShiftedClock(ahead)).await.map_err(|error| failed(&error))?.as_millis();
        let hidden = if ahead < 0 { found - ahead } else { ahead - found };
        // One millisecond for the rounding of timestamps.
        ensure!(
            (-1..=HIDDEN).contains(&hidden) && (found == 0 || (found < 0) == (ahead < 0)),
            "a clock {ahead} ms ahead was reported as {found} ms ahead"
        );
    }
    Ok(())
}

fn failed(error: &ReferenceClockError) -> Violation {
    Violation::new(format!("an unexpected error: {error:?}"))
}
