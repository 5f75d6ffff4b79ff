//! What an account has besides its factors.

use data_encoding::BASE64URL_NOPAD;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use thiserror::Error;

use super::Account;
use crate::Data;
use crate::passkey::{PasskeyUser, UserHandle};

/// The data of an account. Members that this version does not know are kept.
#[derive(Default, Serialize, Deserialize)]
struct Form {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    passkey_user: Option<PasskeyUserData>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rp_id: Option<String>,
    #[serde(flatten)]
    others: Map<String, Value>,
}

/// The stored form of a [`PasskeyUser`].
#[derive(Serialize, Deserialize)]
pub(super) struct PasskeyUserData {
    handle: String,
    name: String,
    display_name: String,
}

/// The data of an account cannot be read by this version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the data of the account cannot be read")]
pub(crate) struct UnreadableData;

impl Account {
    /// The user as authenticators know them; `None` before the first passkey is registered.
    ///
    /// # Errors
    /// [`UnreadableData`] if another program changed the data.
    pub(crate) fn passkey_user(&self) -> Result<Option<PasskeyUser>, UnreadableData> {
        let user = form(&self.data)?.passkey_user;
        user.map(|user| user.read().ok_or(UnreadableData)).transpose()
    }

    /// The data of the account with this user in it, or without one.
    ///
    /// # Errors
    /// [`UnreadableData`] if another program changed the data.
    pub(super) fn data_with(&self, user: Option<&PasskeyUser>) -> Result<Data, UnreadableData> {
        data(&Form { passkey_user: user.map(PasskeyUserData::of), ..form(&self.data)? })
    }

    /// The relying party that passkeys are for; `None` if there is none, and in all accounts but that of the
    /// installation.
    ///
    /// # Errors
    /// [`UnreadableData`] if another program changed the data.
    pub(crate) fn rp_id(&self) -> Result<Option<String>, UnreadableData> {
        Ok(form(&self.data)?.rp_id)
    }

    /// The data of the account with this relying party in it, or without one.
    ///
    /// # Errors
    /// [`UnreadableData`] if another program changed the data.
    pub(super) fn data_with_rp_id(&self, rp_id: Option<&str>) -> Result<Data, UnreadableData> {
        data(&Form { rp_id: rp_id.map(str::to_owned), ..form(&self.data)? })
    }
}

impl PasskeyUserData {
    pub(super) fn of(PasskeyUser { handle, name, display_name }: &PasskeyUser) -> Self {
        let (name, display_name) = (name.clone(), display_name.clone());
        Self { handle: handle.to_string(), name, display_name }
    }

    /// `None` if another program changed it.
    pub(super) fn read(self) -> Option<PasskeyUser> {
        let Self { handle, name, display_name } = self;
        let handle = UserHandle::new(BASE64URL_NOPAD.decode(handle.as_bytes()).ok()?).ok()?;
        Some(PasskeyUser { handle, name, display_name })
    }
}

fn data(form: &Form) -> Result<Data, UnreadableData> {
    Ok(Data::new(serde_json::to_string(form).map_err(|_| UnreadableData)?))
}

fn form(data: &Data) -> Result<Form, UnreadableData> {
    serde_json::from_str(data.as_str()).map_err(|_| UnreadableData)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_user_comes_back_and_what_a_newer_version_wrote_stays() {
        let newer = Account { data: Data::new(r#"{"recovery":{"since":7}}"#), ..Account::default() };
        assert_eq!(newer.passkey_user(), Ok(None));
        let handle = UserHandle::new([0xff; 32]).unwrap();
        let user = PasskeyUser { handle, name: "eve@example.com".to_owned(), display_name: String::new() };
        let account = Account { data: newer.data_with(Some(&user)).unwrap(), ..newer.clone() };
        assert_eq!(account.passkey_user(), Ok(Some(user)));
        assert!(account.data.as_str().contains(r#""recovery":{"since":7}"#), "{:?}", account.data);
        assert_eq!(account.data_with(None), Ok(newer.data));
    }

    #[test]
    fn the_relying_party_comes_back_and_everything_else_stays() {
        let newer = Account { data: Data::new(r#"{"recovery":{"since":7}}"#), ..Account::default() };
        assert_eq!(newer.rp_id(), Ok(None));
        let account = Account { data: newer.data_with_rp_id(Some("example.com")).unwrap(), ..newer.clone() };
        assert_eq!(account.rp_id(), Ok(Some("example.com".to_owned())));
        assert_eq!(account.data, Data::new(r#"{"recovery":{"since":7},"rp_id":"example.com"}"#));
        assert_eq!(account.data_with_rp_id(None), Ok(newer.data));
        let wrong = Account { data: Data::new(r#"{"rp_id":7}"#), ..Account::default() };
        assert_eq!(wrong.rp_id(), Err(UnreadableData));
    }

    #[test]
    fn data_that_another_program_changed_is_an_error() {
        for data in [
            "",
            "[]",
            r#"{"passkey_user":{}}"#,
            r#"{"passkey_user":{"handle":"","name":"","display_name":""}}"#,
        ] {
            let account = Account { data: Data::new(data), ..Account::default() };
            assert_eq!(account.passkey_user(), Err(UnreadableData), "{data}");
        }
    }
}
