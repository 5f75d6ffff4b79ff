//! Normalisation of typed and pasted codes and secrets.

use zeroize::Zeroizing;

use crate::unicode::{decimal_digit, is_separator_or_unseen};

/// Normalises a typed or pasted code or secret.
///
/// Drops white space of any kind, hyphens and dashes, and invisible characters, wherever they are. Turns digits of
/// any script (Unicode's general category Nd) into ASCII digits, and full-width forms into their ASCII characters.
/// Keeps everything else, for the parser to accept or reject.
///
/// Apply it once, before parsing: parsers such as [`otp_core::Code::parse`] are strict.
///
/// ```
/// use mfa_domain::typed;
/// assert_eq!(*typed("\u{feff}123\u{a0}456\n"), "123456");
/// assert_eq!(*typed("١٢٣–٤٥٦"), "123456");
/// assert_eq!(*typed("ａｂｃ－ｄｅｆ"), "abcdef");
/// assert_eq!(*typed("12.34"), "12.34");
/// ```
#[must_use]
pub fn typed(text: &str) -> Zeroizing<String> {
    // No character becomes longer, so the buffer never grows and leaves no copy in memory.
    let mut plain = Zeroizing::new(String::with_capacity(text.len()));
    for c in text.chars().filter(|c| !is_separator_or_unseen(*c)) {
        plain.push(decimal_digit(c).map_or_else(|| narrow(c), |digit| char::from(b'0' + digit)));
    }
    plain
}

/// The ASCII character of a full-width form, which keyboards for Chinese, Japanese and Korean type.
fn narrow(c: char) -> char {
    match c {
        '\u{ff01}'..='\u{ff5e}' => char::from_u32(u32::from(c) - 0xff00 + 0x20).unwrap_or(c),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Characters that came with codes in bug reports, and similar ones.
    #[test]
    fn what_separates_or_cannot_be_seen_is_dropped() {
        let white = "\t\n\u{b}\u{c}\r \u{85}\u{a0}\u{1680}\u{2000}\u{2009}\u{200a}\u{2028}\u{2029}\u{202f}\u{205f}\u{3000}";
        let dashes = "-\u{2010}\u{2011}\u{2012}\u{2013}\u{2014}\u{2015}\u{2212}\u{fe58}\u{fe63}\u{ff0d}";
        let unseen = "\u{ad}\u{34f}\u{61c}\u{180e}\u{200b}\u{200c}\u{200d}\u{200e}\u{200f}\u{202a}\u{202e}\u{2060}\
            \u{2066}\u{2069}\u{fe0e}\u{fe0f}\u{feff}\u{fff9}\u{e0001}\u{e007f}";
        for c in [white, dashes, unseen].iter().flat_map(|group| group.chars()) {
            assert_eq!(*typed(&format!("{c}123{c}456{c}")), "123456", "{c:?}");
        }
    }

    #[test]
    fn everything_else_stays() {
        // A superscript, a circled digit, a Roman numeral, a combining mark, a control character.
        for c in "+.,_/#²①Ⅷ\u{301}\0\u{1b}éж".chars() {
            let text = format!("123{c}456");
            assert_eq!(*typed(&text), text, "{c:?}");
        }
    }

    #[test]
    fn digits_of_every_script_are_read_as_they_are() {
        for digits in [
            "٠١٢٣٤٥٦٧٨٩",
            "۰۱۲۳۴۵۶۷۸۹",
            "०१२३४५६७८९",
            "০১২৩৪৫৬৭৮৯",
            "０１２３４５６７８９",
            "𝟎𝟏𝟐𝟑𝟒𝟓𝟔𝟕𝟖𝟗",
            "𝟶𝟷𝟸𝟹𝟺𝟻𝟼𝟽𝟾𝟿",
        ] {
            assert_eq!(*typed(digits), "0123456789");
        }
    }
}
