//! CBOR, as authenticators write it.

use ciborium::Value;

pub(super) fn encoded(value: &Value) -> Vec<u8> {
    let mut bytes = Vec::new();
    ciborium::into_writer(value, &mut bytes).unwrap();
    bytes
}

/// A map with names, in the order given.
pub(super) fn named<const N: usize>(members: [(&str, Value); N]) -> Value {
    Value::Map(members.map(|(name, value)| (Value::from(name), value)).into())
}

/// A map with numbers, in the order given.
pub(super) fn numbered<const N: usize>(members: [(i64, Value); N]) -> Value {
    Value::Map(members.map(|(label, value)| (Value::from(label), value)).into())
}
