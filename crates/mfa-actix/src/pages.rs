//! Pages for browsers: an overview and the API reference. They run no script and load nothing.

use std::error::Error;
use std::sync::{Arc, LazyLock, OnceLock};

use actix_web::http::header::EntityTag;
use actix_web::web::Bytes;
use data_encoding::BASE64;
use minijinja::{Environment, HtmlEscape, UndefinedBehavior, Value, context};
use sha2::{Digest, Sha256};

use self::reference::Contents;
use crate::chain::Chain;
use crate::conditional::tag_of;
use crate::problem::ProblemCode;

pub(crate) mod address;
mod fields;
mod reference;

/// The style, which is part of every page, so that a page loads nothing.
const STYLE: &str = include_str!("pages/page.css");

const WELCOME: (&str, &str) = ("welcome.html", include_str!("pages/welcome.html"));
const REFERENCE: (&str, &str) = ("reference.html", include_str!("pages/reference.html"));
const FIELDS: (&str, &str) = ("fields.html", include_str!("pages/fields.html"));

/// The content security policy of every page: allows its own style and nothing else.
pub(crate) fn policy() -> &'static str {
    static POLICY: LazyLock<String> = LazyLock::new(|| {
        let style = BASE64.encode(&Sha256::digest(STYLE));
        format!(
            "default-src 'none'; style-src 'sha256-{style}'; \
             base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )
    });
    &POLICY
}

/// The page at `/`: version, readiness, and the first calls to the API at `address`.
pub(crate) fn welcome(address: &str, ready: bool) -> Result<String, ProblemCode> {
    let version = env!("CARGO_PKG_VERSION");
    let style = Value::from_safe_string(STYLE.to_owned());
    render(WELCOME, context! { style, version, address, ready }).map_err(|error| failed(&error))
}

/// The API reference, rendered at the first request for it and shared by all answers.
#[derive(Clone, Default)]
pub(crate) struct ReferencePage(Arc<OnceLock<Option<Page>>>);

/// A page that never changes.
pub(crate) struct Page {
    pub(crate) html: Bytes,
    pub(crate) tag: EntityTag,
}

impl ReferencePage {
    /// The page of this OpenAPI document. Pass the same document at every call.
    pub(crate) fn of(&self, document: &[u8]) -> Result<&Page, ProblemCode> {
        let page = || {
            let html = reference(document).map_err(|error| failed(error.as_ref())).ok()?;
            let tag = tag_of(&html);
            Some(Page { html: html.into(), tag })
        };
        self.0.get_or_init(page).as_ref().ok_or(ProblemCode::Internal)
    }
}

fn reference(document: &[u8]) -> Result<String, Box<dyn Error>> {
    let document: serde_json::Value = serde_json::from_slice(document)?;
    let api = Contents::of(&document);
    let style = Value::from_safe_string(STYLE.to_owned());
    Ok(render(REFERENCE, context! { style, api })?)
}

fn failed(error: &(dyn Error + 'static)) -> ProblemCode {
    tracing::error!(error = %Chain(error), "could not render a page");
    ProblemCode::Internal
}

/// Renders a template. All values are escaped unless they are marked as safe.
fn render((name, source): (&str, &str), values: Value) -> Result<String, minijinja::Error> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_trim_blocks(true);
    environment.set_lstrip_blocks(true);
    environment.add_filter("prose", prose);
    environment.add_filter("table", table);
    environment.render_named_str(name, source, values)
}

/// Renders a description as HTML. Text between backticks becomes code.
fn prose(text: &str) -> Value {
    let parts = text.split('`').enumerate().map(|(index, part)| match index % 2 {
        0 => HtmlEscape(part).to_string(),
        _ => format!("<code>{}</code>", HtmlEscape(part)),
    });
    Value::from_safe_string(parts.collect())
}

/// Renders a table of fields.
fn table(fields: &Value) -> Result<Value, minijinja::Error> {
    let fields = fields.clone();
    render(FIELDS, context! { fields }).map(Value::from_safe_string)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::openapi;

    #[test]
    fn the_policy_allows_the_style_that_the_pages_have() {
        let reference = reference(openapi::openapi_json().as_bytes()).unwrap();
        for page in [welcome("http://localhost", true).unwrap(), reference] {
            let (_, rest) = page.split_once("<style>").unwrap();
            let (style, _) = rest.split_once("</style>").unwrap();
            let hash = BASE64.encode(&Sha256::digest(style));
            assert!(policy().contains(&format!("'sha256-{hash}'")), "{hash}");
        }
    }

    #[test]
    fn markup_in_a_title_a_description_or_an_address_is_text() {
        let hostile = "<script>alert('`<b>`')</script>";
        let document = openapi::document(hostile);
        let page = reference(document.as_bytes()).unwrap();
        for page in [page, welcome(hostile, true).unwrap(), prose(hostile).to_string()] {
            assert!(page.contains("&lt;script&gt;"));
            assert!(!page.contains("<script") && !page.contains("<b>"));
        }
    }

    #[test]
    fn code_stands_between_backticks() {
        assert_eq!(prose("`a` & `<b>`").to_string(), "<code>a</code> &amp; <code>&lt;b&gt;</code>");
    }
}
