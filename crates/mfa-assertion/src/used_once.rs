//! Assertions that count once.

use std::collections::HashMap;
use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};

/// Remembers which assertions were used, where a host wants each to count once (RFC 7519, 4.1.7). The nonce already
/// binds an assertion to a session; this also stops its second use within that session.
///
/// An implementation for several processes keeps the ids in a store that all share, and inserts them atomically: in
/// Redis `SET … NX EXAT`, in SQL `INSERT … ON CONFLICT DO NOTHING`.
pub trait UsedOnce: fmt::Debug + Send + Sync {
    /// Marks an assertion as used; whether it was not marked before. Of several calls at once for one id, exactly one
    /// MUST get `true`. The id MUST be remembered until `until`, in seconds since 1970, and may be forgotten from
    /// then on, because the assertion is refused for its age.
    ///
    /// # Errors
    /// If it cannot be told. The assertion MUST then not be accepted.
    fn first_use(&self, id: &str, until: u64) -> impl Future<Output = Result<bool, UsedOnceError>> + Send;
}

/// [`UsedOnce`] for trait objects. Every [`UsedOnce`] implements it.
pub trait DynUsedOnce: fmt::Debug + Send + Sync {
    /// As [`UsedOnce::first_use`].
    ///
    /// # Errors
    /// As [`UsedOnce::first_use`].
    fn first_use_boxed<'a>(
        &'a self,
        id: &'a str,
        until: u64,
    ) -> Pin<Box<dyn Future<Output = Result<bool, UsedOnceError>> + Send + 'a>>;
}

impl<T: UsedOnce> DynUsedOnce for T {
    fn first_use_boxed<'a>(
        &'a self,
        id: &'a str,
        until: u64,
    ) -> Pin<Box<dyn Future<Output = Result<bool, UsedOnceError>> + Send + 'a>> {
        Box::pin(self.first_use(id, until))
    }
}

/// It cannot be told whether an assertion was used before.
#[derive(Debug, thiserror::Error)]
#[error("cannot tell whether the assertion was used before")]
pub struct UsedOnceError(#[source] Box<dyn Error + Send + Sync>);

impl UsedOnceError {
    /// An error with its cause.
    #[must_use]
    pub fn new(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self(cause.into())
    }
}

/// Remembers used assertions in memory, for a host of one process. After a restart, assertions that are still young
/// enough count once more.
///
/// ```
/// use mfa_assertion::{MemoryUsedOnce, UsedOnce, system_clock};
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let used = MemoryUsedOnce::new(100_000, system_clock);
/// assert!(used.first_use("Yx3k", 1_800_000_300).await?);
/// assert!(!used.first_use("Yx3k", 1_800_000_300).await?);
/// # Ok(())
/// # }
/// ```
pub struct MemoryUsedOnce {
    capacity: usize,
    clock: Box<dyn Fn() -> u64 + Send + Sync>,
    /// Ids, and until when to remember them.
    used: Mutex<HashMap<String, u64>>,
}

impl MemoryUsedOnce {
    /// Remembers at most `capacity` assertions at a time, at about 100 bytes each. If that many are still to be
    /// remembered, further ones are errors, since to forget one would let it count twice. `clock` returns the time in
    /// seconds since 1970.
    #[must_use]
    pub fn new(capacity: usize, clock: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        Self { capacity, clock: Box::new(clock), used: Mutex::default() }
    }
}

impl UsedOnce for MemoryUsedOnce {
    async fn first_use(&self, id: &str, until: u64) -> Result<bool, UsedOnceError> {
        let now = (self.clock)();
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        if used.contains_key(id) {
            return Ok(false);
        }
        if used.len() >= self.capacity {
            used.retain(|_, until| *until > now);
        }
        if used.len() >= self.capacity {
            return Err(UsedOnceError::new("too many used assertions are to be remembered"));
        }
        used.insert(id.to_owned(), until);
        Ok(true)
    }
}

impl fmt::Debug for MemoryUsedOnce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryUsedOnce").field("capacity", &self.capacity).finish_non_exhaustive()
    }
}
