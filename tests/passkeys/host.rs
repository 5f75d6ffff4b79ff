//! An application that logs in with passkeys: a page, and a backend that calls the server.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use mfa_tests::{Answer, Client, Server, ServerOptions, binary};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// A running application with a server of its own. Both stop on drop.
///
/// It believes the page who the user is: a real one takes the user from a session. It keeps the assertion of the last
/// login of each user, which a real one keeps with the session, and gives it to no page.
pub(crate) struct Host {
    /// The port of the application, on all names of 127.0.0.1.
    pub(crate) port: u16,
    pub(crate) server: Server,
    task: JoinHandle<()>,
}

impl Host {
    /// Starts one. The relying party is `localhost`, with the application as its only origin.
    pub(crate) async fn start(options: ServerOptions) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let origins = format!("[\"http://localhost:{port}\"]");
        let relying_party = [("MFA_WEBAUTHN_RP_ID", "localhost"), ("MFA_WEBAUTHN_ORIGINS", origins.as_str())];
        let server = Server::with(binary!(), options.patient().and(relying_party));
        let application = Router::new()
            .route("/", get(Html(include_str!("page.html"))))
            .route("/assets/passkey.js", get(script))
            .route("/enrol", post(enrol))
            .route("/confirm", post(confirm))
            .route("/login", post(login))
            .route("/passwordless", post(passwordless))
            .route("/answer", post(answer))
            .route("/remove", post(remove))
            .with_state(Application { api: server.client.clone(), sessions: Arc::default() });
        let task = tokio::spawn(async move { axum::serve(listener, application).await.unwrap() });
        Self { port, server, task }
    }

    /// The URL of the page, at which passkeys work.
    pub(crate) fn url(&self) -> String {
        format!("http://localhost:{}/", self.port)
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The backend.
#[derive(Clone)]
struct Application {
    api: Client,
    /// A client for each user who has logged in.
    sessions: Arc<Mutex<HashMap<String, Client>>>,
}

impl Application {
    /// A client in the session of a user, if there is one.
    fn of(&self, user: &str) -> Client {
        self.sessions.lock().unwrap().get(user).unwrap_or(&self.api).clone()
    }
}

/// An answer of the server, passed on to the page.
type Relayed = (StatusCode, Json<Value>);

async fn enrol(State(application): State<Application>, Json(body): Json<Value>) -> Relayed {
    let user = text(&body, "user");
    let offer = json!({ "kind": "passkey", "account_name": user, "display_name": user.to_uppercase() });
    relay(application.of(user).post(&format!("/v1/users/{user}/factors"), offer).await)
}

async fn confirm(State(Application { api, .. }): State<Application>, Json(body): Json<Value>) -> Relayed {
    let path = format!("/v1/users/{}/factors/{}/confirm", text(&body, "user"), text(&body, "factor"));
    relay(api.post(&path, json!({ "credential": body["credential"] })).await)
}

async fn login(State(Application { api, .. }): State<Application>, Json(body): Json<Value>) -> Relayed {
    let path = format!("/v1/users/{}/challenges", text(&body, "user"));
    relay(api.post(&path, json!({ "kind": "passkey" })).await)
}

async fn passwordless(State(Application { api, .. }): State<Application>) -> Relayed {
    relay(api.post("/v1/challenges", json!({ "kind": "passkey" })).await)
}

async fn answer(
    State(Application { api, sessions }): State<Application>,
    Json(body): Json<Value>,
) -> Relayed {
    let path = format!("/v1/challenges/{}/verify", text(&body, "challenge"));
    let mut answer = api.post(&path, json!({ "credential": body["credential"] })).await;
    if answer.status == 200 {
        let user = text(&answer.json, "user").to_owned();
        sessions.lock().unwrap().insert(user, api.in_session(&answer));
        answer.json.as_object_mut().unwrap().remove("assertion");
    }
    relay(answer)
}

/// Removes a factor; answers the passkeys that are left.
async fn remove(State(Application { api, .. }): State<Application>, Json(body): Json<Value>) -> Relayed {
    let user = format!("/v1/users/{}", text(&body, "user"));
    api.delete(&format!("{user}/factors/{}", text(&body, "factor"))).await.expect(204);
    let mut status = api.get(&user).await.expect(200);
    (status.status, Json(status.json["passkeys"].take()))
}

/// The script as the server serves it.
async fn script(State(Application { api, .. }): State<Application>) -> Response {
    let script = api.with_key(None).get("/assets/passkey.js").await.expect(200);
    ([(CONTENT_TYPE, script.headers[CONTENT_TYPE].clone())], script.text).into_response()
}

fn text<'a>(body: &'a Value, name: &str) -> &'a str {
    body[name].as_str().unwrap()
}

fn relay(answer: Answer) -> Relayed {
    (answer.status, Json(answer.json))
}
