//! `user list`

use anyhow::{Context, Error, Result, ensure};
use mfa_audit::walk::{Walk, place};
use mfa_domain::mfa::{Status, Undecided};
use mfa_domain::ports::AccountPlace;
use mfa_domain::{AccountKey, AuditHead, UserId};
use serde_json::{Value, json};

use super::standing;
use crate::cli::UserListArgs;
use crate::installation::Installation;
use crate::output;

/// Prints a page of a tenant's users, ordered by id. Users that cannot be read are named on standard error.
pub(super) async fn run(installation: &Installation, arguments: UserListArgs) -> Result<()> {
    let UserListArgs { tenant, after, limit, json } = arguments;
    let after = match after {
        Some(user) => AccountPlace::from(&installation.account(tenant.clone(), user).await?),
        // The place before all users.
        None => AccountPlace { tenant: tenant.as_str().into(), user: Vec::new() },
    };
    let mfa = installation.mfa.as_ref();
    let mut walk = Walk::after(mfa.ports().accounts.as_ref(), after);
    let mut users: Vec<(AccountKey, Status)> = Vec::new();
    let mut unreadable = 0;
    let mut next = None;
    while let Some(found) = walk.next().await.context("accounts cannot be read")? {
        if place(&found).tenant != tenant.as_str().as_bytes() {
            break;
        }
        if users.len() == usize::try_from(limit)? {
            next = users.last().map(|(key, _)| key.user.clone());
            break;
        }
        let (place, what) = match found {
            // An account without events only holds the answer to a call that changed nothing.
            Ok(account) if account.audit_head == AuditHead::default() => continue,
            Ok(account) => match mfa.status(&account.key).await {
                Ok(status) => {
                    users.push((account.key, status));
                    continue;
                }
                Err(Undecided::Store(error)) if error.is_unreadable() => {
                    (AccountPlace::from(&account.key), format!("{:#}", Error::from(error)))
                }
                Err(error) => return Err(error.into()),
            },
            Err(unreadable) => (unreadable.place, unreadable.what),
        };
        output::complain(&format!("{place} cannot be read: {what}"));
        unreadable += 1;
    }
    if json.json {
        let users: Vec<_> = users.iter().map(as_json).collect();
        output::say_json(&json!({ "users": users, "next": next.as_ref().map(UserId::as_str) }))?;
    } else {
        let rows: Vec<_> = users.iter().map(as_row).collect();
        output::say_table(["USER", "ENROLLED", "FACTORS", "STATUS"], &rows)?;
        if next.is_some() {
            output::say("\nThere are more users. To continue, give the last user above to --after.")?;
        }
    }
    ensure!(unreadable == 0, "{unreadable} users cannot be read; run `audit verify`");
    Ok(())
}

fn as_json((key, status): &(AccountKey, Status)) -> Value {
    json!({
        "user": key.user.as_str(),
        "enrolled": status.enrolled,
        "factors": active_factors(status),
        "locked_until": status.locked_until.map(|until| until.to_string()),
        "disabled": status.disabled,
    })
}

fn as_row((key, status): &(AccountKey, Status)) -> [String; 4] {
    let enrolled = if status.enrolled { "yes" } else { "no" };
    let user = key.user.escaped().to_string();
    [user, enrolled.to_owned(), active_factors(status).to_string(), standing(status)]
}

/// The number of confirmed factors.
fn active_factors(status: &Status) -> usize {
    status.factors.iter().filter(|factor| factor.is_active()).count()
}
