//! What holds for every input: round trips, windows, counters that never go back, and no panic.

#![expect(clippy::unwrap_used, reason = "tests")]

mod strategies;

use otp_core::{Code, Hotp, LookAhead, OtpauthUri, ResyncSteps, ResyncWindow, Secret, Totp, UriError};
use proptest::prelude::*;

use strategies::{algorithm, counter, digits, key, strong_key, token, totp, window};

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn base32_comes_back(key in key(), group in 1..9_usize, lower in any::<bool>()) {
        let secret = Secret::from_bytes(&key).unwrap();
        let text = secret.to_base32();
        prop_assert!(text.bytes().all(|byte| matches!(byte, b'A'..=b'Z' | b'2'..=b'7')));
        prop_assert!(Secret::from_base32(&text).unwrap().matches(&secret));

        let typed = text.as_bytes().chunks(group).map(String::from_utf8_lossy).collect::<Vec<_>>().join(" ");
        let typed = if lower { typed.to_lowercase() } else { typed };
        prop_assert!(Secret::from_base32(&typed).unwrap().matches(&secret));

        let padded = format!("{:=<width$}", *text, width = text.len().next_multiple_of(8));
        prop_assert!(Secret::from_base32(&padded).unwrap().matches(&secret));
    }

    #[test]
    fn hex_comes_back(key in key()) {
        let text = key.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
        let secret = Secret::from_hex(&text).unwrap();
        prop_assert_eq!(secret.expose(), &key);
        prop_assert!(Secret::from_hex(&text.to_uppercase()).unwrap().matches(&secret));
    }

    #[test]
    fn any_text_is_a_secret_with_one_spelling_or_an_error(text in "(?s)[A-Za-z2-7 =-]{0,220}|.*") {
        if let Ok(secret) = Secret::from_base32(&text) {
            let canonical: String = text.chars().filter(char::is_ascii_alphanumeric).collect();
            prop_assert_eq!(&*secret.to_base32(), &canonical.to_ascii_uppercase());
        }
        let _ = Secret::from_hex(&text);
        // What is imported is that, or something that new secrets may not be.
        match (Secret::from_base32(&text), Secret::import_base32(&text)) {
            (Ok(strict), Ok((imported, tolerated))) => {
                prop_assert!(strict.matches(&imported) && tolerated.is_empty());
            }
            (Err(_), Ok((imported, tolerated))) => {
                prop_assert!(!tolerated.is_empty());
                prop_assert!(Secret::from_base32(&imported.to_base32()).unwrap().matches(&imported));
            }
            (Err(_), Err(_)) => {}
            (Ok(_), Err(error)) => prop_assert!(false, "{error}"),
        }
    }

    #[test]
    fn secrets_match_only_themselves(one in key(), other in key()) {
        let equal = Secret::from_bytes(&one).unwrap().matches(&Secret::from_bytes(&other).unwrap());
        prop_assert_eq!(equal, one == other);
    }

    #[test]
    fn a_code_is_6_to_8_ascii_digits_and_nothing_else(text in "[0-9]{5,9}|[0-9 +٠-٩-]{6}|(?s).*") {
        let well_formed = (6..=8).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
        match Code::parse(&text) {
            Ok(code) => {
                prop_assert!(well_formed);
                prop_assert_eq!(code.as_str(), &text);
                prop_assert_eq!(usize::from(code.digits().value()), text.len());
            }
            Err(_) => prop_assert!(!well_formed),
        }
    }

    #[test]
    fn generated_codes_are_codes(key in key(), algorithm in algorithm(), digits in digits(), counter in counter()) {
        let secret = Secret::from_bytes(&key).unwrap();
        let code = Hotp::new(algorithm, digits).generate(&secret, counter);
        prop_assert_eq!(code.digits(), digits);
        prop_assert_eq!(Code::parse(code.as_str()).unwrap().digits(), digits);
    }

    /// Against the definition: try each step of the window, one by one, and take the lowest.
    #[test]
    fn totp_verifies_as_defined(
        key in key(),
        totp in totp(),
        window in window(),
        centre in counter(),
        offset in -12..=12_i64,
        after in prop::option::of(-12..=12_i64),
    ) {
        let secret = Secret::from_bytes(&key).unwrap();
        let code = totp.generate_step(&secret, centre.saturating_add_signed(offset));
        let after = after.map(|offset| centre.saturating_add_signed(offset));

        let steps = centre.saturating_sub(window.past().into())..=centre.saturating_add(window.future().into());
        let defined = steps
            .filter(|step| after.is_none_or(|after| *step > after))
            .find(|step| totp.generate_step(&secret, *step).as_str() == code.as_str());
        prop_assert_eq!(totp.verify_around(&secret, &code, centre, window, after), defined);
    }

    #[test]
    fn verify_is_verify_around_the_step_of_now(
        key in key(),
        totp in totp(),
        window in window(),
        now in 0..=Totp::MAX_TIME,
        offset in -2..=2_i64,
    ) {
        let secret = Secret::from_bytes(&key).unwrap();
        let step = totp.step(now).unwrap();
        prop_assert!(step * totp.period().seconds() <= now && now - step * totp.period().seconds() < totp.period().seconds());
        let code = totp.generate_step(&secret, step.saturating_add_signed(offset));
        let around = totp.verify_around(&secret, &code, step, window, None);
        prop_assert_eq!(totp.verify(&secret, &code, now, window, None), Ok(around));
    }

    #[test]
    fn any_time_has_a_step_or_an_error(totp in totp(), t0 in any::<u64>(), now in any::<u64>()) {
        let fits = t0 <= now && now <= Totp::MAX_TIME;
        prop_assert_eq!(totp.with_t0(t0).step(now).is_ok(), fits);
    }

    /// Whatever codes come in whatever order, the kept step only rises, so that no code is accepted twice.
    #[test]
    fn totp_steps_only_rise(key in key(), moves in prop::collection::vec((0..4_u64, -2..=2_i64), 1..20)) {
        let secret = Secret::from_bytes(&key).unwrap();
        let totp = Totp::default();
        let window = otp_core::Window::ONE_EITHER_SIDE;
        let mut now = 1_000_000;
        let mut last = None;
        for (elapsed, offset) in moves {
            now += elapsed * 15;
            let code = totp.generate_step(&secret, totp.step(now).unwrap().saturating_add_signed(offset));
            if let Some(step) = totp.verify(&secret, &code, now, window, last).unwrap() {
                prop_assert!(last.is_none_or(|last| step > last));
                last = Some(step);
                prop_assert!(totp.verify(&secret, &code, now, window, last).unwrap().is_none_or(|again| again > step));
            }
        }
    }

    #[test]
    fn hotp_counters_only_rise(
        key in key(),
        start in counter(),
        look_ahead in 0..=LookAhead::MAX,
        offsets in prop::collection::vec(-5..=25_i64, 1..10),
    ) {
        let secret = Secret::from_bytes(&key).unwrap();
        let hotp = Hotp::default();
        let mut expected = start;
        for offset in offsets {
            let code = hotp.generate(&secret, expected.saturating_add_signed(offset));
            let found = hotp.verify(&secret, &code, expected, LookAhead::new(look_ahead).unwrap());
            if let Some(counter) = found {
                prop_assert!(counter >= expected && counter - expected <= u64::from(look_ahead));
                let Some(next) = counter.checked_add(1) else { break };
                expected = next;
            }
        }
    }

    #[test]
    fn resynchronisation_finds_what_is_ahead_and_nothing_behind(
        key in key(),
        counter in 50..u64::MAX - 200,
        offset in -30..=130_i64,
        window in 1..=100_u16,
    ) {
        let secret = Secret::from_bytes(&key).unwrap();
        let hotp = Hotp::new(otp_core::Algorithm::Sha1, otp_core::Digits::EIGHT);
        let at = counter.saturating_add_signed(offset);
        let (first, second) = (hotp.generate(&secret, at), hotp.generate(&secret, at + 1));
        let found = hotp.resynchronise(&secret, &first, &second, counter, ResyncWindow::new(window).unwrap());
        let inside = (0..=i64::from(window)).contains(&offset);
        prop_assert_eq!(found, inside.then_some(at + 1));
    }

    #[test]
    fn a_clock_that_is_off_is_found_within_reach_and_never_by_codes_of_the_past(
        key in key(),
        centre in 300..1_u64 << 40,
        offset in -260..=260_i64,
        reach in 0..=240_u8,
        after in prop::option::of(-260..=260_i64),
    ) {
        let secret = Secret::from_bytes(&key).unwrap();
        let totp = Totp::new(otp_core::Algorithm::Sha1, otp_core::Digits::EIGHT, otp_core::Period::default());
        let at = centre.saturating_add_signed(offset);
        let (first, second) = (totp.generate_step(&secret, at - 1), totp.generate_step(&secret, at));
        let after = after.map(|after| centre.saturating_add_signed(after));
        let steps = ResyncSteps::new(reach).unwrap();
        let found = totp.resynchronise(&secret, &first, &second, centre, steps, after);
        let inside = offset.unsigned_abs() <= u64::from(reach) && after.is_none_or(|after| at - 1 > after);
        prop_assert_eq!(found, inside.then_some(at));
        // The other way round they are no pair.
        prop_assert_eq!(totp.resynchronise(&secret, &second, &first, centre, steps, None), None);
    }

    #[test]
    fn uris_come_back(
        key in strong_key(),
        token in token(),
        issuer in prop::option::of("[^:]{1,40}"),
        account in "[^:]{1,40}",
    ) {
        let secret = Secret::from_bytes(&key).unwrap();
        let built = OtpauthUri::new(token, issuer.as_deref(), &account, secret);
        if let Ok(uri) = built {
            let text = uri.to_uri();
            prop_assert!(text.is_ascii() && text.len() <= otp_core::uri::MAX_URI_BYTES);
            let parsed = OtpauthUri::parse(&text).unwrap();
            prop_assert_eq!(parsed.uri.token(), &token);
            prop_assert_eq!(parsed.uri.issuer(), issuer.as_deref().map(str::trim));
            prop_assert_eq!(parsed.uri.account(), account.trim());
            prop_assert_eq!(parsed.uri.secret().expose(), &key);
            prop_assert_eq!(parsed.warnings, vec![]);
            prop_assert_eq!(parsed.uri.to_uri(), text);
        } else {
            let refused = [Some(account.as_str()), issuer.as_deref()]
                .into_iter()
                .flatten()
                .any(|name| name.trim().is_empty() || name.chars().any(char::is_control));
            prop_assert!(refused);
        }
    }

    #[test]
    fn any_text_is_a_uri_that_comes_back_or_an_error(
        text in "(?s).*|otpauth://(totp|hotp)/[a-zA-Z:% +é]{0,20}\\?secret=[A-Z2-7]{16,40}(&(issuer|digits|period|counter|algorithm|image|encoder)=[a-zA-Z0-9%+:]{0,12}){0,4}",
    ) {
        if let Ok(parsed) = OtpauthUri::parse(&text) {
            let again = OtpauthUri::parse(&parsed.uri.to_uri()).unwrap();
            prop_assert_eq!(again.uri.token(), parsed.uri.token());
            prop_assert_eq!(again.uri.issuer(), parsed.uri.issuer());
            prop_assert_eq!(again.uri.account(), parsed.uri.account());
            prop_assert!(again.uri.secret().matches(parsed.uri.secret()));
        }
    }
}

#[test]
fn the_longest_names_give_a_uri_that_is_parsed() {
    let secret = Secret::from_bytes(&[0xff; Secret::MAX_BYTES]).unwrap();
    let longest = "é".repeat(otp_core::uri::MAX_NAME_BYTES / 2);
    let uri = OtpauthUri::totp(Some(&longest), &longest, secret, Totp::default()).unwrap();
    assert!(OtpauthUri::parse(&uri.to_uri()).is_ok());

    let secret = Secret::from_bytes(&[0xff; Secret::MAX_BYTES]).unwrap();
    let too_long = format!("{longest}e");
    let refused = OtpauthUri::totp(None, &too_long, secret, Totp::default());
    assert_eq!(refused.map(drop), Err(UriError::NameTooLong(otp_core::uri::Name::Account)));
    let secret = Secret::from_bytes(&[0xff; Secret::MAX_BYTES]).unwrap();
    let refused = OtpauthUri::totp(Some(&too_long), "alice", secret, Totp::default()).map(drop).unwrap_err();
    assert_eq!(
        (refused.name(), refused.to_string().as_str()),
        (Some(otp_core::uri::Name::Issuer), "the issuer is longer than 256 bytes")
    );

    let endless = format!("otpauth://totp/alice?secret={}", "A".repeat(4096));
    assert_eq!(OtpauthUri::parse(&endless).map(drop), Err(UriError::TooLong));
}
