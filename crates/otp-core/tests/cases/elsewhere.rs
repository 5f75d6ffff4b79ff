//! Cases that this crate cannot decide alone.

use std::collections::BTreeSet;

use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Elsewhere {
    #[expect(dead_code, reason = "for the reader of the file")]
    subject: String,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    #[serde(rename = "case")]
    number: u8,
    r#where: String,
    what: String,
}

/// The numbers of the cases that need more than this crate.
pub(crate) fn numbers() -> BTreeSet<u8> {
    let elsewhere: Elsewhere = serde_json::from_str(include_str!("elsewhere.json")).unwrap();
    elsewhere
        .cases
        .into_iter()
        .inspect(|case| assert!(!case.r#where.is_empty() && !case.what.is_empty()))
        .map(|case| case.number)
        .collect()
}
