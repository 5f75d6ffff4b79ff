//! SVG and terminal text show the same modules as the PNG, which `zbarimg` reads in tests/zbar.rs.

#![cfg(feature = "qr")]
#![expect(clippy::unwrap_used, reason = "tests")]

use otp_core::qr::{self, QrError};
use otp_core::{Algorithm, Digits, Hotp, OtpauthUri, Secret};

const URI: &str = "otpauth://totp/Big%20Co:alice?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=Big%20Co";

/// Rows of modules, true where dark.
type Modules = Vec<Vec<bool>>;

#[test]
fn all_three_show_the_same_modules() {
    let expected = modules_of_png(&qr::png(URI).unwrap());
    assert_eq!(modules_of_svg(&qr::svg(URI).unwrap()), expected);
    assert_eq!(modules_of_terminal(&qr::terminal(URI).unwrap()), expected);
}

#[test]
fn the_longest_names_and_the_longest_secret_fit() {
    let name = "é".repeat(otp_core::uri::MAX_NAME_BYTES / 2);
    let secret = Secret::from_bytes(&[0xff; Secret::MAX_BYTES]).unwrap();
    let hotp = Hotp::new(Algorithm::Sha512, Digits::default());
    let uri = OtpauthUri::hotp(Some(&name), &name, secret, hotp, u64::MAX).unwrap().to_uri();
    assert!(qr::svg(&uri).is_ok() && qr::png(&uri).is_ok() && qr::terminal(&uri).is_ok());
}

#[test]
fn the_quiet_zone_is_four_modules_on_each_side() {
    let modules = modules_of_png(&qr::png(URI).unwrap());
    let side = modules.len();
    let dark = |x: usize, y: usize| modules[y][x];
    for far in 0..side {
        for near in (0..4).chain(side - 4..side) {
            assert!(!dark(far, near) && !dark(near, far));
        }
    }
    // Three corners have a finder pattern, right at the quiet zone.
    assert!(dark(4, 4) && dark(side - 5, 4) && dark(4, side - 5));
}

#[test]
fn the_svg_says_its_colours_and_has_no_script_or_link() {
    let svg = qr::svg(URI).unwrap();
    assert!(svg.starts_with("<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 "));
    assert!(svg.ends_with("\"/></svg>"));
    assert!(svg.contains("fill=\"#fff\"") && svg.contains("fill=\"#000\""));
    assert!(!svg.contains("otpauth") && !svg.contains("href") && !svg.contains("script"));
}

/// Without a size an SVG has no width in a flex box, and any width in an `<img>`.
#[test]
fn the_svg_has_a_size_of_its_own() {
    let svg = qr::svg(URI).unwrap();
    let side: usize = between(&svg, "viewBox=\"0 0 ", " ").parse().unwrap();
    for length in [between(&svg, " width=\"", "\""), between(&svg, " height=\"", "\"")] {
        assert_eq!(length.parse::<usize>().unwrap(), 4 * side);
    }
}

#[test]
fn every_terminal_line_sets_and_resets_its_colours() {
    let page = qr::terminal(URI).unwrap();
    for line in page.lines() {
        assert!(line.starts_with("\x1b[38;5;16;48;5;231m"));
        assert!(line.ends_with("\x1b[0m"));
    }
}

#[test]
fn what_does_not_fit_is_an_error() {
    let fits = "a".repeat(2953);
    assert!(qr::svg(&fits).is_ok());
    let too_long = "a".repeat(2954);
    assert_eq!(qr::svg(&too_long).map(drop), Err(QrError::TooLong));
    assert_eq!(qr::png(&too_long).map(drop), Err(QrError::TooLong));
    assert_eq!(qr::terminal(&too_long).map(drop), Err(QrError::TooLong));
}

fn modules_of_png(image: &[u8]) -> Modules {
    let mut reader = png::Decoder::new(std::io::Cursor::new(image)).read_info().unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut pixels).unwrap();
    assert_eq!(info.bit_depth, png::BitDepth::One);
    assert_eq!(info.width, info.height);
    // Eight pixels of one bit: a module is one byte wide and eight rows high.
    pixels.chunks(info.line_size).step_by(8).map(|row| row.iter().map(|&byte| byte == 0).collect()).collect()
}

fn modules_of_svg(svg: &str) -> Modules {
    let side: usize = between(svg, "viewBox=\"0 0 ", " ").parse().unwrap();
    let mut modules = vec![vec![false; side]; side];
    for run in between(svg, "#000\" d=\"M", "\"").split('M') {
        let (x, rest) = run.split_once(' ').unwrap();
        let (y, rest) = rest.split_once('h').unwrap();
        let (length, back) = rest.split_once("v1h-").unwrap();
        assert_eq!(format!("{length}z"), back);
        let x: usize = x.parse().unwrap();
        let length: usize = length.parse().unwrap();
        modules[y.parse::<usize>().unwrap()][x..x + length].fill(true);
    }
    modules
}

fn modules_of_terminal(page: &str) -> Modules {
    let mut modules = Modules::new();
    for line in page.lines() {
        let blocks = between(line, "231m", "\x1b");
        modules.push(blocks.chars().map(|block| "▀█".contains(block)).collect());
        modules.push(blocks.chars().map(|block| "▄█".contains(block)).collect());
    }
    // The side of a code is odd, so that its last line has half a row too many, and light.
    assert!(!modules.pop().unwrap().contains(&true));
    modules
}

fn between<'a>(text: &'a str, before: &str, after: &str) -> &'a str {
    let (_, rest) = text.split_once(before).unwrap();
    rest.split_once(after).unwrap().0
}
