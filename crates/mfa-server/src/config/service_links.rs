//! The variables that Kubernetes sets in each container for each Service of the namespace.
//!
//! For a Service named `mfa`, or `mfa-…`, they begin with `MFA_` and configure nothing.

/// Whether a variable is one of them: `…_SERVICE_HOST`, `…_SERVICE_PORT` (with or without the name of a port),
/// `…_PORT_8080_TCP` (with or without `_PROTO`, `_PORT` or `_ADDR`), and `…_PORT`.
///
/// `…_PORT` counts only with a value such as `tcp://10.0.0.1:8080`, since a user may try to set a port with it.
pub(super) fn is_one(name: &str, value: &str) -> bool {
    if name.ends_with("_SERVICE_HOST") || name.ends_with("_SERVICE_PORT") || name.contains("_SERVICE_PORT_") {
        return true;
    }
    if name.match_indices("_PORT_").any(|(at, part)| is_port(&name[at + part.len()..])) {
        return true;
    }
    let scheme = value.split_once("://").map(|(scheme, _)| scheme);
    name.ends_with("_PORT") && matches!(scheme, Some("tcp" | "udp" | "sctp"))
}

/// Whether a text is like `8080_TCP` or `8080_TCP_ADDR`.
fn is_port(text: &str) -> bool {
    let mut parts = text.split('_');
    parts.next().is_some_and(|number| number.parse::<u16>().is_ok())
        && matches!(parts.next(), Some("TCP" | "UDP" | "SCTP"))
        && matches!(parts.next(), None | Some("PROTO" | "PORT" | "ADDR"))
        && parts.next().is_none()
}

/// The warning about these variables.
pub(super) fn warning(names: &[String]) -> Option<String> {
    let all = names.join(", ");
    (!names.is_empty()).then(|| {
        format!(
            "{all} (environment): ignored, since Kubernetes sets them for a Service; \
             `enableServiceLinks: false` in the pod's specification removes them"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_forms_of_kubernetes_are_told_from_misspelt_options() {
        for (name, value) in [
            ("MFA_PORT", "tcp://10.96.0.7:8080"),
            ("MFA_PORT", "udp://10.96.0.7:53"),
            ("MFA_SERVICE_HOST", "10.96.0.7"),
            ("MFA_SERVICE_PORT", "8080"),
            ("MFA_SERVICE_PORT_HTTP", "8080"),
            ("MFA_PORT_8080_TCP", "tcp://10.96.0.7:8080"),
            ("MFA_PORT_8080_TCP_PROTO", "tcp"),
            ("MFA_PORT_8080_TCP_PORT", "8080"),
            ("MFA_PORT_8080_TCP_ADDR", "10.96.0.7"),
            ("MFA_PORT_132_SCTP_ADDR", "10.96.0.7"),
            ("MFA_SERVER_PORT", "tcp://10.96.0.7:8080"),
            ("MFA_SERVER_SERVICE_HOST", "10.96.0.7"),
            ("MFA_STORE_PORT_5432_TCP_ADDR", "10.96.0.8"),
        ] {
            assert!(is_one(name, value), "{name}={value}");
        }
        for (name, value) in [
            ("MFA_PORT", "8080"),
            ("MFA_PORT", "http://10.96.0.7"),
            ("MFA_HOST", "10.96.0.7"),
            ("MFA_PORT_NUMBER", "8080"),
            ("MFA_PORT_8080", "8080"),
            ("MFA_PORT_8080_TCP_HOST", "x"),
            ("MFA_LOCKOUT_FAILURE", "7"),
        ] {
            assert!(!is_one(name, value), "{name}={value}");
        }
    }
}
