//! `try`: enrolment and verification as a user of an application sees them, in the terminal and in memory.

use std::io::{self, BufRead};
use std::sync::Arc;

use anyhow::{Result, bail};
use mfa_crypto::{AesGcmVault, KeyRing};
use mfa_domain::code::MalformedCode;
use mfa_domain::mfa::{Confirmation, Enrolment, NewFactor, PlainBackupCodes};
use mfa_domain::otp_core::{Token, Totp, qr};
use mfa_domain::ports::{Clock, SystemClock, SystemEntropy};
use mfa_domain::{
    AccountKey, Actor, CodeRejection, FactorId, Label, Mfa, SubmittedCode, TenantId, Verdict, Verified,
};
use zeroize::Zeroizing;

mod email;

use crate::cli::TryArgs;
use crate::config::{Config, Settings, StoreUrl};
use crate::installation::use_cases;
use crate::output;
use crate::storage::{Absent, Storage};

pub(super) async fn run(config: &Config, arguments: TryArgs) -> Result<()> {
    let settings = Settings { store: StoreUrl::Memory, ..config.settings.clone() };
    let storage = Storage::open(&settings, Absent::Create).await?;
    let ring = KeyRing::generate(&SystemEntropy, SystemClock.now())?;
    let vault = Arc::new(AesGcmVault::new(ring));
    let mut mfa = use_cases(&settings, &storage, vault)?;
    let key = AccountKey::new(TenantId::new("try")?, arguments.user);
    let issuer = if settings.issuer.is_empty() { "mfa-server" } else { &settings.issuer };
    if arguments.email {
        mfa = email::shown(&mfa, &settings, issuer)?;
    }

    let trial = Trial { mfa, key, actor: Actor::user("try") };
    if arguments.email {
        return trial.email().await;
    }
    let enrolment = trial.begin(issuer).await?;
    let code = trial.confirm(enrolment.factor.id, "Enter the code that the app shows:").await?;
    output::say("\nA code is accepted only once. The same code again:")?;
    trial.verify(&code).await?;
    trial.verify_more().await
}

const NO_CODE: &str = "no code was entered";

struct Trial {
    mfa: Mfa,
    key: AccountKey,
    actor: Actor,
}

impl Trial {
    async fn begin(&self, issuer: &str) -> Result<Enrolment> {
        let new = NewFactor {
            issuer: Some(issuer.to_owned()),
            ..NewFactor::new(Label::new("Terminal")?, Token::Totp(Totp::default()))
        };
        let enrolment = self.mfa.begin_enrolment(&self.key, &self.actor, new).await?;
        output::say("This enrols you in memory; nothing is stored. Scan this with an authenticator app:\n")?;
        output::say(qr::terminal(&enrolment.uri)?.as_str())?;
        output::say(format_args!("Or type the secret:  {}", enrolment.secret.to_base32().as_str()))?;
        output::say(format_args!("Or open the link:    {}\n", enrolment.uri.as_str()))?;
        Ok(enrolment)
    }

    /// Asks until a code confirms the factor, and returns that code.
    async fn confirm(&self, factor: FactorId, question: &str) -> Result<SubmittedCode> {
        loop {
            let Some(text) = ask(question)? else { bail!(NO_CODE) };
            let Some(code) = parse(&text)? else { continue };
            match self.mfa.confirm(&self.key, &self.actor, factor, &code).await? {
                Verdict::Accepted(Confirmation { backup_codes, .. }) => {
                    output::say("Accepted. You are enrolled.")?;
                    say_backup_codes(backup_codes.as_ref())?;
                    return Ok(code);
                }
                Verdict::Rejected(rejection) => say_rejection(rejection)?,
            }
        }
    }

    async fn verify(&self, code: &SubmittedCode) -> Result<()> {
        match self.mfa.verify(&self.key, &self.actor, code, None).await? {
            Verdict::Accepted(Verified { backup_codes: None, .. }) => output::say("Accepted: verified."),
            Verdict::Accepted(Verified { backup_codes: Some(left), .. }) => output::say(format_args!(
                "Accepted: verified with a backup code; {} are left.",
                left.remaining
            )),
            Verdict::Rejected(rejection) => say_rejection(rejection),
        }
    }

    async fn verify_more(&self) -> Result<()> {
        output::say("\nTry the next code, a wrong code or a backup code. To stop, enter an empty line.")?;
        while let Some(text) = ask("Code:")? {
            if let Some(code) = parse(&text)? {
                self.verify(&code).await?;
            }
        }
        Ok(())
    }
}

/// Reads a line; `None` if it is empty or the input ended.
fn ask(question: &str) -> Result<Option<Zeroizing<String>>> {
    output::ask(question)?;
    let mut line = Zeroizing::new(String::new());
    io::stdin().lock().read_line(&mut line)?;
    let text = Zeroizing::new(line.trim().to_owned());
    Ok((!text.is_empty()).then_some(text))
}

fn parse(text: &str) -> Result<Option<SubmittedCode>> {
    or_say(SubmittedCode::parse(text))
}

fn or_say<T>(code: Result<T, MalformedCode>) -> Result<Option<T>> {
    match code {
        Ok(code) => Ok(Some(code)),
        Err(malformed) => {
            output::say(format_args!("That is not a code: {malformed}. It costs no attempt."))?;
            Ok(None)
        }
    }
}

fn say_backup_codes(codes: Option<&PlainBackupCodes>) -> Result<()> {
    let Some(codes) = codes else { return Ok(()) };
    output::say("\nBackup codes, in case the device is lost; each is accepted once:\n")?;
    codes.codes().iter().try_for_each(|code| output::say(format_args!("  {}", code.to_display().as_str())))
}

fn say_rejection(rejection: CodeRejection) -> Result<()> {
    match rejection {
        CodeRejection::Locked { until } => {
            bail!("too many wrong codes: the account is locked until {until}")
        }
        CodeRejection::Invalid => output::say("Not accepted: the code is wrong. It costs an attempt."),
        CodeRejection::Replayed { .. } => output::say(
            "Not accepted: the code was used before. It costs no attempt. The API answers as for a wrong code.",
        ),
        other => output::say(format_args!("Not accepted: {other}.")),
    }
}
