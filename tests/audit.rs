//! The audit trail against those who can write to the database: every kind of tampering, by plain SQL
//! on SQLite and on PostgreSQL and by commands on Redis, and what must raise no alarm.

#![allow(clippy::unwrap_used, reason = "test code")]

mod busy;
mod checkpoints;
mod export;
mod installation;
mod retention;
mod tampering;
mod tampering_redis;
mod unreadable;
