//! QR codes (ISO/IEC 18004) of `otpauth` URIs, as SVG, PNG and terminal text.
//!
//! All three use error correction M, or L if the text does not fit with M, and the quiet zone of four modules
//! that the standard requires. They set dark and light colours explicitly, so that a dark page or terminal
//! does not invert them. The results contain the secret, hence [`Zeroizing`]; temporary buffers of the
//! encoder are not wiped.
//!
//! ```
//! let svg = otp_core::qr::svg("otpauth://totp/alice?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ")?;
//! assert!(svg.starts_with("<svg "));
//! # Ok::<(), otp_core::qr::QrError>(())
//! ```

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write;

use qrcode::{Color, EcLevel, QrCode};
use zeroize::Zeroizing;

/// The quiet zone on each side, in modules, as ISO/IEC 18004 requires.
const QUIET_ZONE: usize = 4;

/// The side of a module in the PNG, in pixels.
const PNG_SCALE: usize = 8;

/// The side of a module in the SVG, in CSS pixels. On a screen with two pixels per CSS pixel it equals that
/// of the PNG.
const SVG_SCALE: usize = 4;

/// Renders as a standalone SVG element, with one unit per module.
///
/// Its default size is four CSS pixels per module, which also works in a flex box; a style sheet can override
/// it (`width: 100%; height: auto`).
///
/// # Errors
///
/// [`QrError::TooLong`] if the text does not fit into the largest code, about 2,900 bytes.
pub fn svg(text: &str) -> Result<Zeroizing<String>, QrError> {
    let grid = Grid::encode(text)?;
    let side = grid.side;
    let pixels = side * SVG_SCALE;
    // A dark run takes at most 20 bytes and a light module follows it.
    let mut image = Zeroizing::new(String::with_capacity(512 + side * side * 10));
    append(
        &mut image,
        format_args!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {side} {side}\" width=\"{pixels}\" \
             height=\"{pixels}\" role=\"img\" aria-label=\"QR code\" shape-rendering=\"crispEdges\">\
             <path fill=\"#fff\" d=\"M0 0h{side}v{side}H0z\"/><path fill=\"#000\" d=\""
        ),
    );
    for y in 0..side {
        let mut x = 0;
        while x < side {
            let run = (x..side).take_while(|&x| grid.is_dark(x, y)).count();
            if run > 0 {
                append(&mut image, format_args!("M{x} {y}h{run}v1h-{run}z"));
            }
            x += run + 1;
        }
    }
    image.push_str("\"/></svg>");
    Ok(image)
}

/// Renders as a black and white PNG, eight pixels per module.
///
/// # Errors
///
/// [`QrError::TooLong`] as [`svg`]; [`QrError::Png`] if the encoder fails.
pub fn png(text: &str) -> Result<Zeroizing<Vec<u8>>, QrError> {
    let grid = Grid::encode(text)?;
    let pixels = grid.side * PNG_SCALE;
    // One bit per pixel; a module is exactly one byte wide.
    let mut rows = Zeroizing::new(Vec::with_capacity(pixels * grid.side));
    for y in 0..pixels {
        rows.extend((0..grid.side).map(|x| if grid.is_dark(x, y / PNG_SCALE) { 0x00 } else { 0xff }));
    }

    let side = u32::try_from(pixels).map_err(|_| QrError::TooLong)?;
    let mut image = Zeroizing::new(Vec::with_capacity(rows.len() + 1024));
    let mut encoder = ::png::Encoder::new(&mut *image, side, side);
    encoder.set_color(::png::ColorType::Grayscale);
    encoder.set_depth(::png::BitDepth::One);
    let mut writer = encoder.write_header().map_err(|_| QrError::Png)?;
    writer.write_image_data(&rows).map_err(|_| QrError::Png)?;
    writer.finish().map_err(|_| QrError::Png)?;
    Ok(image)
}

/// Renders for a terminal: two modules per character as half blocks, black on white through ANSI escapes.
///
/// The colours are fixed ones of the 256-colour cube (16 and 231), which themes do not change, so the code
/// looks the same on dark and light terminals. The terminal needs UTF-8, 256 colours, and as many columns as
/// the code has modules.
///
/// # Errors
///
/// [`QrError::TooLong`] as [`svg`].
pub fn terminal(text: &str) -> Result<Zeroizing<String>, QrError> {
    const BLACK_ON_WHITE: &str = "\x1b[38;5;16;48;5;231m";
    const RESET: &str = "\x1b[0m\n";

    let grid = Grid::encode(text)?;
    let lines = grid.side.div_ceil(2);
    let bytes_in_line = BLACK_ON_WHITE.len() + RESET.len() + grid.side * '█'.len_utf8();
    let mut page = Zeroizing::new(String::with_capacity(lines * bytes_in_line));
    for y in (0..grid.side).step_by(2) {
        page.push_str(BLACK_ON_WHITE);
        page.extend((0..grid.side).map(|x| match (grid.is_dark(x, y), grid.is_dark(x, y + 1)) {
            (false, false) => ' ',
            (true, false) => '▀',
            (false, true) => '▄',
            (true, true) => '█',
        }));
        page.push_str(RESET);
    }
    Ok(page)
}

/// The modules with their quiet zone.
struct Grid {
    /// Modules per side, including the quiet zone.
    side: usize,
    /// Modules per side, without the quiet zone.
    width: usize,
    dark: Zeroizing<Vec<bool>>,
}

impl Grid {
    fn encode(text: &str) -> Result<Self, QrError> {
        // The longest names together with the longest secret only fit with L.
        let encode = |level| QrCode::with_error_correction_level(text, level);
        let code = encode(EcLevel::M).or_else(|_| encode(EcLevel::L)).map_err(|_| QrError::TooLong)?;
        let width = code.width();
        let dark = code.into_colors().into_iter().map(|module| module == Color::Dark).collect();
        Ok(Self { side: width + 2 * QUIET_ZONE, width, dark: Zeroizing::new(dark) })
    }

    /// Whether a module is dark. Every module outside of the code is light.
    fn is_dark(&self, x: usize, y: usize) -> bool {
        let inside = |at: usize| at.checked_sub(QUIET_ZONE).filter(|&at| at < self.width);
        match (inside(x), inside(y)) {
            (Some(x), Some(y)) => self.dark[y * self.width + x],
            _ => false,
        }
    }
}

#[expect(clippy::expect_used, reason = "writing to a string cannot fail")]
fn append(image: &mut String, text: core::fmt::Arguments<'_>) {
    image.write_fmt(text).expect("a string takes everything");
}

/// The text cannot be rendered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum QrError {
    /// The text does not fit into the largest QR code.
    #[error("the text is too long for a QR code")]
    TooLong,
    /// The PNG encoder failed.
    #[error("the PNG could not be encoded")]
    Png,
}
