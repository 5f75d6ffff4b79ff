//! The stores on Redis servers of the tests' own.

mod challenges;
mod contract;
mod failover;
mod faults;
mod opening;
mod outbox;
mod records;
mod short_lived;
mod support;
mod throttle;
