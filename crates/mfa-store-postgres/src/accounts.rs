//! `AccountStore` for PostgreSQL; reading accounts.

use std::borrow::Cow;
use std::time::Duration;

use async_trait::async_trait;
use mfa_domain::ports::{
    AccountEntry, AccountPage, AccountPlace, AccountQuery, AccountStore, Commit, EventPage, EventQuery,
    Outbox, StoreError, UnreadableAccount,
};
use mfa_domain::{
    Account, AccountKey, AuditHead, Delta, Handle, KeyId, TenantId, UserId, Version, Versioned,
};
use mfa_rows::{EntryColumns, FactorsColumns, LOOKED_AT_FOR_EACH, Row, base_hash, integer, millis};
use sqlx::PgConnection;

use crate::change::ChangeRows;
use crate::connections::Connections;
use crate::rows::AccountRow;
use crate::store::reading;
use crate::transaction::{TimeLimits, by_itself};
use crate::{PostgresError, PostgresStore, events};

/// Reads whole accounts: one statement sees one state and takes one round trip for any number of accounts.
/// Backup codes are read only where they are asked for.
///
/// It fails on a server that cannot write: the data of a standby may be stale.
pub(crate) const LOAD: &str = concat!(
    "
    SELECT asked.number, a.id AS account_id, a.version, a.failures, a.forgiven, a.recent_failures,
        a.verified_low, a.verified_medium, a.verified_high, a.audit_sequence, a.audit_hash, a.audit_base_sequence,
        a.audit_base_hash, a.factors::text AS factors, a.answers, a.data::text AS data,
        s.scheme, s.issued_at, s.count, s.hashes, s.spent_at
    FROM unnest($1::text[], $2::text[], $3::bool[]) WITH ORDINALITY
        AS asked (tenant_id, user_id, backup_codes, number)
    JOIN mfa.accounts a ON a.tenant_id = asked.tenant_id AND a.user_id = asked.user_id
    LEFT JOIN mfa.backup_code_sets s ON s.account_id = CASE WHEN asked.backup_codes THEN a.id END
    WHERE ",
    by_itself!()
);

/// The account at which a page ends that examines `$3` + 1 accounts, if there are that many.
pub(crate) const PAGE_END: &str = "
    SELECT a.tenant_id, a.user_id FROM mfa.accounts a WHERE (a.tenant_id, a.user_id) > ($1, $2)
    ORDER BY a.tenant_id, a.user_id OFFSET $3 LIMIT 1";

/// A page of accounts. No tenant is empty, so `('', '')` precedes every account.
pub(crate) const PAGE: &str = "
    SELECT a.id, a.tenant_id, a.user_id, a.audit_sequence, a.audit_hash, a.audit_base_sequence,
        a.audit_base_hash
    FROM mfa.accounts a
    WHERE (a.tenant_id, a.user_id) > ($1, $2) AND (a.tenant_id, a.user_id) <= ($6, $7)
      AND ($3::text IS NULL OR a.sealed_with <> $3)
      AND ($5::int8 IS NULL
        OR EXISTS (SELECT FROM mfa.events e
            WHERE e.account_id = a.id AND e.sequence = coalesce(a.audit_base_sequence, 0) + 2 AND e.at < $5))
    ORDER BY a.tenant_id, a.user_id LIMIT $4";

/// Time limit of one statement of a walk.
const WALK_STATEMENT: Duration = Duration::from_mins(5);

/// Sorts after every tenant: no tenant id begins with this character or a greater one.
const AFTER_ALL: &str = "\u{7f}";

/// Moves the base of a trail, and removes the events up to it. The removed rows are older than the statement,
/// so all its parts see them.
pub(crate) const TRIM: &str = "
    WITH moved AS (
        UPDATE mfa.accounts SET audit_base_sequence = $1, audit_base_hash = $2
        WHERE tenant_id = $3 AND user_id = $4 AND audit_base_sequence IS NOT DISTINCT FROM $5
          AND audit_base_hash IS NOT DISTINCT FROM $6
          AND audit_sequence > $1
        RETURNING id
    ),
    removed AS (
        DELETE FROM mfa.events e USING moved m WHERE e.account_id = m.id AND e.sequence <= $1
    )
    SELECT id FROM moved";

pub(crate) const FIND: &str = "
    SELECT a.id, a.user_id FROM mfa.handles h JOIN mfa.accounts a ON a.id = h.account_id
    WHERE h.tenant_id = $1 AND h.handle = $2";

/// Reads each distinct set of keys with one jump through the index, however many accounts share it.
pub(crate) const KEYS_IN_USE: &str = "
    WITH RECURSIVE used (sealed_with) AS (
        SELECT min(sealed_with) FROM mfa.accounts
        UNION ALL
        SELECT (SELECT min(a.sealed_with) FROM mfa.accounts a WHERE a.sealed_with > used.sealed_with) FROM used
        WHERE used.sealed_with IS NOT NULL
    )
    SELECT sealed_with FROM used WHERE sealed_with IS NOT NULL";

#[async_trait]
impl AccountStore for PostgresStore {
    async fn load(&self, key: &AccountKey) -> Result<Versioned<Account>, StoreError> {
        self.read_account(key, true).await
    }

    async fn load_without_backup_codes(&self, key: &AccountKey) -> Result<Versioned<Account>, StoreError> {
        self.read_account(key, false).await
    }

    async fn commit(&self, key: &AccountKey, expected: Version, delta: &Delta) -> Result<Commit, StoreError> {
        match self.write(&self.commits, ChangeRows::of(key, expected, delta)?).await {
            Err(PostgresError::HandleTaken) => Ok(Commit::HandleTaken),
            made => Ok(made?),
        }
    }

    async fn page(&self, query: &AccountQuery) -> Result<AccountPage, StoreError> {
        let query = query.clone();
        if query.not_sealed_with.is_none() && query.second_event_before.is_none() {
            let page = self.connections.transact(|on| Box::pin(async move { page(on, &query, None).await }));
            return Ok(page.await?);
        }
        let limits = TimeLimits { statement: WALK_STATEMENT, ..self.connections.limits };
        let timeout = 2 * WALK_STATEMENT + self.options.call_timeout;
        let walked = self
            .connections
            .transact_within(timeout, limits, |on| Box::pin(async move { walk(on, &query).await }));
        Ok(walked.await?)
    }

    async fn events(&self, query: &EventQuery) -> Result<EventPage, StoreError> {
        let patience = self.options.call_timeout / 2;
        let page = reading(|| {
            let query = query.clone();
            self.connections
                .transact(move |on| Box::pin(async move { events::page(on, &query, patience).await }))
        });
        Ok(page.await?)
    }

    async fn trim(&self, key: &AccountKey, from: AuditHead, to: AuditHead) -> Result<Commit, StoreError> {
        let key = key.clone();
        let moved =
            self.connections.transact(|on| Box::pin(async move { trim(on, &key, from, to).await })).await?;
        Ok(if moved { Commit::Won } else { Commit::Conflict })
    }

    async fn find(&self, tenant: &TenantId, handle: &Handle) -> Result<Option<AccountKey>, StoreError> {
        let found = reading(|| {
            let (tenant, handle) = (tenant.clone(), handle.clone());
            self.connections.transact(|on| Box::pin(async move { find(on, tenant, &handle).await }))
        });
        Ok(found.await?)
    }

    fn outbox(&self) -> Option<&dyn Outbox> {
        Some(self)
    }

    async fn keys_in_use(&self) -> Result<Vec<KeyId>, StoreError> {
        let keys = self.connections.transact(|on| {
            Box::pin(async move {
                let keys = sqlx::query_scalar(KEYS_IN_USE).fetch_all(on).await;
                keys.map_err(PostgresError::from_driver)
            })
        });
        let sets: Vec<String> = keys.await?;
        Ok(FactorsColumns::keys(&sets).map_err(PostgresError::from)?)
    }
}

impl PostgresStore {
    async fn read_account(
        &self,
        key: &AccountKey,
        backup_codes: bool,
    ) -> Result<Versioned<Account>, StoreError> {
        let row = self.in_time(self.loads.ask(Wanted { key: key.clone(), backup_codes })).await?;
        Ok(row.map(AccountRow::read).transpose()?.unwrap_or_default())
    }
}

/// A requested account.
#[derive(Clone)]
pub(crate) struct Wanted {
    key: AccountKey,
    backup_codes: bool,
}

/// Reads a page of accounts up to `end`, or to the last one.
async fn page(
    on: &mut PgConnection,
    query: &AccountQuery,
    end: Option<AccountPlace>,
) -> Result<AccountPage, PostgresError> {
    let (tenant, user) = texts(query.after.as_ref());
    let (last_tenant, last_user) =
        end.as_ref().map_or_else(|| (AFTER_ALL.into(), "".into()), |end| texts(Some(end)));
    let mut rows: Vec<EntryRow> = sqlx::query_as(PAGE)
        .bind(tenant)
        .bind(user)
        .bind(query.not_sealed_with.as_ref().map(FactorsColumns::sealed_with_only))
        .bind(i64::from(query.limit) + 1)
        .bind(query.second_event_before.map(millis))
        .bind(last_tenant)
        .bind(last_user)
        .fetch_all(on)
        .await
        .map_err(PostgresError::from_driver)?;
    let more = rows.len() > query.limit as usize;
    rows.truncate(query.limit as usize);
    let next = if more { rows.last().map(EntryRow::place) } else { end };
    let mut page = AccountPage { next, ..AccountPage::default() };
    for row in rows {
        match row.read() {
            Ok(account) => page.accounts.push(account),
            Err(error) => {
                page.unreadable.push(UnreadableAccount { place: row.place(), what: error.to_string() });
            }
        }
    }
    Ok(page)
}

/// A place as text parameters: PostgreSQL stores only valid text.
fn texts(place: Option<&AccountPlace>) -> (Cow<'_, str>, Cow<'_, str>) {
    place.map_or_else(Default::default, |place| {
        (String::from_utf8_lossy(&place.tenant), String::from_utf8_lossy(&place.user))
    })
}

/// Reads a page for re-encryption or retention, which may examine many accounts and find few. These callers
/// accept long waits.
async fn walk(on: &mut PgConnection, query: &AccountQuery) -> Result<AccountPage, PostgresError> {
    let end = page_end(on, query).await?;
    page(on, query, end).await
}

async fn page_end(
    on: &mut PgConnection,
    query: &AccountQuery,
) -> Result<Option<AccountPlace>, PostgresError> {
    let (tenant, user) = texts(query.after.as_ref());
    let end: Option<(String, String)> = sqlx::query_as(PAGE_END)
        .bind(tenant)
        .bind(user)
        .bind(i64::from(query.limit) * LOOKED_AT_FOR_EACH - 1)
        .fetch_optional(on)
        .await
        .map_err(PostgresError::from_driver)?;
    Ok(end.map(|(tenant, user)| AccountPlace { tenant: tenant.into(), user: user.into() }))
}

async fn find(
    on: &mut PgConnection,
    tenant: TenantId,
    handle: &Handle,
) -> Result<Option<AccountKey>, PostgresError> {
    let found: Option<(i64, String)> = sqlx::query_as(FIND)
        .bind(tenant.as_str())
        .bind(handle.as_bytes())
        .fetch_optional(on)
        .await
        .map_err(PostgresError::from_driver)?;
    let Some((account, user)) = found else { return Ok(None) };
    let row = Row { table: "accounts", account };
    Ok(Some(AccountKey::new(tenant, row.read("user", UserId::new(&user))?)))
}

async fn trim(
    on: &mut PgConnection,
    key: &AccountKey,
    from: AuditHead,
    to: AuditHead,
) -> Result<bool, PostgresError> {
    let moved = sqlx::query(TRIM)
        .bind(integer("audit_base_sequence", to.sequence)?)
        .bind(base_hash(&to))
        .bind(key.tenant.as_str())
        .bind(key.user.as_str())
        .bind(base_hash(&from).and(Some(integer("audit_base_sequence", from.sequence)?)))
        .bind(base_hash(&from))
        // Fetches all rows, and so waits for the end of the transaction.
        .fetch_all(on)
        .await
        .map_err(PostgresError::from_driver)?;
    Ok(!moved.is_empty())
}

/// A row of a page of accounts.
#[derive(sqlx_macros::FromRow)]
struct EntryRow {
    id: i64,
    tenant_id: String,
    user_id: String,
    audit_sequence: i64,
    audit_hash: Vec<u8>,
    audit_base_sequence: Option<i64>,
    audit_base_hash: Option<Vec<u8>>,
}

impl EntryRow {
    fn place(&self) -> AccountPlace {
        AccountPlace { tenant: self.tenant_id.clone().into(), user: self.user_id.clone().into() }
    }

    fn read(&self) -> Result<AccountEntry, PostgresError> {
        let columns = EntryColumns {
            tenant: &self.tenant_id,
            user: &self.user_id,
            audit_sequence: self.audit_sequence,
            audit_hash: &self.audit_hash,
            audit_base_sequence: self.audit_base_sequence.unwrap_or_default(),
            audit_base_hash: self.audit_base_hash.as_deref(),
        };
        Ok(columns.read(Row { table: "accounts", account: self.id })?)
    }
}

/// Reads accounts together, in the order of `wanted`. An account that does not exist is `None`.
pub(crate) async fn load(
    connections: &Connections,
    wanted: &[Wanted],
) -> Result<Vec<Option<AccountRow>>, PostgresError> {
    let tenants: Vec<_> = wanted.iter().map(|wanted| wanted.key.tenant.as_str()).collect();
    let users: Vec<_> = wanted.iter().map(|wanted| wanted.key.user.as_str()).collect();
    let backup_codes: Vec<_> = wanted.iter().map(|wanted| wanted.backup_codes).collect();
    let load = || sqlx::query_as(LOAD).bind(&tenants).bind(&users).bind(&backup_codes);
    let rows: Vec<AccountRow> = connections.once(load).await?;
    let mut accounts: Vec<Option<AccountRow>> = wanted.iter().map(|_| None).collect();
    for row in rows {
        let place = usize::try_from(row.number - 1).ok();
        if let Some(account) = place.and_then(|place| accounts.get_mut(place)) {
            *account = Some(row);
        }
    }
    Ok(accounts)
}

#[cfg(test)]
mod tests {
    use mfa_domain::account::Draft;
    use mfa_domain::{BackupCodes, BackupCodesChange, Timestamp};
    use mfa_testkit::changes::{change, factor, key};
    use serde_json::Value;
    use sqlx::{AssertSqlSafe, Executor, Row as _};

    use super::*;
    use crate::server;

    #[tokio::test]
    async fn backup_codes_that_are_not_asked_for_are_not_looked_for() {
        let url = server::database().await;
        let store = PostgresStore::open(&url).await.unwrap();
        let alice = key("alice");
        let codes =
            BackupCodes { scheme: "s".to_owned(), codes: Vec::new(), issued_at: Timestamp::default() };
        let with_both = |draft: &mut Draft<'_>| {
            draft.put(factor(1, 20));
            draft.backup_codes(BackupCodesChange::Replace(codes.clone()));
        };
        assert_eq!(change(&store, &alice, with_both).await.unwrap(), Commit::Won);

        // Both calls run at the same time, so that they can share a batch.
        let (whole, without) = tokio::join!(store.load(&alice), store.load_without_backup_codes(&alice));
        let (whole, without) = (whole.unwrap(), without.unwrap());
        assert_eq!(whole.value.backup_codes, Some(codes));
        let nothing = Account { backup_codes: None, ..whole.value };
        assert_eq!(without, Versioned { value: nothing, version: whole.version });

        let mut connection = store.connections.acquire().await.unwrap();
        connection.execute(AssertSqlSafe(format!("PREPARE asked AS {LOAD}"))).await.unwrap();
        for backup_codes in [true, false] {
            let explain = format!(
                "EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) EXECUTE asked('{{acme}}', '{{alice}}', '{{{backup_codes}}}')"
            );
            let row = connection.fetch_one(sqlx::raw_sql(AssertSqlSafe(explain))).await.unwrap();
            let plan: Value = serde_json::from_str(row.get_unchecked(0)).unwrap();
            let pages = pages_of("backup_code_sets", &plan[0]["Plan"]);
            assert_eq!(pages > 0, backup_codes, "{plan:#}");
        }
    }

    /// How many pages of a table and its indexes an executed plan read.
    fn pages_of(table: &str, node: &Value) -> u64 {
        let pages = |name: &str| node[name].as_u64().unwrap();
        let own = if node["Relation Name"] == table {
            pages("Shared Hit Blocks") + pages("Shared Read Blocks")
        } else {
            0
        };
        let below = node["Plans"].as_array().into_iter().flatten();
        own + below.map(|node| pages_of(table, node)).sum::<u64>()
    }

    #[tokio::test]
    async fn a_page_that_finds_nothing_has_looked_at_a_few_accounts_and_says_where() {
        let store = PostgresStore::open(&server::database().await).await.unwrap();
        let users: Vec<_> = (10..10 + 2 * LOOKED_AT_FOR_EACH).map(|n| key(&format!("user-{n}"))).collect();
        for user in &users {
            assert_eq!(change(&store, user, |_| ()).await.unwrap(), Commit::Won);
        }
        let last = key("user-99");
        let sealed = change(&store, &last, |draft| draft.put(factor(1, 20))).await.unwrap();
        assert_eq!(sealed, Commit::Won);
        let by_key = AccountQuery {
            after: None,
            not_sealed_with: Some(KeyId::new("new")),
            second_event_before: None,
            limit: 1,
        };
        let by_age = AccountQuery {
            not_sealed_with: None,
            second_event_before: Some(Timestamp::MAX),
            ..by_key.clone()
        };
        let look = usize::try_from(LOOKED_AT_FOR_EACH).unwrap();
        for query in [&by_key, &by_age] {
            let first = store.page(query).await.unwrap();
            assert_eq!(
                (first.accounts.len(), first.next.as_ref()),
                (0, Some(&AccountPlace::from(&users[look - 1])))
            );
            let second = store.page(&AccountQuery { after: first.next, ..query.clone() }).await.unwrap();
            assert_eq!(
                (second.accounts.len(), second.next.as_ref()),
                (0, Some(&AccountPlace::from(&users[2 * look - 1])))
            );
            let third = store.page(&AccountQuery { after: second.next, ..query.clone() }).await.unwrap();
            assert_eq!(third.next, None);
            let found: Vec<_> = third.accounts.iter().map(|account| &account.key).collect();
            assert_eq!(found, if query.not_sealed_with.is_some() { vec![&last] } else { vec![] });
        }
    }
}
