//! The store on PostgreSQL servers of the tests' own.

mod batches;
mod contract;
mod faults;
mod opening;
mod poolers;
mod rows;
mod short_lived;
mod support;
mod together;
