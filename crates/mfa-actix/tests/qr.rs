//! The QR codes in the answer to an enrolment. That all forms show the same modules is tested in `otp-core`.

use mfa_domain::otp_core::qr;
use serde_json::{Value, json};

use crate::world::{Answer, World, world};

async fn offer(world: &World, user: &str, kind: &str, more: &Value) -> Answer {
    let mut body = json!({ "kind": kind, "label": "Phone" });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    world.call("POST", &format!("/mfa/v1/users/{user}/factors"), Some(body)).await
}

#[actix_web::test]
async fn an_enrolment_has_the_qr_code_that_was_asked_for_and_no_other() {
    let world = world().await;
    for kind in ["totp", "hotp"] {
        for (number, (more, expected)) in [
            (json!({}), &["qr_svg", "qr_png"][..]),
            (json!({ "qr": null }), &["qr_svg", "qr_png"]),
            (json!({ "qr": "svg" }), &["qr_svg"]),
            (json!({ "qr": "png" }), &["qr_png"]),
            (json!({ "qr": "text" }), &["qr_text"]),
            (json!({ "qr": "none" }), &[]),
        ]
        .into_iter()
        .enumerate()
        {
            let answer = offer(&world, &format!("{kind}-{number}"), kind, &more).await.expect(201);
            let otp = answer.json()[kind].clone();
            for form in ["qr_svg", "qr_png", "qr_text"] {
                assert_eq!(otp.get(form).is_some(), expected.contains(&form), "{kind} {more}: {form}");
            }
            let uri = otp["uri"].as_str().unwrap();
            if let Some(svg) = otp.get("qr_svg") {
                assert_eq!(svg.as_str().unwrap(), qr::svg(uri).unwrap().as_str());
            }
            if let Some(png) = otp.get("qr_png") {
                assert!(png.as_str().unwrap().starts_with("data:image/png;base64,"), "{png}");
            }
            if let Some(text) = otp.get("qr_text") {
                assert_eq!(text.as_str().unwrap(), qr::terminal(uri).unwrap().as_str());
            }
            // In `secret` and in `uri`.
            let secret = otp["secret"].as_str().unwrap();
            assert_eq!(answer.body.matches(secret).count(), 2, "{kind} {more}");
        }
    }
}

#[actix_web::test]
async fn a_form_that_is_none_is_refused_by_its_name_and_enrols_nobody() {
    let world = world().await;
    let address = |form: &str| json!({ "address": "alice@example.com", "qr": form });
    for (kind, more) in [
        ("totp", json!({ "qr": "gif" })),
        ("totp", json!({ "qr": "SVG" })),
        ("totp", json!({ "qr": "" })),
        ("hotp", json!({ "qr": 5 })),
        ("hotp", json!({ "qr": true })),
        ("totp", json!({ "qr": ["svg"] })),
        ("totp", json!({ "qr": { "svg": null } })),
        ("email", address("svg")),
        ("email", address("none")),
        ("email", address("gif")),
    ] {
        let refused = offer(&world, "alice", kind, &more).await.expect(422);
        assert_eq!(refused.problem(), "invalid-request");
        assert_eq!(refused.json()["errors"][0]["field"], "qr", "{kind} {more}");
        assert!(!refused.body.contains("gif"), "{}", refused.body);
    }
    let alice = world.call("GET", "/mfa/v1/users/alice", None).await.expect(200).json();
    assert_eq!(alice["factors"], json!([]));
}
