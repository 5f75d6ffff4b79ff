//! Texts that no log may contain: secrets, codes, API keys.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use serde_json::Value;

/// Texts of requests and answers that no log may contain. Clones share one list.
#[derive(Clone, Debug, Default)]
pub struct Confidential(Arc<Mutex<HashSet<String>>>);

impl Confidential {
    /// Adds a text, as it is and without the spaces and hyphens of typed codes.
    pub fn add(&self, text: &str) {
        let plain: String = text.chars().filter(|c| !matches!(c, ' ' | '-')).collect();
        let mut list = self.0.lock().expect("no panic while it is held");
        list.insert(text.to_ascii_lowercase());
        list.insert(plain.to_ascii_lowercase());
    }

    /// Adds the secrets of a body, the codes that were sent or issued, the challenges and signatures of passkeys, and
    /// assertions with the sessions that they are bound to.
    pub(crate) fn take_note(&self, body: &Value) {
        match body {
            Value::Object(fields) => {
                for (name, value) in fields {
                    match (name.as_str(), value) {
                        (
                            "secret" | "code" | "challenge" | "signature" | "assertion" | "proof" | "nonce",
                            Value::String(text),
                        ) => self.add(text),
                        ("codes" | "backup_codes", Value::Array(texts)) => {
                            texts.iter().filter_map(Value::as_str).for_each(|text| self.add(text));
                        }
                        _ => self.take_note(value),
                    }
                }
            }
            Value::Array(values) => values.iter().for_each(|value| self.take_note(value)),
            _ => {}
        }
    }

    /// The words of a log that are on the list.
    ///
    /// A word includes dots, so that the fraction of a second is not a word of its own: six digits may occur
    /// there by chance.
    #[must_use]
    pub fn found_in(&self, log: &str) -> HashSet<String> {
        let list = self.0.lock().expect("no panic while it is held");
        let words = log.split(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '_' | '-' | '.'));
        words
            .filter(|word| word.len() >= 6)
            .map(str::to_ascii_lowercase)
            .filter(|word| list.contains(word))
            .collect()
    }
}
