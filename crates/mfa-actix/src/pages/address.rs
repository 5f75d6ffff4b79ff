//! The address of the API, as a browser used it.

use std::net::Ipv6Addr;

use actix_web::HttpRequest;
use actix_web::http::header::HOST;

use crate::caller::the_only;

/// The default address of `mfa-server`.
const DEFAULT: &str = "http://127.0.0.1:8080";

/// The address of the API from the request for its first page, without a trailing slash. The default address of the
/// server if the request has no valid host.
///
/// A client can forge these headers, but only for its own page, which is not cached.
pub(crate) fn of(request: &HttpRequest) -> String {
    let host = the_only(request.headers(), &HOST).and_then(|host| host.to_str().ok());
    let Some(host) = host.filter(|host| is_host(host)) else { return DEFAULT.to_owned() };
    let scheme = if request.connection_info().scheme() == "https" { "https" } else { "http" };
    // The API may be mounted in a scope.
    let scope = request.path().trim_end_matches('/');
    let scope = if scope.bytes().all(|byte| is_plain(byte) || byte == b'/') { scope } else { "" };
    format!("{scheme}://{host}{scope}")
}

/// Whether it is a name, an IPv4 address, or an IPv6 address in brackets, with or without a port. Such a text has no
/// special characters for a shell.
fn is_host(text: &str) -> bool {
    let (name, port) = match text.rsplit_once(':') {
        // The last colon within brackets is part of the address.
        Some((name, port)) if !port.ends_with(']') => (name, Some(port)),
        _ => (text, None),
    };
    let is_name = match name.strip_prefix('[').and_then(|name| name.strip_suffix(']')) {
        Some(address) => address.parse::<Ipv6Addr>().is_ok(),
        None => (1..=253).contains(&name.len()) && name.bytes().all(is_plain),
    };
    let is_port = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok();
    is_name && port.is_none_or(is_port)
}

const fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_')
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn the_address_has_the_host_of_the_request() {
        for (host, expected) in [
            ("localhost:8080", "http://localhost:8080"),
            ("mfa.example.com", "http://mfa.example.com"),
            ("192.0.2.1:80", "http://192.0.2.1:80"),
            ("[2001:db8::1]", "http://[2001:db8::1]"),
            ("[::1]:8080", "http://[::1]:8080"),
            ("mfa_server:8080", "http://mfa_server:8080"),
        ] {
            let request = TestRequest::default().insert_header((HOST, host)).to_http_request();
            assert_eq!(of(&request), expected);
        }
    }

    #[test]
    fn what_is_no_host_is_not_shown() {
        for host in [
            "",
            ":80",
            "a:",
            "a:b",
            "a:+80",
            "a:65536",
            "a:80:80",
            "2001:db8::1",
            "[a]",
            "[::1",
            "[::1]x",
            "user@host",
            "a b",
            "$(id)",
            "'; id; '",
            "\"><script>alert(1)</script>",
            "evil.example/path",
        ] {
            let request = TestRequest::default().insert_header((HOST, host)).to_http_request();
            assert_eq!(of(&request), DEFAULT, "{host}");
        }
        let long = "a".repeat(254);
        let request = TestRequest::default().insert_header((HOST, long)).to_http_request();
        assert_eq!(of(&request), DEFAULT);
        let two = TestRequest::default().append_header((HOST, "a")).append_header((HOST, "b"));
        assert_eq!(of(&two.to_http_request()), DEFAULT);
    }

    #[test]
    fn it_has_the_scheme_of_the_proxy_in_front_and_the_scope() {
        let request = |proto: &'static str, path: &str| {
            let request = TestRequest::with_uri(path).insert_header((HOST, "mfa.example.com"));
            of(&request.insert_header(("x-forwarded-proto", proto)).to_http_request())
        };
        assert_eq!(request("https", "/"), "https://mfa.example.com");
        assert_eq!(request("https", "/mfa/"), "https://mfa.example.com/mfa");
        assert_eq!(request("javascript", "/'$(id)'/"), "http://mfa.example.com");
    }
}
