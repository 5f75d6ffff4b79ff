//! The audit trail against an attacker with write access to the database: every kind of tampering, by SQL on
//! SQLite and PostgreSQL and by commands on Redis; and changes that must raise no alarm.

#![allow(clippy::unwrap_used, reason = "test code")]

mod busy;
mod checkpoints;
mod export;
mod installation;
mod retention;
mod tampering;
mod tampering_redis;
mod unreadable;
