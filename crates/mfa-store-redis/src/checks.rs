//! Checks of a server's version, role and settings before it is used.

use std::collections::HashMap;

use redis::aio::ConnectionLike;
use redis::cluster_async::ClusterConnection;
use redis::{Cmd, Value};

use crate::RedisError;
use crate::cluster::every_node;
use crate::error::Failure;

/// The oldest supported version: it has all that the scripts use, and reports script errors in the form
/// expected here.
const OLDEST: (u32, u32) = (7, 0);
const OLDEST_TEXT: &str = "7.0";

/// What every server must guarantee.
#[derive(Clone, Debug)]
pub(crate) enum Needs {
    /// It may lose everything at any time, but must not evict keys that have not expired.
    Passing { replicas: u32 },
    /// Confirmed changes must last, unless the operator accepts their loss.
    Lasting { replicas: u32, loss_accepted: bool },
}

impl Needs {
    pub(crate) const fn replicas(&self) -> u32 {
        let (Self::Passing { replicas } | Self::Lasting { replicas, .. }) = self;
        *replicas
    }

    /// Checks the server of a new connection, which must be a primary.
    pub(crate) async fn check(&self, on: &mut (impl ConnectionLike + Send)) -> Result<(), RedisError> {
        let info = text(ask(on, &redis::cmd("INFO")).await?)?;
        if found(&info, "role") != "master" {
            return Err(RedisError::ReadOnly);
        }
        self.check_info(&info)?;
        for name in self.settings() {
            let answer = ask(on, &setting(name)).await.map_err(cannot_be_checked)?;
            self.check_setting(name, &value(answer))?;
        }
        Ok(())
    }

    /// Checks every node of a cluster.
    pub(crate) async fn check_all(&self, on: &mut ClusterConnection) -> Result<(), RedisError> {
        for info in everywhere(on, redis::cmd("INFO")).await? {
            self.check_info(&text(info)?)?;
        }
        for name in self.settings() {
            for answer in everywhere(on, setting(name)).await.map_err(cannot_be_checked)? {
                self.check_setting(name, &value(answer))?;
            }
        }
        Ok(())
    }

    /// The required settings that `INFO` does not contain.
    fn settings(&self) -> &'static [&'static str] {
        match self {
            Self::Lasting { loss_accepted: false, replicas: 0 } => &["appendfsync"],
            Self::Lasting { loss_accepted: false, .. } => &["appendfsync", "min-replicas-to-write"],
            _ => &[],
        }
    }

    fn check_info(&self, info: &str) -> Result<(), RedisError> {
        let version = found(info, "redis_version");
        if numbers(version) < OLDEST {
            return Err(RedisError::TooOld { found: version.to_owned(), needed: OLDEST_TEXT });
        }
        let policy = found(info, "maxmemory_policy");
        if policy != "noeviction" {
            return Err(RedisError::Evicting { found: policy.to_owned() });
        }
        match self {
            Self::Lasting { loss_accepted: false, .. } if found(info, "aof_enabled") != "1" => {
                Err(not_durable("set appendonly to yes"))
            }
            _ => Ok(()),
        }
    }

    fn check_setting(&self, name: &str, value: &str) -> Result<(), RedisError> {
        match name {
            "appendfsync" if value != "always" => Err(not_durable("set appendfsync to always")),
            "min-replicas-to-write" if value.parse::<u32>().unwrap_or(0) < self.replicas() => {
                Err(not_durable(&format!("set min-replicas-to-write to {}", self.replicas())))
            }
            _ => Ok(()),
        }
    }
}

fn not_durable(what: &str) -> RedisError {
    RedisError::NotDurable(format!("{what}, or accept the loss (loss=accepted)"))
}

fn cannot_be_checked(error: RedisError) -> RedisError {
    match error {
        RedisError::Privilege(said) => {
            RedisError::Privilege(format!("{said} (CONFIG GET, unless loss=accepted)"))
        }
        RedisError::Other(_) => not_durable("allow CONFIG GET, so that this can be checked"),
        error => error,
    }
}

fn setting(name: &str) -> Cmd {
    let mut command = redis::cmd("CONFIG");
    command.arg("GET").arg(name);
    command
}

async fn ask(on: &mut (impl ConnectionLike + Send), command: &Cmd) -> Result<Value, RedisError> {
    let answer = on.req_packed_command(command).await.and_then(Value::extract_error);
    answer.map_err(|error| final_of(&error))
}

/// The answer of every node.
async fn everywhere(on: &mut ClusterConnection, command: Cmd) -> Result<Vec<Value>, RedisError> {
    let answers = on.route_command(command, every_node()).await.and_then(Value::extract_error);
    match answers.map_err(|error| final_of(&error))? {
        Value::Map(answers) => Ok(answers.into_iter().map(|(_, answer)| answer).collect()),
        _ => Err(unexpected()),
    }
}

fn final_of(error: &redis::RedisError) -> RedisError {
    match Failure::of(error) {
        Failure::Final(error) | Failure::NotNow(error) => error,
        Failure::NoScript | Failure::Ask { .. } => unexpected(),
    }
}

fn unexpected() -> RedisError {
    RedisError::other("an unexpected answer to INFO or CONFIG GET")
}

fn text(answer: Value) -> Result<String, RedisError> {
    redis::from_redis_value(answer).map_err(|_| unexpected())
}

/// The value in an answer of `CONFIG GET`, which is a name and a value.
fn value(answer: Value) -> String {
    let values: HashMap<String, String> = redis::from_redis_value(answer).unwrap_or_default();
    values.into_values().next().unwrap_or_default()
}

fn found<'a>(info: &'a str, name: &str) -> &'a str {
    let mut lines = info.lines().filter_map(|line| line.split_once(':'));
    lines.find(|(found, _)| *found == name).map_or("", |(_, value)| value)
}

fn numbers(version: &str) -> (u32, u32) {
    let mut parts = version.split('.').map(|part| part.parse().unwrap_or(0));
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0))
}
