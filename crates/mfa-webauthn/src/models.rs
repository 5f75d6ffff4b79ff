//! Public names of models of authenticators.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use mfa_domain::passkey::Aaguid;

/// AAGUIDs as lower-case UUIDs in ascending order, each with the name of the product.
const DATA: &str = include_str!("models.json");

static NAMES: LazyLock<BTreeMap<&'static str, &'static str>> =
    LazyLock::new(|| serde_json::from_str(DATA).unwrap_or_default());

/// The name of a product, such as `iCloud Keychain`; `None` if the model is not in the list. Names are not unique: a
/// product has a new AAGUID for each version that differs in what it can do.
pub(crate) fn name_of(aaguid: Aaguid) -> Option<&'static str> {
    NAMES.get(aaguid.to_string().as_str()).copied()
}

#[cfg(test)]
mod tests {
    use mfa_domain::Label;

    use super::*;

    #[test]
    fn the_list_is_sorted_without_duplicates_and_of_uuids_and_labels() {
        let keys: Vec<&str> = DATA
            .lines()
            .filter_map(|line| line.trim_start().strip_prefix('"')?.split_once('"'))
            .map(|(key, _)| key)
            .collect();
        assert!(!keys.is_empty());
        assert!(keys.is_sorted_by(|a, b| a < b), "not in ascending order, or twice");
        assert_eq!(keys, NAMES.keys().copied().collect::<Vec<_>>(), "not read as it is written");
        for (uuid, name) in &*NAMES {
            assert!(uuid.parse::<Aaguid>().is_ok(), "{uuid}");
            assert_eq!(Label::new(name).as_ref().map(Label::as_str), Ok(*name), "{uuid}");
        }
    }

    #[test]
    fn well_known_models_have_their_names_and_a_hidden_one_has_none() {
        let name = |uuid: &str| name_of(uuid.parse().unwrap());
        assert_eq!(name("ea9b8d66-4d01-1d21-3ce4-b6b48cb575d4"), Some("Google Password Manager"));
        assert_eq!(name("fbfc3007-154e-4ecc-8c0b-6e020557d7bd"), Some("iCloud Keychain"));
        assert_eq!(name("08987058-cadc-4b81-b6e1-30de50dcbe96"), Some("Windows Hello"));
        assert_eq!(name("2fc0579f-8113-47ea-b116-bb5a8db9202a"), Some("YubiKey 5 Series with NFC"));
        assert_eq!(name_of(Aaguid::default()), None);
    }
}
