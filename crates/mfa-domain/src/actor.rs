//! Who asks for a change, for the audit trail and for the policies.

use std::fmt;

use crate::text::visible;

/// Who asks for a change: an authority, and a name that the audit trail keeps.
///
/// The name is the host's to choose: an API key's id, a support agent, a command line.
///
/// ```
/// use mfa_domain::Actor;
/// let by_user = Actor::user("web");
/// let by_support = Actor::admin("support:anna");
/// assert!(by_support.is_admin() && !by_user.is_admin());
/// assert_eq!(by_support.to_string(), "admin support:anna");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    authority: Authority,
    caller: Caller,
}

/// The name of who calls, such as an API key of a host. It is cleaned of control characters and cut to 128 characters, so
/// that it can never fail a request; what is left is compared exactly.
///
/// ```
/// use mfa_domain::Caller;
/// assert_eq!(Caller::new("api-key:\n7").as_str(), "api-key:7");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller(String);

/// In whose right a change is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Authority {
    /// The account's owner, through the host application.
    User,
    /// An operator or support agent.
    Admin,
}

impl Actor {
    /// The account's owner, through `name`.
    #[must_use]
    pub fn user(name: &str) -> Self {
        Self { authority: Authority::User, caller: Caller::new(name) }
    }

    /// An operator called `name`.
    #[must_use]
    pub fn admin(name: &str) -> Self {
        Self { authority: Authority::Admin, caller: Caller::new(name) }
    }

    /// In whose right this actor asks.
    #[must_use]
    pub const fn authority(&self) -> Authority {
        self.authority
    }

    /// Through whom they ask, or as whom.
    #[must_use]
    pub const fn caller(&self) -> &Caller {
        &self.caller
    }

    /// Whether this is an operator.
    #[must_use]
    pub const fn is_admin(&self) -> bool {
        matches!(self.authority, Authority::Admin)
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let authority = match self.authority {
            Authority::User => "user",
            Authority::Admin => "admin",
        };
        write!(f, "{authority} {}", self.caller.as_str())
    }
}

impl Caller {
    /// Takes a name.
    #[must_use]
    pub fn new(name: &str) -> Self {
        const MAX: usize = 128;
        let text: String = name.chars().filter(|c| visible(*c)).take(MAX).collect();
        Self(if text.is_empty() { "unnamed".to_owned() } else { text })
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
