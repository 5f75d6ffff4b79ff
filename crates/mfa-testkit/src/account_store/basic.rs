//! Changes: the store reads them back as they were committed, or makes none of them.

use mfa_domain::account::{Attempts, CallId, CodeHash, Drift, HashedCode, KeptAnswer, Verifications};
use mfa_domain::otp_core::{Algorithm, Digits, Hotp, Period, Totp};
use mfa_domain::ports::{AccountQuery, AccountStore, Commit};
use mfa_domain::{
    Account, Assurance, Authenticator, BackupCodes, BackupCodesChange, Data, EventKind, Factor, FactorState,
    HotpDevice, KeyId, Label, Message, Sealed, Timestamp, TotpDevice, Version, Versioned,
};

use super::samples::{codes, hotp, id, pending, totp, unknown};
use super::subject::{Subject, chain, delta, key, now};
use crate::changes::message;
use crate::violation::run;
use crate::{Violation, ensure};

/// The largest number that every database can store.
const LARGEST: u64 = i64::MAX as u64;

pub(super) async fn basic(store: &dyn AccountStore) -> Result<(), Violation> {
    run![
        an_account_never_seen_is_empty(store),
        factors_come_back(store),
        factors_keep_their_order(store),
        backup_codes_come_back(store),
        attempts_come_back(store),
        kept_answers_come_back(store),
        account_data_come_back(store),
        unknown_kinds_come_back(store),
        extremes_come_back(store),
        a_commit_is_guarded(store),
        versions_never_come_back(store),
        accounts_do_not_mix(store),
        without_an_outbox_no_message_is_taken(store),
    ]
}

async fn an_account_never_seen_is_empty(store: &dyn AccountStore) -> Result<(), Violation> {
    let key = key("never-seen", "nobody");
    for _ in 0..2 {
        for read in [store.load(&key).await?, store.load_without_backup_codes(&key).await?] {
            ensure!(read == Versioned::default(), "an account that was never written is not empty: {read:?}");
        }
    }
    chain(store, &key).await?;
    let everything =
        AccountQuery { after: None, not_sealed_with: None, second_event_before: None, limit: 1000 };
    let listed = store.page(&everything).await?.accounts.iter().any(|account| account.key == key);
    ensure!(!listed, "reading an account created it");
    Ok(())
}

async fn factors_come_back(store: &dyn AccountStore) -> Result<(), Violation> {
    let mut subject = Subject::new(store, "factors", "alice");
    for factor in [pending(1, "k1"), totp(2, "k2"), hotp(3, "k3")] {
        subject.change(|draft| draft.put(factor)).await?;
    }
    for replaces in [Some(id(2)), None, Some(id(3))] {
        let state = FactorState::Pending { expires_at: now(), replaces };
        subject.change(|draft| draft.put(Factor { state, ..hotp(4, "k1") })).await?;
    }

    // Every field of an existing factor changes.
    subject.change(|draft| draft.put(totp(1, "k9"))).await?;
    let with_drift = |steps, leaning| {
        let mut factor = totp(2, "k2");
        if let Authenticator::Totp(device) = &mut factor.authenticator {
            device.drift = Drift { steps, leaning };
        }
        factor
    };
    subject.change(|draft| draft.put(with_drift(2, -2))).await?;
    subject
        .change(|draft| draft.put(Factor { created_at: Timestamp::default(), ..with_drift(0, 0) }))
        .await?;
    subject.change(|draft| draft.put(pending(2, "k8"))).await?;
    subject.change(|draft| draft.put(totp(4, "k1"))).await?;
    subject.change(|draft| draft.put(hotp(4, "k1"))).await?;
    for removed in [totp(2, "k2"), hotp(4, "k1")] {
        let removed = Factor { state: FactorState::Removed, ..removed };
        subject.change(|draft| draft.put(removed)).await?;
    }

    for algorithm in [Algorithm::Sha1, Algorithm::Sha256, Algorithm::Sha512] {
        for digits in [Digits::SIX, Digits::SEVEN, Digits::EIGHT] {
            let mut factor = hotp(3, "k3");
            if let Authenticator::Hotp(device) = &mut factor.authenticator {
                device.hotp = Hotp::new(algorithm, digits);
            }
            subject.change(|draft| draft.put(factor)).await?;
        }
    }
    subject.check_events().await
}

async fn factors_keep_their_order(store: &dyn AccountStore) -> Result<(), Violation> {
    let mut subject = Subject::new(store, "order", "alice");
    // Ids are not in the order of creation: a clock may have been set back.
    for n in [5, 3, 9, 1] {
        subject.change(|draft| draft.put(totp(n, "k1"))).await?;
    }
    subject.change(|draft| draft.put(hotp(3, "k1"))).await?;
    subject
        .change(|draft| {
            draft.remove(id(9));
            draft.put(hotp(7, "k1"));
            draft.remove(id(5));
            draft.put(hotp(1, "k1"));
        })
        .await?;
    // A factor that is added again after its removal is the newest.
    subject.change(|draft| draft.put(totp(9, "k1"))).await?;
    subject
        .change(|draft| {
            draft.remove(id(3));
            draft.put(totp(3, "k1"));
            draft.remove(id(200));
        })
        .await?;
    subject.change(|draft| [1, 3, 7, 9].into_iter().for_each(|n| draft.remove(id(n)))).await
}

async fn backup_codes_come_back(store: &dyn AccountStore) -> Result<(), Violation> {
    let mut subject = Subject::new(store, "backup-codes", "alice");
    let replace = |set| BackupCodesChange::Replace(set);
    subject.change(|draft| draft.backup_codes(BackupCodesChange::Remove)).await?;
    subject.change(|draft| draft.backup_codes(replace(codes(1, 10)))).await?;
    for place in [0, 9, 4] {
        let at = Timestamp::from_unix_seconds(place as u64);
        subject.change(|draft| draft.backup_codes(BackupCodesChange::Spend { place, at })).await?;
    }
    subject.change(|draft| draft.put(totp(1, "k1"))).await?;
    subject.change(|draft| draft.backup_codes(replace(codes(2, 100)))).await?;
    let spend = BackupCodesChange::Spend { place: 99, at: now() };
    subject.change(|draft| draft.backup_codes(spend)).await?;
    subject.change(|draft| draft.backup_codes(replace(codes(3, 3)))).await?;
    subject.change(|draft| draft.backup_codes(replace(codes(4, 0)))).await?;
    subject.change(|draft| draft.backup_codes(BackupCodesChange::Remove)).await?;
    subject.change(|draft| draft.backup_codes(replace(codes(5, 2)))).await
}

async fn attempts_come_back(store: &dyn AccountStore) -> Result<(), Violation> {
    let mut subject = Subject::new(store, "attempts", "alice");
    for seconds in [0..1, 1..2, 2..64, 64..65, 65..70] {
        let times = seconds.map(Timestamp::from_unix_seconds);
        subject.change(|draft| times.for_each(|at| draft.attempts().fail(at))).await?;
    }
    for (n, assurance) in (1..).zip([Assurance::Low, Assurance::Medium, Assurance::High]) {
        let at = Timestamp::from_unix_seconds(n);
        subject.change(|draft| draft.attempts().succeed(assurance, at)).await?;
    }
    subject.change(|draft| draft.attempts().fail(now())).await?;
    subject.change(|draft| draft.attempts().forgive()).await?;
    subject.change(|draft| *draft.attempts() = Attempts::default()).await
}

async fn kept_answers_come_back(store: &dyn AccountStore) -> Result<(), Violation> {
    // Alone: as the first change of an account, and as a later one.
    let mut alone = Subject::new(store, "answers", "alone");
    alone.keep_alone(answer(1, false, 10)).await?;
    alone.change(|draft| draft.put(totp(1, "k1"))).await?;
    alone.keep_alone(answer(2, true, 10)).await?;
    ensure!(alone.model.value.answers.len() == 2, "the suite has a defect: {:?}", alone.model);
    alone.check_events().await?;

    let mut subject = Subject::new(store, "answers", "alice");
    // With the first change of an account, with a factor, with backup codes, and alone.
    subject.keep(answer(1, false, 10), |_| ()).await?;
    subject.keep(answer(2, true, 0), |draft| draft.put(totp(1, "k1"))).await?;
    let replace = BackupCodesChange::Replace(codes(1, 10));
    subject.keep(answer(3, true, 10_000), |draft| draft.backup_codes(replace)).await?;
    // An ordinary change keeps them.
    subject.change(|draft| draft.put(totp(1, "k1"))).await?;
    subject.change(|draft| draft.attempts().fail(now())).await?;
    ensure!(subject.model.value.answers.len() == 3, "the suite has a defect: {:?}", subject.model);
    subject.change(|draft| draft.record(EventKind::FactorActivated, Some(id(1)), [])).await?;
    ensure!(subject.model.value.answers.len() == 1, "the suite has a defect: {:?}", subject.model);
    // A commit that conflicts stores no answer.
    let mut late = delta(&subject.model.value, &subject.key, now(), |_| ());
    late.keep(answer(4, false, 10));
    let commit = store.commit(&subject.key, Version(1), &late).await?;
    ensure!(commit == Commit::Conflict, "a commit at version 1 won");
    subject.check().await?;
    // The last answer expires, so none is left.
    subject.change_at(now().plus(KeptAnswer::KEPT_FOR), |_| ()).await?;
    ensure!(subject.model.value.answers.is_empty(), "the suite has a defect: {:?}", subject.model);
    subject.keep(answer(5, true, 100), |_| ()).await?;
    subject.change(|draft| draft.record(EventKind::Erased, None, [])).await
}

async fn account_data_come_back(store: &dyn AccountStore) -> Result<(), Violation> {
    let mut subject = Subject::new(store, "data", "alice");
    let data = |n: u8| Data::new(format!(r#"{{"v":1,"recovery":{{"n":{n},"text":"\"Größe\""}}}}"#));
    subject.change(|draft| draft.data(data(1))).await?;
    // An ordinary change keeps them.
    subject.change(|draft| draft.put(totp(1, "k1"))).await?;
    subject.change(|draft| draft.attempts().fail(now())).await?;
    subject.change(|draft| draft.data(data(2))).await?;
    ensure!(subject.model.value.data == data(2), "the suite has a defect: {:?}", subject.model);
    let late = delta(&subject.model.value, &subject.key, now(), |draft| draft.data(data(3)));
    let commit = store.commit(&subject.key, Version(1), &late).await?;
    ensure!(commit == Commit::Conflict, "a commit at version 1 won");
    subject.check().await?;
    subject.change(|draft| draft.data(Data::default())).await
}

/// A store does not interpret what a newer version wrote, and an older version must not lose it.
async fn unknown_kinds_come_back(store: &dyn AccountStore) -> Result<(), Violation> {
    let mut subject = Subject::new(store, "unknown-kinds", "alice");
    // With a secret and without.
    subject.change(|draft| draft.put(unknown(1, Some("k1")))).await?;
    subject.change(|draft| draft.put(unknown(2, None))).await?;
    subject.change(|draft| draft.put(totp(3, "k1"))).await?;
    let keys = store.keys_in_use().await?;
    ensure!(
        keys.contains(&KeyId::new("k1")),
        "the key of a factor of an unknown kind is not reported as in use: {keys:?}"
    );
    // A known factor becomes unknown by its version, is sealed anew, and is revoked.
    subject.change(|draft| draft.put(unknown(3, Some("k2")))).await?;
    subject.change(|draft| draft.put(unknown(1, Some("k2")))).await?;
    subject.change(|draft| draft.put(unknown(3, None))).await?;
    subject.change(|draft| draft.remove(id(1))).await?;
    subject.change(|draft| draft.put(hotp(3, "k1"))).await?;
    subject.check_events().await
}

/// An answer of `bytes` bytes.
fn answer(n: u8, secret: bool, bytes: usize) -> KeptAnswer {
    let sealed = Sealed { key: KeyId::new("clé"), bytes: vec![n; bytes] };
    KeptAnswer { call: CallId([n; 32]), secret, expires_at: now().plus(KeptAnswer::KEPT_FOR), sealed }
}

async fn extremes_come_back(store: &dyn AccountStore) -> Result<(), Violation> {
    let user = "'\u{1F510}".repeat(51);
    let mut subject = Subject::new(store, &"t.e-s_t0".repeat(8), &user);
    let labels = [
        "\u{1F4F1}\u{200D}\u{1F510} Größe 手机 טלפון",
        r#"'; DROP TABLE factors; -- "x" \ {} $1 %s ?"#,
        "\u{10FFFF}",
        "null",
    ];
    for (n, label) in (1..).zip(labels) {
        let factor = Factor { label: Label::new(label).unwrap(), ..totp(n, "k1") };
        subject.change(|draft| draft.put(factor)).await?;
    }
    let longest = Label::new(&"\u{1F510}".repeat(Label::MAX_LENGTH)).unwrap();
    let period = Period::new(Period::MAX_SECONDS).unwrap();
    let phone = Factor {
        label: longest,
        state: FactorState::Pending { expires_at: Timestamp::MAX, replaces: None },
        created_at: Timestamp::MAX,
        last_used_at: Some(Timestamp::default()),
        sealed: Some(Sealed { key: KeyId::new("clé 'ancienne' \"2026\" \\"), bytes: vec![0; 4096] }),
        authenticator: Authenticator::Totp(TotpDevice {
            totp: Totp::new(Algorithm::Sha512, Digits::EIGHT, period).with_t0(LARGEST),
            last_step: Some(LARGEST),
            drift: Drift { steps: i16::MIN, leaning: i8::MAX },
        }),
        ..totp(10, "k1")
    };
    subject.change(|draft| draft.put(phone)).await?;
    let authenticator = Authenticator::Hotp(HotpDevice { hotp: Hotp::default(), counter: LARGEST });
    let sealed = Some(Sealed { key: KeyId::new("k1"), bytes: Vec::new() });
    subject.change(|draft| draft.put(Factor { sealed, authenticator, ..hotp(11, "k1") })).await?;
    let set = BackupCodes {
        scheme: "line one\nline \"two\" 'three' \\ \u{1F510}".repeat(20),
        codes: vec![HashedCode { hash: CodeHash((0..=255).collect()), spent_at: Some(Timestamp::MAX) }; 2],
        issued_at: Timestamp::MAX,
    };
    subject.change(|draft| draft.backup_codes(BackupCodesChange::Replace(set))).await?;
    subject
        .change(|draft| {
            *draft.attempts() = Attempts {
                failures: u32::MAX,
                forgiven: u32::MAX - 1,
                recent: vec![Timestamp::MAX; Attempts::REMEMBERED],
                verified: Verifications {
                    low: Some(Timestamp::MAX),
                    medium: None,
                    high: Some(Timestamp::default()),
                },
            };
        })
        .await
}

async fn a_commit_is_guarded(store: &dyn AccountStore) -> Result<(), Violation> {
    let unseen = key("guard", "nobody");
    let first = delta(&Account::default(), &unseen, now(), |draft| draft.put(totp(1, "k1")));
    for version in [1, 2, LARGEST - 1] {
        let commit = store.commit(&unseen, Version(version), &first).await?;
        ensure!(commit == Commit::Conflict, "a commit at version {version} of a new account won");
    }
    ensure!(
        store.load(&unseen).await? == Versioned::default(),
        "a commit that did not win created an account"
    );
    chain(store, &unseen).await?;

    let mut subject = Subject::new(store, "guard", "alice");
    subject.change(|draft| draft.put(totp(1, "k1"))).await?;
    subject.change(|draft| draft.backup_codes(BackupCodesChange::Replace(codes(1, 3)))).await?;
    subject.change(|draft| draft.put(hotp(2, "k1"))).await?;
    let everything = delta(&subject.model.value, &subject.key, now(), |draft| {
        draft.put(pending(3, "k1"));
        draft.remove(id(1));
        draft.backup_codes(BackupCodesChange::Spend { place: 0, at: now() });
        draft.attempts().fail(now());
    });
    for version in [0, 1, 2, 4, 5, LARGEST - 1] {
        let commit = store.commit(&subject.key, Version(version), &everything).await?;
        ensure!(commit == Commit::Conflict, "a commit at version {version} won, while it was 3");
        subject.check().await?;
    }
    subject.check_events().await?;
    subject.change(|draft| draft.attempts().fail(now())).await
}

async fn versions_never_come_back(store: &dyn AccountStore) -> Result<(), Violation> {
    let mut subject = Subject::new(store, "versions", "alice");
    let stale = delta(&subject.model.value, &subject.key, now(), |draft| draft.put(totp(9, "k1")));
    subject.change(|draft| draft.put(totp(1, "k1"))).await?;
    subject.change(|draft| draft.backup_codes(BackupCodesChange::Replace(codes(1, 3)))).await?;
    // The change that erases a user.
    subject
        .change(|draft| {
            draft.remove(id(1));
            draft.backup_codes(BackupCodesChange::Remove);
            *draft.attempts() = Attempts::default();
        })
        .await?;
    for version in 0..3 {
        let commit = store.commit(&subject.key, Version(version), &stale).await?;
        ensure!(commit == Commit::Conflict, "version {version} came back after the account was erased");
    }
    subject.check().await?;
    subject.change(|draft| draft.put(hotp(2, "k1"))).await?;
    subject.check_events().await
}

async fn accounts_do_not_mix(store: &dyn AccountStore) -> Result<(), Violation> {
    let keys = [
        ("mix", "alice"),
        ("mix", "Alice"),
        ("mix", "alice.b"),
        ("mixa", "lice"),
        ("mix-2", "alice"),
        ("mix", "al_ce"),
        ("mix", "1"),
        ("mix", "01"),
    ];
    let mut subjects = keys.map(|(tenant, user)| Subject::new(store, tenant, user));
    for (n, subject) in (1..).zip(&mut subjects) {
        // All accounts use the same factor id, so only the account distinguishes them.
        let factor = Factor { label: Label::new(&format!("Of {n}")).unwrap(), ..totp(1, "k1") };
        subject.change(|draft| draft.put(factor)).await?;
        subject.change(|draft| draft.backup_codes(BackupCodesChange::Replace(codes(n, n)))).await?;
    }
    let spend = BackupCodesChange::Spend { place: 0, at: now() };
    subjects[0].change(|draft| draft.backup_codes(spend)).await?;
    subjects[1].change(|draft| draft.remove(id(1))).await?;
    subjects[2].change(|draft| draft.backup_codes(BackupCodesChange::Remove)).await?;
    for subject in &subjects {
        subject.check().await?;
        subject.check_events().await?;
    }
    Ok(())
}

/// A message in a store without an outbox would never be sent. [`outbox`](crate::outbox) checks stores with
/// one.
async fn without_an_outbox_no_message_is_taken(store: &dyn AccountStore) -> Result<(), Violation> {
    if store.outbox().is_some() {
        return Ok(());
    }
    let subject = Subject::new(store, "no-outbox", "alice");
    let message = Message { account: subject.key.clone(), ..message(1, now()) };
    let queues = delta(&subject.model.value, &subject.key, now(), |draft| draft.message(message));
    let commit = store.commit(&subject.key, subject.model.version, &queues).await;
    ensure!(commit.is_err(), "a store without an outbox answered {commit:?} to a commit with a message");
    subject.check().await?;
    subject.check_events().await
}
