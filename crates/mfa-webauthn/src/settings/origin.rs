//! Origins: exact texts, which are compared with what browsers and apps state.

use data_encoding::BASE64URL_NOPAD;
use url::{Host, Url};

/// The facets of apps. Android states the hash of the certificate that signed the app.
const ANDROID: &str = "android:apk-key-hash:";
const IOS: &str = "ios:bundle-id:";

/// Checks an origin of this relying party. Returns the URL of a web origin.
pub(super) fn check(text: &str, rp_id: &str) -> Result<Option<Url>, String> {
    if let Some(hash) = text.strip_prefix(ANDROID) {
        let is_hash = BASE64URL_NOPAD.decode(hash.as_bytes()).is_ok_and(|bytes| bytes.len() == 32);
        return app(text, is_hash, "the SHA-256 hash of the certificate in base64url without padding");
    }
    if let Some(id) = text.strip_prefix(IOS) {
        let bundle = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.';
        return app(text, !id.is_empty() && id.bytes().all(bundle), "a bundle id");
    }
    let url = web(text)?;
    // Browsers accept other hosts as related origins, over https alone.
    if is_own(&url, rp_id) || url.scheme() == "https" {
        Ok(Some(url))
    } else {
        Err(format!("{text:?} is not a page of {rp_id:?} or of a subdomain of it"))
    }
}

/// Whether it is a web origin outside the relying party.
pub(super) fn is_related(text: &str, rp_id: &str) -> bool {
    Url::parse(text).is_ok_and(|url| url.scheme() == "https" && !is_own(&url, rp_id))
}

/// Whether it is a page of the relying party or of a subdomain of it.
fn is_own(url: &Url, rp_id: &str) -> bool {
    let host = url.domain().unwrap_or_default();
    host.strip_suffix(rp_id).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

fn app(text: &str, right: bool, wanted: &str) -> Result<Option<Url>, String> {
    if right { Ok(None) } else { Err(format!("{text:?} must end with {wanted}")) }
}

/// Checks that it is the origin of a web page, in the form in which browsers state it, and safe.
pub(super) fn web(text: &str) -> Result<Url, String> {
    let problem = |what: &str| Err(format!("{text:?} {what}"));
    if text.contains('*') {
        return problem("must be one exact origin, without a wildcard");
    }
    let Ok(url) = Url::parse(text) else {
        return problem("must be an origin, such as https://login.example.com");
    };
    let domain = match url.host() {
        Some(Host::Domain(domain)) if matches!(url.scheme(), "https" | "http") => domain,
        Some(Host::Ipv4(_) | Host::Ipv6(_)) => {
            return problem(
                "has an IP address, which browsers refuse; on this machine use http://localhost:PORT",
            );
        }
        _ => return problem("must be an https origin, such as https://login.example.com"),
    };
    if url.scheme() == "http" && domain != "localhost" && !domain.ends_with(".localhost") {
        return problem("must begin with https: browsers have no passkeys on http, but for localhost");
    }
    let exact = url.origin().ascii_serialization();
    if exact == text {
        Ok(url)
    } else {
        problem(&format!("must be written {exact:?}, exactly as browsers state it"))
    }
}
