//! Columns of factors: all factors of an account in one column, as a JSON document.

use std::collections::BTreeSet;
use std::fmt;

use mfa_domain::{Factor, KeyId, StoredFactor};

use crate::{ColumnError, Row};

/// The factors of an account.
#[derive(Clone)]
pub struct FactorsColumns {
    /// All factors, as [`StoredFactor::to_document`] writes them.
    pub factors: String,
    /// The names of the keys that seal their secrets: a sorted JSON array; `None` if there is no secret.
    pub sealed_with: Option<String>,
}

impl FactorsColumns {
    /// The columns of these factors.
    ///
    /// # Errors
    /// [`ColumnError::Unwritable`] if the data of a factor is not valid JSON.
    pub fn of(factors: &[Factor]) -> Result<Self, ColumnError> {
        let keys = StoredFactor::sealed_with(factors);
        Ok(Self {
            factors: StoredFactor::to_document(factors)
                .map_err(|_| ColumnError::Unwritable { column: "factors" })?,
            sealed_with: (!keys.is_empty()).then(|| names(keys.into_iter())),
        })
    }

    /// The value of `sealed_with` if one key seals all secrets.
    #[must_use]
    pub fn sealed_with_only(key: &KeyId) -> String {
        names(std::iter::once(key))
    }

    /// The keys that these columns name.
    ///
    /// # Errors
    /// [`ColumnError::Undecodable`].
    pub fn keys(sealed_with: &[String]) -> Result<Vec<KeyId>, ColumnError> {
        let mut keys = BTreeSet::new();
        for names in sealed_with {
            let names: Vec<String> = Row::of("accounts").read("sealed_with", serde_json::from_str(names))?;
            keys.extend(names.into_iter().map(KeyId::new));
        }
        Ok(keys.into_iter().collect())
    }
}

impl fmt::Debug for FactorsColumns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FactorsColumns").field("sealed_with", &self.sealed_with).finish_non_exhaustive()
    }
}

/// Reads the factors of a column of `row`.
///
/// # Errors
/// [`ColumnError::Undecodable`] names the field of a factor that cannot be read, as a column of the view `factors`.
pub(crate) fn read(row: Row, factors: &str) -> Result<Vec<Factor>, ColumnError> {
    StoredFactor::from_document(factors).map_err(|error| {
        let table = if error.field == "factors" { row.table } else { "factors" };
        Row { table, ..row }.undecodable(error.field)
    })
}

fn names<'a>(keys: impl Iterator<Item = &'a KeyId>) -> String {
    keys.map(KeyId::as_str).collect::<serde_json::Value>().to_string()
}
