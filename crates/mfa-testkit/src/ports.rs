//! Every port of the domain, faked around one store.

use std::sync::Arc;

use mfa_domain::ports::AccountStore;
use mfa_domain::{Mfa, Policies, Ports};

use crate::{FakeHasher, FakeVault, ManualClock, SeededEntropy};

/// Ports for a test, and the fakes behind them to steer and to ask.
#[derive(Clone, Debug)]
pub struct TestPorts {
    /// For [`Mfa::new`].
    pub ports: Ports,
    /// What `ports.clock` is.
    pub clock: Arc<ManualClock>,
    /// What `ports.vault` is.
    pub vault: Arc<FakeVault>,
    /// What `ports.hasher` is.
    pub hasher: Arc<FakeHasher>,
}

/// Fakes around a store: swapping the store in a test is this one line.
#[must_use]
pub fn ports(accounts: Arc<dyn AccountStore>) -> TestPorts {
    let clock = Arc::new(ManualClock::default());
    let vault = Arc::new(FakeVault::default());
    let hasher = Arc::new(FakeHasher::default());
    let ports = Ports::shared(accounts, vault.clone(), hasher.clone())
        .clock(clock.clone())
        .entropy(Arc::new(SeededEntropy::default()));
    TestPorts { ports, clock, vault, hasher }
}

impl TestPorts {
    /// Use cases on these ports under the default policies.
    #[must_use]
    pub fn mfa(&self) -> Mfa {
        Mfa::new(self.ports.clone(), Policies::default()).unwrap()
    }

    /// The same fakes around another store, or another handle on the same one: a second replica.
    #[must_use]
    pub fn with_accounts(&self, accounts: Arc<dyn AccountStore>) -> Self {
        Self { ports: Ports { accounts, ..self.ports.clone() }, ..self.clone() }
    }
}
