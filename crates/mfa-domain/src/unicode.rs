//! Unicode properties of texts and characters.

use icu_normalizer::ComposingNormalizerBorrowed;
use icu_properties::props::{
    BinaryProperty, Dash, DefaultIgnorableCodePoint, GeneralCategory, GeneralCategoryGroup, WhiteSpace,
};
use icu_properties::{CodePointMapData, CodePointSetData};

/// Whether a character is white space, a dash, or invisible: a direction mark, a byte-order mark, a joiner, a
/// variation selector.
pub(crate) fn is_separator_or_unseen(c: char) -> bool {
    has::<WhiteSpace>(c)
        || has::<Dash>(c)
        || has::<DefaultIgnorableCodePoint>(c)
        || category(c) == GeneralCategory::Format
}

/// The value of a decimal digit of any script (general category Nd).
pub(crate) fn decimal_digit(c: char) -> Option<u8> {
    if c.is_ascii() {
        return c.to_digit(10).and_then(|digit| u8::try_from(digit).ok());
    }
    let is_digit =
        |c: &u32| CodePointMapData::<GeneralCategory>::new().get32(*c) == GeneralCategory::DecimalNumber;
    // Unicode assigns decimal digits in runs from zero to nine, without a gap (stability policy). Some runs directly
    // follow each other.
    let before = (0..u32::from(c)).rev().take_while(is_digit).count();
    is_digit(&u32::from(c)).then(|| (before % 10).to_le_bytes()[0])
}

/// Whether a text is in Normalization Form C.
pub(crate) fn is_nfc(text: &str) -> bool {
    ComposingNormalizerBorrowed::new_nfc().is_normalized(text)
}

/// Whether a character shows nothing of its own (control, format) or has no standard meaning (private-use,
/// unassigned, surrogate): Unicode's general category C.
pub(crate) fn is_unassigned_or_unseen(c: char) -> bool {
    GeneralCategoryGroup::Other.contains(category(c))
}

fn category(c: char) -> GeneralCategory {
    CodePointMapData::<GeneralCategory>::new().get(c)
}

fn has<P: BinaryProperty>(c: char) -> bool {
    CodePointSetData::new::<P>().contains(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_of_every_script_come_in_whole_runs() {
        let mut expected = 0;
        let mut digits = 0;
        for c in '\0'..=char::MAX {
            match decimal_digit(c) {
                Some(value) => {
                    assert_eq!(value, expected, "{c:?}");
                    expected = (expected + 1) % 10;
                    digits += 1;
                }
                None => assert_eq!(expected, 0, "the run before {c:?} is not whole"),
            }
        }
        assert!(digits >= 760, "{digits}");
    }
}
