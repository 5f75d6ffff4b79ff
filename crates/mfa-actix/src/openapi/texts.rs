//! Schemas of texts that several calls take. They allow what the domain accepts.

use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{
    AdditionalProperties, Array, ArrayBuilder, Object, ObjectBuilder, Schema, Type,
};

/// Invisible characters, which no text may contain. The domain also refuses tags (U+E0000 to U+E007F), which
/// not every regular expression dialect can express.
const UNSEEN: &str =
    r"\u0000-\u001F\u007F-\u009F\u061C\u200B\u200E\u200F\u2028-\u202E\u2060-\u206F\uFEFF\uFFF9-\uFFFB";

pub(crate) fn label() -> Object {
    let text = "The user's name for the factor: 1 to 64 characters, none invisible. If another active factor has \
                the same label, a number is appended (`Phone 2`).";
    string(1, 64).description(Some(text)).pattern(Some(visible(""))).examples(["Work phone"]).build()
}

/// The label of a new factor.
pub(crate) fn new_label() -> Object {
    let text = "The user's name for the factor: 1 to 64 characters, none invisible. If another active factor has \
                the same label, a number is appended (`Phone 2`). Required, except for `passkey`: the default is \
                then the name of the authenticator.";
    string(1, 64).description(Some(text)).pattern(Some(visible(""))).examples(["Work phone"]).build()
}

pub(crate) fn display_name() -> Object {
    let text = "Name of the person that the browser shows: 1 to 256 characters, none invisible. Default: the \
                account name. Only for `passkey`.";
    string(1, 256).description(Some(text)).pattern(Some(visible(""))).examples(["Alice Liddell"]).build()
}

/// What the browser returned for a new passkey.
pub(crate) fn new_credential() -> Object {
    credential(&serde_json::json!({
        "clientDataJSON": "eyJ0eXBlIjoid2ViYXV0aG4uY3JlYXRlIiwi…", "attestationObject": "o2NmbXRkbm9uZWdhdHRTdG10oGhh…",
        "transports": ["internal"],
    }))
}

/// What the browser returned for a passkey that was used.
pub(crate) fn used_credential() -> Object {
    credential(&serde_json::json!({
        "clientDataJSON": "eyJ0eXBlIjoid2ViYXV0aG4uZ2V0Iiwi…", "authenticatorData": "SZYN5YgOjGh0NBcPZHZgW4_krrmihjLH…",
        "signature": "MEUCIQDx…", "userHandle": "Jm3vQ2kX…",
    }))
}

fn credential(response: &serde_json::Value) -> Object {
    let text = "What `navigator.credentials` returned, in its JSON form (Web Authentication Level 3, 5.1.8). Only \
                for passkeys. Members that are not needed are ignored.";
    let member = |name: &str| ObjectBuilder::new().schema_type(Type::String).description(Some(name)).build();
    let object = ObjectBuilder::new().schema_type(Type::Object).description(Some(text));
    object
        .property("id", member("Id of the credential (base64url)."))
        .required("id")
        .property("type", word("public-key", "Always `public-key`."))
        .required("type")
        .property(
            "response",
            ObjectBuilder::new().schema_type(Type::Object).description(Some("Its response.")),
        )
        .required("response")
        .examples([serde_json::json!({
            "id": "zVx8Yk2fQ1mNwJ3hT7aR0g", "rawId": "zVx8Yk2fQ1mNwJ3hT7aR0g", "type": "public-key",
            "response": response,
        })])
        .build()
}

pub(crate) fn reason() -> Object {
    let text = "Reason for the change: 1 to 256 characters, none invisible. Kept in the audit trail.";
    let example = "Ticket 4711: identity checked by phone";
    string(1, 256).description(Some(text)).pattern(Some(visible(""))).examples([example]).build()
}

/// The reason of an operator, instead of a proof.
pub(crate) fn operators_reason() -> Object {
    let text = "Reason of an operator, which authorises the change without a proof: 1 to 256 characters, none \
                invisible. Needs the scope `admin`. Kept in the audit trail.";
    let example = "Ticket 4711: identity checked by phone";
    string(1, 256).description(Some(text)).pattern(Some(visible(""))).examples([example]).build()
}

/// An assertion that authorises a change.
pub(crate) fn proof() -> Object {
    let text = "Assertion of the verification that authorises the change, from the session that asks for it. It may \
                have expired: how old the verification may be is a setting of the server, 5 minutes by default. \
                Only without `reason`.";
    let object = ObjectBuilder::new().schema_type(Type::String).description(Some(text));
    object.examples(["eyJhbGciOiJFUzI1NiIs…"]).build()
}

/// The session of a proof.
pub(crate) fn proof_nonce() -> Object {
    session(
        "The `nonce` of the session that asks; the assertion in `proof` must carry it. Always give it: without it, an \
         assertion of any session of the user counts, since the server does not compare sessions.",
    )
}

/// The session that asks for a verification.
pub(crate) fn nonce() -> Object {
    session(
        "A random value for the session that asks, which your application makes and keeps with it. The assertion \
         carries it.",
    )
}

fn session(text: &str) -> Object {
    let text = format!("{text} 1 to 255 visible ASCII characters.");
    string(1, 255).description(Some(text)).pattern(Some("^[!-~]+$")).examples(["f5x_8sBvWq3"]).build()
}

pub(crate) fn account_name() -> Object {
    let text = "Account name that the authenticator app or the browser shows: at most 256 bytes of UTF-8, no \
                colon. Default: the user id; for `passkey`, that of the user's last passkey.";
    string(1, 256).description(Some(text)).pattern(Some(visible(":"))).examples(["alice@example.com"]).build()
}

pub(crate) fn issuer() -> Object {
    let text = "Issuer that the authenticator app shows: at most 256 bytes of UTF-8, no colon. Default: the \
                tenant's issuer.";
    string(1, 256).description(Some(text)).pattern(Some(visible(":"))).examples(["Example Ltd"]).build()
}

pub(crate) fn code() -> Object {
    typed_code("6 to 8 digits of an authenticator, or a backup code", "123 456")
}

/// The first code of a factor.
pub(crate) fn first_code() -> Object {
    typed_code("6 to 8 digits of an authenticator, or the 6 to 10 digits of a sent code", "123 456")
}

pub(crate) fn sent_code() -> Object {
    typed_code("the 6 to 10 digits of the sent code", "1234 5678")
}

pub(crate) fn address() -> Object {
    let text = "Address that codes are sent to: at most 254 bytes of UTF-8, no white space, ASCII before the `@`. \
                Only for `email`.";
    let example = "eve@example.com";
    string(1, 254).description(Some(text)).pattern(Some(visible(r"\s"))).examples([example]).build()
}

/// Two consecutive codes of a device whose clock or counter is off.
pub(crate) fn consecutive_codes() -> Array {
    let text = "Two consecutive codes of the device, in the order in which it showed them.";
    let codes = ArrayBuilder::new().items(string(6, 256)).min_items(Some(2)).max_items(Some(2));
    codes.description(Some(text)).examples([serde_json::json!(["123456", "654321"])]).build()
}

/// An object with this required member and no other.
pub(crate) fn alone(name: &str, member: impl Into<RefOr<Schema>>) -> Object {
    only(name, member).build()
}

/// An object with this required member. The caller adds optional members; no others are allowed.
pub(crate) fn only(name: &str, member: impl Into<RefOr<Schema>>) -> ObjectBuilder {
    let object = ObjectBuilder::new().schema_type(Type::Object).property(name, member).required(name);
    object.additional_properties(Some(AdditionalProperties::FreeForm(false)))
}

/// The kind of factors that name their user.
pub(crate) fn passkey() -> Object {
    word("passkey", "Kind of factor: `passkey`.")
}

/// A text with one of these values. The first is the example.
pub(crate) fn one_of(words: &[&str], text: &str) -> Object {
    let pattern = format!("^({})$", words.join("|"));
    let object = ObjectBuilder::new().schema_type(Type::String).pattern(Some(pattern));
    object.description(Some(text)).examples(words.iter().copied().take(1)).build()
}

/// A text with only this value.
pub(crate) fn word(word: &str, text: &str) -> Object {
    let pattern = format!("^{word}$");
    let object = ObjectBuilder::new().schema_type(Type::String).pattern(Some(pattern));
    object.description(Some(text)).examples([word]).build()
}

/// The id of a factor.
pub(crate) fn factor() -> Object {
    let example = "0197a3c1-2f40-7cc2-9c5b-6a1d8e0f4b21";
    let object = ObjectBuilder::new().schema_type(Type::String);
    object
        .description(Some("Id of an active factor: an address that gets a code, or a passkey."))
        .examples([example])
        .build()
}

fn typed_code(form: &str, example: &str) -> Object {
    let text = format!(
        "Code as typed: {form}. At most 256 bytes of UTF-8. White space, dashes and invisible characters are \
         ignored; digits of any script are accepted."
    );
    string(6, 256).description(Some(text)).examples([example]).build()
}

fn string(shortest: usize, longest: usize) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String).min_length(Some(shortest)).max_length(Some(longest))
}

/// Pattern of a text with at least one character that is not white space, and without invisible characters
/// and `others`.
fn visible(others: &str) -> String {
    format!(r"^[^{others}{UNSEEN}]*[^\s{others}{UNSEEN}][^{others}{UNSEEN}]*$")
}
