#![doc = include_str!("../README.md")]

mod batch;
mod endpoint;
mod http;
mod message;
mod secret;
mod sender;
mod url;

pub use batch::Filter;
pub use endpoint::{Endpoint, Secrets};
pub use http::{Answer, Http, NoRoots};
pub use message::Message;
pub use secret::{InvalidSecrets, SigningSecrets};
pub use sender::{Sender, Step};
pub use url::{InvalidUrl, WebhookUrl};
