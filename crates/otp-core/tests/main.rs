//! Published vectors, edge cases, properties, and other programs' readings.

mod cases;
mod generate;
mod oathtool;
mod properties;
mod qr;
mod rfc4226;
mod rfc6238;
mod secrecy;
mod warnings;
mod zbar;
