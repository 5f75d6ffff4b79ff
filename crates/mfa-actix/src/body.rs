//! Strict request bodies: JSON objects of at most 16 KiB, without unknown or repeated fields.

use actix_web::dev::Payload;
use actix_web::error::PayloadError;
use actix_web::http::header::CONTENT_TYPE;
use actix_web::web::Bytes;
use actix_web::{Error, FromRequest, HttpRequest};
use serde::de::DeserializeOwned;
use std::pin::Pin;
use zeroize::Zeroizing;

use crate::caller::the_only;
use crate::problem::{Problem, ProblemCode};
use crate::repeat::refuse_key;

/// The largest body, in bytes.
pub const MAX_BODY: usize = 16 * 1024;

/// A JSON body. Calls that answer a verdict extract it directly; calls that change something extract it as
/// [`Repeatable`](crate::repeat::Repeatable).
pub(crate) struct Body<T>(pub(crate) T);

/// A JSON body that may be left out: no body means the same as an empty object.
pub(crate) struct OptionalBody<T>(pub(crate) T);

/// No body, or an empty object.
pub(crate) struct NoBody;

/// A type that a body can be read as.
pub(crate) trait Read: Sized {
    /// Checks the headers, before the body is read.
    fn admit(_: &HttpRequest) -> Result<(), Problem> {
        Ok(())
    }

    /// Reads the whole body. `is_json` tells what the headers say about it.
    fn read(bytes: &[u8], is_json: bool) -> Result<Self, Problem>;
}

/// Reads a body. Returns its value and its bytes.
pub(crate) fn body<B: Read>(
    request: &HttpRequest,
    payload: &mut Payload,
) -> impl Future<Output = Result<(B, Bytes), Problem>> + use<B> {
    let (admitted, is_json) = (B::admit(request), is_json(request));
    let bytes = Bytes::from_request(request, payload);
    async move {
        admitted?;
        let bytes = bytes.await.map_err(|error| unreadable(&error))?;
        Ok((B::read(&bytes, is_json)?, bytes))
    }
}

impl<T: DeserializeOwned + 'static> FromRequest for Body<T> {
    type Error = Problem;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Problem>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let refused = refuse_key(request);
        let body = body(request, payload);
        Box::pin(async move {
            refused?;
            Ok(body.await?.0)
        })
    }
}

impl<T: DeserializeOwned> Read for Body<T> {
    fn admit(request: &HttpRequest) -> Result<(), Problem> {
        if is_json(request) { Ok(()) } else { Err(ProblemCode::UnsupportedMediaType.into()) }
    }

    fn read(bytes: &[u8], _: bool) -> Result<Self, Problem> {
        parse(bytes).map(Self)
    }
}

impl<T: DeserializeOwned + Default> Read for OptionalBody<T> {
    /// Clients without a body send any content type, or none.
    fn read(bytes: &[u8], is_json: bool) -> Result<Self, Problem> {
        if is_empty(bytes) {
            Ok(Self(T::default()))
        } else if is_json {
            parse(bytes).map(Self)
        } else {
            Err(ProblemCode::UnsupportedMediaType.into())
        }
    }
}

impl Read for NoBody {
    fn read(bytes: &[u8], _: bool) -> Result<Self, Problem> {
        if is_empty(bytes) { Ok(Self) } else { Err(Problem::invalid("", "must be empty or {}")) }
    }
}

/// Whether there is no body, or an empty object.
fn is_empty(bytes: &[u8]) -> bool {
    bytes.iter().filter(|byte| !byte.is_ascii_whitespace()).eq(b"{}") || bytes.trim_ascii().is_empty()
}

/// Whether the content type is `application/json`, with any parameters and optional white space (RFC 9110, 8.3.1).
fn is_json(request: &HttpRequest) -> bool {
    let kind =
        the_only(request.headers(), &CONTENT_TYPE).and_then(|value| value.to_str().ok()?.split(';').next());
    kind.is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
}

/// Parses JSON. No error message repeats what was sent, since that may be a code.
fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    // Serde also accepts the fields as an array, in their order.
    if bytes.trim_ascii_start().first() == Some(&b'[') {
        return Err(Problem::invalid("", "must be a JSON object"));
    }
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let path = error.path().to_string();
        let field = if path == "." { "" } else { path.as_str() };
        invalid(field, error.inner())
    })?;
    json.end().map_err(|error| invalid("", &error))?;
    Ok(value)
}

fn invalid(field: &str, error: &serde_json::Error) -> Problem {
    let text = Zeroizing::new(error.to_string());
    // Serde's message has the found value, then the expected one, then the position.
    let text = text.rsplit_once(" at line ").map_or(text.as_str(), |(text, _)| text);
    let named = |prefix: &str| text.strip_prefix(prefix).map(|rest| rest.trim_matches('`').to_owned());
    if !error.is_data() {
        return Problem::invalid("", "is not valid JSON");
    }
    if let Some(name) = named("missing field ") {
        return Problem::invalid(&name, "is missing");
    }
    if let Some(name) = named("duplicate field ") {
        return Problem::invalid(&name, "appears more than once");
    }
    let expected = text.rsplit_once(", expected ").map(|(_, expected)| match expected {
        "u8" | "u32" | "u64" => "a whole number, not negative and not too large",
        // Serde names the type.
        name if name.starts_with("struct ") => "a JSON object",
        other => other,
    });
    match (text.starts_with("unknown field "), expected) {
        (true, Some(expected)) => Problem::invalid(field, format!("unknown field; expected {expected}")),
        (false, Some(expected)) => Problem::invalid(field, format!("must be {expected}")),
        _ => Problem::invalid(field, "is not valid"),
    }
}

fn unreadable(error: &Error) -> Problem {
    match error.as_error::<PayloadError>() {
        Some(PayloadError::Overflow) => ProblemCode::PayloadTooLarge.into(),
        _ if error.as_response_error().status_code() == ProblemCode::PayloadTooLarge.status() => {
            ProblemCode::PayloadTooLarge.into()
        }
        _ => Problem::invalid("", "the body could not be read"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, Default, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Request {
        code: String,
        #[expect(dead_code, reason = "only its parsing matters")]
        factor: Option<u8>,
    }

    #[test]
    fn an_error_says_where_and_what_and_never_repeats_what_was_sent() {
        for (body, field, message) in [
            (r#"{"code": 915304}"#, "code", "must be a string"),
            (r#"{"code": "915304", "code": "915304"}"#, "code", "appears more than once"),
            (r#"{"code": "915304", "915304": 1}"#, "915304", "unknown field; expected `code` or `factor`"),
            (
                r#"{"code": "915304", "factor": "915304"}"#,
                "factor",
                "must be a whole number, not negative and not too large",
            ),
            (
                r#"{"code": "915304", "factor": 915304}"#,
                "factor",
                "must be a whole number, not negative and not too large",
            ),
            (r#"{"factor": 1}"#, "code", "is missing"),
            (r#"{"code": "915304""#, "", "is not valid JSON"),
            (r#"{"code": "915304"} {}"#, "", "is not valid JSON"),
            (r#"["915304", null]"#, "", "must be a JSON object"),
            ("\"915304\"", "", "must be a JSON object"),
            ("", "", "is not valid JSON"),
        ] {
            let problem = parse::<Request>(body.as_bytes()).unwrap_err();
            let shown = serde_json::to_value(problem.body("id")).unwrap();
            let error = &shown["errors"][0];
            if !message.is_empty() {
                assert_eq!(error["message"], message, "{body}");
            }
            assert!(!error["message"].to_string().contains("915304"), "{body}");
            if field != "915304" {
                assert_eq!(error["field"], field, "{body}");
            }
        }
    }

    #[test]
    fn a_body_may_be_left_out_with_any_content_type_and_is_json_otherwise() {
        let read = |body: &str, is_json| {
            let read = OptionalBody::<Request>::read(body.as_bytes(), is_json);
            read.map(|OptionalBody(Request { code, .. })| code).map_err(|problem| problem.code().as_str())
        };
        for body in ["", " \r\n", "{}", " { } "] {
            for is_json in [true, false] {
                assert_eq!(read(body, is_json), Ok(String::new()), "{body:?}");
            }
        }
        let given = r#"{"code": "915304"}"#;
        assert_eq!(read(given, true), Ok("915304".to_owned()));
        assert_eq!(read(given, false), Err("unsupported-media-type"));
        for body in ["null", "[]", "{", "{{}}", r#"{"code": 1}"#, r#"{"other": ""}"#] {
            assert_eq!(read(body, true), Err("invalid-request"), "{body}");
        }
    }
}
