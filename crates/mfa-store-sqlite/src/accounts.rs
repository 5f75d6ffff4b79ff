//! `AccountStore` for SQLite; reading accounts.

use async_trait::async_trait;
use mfa_domain::ports::{
    AccountEntry, AccountPage, AccountPlace, AccountQuery, AccountStore, Commit, EventPage, EventQuery,
    Outbox, StoreError, UnreadableAccount,
};
use mfa_domain::{
    Account, AccountKey, AuditHead, Delta, Handle, KeyId, TenantId, UserId, Version, Versioned,
};
use mfa_rows::{EntryColumns, FactorsColumns, LOOKED_AT_FOR_EACH, Row, base_hash, integer, millis};
use serde_json::value::RawValue;
use sqlx::{SqliteConnection, SqlitePool};

use crate::account_change::AccountChange;
use crate::change::{Change, Outcome, execute};
use crate::rows::AccountRow;
use crate::{SqliteError, SqliteStore, events};

/// Reads accounts, each as a JSON document or null, in the order of the requests: tenant, user, and whether
/// with backup codes. One statement sees one state and takes one round trip for any number of accounts.
/// Factors are a text in the document, so that they are returned as they were written.
pub(crate) const LOAD: &str = "
    SELECT json_group_array(json((SELECT json_object(
        'id', a.id, 'version', a.version, 'failures', a.failures, 'forgiven', a.forgiven,
        'recent_failures', a.recent_failures, 'verified_low', a.verified_low,
        'verified_medium', a.verified_medium, 'verified_high', a.verified_high,
        'audit_sequence', a.audit_sequence, 'audit_hash', hex(a.audit_hash),
        'audit_base_sequence', a.audit_base_sequence,
        'audit_base_hash', iif(a.audit_base_hash IS NULL, NULL, hex(a.audit_base_hash)),
        'answers', hex(a.answers), 'data', a.data, 'factors', a.factors,
        'backup_codes', json((
            SELECT json_object('scheme', s.scheme, 'issued_at', s.issued_at, 'codes', json((
                SELECT json_group_array(json_object('hash', hex(c.hash), 'spent_at', c.spent_at)
                    ORDER BY c.place)
                FROM backup_codes c WHERE c.account = s.account
            )))
            FROM backup_code_sets s WHERE s.account = a.id AND asked.value ->> 2
        ))
    )
    FROM accounts a WHERE a.tenant = asked.value ->> 0 AND a.user = asked.value ->> 1)) ORDER BY asked.key)
    FROM json_each(?) asked";

/// The account at which a page ends that examines `?3` + 1 accounts, if there are that many.
pub(crate) const PAGE_END: &str = "
    SELECT a.tenant, a.user FROM accounts a WHERE (a.tenant, a.user) > (CAST(?1 AS TEXT), CAST(?2 AS TEXT))
    ORDER BY a.tenant, a.user LIMIT 1 OFFSET ?3";

/// A page of accounts. No tenant is empty, so `('', '')` precedes every account. Places are bytes, since an
/// id that was changed outside of this program may not be valid text.
pub(crate) const PAGE: &str = "
    SELECT a.id, a.tenant, a.user, a.audit_sequence, a.audit_hash, a.audit_base_sequence, a.audit_base_hash
    FROM accounts a
    WHERE (a.tenant, a.user) > (CAST(?1 AS TEXT), CAST(?2 AS TEXT))
      AND (a.tenant, a.user) <= (CAST(?6 AS TEXT), CAST(?7 AS TEXT))
      AND (?3 IS NULL OR a.sealed_with <> ?3)
      AND (?5 IS NULL OR EXISTS (
        SELECT 1 FROM events e
        WHERE e.account = a.id AND e.sequence = a.audit_base_sequence + 2 AND e.at < ?5
      ))
    ORDER BY a.tenant, a.user LIMIT ?4";

/// Sorts after every tenant: no tenant id begins with this character or a greater one.
const AFTER_ALL: &str = "\u{7f}";

pub(crate) const FIND: &str = "
    SELECT a.id, a.user FROM handles h JOIN accounts a ON a.id = h.account
    WHERE h.tenant = ? AND h.handle = ?";

/// Reads each distinct set of keys with one jump through the index, however many accounts share it.
pub(crate) const KEYS_IN_USE: &str = "
    WITH RECURSIVE used (sealed_with) AS (
        SELECT min(sealed_with) FROM accounts
        UNION ALL
        SELECT (SELECT min(a.sealed_with) FROM accounts a WHERE a.sealed_with > used.sealed_with) FROM used
        WHERE used.sealed_with IS NOT NULL
    )
    SELECT sealed_with FROM used WHERE sealed_with IS NOT NULL";

pub(crate) const MOVE_BASE: &str = "
    UPDATE accounts SET audit_base_sequence = ?1, audit_base_hash = ?2
    WHERE tenant = ?3 AND user = ?4 AND audit_base_sequence = ?5 AND audit_base_hash IS ?6
      AND audit_sequence > ?1
    RETURNING id";

pub(crate) const REMOVE_EVENTS: &str = "DELETE FROM events WHERE account = ? AND sequence <= ?";

#[async_trait]
impl AccountStore for SqliteStore {
    async fn load(&self, key: &AccountKey) -> Result<Versioned<Account>, StoreError> {
        self.read_account(key, true).await
    }

    async fn load_without_backup_codes(&self, key: &AccountKey) -> Result<Versioned<Account>, StoreError> {
        self.read_account(key, false).await
    }

    async fn commit(&self, key: &AccountKey, expected: Version, delta: &Delta) -> Result<Commit, StoreError> {
        let change = AccountChange::of(key, expected, delta)?;
        Ok(match self.writer.make(change).await? {
            Outcome::HandleTaken => Commit::HandleTaken,
            made if made.held() => Commit::Won,
            _ => Commit::Conflict,
        })
    }

    async fn page(&self, query: &AccountQuery) -> Result<AccountPage, StoreError> {
        let begin = query.after.clone().unwrap_or_default();
        let everyone = query.not_sealed_with.is_none() && query.second_event_before.is_none();
        let end = if everyone { None } else { self.page_end(&begin, query.limit).await? };
        let last = end.clone().unwrap_or_else(|| AccountPlace { tenant: AFTER_ALL.into(), user: Vec::new() });
        let mut rows: Vec<EntryRow> = sqlx::query_as(PAGE)
            .bind(begin.tenant)
            .bind(begin.user)
            .bind(query.not_sealed_with.as_ref().map(FactorsColumns::sealed_with_only))
            .bind(i64::from(query.limit) + 1)
            .bind(query.second_event_before.map(millis))
            .bind(last.tenant)
            .bind(last.user)
            .fetch_all(&self.readers)
            .await
            .map_err(SqliteError::from_driver)?;
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

    async fn events(&self, query: &EventQuery) -> Result<EventPage, StoreError> {
        Ok(events::page(&self.readers, query).await?)
    }

    async fn trim(&self, key: &AccountKey, from: AuditHead, to: AuditHead) -> Result<Commit, StoreError> {
        let trim = Trim { key: key.clone(), from, to };
        Ok(if self.writer.make(trim).await?.held() { Commit::Won } else { Commit::Conflict })
    }

    async fn find(&self, tenant: &TenantId, handle: &Handle) -> Result<Option<AccountKey>, StoreError> {
        let found: Option<(i64, Vec<u8>)> = sqlx::query_as(FIND)
            .bind(tenant.as_str())
            .bind(handle.as_bytes())
            .fetch_optional(&self.readers)
            .await
            .map_err(SqliteError::from_driver)?;
        let Some((account, user)) = found else { return Ok(None) };
        let row = Row { table: "accounts", account };
        let user = row.text("user", &user).map_err(SqliteError::from)?;
        let user = row.read("user", UserId::new(user)).map_err(SqliteError::from)?;
        Ok(Some(AccountKey::new(tenant.clone(), user)))
    }

    fn outbox(&self) -> Option<&dyn Outbox> {
        Some(self)
    }

    async fn keys_in_use(&self) -> Result<Vec<KeyId>, StoreError> {
        let sets: Vec<String> = sqlx::query_scalar(KEYS_IN_USE)
            .fetch_all(&self.readers)
            .await
            .map_err(SqliteError::from_driver)?;
        Ok(FactorsColumns::keys(&sets).map_err(SqliteError::from)?)
    }
}

impl SqliteStore {
    async fn read_account(
        &self,
        key: &AccountKey,
        backup_codes: bool,
    ) -> Result<Versioned<Account>, StoreError> {
        let document = self.loads.ask(Wanted { key: key.clone(), backup_codes }).await?;
        let Some(document) = document else { return Ok(Versioned::default()) };
        let row: AccountRow = serde_json::from_str(document.get()).map_err(SqliteError::other)?;
        Ok(row.read()?)
    }

    async fn page_end(&self, begin: &AccountPlace, limit: u32) -> Result<Option<AccountPlace>, SqliteError> {
        let end: Option<(Vec<u8>, Vec<u8>)> = sqlx::query_as(PAGE_END)
            .bind(&begin.tenant)
            .bind(&begin.user)
            .bind(i64::from(limit) * LOOKED_AT_FOR_EACH - 1)
            .fetch_optional(&self.readers)
            .await
            .map_err(SqliteError::from_driver)?;
        Ok(end.map(|(tenant, user)| AccountPlace { tenant, user }))
    }
}

/// A requested account.
#[derive(Clone)]
pub(crate) struct Wanted {
    key: AccountKey,
    backup_codes: bool,
}

/// A row of a page of accounts.
#[derive(sqlx_macros::FromRow)]
struct EntryRow {
    id: i64,
    tenant: Vec<u8>,
    user: Vec<u8>,
    audit_sequence: i64,
    audit_hash: Vec<u8>,
    audit_base_sequence: i64,
    audit_base_hash: Option<Vec<u8>>,
}

impl EntryRow {
    fn place(&self) -> AccountPlace {
        AccountPlace { tenant: self.tenant.clone(), user: self.user.clone() }
    }

    fn read(&self) -> Result<AccountEntry, SqliteError> {
        let row = Row { table: "accounts", account: self.id };
        let columns = EntryColumns {
            tenant: row.text("tenant", &self.tenant)?,
            user: row.text("user", &self.user)?,
            audit_sequence: self.audit_sequence,
            audit_hash: &self.audit_hash,
            audit_base_sequence: self.audit_base_sequence,
            audit_base_hash: self.audit_base_hash.as_deref(),
        };
        Ok(columns.read(row)?)
    }
}

/// Removes the beginning of an account's trail, if its base is `from` and its head is after `to`.
struct Trim {
    key: AccountKey,
    from: AuditHead,
    to: AuditHead,
}

#[async_trait]
impl Change for Trim {
    async fn make(&self, to: &mut SqliteConnection) -> Result<Outcome, SqliteError> {
        let sequence = integer("audit_base_sequence", self.to.sequence)?;
        let account: Option<i64> = sqlx::query_scalar(MOVE_BASE)
            .bind(sequence)
            .bind(base_hash(&self.to))
            .bind(self.key.tenant.as_str())
            .bind(self.key.user.as_str())
            .bind(integer("audit_base_sequence", self.from.sequence)?)
            .bind(base_hash(&self.from))
            .fetch_optional(&mut *to)
            .await
            .map_err(SqliteError::from_driver)?;
        let Some(account) = account else { return Ok(Outcome::Refused) };
        execute(to, sqlx::query(REMOVE_EVENTS).bind(account).bind(sequence)).await?;
        Ok(Outcome::Made)
    }
}

/// Reads accounts together.
pub(crate) async fn load(
    readers: &SqlitePool,
    wanted: Vec<Wanted>,
) -> Result<Vec<Option<Box<RawValue>>>, SqliteError> {
    let asked: Vec<_> = wanted
        .iter()
        .map(|Wanted { key, backup_codes }| (key.tenant.as_str(), key.user.as_str(), backup_codes))
        .collect();
    let asked = serde_json::to_string(&asked).map_err(SqliteError::other)?;
    let documents: String =
        sqlx::query_scalar(LOAD).bind(asked).fetch_one(readers).await.map_err(SqliteError::from_driver)?;
    serde_json::from_str(&documents).map_err(SqliteError::other)
}

#[cfg(test)]
mod tests {
    use mfa_domain::{BackupCodes, BackupCodesChange, Timestamp};
    use mfa_testkit::changes::{change, factor, key};

    use super::*;

    #[tokio::test]
    async fn backup_codes_are_read_where_they_are_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&folder.path().join("mfa.db")).await.unwrap();
        let alice = key("alice");
        let codes =
            BackupCodes { scheme: "s".to_owned(), codes: Vec::new(), issued_at: Timestamp::default() };
        let replaced = BackupCodesChange::Replace(codes.clone());
        assert_eq!(change(&store, &alice, |draft| draft.backup_codes(replaced)).await.unwrap(), Commit::Won);

        // Both calls run at the same time, so that they can share a batch.
        let (whole, without) = tokio::join!(store.load(&alice), store.load_without_backup_codes(&alice));
        let (whole, without) = (whole.unwrap(), without.unwrap());
        assert_eq!(whole.value.backup_codes, Some(codes));
        let nothing = Account { backup_codes: None, ..whole.value };
        assert_eq!(without, Versioned { value: nothing, version: whole.version });
    }

    #[tokio::test]
    async fn a_page_that_finds_nothing_has_looked_at_a_few_accounts_and_says_where() {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&folder.path().join("mfa.db")).await.unwrap();
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
