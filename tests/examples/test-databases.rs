//! One PostgreSQL and one Redis for all tests that do not break them. Prints their addresses as lines of
//! `NAME=value`, then runs until its standard input closes.

use std::io::{Read, Write, stdin, stdout};

#[path = "../../crates/mfa-store-postgres/tests/support/server.rs"]
mod postgres;
#[path = "../../crates/mfa-store-redis/tests/support/server.rs"]
mod redis;

#[tokio::main]
async fn main() -> std::io::Result<()> {
    // Tests that crash a server start their own, so this one need not wait for the disk. With hundreds of
    // small databases, autovacuum would run all the time.
    let hasty = ["fsync=off", "full_page_writes=off", "autovacuum=off", "max_connections=1000"];
    let postgres = postgres::Server::to_copy(&hasty);
    let redis = redis::Server::durable();
    drop(postgres.connect().await);
    let mut output = stdout();
    writeln!(output, "MFA_TEST_POSTGRES_URL={}", postgres.url("postgres"))?;
    writeln!(output, "MFA_TEST_POSTGRES_NEW={}", postgres.new_files().display())?;
    writeln!(output, "MFA_TEST_REDIS_URL={}", redis.url())?;
    output.flush()?;
    stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}
