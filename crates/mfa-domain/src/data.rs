//! Data of a factor or an account that are opaque to stores.

use std::fmt;

use serde_json::Value;

/// A JSON object, versioned by its member `v`. Stores keep it; only the domain reads it.
///
/// It contains parameters and progress, and no secrets: operators may read it, and `Debug` shows it. Two are equal if
/// they are the same JSON value, since a store with a JSON type may write the members in another order.
///
/// ```
/// use mfa_domain::Data;
/// assert_eq!(Data::new(r#"{"v":1,"counter":7}"#), Data::new(r#"{ "counter": 7, "v": 1 }"#));
/// ```
#[derive(Clone)]
pub struct Data(String);

impl Data {
    /// Wraps a stored text. It is validated when it is read.
    #[must_use]
    pub fn new(json: impl Into<String>) -> Self {
        Self(json.into())
    }

    /// The unchanged JSON text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn value(&self) -> Option<Value> {
        serde_json::from_str(&self.0).ok()
    }
}

impl Default for Data {
    /// The empty object: there are no data.
    fn default() -> Self {
        Self::new("{}")
    }
}

impl PartialEq for Data {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0 || self.value().is_some_and(|value| other.value() == Some(value))
    }
}

impl Eq for Data {}

impl fmt::Debug for Data {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_json_equals_only_itself() {
        assert_eq!(Data::new("{"), Data::new("{"));
        assert_ne!(Data::new("{"), Data::new("{ "));
        assert_ne!(Data::new(r#"{"v":1}"#), Data::new(r#"{"v":2}"#));
        assert_eq!(Data::default(), Data::new(" { } "));
    }
}
