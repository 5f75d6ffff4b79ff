//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;
use mfa_domain::ports::{ApiKeyId, ApiKeyName, Scope};
use mfa_domain::{EndpointId, EventId, FactorId, Reason, TenantId, Timestamp, UserId};

use crate::config::Flags;

/// A multi-factor authentication server that anyone can run.
///
/// Without a command it serves. Without any configuration it listens on 127.0.0.1:8080 and keeps
/// its data in ./mfa-data; the first start makes a key ring, a database and an API key.
#[derive(Debug, Parser)]
#[command(name = "mfa-server", version, after_long_help = AFTER_HELP, after_help = AFTER_HELP)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) flags: Flags,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

const AFTER_HELP: &str = "\
Options come from a TOML file, then from MFA_… variables, then from flags; the last one wins.

Exit codes:
  0  done
  1  it could not be done, or a check failed
  2  wrong usage or configuration
  3  refused, since data would be at risk: a wrong or lost key ring, a database that is
     damaged or too new, another server on the same database";

#[derive(Debug, Default, Subcommand)]
pub(crate) enum Command {
    /// Run the server in the foreground
    #[default]
    Serve,
    /// Try it out: enrol yourself in the terminal; nothing is kept
    Try(TryArgs),
    /// Make, list and revoke the keys of API callers
    #[command(subcommand)]
    ApiKey(ApiKeyCommand),
    /// Look after the keys that encrypt secrets at rest
    #[command(subcommand)]
    Keys(KeysCommand),
    /// List users, and help one of them
    #[command(subcommand)]
    User(UserCommand),
    /// Check the audit trail, and sign checkpoints of it
    #[command(subcommand)]
    Audit(AuditCommand),
    /// Look after the webhooks that the audit trail is delivered to
    #[command(subcommand)]
    Webhook(WebhookCommand),
    /// Try out how codes are sent by e-mail
    #[command(subcommand)]
    Email(EmailCommand),
    /// Check or show the configuration
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Ask a running server whether it is ready
    Healthcheck(HealthcheckArgs),
    /// Print completions for a shell
    Completions {
        /// For which shell
        shell: Shell,
    },
}

#[derive(Debug, Args)]
pub(crate) struct TryArgs {
    /// What the authenticator app calls the account
    #[arg(long, default_value = "you", value_parser = UserId::new)]
    pub(crate) user: UserId,
    /// Try codes by e-mail; mails are shown here, and none is sent
    #[arg(long, conflicts_with = "user")]
    pub(crate) email: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ApiKeyCommand {
    /// Make a key and show it, this once
    Create {
        /// The tenant whose users it reaches; it comes into being with its first key
        #[arg(long, default_value = "default", value_parser = TenantId::new)]
        tenant: TenantId,
        /// What it may do: verify, enrol, admin, audit
        #[arg(long = "scope", required = true, num_args = 1.., value_delimiter = ',')]
        scopes: Vec<Scope>,
        /// What to call it, such as the application that gets it; `list` and the audit trail show it
        #[arg(long, value_parser = ApiKeyName::new)]
        name: Option<ApiKeyName>,
        /// Make a new installation, with a key ring, where there is none
        #[arg(long)]
        init: bool,
        #[command(flatten)]
        json: Json,
    },
    /// List keys, revoked ones included, and the minute in which each was last used
    List {
        /// Of this tenant only
        #[arg(long, value_parser = TenantId::new)]
        tenant: Option<TenantId>,
        #[command(flatten)]
        json: Json,
    },
    /// Revoke a key: from now on it opens nothing
    Revoke {
        /// The id, as `create` and `list` show it
        #[arg(value_parser = ApiKeyId::new)]
        id: ApiKeyId,
        #[command(flatten)]
        json: Json,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum KeysCommand {
    /// Add a key; new secrets are sealed with it
    Add {
        /// Only let it open for now, until every machine has it and it is promoted
        #[arg(long)]
        standby: bool,
        #[command(flatten)]
        json: Json,
    },
    /// Let the key on standby seal, once every machine has it
    Promote {
        /// The id, as `add` and `list` show it
        id: String,
        #[command(flatten)]
        json: Json,
    },
    /// List the keys of the ring, what each is for, and those that are missing
    List {
        #[command(flatten)]
        json: Json,
    },
    /// Seal every secret with the newest key; interrupted, it goes on where it was
    ReEncrypt {
        #[command(flatten)]
        json: Json,
    },
    /// Remove a key that no secret needs any more
    Remove {
        /// The id, as `list` shows it
        id: String,
        #[command(flatten)]
        json: Json,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum UserCommand {
    /// List the users of a tenant in the order of their ids: who is enrolled, and who is locked
    List(UserListArgs),
    /// Show what a user has
    Show {
        #[command(flatten)]
        user: UserArgs,
        #[command(flatten)]
        json: Json,
    },
    /// Lift every lock of a user
    Unlock(ReasonedArgs),
    /// Remove every factor and backup code of a user, who can then enrol anew
    Reset(ReasonedArgs),
    /// Let a factor that took a code while a clock was ahead take codes again; `show` names such factors
    SetBack(SetBackArgs),
    /// Show the audit trail of a user, oldest first
    Events {
        #[command(flatten)]
        user: UserArgs,
        #[command(flatten)]
        json: Json,
    },
}

#[derive(Debug, Args)]
pub(crate) struct UserListArgs {
    /// The tenant
    #[arg(long, default_value = "default", value_parser = TenantId::new)]
    pub(crate) tenant: TenantId,
    /// Go on after this user
    #[arg(long, value_name = "USER", value_parser = UserId::new)]
    pub(crate) after: Option<UserId>,
    /// At most so many
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) limit: u32,
    #[command(flatten)]
    pub(crate) json: Json,
}

#[derive(Debug, Args)]
pub(crate) struct UserArgs {
    /// The user, by the host application's id
    #[arg(value_parser = UserId::new)]
    pub(crate) user: UserId,
    /// The tenant
    #[arg(long, default_value = "default", value_parser = TenantId::new)]
    pub(crate) tenant: TenantId,
}

#[derive(Debug, Args)]
pub(crate) struct ReasonedArgs {
    #[command(flatten)]
    pub(crate) user: UserArgs,
    /// Why; kept in the audit trail
    #[arg(long, default_value = "not given", value_parser = Reason::new)]
    pub(crate) reason: Reason,
    #[command(flatten)]
    pub(crate) json: Json,
}

#[derive(Debug, Args)]
pub(crate) struct SetBackArgs {
    #[command(flatten)]
    pub(crate) user: UserArgs,
    /// The factor, by its id
    pub(crate) factor: FactorId,
    /// Why; kept in the audit trail
    #[arg(long, value_parser = Reason::new)]
    pub(crate) reason: Reason,
    #[command(flatten)]
    pub(crate) json: Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// Check the chain of every account, also against a checkpoint
    Verify(VerifyArgs),
    /// Write down, signed, where the chain of every account ends
    Checkpoint(CheckpointArgs),
    /// Print the key that checkpoints are checked with
    PublicKey,
    /// Write events as JSON Lines, to standard output or a file
    Export(ExportArgs),
    /// Remove events by age, so that what is left can still be checked
    Prune(PruneArgs),
}

#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// Find what was changed or removed since this checkpoint
    #[arg(long, value_name = "FILE", group = "against")]
    pub(crate) checkpoint: Option<PathBuf>,
    /// Check its signature with this key, as `public-key` prints it [default: the key that signs here]
    #[arg(long, value_name = "FILE", requires = "checkpoint")]
    pub(crate) public_key: Option<PathBuf>,
    /// Until when events may have been removed by age since the checkpoint, or while the export was written
    /// [default: by audit.retention]
    #[arg(long, value_name = "TIME", requires = "against")]
    pub(crate) pruned_before: Option<Timestamp>,
    /// Check the chains in this export instead, without any database; of several, in their order
    #[arg(long, value_name = "FILE", conflicts_with = "checkpoint", group = "against")]
    pub(crate) export: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) json: Json,
}

#[derive(Debug, Args)]
pub(crate) struct CheckpointArgs {
    /// Write it there
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
    /// The checkpoint before it, so that it can be seen if one of them is exchanged or missing
    #[arg(long, value_name = "FILE")]
    pub(crate) previous: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) json: Json,
}

#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// Of this tenant only
    #[arg(long, value_parser = TenantId::new)]
    pub(crate) tenant: Option<TenantId>,
    /// Of this user only
    #[arg(long, value_parser = UserId::new, requires = "tenant")]
    pub(crate) user: Option<UserId>,
    /// Go on after the event with this id
    #[arg(long, value_name = "ID", requires = "tenant")]
    pub(crate) after: Option<EventId>,
    /// What happened at this time or later, such as 2026-01-31T00:00:00Z
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<Timestamp>,
    /// What happened before this time
    #[arg(long, value_name = "TIME")]
    pub(crate) until: Option<Timestamp>,
    /// Write to this file, whole or not at all
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// Say in JSON what was written
    #[arg(long, requires = "out")]
    pub(crate) json: bool,
}

#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct PruneArgs {
    /// Remove what happened before this time, but for the last such event of each user
    #[arg(long, value_name = "TIME")]
    pub(crate) before: Timestamp,
    /// Only count
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) json: Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum WebhookCommand {
    /// Show how far each webhook is, and how the last attempt failed
    Status {
        #[command(flatten)]
        json: Json,
    },
    /// Send a message without events now, and tell how it was answered
    Test {
        /// The webhook's name
        #[arg(value_parser = EndpointId::new)]
        name: EndpointId,
        #[command(flatten)]
        json: Json,
    },
    /// Deliver all events after a position of the trail again; or skip those up to it
    Rewind {
        /// The webhook's name
        #[arg(value_parser = EndpointId::new)]
        name: EndpointId,
        /// The position of the last event that is not to be delivered, as `webhook status` and `user events
        /// --json` show it; 0 for all events
        #[arg(long, value_name = "POSITION")]
        after: u64,
        #[command(flatten)]
        json: Json,
    },
    /// Try again at once: after failures, or when the webhook had said that it is gone
    Resume {
        /// The webhook's name
        #[arg(value_parser = EndpointId::new)]
        name: EndpointId,
        #[command(flatten)]
        json: Json,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum EmailCommand {
    /// Send a mail with a code that is good for nothing, and tell how far it came
    Test {
        /// Where it goes
        address: String,
        #[command(flatten)]
        json: Json,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Check the configuration and name all that is wrong
    Check,
    /// Show the effective configuration as TOML, and where each value comes from
    Dump,
}

#[derive(Debug, Args)]
pub(crate) struct HealthcheckArgs {
    /// Ask there, instead of where this configuration listens
    #[arg(long, value_name = "URL")]
    pub(crate) url: Option<String>,
}

/// Whether a program reads the answer.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Json {
    /// Answer in JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn scopes_come_repeated_in_a_row_or_with_commas() {
        for arguments in ["--scope verify --scope enrol", "--scope verify enrol", "--scope verify,enrol"] {
            let line = format!("mfa-server api-key create --tenant acme {arguments} --json --data-dir d");
            let cli = Cli::try_parse_from(line.split(' ')).unwrap();
            let Some(Command::ApiKey(ApiKeyCommand::Create { scopes, json, .. })) = cli.command else {
                panic!("{line}");
            };
            assert_eq!(scopes, [Scope::Verify, Scope::Enrol], "{line}");
            assert!(json.json);
        }
    }
}
