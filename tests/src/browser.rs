//! A headless Chromium with virtual authenticators, for a test.
//!
//! `chromedriver` is driven by plain HTTP: the tests need nine WebDriver commands, which is less code than a client
//! library adds to the build.

use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::mpsc::Receiver;
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::program;
use crate::server::lines;

/// The longest wait for an answer of the driver.
const TIMEOUT: Duration = Duration::from_secs(90);

/// The longest time for a page to load or a script to end, in milliseconds. It ends before [`TIMEOUT`], so that the
/// driver says what took so long.
const SCRIPT_TIMEOUT: u32 = 60_000;

/// A running Chromium without authenticators. It ends on drop, with its driver, whose process id is killed.
#[derive(Debug)]
pub struct Browser {
    http: reqwest::Client,
    /// The URL of the WebDriver session.
    session: String,
    /// Dropped before the profile, which Chromium writes until it ends.
    _driver: Driver,
    _profile: TempDir,
}

/// What a script threw.
#[derive(Debug)]
pub struct Thrown {
    /// `name` of the error, such as `NotAllowedError`.
    pub name: String,
    /// `id` of the error; empty if it has none.
    pub id: String,
    /// `message` of the error.
    pub message: String,
}

/// A virtual authenticator of a [`Browser`] (Web Authentication Level 3, 11).
///
/// With two that could answer, the browser chooses. So a test has one at a time.
#[derive(Debug)]
pub struct VirtualAuthenticator<'a> {
    browser: &'a Browser,
    id: String,
}

impl Browser {
    /// Starts a browser with an empty profile. Panics if Chromium or its driver is not installed.
    pub async fn start() -> Self {
        let (driver, port) = Driver::start();
        let profile = tempfile::tempdir().expect("a temporary folder");
        let http = reqwest::Client::builder().no_proxy().timeout(TIMEOUT).build().expect("a client");
        let url = format!("http://127.0.0.1:{port}/session");
        let begun = command(&http, Method::POST, &url, Some(capabilities(profile.path()))).await;
        let begun =
            begun.unwrap_or_else(|error| panic!("chromium is needed ({error}): run `cargo xtask tools`"));
        let session = format!("{url}/{}", text(&begun["sessionId"]));
        Self { http, session, _driver: driver, _profile: profile }
    }

    /// Loads a page and waits until it is complete, with its modules.
    pub async fn open(&self, url: &str) {
        self.command(Method::POST, "/url", Some(json!({ "url": url }))).await;
    }

    /// Runs the body of an `async` function in the page, in which `args` is the array of arguments; returns its result.
    ///
    /// # Errors
    /// What it throws.
    pub async fn run<const N: usize>(&self, body: &str, args: [Value; N]) -> Result<Value, Thrown> {
        let script = format!(
            "const args = [...arguments], done = args.pop();
            (async () => {{
                {body}
            }})().then(
                value => done({{ value }}),
                error => done({{ name: error?.name, id: error?.id, message: String(error?.message ?? error) }})
            );"
        );
        let script = json!({ "script": script, "args": Value::Array(args.into()) });
        let ended = self.command(Method::POST, "/execute/async", Some(script)).await;
        let field = |name: &str| ended[name].as_str().unwrap_or_default().to_owned();
        if ended.get("message").is_some() {
            return Err(Thrown { name: field("name"), id: field("id"), message: field("message") });
        }
        Ok(ended["value"].clone())
    }

    /// Adds an authenticator with these properties (Web Authentication Level 3, 11.2), such as `{"protocol":
    /// "ctap2_1", "transport": "usb", "hasResidentKey": true}`. Those left out are as in the standard: of the flags,
    /// only `isUserConsenting` is true.
    pub async fn add_authenticator(&self, properties: &Value) -> VirtualAuthenticator<'_> {
        let id = self.command(Method::POST, "/webauthn/authenticator", Some(properties.clone())).await;
        VirtualAuthenticator { browser: self, id: text(&id).to_owned() }
    }

    async fn command(&self, method: Method, path: &str, body: Option<Value>) -> Value {
        let url = format!("{}{path}", self.session);
        let answered = command(&self.http, method, &url, body).await;
        answered.unwrap_or_else(|error| panic!("{path}: {error}"))
    }
}

impl VirtualAuthenticator<'_> {
    /// Its credentials, each with its private key, in no order.
    pub async fn credentials(&self) -> Vec<Value> {
        let credentials = self.send(Method::GET, "/credentials", None).await;
        credentials.as_array().expect("an array").clone()
    }

    /// The ids of its credentials in base64url, sorted.
    pub async fn credential_ids(&self) -> Vec<String> {
        let credentials = self.credentials().await;
        let mut ids: Vec<_> =
            credentials.iter().map(|credential| text(&credential["credentialId"]).to_owned()).collect();
        ids.sort();
        ids
    }

    /// Removes a credential.
    pub async fn remove_credential(&self, id: &str) {
        self.send(Method::DELETE, &format!("/credentials/{id}"), None).await;
    }

    /// Sets whether the user knows the PIN or has the right finger.
    pub async fn set_user_verified(&self, verified: bool) {
        self.send(Method::POST, "/uv", Some(json!({ "isUserVerified": verified }))).await;
    }

    /// Sets whether the user touches it when it asks. The standard has no command for this, only Chromium.
    pub async fn set_user_consenting(&self, consenting: bool) {
        let command = json!({
            "cmd": "WebAuthn.setAutomaticPresenceSimulation",
            "params": { "authenticatorId": self.id, "enabled": consenting },
        });
        self.browser.command(Method::POST, "/goog/cdp/execute", Some(command)).await;
    }

    /// Removes the authenticator with its credentials, as if it were unplugged.
    pub async fn remove(self) {
        self.send(Method::DELETE, "", None).await;
    }

    async fn send(&self, method: Method, path: &str, body: Option<Value>) -> Value {
        let path = format!("/webauthn/authenticator/{}{path}", self.id);
        self.browser.command(method, &path, body).await
    }
}

/// Sends a command; returns its value, or a description of the failure.
async fn command(
    http: &reqwest::Client,
    method: Method,
    url: &str,
    body: Option<Value>,
) -> Result<Value, String> {
    let mut request = http.request(method, url);
    if let Some(body) = body {
        request = request.json(&body);
    }
    let response = request.send().await.map_err(|error| error.to_string())?;
    let succeeded = response.status().is_success();
    let mut answer: Value = response.json().await.map_err(|error| error.to_string())?;
    let value = answer["value"].take();
    // Beside the message is a stack trace of the driver.
    if succeeded { Ok(value) } else { Err(format!("{}: {}", text(&value["error"]), text(&value["message"]))) }
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a text")
}

/// What a new session is asked for.
fn capabilities(profile: &Path) -> Value {
    let profile = format!("--user-data-dir={}", profile.display());
    let arguments = [
        "--headless=new",
        // For related origins, Chromium asks the site itself.
        "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1",
        // Root, as in a container, has no sandbox.
        "--no-sandbox",
        "--disable-gpu",
        // /dev/shm of a container can be too small.
        "--disable-dev-shm-usage",
        // Through a pipe, so that Chromium ends when its driver is killed.
        "--remote-debugging-pipe",
        profile.as_str(),
    ];
    json!({ "capabilities": { "alwaysMatch": {
        "browserName": "chrome",
        "webauthn:virtualAuthenticators": true,
        "timeouts": { "script": SCRIPT_TIMEOUT, "pageLoad": SCRIPT_TIMEOUT },
        "goog:chromeOptions": { "args": arguments },
    } } })
}

/// A running `chromedriver`.
#[derive(Debug)]
struct Driver {
    child: Child,
    /// Its output, which Chromium inherits.
    output: Receiver<String>,
}

impl Driver {
    /// Starts it on a free port, which is returned.
    fn start() -> (Self, u16) {
        let mut command = program(Path::new("chromedriver"));
        command.arg("--port=0").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command
            .spawn()
            .unwrap_or_else(|error| panic!("chromedriver is needed ({error}): run `cargo xtask tools`"));
        let output = lines(child.stdout.take().expect("stdout"));
        let driver = Self { child, output };
        let port = driver.port();
        (driver, port)
    }

    /// Waits until it prints `ChromeDriver was started successfully on port 12345.`
    fn port(&self) -> u16 {
        while let Ok(line) = self.output.recv_timeout(TIMEOUT) {
            if let Some((_, port)) = line.split_once("started successfully on port ") {
                return port.trim_end_matches('.').parse().expect("a port");
            }
        }
        panic!("chromedriver did not start");
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        // It may have ended already; it must not be left behind.
        let _ = self.child.kill();
        let _ = self.child.wait();
        // Chromium holds the output open until it has ended.
        while self.output.recv_timeout(TIMEOUT).is_ok() {}
    }
}
