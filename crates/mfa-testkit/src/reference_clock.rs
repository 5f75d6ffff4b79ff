//! The contract of [`ReferenceClock`].

use mfa_domain::ports::{ReferenceClock, ReferenceClockError};

use crate::violation::ensure;
use crate::{ShiftedClock, Violation};

/// How much a busy machine may hide of a deviation, in milliseconds.
const HIDDEN: i64 = 5_000;

/// What a clock does that is right, as that of this machine is.
///
/// # Errors
/// The first [`Violation`].
pub async fn basic(reference: &dyn ReferenceClock) -> Result<(), Violation> {
    for ahead in [0, 20_000, -20_000, 172_800_000] {
        let found =
            reference.compare(&ShiftedClock(ahead)).await.map_err(|error| failed(&error))?.as_millis();
        let hidden = if ahead < 0 { found - ahead } else { ahead - found };
        // A millisecond for what a timestamp leaves out.
        ensure!(
            (-1..=HIDDEN).contains(&hidden) && (found == 0 || (found < 0) == (ahead < 0)),
            "a clock that is {ahead} ms ahead was found to be {found} ms ahead"
        );
    }
    Ok(())
}

fn failed(error: &ReferenceClockError) -> Violation {
    Violation::new(format!("an error where there must be none: {error:?}"))
}
