//! JSON objects that have no member twice, and texts that borrow from them.
//!
//! Of two members with one name, some parsers take the first and some the last, so one program could check something
//! else than the next one uses. RFC 7515, 4 and RFC 7519, 4 let a parser refuse them. Only the members of the object
//! itself are compared, not those of objects within it, which this crate ignores.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::value::{MapAccessDeserializer, StrDeserializer};
use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};

/// A text that borrows from its source if it contains no escape sequence.
#[derive(Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl Text<'_> {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn into_owned(self) -> String {
        self.0.into_owned()
    }
}

/// Reads an object; `None` if it is none, has a member twice, does not fit, or is followed by anything but white
/// space. Members that the type does not know are ignored. Errors are dropped, since they would quote the source.
pub(crate) fn read<'de, T: Deserialize<'de>>(json: &'de [u8]) -> Option<T> {
    let json = str::from_utf8(json).ok()?;
    let Object(value) = serde_json::from_str(json).ok()?;
    Some(value)
}

/// For a member that may be absent but not `null`.
pub(crate) fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(value: D) -> Result<Option<T>, D::Error> {
    T::deserialize(value).map(Some)
}

/// For a member of which only the presence counts.
pub(crate) fn present<'de, D: Deserializer<'de>>(value: D) -> Result<bool, D::Error> {
    IgnoredAny::deserialize(value).map(|_| true)
}

struct Object<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Not `deserialize_struct`, which would take an array too.
        deserializer.deserialize_map(ObjectVisitor(PhantomData))
    }
}

struct ObjectVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
    type Value = Object<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<Object<T>, A::Error> {
        let members = Unique { members, seen: BTreeSet::new() };
        T::deserialize(MapAccessDeserializer::new(members)).map(Object)
    }
}

/// Hands on members, and fails at the second of one name. An ordered set, since names come from strangers: a header
/// is read before its signature is checked.
struct Unique<'de, A> {
    members: A,
    seen: BTreeSet<Text<'de>>,
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Unique<'de, A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, A::Error> {
        let Some(name) = self.members.next_key::<Text<'de>>()? else { return Ok(None) };
        let key = seed.deserialize(StrDeserializer::<A::Error>::new(name.as_str()))?;
        if self.seen.insert(name) { Ok(Some(key)) } else { Err(A::Error::custom("a member is there twice")) }
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, A::Error> {
        self.members.next_value_seed(seed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    struct Sample<'a> {
        #[serde(borrow)]
        name: Text<'a>,
        #[serde(default, deserialize_with = "given")]
        size: Option<u64>,
        #[serde(default, deserialize_with = "present")]
        flag: bool,
    }

    fn sample(json: &str) -> Option<(String, Option<u64>, bool)> {
        let Sample { name, size, flag } = read(json.as_bytes())?;
        Some((name.into_owned(), size, flag))
    }

    #[test]
    fn unknown_members_are_ignored() {
        let json = r#" { "other": [{"name": 1}], "name": "a\u0062", "size": 7, "flag": null, "more": {} } "#;
        assert_eq!(sample(json), Some(("ab".to_owned(), Some(7), true)));
        assert_eq!(sample(r#"{"name":"a"}"#), Some(("a".to_owned(), None, false)));
    }

    #[test]
    fn a_member_that_is_there_twice_is_refused_whether_it_is_known_or_not() {
        for json in [
            r#"{"name":"a","name":"a"}"#,
            r#"{"name":"a","n\u0061me":"b"}"#,
            r#"{"name":"a","other":1,"other":2}"#,
            r#"{"name":"a","":1,"":2}"#,
        ] {
            assert_eq!(sample(json), None, "{json}");
        }
    }

    #[test]
    fn anything_but_one_object_that_fits_is_refused() {
        for json in [
            "",
            "null",
            r#"["a"]"#,
            r#"["a",7,true]"#,
            r#""name""#,
            "{}",
            r#"{"name":null}"#,
            r#"{"name":1}"#,
            r#"{"name":"a","size":null}"#,
            r#"{"name":"a","size":1.0}"#,
            r#"{"name":"a","size":-1}"#,
            r#"{"name":"a","size":"1"}"#,
            r#"{"name":"a"}{}"#,
            r#"{"name":"a"},"#,
            r#"{"name":"a",}"#,
            r#"{"name":"\ud800"}"#,
            "\u{feff}{\"name\":\"a\"}",
        ] {
            assert_eq!(sample(json), None, "{json}");
        }
        assert!(read::<Sample<'_>>(b"{\"name\":\"\xff\"}").is_none());
    }
}
