//! The check at start that passkeys in the store work with the configured relying party.

use anyhow::{Context, Result, bail};
use mfa_domain::mfa::Stranded;
use mfa_domain::{Actor, Mfa};
use tracing::{info, warn};

use crate::config::webauthn::LOCALHOST;
use crate::failure::Refusal;

/// Accounts between two lines in the log.
const LOG_EVERY: u64 = 10_000;

/// Refuses a relying party that active passkeys in the store do not work with, unless the operator gives those of
/// `abandoned` up; it is empty if none are. Passkeys for `localhost` are given up in any case, since only trials have
/// them.
pub(crate) async fn check_change(mfa: &Mfa, abandoned: &str) -> Result<()> {
    let in_use = mfa.relying_party_in_use().await.context("the domain of passkeys cannot be read")?;
    let to = mfa.relying_party();
    let Some(from) = in_use.filter(|from| Some(from.as_str()) != to) else {
        if !abandoned.is_empty() {
            info!("webauthn.abandon_rp_id has no effect now and can be removed");
        }
        return Ok(());
    };
    let change = Change { from: &from, to };
    let stranded = match abandoned {
        "" if from == LOCALHOST => None,
        "" => {
            let stranded = count(mfa, &from).await?;
            if !stranded.is_none() {
                return Err(change.strands(stranded).into());
            }
            Some(0)
        }
        _ if abandoned == from => None,
        _ => return Err(change.abandons(abandoned).into()),
    };
    if stranded.is_none() {
        warn!(rp_id = from, "passkeys for this domain are given up and no longer work");
    }
    let actor = Actor::admin("server:start");
    let in_use = mfa.adopt_relying_party(&actor, to, Some(&from), stranded).await;
    if in_use.context("the domain of passkeys cannot be changed")?.as_deref() != to {
        bail!("another server has changed the domain of passkeys at the same time");
    }
    info!(from, to, "the domain of passkeys was changed");
    Ok(())
}

async fn count(mfa: &Mfa, rp_id: &str) -> Result<Stranded> {
    info!(rp_id, "webauthn.rp_id was changed; counting the passkeys for this domain");
    let mut told = 0;
    let progress = |accounts: u64| {
        if accounts / LOG_EVERY > told {
            told = accounts / LOG_EVERY;
            info!(accounts, "accounts read so far");
        }
    };
    mfa.stranded_passkeys(rp_id, progress).await.context("passkeys cannot be counted")
}

/// A change of the relying party.
#[derive(Clone, Copy, Debug)]
struct Change<'a> {
    from: &'a str,
    /// `None` if passkeys are off.
    to: Option<&'a str>,
}

impl Change<'_> {
    fn strands(self, Stranded { passkeys, users, unreadable }: Stranded) -> Refusal {
        let Self { from, to } = self;
        let purpose = match to {
            Some(to) => format!("used for {to}"),
            None => "used while webauthn.rp_id is not set".to_owned(),
        };
        let verb = if passkeys == 1 { "is" } else { "are" };
        let (passkeys, users) = (counted(passkeys, "passkey"), counted(users, "user"));
        let (more, which) = if unreadable == 0 {
            (String::new(), "")
        } else {
            let accounts = counted(unreadable, "account");
            let named = ". `user list` names users who cannot be read";
            (format!("; {accounts} cannot be read and may have more"), named)
        };
        Refusal::new(
            format!("{passkeys} of {users} {verb} for {from} and cannot be {purpose}{more}"),
            format!(
                "set webauthn.rp_id = \"{from}\" again; pages of another domain only need their origin in \
                 webauthn.origins. To give up all passkeys for {from}, set webauthn.abandon_rp_id = \"{from}\"{which}"
            ),
        )
    }

    fn abandons(self, abandoned: &str) -> Refusal {
        let from = self.from;
        Refusal::new(
            format!("webauthn.abandon_rp_id is \"{abandoned}\", but passkeys are for {from}"),
            format!("set it to \"{from}\" to give up all passkeys for that domain, or to \"\" to count them"),
        )
    }
}

fn counted(number: u64, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use mfa_domain::ports::{AccountStore, Commit, EventQuery};
    use mfa_domain::{Data, Factor, Policies, StoredFactor, TenantId};
    use mfa_store_memory::MemoryStore;
    use mfa_testkit::changes::{self, passkey};
    use mfa_testkit::ports;
    use mfa_webauthn::{AttestationPolicy, RelyingParty, Settings};

    use super::*;
    use crate::failure::{Exit, exit_of};

    const COM: &str = "example.com";
    const ORG: &str = "example.org";

    /// An installation whose passkeys are for one domain.
    struct World(Arc<MemoryStore>);

    impl World {
        async fn new(rp_id: &str) -> Self {
            let world = Self(Arc::new(MemoryStore::default()));
            let adopted = world.mfa(rp_id).adopt_relying_party(&actor(), Some(rp_id), None, Some(0)).await;
            assert_eq!(adopted.unwrap().as_deref(), Some(rp_id));
            world
        }

        /// A server that is configured for this domain; passkeys are off if it is empty.
        fn mfa(&self, rp_id: &str) -> Mfa {
            let mut ports = ports(self.0.clone()).ports;
            if !rp_id.is_empty() {
                let party = RelyingParty::new(Settings {
                    rp_id: rp_id.to_owned(),
                    rp_name: "Test".to_owned(),
                    origins: vec![format!("https://{rp_id}")],
                    top_origins: Vec::new(),
                    attestation: AttestationPolicy::None,
                });
                ports = ports.webauthn(Arc::new(party.unwrap()));
            }
            Mfa::new(ports, Policies::default()).unwrap()
        }

        /// Stores a factor as another server would have.
        async fn give(&self, user: &str, factor: Factor) {
            let key = changes::key(user);
            let commit = changes::change(self.0.as_ref(), &key, |draft| draft.put(factor)).await;
            assert_eq!(commit.unwrap(), Commit::Won);
        }

        async fn starts(&self, rp_id: &str, abandoned: &str) {
            let mfa = self.mfa(rp_id);
            check_change(&mfa, abandoned).await.unwrap();
            assert_eq!(mfa.relying_party_in_use().await.unwrap().unwrap_or_default(), rp_id);
        }

        /// Starts a server that must refuse and change nothing, and returns its first line.
        async fn refuses(&self, rp_id: &str, abandoned: &str) -> String {
            let before = self.changes().await;
            let error = check_change(&self.mfa(rp_id), abandoned).await.unwrap_err();
            assert_eq!(exit_of(&error), Exit::Refused);
            assert_eq!(self.changes().await, before);
            error.to_string().lines().next().unwrap().to_owned()
        }

        /// How many passkeys each change stranded.
        async fn changes(&self) -> Vec<String> {
            let tenant = TenantId::installation();
            let query = EventQuery { tenant, user: None, after: None, limit: 100 };
            let events = self.0.events(&query).await.unwrap().events;
            events.iter().map(|event| event.event.detail["stranded"].clone()).collect()
        }
    }

    fn actor() -> Actor {
        Actor::admin("test")
    }

    #[tokio::test]
    async fn the_same_domain_starts_and_so_does_any_while_no_passkey_needs_one() {
        let world = World::new(COM).await;
        world.starts(COM, "").await;
        world.give("alice", passkey(1, ORG)).await;
        world.starts(ORG, "").await;
        world.starts(ORG, COM).await;
        assert_eq!(world.changes().await, ["0", "0"]);

        let new = World(Arc::new(MemoryStore::default()));
        check_change(&new.mfa(COM), "").await.unwrap();
        assert!(new.changes().await.is_empty());
    }

    #[tokio::test]
    async fn another_domain_is_refused_with_the_number_of_passkeys() {
        let world = World::new(COM).await;
        world.give("alice", passkey(1, COM)).await;
        let said = world.refuses(ORG, "").await;
        assert_eq!(said, "1 passkey of 1 user is for example.com and cannot be used for example.org");
        world.give("alice", passkey(2, COM)).await;
        world.give("bob", passkey(3, COM)).await;
        let said = world.refuses(ORG, "").await;
        assert_eq!(said, "3 passkeys of 2 users are for example.com and cannot be used for example.org");
        let said = world.refuses("", "").await;
        let off = "for example.com and cannot be used while webauthn.rp_id is not set";
        assert_eq!(said, format!("3 passkeys of 2 users are {off}"));
        world.starts(COM, "").await;
    }

    #[tokio::test]
    async fn a_user_who_cannot_be_read_may_have_passkeys() {
        let world = World::new(COM).await;
        let newer = StoredFactor { data: Data::new(r#"{"v":1000}"#), ..StoredFactor::of(&passkey(1, COM)) };
        world.give("alice", newer.read().unwrap()).await;
        let said = world.refuses(ORG, "").await;
        assert!(said.ends_with("; 1 account cannot be read and may have more"), "{said}");
    }

    #[tokio::test]
    async fn passkeys_are_given_up_only_by_the_name_of_their_domain() {
        let world = World::new(COM).await;
        world.give("alice", passkey(1, COM)).await;
        for wrong in ["example.net", ORG] {
            let said = world.refuses(ORG, wrong).await;
            let expected = format!("webauthn.abandon_rp_id is \"{wrong}\", but passkeys are for example.com");
            assert_eq!(said, expected);
        }
        world.starts(ORG, COM).await;
        world.starts(ORG, COM).await;
        assert_eq!(world.changes().await, ["0", "unknown"]);
    }

    #[tokio::test]
    async fn passkeys_can_be_turned_off_while_there_are_none() {
        let world = World::new(COM).await;
        world.starts("", "").await;
        world.starts("", "").await;
        assert_eq!(world.changes().await, ["0", "0"]);
    }

    #[tokio::test]
    async fn passkeys_for_localhost_are_given_up_for_a_domain_and_not_the_other_way_round() {
        let world = World::new(LOCALHOST).await;
        world.give("alice", passkey(1, LOCALHOST)).await;
        world.starts(COM, "").await;
        assert_eq!(world.changes().await, ["0", "unknown"]);
        world.give("alice", passkey(2, COM)).await;
        let said = world.refuses(LOCALHOST, "").await;
        assert_eq!(said, "1 passkey of 1 user is for example.com and cannot be used for localhost");
    }
}
