//! Going through all accounts, a page at a time.

use std::vec::IntoIter;

use anyhow::{Context, Result};
use mfa_domain::ports::{AccountEntry, AccountQuery, AccountStore};

/// Accounts that are read at a time.
const PAGE: u32 = 500;

/// Every account in key order. It holds one page, however many there are.
#[derive(Debug)]
pub(crate) struct Walk<'a> {
    accounts: &'a dyn AccountStore,
    query: AccountQuery,
    page: IntoIter<AccountEntry>,
    more: bool,
}

impl<'a> Walk<'a> {
    pub(crate) fn over(accounts: &'a dyn AccountStore) -> Self {
        let query =
            AccountQuery { after: None, not_sealed_with: None, second_event_before: None, limit: PAGE };
        Self { accounts, query, page: Vec::new().into_iter(), more: true }
    }

    /// The next account; none after the last.
    pub(crate) async fn next(&mut self) -> Result<Option<AccountEntry>> {
        while self.page.as_slice().is_empty() && self.more {
            let page = self.accounts.page(&self.query).await.context("accounts cannot be read")?;
            self.more = page.next.is_some();
            self.query.after = page.next;
            self.page = page.accounts.into_iter();
        }
        Ok(self.page.next())
    }
}
