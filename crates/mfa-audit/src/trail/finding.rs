//! What is wrong with a chain.

use std::fmt;

use mfa_domain::ports::{AccountPlace, EventPosition};

/// A chain that is not what it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Whose chain.
    pub place: AccountPlace,
    /// The first event that it is about, from 1; 0 if it is about the account itself.
    pub sequence: u64,
    /// What is wrong.
    pub what: Wrong,
}

/// What is wrong with a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Wrong {
    /// The event is missing, was altered, or is one that the account does not know.
    Broken,
    /// The event is nothing that was ever written like that. It is at that position of the trail, if the
    /// store can tell.
    Unreadable(Option<EventPosition>),
    /// The account is nothing that was ever written like that.
    AccountUnreadable,
    /// The event is another one than at the checkpoint, though its hash is right.
    Rewritten,
    /// The event was there at the checkpoint, and the chain ends before it.
    EndGone,
    /// The event was there at the checkpoint, and is too young to have been removed by age.
    BeginningGone,
    /// All of the account was there at the checkpoint.
    AccountGone,
}

impl Wrong {
    /// The name that programs know it by.
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
            Self::Broken => "it is missing or altered, or the account does not know it",
            Self::Unreadable(None) => "it cannot be read",
            Self::Unreadable(Some(position)) => {
                return write!(f, "it cannot be read; its position in the trail is {position}");
            }
            Self::AccountUnreadable => "the account itself cannot be read",
            Self::Rewritten => "at the checkpoint it was another one",
            Self::EndGone => "it was there at the checkpoint",
            Self::BeginningGone => "it was there at the checkpoint, and was removed before its time",
            Self::AccountGone => "the whole account was there at the checkpoint",
        })
    }
}
