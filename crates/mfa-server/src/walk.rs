//! Going through all accounts, a page at a time.
//!
//! One that cannot be read is named, and keeps nobody else out.

use std::vec::IntoIter;

use anyhow::{Context, Result};
use mfa_domain::ports::{
    AccountEntry, AccountPage, AccountPlace, AccountQuery, AccountStore, UnreadableAccount,
};

/// Accounts that are read at a time.
const PAGE: u32 = 500;

/// Every account in key order. It holds one page, however many there are.
#[derive(Debug)]
pub(crate) struct Walk<'a> {
    accounts: &'a dyn AccountStore,
    query: AccountQuery,
    page: IntoIter<Found>,
    more: bool,
}

/// An account, or what is there in its place.
pub(crate) type Found = Result<AccountEntry, UnreadableAccount>;

/// Where it is.
pub(crate) fn place(found: &Found) -> AccountPlace {
    match found {
        Ok(account) => AccountPlace::from(&account.key),
        Err(unreadable) => unreadable.place.clone(),
    }
}

/// A page in key order.
pub(crate) fn in_order(page: AccountPage) -> Vec<Found> {
    let mut found: Vec<Found> = page.accounts.into_iter().map(Ok).collect();
    if !page.unreadable.is_empty() {
        found.extend(page.unreadable.into_iter().map(Err));
        found.sort_by_key(place);
    }
    found
}

/// Tells of an account that is left out since it cannot be read.
pub(crate) fn warn_of(UnreadableAccount { place, what }: &UnreadableAccount) {
    metrics::counter!("mfa_unreadable_rows_total", "table" => "accounts").increment(1);
    tracing::error!(account = %place, what, "an account cannot be read; see audit verify");
}

impl<'a> Walk<'a> {
    pub(crate) fn over(accounts: &'a dyn AccountStore) -> Self {
        Self::after(accounts, AccountPlace::default())
    }

    /// Every account after that place.
    pub(crate) fn after(accounts: &'a dyn AccountStore, place: AccountPlace) -> Self {
        let after = Some(place);
        let query = AccountQuery { after, not_sealed_with: None, second_event_before: None, limit: PAGE };
        Self { accounts, query, page: Vec::new().into_iter(), more: true }
    }

    /// The next account; none after the last.
    pub(crate) async fn next(&mut self) -> Result<Option<Found>> {
        while self.page.as_slice().is_empty() && self.more {
            let page = self.accounts.page(&self.query).await.context("accounts cannot be read")?;
            self.more = page.next.is_some();
            self.query.after.clone_from(&page.next);
            self.page = in_order(page).into_iter();
        }
        Ok(self.page.next())
    }
}
