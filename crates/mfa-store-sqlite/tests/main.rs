//! The store on database files.

mod contract;
mod files;
mod group_commit;
mod lifetime;
mod rows;
mod short_lived;
mod support;
