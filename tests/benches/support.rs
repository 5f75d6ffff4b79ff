//! What the benchmarks share.

pub mod connection;
pub mod drive;
pub mod floor;
pub mod mail;
pub mod population;
pub mod postgres;
pub mod processor;
pub mod sqlite;

#[path = "../../crates/mfa-store-postgres/tests/support/server.rs"]
pub mod server;

/// The one in the middle.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

/// The arguments that are numbers.
pub fn numbers() -> Vec<u32> {
    std::env::args().skip(1).filter_map(|text| text.replace('_', "").parse().ok()).collect()
}
