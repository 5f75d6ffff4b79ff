//! What secret types must not do: print themselves, be copied, compared in variable time, or written out.

use core::marker::PhantomData;

use otp_core::{Code, OtpauthUri, Secret, Totp};
use zeroize::ZeroizeOnDrop;

/// Whether a type has a trait: the inherent constant exists only under the bound and hides the one of `Lacks`.
macro_rules! has {
    ($type:ty: $bound:path) => {{
        struct Probe<T>(PhantomData<T>);
        trait Lacks {
            const HAS: bool = false;
        }
        impl<T> Lacks for Probe<T> {}
        #[allow(dead_code, reason = "used only where the bound holds")]
        impl<T: $bound> Probe<T> {
            const HAS: bool = true;
        }
        let _ = <Probe<()> as Lacks>::HAS;
        <Probe<$type>>::HAS
    }};
}

macro_rules! assert_secret {
    ($type:ty) => {
        let able = [
            ("Clone", has!($type: Clone)),
            ("PartialEq", has!($type: PartialEq)),
            ("Display", has!($type: core::fmt::Display)),
            ("Serialize", has!($type: serde::Serialize)),
            ("Hash", has!($type: core::hash::Hash)),
        ];
        for (name, has) in able {
            assert!(!has, "{} is {name}", stringify!($type));
        }
    };
}

#[test]
fn secret_types_lack_what_would_spread_them() {
    assert!(has!(Totp: Clone) && has!(String: serde::Serialize), "the probe sees what is there");
    assert_secret!(Secret);
    assert_secret!(Code);
    assert_secret!(OtpauthUri);
}

#[test]
fn secret_types_wipe_themselves() {
    fn wipes<T: ZeroizeOnDrop>() {}
    wipes::<Secret>();
    wipes::<Code>();
}

#[test]
fn debug_prints_the_name_only() {
    let secret = Secret::from_bytes(b"12345678901234567890").unwrap();
    let code = Totp::default().generate(&secret, 59).unwrap();
    assert_eq!(format!("{secret:?} {secret:#?}"), "Secret Secret");
    assert_eq!(format!("{code:?} {code:#?}"), "Code Code");

    let uri = OtpauthUri::totp(None, "alice", secret, Totp::default()).unwrap();
    let shown = format!("{uri:?}");
    assert!(shown.contains("secret: Secret") && !shown.contains("GEZD") && !shown.contains("49, 50"));
}

#[test]
fn errors_never_repeat_their_input() {
    for text in ["GEZDGNB1SECRET", "AB", "A", "GEZD=GNBV"] {
        let error = Secret::from_base32(text).unwrap_err();
        assert!(!format!("{error} {error:?}").contains(text));

        let uri = format!("otpauth://totp/alice?secret={text}");
        let error = OtpauthUri::parse(&uri).unwrap_err();
        assert!(!format!("{error} {error:?}").contains(text));

        let twice = format!("otpauth://totp/alice?secret={text}&secret=AAAAAAAA");
        let error = OtpauthUri::parse(&twice).unwrap_err();
        assert!(!format!("{error} {error:?}").contains(text));
    }
    let error = Code::parse("12345x").unwrap_err();
    assert!(!format!("{error} {error:?}").contains("12345"));
}
