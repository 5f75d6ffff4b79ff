//! What a browser returns, read from its JSON form (Web Authentication Level 3, 5.1.8).

use std::borrow::Cow;
use std::fmt;

use data_encoding::{BASE64, BASE64URL_NOPAD};
use serde::Deserialize;
use serde_json::value::RawValue;
use thiserror::Error;

use super::{CredentialId, UserHandle};

/// What `navigator.credentials.create()` returned.
#[derive(Clone, PartialEq, Eq)]
pub struct RegistrationResponse {
    /// The id of the new credential.
    pub credential_id: CredentialId,
    /// `clientDataJSON`, as it was signed.
    pub client_data: Vec<u8>,
    /// The attestation object, in CBOR.
    pub attestation_object: Vec<u8>,
    /// How browsers reach the authenticator; empty if the browser did not tell.
    pub transports: Vec<String>,
    /// The value of `credProps.rk`.
    pub discoverable: Option<bool>,
}

/// What `navigator.credentials.get()` returned.
#[derive(Clone, PartialEq, Eq)]
pub struct AssertionResponse {
    /// The id of the credential.
    pub credential_id: CredentialId,
    /// `clientDataJSON`, as it was signed.
    pub client_data: Vec<u8>,
    /// The authenticator data, as it was signed.
    pub authenticator_data: Vec<u8>,
    /// The signature.
    pub signature: Vec<u8>,
    /// The user handle; `None` where the authenticator does not keep it.
    pub user_handle: Option<UserHandle>,
}

/// A member of a credential that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{field} {problem}")]
pub struct InvalidCredential {
    /// The member, as a path from the credential.
    pub field: &'static str,
    /// What is wrong with it.
    pub problem: &'static str,
}

/// The members that both have. Others are ignored: browsers and password managers add their own.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Members<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(borrow, default)]
    raw_id: Option<Cow<'a, str>>,
    #[serde(borrow, rename = "type")]
    sort: Cow<'a, str>,
    #[serde(borrow)]
    response: &'a RawValue,
    #[serde(borrow, default)]
    client_extension_results: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Attested<'a> {
    #[serde(borrow, rename = "clientDataJSON")]
    client_data: Cow<'a, str>,
    #[serde(borrow)]
    attestation_object: Cow<'a, str>,
    #[serde(default)]
    transports: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Asserted<'a> {
    #[serde(borrow, rename = "clientDataJSON")]
    client_data: Cow<'a, str>,
    #[serde(borrow)]
    authenticator_data: Cow<'a, str>,
    #[serde(borrow)]
    signature: Cow<'a, str>,
    #[serde(borrow, default)]
    user_handle: Option<Cow<'a, str>>,
}

/// The client extension results that are of use.
#[derive(Default, Deserialize)]
struct Extensions {
    #[serde(rename = "credProps", default)]
    properties: Option<Properties>,
}

#[derive(Deserialize)]
struct Properties {
    #[serde(default)]
    rk: Option<bool>,
}

/// The most transports that are kept, and the most characters of each.
const MAX_TRANSPORTS: usize = 8;
const MAX_TRANSPORT: usize = 32;

impl RegistrationResponse {
    /// Reads the JSON form of a new credential.
    ///
    /// Members that the domain does not use are ignored, a missing or null `transports` is empty, and bytes may be
    /// in base64url or base64, with padding or without: password managers send all of these.
    ///
    /// # Errors
    /// [`InvalidCredential`] names the member that is missing or wrong.
    pub fn from_json(json: &str) -> Result<Self, InvalidCredential> {
        let members: Members<'_> = object(json).ok_or(SHAPE_CREATED)?;
        let credential_id = members.credential_id()?;
        let discoverable = members.extensions().properties.and_then(|properties| properties.rk);
        let Attested { client_data, attestation_object, transports } =
            object(members.response.get()).ok_or(SHAPE_CREATED)?;
        let mut transports = transports.unwrap_or_default();
        transports.retain(|name| is_transport(name));
        transports.sort_unstable();
        transports.dedup();
        transports.truncate(MAX_TRANSPORTS);
        Ok(Self {
            credential_id,
            client_data: bytes(&client_data, "response.clientDataJSON")?,
            attestation_object: bytes(&attestation_object, "response.attestationObject")?,
            transports,
            discoverable,
        })
    }
}

impl AssertionResponse {
    /// Reads the JSON form of an assertion. As lenient as [`RegistrationResponse::from_json`]; a `userHandle` that is
    /// absent, null or empty is `None`.
    ///
    /// # Errors
    /// [`InvalidCredential`] names the member that is missing or wrong.
    pub fn from_json(json: &str) -> Result<Self, InvalidCredential> {
        let members: Members<'_> = object(json).ok_or(SHAPE_ASSERTED)?;
        let credential_id = members.credential_id()?;
        let Asserted { client_data, authenticator_data, signature, user_handle } =
            object(members.response.get()).ok_or(SHAPE_ASSERTED)?;
        let user_handle = match user_handle.as_deref() {
            None | Some("") => None,
            Some(text) => {
                let field = "response.userHandle";
                let handle = UserHandle::new(bytes(text, field)?);
                let problem = "must have at most 64 bytes";
                Some(handle.map_err(|_| InvalidCredential { field, problem })?)
            }
        };
        Ok(Self {
            credential_id,
            client_data: bytes(&client_data, "response.clientDataJSON")?,
            authenticator_data: bytes(&authenticator_data, "response.authenticatorData")?,
            signature: bytes(&signature, "response.signature")?,
            user_handle,
        })
    }
}

const SHAPE_CREATED: InvalidCredential = InvalidCredential {
    field: "credential",
    problem: "must be the JSON form of a new credential: id, type, and response with clientDataJSON and \
              attestationObject",
};

const SHAPE_ASSERTED: InvalidCredential = InvalidCredential {
    field: "credential",
    problem: "must be the JSON form of an assertion: id, type, and response with clientDataJSON, \
              authenticatorData and signature",
};

impl Members<'_> {
    fn credential_id(&self) -> Result<CredentialId, InvalidCredential> {
        if self.sort != "public-key" {
            return Err(InvalidCredential { field: "type", problem: "must be public-key" });
        }
        let id = bytes(&self.id, "id")?;
        if let Some(raw_id) = &self.raw_id
            && bytes(raw_id, "rawId")? != id
        {
            return Err(InvalidCredential { field: "rawId", problem: "must be equal to id" });
        }
        let problem = "must have 1 to 1023 bytes";
        CredentialId::new(id).map_err(|_| InvalidCredential { field: "id", problem })
    }

    /// Extension results of a form that is not known are as good as none.
    fn extensions(&self) -> Extensions {
        let known = self.client_extension_results.and_then(|json| serde_json::from_str(json.get()).ok());
        known.unwrap_or_default()
    }
}

impl fmt::Debug for RegistrationResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegistrationResponse")
            .field("credential_id", &self.credential_id)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for AssertionResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AssertionResponse")
            .field("credential_id", &self.credential_id)
            .finish_non_exhaustive()
    }
}

/// Reads an object. `serde` would also read an array of its members.
fn object<'a, T: Deserialize<'a>>(json: &'a str) -> Option<T> {
    let is_object = json.trim_start().starts_with('{');
    serde_json::from_str(json).ok().filter(|_| is_object)
}

/// Whether it can be the name of a transport. Names that are not known are kept: the list grows.
fn is_transport(name: &str) -> bool {
    (1..=MAX_TRANSPORT).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

/// Bytes in base64url or base64, with padding or without.
fn bytes(text: &str, field: &'static str) -> Result<Vec<u8>, InvalidCredential> {
    let text = text.trim_end_matches('=');
    let plain = BASE64URL_NOPAD.decode(text.as_bytes());
    let problem = "must be base64url";
    plain
        .or_else(|_| {
            let padding = "=".repeat((4 - text.len() % 4) % 4);
            BASE64.decode(format!("{text}{padding}").as_bytes())
        })
        .map_err(|_| InvalidCredential { field, problem })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn created() -> Value {
        json!({
            "id": "_-8", "rawId": "_-8", "type": "public-key", "authenticatorAttachment": "platform",
            "clientExtensionResults": {"credProps": {"rk": true}},
            "response": {"clientDataJSON": "e30", "attestationObject": "oA", "transports": ["usb", "internal"]},
        })
    }

    fn asserted() -> Value {
        json!({
            "id": "_-8", "rawId": "_-8", "type": "public-key", "clientExtensionResults": {},
            "response": {"clientDataJSON": "e30", "authenticatorData": "AA", "signature": "MA", "userHandle": "dQ"},
        })
    }

    #[test]
    fn both_are_read() {
        let created = RegistrationResponse::from_json(&created().to_string()).unwrap();
        assert_eq!(created.credential_id.as_bytes(), [0xff, 0xef]);
        assert_eq!(
            (created.client_data.as_slice(), created.attestation_object.as_slice()),
            (&b"{}"[..], &[0xa0][..])
        );
        assert_eq!(created.transports, ["internal", "usb"]);
        assert_eq!(created.discoverable, Some(true));
        let asserted = AssertionResponse::from_json(&asserted().to_string()).unwrap();
        assert_eq!(asserted.user_handle, UserHandle::new(*b"u").ok());
        assert_eq!(
            (asserted.authenticator_data.as_slice(), asserted.signature.as_slice()),
            (&[0][..], &[0x30][..])
        );
    }

    #[test]
    fn what_password_managers_send_is_read() {
        let mut variants = Vec::new();
        for (pointer, value) in [
            ("/rawId", json!("/+8=")),
            ("/rawId", json!("/+8")),
            ("/id", json!("_-8=")),
            ("/clientExtensionResults", Value::Null),
            ("/clientExtensionResults", json!({"credProps": {}, "appid": true})),
            ("/clientExtensionResults", json!({"credProps": {"rk": "yes"}})),
            ("/response/transports", Value::Null),
            ("/response/transports", json!(["usb", "UPPER", "x".repeat(33), "", "usb"])),
        ] {
            let mut variant = created();
            *variant.pointer_mut(pointer).unwrap() = value;
            variants.push(variant);
        }
        let mut doubled = created();
        doubled["extensions"] = json!({"credProps": {"rk": false}});
        doubled["response"]["publicKeyAlgorithm"] = json!(-7);
        doubled.as_object_mut().unwrap().remove("rawId");
        variants.push(doubled);
        for variant in variants {
            let read = RegistrationResponse::from_json(&variant.to_string());
            assert_eq!(
                read.map(|read| read.credential_id.as_bytes().to_vec()),
                Ok(vec![0xff, 0xef]),
                "{variant}"
            );
        }
        for none in [Value::Null, json!("")] {
            let mut variant = asserted();
            variant["response"]["userHandle"] = none;
            assert_eq!(AssertionResponse::from_json(&variant.to_string()).unwrap().user_handle, None);
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (pointer, value, field) in [
            ("/type", json!("password"), "type"),
            ("/id", json!("?"), "id"),
            ("/id", json!(""), "rawId"),
            ("/rawId", json!("AAAA"), "rawId"),
            ("/response/userHandle", json!("A".repeat(88)), "response.userHandle"),
            ("/response/signature", json!("§"), "response.signature"),
            ("/response/authenticatorData", json!(7), "credential"),
            ("/response", json!({}), "credential"),
        ] {
            let mut variant = asserted();
            *variant.pointer_mut(pointer).unwrap() = value;
            let read = AssertionResponse::from_json(&variant.to_string());
            assert_eq!(read.map_err(|error| error.field), Err(field), "{variant}");
        }
        let mut long = asserted();
        long.as_object_mut().unwrap().remove("rawId");
        long["id"] = json!("A".repeat(1368));
        assert_eq!(AssertionResponse::from_json(&long.to_string()).map_err(|error| error.field), Err("id"));
        let listed =
            r#"["_-8", "_-8", "public-key", {"clientDataJSON": "e30", "attestationObject": "oA"}, null]"#;
        for text in ["", "null", "[]", "{}", listed] {
            assert!(RegistrationResponse::from_json(text).is_err(), "{text}");
        }
    }
}
