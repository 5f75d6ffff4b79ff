//! Schemas of texts that several calls take. They allow what the domain accepts.

use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{
    AdditionalProperties, Array, ArrayBuilder, Object, ObjectBuilder, Schema, Type,
};

/// Invisible characters, which no text may contain. The domain also refuses tags (U+E0000 to U+E007F), which not
/// every regular expression dialect can express.
const UNSEEN: &str =
    r"\u0000-\u001F\u007F-\u009F\u061C\u200B\u200E\u200F\u2028-\u202E\u2060-\u206F\uFEFF\uFFF9-\uFFFB";

pub(crate) fn label() -> Object {
    let text = "The user's name for the factor: 1 to 64 characters, none invisible. If another active factor has the \
                same label, a number is appended (`Phone 2`).";
    string(1, 64).description(Some(text)).pattern(Some(visible(""))).examples(["Work phone"]).build()
}

pub(crate) fn reason() -> Object {
    let text = "Reason for the change: 1 to 256 characters, none invisible. Kept in the audit trail.";
    let example = "Ticket 4711: identity checked by phone";
    string(1, 256).description(Some(text)).pattern(Some(visible(""))).examples([example]).build()
}

pub(crate) fn account_name() -> Object {
    let text = "Account name that the authenticator app shows: at most 256 bytes of UTF-8, no colon. Default: the user id.";
    string(1, 256).description(Some(text)).pattern(Some(visible(":"))).examples(["alice@example.com"]).build()
}

pub(crate) fn issuer() -> Object {
    let text = "Issuer that the authenticator app shows: at most 256 bytes of UTF-8, no colon. Default: the tenant's issuer.";
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
    let text = "Address that codes are sent to: at most 254 bytes of UTF-8, no white space, ASCII before the `@`. Only for `email`.";
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
        .description(Some("Id of the active factor whose address gets the code."))
        .examples([example])
        .build()
}

fn typed_code(form: &str, example: &str) -> Object {
    let text = format!(
        "Code as typed: {form}. At most 256 bytes of UTF-8. White space, dashes and invisible characters are ignored; \
         digits of any script are accepted."
    );
    string(6, 256).description(Some(text)).examples([example]).build()
}

fn string(shortest: usize, longest: usize) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String).min_length(Some(shortest)).max_length(Some(longest))
}

/// Pattern of a text with at least one character that is not white space, and without invisible characters and
/// `others`.
fn visible(others: &str) -> String {
    format!(r"^[^{others}{UNSEEN}]*[^\s{others}{UNSEEN}][^{others}{UNSEEN}]*$")
}
