//! The names of keys. What must change together has one hash tag, the part in braces, and so is in one slot
//! of a cluster. No id has a brace in it.

use mfa_domain::ports::ThrottleKey;

/// The names in one namespace.
#[derive(Clone, Debug)]
pub(crate) struct Keys {
    namespace: String,
}

impl Keys {
    pub(crate) fn new(namespace: &str) -> Self {
        Self { namespace: namespace.to_owned() }
    }

    pub(crate) fn namespace(&self) -> &str {
        &self.namespace
    }

    /// A bucket; those of an account (`user`, `offer`) have the account's tag.
    pub(crate) fn bucket(&self, key: &ThrottleKey) -> String {
        let (kind, text) = (key.kind(), key.to_string());
        let whose = text.strip_prefix(kind.as_str()).and_then(|rest| rest.strip_prefix('/')).unwrap_or(&text);
        format!("{}:throttle:{{{whose}}}:{kind}", self.namespace)
    }
}
