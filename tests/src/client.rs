//! A client of the HTTP API.

use std::time::Duration;

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::{Authenticator, Confidential, now};

/// A client that calls the API with one key.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    url: String,
    key: Option<String>,
    /// The assertion that authorises changes.
    proof: Option<String>,
    confidential: Confidential,
    headers: HeaderMap,
}

/// An answer of the API.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The raw body.
    pub text: String,
    /// The body as JSON; null if it is not JSON.
    pub json: Value,
}

/// The server closes connections that are idle for five seconds. A request sent at that moment gets no
/// answer, so connections are dropped before they are idle for that long.
fn http() -> reqwest::Client {
    reqwest::Client::builder().pool_idle_timeout(Duration::from_secs(2)).build().expect("a client")
}

/// Whether the call changes factors or backup codes.
fn needs_proof(method: &str, path: &str) -> bool {
    match method {
        "POST" => path.ends_with("/factors") || path.ends_with("/backup-codes"),
        "DELETE" => path.contains("/factors/"),
        _ => false,
    }
}

/// The body with a proof. A body that is not an object stays as it is.
fn proved(body: Option<&str>, proof: &str) -> String {
    let body = body.unwrap_or("{}");
    match serde_json::from_str(body) {
        Ok(Value::Object(mut members)) => {
            members.insert("proof".to_owned(), json!(proof));
            Value::Object(members).to_string()
        }
        _ => body.to_owned(),
    }
}

impl Client {
    /// Creates a client that calls `url` with `key`.
    #[must_use]
    pub fn new(url: &str, key: &str) -> Self {
        let confidential = Confidential::default();
        confidential.add(key);
        let (url, key) = (url.to_owned(), Some(key.to_owned()));
        Self { http: http(), url, key, proof: None, headers: HeaderMap::new(), confidential }
    }

    /// The same client with another key, or none.
    #[must_use]
    pub fn with_key(&self, key: Option<&str>) -> Self {
        Self { key: key.map(str::to_owned), ..self.clone() }
    }

    /// The same client in the session of this verification: calls that change factors or backup codes bring its
    /// assertion as proof.
    #[must_use]
    pub fn in_session(&self, verified: &Answer) -> Self {
        Self { proof: Some(verified.assertion().to_owned()), ..self.clone() }
    }

    /// The same client for a server at another URL.
    #[must_use]
    pub fn at(&self, url: &str) -> Self {
        Self { http: http(), url: url.to_owned(), ..self.clone() }
    }

    /// The same client with one more header in each call.
    #[must_use]
    pub fn with_header(&self, name: &'static str, value: &str) -> Self {
        let mut headers = self.headers.clone();
        headers.append(name, HeaderValue::from_str(value).expect("a header"));
        Self { headers, ..self.clone() }
    }

    /// The key of the client.
    #[must_use]
    pub fn key(&self) -> &str {
        self.key.as_deref().unwrap_or_default()
    }

    /// Secrets in its calls and their answers, which no log may contain.
    #[must_use]
    pub const fn confidential(&self) -> &Confidential {
        &self.confidential
    }

    /// Makes a call; `None` if the server cannot be reached or closed the connection.
    pub async fn try_send(&self, method: &str, path: &str, body: Option<String>) -> Option<Answer> {
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        let url = format!("{}{path}", self.url);
        let mut request = self.http.request(method.clone(), url).headers(self.headers.clone());
        if let Some(key) = &self.key {
            let value = HeaderValue::from_str(&format!("Bearer {key}")).expect("a header");
            request = request.header(AUTHORIZATION, value);
        }
        let body = match &self.proof {
            Some(proof) if needs_proof(method.as_str(), path) => Some(proved(body.as_deref(), proof)),
            _ => body,
        };
        if let Some(body) = body {
            self.confidential.take_note(&serde_json::from_str(&body).unwrap_or_default());
            request = request.header(CONTENT_TYPE, "application/json").body(body);
        }
        let response = request.send().await.ok()?;
        let (status, headers) = (response.status(), response.headers().clone());
        let text = response.text().await.ok()?;
        let json = serde_json::from_str(&text).unwrap_or_default();
        self.confidential.take_note(&json);
        Some(Answer { status, headers, text, json })
    }

    /// Makes a call. Panics without an answer.
    pub async fn send(&self, method: &str, path: &str, body: Option<String>) -> Answer {
        self.try_send(method, path, body).await.unwrap_or_else(|| panic!("{method} {path}: no answer"))
    }

    /// `GET`
    pub async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, None).await
    }

    /// `POST` with a JSON body.
    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.send("POST", path, Some(body.to_string())).await
    }

    /// `DELETE`
    pub async fn delete(&self, path: &str) -> Answer {
        self.send("DELETE", path, None).await
    }

    /// Posts a code to `/verify`.
    pub async fn verify(&self, user: &str, code: &str) -> Answer {
        self.post(&format!("/v1/users/{user}/verify"), json!({ "code": code })).await
    }

    /// Posts a code to `/verify` for this session of the host.
    pub async fn verify_in(&self, user: &str, code: &str, nonce: &str) -> Answer {
        self.post(&format!("/v1/users/{user}/verify"), json!({ "code": code, "nonce": nonce })).await
    }

    /// Offers a factor of this kind and confirms it; returns the authenticator and the backup codes.
    ///
    /// A TOTP factor is confirmed with the code of the previous step, so that the current one stays valid.
    pub async fn enrol(&self, user: &str, kind: &str) -> (Authenticator, Vec<String>) {
        // Drawing QR codes takes a third of the server's time for an enrolment.
        let offer = json!({ "kind": kind, "label": "Test phone", "qr": "none" });
        let enrolment = self.post(&format!("/v1/users/{user}/factors"), offer).await.expect(201);
        let phone = Authenticator::scan(&enrolment.json);
        if now() % 30 == 29 {
            // Near its end, such a code would be two steps old when the server reads it.
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        let code = if kind == "hotp" { phone.hotp(0) } else { phone.totp(-30) };
        let path = format!("/v1/users/{user}/factors/{}/confirm", phone.factor);
        let confirmed = self.post(&path, json!({ "code": code })).await.expect(200);
        let codes = confirmed.json["backup_codes"].as_array().cloned().unwrap_or_default();
        (phone, codes.iter().filter_map(|code| code.as_str().map(str::to_owned)).collect())
    }

    /// All events of a user, oldest first.
    pub async fn events(&self, user: &str) -> Vec<Value> {
        let mut events: Vec<Value> = Vec::new();
        let mut after = String::new();
        loop {
            let path = format!("/v1/users/{user}/events?limit=1000&after={after}");
            let page = self.get(&path).await.expect(200);
            events.extend(page.json["events"].as_array().expect("events").iter().cloned());
            match page.json["next"].as_str() {
                Some(next) => next.clone_into(&mut after),
                None => return events,
            }
        }
    }

    /// The number of events of this kind that a user has.
    pub async fn count_events(&self, user: &str, kind: &str) -> usize {
        self.events(user).await.iter().filter(|event| event["kind"] == kind).count()
    }
}

impl Answer {
    /// The problem's code; empty if the answer is not a problem.
    #[must_use]
    pub fn problem(&self) -> &str {
        self.json["type"].as_str().and_then(|text| text.rsplit('/').next()).unwrap_or_default()
    }

    /// The assertion about a verification. Panics without one.
    #[must_use]
    pub fn assertion(&self) -> &str {
        self.json["assertion"].as_str().unwrap_or_else(|| panic!("without an assertion: {}", self.text))
    }

    /// Returns the answer. Panics if it has another status.
    #[allow(clippy::must_use_candidate, reason = "called for its check")]
    #[allow(clippy::return_self_not_must_use, reason = "called for its check")]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status.as_u16(), status, "{}", self.text);
        self
    }

    /// Returns the answer. Panics if it is not this problem.
    #[allow(clippy::must_use_candidate, reason = "called for its check")]
    #[allow(clippy::return_self_not_must_use, reason = "called for its check")]
    pub fn expect_problem(self, status: u16, code: &str) -> Self {
        assert_eq!((self.status.as_u16(), self.problem()), (status, code), "{}", self.text);
        assert_eq!(self.headers[CONTENT_TYPE], "application/problem+json");
        assert_eq!(self.json["status"], status);
        assert_eq!(self.headers["x-request-id"], self.json["request_id"].as_str().unwrap_or_default());
        self
    }
}
