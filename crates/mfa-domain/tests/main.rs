//! Decisions and use cases from outside.

mod decisions;
mod send;
mod use_cases;
