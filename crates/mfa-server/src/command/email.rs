//! `email test`

use std::error::Error;

use anyhow::Result;
use mfa_domain::Address;
use mfa_domain::ports::SenderError;
use mfa_email::{DkimRecord, check_address};
use serde_json::json;

use crate::cli::{EmailCommand, Json};
use crate::config::Config;
use crate::email::mailer;
use crate::failure::{Exit, Misuse};
use crate::output;

pub(super) async fn run(config: &Config, command: EmailCommand) -> Result<Exit> {
    match command {
        EmailCommand::Test { address, json } => test(config, &address, json).await,
    }
}

async fn test(config: &Config, address: &str, json: Json) -> Result<Exit> {
    let misuse = |why: String| Misuse(format!("no mail can be sent to this address: {why}"));
    let address = Address::new(address).map_err(|error| misuse(error.to_string()))?;
    check_address(&address).map_err(|error| misuse(error.to_string()))?;
    let Some(mailer) = mailer(&config.settings)? else {
        return Err(Misuse("email.url is not set, so no mail is sent".to_owned()).into());
    };
    let (outcome, why) = match mailer.test(&address).await {
        Ok(()) => ("sent", None),
        Err(error) => (outcome(&error), error.source().map(ToString::to_string)),
    };
    let (to, record) = (address.masked(), mailer.dkim_record());
    if json.json {
        let dkim = record.map(|DkimRecord { name, value }| json!({ "name": name, "value": value }));
        output::say_json(&json!({ "to": to, "outcome": outcome, "why": why, "dkim": dkim }))?;
    } else {
        let reason = why.as_ref().map_or(String::new(), |why| format!(": {why}"));
        output::say(format_args!("the mail to {to} was {outcome}{reason}"))?;
        if let Some(DkimRecord { name, value }) = record {
            output::say(format_args!(
                "publish this TXT record in DNS for its DKIM signature:\n{name}\n{value}"
            ))?;
        }
    }
    Ok(if why.is_none() { Exit::Done } else { Exit::Failed })
}

fn outcome(error: &SenderError) -> &'static str {
    match error {
        SenderError::Refused(_) => "refused",
        SenderError::NotSent(_) => "not sent",
        _ => "maybe sent",
    }
}
