//! Passkeys in Chromium with its virtual authenticators, on a page that uses `passkey.js`.

use std::time::Duration;

use mfa_tests::{Browser, ServerOptions, Thrown, VirtualAuthenticator};
use serde_json::{Value, json};

use super::host::Host;

/// Each has a protocol, a transport, room for discoverable credentials, and a PIN or a biometric.
const AUTHENTICATORS: [(&str, &str, bool, bool); 8] = [
    ("ctap2", "internal", true, true),
    ("ctap2_1", "internal", true, true),
    ("ctap2_1", "hybrid", true, true),
    ("ctap2_1", "usb", true, true),
    ("ctap2", "internal", true, false),
    ("ctap2", "usb", false, true),
    ("ctap2_1", "nfc", false, false),
    ("ctap1/u2f", "usb", false, false),
];

#[tokio::test(flavor = "multi_thread")]
async fn every_sort_of_authenticator_registers_and_logs_in() {
    let host = Host::start(ServerOptions::default()).await;
    let browser = Browser::start().await;
    for (number, (protocol, transport, resident, verifies)) in AUTHENTICATORS.into_iter().enumerate() {
        let sort = format!("{protocol} {transport}, resident: {resident}, verifies: {verifies}");
        let mut kind = properties(protocol, transport, resident, verifies);
        // The passkey of a phone is on several devices.
        kind["defaultBackupEligibility"] = json!(transport == "hybrid");
        kind["defaultBackupState"] = json!(transport == "hybrid");
        let authenticator = browser.add_authenticator(&kind).await;
        let user = format!("user-{number}");
        browser.open(&host.url()).await;

        let registered = call(&browser, "register", [json!(user)]).await;
        let registered = registered.unwrap_or_else(|thrown| panic!("{sort}: {thrown:?}"));
        assert_eq!(registered["factor"]["state"], "active", "{sort}");
        let accepted = &registered["passkeys"]["accepted_credential_ids"];
        assert_eq!(*accepted, json!(authenticator.credential_ids().await), "{sort}");

        let check = |verified: &Value| {
            let expected = [
                json!(true),
                json!(user),
                registered["factor"]["id"].clone(),
                json!("passkey"),
                json!(verifies),
            ];
            let fields = ["verified", "user", "factor", "kind", "user_verified"];
            assert_eq!(fields.map(|name| verified[name].clone()), expected, "{sort}");
        };
        let login = call(&browser, "login", [json!(user)]).await;
        check(&login.unwrap_or_else(|thrown| panic!("{sort}: {thrown:?}")));

        let passwordless = call(&browser, "passwordless", []).await;
        // Chromium protects discoverable credentials: without verification, they answer only to their id.
        if resident && verifies {
            check(&passwordless.unwrap_or_else(|thrown| panic!("{sort}: {thrown:?}")));
        } else {
            assert_eq!(passwordless.unwrap_err().id, "cancelled", "{sort}");
        }
        // Beside virtual authenticators, Chromium has autofill only with one in the device itself.
        if resident && verifies && transport == "internal" {
            call(&browser, "offer", []).await.unwrap();
            let autofill = reached(&browser, "autofill.ended").await;
            assert_eq!(autofill["errors"], json!([]), "{sort}");
            check(&autofill["verified"]);
        }
        authenticator.remove().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_of_the_browser_have_message_ids() {
    let host = Host::start(ServerOptions::default()).await;
    let browser = Browser::start().await;
    let alice = || [json!("alice")];
    let authenticator = browser.add_authenticator(&properties("ctap2_1", "internal", true, true)).await;
    browser.open(&host.url()).await;
    call(&browser, "register", alice()).await.unwrap();
    // A further factor needs a recent verification.
    call(&browser, "login", alice()).await.unwrap();
    assert_eq!(call(&browser, "register", alice()).await.unwrap_err().id, "already-registered");
    assert_eq!(authenticator.credentials().await.len(), 1);

    authenticator.set_user_verified(false).await;
    assert_eq!(call(&browser, "login", alice()).await.unwrap_err().id, "cancelled");
    authenticator.set_user_verified(true).await;
    call(&browser, "login", alice()).await.unwrap();

    let elsewhere = json!({ "challenge": "AAAA", "rpId": "example.com" });
    assert_eq!(call(&browser, "authenticate", [elsewhere]).await.unwrap_err().id, "wrong-address");

    browser.open(&format!("http://127.0.0.1:{}/", host.port)).await;
    for ceremony in ["register", "login"] {
        assert_eq!(call(&browser, ceremony, alice()).await.unwrap_err().id, "use-localhost", "{ceremony}");
    }
    assert_eq!(authenticator.credentials().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_authenticator_that_cannot_verify_its_user_registers_where_the_policy_allows() {
    let required = Host::start(ServerOptions::new([("MFA_WEBAUTHN_USER_VERIFICATION", "required")])).await;
    let preferred = Host::start(ServerOptions::default()).await;
    let not_resident = Host::start(ServerOptions::new([("MFA_WEBAUTHN_RESIDENT_KEY", "discouraged")])).await;
    let browser = Browser::start().await;
    let cases = [
        (&required, "ctap2", "internal", true, false),
        (&required, "ctap2_1", "usb", false, false),
        (&required, "ctap1/u2f", "usb", false, false),
        (&preferred, "ctap2", "internal", true, true),
        (&preferred, "ctap1/u2f", "usb", false, true),
        // Chromium creates no discoverable credential on a security key without PIN, even if it is only preferred.
        (&preferred, "ctap2_1", "usb", true, false),
        (&not_resident, "ctap2_1", "usb", true, true),
    ];
    for (number, (host, protocol, transport, resident, registers)) in cases.into_iter().enumerate() {
        let authenticator =
            browser.add_authenticator(&properties(protocol, transport, resident, false)).await;
        let user = format!("user-{number}");
        browser.open(&host.url()).await;
        let registered = call(&browser, "register", [json!(user)]).await;
        let id = registered.err().map(|thrown| thrown.id);
        assert_eq!(id.as_deref(), (!registers).then_some("cancelled"), "{number}: {protocol} {transport}");
        assert_eq!(authenticator.credentials().await.len(), usize::from(registers), "{number}");
        let status = host.server.client.get(&format!("/v1/users/{user}")).await.expect(200);
        assert_eq!(status.json["enrolled"], registers, "{number}: {}", status.text);
        authenticator.remove().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn buttons_work_while_autofill_waits() {
    let host = Host::start(ServerOptions::default()).await;
    let browser = Browser::start().await;
    let bob = || [json!("bob")];
    let authenticator = browser.add_authenticator(&properties("ctap2_1", "internal", true, true)).await;
    browser.open(&host.url()).await;
    let offer_and_ignore = async || {
        authenticator.set_user_consenting(false).await;
        call(&browser, "offer", []).await.unwrap();
        reached(&browser, "autofill.rounds === 1").await;
        assert_blocked(&browser).await;
    };

    offer_and_ignore().await;
    authenticator.set_user_consenting(true).await;
    assert_blocked(&browser).await;
    call(&browser, "register", bob()).await.unwrap();
    let autofill = reached(&browser, "autofill.ended").await;
    assert_eq!((&autofill["rounds"], &autofill["errors"]), (&json!(1), &json!([])));

    // After a button that leads to nothing, autofill goes on with new options.
    offer_and_ignore().await;
    let late = call(&browser, "login", [json!("bob"), json!({ "timeout": 100 })]).await;
    assert_eq!(late.unwrap_err().id, "timeout");
    reached(&browser, "autofill.rounds === 2").await;
    authenticator.set_user_consenting(true).await;
    assert_blocked(&browser).await;
    let verified = call(&browser, "login", bob()).await.unwrap();
    assert_eq!(verified["user"], "bob");
    let autofill = reached(&browser, "autofill.ended").await;
    assert_eq!((&autofill["verified"], &autofill["errors"]), (&Value::Null, &json!([])));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_authenticator_forgets_removed_and_unknown_passkeys() {
    let host = Host::start(ServerOptions::default()).await;
    let browser = Browser::start().await;
    let authenticator = browser.add_authenticator(&properties("ctap2_1", "internal", true, true)).await;
    browser.open(&host.url()).await;
    let register = async |user: &str| {
        let registered = call(&browser, "register", [json!(user)]).await.unwrap();
        let id = registered["passkeys"]["accepted_credential_ids"][0].as_str().unwrap().to_owned();
        (registered["factor"]["id"].clone(), id)
    };
    let (_, of_dave) = register("dave").await;
    let (factor, _) = register("carol").await;
    assert_eq!(authenticator.credentials().await.len(), 2);

    // The application tells the browser.
    call(&browser, "remove", [json!("carol"), factor]).await.unwrap();
    wait_for(&authenticator, &of_dave).await;

    // It does not, and the authenticator offers the passkey once more.
    let (factor, of_carol) = register("carol").await;
    let path = format!("/v1/users/carol/factors/{}", factor.as_str().unwrap());
    host.server.client.delete(&path).await.expect(204);
    authenticator.remove_credential(&of_dave).await;
    assert_eq!(authenticator.credential_ids().await, [of_carol]);
    let refused = call(&browser, "passwordless", []).await.unwrap_err();
    assert_eq!(refused.id, "unknown-credential", "{refused:?}");
    wait_for(&authenticator, "").await;
}

fn properties(protocol: &str, transport: &str, resident: bool, verifies: bool) -> Value {
    json!({
        "protocol": protocol,
        "transport": transport,
        "hasResidentKey": resident,
        "hasUserVerification": verifies,
        "isUserVerified": verifies,
    })
}

/// Calls a function of the page.
async fn call<const N: usize>(browser: &Browser, function: &str, args: [Value; N]) -> Result<Value, Thrown> {
    browser.run(&format!("return host.{function}(...args);"), args).await
}

/// Waits for a condition about `autofill`; returns its state.
async fn reached(browser: &Browser, condition: &str) -> Value {
    browser.run(&format!("return host.reached((autofill) => {condition});"), []).await.unwrap()
}

/// Checks that a request of autofill is open: no other can begin.
async fn assert_blocked(browser: &Browser) {
    const REQUEST: &str = "
        const publicKey = { challenge: new Uint8Array(32), rpId: 'localhost' };
        await navigator.credentials.get({ publicKey });";
    assert_eq!(browser.run(REQUEST, []).await.unwrap_err().name, "OperationError");
}

/// Waits until the authenticator has only this credential, or none if empty.
async fn wait_for(authenticator: &VirtualAuthenticator<'_>, id: &str) {
    let forgotten = async {
        while authenticator.credential_ids().await.join(" ") != id {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), forgotten).await.unwrap();
}
