//! The store on PostgreSQL servers of the tests' own.

mod contract;
mod faults;
mod opening;
mod poolers;
mod rows;
mod short_lived;
mod support;
mod together;
