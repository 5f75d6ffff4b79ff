//! The texts that several calls take, as schemas: what is here and what the domain reads are the same.

use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{
    AdditionalProperties, Array, ArrayBuilder, Object, ObjectBuilder, Schema, Type,
};

/// Characters that cannot be seen, which none of them holds. (Of what the domain refuses, tags, U+E0000 to U+E007F, are
/// missing: not every dialect of patterns can name them.)
const UNSEEN: &str =
    r"\u0000-\u001F\u007F-\u009F\u061C\u200B\u200E\u200F\u2028-\u202E\u2060-\u206F\uFEFF\uFFF9-\uFFFB";

pub(crate) fn label() -> Object {
    let text = "What the user calls the factor: 1 to 64 characters that can be seen. An active factor gets a number behind it \
                (`Phone 2`) if another one has it.";
    string(1, 64).description(Some(text)).pattern(Some(visible(""))).examples(["Work phone"]).build()
}

pub(crate) fn reason() -> Object {
    let text = "Why it is done: 1 to 256 characters that can be seen; kept in the audit trail.";
    let example = "Ticket 4711: identity checked by phone";
    string(1, 256).description(Some(text)).pattern(Some(visible(""))).examples([example]).build()
}

pub(crate) fn account_name() -> Object {
    let text =
        "What the authenticator app calls the account, at most 256 bytes of UTF-8; the user id by default.";
    string(1, 256).description(Some(text)).pattern(Some(visible(":"))).examples(["alice@example.com"]).build()
}

pub(crate) fn issuer() -> Object {
    let text = "Who the authenticator app says the code is for, at most 256 bytes of UTF-8.";
    string(1, 256).description(Some(text)).pattern(Some(visible(":"))).examples(["Example Ltd"]).build()
}

pub(crate) fn code() -> Object {
    typed_code("6 to 8 digits of an authenticator, or a backup code", "123 456")
}

/// What confirms a factor.
pub(crate) fn first_code() -> Object {
    typed_code("6 to 8 digits of an authenticator, or the 6 to 10 digits that were sent", "123 456")
}

pub(crate) fn sent_code() -> Object {
    typed_code("the 6 to 10 digits that were sent", "1234 5678")
}

pub(crate) fn address() -> Object {
    let text = "Of `email`: where codes are sent from then on. At most 254 bytes of UTF-8, without white space; ASCII before the `@`.";
    let example = "eve@example.com";
    string(1, 254).description(Some(text)).pattern(Some(visible(r"\s"))).examples([example]).build()
}

/// Two codes, for a device whose clock or counter is off.
pub(crate) fn consecutive_codes() -> Array {
    let text = "Two codes that the device showed one right after the other.";
    let codes = ArrayBuilder::new().items(string(6, 256)).min_items(Some(2)).max_items(Some(2));
    codes.description(Some(text)).examples([serde_json::json!(["123456", "654321"])]).build()
}

/// An object with that member and no other.
pub(crate) fn alone(name: &str, member: impl Into<RefOr<Schema>>) -> Object {
    only(name, member).build()
}

/// An object that must have that member, and has none but those that are added.
pub(crate) fn only(name: &str, member: impl Into<RefOr<Schema>>) -> ObjectBuilder {
    let object = ObjectBuilder::new().schema_type(Type::Object).property(name, member).required(name);
    object.additional_properties(Some(AdditionalProperties::FreeForm(false)))
}

/// A text that must be that one.
pub(crate) fn word(word: &str, text: &str) -> Object {
    let pattern = format!("^{word}$");
    let object = ObjectBuilder::new().schema_type(Type::String).pattern(Some(pattern));
    object.description(Some(text)).examples([word]).build()
}

/// The id of a factor.
pub(crate) fn factor() -> Object {
    let example = "0197a3c1-2f40-7cc2-9c5b-6a1d8e0f4b21";
    let object = ObjectBuilder::new().schema_type(Type::String);
    object.description(Some("The factor that is to answer it.")).examples([example]).build()
}

fn typed_code(form: &str, example: &str) -> Object {
    let text = format!(
        "A code as it was typed: {form}, in at most 256 bytes of UTF-8; white space, dashes and characters that cannot be \
         seen do not matter, and digits may be of any script."
    );
    string(6, 256).description(Some(text)).examples([example]).build()
}

fn string(shortest: usize, longest: usize) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String).min_length(Some(shortest)).max_length(Some(longest))
}

/// Of a text with more than white space, in which all can be seen, and which holds none of `others`.
fn visible(others: &str) -> String {
    format!(r"^[^{others}{UNSEEN}]*[^\s{others}{UNSEEN}][^{others}{UNSEEN}]*$")
}
