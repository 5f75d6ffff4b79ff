#![doc = include_str!("../README.md")]

use std::process::ExitCode;

use clap::Parser;

mod assertions;
mod audit;
mod cli;
mod clocks;
mod command;
mod config;
mod courier;
mod data_dir;
mod email;
mod failure;
mod http;
mod installation;
mod key_ring;
mod limits;
mod logging;
mod new_key;
mod output;
mod ownership;
mod policies;
mod re_encryption;
mod secret;
mod storage;
mod time_server;
mod webauthn;
mod webhooks;
mod welcome;

use cli::Cli;

/// Runs the program with the arguments and the environment of the process.
#[must_use]
pub fn main() -> ExitCode {
    let exit = match command::run(Cli::parse()) {
        Ok(exit) => exit,
        Err(error) => {
            output::complain(&failure::describe(&error));
            failure::exit_of(&error)
        }
    };
    exit.into()
}
