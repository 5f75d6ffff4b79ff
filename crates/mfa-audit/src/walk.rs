//! Iteration over all accounts, a page at a time.
//!
//! An unreadable account is reported in its place, and does not block others.

use std::vec::IntoIter;

use mfa_domain::ports::{
    AccountEntry, AccountPage, AccountPlace, AccountQuery, AccountStore, StoreError, UnreadableAccount,
};

/// Accounts that are read at a time.
const PAGE: u32 = 500;

/// All accounts in key order. Holds one page of 500 accounts.
///
/// ```
/// use mfa_audit::walk::{Walk, place};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let store = mfa_store_memory::MemoryStore::default();
/// let mut walk = Walk::over(&store);
/// while let Some(found) = walk.next().await? {
///     println!("{}", place(&found));
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Walk<'a> {
    accounts: &'a dyn AccountStore,
    query: AccountQuery,
    page: IntoIter<Found>,
    more: bool,
}

/// An account, or the report of an unreadable one.
pub type Found = Result<AccountEntry, UnreadableAccount>;

/// The place of an account, readable or not.
#[must_use]
pub fn place(found: &Found) -> AccountPlace {
    match found {
        Ok(account) => AccountPlace::from(&account.key),
        Err(unreadable) => unreadable.place.clone(),
    }
}

/// All accounts of a page, readable or not, in key order.
#[must_use]
pub fn in_order(page: AccountPage) -> Vec<Found> {
    let mut found: Vec<Found> = page.accounts.into_iter().map(Ok).collect();
    if !page.unreadable.is_empty() {
        found.extend(page.unreadable.into_iter().map(Err));
        found.sort_by_key(place);
    }
    found
}

impl<'a> Walk<'a> {
    /// All accounts of all tenants.
    #[must_use]
    pub fn over(accounts: &'a dyn AccountStore) -> Self {
        Self::after(accounts, AccountPlace::default())
    }

    /// All accounts after this place.
    #[must_use]
    pub fn after(accounts: &'a dyn AccountStore, place: AccountPlace) -> Self {
        let after = Some(place);
        let query = AccountQuery { after, not_sealed_with: None, second_event_before: None, limit: PAGE };
        Self { accounts, query, page: Vec::new().into_iter(), more: true }
    }

    /// The next account; `None` after the last.
    ///
    /// # Errors
    /// [`StoreError`] if the store fails. The next call tries the same page again.
    pub async fn next(&mut self) -> Result<Option<Found>, StoreError> {
        while self.page.as_slice().is_empty() && self.more {
            let page = self.accounts.page(&self.query).await?;
            self.more = page.next.is_some();
            self.query.after.clone_from(&page.next);
            self.page = in_order(page).into_iter();
        }
        Ok(self.page.next())
    }
}
