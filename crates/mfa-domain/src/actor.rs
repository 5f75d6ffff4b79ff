//! The actor of a change, for the audit trail and the policies.

use std::fmt;

use crate::text::visible;

/// The actor of a change: an authority, and a name that the audit trail keeps.
///
/// The host chooses the name: the id of an API key, a support agent, a command line.
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

/// The name of a caller, such as an API key of a host. Control characters are removed and the name is cut to 128
/// characters, so that a name never fails a request. The result is compared exactly.
///
/// ```
/// use mfa_domain::Caller;
/// assert_eq!(Caller::new("api-key:\n7").as_str(), "api-key:7");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller(String);

/// The authority of an actor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Authority {
    /// The owner of the account, through the host application.
    User,
    /// An operator or support agent.
    Admin,
}

impl Actor {
    /// The owner of the account, through the caller `name`.
    #[must_use]
    pub fn user(name: &str) -> Self {
        Self { authority: Authority::User, caller: Caller::new(name) }
    }

    /// An operator called `name`.
    #[must_use]
    pub fn admin(name: &str) -> Self {
        Self { authority: Authority::Admin, caller: Caller::new(name) }
    }

    /// The authority of the actor.
    #[must_use]
    pub const fn authority(&self) -> Authority {
        self.authority
    }

    /// The caller through whom an owner acts, or the operator.
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
    /// Makes a name.
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
