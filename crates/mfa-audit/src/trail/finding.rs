//! Defects of a chain.

use std::fmt;

use mfa_domain::ports::{AccountPlace, EventPosition};

/// A chain with a defect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The account of the chain.
    pub place: AccountPlace,
    /// The first affected event, from 1; 0 for the account itself.
    pub sequence: u64,
    /// The defect.
    pub what: Wrong,
}

/// The kind of a defect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Wrong {
    /// The event is missing, altered, or unknown to the account.
    Broken,
    /// The event cannot be read, so it was altered. Its position in the trail, if the store knows it.
    Unreadable(Option<EventPosition>),
    /// The account cannot be read, so it was altered.
    AccountUnreadable,
    /// The event differs from the one at the checkpoint, although its hash is right.
    Rewritten,
    /// The event existed at the checkpoint, and the chain ends before it.
    EndGone,
    /// The event existed at the checkpoint, and retention could not have removed it yet.
    BeginningGone,
    /// The whole account existed at the checkpoint and is missing.
    AccountGone,
}

impl Wrong {
    /// Its name in machine-readable output.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Broken => "broken",
            Self::Unreadable(_) => "unreadable",
            Self::AccountUnreadable => "account_unreadable",
            Self::Rewritten => "rewritten",
            Self::EndGone => "end_gone",
            Self::BeginningGone => "beginning_gone",
            Self::AccountGone => "account_gone",
        }
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Broken => "it is missing, altered or unknown to the account",
            Self::Unreadable(None) => "it cannot be read",
            Self::Unreadable(Some(position)) => {
                return write!(f, "it cannot be read; its position in the trail is {position}");
            }
            Self::AccountUnreadable => "the account itself cannot be read",
            Self::Rewritten => "it differs from the event at the checkpoint",
            Self::EndGone => "it existed at the checkpoint and is missing",
            Self::BeginningGone => "it existed at the checkpoint and was removed too early",
            Self::AccountGone => "the whole account existed at the checkpoint and is missing",
        })
    }
}
