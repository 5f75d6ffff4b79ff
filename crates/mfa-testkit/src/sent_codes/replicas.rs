//! Two replicas, and the steps of the checks.

use std::sync::Arc;

use mfa_domain::mfa::{Delivered, EnrolError, NewAddress};
use mfa_domain::policy::{ProofScope, StandardChallenges, StandardEnrolment};
use mfa_domain::ports::{AccountStore, ChallengeStore, EventQuery, Outbox, RecordedEvent};
use mfa_domain::{
    AccountKey, Actor, Address, ChallengeId, ChallengeState, CodeRejection, EventKind, FactorId, Label,
    Message, MessageState, Mfa, Policies, PolicyDenial, Reason, SentCode, TenantId, UserId, Verdict,
    Versioned,
};

use crate::race::together;
use crate::{EveryKind, ListSender, ManualClock, SentMessage, Violation, ensure, ports, submitted};

/// Two replicas on the same stores. Neither knows which calls wait for an account at the other. Both send to
/// one list.
#[derive(Debug)]
pub struct Replicas {
    pub(super) mfas: [Arc<Mfa>; 2],
    pub(super) clock: Arc<ManualClock>,
    pub(super) sender: Arc<ListSender>,
}

/// A user with an active address.
pub(super) struct Recipient {
    pub(super) key: AccountKey,
    pub(super) factor: FactorId,
}

pub(super) const ADDRESS: &str = "eve@mail.example";

/// The prefix of the tenants of all checks; claimed messages of other tenants are ignored.
const TENANTS: &str = "sent-";

impl Replicas {
    /// Creates two replicas from two handles on each store.
    #[must_use]
    pub fn new(accounts: [Arc<dyn AccountStore>; 2], challenges: [Arc<dyn ChallengeStore>; 2]) -> Self {
        let sender = Arc::new(ListSender::default());
        let ([one, other], [first, second]) = (accounts, challenges);
        let fakes = ports(one);
        let policies = policies();
        let mfas =
            [(fakes.clone(), first), (fakes.with_accounts(other), second)].map(|(fakes, challenges)| {
                let ports = fakes.ports.challenges(challenges).sender(sender.clone());
                Arc::new(Mfa::new(ports, policies.clone()).unwrap())
            });
        Self { mfas, clock: fakes.clock, sender }
    }

    /// A third replica, under a policy whose codes have `digits` digits.
    pub(super) fn with_digits(&self, digits: u8) -> Mfa {
        let challenges = StandardChallenges { digits, ..StandardChallenges::default() };
        let policies = Policies { challenges: Arc::new(challenges), ..policies() };
        Mfa::new(self.mfas[1].ports().clone(), policies).unwrap()
    }

    /// Enrols a user whose only factor is an address.
    pub(super) async fn recipient(&self, tenant: &str, user: &str) -> Result<Recipient, Violation> {
        let key = key(tenant, user);
        let (factor, _, code) = self.offer(&key).await?;
        let confirmed = self.mfas[0].confirm(&key, &shop(), factor, &submitted(&code)).await?;
        accepted(confirmed)?;
        Ok(Recipient { key, factor })
    }

    /// Offers the address; returns the factor, its challenge, and the sent code.
    pub(super) async fn offer(&self, key: &AccountKey) -> Result<(FactorId, ChallengeId, String), Violation> {
        self.offer_to(key, false).await
    }

    /// The same for a user who may have an address already; that user first logs in with a code.
    pub(super) async fn offer_to(
        &self,
        key: &AccountKey,
        proved: bool,
    ) -> Result<(FactorId, ChallengeId, String), Violation> {
        if proved {
            let status = self.mfas[0].status(key).await?;
            let factor = status.factors.first().map(|factor| factor.id);
            let factor = factor.ok_or_else(|| Violation::new("the user has no factor for the proof"))?;
            let user = Recipient { key: key.clone(), factor };
            let (id, code) = self.begin(&user).await?;
            self.answer(key, id, &[code]).await?;
        }
        let offered = self.mfas[1].enrol_address(key, &shop(), new_address()).await?;
        let delivery = offered.begun.challenge.delivery;
        ensure!(delivery == Some(MessageState::Queued), "the delivery state of a first code is {delivery:?}");
        Ok((offered.factor.id, offered.begun.challenge.id, self.latest(key).await?))
    }

    /// Begins a challenge; returns its id and the sent code.
    pub(super) async fn begin(&self, user: &Recipient) -> Result<(ChallengeId, String), Violation> {
        let id = self.queue(user).await?;
        self.deliver().await?;
        let message = self.sender.latest(&user.key).filter(|message| message.to == ADDRESS);
        let message =
            message.ok_or_else(|| Violation::new("no message was sent to the address of the factor"))?;
        ensure!(message.challenge == id, "the code is for another challenge");
        Ok((id, message.code))
    }

    /// Begins a challenge without sending its code.
    pub(super) async fn queue(&self, user: &Recipient) -> Result<ChallengeId, Violation> {
        let begun = accepted(self.mfas[0].begin_challenge(&user.key, &shop(), user.factor).await?)?;
        let (state, delivery) = (begun.challenge.state, begun.challenge.delivery);
        ensure!(state == ChallengeState::Open, "a new challenge is {state}");
        ensure!(delivery == Some(MessageState::Queued), "the delivery state of its code is {delivery:?}");
        Ok(begun.challenge.id)
    }

    /// Claims the due messages, on the first replica.
    pub(super) async fn claim(&self) -> Result<Vec<Versioned<Message>>, Violation> {
        let mut claimed = Vec::new();
        loop {
            let some = self.mfas[0].claim_messages(1000).await?.messages;
            if some.is_empty() {
                return Ok(claimed);
            }
            claimed.extend(ours(some));
        }
    }

    /// Delivers all due messages, on the second replica; returns the result of each.
    pub(super) async fn deliver(&self) -> Result<Vec<Delivered>, Violation> {
        let mut delivered = Vec::new();
        loop {
            let claimed = self.mfas[1].claim_messages(1000).await?.messages;
            if claimed.is_empty() {
                return Ok(delivered);
            }
            for message in ours(claimed) {
                delivered.push(self.mfas[1].deliver(&courier(), message).await?);
            }
        }
    }

    /// Delivers all due messages; returns all messages sent so far.
    pub(super) async fn sent(&self) -> Result<Vec<SentMessage>, Violation> {
        self.deliver().await?;
        Ok(self.sender.sent())
    }

    /// The codes sent for a challenge, in order.
    pub(super) fn codes_of(&self, id: ChallengeId) -> Vec<String> {
        let sent = self.sender.sent().into_iter();
        sent.filter(|message| message.challenge == id).map(|message| message.code).collect()
    }

    pub(super) fn outbox(&self) -> Result<&dyn Outbox, Violation> {
        let outbox = self.mfas[0].ports().accounts.outbox();
        outbox.ok_or_else(|| Violation::new("the store of accounts has no outbox"))
    }

    /// The message with the code of a challenge.
    pub(super) async fn message(
        &self,
        key: &AccountKey,
        id: ChallengeId,
    ) -> Result<Versioned<Message>, Violation> {
        let message = self.outbox()?.message(&key.tenant, id.into()).await?;
        message.ok_or_else(|| Violation::new("the message of a challenge was not found"))
    }

    /// Answers with all codes at the same time, alternating between the replicas.
    pub(super) async fn answer(
        &self,
        key: &AccountKey,
        id: ChallengeId,
        codes: &[String],
    ) -> Result<Vec<Verdict>, Violation> {
        let verdicts = together(codes.len(), |n| {
            let (mfa, tenant, code) = (Arc::clone(&self.mfas[n % 2]), key.tenant.clone(), parse(&codes[n]));
            async move { mfa.answer_challenge(&tenant, &shop(), id, &code).await }
        })
        .await?;
        Ok(verdicts.into_iter().collect::<Result<_, _>>()?)
    }

    pub(super) async fn all_wrong(
        &self,
        key: &AccountKey,
        id: ChallengeId,
        codes: &[String],
    ) -> Result<(), Violation> {
        for code in codes {
            let verdicts = self.answer(key, id, std::slice::from_ref(code)).await?;
            ensure!(
                verdicts == [rejected(CodeRejection::Invalid)],
                "a wrong code was answered with {verdicts:?}"
            );
        }
        Ok(())
    }

    pub(super) async fn is_right(
        &self,
        key: &AccountKey,
        id: ChallengeId,
        code: &str,
    ) -> Result<(), Violation> {
        let verdicts = self.answer(key, id, &[code.to_owned()]).await?;
        ensure!(
            matches!(verdicts[..], [Verdict::Accepted(_)]),
            "the right code was answered with {verdicts:?}"
        );
        Ok(())
    }

    /// Answers with a code that is wrong, unless it is the right one by chance.
    pub(super) async fn is_wrong(
        &self,
        key: &AccountKey,
        id: ChallengeId,
        code: &str,
        right: &str,
    ) -> Result<(), Violation> {
        if code == right { Ok(()) } else { self.all_wrong(key, id, &[code.to_owned()]).await }
    }

    /// Delivers all due messages; returns the latest code of an account.
    pub(super) async fn latest(&self, key: &AccountKey) -> Result<String, Violation> {
        self.deliver().await?;
        let message = self.sender.latest(key);
        Ok(message.ok_or_else(|| Violation::new("no message was sent"))?.code)
    }

    /// Checks the delivery state that a caller is told.
    pub(super) async fn delivery_is(
        &self,
        key: &AccountKey,
        id: ChallengeId,
        expected: MessageState,
    ) -> Result<(), Violation> {
        for mfa in &self.mfas {
            let told = accepted(mfa.challenge(&key.tenant, &shop(), id).await?)?.delivery;
            ensure!(told == Some(expected), "the delivery state of a code is {told:?}, not {expected}");
        }
        Ok(())
    }

    /// Checks the reasons that the trail records for codes that were given up.
    pub(super) async fn given_up(&self, key: &AccountKey, why: &[&str]) -> Result<(), Violation> {
        let mut told = Vec::new();
        for event in self.events(key).await?.into_iter().map(|recorded| recorded.event) {
            if event.kind == EventKind::CodeNotSent {
                ensure!(event.actor == courier().to_string(), "a code was given up by {}", event.actor);
                told.push(event.detail.get("reason").cloned().unwrap_or_default());
            }
        }
        ensure!(told == why, "codes were given up for {why:?}, but the trail records {told:?}");
        Ok(())
    }

    pub(super) async fn failures_are(&self, key: &AccountKey, expected: usize) -> Result<(), Violation> {
        let failures = self.mfas[1].ports().accounts.load(key).await?.value.attempts.recent.len();
        ensure!(failures == expected, "{failures} failures were counted, and not {expected}");
        Ok(())
    }

    pub(super) async fn counted(
        &self,
        key: &AccountKey,
        kind: EventKind,
        expected: usize,
    ) -> Result<(), Violation> {
        let events = self.events(key).await?;
        let count = events.iter().filter(|recorded| recorded.event.kind == kind).count();
        ensure!(count == expected, "the trail has {count} events {}, not {expected}", kind.as_str());
        Ok(())
    }

    pub(super) async fn events(&self, key: &AccountKey) -> Result<Vec<RecordedEvent>, Violation> {
        let user = Some(key.user.clone());
        let query = EventQuery { tenant: key.tenant.clone(), user, after: None, limit: 1000 };
        Ok(self.mfas[0].events(&query).await?.events)
    }
}

/// A user who was verified may add an address in any session: the checks are not about proofs.
fn policies() -> Policies {
    let enrolment = StandardEnrolment { proof_scope: ProofScope::Account, ..StandardEnrolment::default() };
    Policies { enrolment: Arc::new(EveryKind(enrolment)), ..Policies::default() }
}

/// The messages that the checks of this suite queued.
pub(super) fn ours(claimed: Vec<Versioned<Message>>) -> impl Iterator<Item = Versioned<Message>> + Send {
    claimed.into_iter().filter(|message| message.value.account.tenant.as_str().starts_with(TENANTS))
}

/// The host application that all calls come from.
pub(super) fn shop() -> Actor {
    Actor::user("shop")
}

/// The actor that sends queued messages.
pub(super) fn courier() -> Actor {
    Actor::admin("courier")
}

pub(super) fn key(tenant: &str, user: &str) -> AccountKey {
    AccountKey::new(TenantId::new(tenant).unwrap(), UserId::new(user).unwrap())
}

pub(super) fn new_address() -> NewAddress {
    NewAddress::email(Label::new("Mail").unwrap(), Address::new(ADDRESS).unwrap())
}

pub(super) fn reason() -> Reason {
    Reason::new("the caller was identified").unwrap()
}

pub(super) fn parse(code: &str) -> SentCode {
    SentCode::parse(code).unwrap()
}

/// `count` codes of the same length that are not `right`.
pub(super) fn wrong(right: &str, count: usize) -> Vec<String> {
    let all = (0..).map(|number| format!("{number:08}"));
    all.filter(|code| code != right).take(count).collect()
}

pub(super) fn denial(error: Option<&EnrolError>) -> Option<PolicyDenial> {
    match error {
        Some(EnrolError::Refused(denial)) => Some(*denial),
        _ => None,
    }
}

pub(super) const fn rejected<T>(rejection: CodeRejection) -> Verdict<T> {
    Verdict::Rejected(rejection)
}

pub(super) fn is_locked(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Rejected(CodeRejection::Locked { .. }))
}

pub(super) fn accepted<T>(verdict: Verdict<T>) -> Result<T, Violation> {
    verdict.into_result().map_err(|rejection| Violation::new(format!("it was refused: {rejection}")))
}
