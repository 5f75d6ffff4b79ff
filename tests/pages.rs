//! The pages for people, over a real socket.

#![allow(clippy::unwrap_used, reason = "test code")]

use std::collections::BTreeSet;

use mfa_tests::{Client, Server, binary};

/// What a browser asks for.
const HTML: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,image/webp,*/*;q=0.8";

fn browser(server: &Server) -> Client {
    server.client.with_key(None).with_header("accept", HTML)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_gets_a_page_at_the_root_and_programs_get_the_problem() {
    let server = Server::in_memory(binary!());
    let browser = browser(&server);
    let page = browser.get("/").await.expect(200);
    let header = |name: &str| page.headers[name].to_str().unwrap();
    assert_eq!(header("content-type"), "text/html; charset=utf-8");
    assert_eq!(header("vary"), "Accept");
    assert_eq!(header("cache-control"), "no-store");
    let text = unescaped(&page.text);
    for part in [env!("CARGO_PKG_VERSION"), "Ready", format!("API={}/v1/users/alice\n", server.url).as_str()]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains(server.client.key()));
    for link in attributes(&text, "href") {
        browser.get(&format!("/{link}")).await.expect(200);
    }

    let program = server.client.with_key(None);
    for accept in ["*/*", "application/json", "text/html;q=0.1, application/json"] {
        program.with_header("accept", accept).get("/").await.expect_problem(404, "not-found");
    }
    program.get("/").await.expect_problem(404, "not-found");
    server.client.get("/").await.expect_problem(404, "not-found");
}

#[tokio::test(flavor = "multi_thread")]
async fn methods_and_unknown_paths_are_answered_to_a_browser_as_to_all() {
    let server = Server::in_memory(binary!());
    let browser = browser(&server);
    browser.send("POST", "/", None).await.expect_problem(404, "not-found");
    browser.send("DELETE", "/", None).await.expect_problem(404, "not-found");
    browser.get("/nowhere").await.expect_problem(404, "not-found");
    browser.get("/v1/nowhere").await.expect_problem(401, "unauthorized");
    for path in ["/docs", "/openapi.json"] {
        browser.send("POST", path, None).await.expect_problem(405, "method-not-allowed");
    }
    for path in ["/", "/docs"] {
        let [head, get] = [browser.send("HEAD", path, None).await, browser.get(path).await];
        assert_eq!((head.status, head.text.as_str()), (get.status, ""), "{path}");
        for name in ["content-type", "content-security-policy", "x-content-type-options", "referrer-policy"] {
            assert_eq!(head.headers[name], get.headers[name], "{path} {name}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_load_nothing_and_run_nothing() {
    let server = Server::in_memory(binary!());
    let browser = browser(&server);
    for path in ["/", "/docs"] {
        let page = browser.get(path).await.expect(200);
        let policy = page.headers["content-security-policy"].to_str().unwrap();
        let directives: Vec<_> = policy.split("; ").collect();
        let [default, style, base, form, frame] = directives[..] else { panic!("{policy}") };
        assert_eq!(
            [default, base, form, frame],
            ["default-src 'none'", "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'"]
        );
        assert!(style.starts_with("style-src 'sha256-") && style.ends_with("='"), "{style}");
        assert_eq!(page.headers["x-content-type-options"], "nosniff");
        assert_eq!(page.headers["referrer-policy"], "no-referrer");
        for loading in ["<script", "<link", "<img", "<iframe", " src=", " style=", " on", "@import", "url("] {
            let inside = page.text.split('<').any(|tag| {
                let (tag, _) = tag.split_once('>').unwrap_or((tag, ""));
                format!("<{tag}").contains(loading)
            });
            let css = page.text.split("</style>").next().unwrap().contains(loading);
            assert!(!inside && (!css || loading.starts_with(' ')), "{path}: {loading}");
        }
        for link in attributes(&page.text, "href") {
            let ours = link.starts_with('#')
                || ["docs", "openapi.json", "healthz", "readyz"].contains(&link.as_str());
            assert!(ours, "{path}: {link}");
        }
        assert_eq!(page.text.matches("<h1").count(), 1);
        assert_eq!(page.text.matches("<main").count(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_reference_has_every_call_and_every_link_in_it_leads_somewhere() {
    let server = Server::in_memory(binary!());
    let client = server.client.with_key(None);
    let page = client.get("/docs").await.expect(200);
    let text = unescaped(&page.text);
    let document = client.get("/openapi.json").await.expect(200).json;
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let method = method.to_uppercase();
            let id = operation["operationId"].as_str().unwrap();
            let (_, call) =
                text.split_once(&format!("<h3 id=\"{id}\">")).unwrap_or_else(|| panic!("no {id}"));
            let call = call.split("<h3").next().unwrap();
            let heading = format!(">{method}</span> <code>{path}</code>");
            assert!(call.contains(&heading), "{id}: {call}");
            let parameters = operation["parameters"].as_array().into_iter().flatten();
            for parameter in parameters.map(|parameter| parameter["name"].as_str().unwrap()) {
                assert!(call.contains(&format!("<code>{parameter}</code>")), "{id}: {parameter}");
            }
            for status in operation["responses"].as_object().unwrap().keys() {
                assert!(call.contains(&format!("<th scope=\"row\">{status}</th>")), "{id}: {status}");
            }
        }
    }
    for code in document["components"]["examples"].as_object().unwrap().keys() {
        assert!(text.contains(&format!("id=\"problem-{code}\"")), "{code}");
    }
    let ids = attributes(&text, "id");
    let unique: BTreeSet<_> = ids.iter().collect();
    assert_eq!(ids.len(), unique.len(), "an id is there twice");
    for link in attributes(&text, "href") {
        let there = link.strip_prefix('#').is_none_or(|id| unique.contains(&id.to_owned()));
        assert!(there, "{link} leads nowhere");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_that_has_the_reference_is_told_so() {
    let server = Server::in_memory(binary!());
    let browser = browser(&server);
    let page = browser.get("/docs").await.expect(200);
    assert_eq!(page.headers["cache-control"], "no-cache");
    let tag = page.headers["etag"].to_str().unwrap();
    let again = browser.with_header("if-none-match", tag).get("/docs").await.expect(304);
    assert_eq!((again.text.as_str(), &again.headers["etag"]), ("", &page.headers["etag"]));
    browser.with_header("if-none-match", "\"another\"").get("/docs").await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hostile_host_is_not_shown() {
    let server = Server::in_memory(binary!());
    for host in ["\"><script>alert(1)</script>", "$(id)", "a'; id; '", "evil.example/x", "user@evil.example"]
    {
        // Some are refused before any page is asked for.
        let answer = browser(&server).with_header("host", host).get("/").await;
        assert!(!unescaped(&answer.text).contains(host), "{host}: {}", answer.text);
        if answer.status == 200 {
            assert!(
                unescaped(&answer.text).contains("API=http://127.0.0.1:8080/v1/"),
                "{host}: {}",
                answer.text
            );
        }
    }
    let page = browser(&server).with_header("host", "mfa.example.com").get("/").await.expect(200);
    assert!(unescaped(&page.text).contains("API=http://mfa.example.com/v1/users/alice\n"), "{}", page.text);
}

/// The values of all attributes of that name.
fn attributes(page: &str, name: &str) -> Vec<String> {
    let start = format!(" {name}=\"");
    let values = page.split(&start).skip(1).filter_map(|rest| rest.split('"').next());
    values.map(str::to_owned).collect()
}

fn unescaped(page: &str) -> String {
    page.replace("&#x2f;", "/").replace("&#x27;", "'").replace("&quot;", "\"").replace("&amp;", "&")
}
