//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;
use mfa_domain::ports::{ApiKeyId, ApiKeyName, Scope};
use mfa_domain::{EndpointId, EventId, FactorId, Reason, TenantId, Timestamp, UserId};

use crate::config::Flags;

/// A multi-factor authentication server.
///
/// Without a command, mfa-server runs the server. Without configuration, it listens on 127.0.0.1:8080 and stores
/// its data in ./mfa-data. The first start creates a key ring, a database and an API key.
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
  0  success
  1  the command failed, or a check found a problem
  2  wrong usage or configuration
  3  refused, in order to protect data: a wrong or lost key ring, a database that is
     damaged or too new, another server on the same database, passkeys for another domain";

#[derive(Debug, Default, Subcommand)]
pub(crate) enum Command {
    /// Run the server in the foreground
    #[default]
    Serve,
    /// Try it out: enrol yourself in the terminal; nothing is stored
    Try(TryArgs),
    /// Create, list and revoke API keys
    #[command(subcommand)]
    ApiKey(ApiKeyCommand),
    /// Manage the keys that encrypt secrets at rest
    #[command(subcommand)]
    Keys(KeysCommand),
    /// List, rotate and revoke the keys that sign assertions
    #[command(subcommand)]
    SigningKeys(SigningKeysCommand),
    /// List users; show, unlock or reset one of them
    #[command(subcommand)]
    User(UserCommand),
    /// Verify, export and prune the audit trail; write signed checkpoints
    #[command(subcommand)]
    Audit(AuditCommand),
    /// Show, test, rewind and resume the webhooks that receive the audit trail
    #[command(subcommand)]
    Webhook(WebhookCommand),
    /// Test the sending of codes by e-mail
    #[command(subcommand)]
    Email(EmailCommand),
    /// Check or show the configuration
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Check whether a running server is ready
    Healthcheck(HealthcheckArgs),
    /// Print shell completions
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Write a manual page for each command
    #[command(hide = true)]
    Man {
        /// The folder to write to
        dir: PathBuf,
    },
}

#[derive(Debug, Args)]
pub(crate) struct TryArgs {
    /// Account name in the authenticator app
    #[arg(long, default_value = "you", value_parser = UserId::new)]
    pub(crate) user: UserId,
    /// Try codes by e-mail: shows the mails in the terminal and sends none
    #[arg(long, conflicts_with = "user")]
    pub(crate) email: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ApiKeyCommand {
    /// Create a key and print it; it is never shown again
    Create {
        /// Tenant whose users the key can access; its first key creates the tenant
        #[arg(long, default_value = "default", value_parser = TenantId::new)]
        tenant: TenantId,
        /// What the key may do: verify, enrol, admin, audit
        #[arg(long = "scope", required = true, num_args = 1.., value_delimiter = ',')]
        scopes: Vec<Scope>,
        /// Name of the key, such as the application that uses it; `list` and the audit trail show it
        #[arg(long, value_parser = ApiKeyName::new)]
        name: Option<ApiKeyName>,
        /// Create a new installation, with a database and a key ring, if there is none
        #[arg(long)]
        init: bool,
        #[command(flatten)]
        json: Json,
    },
    /// List keys, including revoked ones, with the minute of their last use
    List {
        /// Only keys of this tenant
        #[arg(long, value_parser = TenantId::new)]
        tenant: Option<TenantId>,
        #[command(flatten)]
        json: Json,
    },
    /// Revoke a key; requests with it are refused from now on
    Revoke {
        /// Id of the key, as shown by `create` and `list`
        #[arg(value_parser = ApiKeyId::new)]
        id: ApiKeyId,
        #[command(flatten)]
        json: Json,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum KeysCommand {
    /// Add a key that encrypts new secrets
    Add {
        /// Add it on standby: it only decrypts until `keys promote`
        #[arg(long)]
        standby: bool,
        #[command(flatten)]
        json: Json,
    },
    /// Encrypt new secrets with the standby key; copy it to every machine first
    Promote {
        /// Id of the key, as shown by `add` and `list`
        id: String,
        #[command(flatten)]
        json: Json,
    },
    /// List the keys of the key ring, their use, and keys that are missing
    List {
        #[command(flatten)]
        json: Json,
    },
    /// Encrypt every secret with the newest key; resumes if it was interrupted
    ReEncrypt {
        #[command(flatten)]
        json: Json,
    },
    /// Remove a key that no secret needs
    Remove {
        /// Id of the key, as shown by `list`
        id: String,
        #[command(flatten)]
        json: Json,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum SigningKeysCommand {
    /// List the keys in the order in which they sign, and what each does now
    List {
        #[command(flatten)]
        json: Json,
    },
    /// Create a key; it is published for 10 minutes before it signs
    Rotate {
        #[command(flatten)]
        json: Json,
    },
    /// End a key at once because somebody else may have it; another one signs instead
    Revoke {
        /// Id of the key, as shown by `list`
        // One id in 64 begins with a hyphen.
        #[arg(value_name = "ID", allow_hyphen_values = true)]
        key: String,
        /// Reason, recorded in the audit trail
        #[arg(long, value_parser = Reason::new)]
        reason: Reason,
        #[command(flatten)]
        json: Json,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum UserCommand {
    /// List the users of a tenant, ordered by id, and whether they are enrolled or locked
    List(UserListArgs),
    /// Show the factors, backup codes and locks of a user
    Show {
        #[command(flatten)]
        user: UserArgs,
        #[command(flatten)]
        json: Json,
    },
    /// Lift all locks of a user
    Unlock(ReasonedArgs),
    /// Remove all factors and backup codes of a user, who can then enrol again
    Reset(ReasonedArgs),
    /// Make a factor accept codes again after it accepted one while a clock was ahead; `show` marks such factors
    SetBack(SetBackArgs),
    /// Show the audit trail of a user, oldest event first
    Events {
        #[command(flatten)]
        user: UserArgs,
        #[command(flatten)]
        json: Json,
    },
}

#[derive(Debug, Args)]
pub(crate) struct UserListArgs {
    /// Tenant of the users
    #[arg(long, default_value = "default", value_parser = TenantId::new)]
    pub(crate) tenant: TenantId,
    /// List users after this user id
    #[arg(long, value_name = "USER", value_parser = UserId::new)]
    pub(crate) after: Option<UserId>,
    /// List at most this number of users
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) limit: u32,
    #[command(flatten)]
    pub(crate) json: Json,
}

#[derive(Debug, Args)]
pub(crate) struct UserArgs {
    /// User id that the application uses
    #[arg(value_parser = UserId::new)]
    pub(crate) user: UserId,
    /// Tenant of the user
    #[arg(long, default_value = "default", value_parser = TenantId::new)]
    pub(crate) tenant: TenantId,
}

#[derive(Debug, Args)]
pub(crate) struct ReasonedArgs {
    #[command(flatten)]
    pub(crate) user: UserArgs,
    /// Reason, recorded in the audit trail
    #[arg(long, default_value = "not given", value_parser = Reason::new)]
    pub(crate) reason: Reason,
    #[command(flatten)]
    pub(crate) json: Json,
}

#[derive(Debug, Args)]
pub(crate) struct SetBackArgs {
    #[command(flatten)]
    pub(crate) user: UserArgs,
    /// Id of the factor, as shown by `show`
    pub(crate) factor: FactorId,
    /// Reason, recorded in the audit trail
    #[arg(long, value_parser = Reason::new)]
    pub(crate) reason: Reason,
    #[command(flatten)]
    pub(crate) json: Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// Verify the hash chain of every account, optionally against a checkpoint
    Verify(VerifyArgs),
    /// Write a signed list of the ends of all hash chains
    Checkpoint(CheckpointArgs),
    /// Print the public key that verifies checkpoints
    PublicKey,
    /// Write events as JSON Lines to standard output or to a file
    Export(ExportArgs),
    /// Remove old events; the rest can still be verified
    Prune(PruneArgs),
}

#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// Also find events that were changed or removed since this checkpoint
    #[arg(long, value_name = "FILE", group = "against")]
    pub(crate) checkpoint: Option<PathBuf>,
    /// Verify the checkpoint with this key, as printed by `public-key` [default: the key in
    /// `audit.signing_key_file`]
    #[arg(long, value_name = "FILE", requires = "checkpoint")]
    pub(crate) public_key: Option<PathBuf>,
    /// Accept that events before this time are missing, because retention removed them since the checkpoint or
    /// while the export was written [default: now minus audit.retention]
    #[arg(long, value_name = "TIME", requires = "against")]
    pub(crate) pruned_before: Option<Timestamp>,
    /// Verify the chains in this export instead of the database; give several exports in their order
    #[arg(long, value_name = "FILE", conflicts_with = "checkpoint", group = "against")]
    pub(crate) export: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) json: Json,
}

#[derive(Debug, Args)]
pub(crate) struct CheckpointArgs {
    /// File to write
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
    /// Link to this previous checkpoint, so that a replaced or missing one is noticed
    #[arg(long, value_name = "FILE")]
    pub(crate) previous: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) json: Json,
}

#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// Only events of this tenant
    #[arg(long, value_parser = TenantId::new)]
    pub(crate) tenant: Option<TenantId>,
    /// Only events of this user
    #[arg(long, value_parser = UserId::new, requires = "tenant")]
    pub(crate) user: Option<UserId>,
    /// Only events after the event with this id
    #[arg(long, value_name = "ID", requires = "tenant")]
    pub(crate) after: Option<EventId>,
    /// Only events at or after this time, such as 2026-01-31T00:00:00Z
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<Timestamp>,
    /// Only events before this time
    #[arg(long, value_name = "TIME")]
    pub(crate) until: Option<Timestamp>,
    /// Write to this file, which stays unchanged if the export fails
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// Print the result as JSON
    #[arg(long, requires = "out")]
    pub(crate) json: bool,
}

#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct PruneArgs {
    /// Remove events before this time, except the last such event of each user
    #[arg(long, value_name = "TIME")]
    pub(crate) before: Timestamp,
    /// Count the events without removing any
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) json: Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum WebhookCommand {
    /// Show the position, failures and next attempt of each webhook
    Status {
        #[command(flatten)]
        json: Json,
    },
    /// Send a message without events now, and show how the receiver answers
    Test {
        /// Name of the webhook
        #[arg(value_parser = EndpointId::new)]
        name: EndpointId,
        #[command(flatten)]
        json: Json,
    },
    /// Continue after a position of the trail: deliver later events again, or skip earlier ones
    Rewind {
        /// Name of the webhook
        #[arg(value_parser = EndpointId::new)]
        name: EndpointId,
        /// Position of the last event that is not delivered, as shown by `webhook status` and `user events
        /// --json`; 0 delivers all events
        #[arg(long, value_name = "POSITION")]
        after: u64,
        #[command(flatten)]
        json: Json,
    },
    /// Deliver again now, after failures or after the receiver answered 410 Gone
    Resume {
        /// Name of the webhook
        #[arg(value_parser = EndpointId::new)]
        name: EndpointId,
        #[command(flatten)]
        json: Json,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum EmailCommand {
    /// Send a mail with an unusable code, and show the result
    Test {
        /// Address to send to
        address: String,
        #[command(flatten)]
        json: Json,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Check the configuration and list all problems
    Check,
    /// Print the effective configuration as TOML, with the source of each value
    Dump {
        /// Print a template instead: every option with its meaning, range and default, commented out
        #[arg(long)]
        commented: bool,
    },
}

#[derive(Debug, Args)]
pub(crate) struct HealthcheckArgs {
    /// Ask the server at this URL [default: the configured `listen` address]
    #[arg(long, value_name = "URL")]
    pub(crate) url: Option<String>,
}

/// The `--json` flag.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Json {
    /// Print JSON
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

    #[test]
    fn the_id_of_a_signing_key_may_begin_with_hyphens() {
        for id in
            ["NzbLsXh8uDCcd-6MNwXF4W", "-zbLsXh8uDCcd-6MNwXF4W", "--bLsXh8uDCcd-6MNwXF4W", "-hLsXh8uDCcd"]
        {
            for line in [
                format!("mfa-server signing-keys revoke {id} --reason leaked --data-dir d --json"),
                format!("mfa-server --data-dir d signing-keys revoke --json --reason leaked {id}"),
            ] {
                let cli = Cli::try_parse_from(line.split(' ')).unwrap();
                let Some(Command::SigningKeys(SigningKeysCommand::Revoke { key, reason, json })) =
                    cli.command
                else {
                    panic!("{line}");
                };
                assert_eq!((key.as_str(), reason.as_str()), (id, "leaked"), "{line}");
                assert!(json.json);
            }
        }
    }
}
