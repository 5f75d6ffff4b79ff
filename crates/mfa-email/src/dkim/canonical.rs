//! Canonical form of a signed mail: relaxed/relaxed (RFC 6376, 3.4.2 and 3.4.4). The signature survives mail
//! servers that refold lines or change white space.

use zeroize::Zeroizing;

const CRLF: &[u8] = b"\r\n";

/// Splits a mail at the first empty line into header and body.
pub(super) fn split(message: &[u8]) -> (&[u8], &[u8]) {
    match find(message, b"\r\n\r\n") {
        Some(at) => (&message[..at + 2], &message[at + 4..]),
        None => (message, &[]),
    }
}

/// The canonical fields with these names, in the order in which a verifier takes them: of two with one name,
/// the last first. At most two per name, since `h=` names each twice.
pub(super) fn signed(header: &[u8], names: &[&str]) -> Zeroizing<Vec<u8>> {
    let fields: Vec<_> = fields(header).into_iter().map(field).collect();
    let length: usize = fields.iter().map(|field| field.len()).sum();
    // Large enough for all fields and the signature's own, so that no reallocation leaves a copy in memory.
    let mut signed = Zeroizing::new(Vec::with_capacity(length + 2048));
    for name in names {
        let start = format!("{}:", name.to_ascii_lowercase());
        let found = fields.iter().rev().filter(|field| field.starts_with(start.as_bytes()));
        for field in found.take(2) {
            signed.extend_from_slice(field);
        }
    }
    signed
}

/// A canonical header field: the name in lower case, each run of white space and line ends as one space, no
/// white space around the colon or at the end.
pub(super) fn field(field: &[u8]) -> Zeroizing<Vec<u8>> {
    let colon = field.iter().position(|byte| *byte == b':').unwrap_or(field.len());
    let (name, value) = field.split_at(colon);
    let mut canonical = Zeroizing::new(Vec::with_capacity(field.len() + 3));
    canonical.extend(name.trim_ascii().iter().map(u8::to_ascii_lowercase));
    canonical.push(b':');
    let value = value.get(1..).unwrap_or_default();
    let words = value.split(|byte| b" \t\r\n".contains(byte)).filter(|word| !word.is_empty());
    for (at, word) in words.enumerate() {
        if at > 0 {
            canonical.push(b' ');
        }
        canonical.extend_from_slice(word);
    }
    canonical.extend_from_slice(CRLF);
    canonical
}

/// A canonical body: each run of white space as one space, none at the end of a line, no empty lines at the
/// end.
pub(super) fn body(body: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut canonical = Zeroizing::new(Vec::with_capacity(body.len() + 2));
    let mut empty = 0;
    for line in lines(body) {
        let start = canonical.len();
        for _ in 0..empty {
            canonical.extend_from_slice(CRLF);
        }
        let text = canonical.len();
        let mut blank = false;
        for byte in line {
            if matches!(byte, b' ' | b'\t') {
                blank = true;
                continue;
            }
            if blank {
                canonical.push(b' ');
                blank = false;
            }
            canonical.push(*byte);
        }
        if canonical.len() == text {
            canonical.truncate(start);
            empty += 1;
        } else {
            canonical.extend_from_slice(CRLF);
            empty = 0;
        }
    }
    canonical
}

/// The fields of a header, folds included, without their line ends.
fn fields(header: &[u8]) -> Vec<&[u8]> {
    let mut fields = Vec::new();
    let (mut start, mut end) = (0, 0);
    for line in lines(header) {
        let next = end + line.len() + CRLF.len();
        if end > start && !line.starts_with(b" ") && !line.starts_with(b"\t") {
            fields.push(&header[start..end - CRLF.len()]);
            start = end;
        }
        end = next;
    }
    fields
}

/// The lines of a text without their ends. If the text ends with a line end, the last line is empty.
fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let (line, more) = match find(text, CRLF) {
            Some(at) => (&text[..at], Some(&text[at + CRLF.len()..])),
            None => (text, None),
        };
        rest = more;
        Some(line)
    })
}

fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    text.windows(wanted.len()).position(|window| window == wanted)
}

#[cfg(test)]
mod tests {
    use data_encoding::BASE64;
    use ring::digest::{SHA256, digest};

    use super::*;

    /// The mail of RFC 6376, 3.4.5.
    const EXAMPLE: &[u8] = b"A: X\r\nB : Y\t\r\n\tZ  \r\n\r\n C \r\nD \t E\r\n\r\n\r\n";

    fn text(bytes: &[u8]) -> &str {
        std::str::from_utf8(bytes).unwrap()
    }

    #[test]
    fn the_example_of_the_standard_comes_out_as_it_says() {
        let (header, rest) = split(EXAMPLE);
        assert_eq!(text(&signed(header, &["A", "B"])), "a:X\r\nb:Y Z\r\n");
        assert_eq!(text(&body(rest)), " C\r\nD E\r\n");
    }

    #[test]
    fn a_body_ends_with_one_line_end_and_an_empty_one_is_nothing() {
        for (given, canonical) in [
            ("", ""),
            ("\r\n", ""),
            (" \t\r\n\r\n", ""),
            ("a", "a\r\n"),
            ("a\r\n", "a\r\n"),
            ("a \r\n\r\n \r\n", "a\r\n"),
            ("\r\n\r\na\r\n\r\nb\r\n", "\r\n\r\na\r\n\r\nb\r\n"),
            ("  a \t b  ", " a b\r\n"),
            ("a\rb\nc", "a\rb\nc\r\n"),
        ] {
            assert_eq!(text(&body(given.as_bytes())), canonical, "{given:?}");
        }
        // RFC 6376, 3.4.4.
        let empty = BASE64.encode(digest(&SHA256, &body(b"\r\n\r\n")).as_ref());
        assert_eq!(empty, "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=");
    }

    #[test]
    fn fields_are_found_by_name_the_last_first_and_at_most_two() {
        let header = b"To: a\r\nFROM:\r\n b\r\nTo : c\r\nTopic: d\r\nto:e\r\n";
        assert_eq!(text(&signed(header, &["From", "To", "Date"])), "from:b\r\nto:e\r\nto:c\r\n");
    }

    #[test]
    fn a_mail_is_parted_at_its_first_empty_line() {
        assert_eq!(split(b"A: b\r\n\r\nc\r\n\r\nd"), (b"A: b\r\n".as_slice(), b"c\r\n\r\nd".as_slice()));
        assert_eq!(split(b"A: b\r\n"), (b"A: b\r\n".as_slice(), [].as_slice()));
    }
}
