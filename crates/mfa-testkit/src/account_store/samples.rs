//! Sample factors and backup codes. Every field differs from that of all other samples.

use std::time::Duration;

use mfa_domain::account::{CodeHash, Drift, HashedCode};
use mfa_domain::otp_core::{Algorithm, Digits, Hotp, Period, Totp};
use mfa_domain::{
    Authenticator, BackupCodes, Data, Factor, FactorId, FactorState, HotpDevice, KeyId, Label, Sealed,
    StoredFactor, Timestamp, TotpDevice,
};

use super::subject::now;

pub(super) fn id(n: u8) -> FactorId {
    FactorId::fresh(now(), &[n; 10])
}

pub(super) fn sealed(key: &str, n: u8) -> Sealed {
    Sealed { key: KeyId::new(key), bytes: (0..=255).cycle().skip(usize::from(n)).take(300).collect() }
}

fn later(seconds: u8) -> Timestamp {
    now().plus(Duration::from_secs(seconds.into()))
}

/// A pending TOTP factor without an accepted code.
pub(super) fn pending(n: u8, key: &str) -> Factor {
    Factor {
        id: id(n),
        label: Label::new(&format!("Phone {n}")).unwrap(),
        state: FactorState::Pending { expires_at: later(n), replaces: None },
        created_at: later(n),
        last_used_at: None,
        sealed: Some(sealed(key, n)),
        authenticator: Authenticator::Totp(TotpDevice::new(Totp::default())),
    }
}

/// An active, used TOTP factor.
pub(super) fn totp(n: u8, key: &str) -> Factor {
    Factor {
        state: FactorState::Active,
        last_used_at: Some(later(n)),
        authenticator: Authenticator::Totp(TotpDevice {
            totp: Totp::new(Algorithm::Sha256, Digits::EIGHT, Period::new(60).unwrap()).with_t0(n.into()),
            last_step: Some(30_000_000 + u64::from(n)),
            drift: Drift { steps: -2, leaning: 1 },
        }),
        ..pending(n, key)
    }
}

/// An active, used HOTP factor.
pub(super) fn hotp(n: u8, key: &str) -> Factor {
    Factor {
        label: Label::new(&format!("Token {n}")).unwrap(),
        authenticator: Authenticator::Hotp(HotpDevice {
            hotp: Hotp::new(Algorithm::Sha512, Digits::SEVEN),
            counter: 1000 + u64::from(n),
        }),
        ..totp(n, key)
    }
}

/// An active factor of a kind that no version knows, with unusual JSON.
pub(super) fn unknown(n: u8, key: Option<&str>) -> Factor {
    let data = format!(
        r#"{{"v":7,"n":{n},"none":null,"yes":true,"text":"a \"quote\", a \\, Größe \ud83d\udd10, line\n",
            "large":18446744073709551615,"small":-9223372036854775808,"half":0.5,
            "list":[[],[1,"1"],{{}}],"object":{{"b":{{"a":[]}},"":0}}}}"#
    );
    let known = StoredFactor::of(&totp(n, "k1"));
    let sealed = key.map(|key| sealed(key, n));
    let stored = StoredFactor { kind: "dna_sample".to_owned(), data: Data::new(data), sealed, ..known };
    stored.read().unwrap()
}

/// `count` backup codes, the second of which is spent.
pub(super) fn codes(n: u8, count: u8) -> BackupCodes {
    let code = |place: u8| HashedCode {
        hash: CodeHash(vec![place.wrapping_mul(97).wrapping_add(n); 32]),
        spent_at: (place == 1).then(|| later(n)),
    };
    BackupCodes {
        scheme: format!("scheme ${n}, with a 'quote' and a \"second\" one"),
        codes: (0..count).map(code).collect(),
        issued_at: later(n),
    }
}
